//! Evacuations between hosts of different Debian releases: to a newer one, and the way back.

use anyhow::{Context, Result, ensure};
use tsmig_lab::{GuestSpec, Lab, Node, Release};

use crate::faults::{assert_moved, guest, unplug_and_begin};
use crate::harness::{Guests, Run, Test, assert_states, hosts_of, idle, run};

pub const TESTS: &[(&str, Test)] = &[
    ("releases_bookworm_to_trixie_by_both_techniques", to_trixie),
    ("releases_trixie_to_forky_loses_no_guest", to_forky),
    ("releases_forky_to_trixie_and_back_by_both_techniques", to_trixie_and_back),
    ("releases_a_post_copy_that_breaks_is_resumed_on_forky", resumed_on_forky),
];

/// A guest with traffic that goes by post-copy and one without that goes by pre-copy: Debian 12's QEMU corrupts guests
/// that migrate by pre-copy under load without KVM.
fn pair(host: Node) -> Vec<GuestSpec> {
    vec![guest("o1").host(host), idle("i1").memory_mib(96).host(host)]
}

/// Evacuates one host to the other by both techniques.
fn evacuate(lab: &Lab, from: Node, to: Node) -> Result<Run> {
    let techniques = ["--post-copy", "o1", "--pre-copy", "i1", "--on-stall", "post-copy", "--output", "json"];
    let run = run(lab, &[&["evacuate", from.name(), to.name()], &techniques[..]].concat())?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    for (name, technique) in [("o1", "post-copy"), ("i1", "pre-copy")] {
        run.expect(0, name, "migrated")?;
        let report = run.report()?;
        let domains = report["domains"].as_array().context("domains")?;
        let domain = domains.iter().find(|domain| domain["domain"] == name).context("every domain is reported")?;
        ensure!(domain["technique"] == technique, "{domain}");
        ensure!(lab.state(from, name)?.is_none(), "{name} has left {from}");
    }
    Ok(run)
}

fn to_trixie(lab: &Lab) -> Result<()> {
    let lab = &hosts_of(lab, Release::Bookworm, Release::Trixie)?;
    let guests = Guests::boot(lab, pair(Node::HostA))?;
    evacuate(lab, Node::HostA, Node::HostB)?;
    guests.assert_alive(lab)
}

/// QEMU 10.0.13 gives a guest virtio queues of 1024 entries, which QEMU 11.1 refuses. Whether these two or others come
/// with the releases, a guest either moves, or stays as it was and the report says why.
fn to_forky(lab: &Lab) -> Result<()> {
    let lab = &hosts_of(lab, Release::Trixie, Release::Forky)?;
    let guests = Guests::boot(lab, pair(Node::HostA))?;
    let run = run(lab, &["evacuate", "host-a", "host-b", "--trust-destination=false", "--output", "json"])?;
    for name in ["o1", "i1"] {
        match run.status {
            0 => assert_states(lab, name, None, Some("running"))?,
            _ => {
                let error = run.expect(1, name, "remains")?;
                ensure!(!error.is_empty(), "{}", run.stdout);
                assert_states(lab, name, Some("running"), None)?;
            }
        }
    }
    guests.assert_alive(lab)
}

fn to_trixie_and_back(lab: &Lab) -> Result<()> {
    let lab = &hosts_of(lab, Release::Trixie, Release::Forky)?;
    let guests = Guests::boot(lab, pair(Node::HostB))?;
    // Forky's QEMU gives back what the destination can't load.
    assert_proof_is_wanted(lab, ("host-b", "host-a"), false)?;
    let out = evacuate(lab, Node::HostB, Node::HostA)?;
    // QEMU 11.1 raises its count of passes many times within each if a switch to post-copy is possible.
    let first_pass = |event: &&serde_json::Value| {
        event["event"] == "progress" && event["domain"] == "i1" && event["percent"].as_u64() < Some(80)
    };
    for event in out.events()?.iter().filter(first_pass) {
        ensure!(event["pass"] == 1, "{event}");
    }
    guests.assert_alive(lab)?;
    assert_proof_is_wanted(lab, ("host-a", "host-b"), true)?;
    evacuate(lab, Node::HostA, Node::HostB)?;
    guests.assert_alive(lab)
}

/// Whether a post-copy waits until a guest of its kind has come through.
fn assert_proof_is_wanted(lab: &Lab, (from, to): (&str, &str), wanted: bool) -> Result<()> {
    let plan = run(lab, &["plan", from, to, "--trust-destination=false", "--output", "json"])?.plan()?;
    let first = &plan["migrations"][0]["technique"];
    let sender = plan["migrations"].as_array().into_iter().flatten().find(|step| step["domain"] == "o1");
    let by = &sender.context("o1 moves")?["technique"];
    ensure!(plan["proof"].is_object() == wanted, "{plan}");
    ensure!(if wanted { first == "pre-copy" } else { by == "post-copy" }, "{plan}");
    Ok(())
}

fn resumed_on_forky(lab: &Lab) -> Result<()> {
    let lab = &hosts_of(lab, Release::Trixie, Release::Forky)?;
    let guests = Guests::boot(lab, vec![idle("o1").memory_mib(96).host(Node::HostB)])?;
    let out = run(lab, &["evacuate", "host-b", "host-a", "--technique", "pre-copy"])?;
    ensure!(out.status == 0, "{} {}", out.stdout, out.stderr);
    let running = unplug_and_begin(lab)?;
    lab.run(Node::HostA, &["virsh", "domjobabort", "o1", "--postcopy"])?;
    let run = running.end()?;
    run.expect(0, "o1", "migrated")?;
    ensure!(run.notices()?.iter().any(|notice| notice.contains("is resumed")), "{:?}", run.notices());
    assert_moved(lab, &guests, "o1")
}
