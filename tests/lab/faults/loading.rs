//! A destination whose QEMU can't load what the source sends.

use anyhow::{Context, Result, ensure};
use tsmig_lab::{Lab, Node};

use super::guest;
use crate::harness::{Guests, assert_states, run};
use crate::harness::{Run, Test};

pub const TESTS: &[(&str, Test)] =
    &[("fault_destination_that_cannot_load_the_device_state_loses_none_unless_it_is_trusted", cannot_load)];

/// What comes in gets a NIC with fewer features, as an older QEMU or one with other defaults has it.
const WRAP: &str = r#"q=/usr/bin/qemu-system-x86_64
mv $q $q.real
cat > $q <<'SCRIPT'
#!/bin/sh
case " $* " in *" -incoming "*)
  for p in csum gso host_tso4 host_tso6 host_ecn host_ufo guest_csum guest_tso4 guest_tso6 guest_ecn guest_ufo; do
    set -- "$@" -global virtio-net-pci.$p=off
  done
esac
exec /usr/bin/qemu-system-x86_64.real "$@"
SCRIPT
chmod +x $q"#;

fn cannot_load(lab: &Lab) -> Result<()> {
    lab.run(Node::HostB, &["sh", "-ec", WRAP])?;
    let result = with_the_wrapped_emulator(lab);
    lab.run(Node::HostB, &["mv", "/usr/bin/qemu-system-x86_64.real", "/usr/bin/qemu-system-x86_64"])?;
    result
}

fn evacuate(lab: &Lab, options: &[&str]) -> Result<Run> {
    let common = ["--concurrency", "3", "--partial", "--output", "json"];
    run(lab, &[&["evacuate", "host-a", "host-b"], options, common.as_slice()].concat())
}

fn with_the_wrapped_emulator(lab: &Lab) -> Result<()> {
    let names = ["o1", "o2", "o3"];
    let guests = Guests::boot(lab, names.map(guest).to_vec())?;
    // By what the planner chooses nothing is lost, whatever is to be done about a stall.
    for on_stall in ["post-copy", "abort"] {
        let careful = evacuate(lab, &["--trust-destination=false", "--on-stall", on_stall])?;
        for name in names {
            careful.expect(1, name, "remains")?;
            assert_states(lab, name, Some("running"), None)?;
        }
        guests.assert_alive(lab)?;
    }
    let promise = "If that can't load it, this one guest is lost, and nothing more is launched";
    let plan = run(lab, &["plan", "host-a", "host-b", "--technique", "post-copy"])?;
    ensure!(plan.stdout.contains(promise), "{}", plan.stdout);
    let first = evacuate(lab, &["--technique", "post-copy"])?;
    ensure!(first.status == 4, "{}", first.stdout);
    let report = first.report()?;
    let domains = report["domains"].as_array().context("domains")?;
    let lost: Vec<_> = domains.iter().filter(|domain| domain["outcome"] == "lost").collect();
    ensure!(lost.len() == 1 && domains.len() == 3, "{report}");
    let lost = lost[0]["domain"].as_str().context("a name")?;
    let error = first.expect(4, lost, "lost")?;
    let guests = guests.forget(lost);
    guests.assert_alive(lab)?;
    for name in names.into_iter().filter(|name| *name != lost) {
        first.expect(4, name, "remains")?;
        assert_states(lab, name, Some("running"), None)?;
    }
    // Run again before anybody has looked, it loses no other.
    evacuate(lab, &["--technique", "post-copy"])?.expect(4, lost, "lost")?;
    guests.assert_alive(lab)?;
    let advice = format!("run on host-a: `virsh destroy {lost}`, then `virsh start {lost}`");
    ensure!(error.contains(&advice), "{error}");
    lab.run(Node::HostA, &["virsh", "destroy", lost])?;
    lab.run(Node::HostA, &["virsh", "start", lost])?;
    // libvirt stores it at the switch, or not yet.
    if error.contains("virsh undefine") {
        lab.run(Node::HostB, &["virsh", "undefine", lost, "--keep-nvram", "--keep-tpm"])?;
    }
    // By pre-copy QEMU says no while all run at the source.
    let second = evacuate(lab, &["--technique", "pre-copy"])?;
    for name in names {
        second.expect(1, name, "remains")?;
        assert_states(lab, name, Some("running"), None)?;
    }
    guests.assert_alive(lab)
}
