//! What the model says of a given schedule, from its start or from the midst of it.

use std::collections::{HashMap, HashSet};

use super::gate::Gate;
use super::model::scene::{self, Guest, Scene};
use super::model::{self, Launch, Position};
use super::{StepPrediction, Totals};
use crate::domain::Technique;
use crate::profile::{DomainProfile, Profile};

/// One migration that is still to be launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Index of the domain in the source's profile.
    pub domain: usize,
    /// Any technique but offline.
    pub technique: Technique,
    /// As [`Step::concurrency`](super::Step::concurrency).
    pub concurrency: usize,
}

/// How far an evacuation is. Domains are indexes in the source's profile of its start.
#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    /// The domains in flight.
    pub in_flight: Vec<(usize, Position)>,
    /// The domains that run at the destination by now.
    pub arrived: Vec<usize>,
    /// How fast memory crosses, as a part of what the model says.
    pub pace: f64,
    /// Whether the next is launched shortly before one in flight ends. A plan does not count on it.
    pub launches_ahead: bool,
    /// The most in post-copy at once.
    pub post_copy_limit: Option<usize>,
    /// The downtimes in milliseconds that pre-copies without headway may be allowed.
    pub max_downtimes_ms: HashMap<usize, u64>,
    /// The domains whose pre-copies are switched to post-copy if their passes make no headway.
    pub switches: HashSet<usize>,
}

impl Default for Situation {
    fn default() -> Self {
        Self {
            in_flight: Vec::new(),
            arrived: Vec::new(),
            pace: 1.0,
            launches_ahead: false,
            post_copy_limit: None,
            max_downtimes_ms: HashMap::new(),
            switches: HashSet::new(),
        }
    }
}

/// Bits of a domain's memory that must cross once, by its profile.
pub(crate) fn image_bits(domain: &DomainProfile) -> f64 {
    Guest::new(domain).image
}

/// Bytes that a guest's traffic dirties within so many seconds, by the model.
pub(crate) fn dirtied_by_traffic(bits_per_second: f64, seconds: f64) -> f64 {
    (scene::DIRTIED_BY_TRAFFIC * bits_per_second * seconds).min(scene::TRAFFIC_HOT_BITS) / 8.0
}

/// What the model says of a given schedule: its totals, and each of `moves` in their order. Domains that are not
/// among them stay, and keep their traffic at the source.
///
/// # Panics
/// An index in `moves` is beyond the source's domains.
pub fn predict(
    source: &Profile,
    destination: &Profile,
    moves: &[Move],
    bandwidth_bits_per_second: Option<f64>,
) -> (Totals, Vec<StepPrediction>) {
    Situation::default().predict(source, destination, moves, bandwidth_bits_per_second)
}

/// The same, with what each of `moves` may be allowed of downtime, in milliseconds, and with what post-copies wait for.
pub(super) fn predict_as_asked(
    (source, destination): (&Profile, &Profile),
    moves: &[Move],
    bandwidth_bits_per_second: Option<f64>,
    max_downtimes_ms: &[Option<u64>],
    gate: &Gate,
) -> (Totals, Vec<StepPrediction>) {
    let downtimes = moves.iter().zip(max_downtimes_ms).filter_map(|(next, most)| Some((next.domain, (*most)?)));
    let situation = Situation { max_downtimes_ms: downtimes.collect(), ..Situation::default() };
    let (scene, launches) = situation.stage(source, destination, moves, bandwidth_bits_per_second, gate);
    let (outcome, steps) = model::predict(&scene, &launches);
    (outcome.totals(&scene), steps)
}

impl Situation {
    /// The same of what is left: all times count from now, and those in flight come behind `moves`.
    pub fn predict(
        &self,
        source: &Profile,
        destination: &Profile,
        moves: &[Move],
        bandwidth_bits_per_second: Option<f64>,
    ) -> (Totals, Vec<StepPrediction>) {
        let (scene, launches) = self.stage(source, destination, moves, bandwidth_bits_per_second, &self.gate());
        let (outcome, steps) = model::predict(&scene, &launches);
        (outcome.totals(&scene), steps)
    }

    /// How far it has come after this many seconds by the model, and which of `moves` are still to be launched then.
    pub fn after<'a>(
        &self,
        seconds: f64,
        source: &Profile,
        destination: &Profile,
        moves: &'a [Move],
        bandwidth_bits_per_second: Option<f64>,
    ) -> (Self, &'a [Move]) {
        let (scene, launches) = self.stage(source, destination, moves, bandwidth_bits_per_second, &self.gate());
        let (flights, waiting) = model::after(&scene, &launches, seconds);
        let launched = moves.len() - waiting.len();
        let mut arrived = self.arrived.clone();
        let mut in_flight = Vec::new();
        let gone = moves.iter().map(|m| m.domain).chain(self.in_flight.iter().map(|(domain, _)| *domain));
        for (guest, domain) in gone.enumerate().filter(|(guest, _)| !(launched..moves.len()).contains(guest)) {
            match flights.iter().find(|(flying, _)| *flying == guest) {
                Some((_, position)) => in_flight.push((domain, *position)),
                None => arrived.push(domain),
            }
        }
        (Self { in_flight, arrived, ..self.clone() }, &moves[launched..])
    }

    pub(super) fn gate(&self) -> Gate {
        Gate { limit: self.post_copy_limit, ..Gate::default() }
    }

    pub(super) fn stage(
        &self,
        source: &Profile,
        destination: &Profile,
        moves: &[Move],
        bandwidth_bits_per_second: Option<f64>,
        gate: &Gate,
    ) -> (Scene, Vec<Launch>) {
        let domains: Vec<usize> = moves.iter().map(|m| m.domain).collect();
        let launch = |(guest, m): (usize, &Move)| Launch { guest, technique: m.technique, concurrency: m.concurrency };
        let mut scene = Scene::at(self, source, destination, &domains, bandwidth_bits_per_second, gate);
        let leaving = || domains.iter().chain(self.in_flight.iter().map(|(domain, _)| domain));
        scene.allow_downtimes(leaving().map(|domain| self.max_downtimes_ms.get(domain).copied()));
        scene.allow_switches(leaving().map(|domain| self.switches.contains(domain)));
        (scene, moves.iter().enumerate().map(launch).collect())
    }
}
