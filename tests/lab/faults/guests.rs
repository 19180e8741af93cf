//! Guests and their users that do something else meanwhile.

use anyhow::{Result, ensure};
use tsmig_lab::{Lab, Node};

use super::{assert_moved, begin, guest};
use crate::harness::{Guests, Test, assert_states, run};

pub const TESTS: &[(&str, Test)] = &[
    ("fault_guest_that_powers_off_in_pre_copy_is_gone_and_keeps_its_definition", powers_off),
    ("fault_guest_destroyed_by_somebody_else_is_not_started_again", destroyed),
    ("fault_guest_suspended_in_pre_copy_is_not_lost", suspended),
    ("fault_migration_of_somebody_else_is_seen_to_its_end_by_recover", already_running),
];

fn powers_off(lab: &Lab) -> Result<()> {
    let (_, running) = begin(lab, "pre-copy", "pre-copy")?;
    lab.power_off("o1")?;
    let error = running.end()?.expect(0, "o1", "gone")?;
    ensure!(error.contains("stopped running"), "{error}");
    assert_states(lab, "o1", Some("shut off"), None)
}

fn destroyed(lab: &Lab) -> Result<()> {
    let (_, running) = begin(lab, "pre-copy", "pre-copy")?;
    lab.run(Node::HostA, &["virsh", "destroy", "o1"])?;
    let error = running.end()?.expect(0, "o1", "gone")?;
    ensure!(error.contains("stopped running"), "{error}");
    assert_states(lab, "o1", Some("shut off"), None)
}

fn suspended(lab: &Lab) -> Result<()> {
    let (guests, running) = begin(lab, "pre-copy", "pre-copy")?;
    lab.run(Node::HostA, &["virsh", "suspend", "o1"])?;
    running.end()?.expect(0, "o1", "migrated")?;
    // libvirt decides whether it arrives paused; it is there whole.
    if lab.state(Node::HostB, "o1")?.is_some_and(|state| state.starts_with("paused")) {
        lab.run(Node::HostB, &["virsh", "resume", "o1"])?;
    }
    assert_moved(lab, &guests, "o1")
}

fn already_running(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1")])?;
    let options = ["--live", "--p2p", "--persistent", "--undefinesource", "--bandwidth", "5"];
    let mut virsh = lab.command(Node::HostA, "virsh");
    let mut other = virsh.arg("migrate").args(options).args(["o1", "qemu+tcp://host-b/system"]).spawn()?;
    while lab.state(Node::HostB, "o1")?.is_none() {
        ensure!(other.try_wait()?.is_none(), "virsh migrates");
    }
    let run = run(lab, &["recover", "host-a", "host-b", "--output", "json"])?;
    ensure!(other.wait()?.success(), "the other's migration is left alone");
    run.expect(0, "o1", "migrated")?;
    ensure!(run.events()?.iter().any(|event| event["event"] == "adopt" && event["domain"] == "o1"), "{}", run.stdout);
    assert_moved(lab, &guests, "o1")
}
