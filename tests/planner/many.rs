//! More domains than can be tried exhaustively: the search still finds what there is to find.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::properties::{check_capacity, hosts, ordinary};
use crate::support::{domain, example};
use tsmig::plan::{Demands, plan};
use tsmig::profile::{DomainProfile, Profile};

/// Runs `test` on instances of busy hosts, the same ones in every run: what all domains send takes `outbound` of the
/// source's link, what they receive `inbound` of the destination's.
fn busy(domains: usize, (outbound, inbound): (f64, f64), cases: u32, test: impl Fn(Profile, Profile)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&hosts(domains..=domains, ordinary), |(mut source, mut destination)| {
        destination.domains.clear();
        let sum = |rate: fn(&DomainProfile) -> f64| source.domains.iter().map(rate).sum::<f64>().max(1.0);
        let out = outbound * source.migration_port.bits_per_second / sum(|domain| domain.outbound_bits_per_second);
        let inb = inbound * destination.migration_port.bits_per_second / sum(|domain| domain.inbound_bits_per_second);
        for domain in &mut source.domains {
            domain.outbound_bits_per_second *= out;
            domain.inbound_bits_per_second *= inb;
        }
        test(source, destination);
        Ok(())
    });
    result.expect("it holds for all");
}

#[test]
fn no_limit_makes_an_evacuation_end_that_would_not_without() {
    let check = |source: Profile, destination: Profile| {
        let ends = |concurrency| {
            let demands = Demands { concurrency, ..Demands::default() };
            plan(&source, &destination, &[], &demands).predicted.total_seconds.is_some()
        };
        assert!(ends(None) || !(ends(Some(1)) || ends(Some(3))));
    };
    busy(11, (0.9, 0.95), 6, check);
    busy(14, (0.75, 1.0), 6, check);
    busy(20, (0.5, 0.7), 3, check);
}

#[test]
fn what_is_not_tried_exhaustively_is_nearly_as_fast() {
    busy(8, (0.6, 0.6), 8, |mut source, destination| {
        let tried = plan(&source, &destination, &[], &Demands::default()).fastest_seconds;
        // Nothing but their number makes a difference.
        for name in ["x1", "x2", "x3"] {
            let nothing = DomainProfile { memory_bytes: 4096, resident_bytes: 4096, ..domain(name, 0.0, 0.0) };
            source.domains.push(nothing);
        }
        let searched = plan(&source, &destination, &[], &Demands::default()).fastest_seconds;
        if let (Some(tried), Some(searched)) = (tried, searched) {
            assert!(searched <= 1.02 * tried, "{searched} s against {tried} s");
        }
        assert_eq!(tried.is_some(), searched.is_some());
    });
}

#[test]
fn more_capacity_makes_the_fastest_plan_no_slower() {
    let check = |source: Profile, destination: Profile| {
        // A search that can't try everything may find a little more where there is less capacity.
        let wider = [(1.01, 1.0), (1.0, 1.1), (1.05, 1.05), (3.0, 1.0)].map(|wider| (wider, 0.03));
        check_capacity(&source, &destination, &wider).expect("it is no slower");
    };
    busy(8, (0.6, 0.6), 2, check);
    busy(12, (0.9, 0.5), 2, check);
    busy(16, (0.5, 0.9), 2, check);
}

#[test]
fn forty_domains_and_one_are_planned_like_forty() {
    let (mut source, destination) = example("datacenter-40");
    let fastest =
        |source: &Profile| plan(source, &destination, &[], &Demands::default()).fastest_seconds.expect("ends");
    let forty = fastest(&source);
    source.domains.push(DomainProfile { memory_bytes: 4096, resident_bytes: 4096, ..domain("x", 0.0, 0.0) });
    assert!(fastest(&source) <= 1.02 * forty);
}
