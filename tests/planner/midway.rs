//! An evacuation that is predicted from the midst of it ends as the whole was predicted to.

use proptest::prelude::*;

use crate::properties::{hosts, ordinary};
use crate::support::{domain, host};
use tsmig::domain::Technique;
use tsmig::plan::{Leg, Move, Position, Situation, StepPrediction};
use tsmig::profile::Profile;
use tsmig::profile::learned::{Crossing, Learned, Teacher, Writes};

/// Whether both are the same but for what was rounded; sums of the same rates in another order differ in their last digits.
fn same(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= 1e-6 * one.abs().max(1.0),
        _ => one == other,
    }
}

pub(crate) fn moves(domains: usize) -> impl Strategy<Value = Vec<Move>> {
    let technique = prop_oneof![Just(Technique::PreCopy), Just(Technique::PostCopy), Just(Technique::Hybrid)];
    prop::collection::vec((technique, 1usize..5), domains).prop_map(|ways| {
        let way = |(domain, (technique, concurrency))| Move { domain, technique, concurrency };
        ways.into_iter().enumerate().map(way).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rest_ends_as_the_whole(
        (source, destination) in hosts(1..=7, ordinary), all in moves(7), cap in prop_oneof![Just(None), Just(Some(3e7))],
        (setups_apart_seconds, launches_ahead) in prop_oneof![Just((0.0, true)), (0.0..0.7, Just(false))],
        switches in prop::collection::hash_set(0_usize..7, 0..7),
        writes in prop::collection::vec(prop::option::of((1e5..1e7, 1u64 << 18..1 << 23, prop::option::of(0.5..20.0))), 7),
    ) {
        let [here, there] = [&source, &destination].map(|host| host.migration_port.bits_per_second);
        let link_bits_per_second = here.min(there);
        let crossing = Crossing { pace: 1.0, setup_seconds: 0.5, setups_apart_seconds: Some(setups_apart_seconds), link_bits_per_second, runs: 1 };
        let mut source = Profile { crossing: Some(crossing), ..source };
        for (domain, writes) in source.domains.iter_mut().zip(writes) {
            let seen = writes.map(|(bytes_per_second, most_bytes, open_after_seconds)| Writes { bytes_per_second, most_bytes, open_after_seconds });
            let learned = |_| Learned { crossing_bytes: domain.resident_bytes, writes: seen, migrations: 1, of: Teacher::Itself };
            domain.learned = seen.map(learned);
        }
        // The last domain may stay.
        let moves = &all[..source.domains.len().min(6)];
        let begun = Situation { launches_ahead, switches, ..Situation::default() };
        let (whole, steps) = begun.predict(&source, &destination, moves, cap);
        let stretch = whole.total_seconds.unwrap_or(100.0) / 40.0;
        let (mut situation, mut waiting, mut lost) = (begun, moves, whole.lost_bits);
        for part in 0..=40 {
            let now = stretch * f64::from(part);
            let (rest, left) = situation.predict(&source, &destination, waiting, cap);
            let later = |at: Option<f64>| at.map(|at| now + at);
            prop_assert!(same(later(rest.total_seconds), whole.total_seconds), "at {now}: {rest:?}, {whole:?}");
            prop_assert!(rest.lost_bits <= lost.map(|lost| lost * (1.0 + 1e-9) + 1.0), "at {now}: {rest:?}, {lost:?}");
            lost = rest.lost_bits;
            let domains = waiting.iter().map(|m| m.domain).chain(situation.in_flight.iter().map(|(domain, _)| *domain));
            for (step, predicted) in left.iter().zip(domains.map(|domain| steps[domain])) {
                prop_assert!(same(later(step.start_seconds), predicted.start_seconds), "at {now}: {step:?}, {predicted:?}");
                prop_assert!(same(later(step.end_seconds), predicted.end_seconds), "at {now}: {step:?}, {predicted:?}");
                prop_assert!(same(step.downtime_seconds, predicted.downtime_seconds), "at {now}: {step:?}, {predicted:?}");
                let bytes = |step: &StepPrediction| step.bytes.map(|bytes| bytes as f64);
                prop_assert!(same(bytes(step), bytes(&predicted)), "at {now}: {step:?}, {predicted:?}");
            }
            (situation, waiting) = situation.after(stretch, &source, &destination, waiting, cap);
        }
        if whole.total_seconds.is_some() {
            prop_assert!(lost.is_some_and(|lost| lost < 1.0), "{lost:?}");
        }
    }
}

#[test]
fn what_is_in_flight_needs_the_time_of_its_rest() {
    let (source, destination) = (host("a", 100.0, vec![domain("x", 0.0, 0.0)]), host("b", 100.0, vec![]));
    let seconds = |technique, leg| {
        let position = Position {
            technique,
            leg,
            seconds: 20.0,
            leg_seconds: 0.1,
            remaining_bits: 97e6,
            transferred_bits: 0.0,
            downtime_seconds: 0.0,
            stop_bits: None,
        };
        let situation = Situation { in_flight: vec![(0, position)], ..Situation::default() };
        let (totals, steps) = situation.predict(&source, &destination, &[], None);
        assert_eq!((steps[0].start_seconds, steps[0].end_seconds), (Some(-20.0), totals.total_seconds));
        totals.total_seconds.expect("it ends")
    };
    let close = |seconds: f64, expected: f64| assert!((seconds - expected).abs() < 1e-9, "{seconds} s");
    // A second on the wire, and then 0.3 s to switch over and 0.2 s to finish.
    close(seconds(Technique::PreCopy, Leg::Pass), 1.5);
    close(seconds(Technique::PostCopy, Leg::Pull), 1.2);
    close(seconds(Technique::PreCopy, Leg::Switch), 0.4);
    close(seconds(Technique::Hybrid, Leg::Switch), 1.4);
    close(seconds(Technique::PreCopy, Leg::Finish), 0.1);
}
