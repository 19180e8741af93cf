//! What the model says of each policy: of the fixed schedules that virsh ran, and of the plan that tsmig makes. A test
//! uses this to hold the model and the planner to the kept results.

use tsmig::domain::Technique;
use tsmig::plan::{Demands, Move, Objective, Totals, plan, predict};
use tsmig::profile::{DomainProfile, Profile};

/// A policy that has not ended by then, in seconds, does not end.
pub const TIME_LIMIT_SECONDS: u64 = 150;

/// Seconds that a policy takes from `source` to `destination`; `None` where it does not end by the time limit.
pub fn seconds(policy: &str, source: &Profile, destination: &Profile) -> Option<f64> {
    let total = totals(policy, source, destination).total_seconds;
    total.filter(|seconds| *seconds <= TIME_LIMIT_SECONDS as f64)
}

/// What a policy comes to from `source` to `destination`.
///
/// # Panics
/// The policy is unknown.
pub fn totals(policy: &str, source: &Profile, destination: &Profile) -> Totals {
    let planned = |objective| plan(source, destination, &[], &Demands { objective, ..Demands::default() }).predicted;
    match policy {
        "tsmig, objective time" => return planned(Objective::Time),
        "tsmig, objective impact" => return planned(Objective::Impact),
        _ => {}
    }
    let all = source.domains.len();
    let sends = |domain: &DomainProfile| domain.outbound_bits_per_second > domain.inbound_bits_per_second;
    let step = |domain: &DomainProfile| match policy {
        "pre-copy for all, at once" => (Technique::PreCopy, all),
        "post-copy for all, at once" => (Technique::PostCopy, all),
        "pre-copy one by one" => (Technique::PreCopy, 1),
        "the wrong mix, at once" if sends(domain) => (Technique::PreCopy, all),
        "the wrong mix, at once" => (Technique::PostCopy, all),
        _ => panic!("no schedule is named {policy:?}"),
    };
    let moves: Vec<Move> = (0..)
        .zip(source.domains.iter().map(step))
        .map(|(domain, (technique, concurrency))| Move { domain, technique, concurrency })
        .collect();
    predict(source, destination, &moves, None).0
}
