//! For few domains, no forced choice of techniques gets a better objective than the free plan, by the same model: not
//! unless it has more post-copies, and gains less by them than they have to.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::properties::{self, hosts};
use crate::support::{by, least_gain};
use tsmig::domain::Technique;
use tsmig::plan::{Demands, Objective, Plan, Rule, plan};
use tsmig::profile::Profile;

/// Plans whose times differ by less count as equal, in seconds.
const SAME_TIME: f64 = 1.0;

/// Plans whose losses differ by less count as equal.
const SAME_LOSS: f64 = 1.01 + 1e-9;

/// Whether `forced` is better by the objective: sooner than any slack allows, or no later and with less loss; it counts as
/// later by the `risk` that its post-copies have to pay for, in seconds.
fn beats(forced: &Plan, free: &Plan, slack: f64, risk: f64) -> bool {
    let totals = |plan: &Plan| Some((plan.predicted.total_seconds?, plan.predicted.lost_bits?));
    match (totals(forced), totals(free)) {
        (Some(_), None) => true,
        (None, _) => false,
        (Some((seconds, lost)), Some((free_seconds, free_lost))) => {
            let seconds = seconds + risk;
            (seconds * slack).max(seconds + SAME_TIME) < free_seconds * (1.0 - 1e-9)
                || (seconds <= free_seconds && lost * SAME_LOSS < free_lost)
        }
    }
}

/// Tries all choices of techniques on `source`; gives the first that beats the free plan.
fn better(source: &Profile, destination: &Profile, objective: Objective, slack: f64) -> Option<String> {
    let demands = Demands { objective, ..Demands::default() };
    let free = plan(source, destination, &[], &demands);
    (0..1u32 << source.domains.len()).find_map(|choice| {
        let technique = |i: usize| if choice >> i & 1 == 1 { Technique::PostCopy } else { Technique::PreCopy };
        let rules: Vec<Rule> =
            (0..source.domains.len()).map(|i| Rule { technique: Some(technique(i)), ..Rule::default() }).collect();
        let forced = plan(source, destination, &rules, &demands);
        let comparable = forced.refused.len() == free.refused.len();
        let taken = [by(&free, Technique::PostCopy), by(&free, Technique::Hybrid)].concat();
        let more = by(&forced, Technique::PostCopy).into_iter().filter(|name| !taken.contains(name));
        let risk = least_gain(source, more, source.migration_port.bits_per_second);
        (comparable && beats(&forced, &free, slack, risk))
            .then(|| format!("{choice:b} gives {:?} against {:?}", forced.predicted, free.predicted))
    })
}

/// Checks instances of `domains` domains, the same ones in every run.
fn check(domains: usize, cases: u32) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&hosts(domains..=domains, properties::ordinary), |(source, destination)| {
        for (objective, slack) in [(Objective::Time, 1.05), (Objective::Impact, 1.3)] {
            let better = better(&source, &destination, objective, slack);
            prop_assert!(better.is_none(), "{objective:?}: {}", better.unwrap_or_default());
        }
        Ok(())
    });
    result.expect("no forced choice is better");
}

#[test]
fn no_forced_choice_is_better_for_up_to_four() {
    (1..=4).for_each(|domains| check(domains, 12));
}

#[test]
fn no_forced_choice_is_better_for_five_to_seven() {
    check(5, 8);
    check(6, 4);
    check(7, 2);
}

#[test]
fn no_forced_choice_is_better_for_ten() {
    check(10, 1);
}
