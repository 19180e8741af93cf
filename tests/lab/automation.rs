//! What scripts build upon: the return after maintenance, plans that are run later.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use tsmig_lab::{Lab, Node};

use crate::harness::{Guests, Test, assert_states, receiver, run, saved, sender};

pub const TESTS: &[(&str, Test)] = &[
    ("what_a_run_moved_returns_and_nothing_else", returns),
    ("a_saved_plan_runs_later_unless_it_does_not_hold_any_more", saved_plan),
    ("hooks_run_around_each_domain_and_stop_what_they_are_before", hooks),
    ("a_timeout_in_the_configuration_is_for_the_domains_that_it_names", timeouts),
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
    ensure!(back.stderr.contains("gone (UUID") && back.stderr.contains("not found on host-b"), "{}", back.stderr);
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

/// What the hooks of the test do: note that they ran, and fail where they are told to.
const HOOK: &str = r#"#!/bin/sh
echo "$TSMIG_HOOK $TSMIG_DOMAIN $TSMIG_OUTCOME" >> "$1/log"
case "$TSMIG_HOOK $TSMIG_DOMAIN" in
"after-run "*) test -z "$TSMIG_REPORT" || grep -q '"partial"' "$TSMIG_REPORT" ;;
*) test ! -e "$1/$TSMIG_HOOK.$TSMIG_DOMAIN.fails" || { echo "no, not $TSMIG_DOMAIN"; exit 1; } ;;
esac
"#;

fn hooks(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("o1"), receiver("i1")])?;
    let directory = lab.shared_dir().join("hooks");
    fs::create_dir_all(&directory)?;
    let (program, log) = (directory.join("hook"), directory.join("log"));
    fs::write(&program, HOOK)?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    let names = ["before-run", "after-run", "before-domain", "after-domain"];
    let hook = |name| format!("{name} = [{program:?}, {directory:?}]\n");
    let config = directory.join("config.toml");
    fs::write(&config, format!("[hooks]\n{}", names.map(hook).concat()))?;
    let (config, report) = (config.to_string_lossy(), directory.join("report.json"));
    let evacuate = ["--config", &*config, "evacuate", "host-a", "host-b"];
    let with = |more: &[&str]| run(lab, &[&evacuate[..], more].concat());

    let dry = with(&["--dry-run"])?;
    let named = names.iter().all(|name| dry.stderr.contains(&format!("hook that would run, {name}: ")));
    ensure!(dry.status == 0 && named && !log.exists(), "{}", dry.stderr);

    fs::write(directory.join("before-run..fails"), "")?;
    let stopped = with(&[])?;
    ensure!(stopped.status == 1 && stopped.stderr.contains("nothing was moved, since the before-run hook"));
    ensure!(stopped.stderr.contains("exit status: 1: no, not"), "{}", stopped.stderr);
    ensure!(fs::read_to_string(&log)? == "before-run  \nafter-run  failed\n", "{}", fs::read_to_string(&log)?);
    fs::remove_file(directory.join("before-run..fails"))?;
    fs::remove_file(&log)?;

    fs::write(directory.join("before-domain.i1.fails"), "")?;
    fs::write(directory.join("after-domain.o1.fails"), "")?;
    let ended = with(&["--report", &report.to_string_lossy(), "--output", "json"])?;
    let error = ended.expect(3, "i1", "remains")?;
    ensure!(error.contains("the before-domain hook") && error.ends_with("no, not i1"), "{error}");
    ended.expect(3, "o1", "migrated")?;
    let notices = ended.notices()?;
    ensure!(
        notices.iter().any(|n| n.starts_with("o1: the after-domain hook") && n.ends_with("no, not o1")),
        "{notices:?}"
    );
    ensure!(ended.events()?[1]["event"] != "report" && !ended.stderr.contains("warning"), "{}", ended.stderr);
    let log = fs::read_to_string(&log)?;
    let mut lines: Vec<_> = log.lines().collect();
    ensure!(lines.first() == Some(&"before-run  ") && lines.last() == Some(&"after-run  partial"), "{log}");
    lines.sort_unstable();
    let domains = ["after-domain i1 remains", "after-domain o1 migrated", "after-run  partial"];
    ensure!(lines == [&domains[..], &["before-domain i1 ", "before-domain o1 ", "before-run  "]].concat(), "{log}");
    assert_states(lab, "i1", Some("running"), None)?;
    assert_states(lab, "o1", None, Some("running"))?;
    guests.assert_alive(lab)
}

fn timeouts(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("slow"), receiver("other")])?;
    let config = lab.shared_dir().join("timeouts.toml");
    fs::write(&config, "[[domains]]\nmatch = \"slow\"\ntimeout = \"1s\"\n")?;
    let options = ["--technique", "pre-copy", "--concurrency", "1", "--output", "json"];
    let evacuate = ["--config", &*config.to_string_lossy(), "evacuate", "host-a", "host-b"];
    let ended = run(lab, &[&evacuate[..], &options].concat())?;
    let error = ended.expect(3, "slow", "remains")?;
    ensure!(error.ends_with("it did not finish within 1 s and was cancelled"), "{error}");
    ended.expect(3, "other", "migrated")?;
    assert_states(lab, "slow", Some("running"), None)?;
    assert_states(lab, "other", None, Some("running"))?;
    guests.assert_alive(lab)
}
