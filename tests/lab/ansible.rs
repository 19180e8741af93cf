//! The module and the playbook of `ansible/`, run by Ansible itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tsmig_lab::{Lab, Node};

use crate::harness::{Guests, Test, assert_states, receiver, sender};

pub const TESTS: &[(&str, Test)] = &[
    ("ansible_module_says_what_it_would_do_and_changes_only_what_it_has_to", module),
    ("ansible_playbook_empties_each_host_for_its_maintenance_and_fills_it_again", playbook),
];

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ansible");

/// A program of Ansible's in the client; what it printed, and whether it was content.
fn ansible(lab: &Lab, program: &str, arguments: &[&str]) -> Result<(bool, String)> {
    let path = Path::new(env!("CARGO_BIN_EXE_tsmig")).parent().context("tsmig is in a directory")?;
    let output = lab
        .command(Node::Client, program)
        .args(arguments)
        .env("PATH", format!("{}:{}", path.display(), std::env::var("PATH")?))
        .env("HOME", lab.shared_dir())
        .env("ANSIBLE_LIBRARY", format!("{DIRECTORY}/library"))
        .env("ANSIBLE_NOCOLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .with_context(|| format!("{program} is not there; `make test` installs it"))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), text.into_owned()))
}

/// One task with the module; its result.
fn task(lab: &Lab, more: &[&str], arguments: &Value) -> Result<(bool, Value)> {
    let arguments = arguments.to_string();
    let words = ["localhost", "--connection", "local", "--module-name", "tsmig_evacuate", "--args", &arguments];
    let (content, text) = ansible(lab, "ansible", &[&words[..], more].concat())?;
    let result = text.split_once("=> ").with_context(|| text.clone())?.1;
    let mut results = serde_json::Deserializer::from_str(result).into_iter();
    Ok((content, results.next().with_context(|| text.clone())?.with_context(|| text.clone())?))
}

fn module(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("o1")])?;
    let report = lab.shared_dir().join("ansible-report.json");
    let window = ["--window", "1s"];
    let there = serde_json::json!({"source": "host-a", "destination": "host-b", "report": report, "arguments": window});
    let (content, would) = task(lab, &["--check"], &there)?;
    ensure!(content && would["changed"] == true && would["plan"]["migrations"][0]["domain"] == "o1", "{would}");
    ensure!(!report.exists(), "a check writes nothing");
    assert_states(lab, "o1", Some("running"), None)?;

    let (content, did) = task(lab, &[], &there)?;
    ensure!(content && did["changed"] == true && did["report"]["outcome"] == "evacuated", "{did}");
    assert_states(lab, "o1", None, Some("running"))?;
    let (content, again) = task(lab, &[], &there)?;
    ensure!(content && again["changed"] == false, "{again}");
    let (content, check) = task(lab, &["--check"], &there)?;
    ensure!(content && check["changed"] == false, "{check}");

    let back =
        serde_json::json!({"source": "host-b", "destination": "host-a", "from_report": report, "arguments": window});
    let (content, returned) = task(lab, &[], &back)?;
    ensure!(content && returned["changed"] == true, "{returned}");
    assert_states(lab, "o1", Some("running"), None)?;
    guests.assert_alive(lab)?;

    let timeout = ["--window", "1s", "--technique", "pre-copy", "--bandwidth", "10Mbit", "--timeout", "1s"];
    let stays = serde_json::json!({"source": "host-a", "destination": "host-b", "arguments": timeout});
    let (content, failed) = task(lab, &[], &stays)?;
    ensure!(!content && failed["changed"] == false && failed["rc"] == 1, "{failed}");
    ensure!(failed["msg"].as_str().is_some_and(|text| text.contains("o1: it is at host-a as before")), "{failed}");
    let wrong = serde_json::json!({"source": "host-a", "destination": "host-b", "arguments": ["--lnik", "1Gbit"]});
    let (content, failed) = task(lab, &[], &wrong)?;
    ensure!(!content && failed["rc"] == 2, "{failed}");
    ensure!(failed["msg"].as_str().is_some_and(|text| text.contains("'--lnik'")), "{failed}");
    Ok(())
}

/// In the place of an update and a reboot: what runs on the host when the maintenance begins.
const MAINTENANCE: &str = "
- name: Note what runs here
  ansible.builtin.raw: echo maintained, with $(virsh list --name) here >> /srv/shared/maintenance-{{ inventory_hostname }}
";

fn playbook(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("o1"), receiver("i1").host(Node::HostB)])?;
    let directory = lab.shared_dir().join("ansible");
    fs::create_dir_all(&directory)?;
    let (inventory, tasks) = (directory.join("inventory.ini"), directory.join("maintenance.yml"));
    fs::write(&inventory, "[hypervisors]\nhost-a spare=host-b\nhost-b spare=host-a\n")?;
    fs::write(&tasks, MAINTENANCE)?;
    let variables = serde_json::json!({
        "maintenance_tasks": tasks,
        "reports": directory.join("reports"),
        "tsmig_arguments": ["--window", "1s"],
    });
    let playbook = format!("{DIRECTORY}/rolling-maintenance.yml");
    let (inventory, variables) = (inventory.to_string_lossy(), variables.to_string());
    let arguments = [&*playbook, "--inventory", &inventory, "--extra-vars", &variables];

    // What the test replaces is at least well formed.
    let usual = directory.join("usual.yml");
    fs::write(&usual, format!("- hosts: all\n  tasks: [import_tasks: {DIRECTORY}/update-and-reboot.yml]\n"))?;
    let (content, text) = ansible(lab, "ansible-playbook", &["--syntax-check", &usual.to_string_lossy()])?;
    ensure!(content, "{text}");

    let (content, text) = ansible(lab, "ansible-playbook", &[&arguments[..], &["--check"]].concat())?;
    ensure!(content && text.contains("changed: [host-a -> localhost]"), "{text}");
    ensure!(!directory.join("reports").exists(), "a check writes nothing");
    assert_states(lab, "o1", Some("running"), None)?;
    assert_states(lab, "i1", None, Some("running"))?;

    let (content, text) = ansible(lab, "ansible-playbook", &arguments)?;
    ensure!(content, "{text}");
    for &host in lab.hosts() {
        let note = fs::read_to_string(lab.shared_dir().join(format!("maintenance-{host}")))?;
        ensure!(note == "maintained, with here\n", "{host} was not empty: {note}");
    }
    ensure!(fs::read_dir(directory.join("reports"))?.next().is_none(), "everything has returned");
    assert_states(lab, "o1", Some("running"), None)?;
    assert_states(lab, "i1", None, Some("running"))?;
    guests.assert_alive(lab)
}
