//! Faults on real hosts with real guests: what tsmig promises then. The table is in docs/faults.md.
//!
//! A guest that could survive did, as its heartbeat and its boot id show; none runs twice; no definition is missing or
//! there twice; the report names the domain, where it is and why; the exit status is the documented one.

mod daemons;
mod guests;
mod hooks;
mod interruption;
mod links;
mod loading;
mod paused;
mod policy;
mod reach;
mod readers;

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use tsmig_lab::{GuestSpec, Lab, Node};

use crate::harness::{Guests, Running, Test, assert_states, info, start};

/// All of them.
pub fn tests() -> impl Iterator<Item = &'static (&'static str, Test)> {
    let tests = [daemons::TESTS, links::TESTS, loading::TESTS, guests::TESTS, policy::TESTS, interruption::TESTS];
    tests.into_iter().chain([reach::TESTS, paused::TESTS, hooks::TESTS, readers::TESTS]).flatten()
}

/// Slow enough to hit a migration of a small guest, which then still ends within a quarter of a minute.
pub const SLOW: &str = "42Mbit";

/// A guest with a little traffic.
pub fn guest(name: &str) -> GuestSpec {
    crate::harness::sender(name).memory_mib(96)
}

/// The same, of which more crosses: its migration lasts while much else is done.
pub fn heavy(name: &str) -> GuestSpec {
    GuestSpec { light: false, ..guest(name) }
}

/// Boots one guest and evacuates it slowly, until its migration is in that phase and memory crosses.
pub fn begin(lab: &Lab, technique: &str, phase: &str) -> Result<(Guests, Running)> {
    let guests = Guests::boot(lab, vec![guest("o1")])?;
    Ok((guests, begin_to_migrate(lab, technique, phase)?))
}

/// The same in post-copy, with a guest that no packet reaches and most of whose memory is there: one whose emulator
/// waits for a page while it holds QEMU's big lock can't be resumed, as docs/faults.md has it.
pub fn begin_unplugged(lab: &Lab) -> Result<(Guests, Running)> {
    // One that asks for pages still: that is how the destination's QEMU notices that the link is cut.
    let guests = Guests::boot(lab, vec![GuestSpec::new("o1").memory_mib(96)])?;
    Ok((guests, unplug_and_begin(lab)?))
}

/// The same with a guest that is there already.
pub fn unplug_and_begin(lab: &Lab) -> Result<Running> {
    let unplug = "virsh domif-setlink o1 $(virsh domiflist o1 | awk '/bridge/ { print $5 }') down";
    lab.run(Node::HostA, &["sh", "-ec", unplug])?;
    let mut running = begin_to_migrate(lab, "post-copy", "post-copy")?;
    while running.wait_for(&[("event", "progress")])?["percent"].as_u64() < Some(70) {}
    Ok(running)
}

fn begin_to_migrate(lab: &Lab, technique: &str, phase: &str) -> Result<Running> {
    let mut running = start(lab, &["evacuate", "host-a", "host-b", "--technique", technique, "--bandwidth", SLOW])?;
    running.wait_for_phase("o1", phase)?;
    running.wait_for_progress("o1")?;
    if phase == "post-copy" {
        wait_until_it_runs_at_the_destination(lab)?;
    }
    Ok(running)
}

/// Post-copy begins a moment before the guest runs at the destination; what QEMU can't mend in that moment is in
/// docs/faults.md.
fn wait_until_it_runs_at_the_destination(lab: &Lab) -> Result<()> {
    let start = Instant::now();
    while lab.state(Node::HostB, "o1")?.is_none_or(|state| !state.starts_with("running")) {
        ensure!(start.elapsed() < Duration::from_secs(60), "it never ran at the destination");
    }
    Ok(())
}

/// What a terminal shows until these words are there, or until tsmig has closed it.
pub fn read_until(terminal: &mut File, words: &str) -> String {
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    // Linux ends a terminal that nobody holds any more with an error.
    while let Ok(length @ 1..) = terminal.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..length]);
        if !words.is_empty() && String::from_utf8_lossy(&shown).contains(words) {
            break;
        }
    }
    String::from_utf8_lossy(&shown).into_owned()
}

/// Kills a host's libvirtd; its guests run on.
pub fn kill_libvirtd(lab: &Lab, host: Node) -> Result<()> {
    Ok(kill(lab.libvirtd_pid(host)?, Signal::SIGKILL)?)
}

/// The guest lives at the source only, and its definition is there.
///
/// What had arrived at the destination goes once its libvirtd knows that nothing more comes.
pub fn assert_stayed(lab: &Lab, guests: &Guests, guest: &str) -> Result<()> {
    let start = Instant::now();
    while lab.state(Node::HostB, guest)?.is_some() && start.elapsed() < Duration::from_secs(60) {}
    assert_states(lab, guest, Some("running"), None)?;
    ensure!(info(lab, Node::HostA, guest, "Persistent")? == "yes");
    guests.assert_alive(lab)
}

/// The guest lives at the destination only, and its definition is there.
pub fn assert_moved(lab: &Lab, guests: &Guests, guest: &str) -> Result<()> {
    assert_states(lab, guest, None, Some("running"))?;
    ensure!(info(lab, Node::HostB, guest, "Persistent")? == "yes");
    guests.assert_alive(lab)
}
