//! Evacuations of hosts with several networks.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;
use tsmig_lab::{GuestSpec, Lab, MigrationNetwork, Network, Node, Rate};

use crate::harness::{Guests, Run, Test, assert_states, receiver, run, sender, tsmig, with_networks};

pub const TESTS: &[(&str, Test)] = &[
    ("networks_migrations_take_a_wire_of_their_own", own_wire),
    ("networks_that_change_before_the_launch_are_looked_at_anew", changed_meanwhile),
];

/// Bytes that host-a has put on a wire since it is up.
fn sent(lab: &Lab, nic: &str) -> Result<f64> {
    let counter = lab.run(Node::HostA, &["cat", &format!("/sys/class/net/{nic}/statistics/tx_bytes")])?;
    Ok(counter.trim().parse()?)
}

fn own_wire(lab: &Lab) -> Result<()> {
    let lab = &with_networks(lab, MigrationNetwork::OwnWire(Rate::mbit(200)))?;
    let small = |guest: GuestSpec| guest.memory_mib(96);
    let guests = [sender("o1"), sender("o2").also_on(Network::Nat), receiver("i1"), receiver("i2")];
    let guests = Guests::boot(lab, guests.map(small).to_vec())?;
    known_by_each_means(lab)?;
    let (from, before) = (Instant::now(), [sent(lab, "uplink")?, sent(lab, "migration")?]);
    let run = run(lab, &["evacuate", "host-a", "host-b", "--output", "json"])?;
    let [lan, migration] = [sent(lab, "uplink")? - before[0], sent(lab, "migration")? - before[1]];
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    for name in ["o1", "o2", "i1", "i2"] {
        run.expect(0, name, "migrated")?;
        assert_states(lab, name, None, Some("running"))?;
    }
    // More than 40 MiB of each guest are not zeros; o1 and o2 send 60 Mbit/s, and headers come to it.
    let traffic = from.elapsed().as_secs_f64() * 60e6 / 8.0;
    ensure!(migration > 4.0 * 40e6, "{migration} bytes crossed the wire of the migrations");
    ensure!(lan < 1.2 * traffic, "{lan} bytes crossed that of the guests, of which {traffic} can be theirs");
    guests.assert_alive(lab)
}

fn changed_meanwhile(lab: &Lab) -> Result<()> {
    let lab = &with_networks(lab, MigrationNetwork::OwnWire(Rate::mbit(200)))?;
    let guests = Guests::boot(lab, vec![sender("o1").memory_mib(96)])?;
    let line = ["evacuate", "host-a", "host-b", "--window", "3s"];
    let running = tsmig(lab, &line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Its last question about the ways, while the profile goes on: host-a's own log-in at host-b.
    let asked = "here=$(readlink /proc/self/ns/net)
        while sleep 0.02; do
            for virsh in $(grep -lsz '^virsh$' /proc/[0-9]*/cmdline); do
                [ \"$(readlink \"${virsh%/*}/ns/net\")\" = \"$here\" ] && grep -qsz '^hostname$' \"$virsh\" && exit
            done
        done";
    let cut = lab
        .run(Node::HostA, &["timeout", "60", "sh", "-c", asked])
        .and_then(|_| lab.run(Node::HostA, &["ip", "link", "set", "migration", "down"]));
    let output = running.wait_with_output();
    lab.run(Node::HostA, &["ip", "link", "set", "migration", "up"])?;
    cut?;
    let first = Run::of(output?)?;
    let anew = first.stderr.contains("made anew, since the hosts' networks have changed meanwhile; br1 at host-a");
    ensure!(first.status == 1 && anew && first.stderr.contains("nothing was moved"), "{}", first.stderr);
    assert_states(lab, "o1", Some("running"), None)?;
    let again = run(lab, &[line.as_slice(), &["--output", "json"]].concat())?;
    again.expect(0, "o1", "migrated")?;
    guests.assert_alive(lab)
}

/// What plans say of the hosts' ports, by what they know of them: the hosts' shells, the configuration, or libvirt alone,
/// which knows no routes.
fn known_by_each_means(lab: &Lab) -> Result<()> {
    let file = lab.shared_dir().join("ports.toml");
    let host = |name: &str| {
        format!(
            "[hosts.{name}-tcp]\nuri = \"qemu+tcp://{name}/system\"\nmigration_uri = \"tcp://{name}\"\nlink = \"200Mbit\"\n\
             migration_port = \"migration\"\nbridges = {{ br0 = \"uplink\", virbr2 = \"uplink\" }}\n"
        )
    };
    std::fs::write(&file, host("host-a") + &host("host-b"))?;
    let file = file.to_string_lossy().into_owned();
    let plan = |hosts: [&str; 2], more: &[&str]| -> Result<Value> {
        let line = [&["plan"][..], &hosts, &["--window", "3s", "--output", "json"], more].concat();
        let planned = run(lab, &line)?;
        ensure!(planned.status == 0, "{} {}", planned.stdout, planned.stderr);
        Ok(serde_json::from_str(&planned.stdout)?)
    };
    let techniques = |plan: &Value, wanted: &str| {
        let steps = plan["migrations"].as_array().into_iter().flatten();
        steps.filter(|step| step["technique"] == wanted).count()
    };
    let by_shell = plan(["host-a", "host-b"], &[])?;
    let by_configuration = plan(["host-a-tcp", "host-b-tcp"], &["--config", &file])?;
    for (plan, route) in [(&by_shell, "detected"), (&by_configuration, "configuration")] {
        ensure!(techniques(plan, "pre-copy") == 4, "{plan}");
        for host in [&plan["hosts"][0], &plan["hosts"][1]] {
            ensure!(host["migration_port"]["name"] == "migration" && host["route"] == route, "{host}");
            let leads = |plug: &str| {
                let outlets = host["outlets"].as_array().into_iter().flatten();
                outlets
                    .filter(|outlet| outlet["plug"]["name"] == plug)
                    .map(|outlet| outlet["port"]["name"].clone())
                    .next()
            };
            ensure!(leads("br0") == Some("uplink".into()) && leads("nat") == Some("uplink".into()), "{host}");
        }
    }
    ensure!(by_shell["hosts"][1]["address"] == "10.20.0.2", "{by_shell}");
    let by_libvirt = plan(["qemu+tcp://host-a/system", "qemu+tcp://host-b/system"], &["--link", "200Mbit"])?;
    let notes = by_libvirt["notes"].as_array().into_iter().flatten();
    let assumed: Vec<_> = notes.filter(|note| note["kind"] == "route-assumed").collect();
    ensure!(
        assumed.len() == 1 && assumed[0]["ports"] == serde_json::json!(["migration", "uplink"]),
        "host-b has no driver: {by_libvirt}"
    );
    ensure!(techniques(&by_libvirt, "post-copy") > 0, "what may be in the way counts: {by_libvirt}");
    Ok(())
}
