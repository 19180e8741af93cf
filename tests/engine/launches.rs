//! In which order migrations are launched, how many at once, and with which share of the link.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use crate::scripted::{Script, Scripted};
use crate::support::{await_phase, journal, options, outcomes, plan, says, start};
use tsmig::domain::{Phase, Technique, Transfer};
use tsmig::engine::events::{Event, Timed};
use tsmig::engine::recovery::journal::Journal;
use tsmig::engine::{Evacuation, Replanned, Schedule, Scheduled};
use tsmig::plan::Plan;
use tsmig::report::{DomainOutcome, Outcome};

#[test]
fn migrations_start_in_order_and_no_more_at_once_than_each_step_allows() {
    let names = ["p1", "p2", "q1", "q2"];
    // None arrives before it is told to, so that one launched too early finds others in flight.
    let hosts = Arc::new(Scripted::new(&names.map(|name| (name, Script::Copies))));
    let steps = [("p1", 2), ("p2", 2), ("q1", 1), ("q2", 1)].map(|(n, c)| (n, Technique::PreCopy, c));
    let (events, _, thread) = start(plan(&steps), &hosts);
    let mut launches = Vec::new();
    let mut wait_for = |awaited: &[&str]| {
        let mut awaited = awaited.to_vec();
        let all = events.iter().find(|event| {
            match event {
                Event::Launch { domain, .. } => launches.push(domain.clone()),
                Event::Progress { domain, .. } => awaited.retain(|name| name != domain),
                _ => {}
            }
            awaited.is_empty()
        });
        assert!(all.is_some(), "{awaited:?} are never on their way");
    };
    wait_for(&["p1", "p2"]);
    hosts.finish("p1");
    hosts.finish("p2");
    for name in ["q1", "q2"] {
        wait_for(&[name]);
        hosts.finish(name);
    }
    let report = thread.join().unwrap();
    assert_eq!(launches, names);
    assert_eq!(*hosts.company.lock().unwrap(), [0, 1, 0, 0], "others in flight at each launch");
    assert_eq!(report.outcome, Outcome::Evacuated);
    assert_eq!(report.domains[0].downtime_seconds, Some(0.25));
    assert!(matches!(events.iter().last(), Some(Event::Report(_))));
}

#[test]
fn the_next_is_launched_when_one_has_nearly_arrived() {
    let hosts = Arc::new(Scripted::new(&[("p1", Script::HasNearlyArrived), ("p2", Script::Arrives)]));
    let steps = [("p1", Technique::PreCopy, 1), ("p2", Technique::PreCopy, 1)];
    let ahead = Plan { launch_ahead: true, ..plan(&steps) };
    let (events, _, thread) = start(ahead, &hosts);
    events.iter().find(|e| matches!(e, Event::Done(report) if report.domain == "p2")).unwrap();
    hosts.finish("p1");
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated, DomainOutcome::Migrated]);
    assert_eq!(*hosts.company.lock().unwrap(), [0, 1]);
}

#[test]
fn a_migration_that_finds_no_port_is_launched_again_when_another_has_ended() {
    let hosts = Arc::new(Scripted::new(&[("a", Script::NeedsThePort), ("b", Script::NeedsThePort)]));
    let steps = ["a", "b"].map(|name| (name, Technique::PreCopy, 2));
    let (events, _, thread) = start(plan(&steps), &hosts);
    let turned_away = |event: &Event| says(event, "busy");
    events.iter().find(turned_away).unwrap();
    let first = hosts.in_flight.lock().unwrap()[0].clone();
    let second = if first == "a" { "b" } else { "a" };
    hosts.finish(&first);
    await_phase(&events, second, Phase::PreCopy);
    hosts.finish(second);
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated; 2]);
    assert_eq!(hosts.with(second, |domain| domain.requests.len()), 2, "not asked again while that was in vain");
}

#[test]
fn one_that_a_busy_destination_turned_away_is_not_left_open_in_the_journal() {
    let directory =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("journals").join(format!("busy-{}", std::process::id()));
    let open = || Journal::open(&directory, "id", "host-a").unwrap();
    let hosts = Arc::new(Scripted::new(&[("a", Script::NeedsThePort), ("b", Script::NeedsThePort)]));
    let steps = ["a", "b"].map(|name| (name, Technique::PreCopy, 2));
    let (sender, events) = channel();
    let evacuation = Evacuation::new(&plan(&steps), Vec::new(), hosts.clone(), Arc::new(open().0), options());
    let control = evacuation.control();
    let thread = thread::spawn(move || evacuation.run(&mut |timed: &Timed| drop(sender.send(timed.event.clone()))));
    let turned_away = |event: &Event| says(event, "busy");
    events.iter().find(turned_away).unwrap();
    control.interrupt();
    assert_eq!(thread.join().unwrap().outcome, Outcome::Interrupted);
    assert_eq!(open().1, []);
}

#[test]
fn a_pre_copy_that_was_switched_gets_the_share_of_a_post_copy() {
    let hosts = Arc::new(Scripted::new(&[("stalls", Script::Stalls), ("other", Script::Copies)]));
    let steps = ["stalls", "other"].map(|name| (name, Technique::PreCopy, 2));
    let (events, _, thread) = start(plan(&steps), &hosts);
    await_phase(&events, "stalls", Phase::PostCopy);
    let set = || hosts.limits.lock().unwrap().iter().filter(|(name, _)| name == "stalls").count();
    let before = set();
    // Others are held back for its sake now, but for a guest that waits for its memory.
    hosts.with("other", |domain| domain.script = Script::NearlyConverged);
    let looks = events.iter().filter(|e| matches!(e, Event::Progress { domain, .. } if domain == "other"));
    assert!(looks.take(20).any(|_| set() > before), "its share is told");
    let limit = hosts.limits.lock().unwrap().iter().rev().find(|(name, _)| name == "stalls").map(|(_, mib)| *mib);
    assert!(limit >= Some(59), "half of 119 MiB/s: {limit:?}");
    hosts.finish("stalls");
    hosts.finish("other");
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated; 2]);
}

#[test]
fn a_post_copy_that_became_a_pre_copy_gets_the_link_for_its_last_passes() {
    let mut hosts = Scripted::new(&[("falls-back", Script::NearlyConverged), ("other", Script::HasNearlyArrived)]);
    hosts.post_copies = false;
    let hosts = Arc::new(hosts);
    let steps = [("falls-back", Technique::PostCopy, 2), ("other", Technique::PreCopy, 2)];
    let (events, _, thread) = start(plan(&steps), &hosts);
    // The first of two was shared by when the second is told.
    let in_last_pass =
        |e: &Event| matches!(e, Event::Progress { domain, progress } if domain == "falls-back" && progress.pass == 2);
    events.iter().filter(in_last_pass).nth(1).unwrap();
    let looks = || hosts.with("other", |domain| domain.looks);
    let held_back = || hosts.limits.lock().unwrap().contains(&("other".to_owned(), 7));
    let until = looks() + 5;
    while !held_back() && looks() < until {
        thread::yield_now();
    }
    let limits = hosts.limits.lock().unwrap().clone();
    hosts.finish("falls-back");
    hosts.finish("other");
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated; 2]);
    assert!(limits.contains(&("other".to_owned(), 7)), "an eighth of half of 119 MiB/s: {limits:?}");
}

#[test]
fn what_waits_is_launched_as_it_was_replaced() {
    let hosts = Arc::new(Scripted::new(&[("a", Script::Copies), ("b", Script::Arrives), ("c", Script::Arrives)]));
    let (sender, events) = channel();
    let steps = ["a", "b", "c"].map(|name| (name, Technique::PreCopy, 1));
    let evacuation = Evacuation::new(&plan(&steps), Vec::new(), hosts.clone(), journal(), options());
    let control = evacuation.control();
    let thread = thread::spawn(move || evacuation.run(&mut |timed: &Timed| drop(sender.send(timed.event.clone()))));
    await_phase(&events, "a", Phase::PreCopy);
    let first = Scheduled { uuid: "c".to_owned(), transfer: Transfer::by(Technique::PostCopy), concurrency: 1 };
    let reason = Replanned { sooner_seconds: Some(2.0), setup_seconds: None, pace: 1.0 };
    control.replace(Schedule { order: vec![first], reason });
    hosts.finish("a");
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated; 3]);
    let launch =
        |event| if let Event::Launch { domain, technique, .. } = event { Some((domain, technique)) } else { None };
    let launched: Vec<_> = events.iter().filter_map(launch).collect();
    assert_eq!(launched, [("c".to_owned(), Technique::PostCopy), ("b".to_owned(), Technique::PreCopy)]);
}
