//! A saved plan against the hosts of today: what has changed since, and whether the plan still holds.
//!
//! Pure. The plan's own schedule is predicted again from the new profiles, by the same model: that is what a change of
//! traffic, memory or links amounts to.

use std::collections::HashSet;

use crate::plan::{self, Move, Plan, Refusal, Step, Technique};
use crate::profile::{DomainProfile, DomainState, Profile};
use crate::units::span;

/// The plan holds as long as it takes at most so many times as long as when it was made, and [`SLACK_SECONDS`]. Chosen,
/// not measured: two windows never see quite the same traffic, and the user is to be asked only about what matters.
const SLOWER: f64 = 1.25;
const SLACK_SECONDS: f64 = 2.0;

/// A saved plan, looked at again.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The plan for today: its predictions are new, and what can't be done any more is left out or refused.
    pub plan: Plan,
    /// Why it does not hold as it was made; none where it does.
    pub differences: Vec<String>,
}

/// Compares the plan with new profiles of its hosts.
pub fn check(plan: &Plan, source: &Profile, destination: &Profile) -> Checked {
    let mut now = Plan {
        source: source.host.clone(),
        destination: destination.host.clone(),
        source_link: source.link.clone(),
        destination_link: destination.link.clone(),
        ..plan.clone()
    };
    let mut differences = Vec::new();
    for (planned, host) in [(&plan.source, &source.host), (&plan.destination, &destination.host)] {
        if planned != host {
            differences.push(format!("the plan is for {planned}, not for {host}"));
        }
    }
    now.migrations.retain_mut(|step| match standing(step, source, destination) {
        Standing::AsPlanned => true,
        Standing::Absent(why) => {
            differences.push(why);
            false
        }
        Standing::Blocked(why) => {
            differences.push(format!("{}: {why}", step.domain));
            now.refused.push(Refusal { domain: step.domain.clone(), uuid: step.uuid.clone(), reason: why });
            false
        }
        Standing::OnlyPreCopy(why) => {
            differences.push(format!("{}: post-copy is not possible any more: {why}", step.domain));
            step.technique = Technique::PreCopy;
            true
        }
    });
    let known: HashSet<_> = plan
        .migrations
        .iter()
        .map(|step| &step.uuid)
        .chain(plan.refused.iter().chain(&plan.stays).map(|refusal| &refusal.uuid))
        .collect();
    for domain in source.domains.iter().filter(|domain| !known.contains(&domain.uuid)) {
        if domain.state.is_active() {
            differences.push(format!("{} is new at {} and not in the plan: it would stay", domain.name, source.host));
        }
        let reason = "it was not there when the plan was made".to_owned();
        now.stays.push(Refusal { domain: domain.name.clone(), uuid: domain.uuid.clone(), reason });
    }
    predict_again(&mut now, source, destination);
    differences.extend(slower(plan, &now));
    Checked { plan: now, differences }
}

enum Standing {
    AsPlanned,
    /// It is not there to be moved.
    Absent(String),
    /// It is there and can't be moved as planned.
    Blocked(String),
    /// It can be moved, but only so.
    OnlyPreCopy(String),
}

fn standing(step: &Step, source: &Profile, destination: &Profile) -> Standing {
    let at = |host: &Profile| -> Option<DomainProfile> { host.domains.iter().find(|d| d.uuid == step.uuid).cloned() };
    let Some(domain) = at(source) else {
        let place = match (at(destination), source.domains.iter().any(|domain| domain.name == step.domain)) {
            (Some(domain), _) => format!("it is {} at {}", domain.state, destination.host),
            (None, true) => "another domain has its name, with another UUID".to_owned(),
            (None, false) => format!("nor is it at {}", destination.host),
        };
        return Standing::Absent(format!("{} is not at {} any more: {place}", step.domain, source.host));
    };
    let because = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "libvirt gives no reason".to_owned());
    if !domain.migration.eligible {
        return Standing::Blocked(because(&domain.migration.reason));
    }
    match (step.technique, domain.state) {
        (Technique::Offline, DomainState::ShutOff) => Standing::AsPlanned,
        (Technique::Offline, state) => Standing::Blocked(format!("it is {state}; the plan moves only its definition")),
        (Technique::PostCopy, DomainState::Running) if !domain.post_copy.eligible => {
            Standing::OnlyPreCopy(because(&domain.post_copy.reason))
        }
        (Technique::PostCopy, DomainState::Paused) => Standing::OnlyPreCopy("it is paused".to_owned()),
        (_, DomainState::Running | DomainState::Paused | DomainState::PmSuspended) => Standing::AsPlanned,
        (_, state) => Standing::Blocked(format!("it is {state}; the plan moves it live")),
    }
}

/// Puts the predictions of today into the plan.
fn predict_again(plan: &mut Plan, source: &Profile, destination: &Profile) {
    let index = |step: &Step| source.domains.iter().position(|domain| domain.uuid == step.uuid);
    let moves: Vec<_> = plan
        .migrations
        .iter()
        .filter(|step| step.technique != Technique::Offline)
        .filter_map(|step| {
            Some(Move { domain: index(step)?, technique: step.technique, concurrency: step.concurrency })
        })
        .collect();
    let (totals, predicted) = plan::predict(source, destination, &moves, plan.bandwidth_bits_per_second);
    let live = plan.migrations.iter_mut().filter(|step| step.technique != Technique::Offline);
    live.zip(predicted).for_each(|(step, predicted)| step.predicted = predicted);
    for (place, step) in plan.migrations.iter_mut().enumerate() {
        step.order = place + 1;
    }
    plan.predicted = totals;
    if let Some(window) = &mut plan.window {
        window.fits = totals.total_seconds.is_some_and(|total| total <= window.limit_seconds);
    }
}

/// Whether the plan now takes much longer, and which domains make it so.
fn slower(then: &Plan, now: &Plan) -> Vec<String> {
    let is_slower = |then: Option<f64>, now: Option<f64>| match (then, now) {
        (Some(then), Some(now)) => now > then * SLOWER + SLACK_SECONDS,
        (then, now) => then.is_some() && now.is_none(),
    };
    let text = |seconds: Option<f64>| seconds.map_or_else(|| "for ever".to_owned(), span);
    let mut found = Vec::new();
    if is_slower(then.predicted.total_seconds, now.predicted.total_seconds) {
        let (then, now) = (text(then.predicted.total_seconds), text(now.predicted.total_seconds));
        found.push(format!("the plan is now predicted to take {now} instead of {then}"));
    }
    let fitted = then.window.is_some_and(|window| window.fits);
    if let Some(window) = now.window.filter(|window| fitted && !window.fits) {
        found.push(format!("it does not fit its window of {} any more", span(window.limit_seconds)));
    }
    if found.is_empty() {
        return found;
    }
    for step in &now.migrations {
        let Some(before) = then.migrations.iter().find(|before| before.uuid == step.uuid) else { continue };
        let took = |step: &Step| Some(step.predicted.end_seconds? - step.predicted.start_seconds?);
        if is_slower(took(before), took(step)) {
            found.push(format!("{}: now {} instead of {}", step.domain, text(took(step)), text(took(before))));
        }
    }
    for (host, then, now) in [
        (&now.source, &then.source_link, &now.source_link),
        (&now.destination, &then.destination_link, &now.destination_link),
    ] {
        if then.bits_per_second != now.bits_per_second {
            let rate = |bits| crate::units::Rate::from_bits_per_second(bits);
            let (then, now) = (rate(then.bits_per_second), rate(now.bits_per_second));
            found.push(format!("{host}: its link carries {now}/s instead of {then}/s"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Demands;
    use crate::profile::{Eligibility, fixture};

    fn hosts() -> (Profile, Profile) {
        let running = |name| (name, name, DomainState::Running);
        let mut source = fixture::host("host-a", &["db", "web"].map(running));
        for domain in &mut source.domains {
            (domain.memory_bytes, domain.resident_bytes) = (1 << 30, 1 << 30);
        }
        source.domains[1].outbound_bits_per_second = 3e8;
        (source, fixture::host("host-b", &[]))
    }

    fn saved() -> (Plan, Profile, Profile) {
        let (source, destination) = hosts();
        let plan = plan::plan(&source, &destination, &[], &Demands::default());
        assert!(plan.migrations.iter().any(|step| step.technique == Technique::PostCopy), "web is a sender");
        (plan, source, destination)
    }

    #[test]
    fn the_same_hosts_change_nothing() {
        let (plan, source, destination) = saved();
        let checked = check(&plan, &source, &destination);
        assert_eq!(checked.differences, Vec::<String>::new());
        assert_eq!(checked.plan, plan);
    }

    #[test]
    fn each_change_is_named_with_its_domain() {
        let differences = |change: fn(&mut Profile, &mut Profile)| {
            let (plan, mut source, mut destination) = saved();
            change(&mut source, &mut destination);
            check(&plan, &source, &destination).differences.join("\n")
        };
        for (wanted, change) in [
            (
                "web is not at host-a any more: nor is it at host-b",
                (|s, _| drop(s.domains.pop())) as fn(&mut Profile, &mut Profile),
            ),
            ("web is not at host-a any more: another domain has its name", |s: &mut Profile, _: &mut Profile| {
                s.domains[1].uuid = "another".to_owned();
            }),
            ("web is not at host-a any more: it is running at host-b", |s, d| {
                d.domains.push(s.domains.pop().unwrap());
            }),
            ("web: it is shut off; the plan moves it live", |s, _| s.domains[1].state = DomainState::ShutOff),
            ("web: post-copy is not possible any more: memory in a file", |s, _| {
                s.domains[1].post_copy = Eligibility::no("memory in a file");
            }),
            ("db: an assigned device", |s, _| s.domains[0].migration = Eligibility::no("an assigned device")),
            ("new is new at host-a", |s, _| {
                let domain = DomainProfile { name: "new".to_owned(), uuid: "new".to_owned(), ..s.domains[0].clone() };
                s.domains.push(domain);
            }),
            ("db: now", |s, _| s.domains[0].resident_bytes <<= 2),
            ("host-a: its link carries 100Mbit/s instead of", |s, _| s.link.bits_per_second = 1e8),
            ("the plan is for host-a, not for host-c", |s, _| s.host = "host-c".to_owned()),
        ] {
            let found = differences(change);
            assert!(found.contains(wanted), "{wanted}: {found}");
        }
    }

    #[test]
    fn what_would_lose_a_domain_is_never_run_whatever_the_plan_says() {
        let (plan, mut source, destination) = saved();
        source.domains[1].post_copy = Eligibility::no("memory in a file");
        source.domains[0].migration = Eligibility::no("an assigned device");
        let now = check(&plan, &source, &destination).plan;
        assert!(now.migrations.iter().all(|step| step.technique == Technique::PreCopy), "{:?}", now.migrations);
        assert_eq!(now.refused.iter().map(|r| r.domain.as_str()).collect::<Vec<_>>(), ["db"]);
    }

    #[test]
    fn a_little_more_traffic_is_no_difference() {
        let (plan, mut source, destination) = saved();
        source.domains[1].outbound_bits_per_second *= 1.05;
        source.domains[0].resident_bytes += 10 << 20;
        assert_eq!(check(&plan, &source, &destination).differences, Vec::<String>::new());
    }
}
