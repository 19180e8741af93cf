//! Domains that are not just running and persistent, and domains that can't move.

use anyhow::{Result, ensure};
use tsmig_lab::{GuestSpec, Lab, Node};

use crate::harness::{Guests, Test, assert_states, info, receiver, run, sender};

pub const TESTS: &[(&str, Test)] = &[
    ("a_transient_domain_arrives_transient_and_a_persistent_one_persistent", persistence),
    ("a_paused_domain_arrives_paused", paused),
    ("an_inactive_definition_moves_when_asked_for", inactive),
    ("a_taken_name_stops_everything_unless_partial", collision),
];

fn persistence(lab: &Lab) -> Result<()> {
    let guests =
        Guests::boot(lab, vec![receiver("kept"), receiver("passing").transient(), sender("flying").transient()])?;
    let run = run(lab, &["evacuate", "host-a", "host-b"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    guests.assert_alive(lab)?;
    for (name, persistent) in [("kept", "yes"), ("passing", "no"), ("flying", "no")] {
        assert_states(lab, name, None, Some("running"))?;
        ensure!(info(lab, Node::HostB, name, "Persistent")? == persistent, "{name}");
    }
    Ok(())
}

fn paused(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![GuestSpec::new("still").paused()])?;
    let run = run(lab, &["evacuate", "host-a", "host-b", "--output", "json"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    ensure!(run.report()?["domains"][0]["technique"] == "pre-copy", "a paused domain can't go by post-copy");
    assert_states(lab, "still", None, Some("paused"))?;
    lab.run(Node::HostB, &["virsh", "resume", "still"])?;
    guests.assert_alive(lab)
}

fn inactive(lab: &Lab) -> Result<()> {
    lab.add_guests(&[GuestSpec::new("asleep").inactive()])?;
    let without = run(lab, &["evacuate", "host-a", "host-b"])?;
    ensure!(without.status == 0, "{}", without.stderr);
    assert_states(lab, "asleep", Some("shut off"), None)?;
    ensure!(without.stdout.contains("asleep") && without.stdout.contains("--offline"), "{}", without.stdout);
    let with = run(lab, &["evacuate", "host-a", "host-b", "--offline"])?;
    ensure!(with.status == 0, "{}", with.stderr);
    assert_states(lab, "asleep", None, Some("shut off"))
}

fn collision(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("free"), receiver("taken")])?;
    lab.run(Node::HostB, &["sh", "-c", "virsh define /dev/stdin <<'XML'\n<domain type='qemu'><name>taken</name><memory>1024</memory><os><type arch='x86_64'>hvm</type></os></domain>\nXML"])?;
    let refused = run(lab, &["evacuate", "host-a", "host-b"])?;
    ensure!(refused.status == 1, "{}", refused.stderr);
    ensure!(refused.stderr.contains("taken: host-b has another domain of this name"), "{}", refused.stderr);
    assert_states(lab, "free", Some("running"), None)?;
    assert_states(lab, "taken", Some("running"), Some("shut off"))?;
    let partial = run(lab, &["evacuate", "host-a", "host-b", "--partial"])?;
    ensure!(partial.status == 3, "{} {}", partial.stdout, partial.stderr);
    ensure!(partial.stdout.contains("partly evacuated: 1 of 2"), "{}", partial.stdout);
    assert_states(lab, "free", None, Some("running"))?;
    assert_states(lab, "taken", Some("running"), Some("shut off"))?;
    guests.assert_alive(lab)
}
