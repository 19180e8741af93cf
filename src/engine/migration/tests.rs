use super::*;
use crate::failure::Loss;
use Condition::*;
use Presence::{Absent, Present, Unknown};

fn job(transferred: u64, remaining: u64, pass: u64) -> JobStats {
    JobStats { total: 1000, transferred, remaining, pass, ..JobStats::default() }
}

fn course(technique: Technique) -> Course {
    Course {
        technique,
        post_copy: true,
        on_stall: Some(OnStall::PostCopy),
        switch_early: true,
        timeout_seconds: None,
        max_downtime_ms: None,
    }
}

/// What is seen while libvirt's call runs.
fn during<'a>(source: &'a Presence, job: Option<&'a JobStats>) -> Sight<'a> {
    Sight { calling: true, source, destination: None, job }
}

/// What is seen when no call runs.
fn after<'a>(source: &'a Presence, destination: &'a Presence) -> Sight<'a> {
    Sight { calling: false, source, destination: Some(destination), job: None }
}

#[test]
fn post_copy_is_asked_for_until_it_is_seen() {
    let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
    migration.allow_switch(true);
    let running = Present(Running);
    let mut look = |now, source: &Presence, job: Option<&JobStats>| {
        let action = migration.observe(now, &during(source, job), false);
        (action, migration.phase())
    };
    assert_eq!(look(0.1, &running, None).0, None, "there is no job to switch yet");
    assert_eq!(look(0.2, &running, Some(&job(0, 1000, 1))).0, Some(Action::StartPostCopy));
    assert_eq!(look(0.3, &running, Some(&job(1, 999, 1))).0, Some(Action::StartPostCopy));
    assert_eq!(look(0.4, &Present(PausedPostCopy), Some(&job(2, 998, 2))), (None, Phase::PostCopy));
}

#[test]
fn a_switch_waits_until_it_is_allowed_and_is_not_asked_for_once_it_is_forbidden() {
    let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
    let running = Present(Running);
    let mut look = |may_switch: bool, now: u32| {
        migration.allow_switch(may_switch);
        let job = job(now.into(), 900, 1);
        migration.observe(now.into(), &during(&running, Some(&job)), false)
    };
    assert_eq!(look(false, 1), None);
    assert_eq!(look(true, 2), Some(Action::StartPostCopy));
    assert_eq!(look(false, 3), None);
    migration.want_abort(Cause::Interrupted);
    let job = job(4, 900, 1);
    assert_eq!(migration.observe(4.0, &during(&running, Some(&job)), false), Some(Action::Abort));
}

#[test]
fn a_post_copy_whose_memory_still_crosses_is_not_lost() {
    let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
    let (half, absent) = (Present(PausedPostCopy), Absent);
    // Somebody else's, to a third host.
    for second in 1..10_u32 {
        let job = job(second.into(), 900, 1);
        let sight = Sight { job: Some(&job), ..after(&half, &absent) };
        assert_eq!(migration.observe(second.into(), &sight, true), None);
    }
}

#[test]
fn pre_copy_that_converges_is_never_switched() {
    let mut migration = Migration::new(course(Technique::PreCopy), 0.0);
    assert_eq!(migration.observe(1.0, &during(&Present(Running), Some(&job(1, 999, 1))), false), None);
    assert_eq!(migration.phase(), Phase::PreCopy);
}

/// A guest that writes as fast as the link carries: each pass begins with the same.
fn action_on_a_stall(on_stall: Option<OnStall>, post_copy: bool) -> Option<Action> {
    let course = Course { post_copy, on_stall, switch_early: false, ..course(Technique::PreCopy) };
    let mut migration = Migration::new(course, 0.0);
    migration.allow_switch(true);
    (1..=8_u32).find_map(|pass| {
        let job = job(u64::from(pass) * 400, 400, pass.into());
        migration.observe(f64::from(pass) * 2.0, &during(&Present(Running), Some(&job)), false)
    })
}

#[test]
fn a_stalled_pre_copy_is_dealt_with_as_asked() {
    assert_eq!(action_on_a_stall(Some(OnStall::PostCopy), true), Some(Action::StartPostCopy));
    assert_eq!(action_on_a_stall(Some(OnStall::PostCopy), false), Some(Action::Abort));
    assert_eq!(action_on_a_stall(Some(OnStall::Abort), true), Some(Action::Abort));
    assert_eq!(action_on_a_stall(Some(OnStall::AutoConverge), true), None, "QEMU does it");
    assert_eq!(action_on_a_stall(None, true), None);
}

/// A guest whose third pass begins with little less than its second; what is done in it.
fn action_on_slow_passes(course: Course, may_switch: bool) -> (Option<Action>, bool) {
    let mut migration = Migration::new(course, 0.0);
    // The passes begin with 1000, 400 and 340.
    let look = |migration: &mut Migration, now, pass: u64, remaining| {
        let job = job([1000, 1400, 1740][pass as usize - 1] - remaining, remaining, pass);
        migration.observe(now, &during(&Present(Running), Some(&job)), false)
    };
    look(&mut migration, 0.5, 1, 500);
    // The second pass is looked at all the time.
    for half in 0..=6_u32 {
        look(&mut migration, 1.0 + f64::from(half) * 0.5, 2, 400 - u64::from(half));
    }
    look(&mut migration, 4.2, 3, 340);
    let asked = migration.slower().is_some();
    // By the time that it is allowed, the link is shared otherwise.
    migration.share_again(2, false);
    migration.allow_switch(may_switch);
    (look(&mut migration, 4.5, 3, 330), asked)
}

#[test]
fn a_slow_pre_copy_is_switched_once_it_may_be() {
    let asked = course(Technique::PreCopy);
    assert_eq!(action_on_slow_passes(asked, true), (Some(Action::StartPostCopy), true));
    assert_eq!(action_on_slow_passes(asked, false), (None, true));
    let plain = Course { switch_early: false, ..asked };
    assert_eq!(action_on_slow_passes(plain, true), (None, false));
}

#[test]
fn more_downtime_comes_before_anything_else_is_done_about_a_stall() {
    for (on_stall, last) in [
        (OnStall::PostCopy, Some(Action::StartPostCopy)),
        (OnStall::Abort, Some(Action::Abort)),
        (OnStall::AutoConverge, None),
    ] {
        let asked = Course {
            max_downtime_ms: Some(1000),
            on_stall: Some(on_stall),
            switch_early: false,
            ..course(Technique::PreCopy)
        };
        let mut migration = Migration::new(asked, 0.0);
        migration.allow_switch(true);
        let mut actions = Vec::new();
        for half in 2..=18_u32 {
            let pass = u64::from(half / 2);
            let job = job(u64::from(half) * 200, 400, pass);
            let action = migration.observe(f64::from(half), &during(&Present(Running), Some(&job)), false);
            actions.extend(action.map(|action| (pass, action)));
        }
        let allowed = [(5, Action::AllowDowntime(600)), (6, Action::AllowDowntime(1000))];
        assert_eq!(actions[..2], allowed, "{on_stall:?}");
        assert_eq!(actions.get(2), last.map(|action| (7, action)).as_ref(), "{on_stall:?}");
    }
}

#[test]
fn a_migration_that_is_not_wanted_any_more_is_allowed_no_more_downtime() {
    let asked = Course { max_downtime_ms: Some(1000), ..course(Technique::PreCopy) };
    let mut migration = Migration::new(asked, 0.0);
    for pass in 1..=8_u32 {
        migration.want_abort(Cause::Interrupted);
        let job = job(u64::from(pass) * 400, 400, pass.into());
        let action = migration.observe(f64::from(pass) * 2.0, &during(&Present(Running), Some(&job)), false);
        assert_eq!(action, Some(Action::Abort));
    }
}

#[test]
fn a_silent_network_is_no_place_to_switch_over() {
    let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
    migration.allow_switch(true);
    let job = job(5, 995, 1);
    let actions: Vec<_> = (0..30)
        .filter_map(|half| migration.observe(f64::from(half) / 2.0, &during(&Present(Running), Some(&job)), false))
        .collect();
    assert_eq!(actions.last(), Some(&Action::Abort));
    assert_eq!(migration.cause(), Some(&Cause::Silent));
}

#[test]
fn nothing_aborts_a_post_copy() {
    let late = Course { timeout_seconds: Some(5.0), ..course(Technique::PostCopy) };
    let mut migration = Migration::new(late, 0.0);
    let source = Present(PausedPostCopy);
    migration.allow_switch(true);
    migration.observe(1.0, &during(&source, Some(&job(1, 999, 1))), false);
    migration.want_abort(Cause::Interrupted);
    // Late, silent, unwanted; also when the source does not answer, or says that it runs.
    for (now, source) in [(100.0, source), (200.0, Unknown("gone".into())), (300.0, Present(Running))] {
        let job = job(1, 999, 1);
        assert_eq!(migration.observe(now, &during(&source, Some(&job)), false), None);
        let stays = Present(PausedMigration);
        let sight = Sight { calling: false, destination: Some(&stays), ..during(&source, Some(&job)) };
        assert!(!matches!(migration.observe(now, &sight, true), Some(Action::Abort | Action::StartPostCopy)));
    }
}

#[test]
fn a_timeout_or_a_wish_aborts_at_the_source() {
    let in_time = Course { timeout_seconds: Some(5.0), ..course(Technique::PreCopy) };
    let mut late = Migration::new(in_time, 10.0);
    let running = Present(Running);
    assert_eq!(late.observe(14.9, &during(&running, Some(&job(1, 999, 1))), false), None);
    assert_eq!(late.observe(15.1, &during(&running, Some(&job(2, 998, 1))), false), Some(Action::Abort));
    assert_eq!(late.cause(), Some(&Cause::TimedOut { limit_seconds: 5.0 }));
    let mut unwanted = Migration::new(course(Technique::PostCopy), 0.0);
    unwanted.want_abort(Cause::Interrupted);
    assert_eq!(unwanted.observe(0.1, &during(&running, Some(&job(0, 1000, 1))), false), Some(Action::Abort));
}

#[test]
fn a_failed_post_copy_is_resumed_less_and_less_often_and_then_left_alone() {
    let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
    let (source, destination) = (Present(PausedPostCopyFailed), Present(RunningPostCopyFailed));
    let mut resumed = Vec::new();
    for second in 0_u32..2000 {
        match migration.observe(second.into(), &after(&source, &destination), true) {
            Some(Action::Resume) => resumed.push(second),
            Some(Action::End(verdict)) => {
                assert!(matches!(verdict, Verdict::NeedsRecovery(_)));
                break;
            }
            other => assert_eq!(other, None),
        }
    }
    assert_eq!(resumed[..6], [3, 8, 18, 33, 48, 63]);
    assert!(resumed.last().is_some_and(|last| (550..=600).contains(last)));
    // Nobody resumes towards a host that does not answer.
    let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
    let silent = Unknown("no answer".into());
    assert_eq!(migration.observe(1.0, &after(&source, &silent), true), None);
}

#[test]
fn a_call_that_does_not_return_is_waited_for_only_while_it_may_help() {
    let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
    let (moving, broken) = (Present(PausedPostCopy), Present(PausedPostCopyFailed));
    for second in 0_u32..1000 {
        let job = job(second.into(), 900, 2);
        assert_eq!(migration.observe(second.into(), &during(&moving, Some(&job)), false), None);
    }
    // TCP takes a while to notice.
    for second in 1000_u32..1100 {
        assert_eq!(migration.observe(second.into(), &during(&moving, None), false), None);
    }
    assert_eq!(acts_during(&mut migration, 1100, &broken, None), Some((1161, Action::LetGo)));
}

/// The first second from `start` on with an action, if libvirt's call stays out and the domain is seen so.
fn acts_during(
    migration: &mut Migration,
    start: u32,
    source: &Presence,
    job: Option<&JobStats>,
) -> Option<(u32, Action)> {
    (start..start + 3000)
        .find_map(|second| migration.observe(second.into(), &during(source, job), false).map(|action| (second, action)))
}

#[test]
fn a_post_copy_of_which_nothing_crosses_is_given_up_though_a_call_is_out() {
    // The destination hangs, and the network holds.
    let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
    let (moving, half, job) = (Present(PausedPostCopy), Present(RunningPostCopy), job(1, 999, 2));
    assert_eq!(acts_during(&mut migration, 0, &moving, Some(&job)), Some((1201, Action::LetGo)));
    let sight = Sight { job: Some(&job), ..after(&moving, &half) };
    let end = migration.observe(1202.0, &sight, false);
    assert!(matches!(end, Some(Action::End(Verdict::NeedsRecovery(_)))), "{end:?}");
}

#[test]
fn a_source_that_does_not_answer_about_a_domain_is_waited_for_as_what_it_said_last() {
    let silent = Unknown("no answer".into());
    for (last, limit) in [(Running, 600), (PausedPostCopy, 1200), (PausedPostCopyFailed, 60), (ShutOff, 60)] {
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        assert_eq!(migration.observe(0.0, &during(&Present(last), None), false), None);
        let since = if last == Running { 1 } else { 0 };
        let let_go = Some((since + limit + 1, Action::LetGo));
        assert_eq!(acts_during(&mut migration, 1, &silent, None), let_go, "{last}");
    }
}

#[test]
fn a_cancellation_without_effect_is_not_asked_for_ever() {
    // The switch-over has begun and the destination does not take the guest over, or libvirt sets it up and hangs.
    for source in [Present(PausedMigration), Present(Running)] {
        let (waits, job) = (Present(PausedMigration), job(0, 1000, 1));
        let let_go = || {
            let mut migration = Migration::new(course(Technique::PreCopy), 0.0);
            migration.want_abort(Cause::Interrupted);
            let acts = |second: u32| migration.observe(second.into(), &during(&source, Some(&job)), false);
            let actions: Vec<_> = (0..=601).map(acts).collect();
            let (last, asked) = actions.split_last().unwrap();
            assert!(asked.iter().all(|action| *action == Some(Action::Abort)), "{asked:?}");
            assert_eq!(*last, Some(Action::LetGo));
            migration
        };
        let sight = Sight { job: Some(&job), ..after(&source, &waits) };
        let mut migration = let_go();
        let ends = [602.0, 603.0].map(|now| migration.observe(now, &sight, false));
        assert!(matches!(ends, [Some(Action::Abort), Some(Action::End(Verdict::NeedsRecovery(_)))]), "{ends:?}");
        // The cancellation has its effect after all.
        let (mut migration, runs) = (let_go(), Present(Running));
        assert_eq!(migration.observe(602.0, &sight, false), Some(Action::Abort));
        let ends = [603.0, 604.0].map(|now| migration.observe(now, &after(&runs, &Absent), false));
        assert_eq!(ends, [None, Some(Action::End(Verdict::Remains))]);
    }
}

#[test]
fn a_time_limit_holds_for_a_migration_that_tells_nothing_of_itself() {
    let limited = Course { timeout_seconds: Some(30.0), ..course(Technique::PreCopy) };
    let mut migration = Migration::new(limited, 0.0);
    assert_eq!(acts_during(&mut migration, 0, &Present(Running), None), Some((31, Action::Abort)));
}

#[test]
fn what_ends_on_both_hosts_after_its_call_was_let_go_is_lost() {
    let gone = Present(ShutOff);
    let let_go = || {
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        migration.observe(0.0, &during(&Present(PausedPostCopy), None), false);
        assert!(acts_during(&mut migration, 1, &gone, None).is_some());
        migration
    };
    let mut migration = let_go();
    let end = [100.0, 101.0].map(|now| migration.observe(now, &after(&gone, &gone), false));
    assert!(matches!(end[1], Some(Action::End(Verdict::Lost(Loss::BothHalves, _)))), "{end:?}");
    // A later call has returned without an error: then it arrived, and has ended since.
    let mut migration = let_go();
    migration.observe(100.0, &during(&Present(PausedPostCopy), None), false);
    let end = [101.0, 102.0].map(|now| migration.observe(now, &after(&gone, &gone), false));
    assert!(matches!(end[1], Some(Action::End(Verdict::Gone(..)))), "{end:?}");
}

#[test]
fn a_source_that_has_sent_all_waits_for_a_destination_that_does_not_say_so() {
    let sent = Present(ShutOffMigrated);
    for destination in [Unknown("no answer".into()), Present(RunningPostCopy)] {
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        // It sent for long, and nothing crossed at last.
        migration.observe(0.0, &during(&Present(PausedPostCopy), None), false);
        migration.observe(500.0, &during(&Present(PausedPostCopy), None), false);
        for second in 501_u32..1100 {
            assert_eq!(migration.observe(second.into(), &after(&sent, &destination), true), None, "{second}");
        }
        let ends = [1100.0, 1101.0].map(|now| migration.observe(now, &after(&sent, &Present(Running)), true));
        assert_eq!(ends[1], Some(Action::End(Verdict::Migrated)));
    }
}

#[test]
fn nor_once_the_domain_has_left_the_source() {
    let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
    // Its emulator at the source was killed, and the one at the destination does not answer.
    let (moving, gone, half) = (Present(PausedPostCopy), Present(ShutOff), Present(RunningPostCopy));
    migration.observe(0.0, &during(&moving, Some(&job(1, 999, 1))), false);
    assert_eq!(acts_during(&mut migration, 1, &gone, None), Some((62, Action::LetGo)));
    let mut looks = (63_u32..1000).map(|second| migration.observe(second.into(), &after(&gone, &half), true));
    let places = Places { source: gone.clone(), destination: half.clone() };
    let unclear = Verdict::NeedsRecovery(Trouble::Unclear { places });
    assert_eq!(looks.position(|action| action == Some(Action::End(unclear.clone()))), Some(121 - 63));
}

#[test]
fn a_verdict_needs_a_second_look() {
    let mut migration = Migration::new(course(Technique::PreCopy), 0.0);
    let (running, absent, paused) = (Present(Running), Absent, Present(PausedMigration));
    // The source was looked at before the switch-over, the destination after it.
    assert_eq!(migration.observe(1.0, &after(&running, &running), false), None);
    assert_eq!(migration.observe(1.1, &after(&paused, &running), false), None);
    assert_eq!(migration.observe(1.2, &after(&running, &absent), false), None);
    assert_eq!(migration.observe(1.3, &after(&running, &absent), false), Some(Action::End(Verdict::Remains)));
    // But for one that has left.
    assert_eq!(migration.observe(1.4, &after(&absent, &running), false), Some(Action::End(Verdict::Migrated)));
}

#[test]
fn a_domain_that_runs_on_at_the_source_needs_no_answer_of_the_destination() {
    let mut migration = Migration::new(course(Technique::PreCopy), 0.0);
    let (running, silent) = (Present(Running), Unknown("no answer".into()));
    assert_eq!(migration.observe(1.0, &after(&running, &silent), true), None);
    assert_eq!(migration.observe(9.0, &after(&running, &silent), true), Some(Action::End(Verdict::Remains)));
    // But one that was in post-copy does.
    let mut switched = Migration::new(course(Technique::PostCopy), 0.0);
    switched.observe(1.0, &during(&Present(PausedPostCopy), None), false);
    assert_eq!(switched.observe(9.0, &after(&running, &silent), true), None);
}
