//! Post-copy: the request, what breaks it, and how few domains it can lose.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;

use crate::scripted::{STALLED_MS, Script, Scripted};
use crate::support::{
    await_all, await_phase, journal, notices, options, outcomes, plan, reaches, run, says, start, start_with,
};
use tsmig::domain::{Condition, Phase, Presence, Technique};
use tsmig::engine::events::{Event, Notice};
use tsmig::engine::migration::OnStall;
use tsmig::engine::{Evacuation, Options};
use tsmig::plan::{Plan, Reason};
use tsmig::report::{DomainOutcome, DomainReport, Outcome};

#[test]
fn post_copy_is_enabled_requested_until_it_runs_and_awaited() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::Copies)]));
    let (events, _, thread) = start(plan(&[("o1", Technique::PostCopy, 1)]), &hosts);
    await_phase(&events, "o1", Phase::PostCopy);
    hosts.finish("o1");
    let report = thread.join().unwrap();
    assert_eq!(report.outcome, Outcome::Evacuated);
    hosts.with("o1", |domain| {
        assert_eq!(domain.post_copy_requests, 3);
        assert_eq!(domain.requests[0].transfer.technique, Technique::PostCopy);
    });
}

#[test]
fn a_hybrid_is_switched_once_all_of_its_memory_has_crossed() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::EndsSlowly)]));
    let (events, _, thread) = start(plan(&[("o1", Technique::Hybrid, 1)]), &hosts);
    let mut passes = Vec::new();
    loop {
        match events.recv().unwrap() {
            Event::Progress { progress, .. } => passes.push(progress.pass),
            Event::Phase { phase: Phase::PostCopy, .. } => break,
            _ => {}
        }
    }
    assert_eq!((passes.first(), passes.last()), (Some(&1), Some(&2)), "{passes:?}");
    hosts.finish("o1");
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated]);
    assert_eq!(report.domains[0].technique, Some(Technique::Hybrid));
    assert!(hosts.with("o1", |domain| domain.requests.iter().all(|request| request.post_copy)));
}

#[test]
fn a_post_copy_that_breaks_is_resumed_until_it_gets_through() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::Breaks)]));
    let (events, _, thread) = start(plan(&[("o1", Technique::PostCopy, 1)]), &hosts);
    await_phase(&events, "o1", Phase::PostCopy);
    hosts.with("o1", |domain| domain.wake.take().unwrap().send(()).unwrap());
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated]);
    let resumed = hosts.with("o1", |domain| domain.requests.iter().map(|r| r.resume).collect::<Vec<_>>());
    assert_eq!(resumed, [false, true, true]);
    assert_eq!(report.domains[0].technique, Some(Technique::PostCopy));
}

#[test]
fn a_destination_that_cannot_post_copy_gets_pre_copies_and_is_told_about_once() {
    let mut hosts = Scripted::new(&[("o1", Script::Arrives), ("o2", Script::Arrives)]);
    hosts.post_copies = false;
    let hosts = Arc::new(hosts);
    let (events, report) = run(&plan(&["o1", "o2"].map(|name| (name, Technique::PostCopy, 1))), &hosts);
    assert_eq!(report.outcome, Outcome::Evacuated);
    let hints = notices(&events);
    assert!(hints.len() == 1 && hints[0].contains("vm.unprivileged_userfaultfd=1"), "{hints:?}");
    let asked = |name| hosts.with(name, |domain| domain.requests.iter().map(|r| r.post_copy).collect::<Vec<_>>());
    assert_eq!((asked("o1"), asked("o2")), (vec![true, false], vec![false]));
    assert_eq!(report.domains[0].technique, Some(Technique::PreCopy));
}

#[test]
fn a_guest_that_is_paused_as_its_migration_begins_goes_by_pre_copy() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::PausesAtItsLaunch), ("o2", Script::Arrives)]));
    let (events, report) = run(&plan(&["o1", "o2"].map(|name| (name, Technique::PostCopy, 1))), &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated; 2]);
    assert_eq!(notices(&events), [""; 0]);
    let asked = |name| hosts.with(name, |domain| domain.requests.iter().map(|r| r.post_copy).collect::<Vec<_>>());
    assert_eq!((asked("o1"), asked("o2")), (vec![true, false], vec![true]), "the other may post-copy");
    assert_eq!(report.domains[0].technique, Some(Technique::PreCopy));
}

/// The domains that were launched by now, as far as that has not been heard.
fn launched(events: &Receiver<Event>) -> Vec<String> {
    let launch = |event| if let Event::Launch { domain, .. } = event { Some(domain) } else { None };
    events.try_iter().filter_map(launch).collect()
}

#[test]
fn the_first_post_copy_goes_alone_until_its_guest_runs_at_the_destination() {
    let hosts = Arc::new(Scripted::new(&[("p1", Script::LoadsSlowly), ("p2", Script::Copies)]));
    let steps = ["p1", "p2"].map(|name| (name, Technique::PostCopy, 2));
    let (events, _, thread) = start(plan(&steps), &hosts);
    await_phase(&events, "p1", Phase::PostCopy);
    assert_eq!(launched(&events), [""; 0], "p2 waits, though two may be in flight");
    assert!(hosts.with("p2", |domain| domain.requests.is_empty()));
    hosts.with("p1", |domain| domain.destination = Presence::Present(Condition::RunningPostCopy));
    await_phase(&events, "p2", Phase::PostCopy);
    hosts.finish("p1");
    hosts.finish("p2");
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated; 2]);
}

#[test]
fn no_more_than_the_limit_are_in_post_copy_whatever_the_steps_allow() {
    let names = ["p1", "p2", "p3", "q1"];
    let hosts = Arc::new(Scripted::new(&names.map(|name| (name, Script::Copies))));
    let technique = |name: &str| if name == "q1" { Technique::PreCopy } else { Technique::PostCopy };
    let limited = Plan { post_copy_limit: Some(2), ..plan(&names.map(|name| (name, technique(name), 4))) };
    let (events, _, thread) = start(limited, &hosts);
    await_all(&events, &[&reaches("p1", Phase::PostCopy), &reaches("p2", Phase::PostCopy)]);
    assert!(hosts.with("p3", |domain| domain.requests.is_empty()), "it waits, though four may be in flight");
    hosts.finish("p1");
    await_phase(&events, "p3", Phase::PostCopy);
    assert!(hosts.with("p2", |domain| domain.source != Presence::Absent), "one made room, not both");
    ["p2", "p3", "q1"].iter().for_each(|name| hosts.finish(name));
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated; 4]);
}

#[test]
fn a_stalled_pre_copy_is_switched_only_if_the_downtime_that_it_may_have_is_not_enough() {
    let course = |limit: u64, phase: Phase| {
        let hosts = Arc::new(Scripted::new(&[("stalls", Script::Stalls)]));
        let mut plan = plan(&[("stalls", Technique::PreCopy, 1)]);
        plan.migrations[0].transfer.max_downtime_ms = Some(limit);
        let (events, _, thread) = start(plan, &hosts);
        let allowed = |event: &Event| says(event, "a downtime of 0.60 s is allowed now");
        await_all(&events, &[&allowed, &reaches("stalls", phase)]);
        if phase == Phase::PostCopy {
            hosts.finish("stalls");
        }
        assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated]);
        let allowed = hosts.downtimes.lock().unwrap().iter().map(|(_, limit)| *limit).collect::<Vec<_>>();
        (allowed, hosts.with("stalls", |domain| domain.post_copy_requests) > 0)
    };
    assert_eq!(course(STALLED_MS, Phase::Checking), (vec![600, 1000], false));
    assert_eq!(course(800, Phase::PostCopy), (vec![600, 800], true));
}

/// Of pre-copies that end, but slowly, which are switched to post-copy for that, by their fifth pass. A guest has proven their
/// ground, and another is in post-copy all the time.
fn switched_early<const N: usize>(options: Options, names: [&str; N], edit: impl FnOnce(&mut Plan)) -> [bool; N] {
    let scripts = names.map(|name| (name, Script::EndsSlowly));
    let others = [("proof", Script::Arrives), ("pulls", Script::Copies)];
    let hosts = Arc::new(Scripted::new(&[&others[..], &scripts].concat()));
    let others = [("proof", Technique::PreCopy, 1), ("pulls", Technique::PostCopy, 4)];
    let mut plan = plan(&[&others[..], &names.map(|name| (name, Technique::PreCopy, 4))].concat());
    edit(&mut plan);
    let (events, _, thread) = start_with(options, plan, &hosts);
    let in_its_fifth = |event: &Event, name: &str| match event {
        Event::Progress { domain, progress } => domain == name && progress.pass >= 5,
        _ => false,
    };
    let (mut notices, mut open) = (0, names.to_vec());
    while !open.is_empty() {
        let event = events.recv().unwrap();
        notices += usize::from(matches!(event, Event::Notice(Notice::Switching { .. })));
        open.retain(|name| !in_its_fifth(&event, name) && !reaches(name, Phase::PostCopy)(&event));
    }
    let asked = names.map(|name| hosts.with(name, |domain| domain.post_copy_requests > 0));
    assert_eq!(notices, asked.iter().filter(|asked| **asked).count());
    ["pulls"].iter().chain(&names).for_each(|name| hosts.finish(name));
    assert_eq!(outcomes(&thread.join().unwrap()), vec![DomainOutcome::Migrated; N + 2]);
    asked
}

#[test]
fn a_slow_pre_copy_is_switched_unless_the_user_has_said_anything_else() {
    let replan = || Options { replan: true, ..options() };
    thread::scope(|scope| {
        let plain = scope.spawn(|| {
            switched_early(replan(), ["chosen", "forced", "may-stop"], |plan| {
                plan.migrations[3].reason = Reason::Forced { origin: "--technique".to_owned() };
                plan.migrations[4].transfer.max_downtime_ms = Some(300);
            })
        });
        let refused = [
            (Options { on_stall: Some(OnStall::PostCopy), ..replan() }, None),
            (options(), None),
            // The other takes the only place.
            (replan(), Some(1)),
        ];
        let refused = refused.map(|(options, post_copy_limit)| {
            let said = format!("on stall {:?}, replan {}, limit {post_copy_limit:?}", options.on_stall, options.replan);
            let limit = move |plan: &mut Plan| plan.post_copy_limit = post_copy_limit;
            (said, scope.spawn(move || switched_early(options, ["chosen"], limit)))
        });
        assert_eq!(plain.join().unwrap(), [true, false, false]);
        for (said, run) in refused {
            assert_eq!(run.join().unwrap(), [false], "{said}");
        }
    });
}

#[test]
fn a_stalled_pre_copy_switches_only_once_the_first_post_copy_runs_at_the_destination() {
    let hosts = Arc::new(Scripted::new(&[("stalls", Script::Stalls), ("post", Script::LoadsSlowly)]));
    let steps = [("stalls", Technique::PreCopy, 2), ("post", Technique::PostCopy, 2)];
    let (events, _, thread) = start(plan(&steps), &hosts);
    let stalled = |event: &Event| says(event, "does not converge");
    await_all(&events, &[&reaches("post", Phase::PostCopy), &stalled]);
    // Several looks later it still has not been asked to switch.
    let looks = hosts.with("stalls", |domain| domain.looks);
    while hosts.with("stalls", |domain| domain.looks) < looks + 3 {
        thread::yield_now();
    }
    assert_eq!(hosts.with("stalls", |domain| domain.post_copy_requests), 0);
    hosts.with("post", |domain| domain.destination = Presence::Present(Condition::RunningPostCopy));
    await_phase(&events, "stalls", Phase::PostCopy);
    hosts.finish("stalls");
    hosts.finish("post");
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated; 2]);
}

#[test]
fn a_destination_that_cannot_load_a_guest_loses_one_and_pre_copies_go_on() {
    let hosts = Arc::new(Scripted::new(&[
        ("pre", Script::Copies),
        ("lost", Script::CannotBeLoaded),
        ("never", Script::CannotBeLoaded),
    ]));
    let steps = [("pre", Technique::PreCopy, 3), ("lost", Technique::PostCopy, 3), ("never", Technique::PostCopy, 3)];
    let (events, _, thread) = start(plan(&steps), &hosts);
    let lost = events.iter().find_map(|event| if let Event::Done(report) = event { Some(report) } else { None });
    assert_eq!(lost.unwrap().outcome, DomainOutcome::Lost);
    hosts.finish("pre");
    let report = thread.join().unwrap();
    let (migrated, lost, remains) = (DomainOutcome::Migrated, DomainOutcome::Lost, DomainOutcome::Remains);
    assert_eq!(outcomes(&report), [migrated, lost, remains]);
    assert_eq!(report.outcome.exit_status(), 4);
    assert!(hosts.with("never", |domain| domain.requests.is_empty()));
    let error = report.domains[1].error().unwrap();
    for words in ["host-a", "`virsh destroy lost`, then `virsh start lost`", "memory is lost"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let error = report.domains[2].error().unwrap();
    assert!(error.contains("lost was lost"), "{error}");
}

#[test]
fn a_post_copy_that_has_not_switched_is_cancelled_when_another_is_lost() {
    let hosts = Arc::new(Scripted::new(&[
        ("first", Script::Copies),
        ("lost", Script::Copies),
        ("waits", Script::Stalls),
        ("never", Script::Copies),
    ]));
    let steps = [
        ("first", Technique::PostCopy, 3),
        ("lost", Technique::PostCopy, 3),
        ("waits", Technique::PreCopy, 3),
        ("never", Technique::PostCopy, 3),
    ];
    let (events, _, thread) = start(plan(&steps), &hosts);
    await_all(&events, &[&reaches("lost", Phase::PostCopy), &reaches("waits", Phase::PreCopy)]);
    hosts.with("lost", |domain| {
        domain.source = Presence::Present(Condition::PausedPostCopyFailed);
        domain.destination = Presence::Present(Condition::ShutOff);
        domain.wake.take().unwrap().send(()).unwrap();
    });
    // It stalls after the loss, and is cancelled instead of switched.
    let done = |event| if let Event::Done(report) = event { Some(report.domain) } else { None };
    assert_eq!(events.iter().filter_map(done).take(2).collect::<Vec<_>>(), ["lost", "waits"]);
    hosts.finish("first");
    let report = thread.join().unwrap();
    assert_eq!(
        outcomes(&report),
        [DomainOutcome::Migrated, DomainOutcome::Lost, DomainOutcome::Remains, DomainOutcome::Remains]
    );
    assert_eq!(hosts.with("waits", |domain| domain.post_copy_requests), 0);
    assert!(hosts.with("never", |domain| domain.requests.is_empty()));
    let error = report.domains[1].error().unwrap();
    assert!(error.contains("on host-b: `virsh undefine lost --keep-nvram --keep-tpm`"), "{error}");
}

#[test]
fn after_a_loss_in_an_earlier_run_all_go_by_pre_copy() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::Arrives), ("was-lost", Script::Arrives)]));
    let earlier = run(&plan(&[("was-lost", Technique::PostCopy, 1)]), &hosts).1.domains;
    let earlier = earlier.into_iter().map(|report| DomainReport { outcome: DomainOutcome::Lost, ..report }).collect();
    let plan = plan(&[("o1", Technique::PostCopy, 1)]);
    let evacuation = Evacuation::new(&plan, earlier, hosts.clone(), journal(), options());
    let report = evacuation.run(&mut |_| {});
    assert_eq!(outcomes(&report), [DomainOutcome::Lost, DomainOutcome::Migrated]);
    assert_eq!(hosts.with("o1", |domain| domain.requests[0].transfer.technique), Technique::PreCopy);
}
