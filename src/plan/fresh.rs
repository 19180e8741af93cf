//! A new plan: which domains move, in which schedule, and each step with its reason.

use std::collections::BTreeSet;

use super::draft::Seen;
use super::eligibility::{Standing, Techniques, post_copy_obstacle, standing};
use super::explain::{Activity, Planned, Reason};
use super::gate::Gate;
use super::model::scene::Scene;
use super::model::{self, Launch};
use super::search::space::Choice;
use super::search::{self, Found};
use super::{Demands, Plan, ProofCost, Refusal, SCHEMA, Situation, Stay, Step, StepPrediction, Totals, Window};
use crate::domain::{Technique, Transfer};

pub(super) fn plan(seen: &Seen<'_>, demands: &Demands) -> Plan {
    let (source, destination) = (seen.source, seen.destination);
    let sorted = Sorted::of(seen, demands);
    let moving: Vec<usize> = sorted.moving.iter().map(|&(domain, _)| domain).collect();
    let gate = seen.gate(demands.trust_destination, demands.post_copy_limit);
    let bandwidth = demands.bandwidth_bits_per_second;
    let mut scene = Scene::at(&Situation::default(), source, destination, &moving, bandwidth, &gate);
    scene.allow_downtimes(moving.iter().map(|&domain| seen.rule(domain).max_downtime_ms));
    let open = scene.on_proven_ground();
    let choices: Vec<_> = sorted.moving.into_iter().map(|(domain, ways)| choice(seen, demands, domain, ways)).collect();
    let alternatives = search::alternatives(&open, &choices, demands);
    let waits = (0..choices.len()).any(|guest| must_be_proven(&scene.gate, &choices, guest));
    let on_proven_ground = waits.then(|| search::best(&open, &choices, demands));
    let choices = provable(seen, &scene, &moving, choices);
    let Found { mut launches, fastest, bound } = search::best(&scene, &choices, demands);
    let (outcome, predicted) = model::predict(&scene, &launches);
    // A level that is never reached changes nothing, and would tell of more at once than there are.
    let concurrency = outcome.peak.max(1);
    launches.iter_mut().for_each(|launch| launch.concurrency = launch.concurrency.min(concurrency));

    let totals = outcome.totals(&scene);
    let links = [&source.migration_port, &destination.migration_port];
    let planned = Planned { scene, choices, launches, outcome, links };
    let chosen = Chosen { seen, moving, planned, predicted };
    let live = (0..chosen.moving.len()).map(|place| chosen.step(place));
    let offline = sorted.offline.iter().zip(chosen.moving.len() + 1..);
    let offline = offline.map(|(&domain, order)| offline_step(seen, domain, order, concurrency, totals));
    let migrations: Vec<Step> = live.chain(offline).collect();
    let moves = !migrations.is_empty() && seen.findings.blocked.is_empty();
    Plan {
        schema: SCHEMA.to_owned(),
        source: source.host.clone(),
        destinations: vec![destination.host.clone()],
        objective: demands.objective,
        hosts: seen.hosts(),
        bandwidth_bits_per_second: demands.bandwidth_bits_per_second,
        concurrency,
        launch_ahead: demands.concurrency.is_none() && concurrency < demands.most_within_cap(),
        post_copy_limit: demands.post_copy_limit,
        trust_destination: demands.trust_destination,
        grounds: seen.findings.grounds.clone(),
        proof: on_proven_ground.and_then(|found| chosen.proof_cost(&open, &found)),
        migrations,
        refused: sorted.refused,
        blocked: seen.findings.blocked.clone(),
        notes: Vec::new(),
        stays: sorted.stays,
        predicted: totals,
        fastest_seconds: fastest,
        bound_seconds: bound.is_finite().then_some(bound),
        window: Window::judge(demands.window_limit_seconds, moves, &totals),
        alternatives,
    }
}

/// The domains of the source by what is to become of them, each kind in the order of names.
#[derive(Default)]
struct Sorted {
    /// Indexes in the source's profile.
    moving: Vec<(usize, Techniques)>,
    offline: Vec<usize>,
    refused: Vec<Refusal>,
    stays: Vec<Stay>,
}

impl Sorted {
    fn of(seen: &Seen<'_>, demands: &Demands) -> Self {
        let domains = &seen.source.domains;
        // By name, so that the order of the input does not matter.
        let mut order: Vec<usize> = (0..domains.len()).collect();
        order.sort_by_key(|&i| (&domains[i].name, &domains[i].uuid));
        let mut sorted = Self::default();
        for i in order {
            let (domain, uuid, rule) = (domains[i].name.clone(), domains[i].uuid.clone(), seen.rule(i));
            match standing(&domains[i], &rule, demands) {
                Standing::Moves(techniques) => sorted.moving.push((i, techniques)),
                Standing::Offline => sorted.offline.push(i),
                Standing::Refused(obstacle) => {
                    sorted.refused.push(Refusal { domain, uuid, forced: rule.technique, obstacle });
                }
                Standing::Stays(kind) => sorted.stays.push(Stay::new(&domain, &uuid, kind)),
            }
        }
        sorted
    }
}

fn choice(seen: &Seen<'_>, demands: &Demands, domain: usize, techniques: Techniques) -> Choice {
    let can_post_copy = post_copy_obstacle(&seen.source.domains[domain], demands).is_none();
    Choice { techniques, can_post_copy, rank: seen.rule(domain).rank }
}

/// Whether the planner may let a guest go by post-copy, but for the proof that the destination can load it.
fn must_be_proven(gate: &Gate, choices: &[Choice], guest: usize) -> bool {
    gate.ground(guest).is_some() && !gate.is_trusted(guest) && choices[guest].techniques == Techniques::Either
}

/// The choices without post-copies for which nothing can prove the ground: no other guest, or none at all.
fn provable(seen: &Seen<'_>, scene: &Scene, moving: &[usize], mut choices: Vec<Choice>) -> Vec<Choice> {
    let mut guests = vec![0; scene.gate.grounds];
    let ground = |guest: usize| scene.gate.ground(guest);
    (0..choices.len()).filter_map(ground).for_each(|ground| guests[ground] += 1);
    for guest in 0..choices.len() {
        let provable = |ground: usize| guests[ground] > 1 && seen.findings.grounds[ground].key.is_some();
        let Some(alone) = ground(guest).filter(|ground| !provable(*ground)) else { continue };
        if must_be_proven(&scene.gate, &choices, guest) {
            choices[guest].techniques = Techniques::OnlyPreCopy(seen.unproven(moving[guest], alone));
        }
    }
    choices
}

/// The steps to be of the domains that move live.
struct Chosen<'a> {
    seen: &'a Seen<'a>,
    /// The guests of the scene, as indexes in the source's profile.
    moving: Vec<usize>,
    planned: Planned<'a>,
    /// By guest.
    predicted: Vec<StepPrediction>,
}

impl Chosen<'_> {
    /// What it costs that the guests' grounds are not all proven, beside the best that was found as if they were.
    fn proof_cost(&self, open: &Scene, free: &Found) -> Option<ProofCost> {
        let Planned { scene, launches, outcome, .. } = &self.planned;
        let waits = |launch: &&Launch| launch.technique.pulls() && !scene.gate.is_trusted(launch.guest);
        let grounds = |launches: &[Launch]| -> BTreeSet<usize> {
            launches.iter().filter(waits).filter_map(|launch| scene.gate.ground(launch.guest)).collect()
        };
        let concerned = grounds(&free.launches);
        let machines: BTreeSet<_> =
            concerned.iter().map(|ground| &self.seen.findings.grounds[*ground].machine).collect();
        let prover = |ground: usize| launches.iter().find(|launch| scene.gate.ground(launch.guest) == Some(ground));
        let provers = grounds(launches).into_iter().filter_map(prover).map(|launch| self.moving[launch.guest]);
        let (proven, unproven) = (model::outcome(open, &free.launches, f64::INFINITY).fast(), outcome.fast());
        (!concerned.is_empty()).then(|| ProofCost {
            known: concerned.iter().any(|ground| self.seen.findings.grounds[*ground].key.is_some()),
            machines: machines.into_iter().cloned().collect(),
            provers: provers.map(|domain| self.seen.source.domains[domain].name.clone()).collect(),
            seconds: Some(unproven - proven).filter(|seconds| seconds.is_finite()).map(|seconds| seconds.max(0.0)),
        })
    }

    fn step(&self, place: usize) -> Step {
        let Launch { guest, concurrency, technique } = self.planned.launches[place];
        let domain = &self.seen.source.domains[self.moving[guest]];
        Step {
            domain: domain.name.clone(),
            uuid: domain.uuid.clone(),
            order: place + 1,
            concurrency,
            destination: self.seen.destination.host.clone(),
            path: self.seen.path(),
            ground: self.seen.ground(self.moving[guest]),
            transfer: Transfer {
                max_downtime_ms: self.seen.rule(self.moving[guest]).max_downtime_ms,
                ..Transfer::by(technique)
            },
            outbound_bits_per_second: domain.outbound_bits_per_second,
            inbound_bits_per_second: domain.inbound_bits_per_second,
            steady: domain.steady(),
            memory_bytes: self.seen.memory_bytes(&domain.uuid).unwrap_or(domain.resident_bytes),
            earlier_migrations: domain.earlier_migrations(),
            activity: self.planned.activity(place, domain),
            reason: self.planned.reason(place),
            predicted: self.predicted[guest],
        }
    }
}

/// The step of a domain of which only the definition moves, after all others.
fn offline_step(seen: &Seen<'_>, domain: usize, order: usize, concurrency: usize, live: Totals) -> Step {
    let domain = &seen.source.domains[domain];
    Step {
        domain: domain.name.clone(),
        uuid: domain.uuid.clone(),
        order,
        concurrency,
        destination: seen.destination.host.clone(),
        path: seen.path(),
        ground: None,
        transfer: Transfer::by(Technique::Offline),
        outbound_bits_per_second: 0.0,
        inbound_bits_per_second: 0.0,
        steady: Vec::new(),
        memory_bytes: 0,
        earlier_migrations: 0,
        activity: Activity::default(),
        reason: Reason::Offline,
        predicted: StepPrediction {
            bytes: Some(0),
            start_seconds: live.total_seconds,
            end_seconds: live.total_seconds,
            downtime_seconds: Some(0.0),
        },
    }
}
