//! What scripts build upon: the return after maintenance.

use anyhow::{Result, ensure};
use tsmig_lab::{Lab, Node};

use crate::harness::{Guests, Test, assert_states, receiver, run, sender};

pub const TESTS: &[(&str, Test)] = &[("what_a_run_moved_returns_and_nothing_else", returns)];

fn returns(lab: &Lab) -> Result<()> {
    let native = receiver("native").host(Node::HostB);
    let guests = Guests::boot(lab, vec![sender("o1"), receiver("gone"), native])?;
    let file = lab.shared_dir().join("report.json");
    let path = &*file.to_string_lossy();
    let out = run(lab, &["evacuate", "host-a", "host-b", "--report", path])?;
    ensure!(out.status == 0, "{} {}", out.stdout, out.stderr);
    lab.remove_guest("gone")?;
    let back = run(lab, &["evacuate", "host-b", "host-a", "--from-report", path, "--output", "json"])?;
    ensure!(back.status == 0, "{} {}", back.stdout, back.stderr);
    ensure!(back.stderr.contains("gone (UUID") && back.stderr.contains("not at host-b any more"), "{}", back.stderr);
    ensure!(back.report()?["domains"].as_array().is_some_and(|domains| domains.len() == 1), "{}", back.stdout);
    assert_states(lab, "o1", Some("running"), None)?;
    assert_states(lab, "native", None, Some("running"))?;
    let again = run(lab, &["evacuate", "host-b", "host-a", "--from-report", path, "--output", "json"])?;
    ensure!(again.status == 0 && again.report()?["domains"] == serde_json::json!([]), "{}", again.stdout);
    guests.forget("gone").assert_alive(lab)
}
