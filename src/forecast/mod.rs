//! When an evacuation that runs will end: what the model says of the rest, from how far each domain was seen to be (`flight`) and
//! how fast memory was seen to cross (`pace`), and whether what waits had better go otherwise (`replanner`). Pure: it hears the
//! engine's events.

mod flight;
mod pace;
mod replanner;

use std::collections::HashMap;

use indexmap::IndexMap;

use crate::domain::Technique;
use crate::engine::events::{Event, Notice, Timed};
use crate::engine::{Replanned, Schedule};
use crate::plan::{Leeway, Leg, Move, Plan, Position, Reason, Situation, Step, image_bits, setups_apart};
use crate::profile::learned::{Crossing, Learned};
use crate::profile::{Both, Profile};
use crate::report::{DomainOutcome, DomainReport};
use crate::setups::Setups;
use crate::topology::CapacityOrigin;

use flight::Flight;
pub(crate) use pace::Pace;
use pace::{COMPARED_SECONDS, Paces};
use replanner::{Replanner, worth_a_change};

/// Seconds between two forecasts. Chosen: often enough to count down by, and far longer than one takes to make.
const PAUSE_SECONDS: f64 = 2.0;

/// So many setups say how long those to come will take. Chosen: one may be odd.
const FEWEST_SETUPS: usize = 3;

/// Listens to the run of a plan.
pub(crate) struct Forecaster {
    profiles: Both,
    bandwidth_bits_per_second: Option<f64>,
    /// The kind of each guest, by its place among the source's domains.
    kinds: HashMap<usize, Option<usize>>,
    /// The same for guests whose pre-copies are switched if they make no headway, once their kind is proven.
    switchable: HashMap<usize, Option<usize>>,
    /// In launch order, each with its name.
    waiting: Vec<(String, Move)>,
    /// By name.
    in_flight: IndexMap<String, Flight>,
    /// How far it is beside those in flight.
    situation: Situation,
    forecast_at: f64,
    /// Of each domain that has crossed, what did once, as a part of what was to.
    fullness: Vec<f64>,
    paces: Paces,
    setups: Setups,
    replanner: Replanner,
}

impl Forecaster {
    /// Of a plan that was made with these profiles. `leeway` is what of it may change while it runs, `may_switch` whether pre-copies of
    /// the planner's choice are switched that make no headway.
    pub(crate) fn new(plan: &Plan, profiles: Both, leeway: Option<Leeway>, may_switch: bool) -> Self {
        let place = |uuid: &str| profiles.source.domains.iter().position(|domain| domain.uuid == uuid);
        let steps: Vec<_> = plan.migrations.iter().filter_map(|step| Some((place(&step.uuid)?, step))).collect();
        let next = |(domain, step): &(usize, &Step)| {
            let next = Move { domain: *domain, technique: step.technique(), concurrency: step.concurrency };
            (step.domain.clone(), next)
        };
        let waiting = steps.iter().map(next).filter(|(_, next)| next.technique != Technique::Offline).collect();
        // Without a key, no arrival proves a kind.
        let provable = |step: &Step| step.ground.is_none_or(|place| plan.grounds[place].key.is_some());
        let stalls =
            |step: &Step| step.technique() == Technique::PreCopy && matches!(step.reason, Reason::Chosen { .. });
        let may =
            |(_, step): &&(usize, &Step)| may_switch && stalls(step) && (plan.trust_destination || provable(step));
        let switchable: HashMap<usize, Option<usize>> =
            steps.iter().filter(may).map(|(domain, step)| (*domain, step.ground)).collect();
        let trusted = |(_, kind): &(&usize, &Option<usize>)| {
            plan.trust_destination || kind.is_none_or(|place| plan.grounds[place].proven)
        };
        let most = steps.iter().filter_map(|(domain, step)| Some((*domain, step.transfer.max_downtime_ms?)));
        let situation = Situation {
            launches_ahead: plan.launch_ahead,
            post_copy_limit: plan.post_copy_limit.map(|limit| limit.max(1)),
            max_downtimes_ms: most.collect::<HashMap<_, _>>(),
            switches: switchable.iter().filter(trusted).map(|(domain, _)| *domain).collect(),
            ..Situation::default()
        };
        Self {
            kinds: steps.iter().map(|(domain, step)| (*domain, step.ground)).collect(),
            switchable,
            profiles,
            bandwidth_bits_per_second: plan.bandwidth_bits_per_second,
            waiting,
            in_flight: IndexMap::new(),
            situation,
            forecast_at: 0.0,
            fullness: Vec::new(),
            paces: Paces::default(),
            setups: Setups::default(),
            replanner: Replanner::new(plan, leeway),
        }
    }

    /// A guest of that kind has come through: others may be switched from now on.
    fn prove(&mut self, kind: Option<usize>) {
        let of_kind = self.switchable.iter().filter(|(_, of)| **of == kind).map(|(domain, _)| *domain);
        self.situation.switches.extend(of_kind);
    }

    /// Nothing is switched any more.
    fn stop_switches(&mut self) {
        self.switchable.clear();
        self.situation.switches.clear();
    }

    /// What is better by now than what was planned for those that wait. Once.
    pub(crate) fn take_better(&mut self) -> Option<Schedule> {
        self.replanner.take()
    }

    /// The profile of the host that is emptied.
    pub(crate) fn source(&self) -> &Profile {
        &self.profiles.source
    }

    /// How fast memory has crossed; `None` if that was seen for too short a time. A capacity that is only assumed, or a cap, is no measure.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let Both { source, destination } = &self.profiles;
        let is_measure = self.bandwidth_bits_per_second.is_none() && !is_assumed(&self.profiles);
        let link_bits_per_second = source.link_to(destination);
        let crossing = source.crossing.filter(|crossing| crossing.is_of(link_bits_per_second));
        let known = crossing.map_or(1.0, |crossing| crossing.pace);
        let (pace, comparisons) = self.paces.middle().filter(|_| is_measure)?;
        Some(Pace { pace: known * pace, seconds: comparisons as f64 * PAUSE_SECONDS, link_bits_per_second })
    }

    /// Hears an event, and gives a forecast if it is time for one.
    pub(crate) fn hear(&mut self, timed: &Timed) -> Option<Timed> {
        let now = timed.elapsed_seconds;
        self.setups.hear(timed);
        match &timed.event {
            Event::Launch { domain, technique, .. } => self.launch(domain, *technique, now),
            Event::Phase { domain, phase } => self.with(domain, |flight| flight.phase(*phase, now)),
            Event::Progress { domain, progress } => self.with(domain, |flight| flight.progress(progress, now)),
            Event::Done(report) => self.done(report, now),
            Event::Notice(notice) => self.notice(notice),
            // The last of all events.
            Event::Report(_) => return None,
            Event::Start { .. } | Event::Adopt { .. } | Event::Forecast { .. } => {}
        }
        let is_time = now - self.forecast_at >= PAUSE_SECONDS && self.in_flight.values().any(Flight::flows);
        is_time.then(|| {
            self.forecast_at = now;
            let event = Event::Forecast { remaining_seconds: self.remaining_seconds(now) };
            Timed { elapsed_seconds: now, event }
        })
    }

    fn launch(&mut self, name: &str, technique: Technique, now: f64) {
        // One that is tried again is in flight already.
        let again = self.in_flight.get(name).map(|flight| flight.planned);
        let first = self.waiting.iter().position(|(waiting, _)| waiting == name);
        let first = first.map(|place| self.waiting.remove(place).1);
        if let Some(planned) = first.or(again) {
            self.in_flight.insert(name.to_owned(), Flight::launched(planned, technique, now));
        }
    }

    fn with(&mut self, domain: &str, change: impl FnOnce(&mut Flight)) {
        self.in_flight.get_mut(domain).map(change);
    }

    fn done(&mut self, report: &DomainReport, now: f64) {
        self.waiting.retain(|(name, _)| *name != report.domain);
        let Some(flight) = self.in_flight.shift_remove(&report.domain) else { return };
        self.in_flight.values_mut().for_each(|other| other.gets_another_part(now));
        if report.outcome == DomainOutcome::Migrated {
            self.situation.arrived.push(flight.planned.domain);
            if let Some(kind) = self.kinds.get(&flight.planned.domain).copied() {
                self.prove(kind);
            }
            let domain = &self.profiles.source.domains[flight.planned.domain];
            let crossed = flight.first_pass.unwrap_or(report.bytes) as f64 * 8.0;
            let expected = image_bits(domain);
            // Of those that were looked at it says nothing of the others.
            let tells = domain.filled_bytes.is_none() && crossed > 0.0 && expected > 0.0;
            self.fullness.extend(tells.then(|| crossed / expected));
        }
    }

    fn notice(&mut self, notice: &Notice) {
        if matches!(notice, Notice::PostCopyStopped { .. } | Notice::NoPostCopy { .. } | Notice::LostEarlier { .. }) {
            self.stop_switches();
        }
        match notice {
            // Those that have not begun do not any more.
            Notice::Interrupted { .. }
            | Notice::Halted { .. }
            | Notice::PostCopyStopped { .. }
            | Notice::ArrivedInDistress { .. } => {
                self.waiting.clear();
                self.in_flight.retain(|_, flight| flight.leg != Leg::Setup);
            }
            Notice::Busy { domain, .. } => {
                let again = self.in_flight.shift_remove(domain);
                self.waiting.extend(again.map(|flight| (domain.clone(), flight.planned)));
            }
            Notice::NoPostCopy { .. } => {
                self.waiting.iter_mut().for_each(|(_, next)| next.technique = Technique::PreCopy);
            }
            _ => {}
        }
    }

    /// Seconds from now to the end; `None` if none is foreseen.
    fn remaining_seconds(&mut self, now: f64) -> Option<f64> {
        self.situation.in_flight = self.positions(now);
        let moves: Vec<_> = self.waiting.iter().map(|(_, next)| *next).collect();
        self.situation.pace = self.paced();
        let crossing = self.crossing();
        let Both { source, destination } = &self.profiles;
        let mut source = Profile { crossing, ..source.clone() };
        // Guests of one host are often alike. As long as few have crossed, the profile counts as one of them.
        let fullness = (1.0 + self.fullness.iter().sum::<f64>()) / (1.0 + self.fullness.len() as f64);
        for next in &moves {
            let domain = &mut source.domains[next.domain];
            if domain.is_fullness_known() {
                continue; // It has shown itself how full it is.
            }
            let image = (image_bits(domain) * fullness / 8.0).min(domain.memory_bytes as f64);
            (domain.resident_bytes, domain.unused_bytes) = (image as u64, None);
            domain.learned = domain.learned.map(|learned| Learned { crossing_bytes: image as u64, ..learned });
        }
        let (totals, _) = self.situation.predict(&source, destination, &moves, self.bandwidth_bits_per_second);
        let leeway = if moves.is_empty() { None } else { self.replanner.leeway_if_due(now) };
        let sooner = leeway.and_then(|leeway| {
            self.situation.sooner((&source, destination), &moves, self.bandwidth_bits_per_second, leeway)
        });
        let Some((moves, gain)) = sooner.filter(|(_, gain)| *gain > worth_a_change(&totals)) else {
            return totals.total_seconds;
        };
        self.waiting = moves.into_iter().map(|next| (source.domains[next.domain].name.clone(), next)).collect();
        let reason = Replanned {
            sooner_seconds: Some(gain).filter(|gain| gain.is_finite()),
            setup_seconds: self.setups.seconds().map(|(setup, _)| setup),
            pace: self.situation.pace,
        };
        self.replanner.keep(&self.waiting, reason);
        let moves: Vec<_> = self.waiting.iter().map(|(_, next)| *next).collect();
        let (totals, _) = self.situation.predict(&source, destination, &moves, self.bandwidth_bits_per_second);
        totals.total_seconds
    }

    /// Those in flight. What is being set up comes one after the other, as it was launched.
    fn positions(&self, now: f64) -> Vec<(usize, Position)> {
        let domains = &self.profiles.source.domains;
        let apart = self.crossing().and_then(|seen| seen.setups_apart_seconds);
        let apart = apart.unwrap_or_else(|| setups_apart(&self.profiles.destination));
        let mut free_at = f64::NEG_INFINITY;
        let position = |flight: &Flight| {
            let begins = matches!(flight.leg, Leg::Setup | Leg::Pass | Leg::Switch) && !flight.flows();
            let mut position = flight.position(&domains[flight.planned.domain], now);
            if begins {
                let begins_at = free_at.max(flight.launched_at);
                free_at = begins_at + apart;
                (position.leg, position.leg_seconds) = (Leg::Setup, now - begins_at);
            }
            (flight.planned.domain, position)
        };
        self.in_flight.values().map(position).collect()
    }

    /// How migrations cross: as they did earlier, but that setups take what they take in this run, once that was seen.
    fn crossing(&self) -> Option<Crossing> {
        let Both { source, destination } = &self.profiles;
        let link_bits_per_second = source.link_to(destination);
        let earlier = source.crossing.filter(|crossing| crossing.is_of(link_bits_per_second));
        // The first few that were launched together may be through together.
        let expected = earlier.and_then(|earlier| earlier.setups_apart_seconds);
        let expected = [expected.unwrap_or_else(|| setups_apart(destination)); FEWEST_SETUPS * 2];
        let seen = self.setups.seconds_after(&expected).filter(|_| self.setups.count() >= FEWEST_SETUPS);
        let now = seen.map(|(setup_seconds, setups_apart_seconds)| Crossing {
            pace: earlier.map_or(1.0, |earlier| earlier.pace),
            setup_seconds,
            setups_apart_seconds,
            link_bits_per_second,
            runs: 1,
        });
        now.or(earlier)
    }

    /// The pace by what crosses now against what the model says would, of those that go on as they do.
    fn paced(&mut self) -> f64 {
        let Both { source, destination } = &self.profiles;
        // What is being set up takes no part of the link, however long ago it should have begun.
        let flows =
            |(domain, _): &(usize, Position)| self.in_flight.values().any(|f| f.planned.domain == *domain && f.flows());
        let in_flight = self.situation.in_flight.iter().copied().filter(flows).collect();
        let now = Situation { pace: 1.0, in_flight, ..self.situation.clone() };
        let (later, _) = now.after(COMPARED_SECONDS, source, destination, &[], self.bandwidth_bits_per_second);
        let flights = self.in_flight.values_mut();
        let Some(seen) = pace::compare(flights, &now.in_flight, &later.in_flight) else { return self.situation.pace };
        self.paces.take(seen, self.situation.pace, is_assumed(&self.profiles))
    }
}

/// Whether the capacity of one of the two links is only assumed.
fn is_assumed(profiles: &Both) -> bool {
    [&profiles.source, &profiles.destination].iter().any(|host| host.migration_port.origin == CapacityOrigin::Assumed)
}

#[cfg(test)]
mod replayed;
#[cfg(test)]
mod tests;
