//! What scripts build upon: the return after maintenance, plans that are run later.

use anyhow::{Result, ensure};
use tsmig_lab::{Lab, Node};

use crate::harness::{Guests, Test, assert_states, receiver, run, saved, sender};

pub const TESTS: &[(&str, Test)] = &[
    ("what_a_run_moved_returns_and_nothing_else", returns),
    ("a_saved_plan_runs_later_unless_it_does_not_hold_any_more", saved_plan),
];

fn returns(lab: &Lab) -> Result<()> {
    let native = receiver("native").host(Node::HostB);
    let guests = Guests::boot(lab, vec![sender("o1"), receiver("gone"), native])?;
    let file = lab.shared_dir().join("report.json");
    let path = &*file.to_string_lossy();
    let out = run(lab, &["evacuate", "host-a", "host-b", "--report", path])?;
    ensure!(out.status == 0, "{} {}", out.stdout, out.stderr);
    let report = saved(&file, "report.json")?;
    ensure!(report["history"]["traffic"].as_array().is_some_and(|traffic| !traffic.is_empty()), "{report}");
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

fn saved_plan(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("o1")])?;
    let file = lab.shared_dir().join("plan.json");
    let path = &*file.to_string_lossy();
    let planned = run(lab, &["plan", "host-a", "host-b", "--save", path])?;
    ensure!(planned.status == 0, "{}", planned.stderr);
    saved(&file, "plan.json")?;

    lab.add_guests(&[receiver("new")])?;
    let refused = run(lab, &["evacuate", "host-a", "host-b", "--plan", path])?;
    ensure!(refused.status == 1 && refused.stderr.contains("new is new at host-a"), "{}", refused.stderr);
    for name in ["o1", "new"] {
        assert_states(lab, name, Some("running"), None)?;
    }
    let accepted = ["evacuate", "host-a", "host-b", "--plan", path, "--accept-drift", "--dry-run", "--output", "json"];
    let accepted = run(lab, &accepted)?;
    ensure!(accepted.status == 0 && accepted.stderr.contains("new is new at host-a"), "{}", accepted.stderr);
    let plan = accepted.plan()?;
    ensure!(plan["migrations"][0]["domain"] == "o1" && plan["stays"][0]["domain"] == "new", "{plan}");
    lab.remove_guest("new")?;

    let moved = run(lab, &["evacuate", "host-a", "host-b", "--plan", path, "--output", "json"])?;
    ensure!(moved.status == 0 && moved.stderr.contains("the saved plan still holds"), "{}", moved.stderr);
    assert_states(lab, "o1", None, Some("running"))?;
    guests.assert_alive(lab)
}
