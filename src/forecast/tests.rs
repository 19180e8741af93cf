//! A forecaster hears runs of idle guests of 100 MiB, and says when they end.

use super::*;
use crate::domain::{DomainState, Phase};
use crate::engine::migration::Progress;
use crate::plan::{Demands, Ground, plan};
use crate::profile::fixture;
use crate::profile::learned::{Teacher, Writes};

/// A plan to move idle guests of 100 MiB over links of 100 Mbit/s, one after the other.
fn forecaster(names: &[&str]) -> (Plan, Forecaster) {
    with_leeway(names, None)
}

/// The same, of which so much may change.
fn with_leeway(names: &[&str], leeway: Option<Leeway>) -> (Plan, Forecaster) {
    let domains: Vec<_> = names.iter().map(|name| (*name, *name, DomainState::Running)).collect();
    let (mut source, mut destination) = (fixture::host("a", &domains), fixture::host("b", &[]));
    for profile in [&mut source, &mut destination] {
        profile.migration_port.bits_per_second = 1e8;
    }
    for domain in &mut source.domains {
        (domain.memory_bytes, domain.resident_bytes) = (100 << 20, 100 << 20);
        (domain.outbound_bits_per_second, domain.inbound_bits_per_second) = (0.0, 0.0);
    }
    let demands = Demands { concurrency: Some(1), ..Demands::default() };
    let plan = plan(&source, &destination, &[], &demands);
    (plan.clone(), Forecaster::new(&plan, Both { source, destination }, leeway, true))
}

fn launch(domain: &str) -> Event {
    let (domain, destination) = (domain.to_owned(), "b".to_owned());
    Event::Launch { domain, destination, technique: Technique::PreCopy }
}

/// A first pass over `of` MiB, of which `transferred` have crossed, at so many Mbit/s.
fn progress(domain: &str, transferred: u64, of: u64, mbit: f64) -> Event {
    let progress = Progress {
        pass: 1,
        transferred: transferred << 20,
        remaining: (of - transferred) << 20,
        bits_per_second: mbit * 1e6,
        ..Progress::default()
    };
    Event::Progress { domain: domain.to_owned(), progress }
}

fn hear(forecaster: &mut Forecaster, elapsed_seconds: f64, event: Event) -> Option<f64> {
    match forecaster.hear(&Timed { elapsed_seconds, event })?.event {
        Event::Forecast { remaining_seconds } => remaining_seconds,
        _ => None,
    }
}

#[test]
fn what_goes_as_planned_ends_as_planned() {
    let (plan, mut forecaster) = forecaster(&["x", "y"]);
    let total = plan.predicted.total_seconds.unwrap();
    let first = plan.migrations[0].domain.clone();
    let begun = 1.0;
    hear(&mut forecaster, 0.0, launch(&first));
    let phase = Phase::PreCopy;
    assert_eq!(hear(&mut forecaster, begun, Event::Phase { domain: first.clone(), phase }), None, "nothing crosses");
    // Half of the first has crossed at the model's own rate.
    let rate = 1e8 * 0.957;
    let now = begun + f64::from(50 << 20) * 8.0 / rate;
    let rest = hear(&mut forecaster, now, progress(&first, 50, 100, rate / 1e6)).unwrap();
    assert!((now + rest - total).abs() < 0.05 * total, "{rest} s from {now} s on, {total} s in all");
    assert_eq!(hear(&mut forecaster, now + 1.0, progress(&first, 61, 100, 90.0)), None, "not yet again");
}

#[test]
fn a_post_copy_that_is_about_to_switch_over_has_an_end() {
    let (_, mut forecaster) = forecaster(&["x"]);
    forecaster.profiles.source.domains[0].outbound_bits_per_second = 9e7;
    let (domain, destination) = ("x".to_owned(), "b".to_owned());
    hear(&mut forecaster, 0.0, Event::Launch { domain, destination, technique: Technique::PostCopy });
    hear(&mut forecaster, 1.0, Event::Phase { domain: "x".to_owned(), phase: Phase::PreCopy });
    let rest = hear(&mut forecaster, 2.0, progress("x", 1, 100, 90.0)).unwrap();
    assert!(rest > 8.0 && rest < 20.0, "{rest} s");
}

#[test]
fn a_link_that_carries_half_takes_twice_as_long() {
    let (_, mut forecaster) = forecaster(&["x"]);
    hear(&mut forecaster, 0.0, launch("x"));
    hear(&mut forecaster, 1.0, Event::Phase { domain: "x".to_owned(), phase: Phase::PreCopy });
    // 11 MiB in two seconds.
    let rate = 11.0 * 1.048576 * 8.0 / 2.0;
    let at = |step: u32| (1.0 + 2.0 * f64::from(step), progress("x", 11 * u64::from(step), 100, rate));
    let rests: Vec<f64> = (1..=8).map(at).filter_map(|(now, progress)| hear(&mut forecaster, now, progress)).collect();
    // Three of them say so, and then 56 MiB are left; 11 less each time, and what follows the last byte.
    for (step, rest) in rests.iter().enumerate().skip(3) {
        let expected = f64::from((100 - 11 * (step as u32 + 1)) << 20) * 8.0 / (rate * 1e6);
        assert!((expected..expected + 0.6).contains(rest), "{rest} s, and not {expected} s: {rests:?}");
    }
}

#[test]
fn what_is_fuller_or_emptier_than_the_profile_says_is_believed_more_and_more() {
    let rest = |resident: u64, transferred, come_by: u64| {
        let (_, mut forecaster) = forecaster(&["x"]);
        forecaster.profiles.source.domains[0].resident_bytes = resident << 20;
        hear(&mut forecaster, 0.0, launch("x"));
        hear(&mut forecaster, 1.0, Event::Phase { domain: "x".to_owned(), phase: Phase::PreCopy });
        hear(&mut forecaster, 1.1, progress("x", 0, 100, 0.0));
        hear(&mut forecaster, 6.0, progress("x", transferred, transferred + 100 - come_by, 95.7)).unwrap()
    };
    assert!(rest(40, 50, 50) > 1.3 * rest(40, 20, 50), "each page that it has come by was full");
    assert!(rest(100, 40, 80) < 0.8 * rest(100, 80, 80), "half of them were zeros");
}

#[test]
fn those_that_wait_are_as_full_as_those_that_have_crossed() {
    let rest = |mib: u64| {
        let (plan, mut forecaster) = forecaster(&["x", "y"]);
        let [first, second] = [0, 1].map(|step: usize| plan.migrations[step].domain.clone());
        hear(&mut forecaster, 0.0, launch(&first));
        let done = DomainReport::new(&first, &first, DomainOutcome::Migrated);
        hear(&mut forecaster, 9.0, Event::Done(Box::new(DomainReport { bytes: mib << 20, ..done })));
        forecaster.waiting.iter().for_each(|(name, _)| assert_eq!(*name, second));
        forecaster.remaining_seconds(9.0).unwrap()
    };
    let (half, full) = (rest(50), rest(100));
    assert!(half < 0.85 * full && half > 0.6 * full, "{half} s and {full} s");
}

#[test]
fn what_is_never_launched_is_not_waited_for() {
    let (plan, mut forecaster) = forecaster(&["x", "y"]);
    let first = plan.migrations[0].domain.clone();
    hear(&mut forecaster, 0.0, launch(&first));
    hear(&mut forecaster, 1.0, Event::Phase { domain: first.clone(), phase: Phase::PreCopy });
    let both = hear(&mut forecaster, 3.0, progress(&first, 20, 100, 95.7)).unwrap();
    hear(&mut forecaster, 3.5, Event::Notice(Notice::Interrupted { in_post_copy: 0 }));
    let one = hear(&mut forecaster, 5.0, progress(&first, 42, 100, 95.7)).unwrap();
    assert!(one < 0.5 * both, "{one} s after {both} s");
}

#[test]
fn what_a_busy_destination_turned_away_is_waited_for_again() {
    let (plan, mut forecaster) = forecaster(&["x", "y"]);
    let [first, second] = [0, 1].map(|place: usize| plan.migrations[place].domain.clone());
    hear(&mut forecaster, 0.0, launch(&first));
    hear(&mut forecaster, 1.0, Event::Phase { domain: first.clone(), phase: Phase::PreCopy });
    let both = hear(&mut forecaster, 3.0, progress(&first, 20, 100, 95.7)).unwrap();
    hear(&mut forecaster, 3.1, launch(&second));
    let (domain, host, error) = (second.clone(), "b".to_owned(), "too many".to_owned());
    hear(&mut forecaster, 3.5, Event::Notice(Notice::Busy { domain, host, error }));
    let turned_away = hear(&mut forecaster, 5.0, progress(&first, 42, 100, 95.7)).unwrap();
    assert!((turned_away - (both - 2.0)).abs() < 1.0, "{turned_away} s after {both} s");
    hear(&mut forecaster, 6.0, launch(&second));
    let again = hear(&mut forecaster, 7.0, progress(&first, 64, 100, 95.7)).unwrap();
    assert!((again - (both - 4.0)).abs() < 1.0, "{again} s after {both} s");
}

#[test]
fn traffic_beside_it_is_no_reason_to_take_a_link_for_slower() {
    let (_, mut forecaster) = forecaster(&["x"]);
    let mut beside = forecaster.profiles.source.domains[0].clone();
    (beside.uuid, beside.outbound_bits_per_second) = ("z".to_owned(), 6e7);
    forecaster.profiles.source.domains.push(beside);
    hear(&mut forecaster, 0.0, launch("x"));
    hear(&mut forecaster, 1.0, Event::Phase { domain: "x".to_owned(), phase: Phase::PreCopy });
    // Half of what the model has it get.
    let rate = 6.0 * 1.048576 * 8.0 / 2.0;
    let at = |step: u32| (1.0 + 2.0 * f64::from(step), progress("x", 6 * u64::from(step), 100, rate));
    let rests: Vec<f64> = (1..=8).map(at).filter_map(|(now, progress)| hear(&mut forecaster, now, progress)).collect();
    let expected = f64::from(52 << 20) * 8.0 / (rate * 1e6);
    let last = rests.last().unwrap();
    assert!((last / expected - 1.0).abs() < 0.15, "{last} s, and not {expected} s: {rests:?}");
}

#[test]
fn what_waits_is_launched_sooner_where_setups_take_long() {
    let names: Vec<String> = (0..8).map(|number| format!("g{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let better = |leeway: Option<Leeway>, setup: f64| {
        let (plan, mut forecaster) = with_leeway(&names, leeway);
        let mut now = 0.0;
        for step in &plan.migrations[..3] {
            hear(&mut forecaster, now, launch(&step.domain));
            now += setup;
            hear(&mut forecaster, now, progress(&step.domain, 1, 100, 95.7));
            now += 8.0;
            let done = DomainReport::new(&step.domain, &step.domain, DomainOutcome::Migrated);
            hear(&mut forecaster, now, Event::Done(Box::new(DomainReport { bytes: 100 << 20, ..done })));
        }
        hear(&mut forecaster, now, launch(&plan.migrations[3].domain));
        hear(&mut forecaster, now + setup, progress(&plan.migrations[3].domain, 1, 100, 95.7));
        forecaster.take_better()
    };
    let leeway = Some(Leeway { most_in_flight: 15, reorders: true, keeps_losses: false });
    let schedule = better(leeway, 6.0).expect("the link lies idle while the next is set up");
    assert!((4..8).contains(&schedule.order.len()), "{schedule:?}");
    assert!(schedule.order[0].concurrency > 1, "{schedule:?}");
    assert!(schedule.reason.setup_seconds.is_some_and(|seconds| (seconds - 6.0).abs() < 0.2), "{schedule:?}");
    assert_eq!(better(None, 6.0), None, "the user keeps to the plan");
}

#[test]
fn what_is_still_set_up_makes_no_link_look_faster() {
    let (_, mut forecaster) = forecaster(&["x", "y"]);
    for name in ["x", "y"] {
        hear(&mut forecaster, 0.0, launch(name));
        hear(&mut forecaster, 1.0, Event::Phase { domain: name.to_owned(), phase: Phase::PreCopy });
    }
    // The one has the whole link, since the other takes long.
    let rate = 10.0 * 1.048576 * 8.0;
    for second in 1..=9 {
        hear(&mut forecaster, 1.0 + second as f64, progress("x", 10 * second, 100, rate));
    }
    let pace = forecaster.situation.pace;
    assert!((0.85..1.0).contains(&pace), "{pace}");
}

#[test]
fn one_that_stays_is_not_waited_for() {
    let (_, mut forecaster) = forecaster(&["x", "y"]);
    let stays = DomainReport::new("y", "y", DomainOutcome::Remains);
    assert_eq!(hear(&mut forecaster, 0.0, Event::Done(Box::new(stays))), None);
    assert_eq!(forecaster.waiting.len(), 1);
}

#[test]
fn a_stretch_of_zeros_says_little_of_a_domain_that_has_moved_before() {
    let rest = |learned: Option<u64>| {
        let (_, mut forecaster) = forecaster(&["x"]);
        let domain = &mut forecaster.profiles.source.domains[0];
        let of_itself = |mib| Learned { crossing_bytes: mib << 20, writes: None, migrations: 1, of: Teacher::Itself };
        domain.learned = learned.map(of_itself);
        hear(&mut forecaster, 0.0, launch("x"));
        hear(&mut forecaster, 1.0, Event::Phase { domain: "x".to_owned(), phase: Phase::PreCopy });
        hear(&mut forecaster, 1.1, progress("x", 0, 100, 0.0));
        // Of 30 MiB that it has come by, 10 crossed.
        hear(&mut forecaster, 3.1, progress("x", 10, 80, 95.7)).unwrap()
    };
    let seconds = |mib: f64| mib * 1.048576 * 8.0 / 95.7;
    let knows = rest(Some(80)) - rest(Some(60));
    assert!((knows - seconds(20.0)).abs() < 0.25, "{knows} s for 20 MiB more");
    assert!(rest(None) < rest(Some(80)), "one that has not moved may be as empty everywhere");
}

#[test]
fn what_one_domain_leaves_of_a_link_makes_it_no_faster_for_the_other() {
    let (_, mut forecaster) = forecaster(&["x", "y"]);
    for name in ["x", "y"] {
        hear(&mut forecaster, 0.0, launch(name));
        hear(&mut forecaster, 1.0, Event::Phase { domain: name.to_owned(), phase: Phase::PreCopy });
    }
    // The one goes by zeros, of which few bytes cross; the other has nearly the whole link.
    let rate = 10.0 * 1.048576 * 8.0;
    for second in 1..=7 {
        let now = 1.0 + second as f64;
        hear(&mut forecaster, now, progress("x", 10 * second, 100, rate));
        hear(&mut forecaster, now, progress("y", second, 100 - 9 * second, 1.0));
    }
    let pace = forecaster.situation.pace;
    assert!((0.9..1.1).contains(&pace), "{pace}");
}

#[test]
fn what_has_just_ended_had_a_part_of_the_link_until_then() {
    let names = ["x", "y", "z", "last"];
    let (_, mut forecaster) = forecaster(&names);
    for name in names {
        hear(&mut forecaster, 0.0, launch(name));
        hear(&mut forecaster, 1.0, Event::Phase { domain: name.to_owned(), phase: Phase::PreCopy });
    }
    // A link of 12 MiB/s that those which are left share; one ends every five seconds.
    let mut crossed = 0;
    for second in 1..=17 {
        let (now, ended) = (1.0 + second as f64, (second - 1) / 5);
        crossed += 12 / (4 - ended as u64);
        for (place, name) in names.into_iter().enumerate().skip(ended) {
            if second == 5 * (place + 1) {
                hear(
                    &mut forecaster,
                    now,
                    Event::Done(Box::new(DomainReport::new(name, name, DomainOutcome::Migrated))),
                );
            } else {
                hear(&mut forecaster, now, progress(name, crossed, 100, 1.0));
            }
        }
    }
    let paces = &forecaster.paces.0;
    assert!(paces.iter().all(|pace| (0.9..1.1).contains(pace)), "{paces:?}");
    assert!(!paces.is_empty());
}

/// The pace after looks at "x" and "y" every 2.5 seconds, by what of each had crossed, and that with what remained, in MiB.
fn pace_by(looks: impl Iterator<Item = [(u64, u64); 2]>) -> f64 {
    let (_, mut forecaster) = forecaster(&["x", "y"]);
    for name in ["x", "y"] {
        hear(&mut forecaster, 0.0, launch(name));
        hear(&mut forecaster, 1.0, Event::Phase { domain: name.to_owned(), phase: Phase::PreCopy });
    }
    for (number, look) in looks.enumerate() {
        for (name, (transferred, of)) in ["x", "y"].into_iter().zip(look) {
            let at = if name == "x" { 3.0 } else { 3.2 };
            hear(&mut forecaster, at + 2.5 * number as f64, progress(name, transferred, of, 1.0));
        }
    }
    forecaster.situation.pace
}

#[test]
fn a_slow_link_is_seen_also_while_one_goes_by_some_blank_memory() {
    let (full, some_blank) = (|look: u64| (4 * look, 100), |look: u64| (4 * look, 100 - 2 * look));
    let pace = pace_by((1..=7).map(|look| [full(look), some_blank(look)]));
    assert!((0.25..0.35).contains(&pace), "{pace}");
    let pace = pace_by((1..=7).map(|look| [some_blank(look); 2]));
    assert_eq!(pace, 1.0, "if both do, that takes time, too");
}

#[test]
fn a_link_that_is_gone_is_not_slow() {
    // Half of the link each, then nothing.
    let crossed = |look: u64| (14 * look.min(5), 100);
    let pace = pace_by((1..=12).map(|look| [crossed(look); 2]));
    assert!((0.9..1.1).contains(&pace), "{pace}");
}

#[test]
fn a_pre_copy_that_gets_nowhere_ends_where_its_kind_has_come_through() {
    let rest = |proven: bool| {
        let (mut plan, Forecaster { profiles, .. }) = forecaster(&["x", "y"]);
        plan.grounds = vec![Ground { machine: "pc".to_owned(), key: Some("a kind".to_owned()), proven: false }];
        plan.migrations.iter_mut().for_each(|step| step.ground = Some(0));
        let mut forecaster = Forecaster::new(&plan, profiles, None, true);
        // Each writes more than the link carries, to so much of its memory that it can't stop for that.
        let writes = Some(Writes { bytes_per_second: 20e6, most_bytes: 8 << 20, open_after_seconds: None });
        for domain in &mut forecaster.profiles.source.domains {
            domain.learned = Some(Learned { crossing_bytes: 100 << 20, writes, migrations: 1, of: Teacher::Itself });
        }
        let [first, second] = [0, 1].map(|step: usize| plan.migrations[step].domain.clone());
        hear(&mut forecaster, 0.0, launch(&first));
        let outcome = if proven { DomainOutcome::Migrated } else { DomainOutcome::Remains };
        let done = DomainReport::new(&first, &first, outcome);
        hear(&mut forecaster, 9.0, Event::Done(Box::new(DomainReport { bytes: 100 << 20, ..done })));
        hear(&mut forecaster, 9.0, launch(&second));
        hear(&mut forecaster, 10.0, Event::Phase { domain: second.clone(), phase: Phase::PreCopy });
        hear(&mut forecaster, 14.0, progress(&second, 45, 100, 95.7))
    };
    assert_eq!(rest(false), None, "nothing has proven that the destination can load it");
    // 55 MiB, the 8 MiB again and again for 5 s until it is seen to stall, and once more.
    let rest = rest(true).unwrap();
    assert!((10.5..13.0).contains(&rest), "{rest} s");
}
