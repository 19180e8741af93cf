//! What the planner keeps to: forced techniques, exclusions, order, and caps.

use std::process::Command;

use crate::support::{balanced, by, domain, example, host, most_in_flight, step};
use tsmig::domain::DomainState;
use tsmig::domain::Technique;
use tsmig::obstacle::{Eligibility, Obstacle};
use tsmig::plan::{Demands, LEAST_BANDWIDTH, Objective, Plan, Rule, plan};

fn with(rules: &[Rule], demands: &Demands) -> Plan {
    let (source, destination) = balanced();
    plan(&source, &destination, rules, demands)
}

fn forced(technique: Technique) -> Rule {
    Rule { technique: Some(technique), ..Rule::default() }
}

#[test]
fn a_forced_technique_is_used_and_said() {
    let plan = with(&[forced(Technique::PreCopy), Rule::default(), forced(Technique::PostCopy)], &Demands::default());
    assert_eq!(step(&plan, "o1").technique(), Technique::PreCopy);
    assert!(step(&plan, "o1").to_string().contains("forced by --pre-copy"));
    assert_eq!(step(&plan, "i1").technique(), Technique::PostCopy);
    assert!(step(&plan, "i1").to_string().contains("forced by --post-copy"));
    let rule = Rule { technique_origin: Some("configuration"), ..forced(Technique::PreCopy) };
    assert!(step(&with(&[rule], &Demands::default()), "o1").to_string().contains("forced by configuration"));
}

#[test]
fn a_forced_post_copy_that_is_not_possible_is_refused_not_changed() {
    let (mut source, destination) = balanced();
    source.domains[0].post_copy = Eligibility::no(Obstacle::MemoryInFile);
    source.domains[1].state = DomainState::Paused;
    let rules = [forced(Technique::PostCopy), forced(Technique::PostCopy)];
    let plan = plan(&source, &destination, &rules, &Demands::default());
    let refused: Vec<_> = plan.refused.iter().map(|r| r.domain.as_str()).collect();
    assert_eq!(refused, ["o1", "o2"]);
    let reasons: Vec<_> = plan.refused.iter().map(|r| r.obstacle.to_string()).collect();
    assert!(reasons[0].contains("--post-copy") && reasons[0].contains("backed by a file"));
    assert!(reasons[1].contains("paused"));
}

#[test]
fn what_stays_keeps_sending() {
    let (source, destination) = balanced();
    let stay = Rule { stays: true, ..Rule::default() };
    let all = plan(&source, &destination, &[], &Demands::default());
    let some = plan(&source, &destination, &[stay, stay], &Demands::default());
    assert_eq!(some.stays.len(), 2);
    assert_eq!(some.migrations.len(), 2);
    // Half of the memory, but the senders that stay keep 60 of the 100 Mbit/s.
    let seconds = |plan: &Plan| plan.predicted.total_seconds.expect("it ends");
    assert!(seconds(&some) > 0.9 * seconds(&all));
}

#[test]
fn states_that_can_not_move_are_refused() {
    for (state, word) in [
        (DomainState::Crashed, "crashed"),
        (DomainState::ShuttingDown, "shutting down"),
        (DomainState::Unknown, "state"),
    ] {
        let mut odd = domain("odd", 1.0, 1.0);
        odd.state = state;
        let plan = plan(&host("a", 100.0, vec![odd]), &host("b", 100.0, vec![]), &[], &Demands::default());
        let reason = plan.refused[0].obstacle.to_string();
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn an_inactive_domain_stays_unless_it_is_asked_for() {
    let (mut source, destination) = balanced();
    source.domains[3].state = DomainState::ShutOff;
    let plan_with = |rules: &[Rule]| plan(&source, &destination, rules, &Demands::default());
    let stays = plan_with(&[]);
    assert_eq!(stays.stays[0].domain, "i2");
    assert_eq!(stays.migrations.len(), 3);
    let moves = plan_with(&[Rule { offline: true, ..Rule::default() }; 4]);
    let last = moves.migrations.last().expect("four move");
    assert_eq!((last.domain.as_str(), last.technique(), last.order), ("i2", Technique::Offline, 4));
    assert_eq!((last.predicted.bytes, last.predicted.end_seconds), (Some(0), moves.predicted.total_seconds));
    assert_eq!(moves.predicted, stays.predicted);
}

#[test]
fn concurrency_is_capped() {
    for cap in 1..=4 {
        let plan = with(&[], &Demands { concurrency: Some(cap), ..Demands::default() });
        assert!(plan.concurrency <= cap && plan.migrations.iter().all(|step| step.concurrency <= cap));
        assert!(most_in_flight(&plan, |_| true) <= cap);
        assert!(!plan.launch_ahead, "not even for the last second of another");
    }
    assert!(with(&[], &Demands::default()).launch_ahead);
}

#[test]
fn post_copies_at_the_same_time_are_capped() {
    let (source, destination) = example("mostly-senders");
    let limited = |limit| {
        let demands = Demands { post_copy_limit: Some(limit), ..Demands::default() };
        let plan = plan(&source, &destination, &[], &demands);
        assert_eq!(plan.post_copy_limit, Some(limit), "the engine counts them, too");
        plan
    };
    let in_post_copy = |plan: &Plan| most_in_flight(plan, |step| step.technique().pulls());
    assert_eq!(in_post_copy(&limited(3)), 3);
    assert_eq!(in_post_copy(&limited(1)), 1);
    let none = limited(0);
    assert!(by(&none, Technique::PostCopy).is_empty());
    assert!(none.migrations[0].to_string().contains("at most 0 domains may be in post-copy"));
}

/// Five are what a link that breaks for good can lose, if the user says nothing. The engine counts them.
#[test]
fn without_an_option_five_may_be_in_post_copy() {
    let profile = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/profiles/balanced.json");
    let mut tsmig = Command::new(env!("CARGO_BIN_EXE_tsmig"));
    tsmig.env("XDG_CONFIG_HOME", "/nowhere").args(["plan", "--profile", profile, "--output", "json"]);
    let plan: Plan = serde_json::from_slice(&tsmig.output().expect("it runs").stdout).expect("a plan");
    assert_eq!(plan.post_copy_limit, Some(5));
}

#[test]
fn a_bandwidth_cap_is_kept() {
    let demands = Demands { bandwidth_bits_per_second: Some(20e6), ..Demands::default() };
    let capped = with(&[], &demands);
    let bits: f64 = capped.migrations.iter().map(|step| step.predicted.bytes.expect("it ends") as f64 * 8.0).sum();
    assert!(capped.predicted.total_seconds.expect("it ends") >= bits / 20e6);
    assert_eq!(capped.bandwidth_bits_per_second, Some(20e6));
}

#[test]
fn no_more_run_at_once_than_can_keep_the_cap() {
    // libvirt limits a migration to whole MiB/s, of which it takes one at least.
    for (mib, most) in [(1.0, 1), (2.5, 2), (3.0, 3)] {
        let cap = mib * LEAST_BANDWIDTH;
        let plan = with(&[], &Demands { bandwidth_bits_per_second: Some(cap), ..Demands::default() });
        assert!(plan.concurrency <= most && most_in_flight(&plan, |_| true) <= most, "{mib}: {}", plan.concurrency);
        assert!(!plan.launch_ahead || plan.concurrency < most, "{mib}: one more for a second would be too many");
    }
}

#[test]
fn first_last_and_fixed_orders_are_kept() {
    let rank = |rank| Rule { rank, ..Rule::default() };
    for objective in [Objective::Time, Objective::Impact] {
        let demands = Demands { objective, ..Demands::default() };
        let names = |rules: &[Rule]| -> Vec<String> {
            with(rules, &demands).migrations.iter().map(|step| step.domain.clone()).collect()
        };
        assert_eq!(names(&[rank(1)]).last().map(String::as_str), Some("o1"));
        assert_eq!(names(&[rank(0), rank(0), rank(0), rank(-1)])[0], "i2");
        assert_eq!(names(&[rank(3), rank(1), rank(4), rank(2)]), ["o2", "i2", "o1", "i1"]);
    }
}

#[test]
fn a_rank_is_kept_among_many() {
    let (source, destination) = example("datacenter-40");
    let mut rules = vec![Rule::default(); source.domains.len()];
    rules[7].rank = 1;
    rules[9].rank = -1;
    let plan = plan(&source, &destination, &rules, &Demands::default());
    assert_eq!(plan.migrations.first().map(|s| &s.domain), Some(&source.domains[9].name));
    assert_eq!(plan.migrations.last().map(|s| &s.domain), Some(&source.domains[7].name));
}
