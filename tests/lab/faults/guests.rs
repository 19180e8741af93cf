//! Guests and their users that do something else meanwhile.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use tsmig_lab::{DEFAULT_LINK, GuestSpec, Lab, Node, Rate};

use super::{SLOW, assert_moved, begin, guest};
use crate::harness::{Guests, Run, Test, assert_states, receiver, run, start};

pub const TESTS: &[(&str, Test)] = &[
    ("fault_guest_that_powers_off_in_pre_copy_is_gone_and_keeps_its_definition", powers_off),
    ("fault_guest_destroyed_by_somebody_else_is_not_started_again", destroyed),
    ("fault_guest_suspended_in_pre_copy_is_not_lost", suspended),
    ("fault_emulator_that_hangs_at_the_source_holds_up_no_other_domain", hangs_at_the_source),
    ("fault_emulator_that_hangs_at_the_destination_holds_up_no_other_domain", hangs_at_the_destination),
    ("fault_guest_to_which_nothing_gets_through_keeps_the_others_where_they_are", deaf),
    ("fault_migration_of_somebody_else_is_seen_to_its_end_by_recover", already_running),
];

fn recover(lab: &Lab) -> Result<Run> {
    run(lab, &["recover", "host-a", "host-b", "--output", "json"])
}

fn powers_off(lab: &Lab) -> Result<()> {
    let (_, running) = begin(lab, "pre-copy", "pre-copy")?;
    lab.power_off("o1")?;
    let error = running.end()?.expect(3, "o1", "gone")?;
    ensure!(error.contains("stopped running"), "{error}");
    assert_states(lab, "o1", Some("shut off"), None)?;
    ensure!(error.contains("shut off at host-a; `virsh start o1` there starts it"), "{error}");
    lab.run(Node::HostA, &["virsh", "start", "o1"])?;
    assert_states(lab, "o1", Some("running"), None)
}

fn destroyed(lab: &Lab) -> Result<()> {
    let (_, running) = begin(lab, "pre-copy", "pre-copy")?;
    lab.run(Node::HostA, &["virsh", "destroy", "o1"])?;
    let error = running.end()?.expect(3, "o1", "gone")?;
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

fn hangs_at_the_source(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1"), guest("o2")])?;
    let options = ["--technique", "pre-copy", "--concurrency", "1", "--first", "o1", "--bandwidth", SLOW];
    let mut running = start(lab, &[&["evacuate", "host-a", "host-b"], options.as_slice()].concat())?;
    running.wait_for_progress("o1")?;
    let emulator = lab.qemu_pid(Node::HostA, "o1")?;
    kill(emulator, Signal::SIGSTOP)?;
    let (run, too_early) = (running.end(), recover(lab));
    kill(emulator, Signal::SIGCONT)?;
    let run = run?;
    let error = run.expect(4, "o1", "needs-recovery")?;
    for words in ["its emulator at the source", "tsmig recover host-a host-b"] {
        ensure!(error.contains(words), "{words}: {error}");
    }
    run.expect(4, "o2", "migrated")?;
    let seconds = run.silence_before("o1", &[("event", "launch"), ("domain", "o2")])?;
    ensure!((120.0..240.0).contains(&seconds), "its turn came after {seconds} s");
    assert_moved(lab, &guests, "o2")?;
    too_early?.expect(4, "o1", "needs-recovery")?;
    // It goes on where it was.
    recover(lab)?.expect(0, "o1", "migrated")?;
    assert_moved(lab, &guests, "o1")
}

fn hangs_at_the_destination(lab: &Lab) -> Result<()> {
    // Over this link they are on their way for longer than a silence is waited for.
    let idle = |name| GuestSpec::new(name).memory_mib(96);
    let guests = Guests::boot(lab, vec![idle("o1"), idle("o2")])?;
    let set_links = |rate| lab.hosts().iter().try_for_each(|&host| lab.set_rate(host, rate));
    set_links(Rate::mbit(30))?;
    let run = hang_at_the_destination(lab);
    set_links(DEFAULT_LINK)?;
    let run = run?;
    let error = run.expect(3, "o1", "remains")?;
    ensure!(error.contains("no byte has crossed"), "{error}");
    ensure!(run.notices()?.iter().any(|notice| notice.contains("while others progress")), "{}", run.stdout);
    let seconds = run.silence_before("o1", &[("event", "notice")])?;
    ensure!((10.0..40.0).contains(&seconds), "told after {seconds} s");
    run.expect(3, "o2", "migrated")?;
    assert_moved(lab, &guests, "o2")?;
    super::assert_stayed(lab, &guests, "o1")
}

fn hang_at_the_destination(lab: &Lab) -> Result<Run> {
    let hosts = ["host-a", "host-b", "--technique", "pre-copy", "--link", "30Mbit"];
    // Two at the same time, which the planner need not choose.
    let mut plan = run(lab, &[&["plan"], hosts.as_slice(), &["--output", "json"]].concat())?.plan()?;
    for step in plan["migrations"].as_array_mut().context("migrations")? {
        step["concurrency"] = 2.into();
    }
    let mut file = tempfile::NamedTempFile::new()?;
    write!(file, "{plan}")?;
    let path = file.path().to_str().context("a path")?;
    let mut running = start(lab, &["evacuate", "host-a", "host-b", "--link", "30Mbit", "--plan", path])?;
    running.wait_for_progress("o1")?;
    running.wait_for_progress("o2")?;
    kill(lab.qemu_pid(Node::HostB, "o1")?, Signal::SIGSTOP)?;
    running.end()
}

/// Runs a test while the switch keeps the MAC addresses of guests at the port of host-a, as port security does.
fn with_port_security(lab: &Lab, guests: &[&str], test: impl FnOnce() -> Result<()>) -> Result<()> {
    let address = |guest: &&str| {
        let list = lab.run(Node::HostA, &["virsh", "-q", "domiflist", guest])?;
        list.split_whitespace().last().map(str::to_owned).context("a MAC address")
    };
    let addresses = guests.iter().map(address).collect::<Result<Vec<_>>>()?;
    let set = |to| {
        let entry = |address: &String| {
            let entry = ["bridge", "fdb", to, address, "dev", "host-a", "master", "static", "sticky"];
            lab.run(Node::Switch, &entry).map(drop)
        };
        addresses.iter().try_for_each(entry)
    };
    set("replace")?;
    let result = test();
    set("del")?;
    result
}

fn deaf(lab: &Lab) -> Result<()> {
    let names = ["i1", "i2"];
    // The second is on its way for longer than the first is watched.
    let heavy = |name| GuestSpec { light: false, ..receiver(name).memory_mib(96) };
    let guests = Guests::boot(lab, names.map(heavy).to_vec())?;
    with_port_security(lab, &names, || evacuate_the_deaf(lab, &guests, &names))
}

fn evacuate_the_deaf(lab: &Lab, guests: &Guests, names: &[&str]) -> Result<()> {
    let options = ["--technique", "pre-copy", "--concurrency", "1", "--first", "i1", "--bandwidth", SLOW];
    let there = start(lab, &[&["evacuate", "host-a", "host-b"], &options[..]].concat())?.end()?;
    let events = there.events()?;
    let at = |members: &[(&str, &str)]| {
        let event = events.iter().find(|event| members.iter().all(|(key, value)| event[key] == *value));
        let event = event.with_context(|| format!("no {members:?} in {}", there.stdout))?;
        event["elapsed_seconds"].as_f64().context("every event has its time")
    };
    let seconds = at(&[("kind", "arrived-in-distress")])? - at(&[("event", "done"), ("domain", "i1")])?;
    ensure!(seconds < 10.0, "told after {seconds} s");
    ensure!(there.status == 3, "{}", there.stdout);
    let report = events.last().context("a report")?;
    let [first, second] = [&report["domains"][0], &report["domains"][1]];
    ensure!(first["outcome"] == "migrated" && first["notice"]["distress"]["kind"] == "silent", "{report}");
    let notice = first["notice"]["message"].as_str().unwrap_or_default();
    ensure!(notice.contains("`tsmig evacuate host-b host-a --only i1` takes it back"), "{notice}");
    let error = second["error"].as_str().unwrap_or_default();
    ensure!(second["outcome"] == "remains" && error.contains("i1 has arrived at host-b, but nothing gets"), "{report}");
    // As it says.
    let back = run(lab, &["evacuate", "host-b", "host-a", "--only", "i1", "--output", "json"])?;
    back.expect(0, "i1", "migrated")?;
    names.iter().try_for_each(|name| super::assert_stayed(lab, guests, name))
}

fn already_running(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1")])?;
    let options = ["--live", "--p2p", "--persistent", "--undefinesource", "--bandwidth", "5"];
    let mut virsh = lab.command(Node::HostA, "virsh");
    let mut other = virsh.arg("migrate").args(options).args(["o1", "qemu+tcp://host-b/system"]).spawn()?;
    while lab.state(Node::HostB, "o1")?.is_none() {
        ensure!(other.try_wait()?.is_none(), "virsh migrates");
    }
    let run = recover(lab)?;
    ensure!(other.wait()?.success(), "the other's migration is left alone");
    run.expect(0, "o1", "migrated")?;
    ensure!(run.events()?.iter().any(|event| event["event"] == "adopt" && event["domain"] == "o1"), "{}", run.stdout);
    assert_moved(lab, &guests, "o1")
}
