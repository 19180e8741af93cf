//! libvirt and QEMU that are killed.

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use tsmig_lab::{Lab, Node};

use super::{assert_moved, assert_stayed, begin, begin_unplugged, kill_libvirtd};
use crate::harness::{Test, assert_states, run};

pub const TESTS: &[(&str, Test)] = &[
    ("fault_destination_libvirtd_killed_in_pre_copy_leaves_the_guest_at_the_source", destination_in_pre_copy),
    ("fault_destination_libvirtd_killed_in_post_copy_the_guest_arrives_whole", destination_in_post_copy),
    ("fault_source_libvirtd_killed_in_pre_copy_leaves_the_guest_at_the_source", source_in_pre_copy),
    ("fault_source_libvirtd_killed_in_post_copy_the_guest_arrives_whole", source_in_post_copy),
    ("fault_destination_qemu_killed_in_pre_copy_leaves_the_guest_at_the_source", qemu_in_pre_copy),
    ("fault_destination_qemu_killed_in_post_copy_is_reported_lost_and_nothing_restarted", qemu_in_post_copy),
    ("fault_source_qemu_killed_in_post_copy_is_reported_lost_and_boots_again", source_qemu_in_post_copy),
    ("fault_source_qemu_killed_while_the_other_hangs_is_not_waited_for", source_qemu_while_the_other_hangs),
];

fn destination_in_pre_copy(lab: &Lab) -> Result<()> {
    let (guests, running) = begin(lab, "pre-copy", "pre-copy")?;
    kill_libvirtd(lab, Node::HostB)?;
    // It does not come back before tsmig has judged.
    let run = running.end();
    lab.start_daemons()?;
    let error = run?.expect(1, "o1", "remains")?;
    ensure!(error.contains("it is at host-a as before"), "{error}");
    assert_stayed(lab, &guests, "o1")
}

fn destination_in_post_copy(lab: &Lab) -> Result<()> {
    let (guests, running) = begin(lab, "post-copy", "post-copy")?;
    kill_libvirtd(lab, Node::HostB)?;
    lab.start_daemons()?;
    running.end()?.expect(0, "o1", "migrated")?;
    assert_moved(lab, &guests, "o1")
}

fn source_in_pre_copy(lab: &Lab) -> Result<()> {
    let (guests, running) = begin(lab, "pre-copy", "pre-copy")?;
    kill_libvirtd(lab, Node::HostA)?;
    lab.start_daemons()?;
    let error = running.end()?.expect(1, "o1", "remains")?;
    ensure!(error.contains("it is at host-a as before"), "{error}");
    assert_stayed(lab, &guests, "o1")
}

fn source_in_post_copy(lab: &Lab) -> Result<()> {
    let (guests, running) = begin(lab, "post-copy", "post-copy")?;
    kill_libvirtd(lab, Node::HostA)?;
    lab.start_daemons()?;
    running.end()?.expect(0, "o1", "migrated")?;
    assert_moved(lab, &guests, "o1")
}

fn qemu_in_pre_copy(lab: &Lab) -> Result<()> {
    let (guests, running) = begin(lab, "pre-copy", "pre-copy")?;
    kill(lab.qemu_pid(Node::HostB, "o1")?, Signal::SIGKILL)?;
    let error = running.end()?.expect(1, "o1", "remains")?;
    ensure!(error.contains("it is at host-a as before"), "{error}");
    assert_stayed(lab, &guests, "o1")
}

fn qemu_in_post_copy(lab: &Lab) -> Result<()> {
    let (_, running) = begin(lab, "post-copy", "post-copy")?;
    kill(lab.qemu_pid(Node::HostB, "o1")?, Signal::SIGKILL)?;
    let error = running.end()?.expect(4, "o1", "lost")?;
    ensure!(error.contains("half at the destination is gone") && error.contains("domstate o1"), "{error}");
    let check = || -> Result<()> {
        // libvirt notices the end of QEMU or of the migration's stream first.
        assert_states(lab, "o1", Some("paused"), Some("shut off (crashed)"))
            .or_else(|_| assert_states(lab, "o1", Some("paused"), Some("shut off (failed)")))?;
        ensure!(lab.qemu_pid(Node::HostA, "o1").is_ok(), "what is left of it is there to be looked at");
        Ok(())
    };
    check()?;
    run(lab, &["recover", "host-a", "host-b", "--output", "json"])?.expect(4, "o1", "lost")?;
    check()?;
    boots_again(lab, &error, Node::HostA, Node::HostB)
}

fn source_qemu_in_post_copy(lab: &Lab) -> Result<()> {
    // The emulator at the destination is to notice it, see below.
    let (_, running) = begin_unplugged(lab)?;
    kill(lab.qemu_pid(Node::HostA, "o1")?, Signal::SIGKILL)?;
    let error = running.end()?.expect(4, "o1", "lost")?;
    ensure!(error.contains("half at the source is gone"), "{error}");
    assert_states(lab, "o1", Some("shut off"), Some("running (post-copy failed)"))?;
    boots_again(lab, &error, Node::HostB, Node::HostA)
}

/// The emulator at the destination gets there by itself if it waits for a page while it holds QEMU's big lock.
fn source_qemu_while_the_other_hangs(lab: &Lab) -> Result<()> {
    let (_, running) = begin(lab, "post-copy", "post-copy")?;
    let hung = lab.qemu_pid(Node::HostB, "o1")?;
    kill(hung, Signal::SIGSTOP)?;
    kill(lab.qemu_pid(Node::HostA, "o1")?, Signal::SIGKILL)?;
    let ended = running.end();
    kill(hung, Signal::SIGCONT)?;
    let error = ended?.expect(4, "o1", "needs-recovery")?;
    for words in ["shut off at the source and running (post-copy) at the destination", "does not come any more"] {
        ensure!(error.contains(words), "{words}: {error}");
    }
    let again = run(lab, &["recover", "host-a", "host-b", "--output", "json"])?.expect(4, "o1", "lost")?;
    boots_again(lab, &again, Node::HostB, Node::HostA)
}

/// Does what the report says after a loss: it boots on the one host, and its second definition goes from the other.
fn boots_again(lab: &Lab, error: &str, host: Node, other: Node) -> Result<()> {
    let steps = format!("run on {host}: `virsh destroy o1`, then `virsh start o1`");
    let last = format!("on {other}: `virsh undefine o1 --keep-nvram --keep-tpm`");
    ensure!(error.contains(&steps) && error.contains(&last), "{error}");
    lab.run(host, &["virsh", "destroy", "o1"])?;
    lab.run(host, &["virsh", "start", "o1"])?;
    let undefine = ["virsh", "undefine", "o1", "--keep-nvram", "--keep-tpm"];
    if lab.run(other, &undefine).is_err() {
        // libvirt 11.3 at the source may hold the domain's lock for the migration that was lost.
        ensure!(error.contains("restart libvirtd"), "{error}");
        kill_libvirtd(lab, other)?;
        lab.start_daemons()?;
        lab.run(other, &undefine)?;
    }
    ensure!(
        lab.state(other, "o1")?.is_none() && lab.state(host, "o1")?.is_some_and(|state| state.starts_with("running"))
    );
    // Told where it is now, the journal has nothing open any more.
    run(lab, &["recover", "host-a", "host-b"])?;
    ensure!(run(lab, &["recover", "host-a", "host-b"])?.status == 0, "nothing is left to recover");
    Ok(())
}
