//! A saved plan against the hosts of today: what has changed since, and whether the plan still holds.
//!
//! Pure. The plan's own schedule is predicted again from the new profiles, by the same model: that is what a change of
//! traffic, memory or links amounts to.

use std::iter;

use super::draft::{Draft, Seen};
use super::eligibility::{Standing, post_copy_obstacle, standing};
use super::gate::Gate;
use crate::domain::{DomainState, Technique, Then, Transfer};
use crate::obstacle::Obstacle;
use crate::plan::predict::predict_as_asked;
use crate::plan::return_trip::Absent;
use crate::plan::{Demands, Move, Note, Plan, Reason, Refusal, Rule, Stay, StayKind, Step, Totals, Window};
use crate::profile::{DomainProfile, Profile};

/// The plan holds as long as it takes at most this factor longer than when it was made, and [`SLACK_SECONDS`]. Chosen,
/// not measured: two windows never see quite the same traffic, and the user is to be asked only about what matters.
const SLOWER: f64 = 1.25;
const SLACK_SECONDS: f64 = 2.0;

/// The rules by which the hosts are examined for a saved plan: all that it moves or refuses, offline steps too, unless
/// today's rules keep it. `rules` has one entry per domain of the source, in order.
pub(super) fn examined(plan: &Plan, source: &Profile, rules: &[Rule]) -> Vec<Rule> {
    let planned = |uuid: &str| plan.step(uuid).is_some() || plan.refused.iter().any(|r| r.uuid == uuid);
    // Whoever saved it has said so.
    let moves_owned =
        |name: &str| plan.notes.iter().any(|note| matches!(note, Note::Owned { domain, .. } if domain == name));
    let rule = |(domain, rule): (&DomainProfile, &Rule)| Rule {
        stays: rule.stays || !planned(&domain.uuid),
        offline: true,
        owned: rule.owned || moves_owned(&domain.name),
        ..*rule
    };
    source.domains.iter().zip(rules).map(rule).collect()
}

/// Compares the plan with its hosts as they are seen today.
pub(super) fn look_again(plan: &Plan, seen: &Seen<'_>) -> Draft {
    let mut today = Today::default();
    let hosts = [&seen.source.host, &seen.destination.host];
    for (planned, host) in iter::once(&plan.source).chain(&plan.destinations).zip(hosts) {
        if planned != host {
            today.differences.push(Difference::OtherHost { planned: planned.clone(), host: host.clone() });
        }
    }
    plan.migrations.iter().for_each(|step| today.add_step(step, seen));
    let is_beside = |(domain, _): &(&DomainProfile, _)| plan.step(&domain.uuid).is_none();
    for (domain, rule) in seen.source.domains.iter().zip(seen.rules).filter(is_beside) {
        today.add_beside(plan, domain, rule, &seen.source.host);
    }
    today.refused.sort_by(|a, b| a.domain.cmp(&b.domain));
    today.stays.sort_by(|a, b| a.domain.cmp(&b.domain));
    let gate = today.ground(plan, seen);
    let (predicted, migrations) = predict_again(today.steps, plan.bandwidth_bits_per_second, seen, &gate);
    let moves = !migrations.is_empty() && seen.findings.blocked.is_empty();
    let now = Plan {
        source: seen.source.host.clone(),
        destinations: vec![seen.destination.host.clone()],
        hosts: seen.hosts(),
        migrations,
        refused: today.refused,
        blocked: seen.findings.blocked.clone(),
        stays: today.stays,
        predicted,
        grounds: seen.findings.grounds.clone(),
        window: Window::judge(plan.window.map(|window| window.limit_seconds), moves, &predicted),
        ..plan.clone()
    };
    today.differences.extend(slower(plan, &now));
    Draft { plan: now, differences: today.differences, movable: today.movable }
}

/// Why a saved plan does not hold as it was made.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "a field with nothing said of it is what it is called")]
pub enum Difference {
    /// It is for another host.
    OtherHost { planned: String, host: String },
    /// A domain is not at the source any more.
    Absent(Absent),
    /// A domain is not at the source any more, and another has its name.
    Replaced(Absent),
    /// Today's rules let a domain stay.
    Kept { domain: String, kind: StayKind },
    /// A domain can't be moved as planned.
    Blocked { domain: String, obstacle: Obstacle },
    /// A domain can't go by post-copy any more.
    NoPostCopy { domain: String, obstacle: Obstacle },
    /// Nothing keeps a domain any more that the plan refuses.
    Movable { domain: String },
    /// The plan does not move a domain that runs and that a plan of today would move.
    NotInPlan { domain: String, host: String, state: DomainState, then: Then },
    /// It takes longer, in seconds; `None` if its end can't be predicted.
    Slower { then: Option<f64>, now: Option<f64> },
    /// It does not fit its window any more.
    DoesNotFit { limit_seconds: f64 },
    /// The migration of a domain takes longer, in seconds; `None` if its end can't be predicted.
    SlowerDomain { domain: String, then: Option<f64>, now: Option<f64> },
    /// The migration port of a host has another capacity, in bits per second.
    OtherCapacity { host: String, then: f64, now: f64 },
}

/// What a saved plan comes to today.
#[derive(Default)]
struct Today {
    steps: Vec<Step>,
    refused: Vec<Refusal>,
    stays: Vec<Stay>,
    differences: Vec<Difference>,
    movable: Vec<String>,
}

impl Today {
    fn add_step(&mut self, step: &Step, seen: &Seen<'_>) {
        let (domain, uuid) = (step.domain.clone(), step.uuid.clone());
        match step_today(step, seen) {
            StepToday::AsPlanned => self.steps.push(step.clone()),
            StepToday::Absent(difference) => self.differences.push(difference),
            StepToday::Kept(kind) => {
                self.stays.push(Stay::new(&domain, &uuid, kind));
                self.differences.push(Difference::Kept { domain, kind });
            }
            StepToday::Blocked(obstacle) => {
                self.differences.push(Difference::Blocked { domain: domain.clone(), obstacle: obstacle.clone() });
                self.refused.push(Refusal { domain, uuid, forced: None, obstacle });
            }
            StepToday::OnlyPreCopy(obstacle) => {
                self.differences.push(Difference::NoPostCopy { domain, obstacle: obstacle.clone() });
                self.steps.push(only_pre_copy(step, obstacle));
            }
        }
    }

    /// Finds the ground of each step today. A post-copy whose ground nothing proves in time is none any more.
    fn ground(&mut self, plan: &Plan, seen: &Seen<'_>) -> Gate {
        let mut gate = seen.gate(plan.trust_destination, plan.post_copy_limit);
        let mut proven = gate.start();
        for step in &mut self.steps {
            let Some(domain) = seen.source.position(&step.uuid).filter(|_| step.technique() != Technique::Offline)
            else {
                continue;
            };
            step.ground = seen.ground(domain);
            let forced = step.technique().pulls() && step.is_forced();
            if let Some(ground) = gate.ground(domain) {
                gate.trusted[domain] |= forced;
                let provable = seen.findings.grounds[ground].key.is_some();
                let is_proven = gate.trusted[domain] || provable && proven[ground];
                if step.technique().pulls() && !is_proven {
                    let obstacle = seen.unproven(domain, ground);
                    let domain = step.domain.clone();
                    self.differences.push(Difference::NoPostCopy { domain, obstacle: obstacle.clone() });
                    *step = only_pre_copy(step, obstacle);
                }
                proven[ground] = true;
            }
        }
        gate
    }

    /// A domain at `host` that the plan has no step for.
    fn add_beside(&mut self, plan: &Plan, domain: &DomainProfile, rule: &Rule, host: &str) {
        let (name, uuid, state) = (&domain.name, &domain.uuid, domain.state);
        let then = match beside(plan, domain, rule) {
            Unplanned::Stays(kind) => return self.stays.push(Stay::new(name, uuid, kind)),
            Unplanned::Refused(refusal) => return self.refused.push(refusal),
            Unplanned::Forgotten(then) => then,
        };
        match then {
            Then::Refused => {
                self.differences.push(Difference::Movable { domain: name.clone() });
                self.movable.push(uuid.clone());
            }
            _ if !state.is_active() => {}
            then => {
                let (domain, host) = (name.clone(), host.to_owned());
                self.differences.push(Difference::NotInPlan { domain, host, state, then });
            }
        }
        self.stays.push(Stay::new(name, uuid, StayKind::NotInPlan { then }));
    }
}

fn only_pre_copy(step: &Step, obstacle: Obstacle) -> Step {
    let reason = Reason::OnlyPreCopy { obstacle, forced: step.is_forced() };
    let transfer = Transfer { technique: Technique::PreCopy, ..step.transfer.clone() };
    Step { transfer, reason, ..step.clone() }
}

/// A domain of today that the plan has no step for.
enum Unplanned {
    Stays(StayKind),
    Refused(Refusal),
    /// A plan of today would move it, or refuse it.
    Forgotten(Then),
}

fn beside(plan: &Plan, domain: &DomainProfile, rule: &Rule) -> Unplanned {
    let stayed = plan.stays.iter().find(|stay| stay.uuid == domain.uuid);
    // The options of the saved plan chose this, and are not given again.
    if let Some(stay) = stayed.filter(|stay| stay.is_by_options()) {
        return Unplanned::Stays(stay.kind);
    }
    let refused = plan.refused.iter().find(|refusal| refusal.uuid == domain.uuid);
    let moved_offline = plan.migrations.iter().any(|step| step.technique() == Technique::Offline);
    let rule = Rule {
        technique: rule.technique.or(refused.and_then(|refusal| refusal.forced)),
        offline: rule.offline || refused.is_some() && moved_offline,
        ..*rule
    };
    match (standing(domain, &rule, &Demands::default()), refused, stayed) {
        (Standing::Stays(kind), ..) => Unplanned::Stays(kind),
        (Standing::Refused(obstacle), Some(refusal), _) => Unplanned::Refused(Refusal { obstacle, ..refusal.clone() }),
        (_, Some(_), _) => Unplanned::Forgotten(Then::Refused),
        (_, None, Some(stay)) => Unplanned::Forgotten(match stay.kind {
            StayKind::ShutOff => Then::ShutOff,
            StayKind::Kept => Then::Kept,
            _ => Then::Stayed,
        }),
        (_, None, None) => Unplanned::Forgotten(Then::Absent),
    }
}

enum StepToday {
    AsPlanned,
    /// It is not there to be moved.
    Absent(Difference),
    /// Today's rules let it stay.
    Kept(StayKind),
    /// It is there and can't be moved as planned.
    Blocked(Obstacle),
    /// It can be moved, but only so.
    OnlyPreCopy(Obstacle),
}

fn step_today(step: &Step, seen: &Seen<'_>) -> StepToday {
    let (source, destination) = (seen.source, seen.destination);
    let found = source.position(&step.uuid).and_then(|index| Some((&source.domains[index], seen.rules.get(index)?)));
    let Some((domain, rule)) = found else {
        let absent = Absent::of(&step.domain, &step.uuid, source, destination);
        let replaced = absent.state.is_none() && source.domains.iter().any(|domain| domain.name == step.domain);
        let difference = if replaced { Difference::Replaced(absent) } else { Difference::Absent(absent) };
        return StepToday::Absent(difference);
    };
    if rule.stays {
        return StepToday::Kept(rule.stays_because);
    }
    if let Some(obstacle) = &domain.migration.obstacle {
        return StepToday::Blocked(obstacle.clone());
    }
    match (step.technique(), domain.state) {
        (Technique::Offline, DomainState::ShutOff) => StepToday::AsPlanned,
        (Technique::Offline, state) => StepToday::Blocked(Obstacle::NotAsPlanned { state, offline: true }),
        (technique, DomainState::Running | DomainState::Paused | DomainState::PmSuspended) => {
            let obstacle = post_copy_obstacle(domain, &Demands::default());
            match obstacle.filter(|_| technique.pulls()) {
                Some(obstacle) => StepToday::OnlyPreCopy(obstacle),
                None => StepToday::AsPlanned,
            }
        }
        (_, state) => StepToday::Blocked(Obstacle::NotAsPlanned { state, offline: false }),
    }
}

fn predict_again(steps: Vec<Step>, bandwidth: Option<f64>, seen: &Seen<'_>, gate: &Gate) -> (Totals, Vec<Step>) {
    let live = steps.iter().filter(|step| step.technique() != Technique::Offline);
    let (moves, max_downtimes): (Vec<_>, Vec<_>) = live
        .filter_map(|step| {
            let domain = seen.source.position(&step.uuid)?;
            let (technique, concurrency) = (step.technique(), step.concurrency);
            Some((Move { domain, technique, concurrency }, step.transfer.max_downtime_ms))
        })
        .unzip();
    let hosts = (seen.source, seen.destination);
    let (totals, predicted) = predict_as_asked(hosts, &moves, bandwidth, &max_downtimes, gate);
    let mut predicted = predicted.into_iter();
    let today = |(place, step): (usize, Step)| {
        let offline = step.technique() == Technique::Offline;
        let predicted = if offline { None } else { predicted.next() };
        Step {
            order: place + 1,
            destination: seen.destination.host.clone(),
            path: seen.path(),
            steady: seen.source.domain(&step.uuid).map(DomainProfile::steady).unwrap_or_default(),
            memory_bytes: seen.memory_bytes(&step.uuid).unwrap_or(step.memory_bytes),
            earlier_migrations: seen.source.domain(&step.uuid).map_or(0, DomainProfile::earlier_migrations),
            predicted: predicted.unwrap_or(step.predicted),
            ..step
        }
    };
    (totals, steps.into_iter().enumerate().map(today).collect())
}

/// Whether the plan now takes much longer, and which domains make it so.
fn slower(then: &Plan, now: &Plan) -> Vec<Difference> {
    let is_slower = |then: Option<f64>, now: Option<f64>| match (then, now) {
        (Some(then), Some(now)) => now > then * SLOWER + SLACK_SECONDS,
        (then, now) => then.is_some() && now.is_none(),
    };
    let knows_less = now
        .migrations
        .iter()
        .any(|step| then.step(&step.uuid).is_some_and(|before| before.earlier_migrations > step.earlier_migrations));
    let capacities = other_capacities(then, now);
    // What earlier runs have shown may be forgotten; the hosts are no others for that.
    if knows_less && capacities.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    if is_slower(then.predicted.total_seconds, now.predicted.total_seconds) {
        found.push(Difference::Slower { then: then.predicted.total_seconds, now: now.predicted.total_seconds });
    }
    let fitted = then.window.is_some_and(|window| window.fits);
    if let Some(window) = now.window.filter(|window| fitted && !window.fits) {
        found.push(Difference::DoesNotFit { limit_seconds: window.limit_seconds });
    }
    if found.is_empty() {
        return found;
    }
    for step in &now.migrations {
        let Some(before) = then.step(&step.uuid) else { continue };
        let took = |step: &Step| Some(step.predicted.end_seconds? - step.predicted.start_seconds?);
        if is_slower(took(before), took(step)) {
            found.push(Difference::SlowerDomain { domain: step.domain.clone(), then: took(before), now: took(step) });
        }
    }
    found.extend(capacities);
    found
}

/// The links that carry more or less than they did.
fn other_capacities(then: &Plan, now: &Plan) -> Vec<Difference> {
    let mut found = Vec::new();
    for now in &now.hosts {
        let Some(then) = then.hosts.iter().find(|then| then.host == now.host) else { continue };
        let (host, then, now) = (&now.host, &then.migration_port, &now.migration_port);
        if then.bits_per_second != now.bits_per_second {
            found.push(Difference::OtherCapacity {
                host: host.clone(),
                then: then.bits_per_second,
                now: now.bits_per_second,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::obstacle::Eligibility;
    use crate::plan::Findings;
    use crate::profile::fixture;

    fn hosts() -> (Profile, Profile) {
        let running = |name| (name, name, DomainState::Running);
        let mut source = fixture::host("host-a", &["db", "web"].map(running));
        for domain in &mut source.domains {
            (domain.memory_bytes, domain.resident_bytes) = (1 << 30, 1 << 30);
        }
        source.domains[1].outbound_bits_per_second = 3e8;
        (source, fixture::host("host-b", &[]))
    }

    fn stated(words: &str) -> Obstacle {
        Obstacle::Stated { words: words.to_owned() }
    }

    fn check(plan: &Plan, source: &Profile, destination: &Profile, rules: &[Rule]) -> Draft {
        look_again(plan, &Seen { source, destination, rules, findings: &Findings::default() })
    }

    fn said(checked: &Draft) -> Vec<String> {
        checked.differences.iter().map(ToString::to_string).collect()
    }

    /// By rules that say nothing.
    fn look(plan: &Plan, source: &Profile, destination: &Profile) -> Draft {
        check(plan, source, destination, &vec![Rule::default(); source.domains.len()])
    }

    fn saved() -> (Plan, Profile, Profile) {
        let (source, destination) = hosts();
        let plan = crate::plan::plan(&source, &destination, &[], &Demands::default());
        assert!(plan.migrations.iter().any(|step| step.technique() == Technique::PostCopy), "web is a sender");
        (plan, source, destination)
    }

    #[test]
    fn the_same_hosts_change_nothing() {
        let (plan, source, destination) = saved();
        let checked = look(&plan, &source, &destination);
        assert_eq!(checked.differences, Vec::new());
        assert_eq!(checked.plan, plan);
    }

    #[test]
    fn what_was_forgotten_is_no_change_of_the_hosts() {
        let (mut plan, source, mut destination) = saved();
        plan.predicted.total_seconds = Some(1.0);
        assert!(!look(&plan, &source, &destination).differences.is_empty(), "it takes longer now");
        plan.migrations.iter_mut().for_each(|step| step.earlier_migrations = 2);
        assert_eq!(look(&plan, &source, &destination).differences, Vec::new());
        destination.migration_port.bits_per_second /= 10.0;
        assert!(!look(&plan, &source, &destination).differences.is_empty(), "another link is a change");
    }

    #[test]
    fn each_change_is_named_with_its_domain() {
        let differences = |change: fn(&mut Profile, &mut Profile)| {
            let (plan, mut source, mut destination) = saved();
            change(&mut source, &mut destination);
            said(&look(&plan, &source, &destination)).join("\n")
        };
        for (wanted, change) in [
            ("web was not found on host-a or host-b", (|s, _| drop(s.domains.pop())) as fn(&mut Profile, &mut Profile)),
            ("web has left host-a: another domain has its name", |s: &mut Profile, _: &mut Profile| {
                s.domains[1].uuid = "another".to_owned();
            }),
            ("web has left host-a: it is running at host-b", |s, d| {
                d.domains.push(s.domains.pop().unwrap());
            }),
            ("web: it is shut off; the plan moves it live", |s, _| s.domains[1].state = DomainState::ShutOff),
            ("web: post-copy is not possible any more: memory in a file", |s, _| {
                s.domains[1].post_copy = Eligibility::no(stated("memory in a file"));
            }),
            ("web: post-copy is not possible any more: it is pmsuspended", |s, _| {
                s.domains[1].state = DomainState::PmSuspended;
            }),
            ("db: an assigned device", |s, _| s.domains[0].migration = Eligibility::no(stated("an assigned device"))),
            ("new is new at host-a", |s, _| {
                let domain = DomainProfile { name: "new".to_owned(), uuid: "new".to_owned(), ..s.domains[0].clone() };
                s.domains.push(domain);
            }),
            ("db: now", |s, _| {
                let domain = &mut s.domains[0];
                (domain.memory_bytes, domain.resident_bytes) = (domain.memory_bytes << 2, domain.resident_bytes << 2);
            }),
            ("host-a: its link carries 100 Mbit/s instead of", |s, _| s.migration_port.bits_per_second = 1e8),
            ("the plan is for host-a, not for host-c", |s, _| s.host = "host-c".to_owned()),
        ] {
            let found = differences(change);
            assert!(found.contains(wanted), "{wanted}: {found}");
        }
    }

    #[test]
    fn what_would_lose_a_domain_is_never_run_whatever_the_plan_says() {
        let (plan, mut source, destination) = saved();
        source.domains[1].post_copy = Eligibility::no(stated("memory in a file"));
        source.domains[0].migration = Eligibility::no(stated("an assigned device"));
        let now = look(&plan, &source, &destination).plan;
        assert!(now.migrations.iter().all(|step| step.technique() == Technique::PreCopy), "{:?}", now.migrations);
        assert_eq!(now.refused.iter().map(|r| r.domain.as_str()).collect::<Vec<_>>(), ["db"]);
    }

    type Change = fn(&mut Profile);

    /// A plan of the usual hosts by these rules, and the hosts after a change.
    fn changed(rules: [Rule; 2], then: Change, now: Change) -> (Plan, Profile, Profile) {
        let (mut source, destination) = hosts();
        then(&mut source);
        let plan = crate::plan::plan(&source, &destination, &rules, &Demands::default());
        now(&mut source);
        (plan, source, destination)
    }

    fn stays(kind: StayKind) -> Rule {
        Rule { stays: true, stays_because: kind, ..Rule::default() }
    }

    #[test]
    fn a_domain_that_was_started_meanwhile_is_named_and_stays() {
        let (plan, source, destination) = changed(
            [Rule::default(); 2],
            |source| source.domains[0].state = DomainState::ShutOff,
            |source| source.domains[0].state = DomainState::Running,
        );
        let checked = look(&plan, &source, &destination);
        assert_eq!(
            said(&checked),
            [
                "db is running at host-a and not in the plan, since it was shut off when the plan was made: it would stay"
            ]
        );
        assert_eq!(
            (&*checked.plan.stays[0].domain, checked.plan.stays[0].kind),
            ("db", StayKind::NotInPlan { then: Then::ShutOff })
        );
    }

    #[test]
    fn what_the_options_of_the_saved_plan_left_out_is_no_difference() {
        for kind in [StayKind::NotSelected, StayKind::NotInReport] {
            let (plan, source, destination) = changed([stays(kind), Rule::default()], |_| (), |_| ());
            let checked = look(&plan, &source, &destination);
            assert_eq!((checked.differences, checked.plan.stays), (Vec::new(), plan.stays), "{kind}");
        }
    }

    #[test]
    fn today_s_configuration_says_what_is_kept() {
        let (plan, source, destination) = saved();
        let rules = [stays(StayKind::Kept), Rule::default()];
        let checked = check(&plan, &source, &destination, &rules);
        assert_eq!(said(&checked), ["db: the configuration keeps it here now"]);
        assert!(checked.plan.migrations.iter().all(|step| step.domain == "web"));
        assert_eq!(checked.plan.stays[0].kind, StayKind::Kept);

        let (plan, source, destination) = changed(rules, |_| (), |_| ());
        assert_eq!(check(&plan, &source, &destination, &rules).differences, Vec::new());
        let found = said(&look(&plan, &source, &destination));
        assert!(found[0].contains("not in the plan, since the configuration kept it"), "{found:?}");
    }

    #[test]
    fn a_refusal_is_looked_at_again() {
        let (then, now): (Change, Change) = (
            |source| source.domains[0].migration = Eligibility::no(stated("no bridge br1")),
            |source| source.domains[0].migration = Eligibility::no(stated("no bridge br2")),
        );
        let (plan, source, destination) = changed([Rule::default(); 2], then, now);
        let checked = look(&plan, &source, &destination);
        assert_eq!((&checked.differences[..], &checked.plan.refused[0].obstacle), (&[][..], &stated("no bridge br2")));

        let now = |source: &mut Profile| source.domains[0].migration = Eligibility::default();
        let (plan, mut source, destination) = changed([Rule::default(); 2], then, now);
        let checked = look(&plan, &source, &destination);
        assert_eq!(said(&checked), ["db can be moved now, and the plan refuses it: it would stay"]);
        assert_eq!(
            (checked.plan.refused.len(), checked.plan.stays[0].kind),
            (0, StayKind::NotInPlan { then: Then::Refused })
        );
        assert_eq!(checked.arrivals().collect::<Vec<_>>(), ["web", "db"], "it would need memory, too");

        source.domains.remove(0);
        let checked = look(&plan, &source, &destination);
        assert_eq!((checked.differences, checked.plan.refused), (Vec::new(), Vec::new()), "it is gone");
    }

    #[test]
    fn a_refusal_by_the_options_of_the_saved_plan_stands() {
        let forced = Rule { technique: Some(Technique::PostCopy), ..Rule::default() };
        let then: Change = |source| source.domains[0].post_copy = Eligibility::no(stated("memory in a file"));
        let (plan, source, destination) = changed([forced, Rule::default()], then, |_| ());
        let checked = look(&plan, &source, &destination);
        assert_eq!((checked.differences, checked.plan.refused), (Vec::new(), plan.refused));
    }

    #[test]
    fn what_the_plan_moves_or_refuses_is_examined_and_nothing_else() {
        let (plan, mut source, _) = saved();
        let domain = DomainProfile { name: "new".to_owned(), uuid: "new".to_owned(), ..source.domains[0].clone() };
        source.domains.push(domain);
        let examined = examined(&plan, &source, &[stays(StayKind::Kept), Rule::default(), Rule::default()]);
        assert_eq!(examined.iter().map(|rule| !rule.stays).collect::<Vec<_>>(), [false, true, false]);
        assert!(examined[1].offline, "offline steps, too");
    }

    #[test]
    fn a_little_more_traffic_is_no_difference() {
        let (plan, mut source, destination) = saved();
        source.domains[1].outbound_bits_per_second *= 1.05;
        source.domains[0].resident_bytes += 10 << 20;
        assert_eq!(look(&plan, &source, &destination).differences, Vec::new());
    }
}
