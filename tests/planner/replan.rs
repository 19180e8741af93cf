//! What waits is launched otherwise only if all ends sooner by it, and only as far as the user lets the plan change.

use proptest::prelude::*;

use crate::midway::moves;
use crate::properties::{hosts, ordinary};
use crate::support::{domain, host};
use tsmig::domain::Technique;
use tsmig::plan::{Leeway, Move, Situation};
use tsmig::profile::Profile;
use tsmig::profile::learned::Crossing;

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_change_of_plan_never_makes_the_end_later(
        (source, destination) in hosts(1..=8, ordinary), all in moves(8), part in 0.0..0.9, pace in 0.3..1.3,
        most_in_flight in 1usize..6, reorders in any::<bool>(),
        keeps_losses in any::<bool>(), post_copy_limit in prop_oneof![Just(None), Just(Some(1))],
    ) {
        let begun = Situation { pace, post_copy_limit, ..Situation::default() };
        let planned = &all[..source.domains.len()];
        let total = begun.predict(&source, &destination, planned, None).0.total_seconds;
        let (now, waiting) = begun.after(part * total.unwrap_or(30.0), &source, &destination, planned, None);
        let seconds = |moves: &[Move]| now.predict(&source, &destination, moves, None).0.total_seconds;
        let leeway = Leeway { most_in_flight, reorders, keeps_losses };
        let Some((better, gain)) = now.sooner((&source, &destination), waiting, None, leeway) else { return Ok(()) };
        let (before, after) = (seconds(waiting), seconds(&better).expect("it ends"));
        prop_assert!(gain > 0.0 && before.is_none_or(|before| (before - gain - after).abs() < 1e-6), "{before:?} {after} {gain}");
        prop_assert_eq!(before.is_none(), gain.is_infinite());
        let lost = |moves: &[Move]| now.predict(&source, &destination, moves, None).0.lost_bits.unwrap_or(f64::INFINITY);
        prop_assert!(!keeps_losses || lost(&better) <= lost(waiting), "no more is lost");
        let way = |moves: &[Move]| moves.iter().map(|next| (next.domain, next.technique)).collect::<Vec<_>>();
        let (mut same, mut other) = (way(waiting), way(&better));
        prop_assert!(reorders || same == other, "the order is kept");
        same.sort_unstable_by_key(|(domain, _)| *domain);
        other.sort_unstable_by_key(|(domain, _)| *domain);
        prop_assert_eq!(same, other);
        prop_assert!(better.iter().all(|next| next.concurrency <= most_in_flight));
    }
}

#[test]
fn where_setting_up_takes_long_more_are_launched_at_once() {
    let guests = (0..12).map(|number| domain(&format!("g{number}"), 0.0, 0.0)).collect();
    let (source, destination) = (host("a", 1000.0, guests), host("b", 1000.0, vec![]));
    let moves: Vec<_> = (0..12).map(|domain| Move { domain, technique: Technique::PreCopy, concurrency: 2 }).collect();
    let leeway = Leeway { most_in_flight: 15, reorders: true, keeps_losses: true };
    let slow =
        Crossing { pace: 1.0, setup_seconds: 5.0, setups_apart_seconds: Some(0.2), link_bits_per_second: 1e9, runs: 1 };
    let source = Profile { crossing: Some(slow), ..source };
    let (better, gain) = Situation::default()
        .sooner((&source, &destination), &moves, None, leeway)
        .expect("two at once wait for setups");
    assert!(gain > 15.0, "{gain} s");
    assert!(better.iter().map(|next| next.concurrency).max() > Some(5), "{better:?}");
    assert!(Situation::default().sooner((&source, &destination), &better, None, leeway).is_none(), "it stays at that");
}
