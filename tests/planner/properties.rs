//! Properties that hold for any two hosts.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::{by, least_gain, most_in_flight};
use tsmig::domain::{DomainState, Rewritten, Technique};
use tsmig::obstacle::{Eligibility, Obstacle};
use tsmig::plan::{Demands, LEAST_BANDWIDTH, Move, Objective, Plan, Rule, plan, predict};
use tsmig::profile::{DomainProfile, Profile};
use tsmig::topology::{CapacityOrigin, Port, RouteOrigin};

/// A rate in bits per second that a domain may have.
fn ordinary_rate() -> BoxedStrategy<f64> {
    prop_oneof![2 => Just(0.0), 3 => 0.0..5e6, 3 => 5e6..40e6].boxed()
}

/// An ordinary running domain.
pub(crate) fn ordinary(index: usize) -> BoxedStrategy<DomainProfile> {
    let dirty = prop_oneof![3 => Just(0.0), 1 => 0.0..8e6];
    let eligible = prop::bool::weighted(0.85);
    let rewritten = prop::option::weighted(0.1, (0u64..300_000_000, any::<bool>(), 4.0..30.0));
    (ordinary_rate(), ordinary_rate(), dirty, 1u64..300_000_000, rewritten, eligible)
        .prop_map(move |(outbound, inbound, dirty, resident, rewritten, eligible)| DomainProfile {
            name: format!("d{index:02}"),
            uuid: format!("u{index:02}"),
            state: DomainState::Running,
            persistent: true,
            memory_bytes: resident * 2,
            resident_bytes: resident,
            unused_bytes: None,
            filled_bytes: None,
            rewritten: rewritten.map(|(bytes, is_most, seconds)| Rewritten { bytes, is_most, seconds }),
            learned: None,
            dirty_bytes_per_second: dirty,
            dirty_rate_unknown: false,
            outbound_bits_per_second: outbound,
            inbound_bits_per_second: inbound,
            nics: Vec::new(),
            post_copy: if eligible { Eligibility::default() } else { Eligibility::no(Obstacle::MemoryInFile) },
            migration: Eligibility::default(),
        })
        .boxed()
}

/// A domain in any state, with any numbers.
fn extreme(index: usize) -> BoxedStrategy<DomainProfile> {
    let rate = || prop_oneof![Just(0.0), Just(1e-300), 0.0..1e9, Just(1e15), Just(1e300), Just(f64::MAX)];
    let bytes = || prop_oneof![Just(0), Just(1), 1u64..1 << 40, Just(u64::MAX)];
    let state = prop_oneof![
        6 => Just(DomainState::Running), 1 => Just(DomainState::Paused), 1 => Just(DomainState::ShuttingDown),
        1 => Just(DomainState::ShutOff), 1 => Just(DomainState::Crashed), 1 => Just(DomainState::PmSuspended),
        1 => Just(DomainState::Unknown),
    ];
    (ordinary(index), rate(), rate(), rate(), bytes(), bytes(), state, prop::bool::weighted(0.9))
        .prop_map(|(domain, outbound, inbound, dirty, memory, resident, state, eligible)| DomainProfile {
            outbound_bits_per_second: outbound,
            inbound_bits_per_second: inbound,
            unused_bytes: None,
            filled_bytes: None,
            learned: None,
            dirty_bytes_per_second: dirty,
            memory_bytes: memory,
            resident_bytes: resident,
            state,
            migration: if eligible {
                Eligibility::default()
            } else {
                Eligibility::no(Obstacle::AssignedDevices { count: 1 })
            },
            ..domain
        })
        .boxed()
}

fn profile(name: &str, bits_per_second: f64, domains: Vec<DomainProfile>) -> Profile {
    Profile {
        host: name.to_owned(),
        window_seconds: 10.0,
        migration_port: Port::unnamed(bits_per_second, CapacityOrigin::Option),
        route: RouteOrigin::default(),
        address: None,
        other_ports: Vec::new(),
        outlets: Vec::new(),
        processors: None,
        crossing: None,
        domains,
    }
}

/// Two hosts with links of 100 Mbit/s: so many domains at the source and up to three at the destination.
pub(crate) fn hosts(
    number: RangeInclusive<usize>,
    domain: fn(usize) -> BoxedStrategy<DomainProfile>,
) -> impl Strategy<Value = (Profile, Profile)> {
    let some = move |number: usize, first: usize| (first..first + number).map(domain).collect::<Vec<_>>();
    (number, 0usize..=3)
        .prop_flat_map(move |(here, there)| (some(here, 0), some(there, 50)))
        .prop_map(|(here, there)| (profile("a", 1e8, here), profile("b", 1e8, there)))
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let technique = prop_oneof![4 => Just(None), 1 => Just(Some(Technique::PreCopy)), 1 => Just(Some(Technique::PostCopy)), 1 => Just(Some(Technique::Hybrid))];
    let rule = (prop::bool::weighted(0.1), technique, prop_oneof![4 => Just(0), 1 => -1..=1], any::<bool>())
        .prop_map(|(stays, technique, rank, offline)| Rule { stays, technique, rank, offline, ..Rule::default() });
    prop::collection::vec(rule, 16)
}

fn demands() -> impl Strategy<Value = Demands> {
    let objective = prop_oneof![Just(Objective::Time), Just(Objective::Impact)];
    let concurrency = prop_oneof![2 => Just(None), 1 => (1usize..6).prop_map(Some)];
    let bandwidth = prop_oneof![3 => Just(None), 1 => (1e6..2e8).prop_map(Some)];
    let limit = prop_oneof![3 => Just(None), 1 => (0usize..3).prop_map(Some)];
    (objective, concurrency, bandwidth, limit).prop_map(|(objective, concurrency, bandwidth, limit)| Demands {
        objective,
        concurrency,
        bandwidth_bits_per_second: bandwidth,
        post_copy_limit: limit,
        trust_destination: false,
        window_limit_seconds: Some(60.0),
    })
}

/// Every number that a plan states.
fn numbers(plan: &Plan) -> Vec<f64> {
    let totals = plan.alternatives.iter().map(|a| a.predicted).chain([plan.predicted]);
    let steps = plan.migrations.iter().map(|s| s.predicted);
    totals
        .flat_map(|t| [t.total_seconds, t.lost_bits])
        .chain(steps.flat_map(|s| [s.start_seconds, s.end_seconds, s.downtime_seconds]))
        .chain([plan.fastest_seconds, plan.bound_seconds])
        .flatten()
        .collect()
}

/// What must hold of any plan, whatever it was made of.
fn check(plan: &Plan, source: &Profile, rules: &[Rule], demands: &Demands) -> Result<(), TestCaseError> {
    let moved = plan.migrations.iter().map(|step| &step.domain);
    let names: Vec<_> =
        moved.chain(plan.refused.iter().map(|r| &r.domain)).chain(plan.stays.iter().map(|s| &s.domain)).collect();
    prop_assert_eq!(names.len(), source.domains.len());
    prop_assert_eq!(names.into_iter().collect::<BTreeSet<_>>().len(), source.domains.len());
    prop_assert!(numbers(plan).iter().all(|n| n.is_finite() && *n >= 0.0), "{:?}", plan);
    prop_assert!(plan.migrations.iter().zip(1..).all(|(step, order)| step.order == order));

    let cap = demands.concurrency.unwrap_or(usize::MAX);
    prop_assert!(most_in_flight(plan, |step| step.technique() != Technique::Offline) <= cap.min(plan.concurrency));
    if let Some(cap) = demands.bandwidth_bits_per_second {
        let flying = most_in_flight(plan, |step| step.technique() != Technique::Offline);
        prop_assert!(flying <= 1 || flying as f64 * LEAST_BANDWIDTH <= cap, "{flying} within {cap} bit/s");
    }
    let post_copies = most_in_flight(plan, |step| step.technique().pulls());
    prop_assert!(post_copies <= demands.post_copy_limit.unwrap_or(usize::MAX));
    let mut ranks = Vec::new();
    for step in &plan.migrations {
        let index = source.domains.iter().position(|d| d.name == step.domain).expect("it is the source's");
        let (domain, rule) = (&source.domains[index], rules[index]);
        prop_assert!(domain.migration.obstacle.is_none() && !rule.stays);
        if step.technique().pulls() {
            prop_assert!(domain.post_copy.obstacle.is_none() && domain.state == DomainState::Running);
        }
        if step.technique() != Technique::Offline {
            ranks.push(rule.rank);
            prop_assert!(rule.technique.is_none_or(|forced| step.technique() == forced));
        }
    }
    prop_assert!(ranks.is_sorted());
    if let (Some(bound), Some(fastest), Some(total)) =
        (plan.bound_seconds, plan.fastest_seconds, plan.predicted.total_seconds)
    {
        prop_assert!(bound <= fastest * (1.0 + 1e-9) && fastest <= total, "{bound} <= {fastest} <= {total}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_keeps_to_its_rules(
        (source, destination) in hosts(0..=7, ordinary), rules in rules(), demands in demands(),
    ) {
        check(&plan(&source, &destination, &rules, &demands), &source, &rules, &demands)?;
    }

    #[test]
    fn many_domains_keep_to_their_rules(
        (source, destination) in hosts(11..=16, ordinary), rules in rules(), demands in demands(),
    ) {
        check(&plan(&source, &destination, &rules, &demands), &source, &rules, &demands)?;
    }

    #[test]
    fn no_number_breaks_it(
        (mut source, mut destination) in hosts(0..=6, extreme), rules in rules(), demands in demands(),
        here in prop_oneof![Just(1.0), Just(1e8), Just(1e300)], there in prop_oneof![Just(1.0), Just(1e8), Just(1e300)],
    ) {
        source.migration_port.bits_per_second = here;
        destination.migration_port.bits_per_second = there;
        check(&plan(&source, &destination, &rules, &demands), &source, &rules, &demands)?;
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(
        (source, destination) in hosts(2..=12, ordinary), rules in rules(), demands in demands(), by in 1usize..12,
    ) {
        let number = source.domains.len();
        let (mut turned, mut turned_rules) = (source.clone(), rules[..number].to_vec());
        turned.domains.rotate_left(by % number);
        turned_rules.rotate_left(by % number);
        prop_assert_eq!(
            plan(&turned, &destination, &turned_rules, &demands),
            plan(&source, &destination, &rules, &demands)
        );
    }

    #[test]
    fn an_idle_domain_goes_by_pre_copy((mut source, destination) in hosts(1..=12, ordinary), demands in demands()) {
        for (domain, rate) in source.domains.iter_mut().step_by(2).zip([0.0, 279.2, 1.9e5].into_iter().cycle()) {
            domain.outbound_bits_per_second = rate;
            domain.inbound_bits_per_second = rate / 5.0;
            (domain.dirty_bytes_per_second, domain.rewritten) = (0.0, None);
        }
        let plan = plan(&source, &destination, &[], &demands);
        for name in [Technique::PostCopy, Technique::Hybrid].into_iter().flat_map(|pulls| by(&plan, pulls)) {
            let index: usize = name[1..].parse().expect("names are d and a number");
            prop_assert_eq!(index % 2, 1);
        }
    }

    #[test]
    fn every_post_copy_is_worth_it((source, destination) in hosts(1..=6, ordinary), mut demands in demands()) {
        demands.concurrency = None;
        demands.post_copy_limit = None;
        let cap = demands.bandwidth_bits_per_second;
        let plan = plan(&source, &destination, &[], &demands);
        let index = |name: &str| source.domains.iter().position(|d| d.name == name).expect("it is the source's");
        let moves: Vec<Move> = plan.migrations.iter().map(|step| Move {
            domain: index(&step.domain), technique: step.technique(), concurrency: step.concurrency,
        }).collect();
        for (place, step) in plan.migrations.iter().enumerate().filter(|(_, s)| s.technique().pulls()) {
            let mut without = moves.clone();
            without[place].technique = Technique::PreCopy;
            let with = predict(&source, &destination, &moves, cap).0.total_seconds;
            let without = predict(&source, &destination, &without, cap).0.total_seconds;
            let link = source.migration_port.bits_per_second.min(cap.unwrap_or(f64::INFINITY) / 0.97);
            let least = least_gain(&source, [step.domain.as_str()], link);
            if let (Some(with), Some(without)) = (with, without) {
                prop_assert!(without - with >= least * (1.0 - 1e-9), "{}: {without} s, {with} s, {least} s", step.domain);
            }
        }
    }

    #[test]
    fn what_others_would_do_does_not_depend_on_names(
        (source, destination) in hosts(2..=6, ordinary), demands in demands(), by in 1usize..6,
    ) {
        let mut renamed = source.clone();
        let names: Vec<_> = source.domains.iter().map(|d| (d.name.clone(), d.uuid.clone())).collect();
        for (index, domain) in renamed.domains.iter_mut().enumerate() {
            (domain.name, domain.uuid) = names[(index + by) % names.len()].clone();
        }
        // Sums of the same rates in another order differ in their last digits.
        let same = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => (one - other).abs() <= 1e-9 * one.abs().max(1.0),
            _ => one == other,
        };
        let alternatives = |source| plan(source, &destination, &[], &demands).alternatives;
        let (one, other) = (alternatives(&renamed), alternatives(&source));
        prop_assert_eq!(one.len(), other.len());
        for (one, other) in one.iter().zip(&other) {
            prop_assert_eq!(&one.policy, &other.policy);
            prop_assert!(same(one.predicted.total_seconds, other.predicted.total_seconds), "{one:?} {other:?}");
            prop_assert!(same(one.predicted.lost_bits, other.predicted.lost_bits), "{one:?} {other:?}");
        }
    }
}

#[test]
fn more_capacity_makes_the_fastest_plan_no_slower() {
    // The same instances in every run: docs/model.md tells of the exceptions.
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let factor = prop_oneof![1.0..1.1f64, 1.1..8.0f64];
    let result = runner.run(&(hosts(1..=6, ordinary), factor), |((source, destination), factor)| {
        let wider = [((factor, factor), 1e-6), ((factor, 1.0), 0.01), ((1.0, factor), 0.01)];
        check_capacity(&source, &destination, &wider)
    });
    result.expect("it is no slower");
}

/// Checks that links that are `wider`, the source's and the destination's by their factors, make the fastest plan no
/// slower, but for a part of the tolerance beside them, and the plan that is taken no slower than the objective allows
/// where they are not, and than post-copies that are not worth it would save.
pub(crate) fn check_capacity(
    source: &Profile,
    destination: &Profile,
    wider: &[((f64, f64), f64)],
) -> Result<(), TestCaseError> {
    let widened = |host: &Profile, factor: f64| {
        let mut host = host.clone();
        host.migration_port.bits_per_second *= factor;
        host
    };
    let demands = Demands::default();
    let before = plan(source, destination, &[], &demands).fastest_seconds.unwrap_or(f64::INFINITY);
    for &((here, there), tolerance) in wider {
        let after = plan(&widened(source, here), &widened(destination, there), &[], &demands);
        let seconds = before * (1.0 + tolerance);
        let fastest = after.fastest_seconds.unwrap_or(f64::INFINITY);
        prop_assert!(fastest <= seconds, "{fastest} s, not {seconds} s");
        let taken = after.predicted.total_seconds.unwrap_or(f64::INFINITY);
        let names = source.domains.iter().map(|domain| domain.name.as_str());
        let seconds = seconds + least_gain(source, names, source.migration_port.bits_per_second);
        prop_assert!(taken <= (seconds * 1.05).max(seconds + 1.0), "{taken} s where {seconds} s are the least");
    }
    Ok(())
}
