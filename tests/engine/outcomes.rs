//! What the report says of each domain, and the exit status.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::scripted::{Script, Scripted};
use crate::support::{await_all, journal, options, outcomes, plan, reaches, run, run_with, says, start};
use tsmig::domain::{Condition, Fault, Phase, Presence, Technique};
use tsmig::engine::events::{Event, Notice};
use tsmig::engine::{Evacuation, Options, Timeout};
use tsmig::obstacle::Obstacle;
use tsmig::plan;
use tsmig::report::{DomainOutcome, Outcome};

#[test]
fn a_timeout_for_one_domain_cancels_that_one_alone() {
    let hosts = Arc::new(Scripted::new(&[("db", Script::Copies), ("web", Script::Arrives)]));
    let steps = [("db", Technique::PreCopy, 2), ("web", Technique::PreCopy, 2)];
    let timeout = Timeout::Fixed(Duration::from_secs(1));
    let options = Options { timeouts: HashMap::from([("db".to_owned(), timeout)]), ..options() };
    let (_, report) = run_with(options, &plan(&steps), &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::Remains, DomainOutcome::Migrated]);
    let error = report.domains[0].error().unwrap();
    assert!(error.ends_with("did not finish within 1 s and was cancelled"), "{error}");
}

#[test]
fn a_failed_migration_is_named_and_leaves_its_siblings_alone() {
    let hosts = Arc::new(Scripted::new(&[("good", Script::Arrives), ("bad", Script::Refused)]));
    let (_, report) = run(&plan(&[("bad", Technique::PreCopy, 2), ("good", Technique::PreCopy, 2)]), &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::Remains, DomainOutcome::Migrated]);
    assert_eq!(report.outcome.exit_status(), 3);
    let error = report.domains[0].error().unwrap();
    assert_eq!(error, "it is at host-a as before: host-b: Cannot access storage file '/disk'");
}

#[test]
fn a_refused_domain_is_in_the_report_and_in_the_status() {
    let hosts = Arc::new(Scripted::new(&[("good", Script::Arrives)]));
    let mut plan = plan(&[("good", Technique::PreCopy, 1)]);
    plan.refused.push(plan::Refusal {
        domain: "gpu".to_owned(),
        uuid: "gpu".to_owned(),
        forced: None,
        obstacle: Obstacle::Stated { words: "an assigned host device".to_owned() },
    });
    let (_, report) = run(&plan, &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated, DomainOutcome::Remains]);
    assert_eq!(report.outcome.exit_status(), 3);
    assert_eq!(report.domains[1].error().as_deref(), Some("an assigned host device"));
}

#[test]
fn a_definition_that_would_leave_something_behind_is_looked_at_again_and_stays() {
    let hosts = Arc::new(Scripted::new(&[("saved", Script::Arrives), ("free", Script::Arrives)]));
    hosts.with("saved", |domain| domain.left_behind.saved = true);
    let (_, report) = run(&plan(&["saved", "free"].map(|name| (name, Technique::Offline, 1))), &hosts);
    assert_eq!(outcomes(&report)[0], DomainOutcome::Remains);
    assert!(report.domains[0].error().unwrap().contains("managed-save image"));
    let asked = |name| hosts.with(name, |domain| domain.requests.len());
    assert_eq!((asked("saved"), asked("free")), (0, 1), "libvirt is not even asked");
}

#[test]
fn a_transient_domain_stays_transient() {
    let hosts = Arc::new(Scripted::new(&[("transient", Script::Arrives), ("stored", Script::Arrives)]));
    run(&plan(&[("transient", Technique::PreCopy, 1), ("stored", Technique::PreCopy, 1)]), &hosts);
    assert!(!hosts.with("transient", |domain| domain.requests[0].persistent));
    assert!(hosts.with("stored", |domain| domain.requests[0].persistent));
}

#[test]
fn a_domain_that_an_error_pauses_is_named_and_only_one_that_ran_before_counts() {
    let hosts = Arc::new(Scripted::new(&[("old", Script::Arrives), ("new", Script::FailsOnItsWay)]));
    hosts.with("old", |domain| domain.source = Presence::Present(Condition::Paused));
    for name in ["old", "new"] {
        hosts.with(name, |domain| domain.fault = Some(Fault::IoError));
    }
    let steps = |names: &[&'static str]| names.iter().map(|name| (*name, Technique::PreCopy, 1)).collect::<Vec<_>>();
    let (_, report) = run(&plan(&steps(&["old"])), &hosts);
    assert_eq!((report.outcome.exit_status(), report.domains[0].paused_by), (0, None));
    let notice = report.domains[0].notice.as_ref().unwrap().to_string();
    assert!(notice.contains("paused at host-b by an I/O error, as it was before"), "{notice}");
    let (_, report) = run(&plan(&steps(&["new"])), &hosts);
    assert_eq!((report.outcome.exit_status(), report.domains[0].paused_by), (3, Some(Fault::IoError)));
    let notice = report.domains[0].notice.as_ref().unwrap().to_string();
    assert!(notice.contains("although it ran before") && notice.contains("virsh resume new"), "{notice}");
}

#[test]
fn a_domain_that_somebody_else_has_moved_is_looked_for_at_the_destination() {
    let hosts =
        Arc::new(Scripted::new(&[("moved", Script::HasLeft), ("moves", Script::HasLeft), ("off", Script::HasLeft)]));
    hosts.arrive("moved");
    for (name, destination) in [("moves", Presence::Present(Condition::PausedMigration)), ("off", Presence::Absent)] {
        hosts.with(name, |domain| (domain.source, domain.destination) = (Presence::Absent, destination));
    }
    let steps = ["moved", "moves", "off"].map(|name| (name, Technique::PreCopy, 3));
    let (events, _, thread) = start(plan(&steps), &hosts);
    let told = |name: &str| {
        let words = format!("{name} was moved by somebody else and is at host-b");
        move |event: &Event| says(event, &words)
    };
    await_all(&events, &[&told("moved"), &reaches("moves", Phase::Checking)]);
    hosts.arrive("moves");
    await_all(&events, &[&told("moves")]);
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated, DomainOutcome::Migrated, DomainOutcome::Gone]);
    assert_eq!(report.outcome.exit_status(), 3);
    let error = report.domains[2].error().unwrap();
    assert!(error.contains("third host") && !error.contains("virsh start"), "{error}");
}

#[test]
fn a_domain_that_started_at_the_source_meanwhile_is_in_the_report_and_the_status() {
    let hosts =
        Arc::new(Scripted::new(&[("web", Script::Arrives), ("late", Script::Arrives), ("kept", Script::Arrives)]));
    let mut plan = plan(&[("web", Technique::PreCopy, 1)]);
    // Shut off when planned; the other was excluded.
    for (name, kind) in [("late", plan::StayKind::ShutOff), ("kept", plan::StayKind::NotSelected)] {
        plan.stays.push(plan::Stay { domain: name.to_owned(), uuid: name.to_owned(), kind });
    }
    let evacuation = Evacuation::new(&plan, Vec::new(), hosts.clone(), journal(), options());
    let report = evacuation.wanting(|name, _| name != "kept", true).run(&mut |_| {});
    let names: Vec<_> = report.domains.iter().map(|domain| domain.domain.as_str()).collect();
    assert_eq!(names, ["web", "late"]);
    assert_eq!(report.outcome.exit_status(), 3);
    let error = report.domains[1].error().unwrap();
    assert!(error.contains("started on host-a after planning and was not moved"), "{error}");
}

#[test]
fn what_the_source_starts_by_itself_is_told_at_the_end() {
    let names = ["web", "kept", "asleep", "quiet"];
    let told = |empties: bool| {
        let hosts = Arc::new(Scripted::new(&names.map(|name| (name, Script::Arrives))));
        for name in ["web", "kept", "asleep"] {
            hosts.with(name, |domain| domain.autostart = true);
        }
        hosts.with("asleep", |domain| domain.source = Presence::Present(Condition::ShutOff));
        let plan = plan(&[("web", Technique::PreCopy, 1)]);
        let evacuation = Evacuation::new(&plan, Vec::new(), hosts.clone(), journal(), options());
        let mut told = Vec::new();
        evacuation.wanting(|name, _| name == "asleep", empties).run(&mut |timed| {
            if let Event::Notice(notice @ Notice::Autostart { domains, .. }) = &timed.event {
                told.push((domains.clone(), notice.to_string()));
            }
        });
        told
    };
    let [(domains, words)] = &told(true)[..] else { panic!("{:?}", told(true)) };
    assert_eq!(*domains, ["asleep", "kept"], "web has left");
    assert!(words.contains("host-a starts asleep, kept when it boots") && words.contains("virsh autostart --disable"));
    assert_eq!(told(false)[0].0, ["asleep"], "of a run that picked its domains, others are no news");
}

#[test]
fn domains_that_all_ended_are_no_success() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::HasLeft)]));
    hosts.with("o1", |domain| domain.source = Presence::Present(Condition::ShutOff));
    let (_, report) = run(&plan(&[("o1", Technique::PreCopy, 1)]), &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::Gone]);
    assert_eq!((report.outcome, report.outcome.exit_status()), (Outcome::Partial, 3));
    let error = report.domains[0].error().unwrap();
    assert!(error.contains("shut off at host-a; `virsh start o1` there starts it"), "{error}");
}

#[test]
fn a_run_does_not_wait_for_a_watch_that_has_failed() {
    let hosts = Arc::new(Scripted::new(&[("unwatched", Script::Panics), ("web", Script::Arrives)]));
    let steps = [("unwatched", Technique::PreCopy, 2), ("web", Technique::PreCopy, 2)];
    let (_, report) = run_with(options(), &plan(&steps), &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::NeedsRecovery, DomainOutcome::Migrated]);
    let error = report.domains[0].error().unwrap();
    assert!(error.contains("a fault of tsmig's own") && error.contains("tsmig recover host-a host-b"), "{error}");
}
