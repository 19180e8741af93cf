//! A destination has room for what comes, and what of a guest's memory crosses is known before it does.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tsmig_lab::{Lab, Node, Rate};

use tsmig::engine::recovery::journal::{self, Arrival, Entry, Journal};

use crate::harness::{Guests, Test, assert_refused, assert_states, idle, receiver, run, sender, start};

pub const TESTS: &[(&str, Test)] = &[
    ("domains_without_room_at_the_destination_are_named", memory),
    ("shared_memory_of_the_destination_s_guests_is_not_free", shared_memory),
    ("what_another_run_still_brings_is_not_free", two_runs),
    ("file_backed_memory_is_never_post_copied", file_backed),
    ("what_of_the_memory_is_not_blank_is_looked_at_and_that_is_what_crosses", blank_memory),
];

fn memory(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("g1"), idle("g2")])?;
    lab.set_free_memory(Node::HostB, Some(200))?;
    let refused = run(lab, &["evacuate", "host-a", "host-b"]);
    let partial = run(lab, &["evacuate", "host-a", "host-b", "--partial"]);
    lab.set_free_memory(Node::HostB, None)?;
    let refused = refused?;
    ensure!(refused.status == 1, "{} {}", refused.stdout, refused.stderr);
    let crowded: Vec<_> = refused.stderr.lines().filter(|line| line.contains("of memory at host-b")).collect();
    ensure!(crowded.len() == 1 && crowded[0].contains("free some there"), "one of the two fits: {}", refused.stderr);
    let partial = partial?;
    ensure!(partial.status == 3, "{} {}", partial.stdout, partial.stderr);
    // Which one goes first hangs on what was seen of them, and that is never quite the same twice.
    let stayed = if lab.state(Node::HostA, "g1")?.is_some() { "g1" } else { "g2" };
    let moved = if stayed == "g1" { "g2" } else { "g1" };
    assert_states(lab, stayed, Some("running"), None)?;
    assert_states(lab, moved, None, Some("running"))?;
    guests.assert_alive(lab)
}

fn shared_memory(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("g1")])?;
    let resident = "<domain type='qemu'><name>resident</name><memory unit='MiB'>128</memory><memoryBacking>\
                    <source type='memfd'/><access mode='shared'/><allocation mode='immediate'/></memoryBacking>\
                    <os><type arch='x86_64' machine='pc'>hvm</type></os></domain>";
    let script = "printf %s \"$1\" > /run/resident.xml && virsh create --paused /run/resident.xml && \
                  printf 'MemTotal: 16777216 kB\nMemFree: 65536 kB\nBuffers: 0 kB\nCached: 163840 kB\n' > /run/meminfo && \
                  mount --bind /run/meminfo /proc/meminfo";
    lab.run(Node::HostB, &["sh", "-ec", script, "sh", resident])?;
    let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join("memory.toml");
    std::fs::write(&config, "[hosts.host-b]\nmemory = \"1GiB\"\n")?;
    let refused = run(lab, &["evacuate", "host-a", "host-b"]);
    let config = config.to_str().context("a path in UTF-8")?;
    let told = run(lab, &["plan", "host-a", "host-b", "--config", config, "--output", "json"]);
    lab.set_free_memory(Node::HostB, None)?;
    let words = ["of memory at host-b", "224.0 MiB free or in caches, less 128.0 MiB of shared memory of its guests"];
    assert_refused(lab, &guests, &refused?, &words)?;
    let told = told?.plan()?;
    ensure!(told["migrations"][0]["domain"] == "g1", "the configuration says what guests may have: {told}");
    Ok(())
}

fn two_runs(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("g1")])?;
    let state = lab.run(Node::Client, &["sh", "-c", "printf %s \"$XDG_STATE_HOME\""])?;
    let directory = Path::new(state.trim()).join("tsmig");
    let capabilities = lab.run(Node::HostB, &["virsh", "capabilities"])?;
    let uuid = capabilities.split_once("<uuid>").and_then(|(_, rest)| rest.split_once("</uuid>"));
    let destination = uuid.context("host-b has a UUID")?.0;

    // The other run is this process: there are but two hosts, and its source would be a third.
    let other = Journal::open(&directory, "host-c", "host-c")?.0;
    other.begin("host-c", [("host-b".to_owned(), destination.to_owned())].into())?;
    let arrival = Arrival { destination: "host-b".to_owned(), memory_bytes: 100 << 20 };
    other.record(&Entry::Plan { arrivals: [("c1".to_owned(), arrival)].into() })?;
    lab.set_free_memory(Node::HostB, Some(200))?;
    let refused = run(lab, &["evacuate", "host-a", "host-b"]);
    drop(other);
    let words = ["of memory at host-b", "less 100.0 MiB that other runs still bring"];
    let refused = refused.and_then(|refused| assert_refused(lab, &guests, &refused, &words).map(|()| refused));
    let told =
        refused.map(|refused| refused.stdout.contains("another run still brings 100.0 MiB from host-c to host-b"));

    // It has ended; and what this one brings is known as long as it is on its way.
    let mut running = start(lab, &["evacuate", "host-a", "host-b"])?;
    let moving = running.wait_for_progress("g1");
    let seen = journal::promises(&directory, "host-c", destination);
    let run = running.end();
    lab.set_free_memory(Node::HostB, None)?;
    ensure!(told?, "the plan tells of the other run");
    moving?;
    ensure!(seen.len() == 1 && seen[0].source == "host-a" && seen[0].bytes > 64 << 20, "{seen:?}");
    run?.expect(0, "g1", "migrated")?;
    ensure!(journal::promises(&directory, "host-c", destination).is_empty(), "it has ended, too");
    guests.assert_alive(lab)
}

fn file_backed(lab: &Lab) -> Result<()> {
    let backing = "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>";
    let sends = sender("g1").element(backing);
    let guests = Guests::boot(lab, vec![sends])?;
    let forced = run(lab, &["evacuate", "host-a", "host-b", "--technique", "post-copy"])?;
    assert_refused(lab, &guests, &forced, &["g1: post-copy is forced", "its memory is backed by a file"])?;
    let free = run(lab, &["evacuate", "host-a", "host-b", "--output", "json"])?;
    ensure!(free.status == 0, "{} {}", free.stdout, free.stderr);
    ensure!(free.report()?["domains"][0]["technique"] == "pre-copy", "{}", free.stdout);
    assert_states(lab, "g1", None, Some("running"))?;
    guests.assert_alive(lab)
}

fn blank_memory(lab: &Lab) -> Result<()> {
    let filled = [("full", 192, 90), ("emptier", 128, 20)];
    let mut boot = filled.map(|(name, memory, fill)| idle(name).memory_mib(memory).fill_mib(fill)).to_vec();
    // It writes less than a measured dirty rate errs by.
    boot.push(idle("writer").memory_mib(128).dirty(Rate(8 * (4 << 20)), 24));
    let guests = Guests::boot(lab, boot)?;
    // Nothing else tells how much of their memory crosses.
    lab.run(Node::Client, &[env!("CARGO_BIN_EXE_tsmig"), "model", "forget", "--migrations"])?;
    for (name, ..) in filled {
        lab.run(Node::HostA, &["virsh", "dommemstat", name, "--period", "0", "--live"])?;
    }
    let named = |window: &str, kind: &str| {
        let options = ["--interval", "200ms", "--window", window, "--output", "json"];
        let plan = run(lab, &[&["plan", "host-a", "host-b"], options.as_slice()].concat())?.plan()?;
        let notes = plan["notes"].as_array().into_iter().flatten();
        let named: Vec<_> = notes.filter(|note| note["kind"] == kind).cloned().collect();
        Ok::<_, anyhow::Error>(named)
    };
    ensure!(named("11s", "memory-assumed")?.is_empty(), "it is looked at");
    // libvirt measures for a second, which is waited for.
    ensure!(named("400ms", "dirty-rate-assumed")?.is_empty(), "a short window");

    // Long enough for two looks on a machine that has other things to do.
    let profile = run(lab, &["profile", "host-a", "--window", "20s", "--output", "json"])?;
    let profiles: Value = serde_json::from_str(&profile.stdout)?;
    // In the order of their names.
    let rewritten = |domain: usize| {
        let seen = &profiles["hosts"][0]["domains"][domain]["rewritten"];
        Ok::<_, anyhow::Error>(seen["bytes"].as_f64().context("it is looked at twice")? / 1048576.0)
    };
    ensure!(rewritten(0)? < 8.0 && rewritten(1)? < 8.0, "they write nothing: {}", profile.stdout);
    let mib = rewritten(2)?;
    ensure!(mib > 16.0 && mib < 36.0, "it writes to 24 MiB, and {mib} MiB were seen: {}", profile.stdout);
    let report =
        run(lab, &["evacuate", "host-a", "host-b", "--exclude", "writer", "--window", "1s", "--output", "json"])?;
    let report = report.report()?;
    for (name, memory, _) in filled {
        let of = |list: &Value, key: &str, member: &str| {
            let domains = list.as_array().into_iter().flatten();
            let bytes = domains.filter(|domain| domain[key] == name).find_map(|domain| domain[member].as_u64());
            Some(bytes? as f64 / 1048576.0)
        };
        let looked = of(&profiles["hosts"][0]["domains"], "name", "filled_bytes").context(name)?;
        let crossed = of(&report["domains"], "domain", "bytes").context(name)?;
        let off = (looked - crossed).abs() / memory as f64;
        ensure!(off < 0.08, "{name} of {memory} MiB: {looked:.1} MiB by a look, and {crossed:.1} MiB crossed");
    }
    guests.assert_alive(lab)
}
