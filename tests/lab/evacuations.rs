//! Evacuations of guests with live traffic: each technique, the mix, each way to connect, the dry run.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tsmig_lab::{DEFAULT_LINK, Lab, Node, Rate};

use crate::harness::{Guests, Test, assert_states, idle, info, receiver, run, sender, start};

pub const TESTS: &[(&str, Test)] = &[
    // It waits for no other, and no other for it, if it comes first.
    (ALONE, thirty),
    ("pre_copy_moves_a_guest_with_its_traffic", pre_copy),
    ("post_copy_moves_a_guest_with_its_traffic", post_copy),
    ("mixed_evacuation_over_ssh_by_the_default_plan", mixed),
    ("post_copies_wait_for_a_guest_of_their_kind", proof),
    ("over_tcp_as_over_ssh", over_tcp),
    ("the_client_manages_where_the_source_cannot_reach_the_destination", client_managed),
    ("a_bandwidth_cap_is_kept_on_the_wire", bandwidth_cap),
    ("a_dry_run_changes_nothing", dry_run),
    ("the_same_machine_under_two_names_is_refused", same_machine),
    ("an_interrupted_pre_copy_stays_at_the_source", interrupted),
    ("hosts_set_up_as_debian_ships_them_evacuate_by_pre_copy", as_debian_ships),
];

/// The test that no other runs beside: while thirty guests boot, the hosts of other labs do not answer in time.
pub const ALONE: &str = "thirty_guests_move_at_1_gbit_many_at_once";

fn pre_copy(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("i1")])?;
    lab.run(Node::HostA, &["virsh", "autostart", "i1"])?;
    let run = run(lab, &["evacuate", "host-a", "host-b", "--technique", "pre-copy", "--output", "json"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    assert_states(lab, "i1", None, Some("running"))?;
    guests.assert_alive(lab)?;
    ensure!(info(lab, Node::HostB, "i1", "Persistent")? == "yes");
    ensure!(info(lab, Node::HostB, "i1", "Autostart")? == "enable", "autostart moves with the definition");
    let domain = &run.report()?["domains"][0];
    ensure!(domain["technique"] == "pre-copy" && domain["outcome"] == "migrated", "{domain}");
    ensure!(domain["bytes"].as_u64().is_some_and(|bytes| bytes > 50 << 20), "{domain}");
    ensure!(domain["downtime_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{domain}");
    Ok(())
}

fn post_copy(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("o1")])?;
    let run = run(lab, &["evacuate", "host-a", "host-b", "--technique", "post-copy", "--output", "json"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    assert_states(lab, "o1", None, Some("running"))?;
    guests.assert_alive(lab)?;
    let events = run.events()?;
    let phases: Vec<_> = events.iter().filter(|e| e["event"] == "phase").filter_map(|e| e["phase"].as_str()).collect();
    ensure!(phases.contains(&"post-copy"), "the source was seen in post-copy: {phases:?}");
    let domain = &run.report()?["domains"][0];
    ensure!(domain["technique"] == "post-copy" && domain["outcome"] == "migrated", "{domain}");
    Ok(())
}

/// A guest goes first by pre-copy, whichever the planner takes, and a post-copy of its kind follows.
fn proof(lab: &Lab) -> Result<()> {
    let small = idle("scout").memory_mib(96);
    let guests = Guests::boot(lab, vec![sender("o1"), sender("o2"), small])?;
    let careful = |command: &[&str]| run(lab, &[command, &["--trust-destination=false"]].concat());
    let plan = careful(&["plan", "host-a", "host-b"])?;
    ensure!(plan.stdout.contains("proving host-b for pc-i440fx"), "{}", plan.stdout);
    let there = careful(&["evacuate", "host-a", "host-b", "--output", "json"])?;
    for name in ["scout", "o1", "o2"] {
        there.expect(0, name, "migrated")?;
    }
    let events = there.events()?;
    let launched = events.iter().position(|event| event["event"] == "launch" && event["technique"] == "post-copy");
    let proven = events.iter().position(|event| event["event"] == "done").context("one has come through")?;
    ensure!(launched.is_some_and(|launched| proven < launched), "a post-copy waits for the proof: {}", there.stdout);
    guests.assert_alive(lab)?;
    // The way back is another.
    let plan = careful(&["plan", "host-b", "host-a"])?;
    ensure!(plan.stdout.contains("proving host-a for pc-i440fx"), "{}", plan.stdout);
    guests.assert_alive(lab)
}

fn mixed(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("o1"), sender("o2"), receiver("i1"), receiver("i2")])?;
    let run = run(lab, &["evacuate", "host-a", "host-b", "--output", "json"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    guests.assert_alive(lab)?;
    let report = run.report()?;
    ensure!(report["outcome"] == "evacuated", "{report}");
    for (name, technique) in [("o1", "post-copy"), ("o2", "post-copy"), ("i1", "pre-copy"), ("i2", "pre-copy")] {
        assert_states(lab, name, None, Some("running"))?;
        let domains = report["domains"].as_array().context("domains")?;
        let domain = domains.iter().find(|domain| domain["domain"] == name).context("every domain is reported")?;
        ensure!(domain["technique"] == technique, "{domain}");
    }
    ensure!(lab.run(Node::HostA, &["virsh", "list", "--all", "--name"])?.trim().is_empty(), "host-a is empty");
    Ok(())
}

fn over_tcp(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("i1")])?;
    let run = run(lab, &["evacuate", "qemu+tcp://host-a/system", "qemu+tcp://host-b/system", "--link", "100Mbit"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    ensure!(run.stdout.contains("total migration time") && run.stdout.contains("migrated"), "{}", run.stdout);
    assert_states(lab, "i1", None, Some("running"))?;
    guests.assert_alive(lab)
}

fn client_managed(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("i1"), sender("o1")])?;
    // Only the client knows host-b by this name.
    let run =
        run(lab, &["evacuate", "host-a", "qemu+tcp://host-b-mgmt/system", "--link", "100Mbit", "--output", "json"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    for name in ["i1", "o1"] {
        assert_states(lab, name, None, Some("running"))?;
        ensure!(info(lab, Node::HostB, name, "Persistent")? == "yes");
    }
    guests.assert_alive(lab)?;
    let notices = run.events()?.into_iter().filter(|event| event["event"] == "notice").collect::<Vec<_>>();
    ensure!(notices.len() == 1 && notices[0]["message"].as_str().is_some_and(|m| m.contains("this client manages")));
    Ok(())
}

/// The bytes that the source has put on its wire since it is up.
fn sent(lab: &Lab) -> Result<f64> {
    let counter = lab.run(Node::HostA, &["cat", "/sys/class/net/uplink/statistics/tx_bytes"])?;
    Ok(counter.trim().parse()?)
}

fn bandwidth_cap(lab: &Lab) -> Result<()> {
    const CAP: f64 = 40e6;
    for technique in ["pre-copy", "post-copy"] {
        // Without traffic of their own, so that only migrations are on the wire.
        Guests::boot(lab, vec![idle("c1"), idle("c2")])?;
        let mut running =
            start(lab, &["evacuate", "host-a", "host-b", "--technique", technique, "--bandwidth", "40Mbit"])?;
        running.wait_for_progress("c1")?;
        let (from, before) = (Instant::now(), sent(lab)?);
        let run = running.end()?;
        let (seconds, bits) = (from.elapsed().as_secs_f64(), (sent(lab)? - before) * 8.0);
        ensure!(run.status == 0, "{technique}: {} {}", run.stdout, run.stderr);
        // libvirt counts memory, the wire headers too; and what was sent before the limit held is in QEMU's buffers.
        ensure!(bits / seconds <= 1.15 * CAP, "{technique}: {bits} bits in {seconds} s, with a cap of {CAP} bit/s");
        ensure!(bits > 200e6, "{technique}: there was something to limit, not {bits} bits");
        lab.remove_all_guests()?;
    }
    Ok(())
}

fn dry_run(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("o1"), receiver("i1").transient()])?;
    let look = || -> Result<Vec<String>> {
        let mut seen = Vec::new();
        for &host in lab.hosts() {
            seen.push(lab.run(host, &["virsh", "list", "--all"])?);
        }
        for name in ["o1", "i1"] {
            seen.push(lab.run(Node::HostA, &["virsh", "dumpxml", name])?);
            seen.push(lab.run(Node::HostA, &["virsh", "domjobinfo", name])?);
        }
        Ok(seen)
    };
    let before = look()?;
    let run = run(lab, &["evacuate", "host-a", "host-b", "--dry-run", "--output", "json"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    let plan = run.plan()?;
    ensure!(plan["schema"] == "tsmig.plan/2", "{plan}");
    ensure!(plan["migrations"].as_array().is_some_and(|steps| steps.len() == 2), "{plan}");
    ensure!(look()? == before, "nothing changed on either host");
    guests.assert_alive(lab)
}

fn same_machine(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("i1")])?;
    let run = run(lab, &["evacuate", "host-a", "qemu+tcp://host-a-mgmt/system"])?;
    ensure!(run.status == 1 && run.stderr.contains("same machine"), "{}", run.stderr);
    assert_states(lab, "i1", Some("running"), None)?;
    guests.assert_alive(lab)
}

fn interrupted(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("o1")])?;
    let limit = || lab.run(Node::HostA, &["virsh", "migrate-getspeed", "o1"]);
    let before = limit()?;
    let mut running =
        start(lab, &["evacuate", "host-a", "host-b", "--technique", "pre-copy", "--bandwidth", "10Mbit"])?;
    running.wait_for_phase("o1", "pre-copy")?;
    running.wait_for_progress("o1")?;
    running.signal(Signal::SIGINT)?;
    let run = running.end()?;
    let error = run.expect(130, "o1", "remains")?;
    ensure!(error.contains("interrupted") && run.report()?["outcome"] == "interrupted", "{error}");
    ensure!(limit()? == before, "the limit of this run is none for later migrations");
    assert_states(lab, "o1", Some("running"), None)?;
    guests.assert_alive(lab)
}

fn thirty(lab: &Lab) -> Result<()> {
    let specs: Vec<_> = (1..=30).map(|number| idle(&format!("g{number}")).memory_mib(96)).collect();
    // A few at a time, so that each boots within its time.
    let booted = specs.chunks(6).map(|few| Guests::boot(lab, few.to_vec())).collect::<Result<Vec<_>>>()?;
    let set_links = |rate| lab.hosts().iter().try_for_each(|&host| lab.set_rate(host, rate));
    set_links(Rate::mbit(1000))?;
    let run = run(lab, &["evacuate", "host-a", "host-b", "--concurrency", "30", "--link", "1Gbit", "--output", "json"]);
    set_links(DEFAULT_LINK)?;
    let run = run?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    let (mut in_flight, mut most) = (0_usize, 0);
    for event in run.events()? {
        match event["event"].as_str() {
            Some("launch") => in_flight += 1,
            Some("done") => in_flight -= 1,
            _ => {}
        }
        most = most.max(in_flight);
    }
    ensure!(most > 6, "{most} at once");
    for guest in &specs {
        run.expect(0, &guest.name, "migrated")?;
        assert_states(lab, &guest.name, None, Some("running"))?;
    }
    booted.iter().try_for_each(|guests| guests.assert_alive(lab))
}

/// QEMU as a user of its own, who may not use userfaultfd. That libvirt remembers the owners of files stays off: it tells
/// hosts apart by when they booted, and the lab's hosts share one kernel and one directory, so that the destination at times
/// took a guest's console for a file that another guest of its own uses.
const AS_DEBIAN_SHIPS: [&str; 4] =
    ["user = \"libvirt-qemu\"", "group = \"libvirt-qemu\"", "dynamic_ownership = 1", "remember_owner = 0"];

/// How the lab's hosts are set up.
const AS_THE_LAB: [&str; 4] = ["user = \"root\"", "group = \"root\"", "dynamic_ownership = 1", "remember_owner = 0"];

fn as_debian_ships(lab: &Lab) -> Result<()> {
    let set = |options: &[&str]| lab.hosts().iter().try_for_each(|&host| lab.set_qemu_options(host, options));
    set(&AS_DEBIAN_SHIPS)?;
    let result = evacuate_as_debian_ships(lab);
    // Before the guests go: the libvirtd that starts now still knows them.
    set(&AS_THE_LAB)?;
    result
}

fn evacuate_as_debian_ships(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("o1"), receiver("i1")])?;
    let planned = run(lab, &["plan", "host-a", "host-b"])?;
    ensure!(planned.stdout.contains("vm.unprivileged_userfaultfd=1"), "{planned:?}");
    // One by one, since pre-copies of guests with traffic may not converge beside each other.
    let options = ["--post-copy", "o1", "--concurrency", "1", "--output", "json"];
    let run = run(lab, &[&["evacuate", "host-a", "host-b"], &options[..]].concat())?;
    for name in ["o1", "i1"] {
        run.expect(0, name, "migrated")?;
        assert_states(lab, name, None, Some("running"))?;
    }
    let report = run.report()?;
    let domains = report["domains"].as_array().context("domains")?;
    ensure!(domains.iter().all(|domain| domain["technique"] == "pre-copy"), "{report}");
    guests.assert_alive(lab)
}
