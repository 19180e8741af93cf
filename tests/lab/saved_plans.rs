//! A plan that was saved and is run later: whatever has changed since is found before anything moves.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use tsmig_lab::{Lab, Node};

use crate::harness::{Run, Test, assert_states, run};

pub const TESTS: &[(&str, Test)] = &[
    ("a_domain_that_was_started_since_the_plan_was_saved_is_named", started),
    ("a_domain_that_the_configuration_keeps_now_stays", kept),
    ("each_step_of_a_saved_plan_is_examined_offline_steps_too", examined),
    ("a_refusal_of_a_saved_plan_is_looked_at_again", looked_at_again),
    ("a_plan_that_does_not_fit_its_window_is_not_run", window),
];

/// Defines a guest without a system on host-a, with these devices.
fn define(lab: &Lab, name: &str, devices: &str) -> Result<()> {
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm\
         </type></os><cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>\
         <devices><controller type='usb' model='none'/>{devices}</devices></domain>"
    );
    let script = "printf %s \"$1\" > /run/domain.xml && virsh --quiet define /run/domain.xml";
    lab.run(Node::HostA, &["sh", "-ec", script, "sh", &xml])?;
    Ok(())
}

fn define_and_start(lab: &Lab, name: &str, devices: &str) -> Result<()> {
    define(lab, name, devices)?;
    lab.run(Node::HostA, &["virsh", "start", name])?;
    Ok(())
}

/// A drive with an image that each host has by itself.
fn drive(file: &str) -> String {
    format!(
        "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/srv/private/{file}'/>\
         <target dev='hda'/><readonly/></disk>"
    )
}

fn write_image(lab: &Lab, host: Node, file: &str) -> Result<()> {
    lab.run(host, &["truncate", "-s", "1M", &format!("/srv/private/{file}")])?;
    Ok(())
}

/// Saves a plan.
fn save(lab: &Lab, options: &[&str]) -> Result<String> {
    let path = lab.shared_dir().join("saved.json").to_string_lossy().into_owned();
    let planned = run(lab, &[&["plan", "host-a", "host-b", "--save", &path], options].concat())?;
    ensure!(planned.status == 0, "{}", planned.stderr);
    Ok(path)
}

fn by_plan(lab: &Lab, path: &str, options: &[&str]) -> Result<Run> {
    run(lab, &[&["evacuate", "host-a", "host-b", "--plan", path], options].concat())
}

/// The plan does not hold for that reason, and nothing has moved.
fn assert_does_not_hold(lab: &Lab, run: &Run, difference: &str, domains: &[&str]) -> Result<()> {
    ensure!(run.status == 1, "{} {}", run.stdout, run.stderr);
    for words in ["the saved plan does not hold any more", difference] {
        ensure!(run.stderr.contains(words), "{words:?} is not in {}", run.stderr);
    }
    domains.iter().try_for_each(|name| assert_states(lab, name, Some("running"), None))
}

fn started(lab: &Lab) -> Result<()> {
    define_and_start(lab, "web", "")?;
    define(lab, "db", "")?;
    define(lab, "left", "")?;
    let plan = save(lab, &["--exclude", "left"])?;
    // That it is not to move was said when the plan was made.
    lab.run(Node::HostA, &["virsh", "start", "left"])?;
    let holds = by_plan(lab, &plan, &["--dry-run"])?;
    ensure!(holds.status == 0 && holds.stderr.contains("the saved plan still holds"), "{}", holds.stderr);

    lab.run(Node::HostA, &["virsh", "start", "db"])?;
    let refused = by_plan(lab, &plan, &[])?;
    assert_does_not_hold(lab, &refused, "db is running at host-a and not in the plan", &["web", "db", "left"])?;

    let accepted = by_plan(lab, &plan, &["--accept-drift", "--output", "json"])?;
    accepted.expect(3, "web", "migrated")?;
    let error = accepted.expect(3, "db", "remains")?;
    ensure!(error.contains("it was shut off when the plan was made; make a new plan"), "{error}");
    let report = accepted.report()?;
    ensure!(report["domains"].as_array().is_some_and(|domains| domains.len() == 2), "left is to stay: {report}");
    assert_states(lab, "left", Some("running"), None)
}

/// A configuration that keeps `web`.
fn keeps_web(lab: &Lab) -> Result<PathBuf> {
    let path = lab.shared_dir().join("keep.toml");
    fs::write(&path, "[[domains]]\nmatch = \"web\"\nkeep = true\n")?;
    Ok(path)
}

fn kept(lab: &Lab) -> Result<()> {
    define_and_start(lab, "web", "")?;
    define_and_start(lab, "db", "")?;
    let plan = save(lab, &[])?;
    let config = keeps_web(lab)?;
    let config = ["--config", &*config.to_string_lossy()];
    let refused = by_plan(lab, &plan, &config)?;
    assert_does_not_hold(lab, &refused, "web: the configuration keeps it here now", &["web", "db"])?;
    let accepted = by_plan(lab, &plan, &[&config[..], &["--accept-drift"]].concat())?;
    ensure!(accepted.stdout.contains("web: stays: the configuration keeps it here"), "{}", accepted.stdout);
    assert_states(lab, "web", Some("running"), None)?;
    assert_states(lab, "db", None, Some("running"))
}

fn examined(lab: &Lab) -> Result<()> {
    for &host in lab.hosts() {
        write_image(lab, host, "x.iso")?;
    }
    define_and_start(lab, "web", &drive("x.iso"))?;
    // Nothing looks into it.
    fs::write(lab.shared_dir().join("asleep.qcow2"), "")?;
    define(
        lab,
        "asleep",
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>\
         <source file='/srv/shared/asleep.qcow2'/><target dev='hda'/></disk>",
    )?;
    let plan = save(lab, &["--offline"])?;
    let snapshot = "{ echo '<domainsnapshot><name>s1</name><state>shutoff</state><creationTime>1</creationTime><disks>\
                    <disk name=\"hda\" snapshot=\"internal\"/></disks>'; virsh dumpxml asleep; echo '</domainsnapshot>'; } \
                    > /run/s1.xml && virsh snapshot-create asleep --redefine /run/s1.xml";
    lab.run(Node::HostA, &["sh", "-ec", snapshot])?;
    lab.run(Node::HostB, &["rm", "/srv/private/x.iso"])?;
    let refused = by_plan(lab, &plan, &[])?;
    lab.run(Node::HostA, &["virsh", "snapshot-delete", "asleep", "s1", "--metadata"])?;
    assert_does_not_hold(lab, &refused, "asleep: it has a snapshot", &["web"])?;
    ensure!(refused.stderr.contains("web: the medium in its drive hda (/srv/private/x.iso) is not at host-b"));
    assert_states(lab, "asleep", Some("shut off"), None)
}

fn looked_at_again(lab: &Lab) -> Result<()> {
    write_image(lab, Node::HostA, "y.iso")?;
    define_and_start(lab, "web", &drive("y.iso"))?;
    define_and_start(lab, "db", "")?;
    let plan = save(lab, &[])?;
    let still = by_plan(lab, &plan, &["--dry-run"])?;
    let words = "web: the medium in its drive hda (/srv/private/y.iso) is not at host-b";
    ensure!(still.status == 1 && still.stderr.contains(words), "{}", still.stderr);
    ensure!(
        still.stderr.contains("the saved plan still holds") && still.stderr.contains("--partial"),
        "{}",
        still.stderr
    );

    write_image(lab, Node::HostB, "y.iso")?;
    let refused = by_plan(lab, &plan, &["--partial"])?;
    assert_does_not_hold(lab, &refused, "web can be moved now, and the plan refuses it", &["web", "db"])?;
    let accepted = by_plan(lab, &plan, &["--accept-drift"])?;
    let words = "web: stays: it could not be moved when the plan was made";
    ensure!(accepted.status == 3 && accepted.stdout.contains(words), "{} {}", accepted.stdout, accepted.stderr);
    assert_states(lab, "web", Some("running"), None)?;
    assert_states(lab, "db", None, Some("running"))
}

fn window(lab: &Lab) -> Result<()> {
    write_image(lab, Node::HostA, "z.iso")?;
    define_and_start(lab, "web", &drive("z.iso"))?;
    let evacuate =
        |options: &[&str]| run(lab, &[&["evacuate", "host-a", "host-b", "--window-limit", "1h"], options].concat());
    let nothing = evacuate(&["--dry-run"])?;
    ensure!(nothing.status == 1 && nothing.stderr.contains("web: the medium"), "{} {}", nothing.stdout, nothing.stderr);
    ensure!(!nothing.stdout.contains("fits a window"), "there is nothing to run: {}", nothing.stdout);
    let plan = run(lab, &["plan", "host-a", "host-b"])?;
    ensure!(plan.status == 0, "a plan is printed whatever a run would do: {}", plan.stderr);

    write_image(lab, Node::HostB, "z.iso")?;
    let fits = evacuate(&["--dry-run"])?;
    ensure!(fits.status == 0 && fits.stdout.contains("fits a window of"), "{} {}", fits.stdout, fits.stderr);
    // At this rate its memory takes longer than that.
    let long = ["--bandwidth", "9Mbit", "--window-limit", "100ms"];
    for options in [&["--dry-run"][..], &[]] {
        let refused = run(lab, &[&["evacuate", "host-a", "host-b"], &long[..], options].concat())?;
        ensure!(refused.status == 1, "{} {}", refused.stdout, refused.stderr);
        ensure!(refused.stderr.contains("and its window is 0.10 s"), "{}", refused.stderr);
        assert_states(lab, "web", Some("running"), None)?;
    }
    let accepted = run(lab, &["evacuate", "host-a", "host-b", "--window-limit", "100ms", "--accept-overrun"])?;
    ensure!(accepted.status == 0, "{} {}", accepted.stdout, accepted.stderr);
    assert_states(lab, "web", None, Some("running"))
}
