//! How long planning takes for hosts with many domains, and how close the plan comes to the lower bound; and how long it takes to
//! follow a run.

// The macros of criterion make undocumented public items; its results are printed.
#![allow(missing_docs, clippy::print_stderr)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tsmig::domain::{DomainState, Technique};
use tsmig::obstacle::{Eligibility, Obstacle};
use tsmig::plan::{Demands, Leeway, Move, Objective, Situation, plan};
use tsmig::profile::{DomainProfile, Profile};
use tsmig::topology::{CapacityOrigin, Port, RouteOrigin};

/// A reproducible sequence of numbers in [0, 1): a linear congruential generator (Knuth, MMIX).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A host with a link of 10 Gbit/s and so many domains of 1 to 16 GiB: a quarter send, a quarter receive, a quarter
/// do both and a quarter neither, a tenth of the link each way; a third dirty up to 50 MB/s of their own, and a
/// sixth can't be post-copied.
fn host(domains: usize) -> Profile {
    let mut numbers = Numbers(42);
    let mut domain = |index: usize| {
        let mut next = || numbers.next();
        // Few flows carry most of the traffic: exponentially distributed.
        let rate = |draw: f64| -(1.0 - draw).ln() * 0.1 * 1e10 / (domains as f64 / 2.0);
        DomainProfile {
            name: format!("vm-{index:05}"),
            uuid: format!("00000000-0000-0000-0000-{index:012}"),
            state: DomainState::Running,
            persistent: true,
            memory_bytes: 32 << 30,
            resident_bytes: (1 << 30) << (next() * 5.0) as u32,
            unused_bytes: None,
            filled_bytes: None,
            rewritten: None,
            learned: None,
            dirty_bytes_per_second: if next() < 1.0 / 3.0 { next() * 50e6 } else { 0.0 },
            dirty_rate_unknown: false,
            outbound_bits_per_second: if index % 4 < 2 { rate(next()) } else { 0.0 },
            inbound_bits_per_second: if index % 2 == 0 { rate(next()) } else { 0.0 },
            nics: Vec::new(),
            post_copy: if next() < 1.0 / 6.0 {
                Eligibility::no(Obstacle::MemoryInFile)
            } else {
                Eligibility::default()
            },
            migration: Eligibility::default(),
        }
    };
    Profile {
        host: "source".to_owned(),
        window_seconds: 30.0,
        migration_port: Port::unnamed(1e10, CapacityOrigin::Detected),
        route: RouteOrigin::default(),
        address: None,
        other_ports: Vec::new(),
        outlets: Vec::new(),
        processors: None,
        crossing: None,
        domains: (0..domains).map(&mut domain).collect(),
    }
}

fn planning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10);
    for number in [10, 100, 1_000, 10_000] {
        let source = host(number);
        let destination = Profile { host: "destination".to_owned(), domains: Vec::new(), ..source.clone() };
        for objective in [Objective::Time, Objective::Impact] {
            let demands = Demands { objective, ..Demands::default() };
            let made = plan(&source, &destination, &[], &demands);
            if let (Some(fastest), Some(bound)) = (made.fastest_seconds, made.bound_seconds) {
                eprintln!(
                    "{number} domains, {objective:?}: fastest {:.2} % above the bound",
                    (fastest / bound - 1.0) * 100.0
                );
            }
            group.bench_function(format!("{number} domains, {objective:?}"), |bencher| {
                bencher.iter(|| plan(black_box(&source), &destination, &[], &demands));
            });
        }
    }
    group.finish();
}

/// What the engine asks every two seconds, and every four: when all will have ended, and whether another schedule ends sooner.
fn following(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("follow");
    for number in [100, 1_000] {
        let source = host(number);
        let destination = Profile { host: "destination".to_owned(), domains: Vec::new(), ..source.clone() };
        let next = |domain| Move { domain, technique: Technique::PreCopy, concurrency: 15 };
        let moves: Vec<Move> = (0..number).map(next).collect();
        let begun = Situation::default();
        let (whole, _) = begun.predict(&source, &destination, &moves, None);
        let third = whole.total_seconds.unwrap_or(60.0) / 3.0;
        let (situation, waiting) = begun.after(third, &source, &destination, &moves, None);
        let leeway = Leeway { most_in_flight: 15, reorders: true, keeps_losses: false };
        group.bench_function(format!("{number} domains, the end"), |bencher| {
            bencher.iter(|| black_box(&situation).predict(&source, &destination, waiting, None));
        });
        group.bench_function(format!("{number} domains, a better schedule"), |bencher| {
            bencher.iter(|| black_box(&situation).sooner((&source, &destination), waiting, None, leeway));
        });
    }
    group.finish();
}

criterion_group!(benches, planning, following);
criterion_main!(benches);
