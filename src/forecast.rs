//! When an evacuation that runs will end: what the model says of the rest, from how far each domain was seen to be and how fast
//! memory was seen to cross. Pure: it hears the engine's events.

use indexmap::IndexMap;

use crate::domain::{Phase, Technique};
use crate::engine::events::{Event, Timed};
use crate::engine::migration::Progress;
use crate::plan::{Leg, Move, Plan, Position, Situation, image_bits};
use crate::profile::{Both, DomainProfile};
use crate::report::DomainOutcome;

/// Seconds between two forecasts. Chosen: often enough to count down by, and far longer than one takes to make.
const PAUSE_SECONDS: f64 = 2.0;

/// Seconds of the model's time over which what crosses is compared.
const COMPARED_SECONDS: f64 = 0.5;

/// Weight of the newest comparison in the pace; the last ten seconds count most.
const PACE_WEIGHT: f64 = 0.3;

/// How much slower or faster than by the model memory may be taken to cross. Chosen: a link of a quarter of what was said is
/// believed, and a burst is not.
const PACES: (f64, f64) = (0.2, 1.5);

/// Listens to the run of a plan.
pub(crate) struct Forecaster {
    profiles: Both,
    bandwidth_bits_per_second: Option<f64>,
    /// In launch order, each with its name.
    waiting: Vec<(String, Move)>,
    /// By name.
    in_flight: IndexMap<String, Flight>,
    /// By their places in the source's profile.
    arrived: Vec<usize>,
    forecast_at: f64,
    /// How fast memory crosses, as a part of what the model says.
    pace: f64,
    /// Of each domain that has crossed, what did, as a part of what was to.
    fullness: Vec<f64>,
}

/// A migration in flight as it was last seen.
#[derive(Clone, Copy)]
struct Flight {
    domain: usize,
    technique: Technique,
    launched_at: f64,
    leg: Leg,
    leg_since: f64,
    progress: Progress,
}

impl Forecaster {
    /// Of a plan that was made with these profiles.
    pub(crate) fn new(plan: &Plan, profiles: Both) -> Self {
        let place = |uuid: &str| profiles.source.domains.iter().position(|domain| domain.uuid == uuid);
        let waiting = plan.migrations.iter().filter_map(|step| {
            let (domain, technique) = (place(&step.uuid)?, step.technique());
            Some((step.domain.clone(), Move { domain, technique, concurrency: step.concurrency }))
        });
        let waiting = waiting.filter(|(_, next)| next.technique != Technique::Offline).collect();
        let bandwidth_bits_per_second = plan.bandwidth_bits_per_second;
        let in_flight = IndexMap::new();
        Self {
            profiles,
            bandwidth_bits_per_second,
            waiting,
            in_flight,
            arrived: Vec::new(),
            forecast_at: 0.0,
            pace: 1.0,
            fullness: Vec::new(),
        }
    }

    /// Hears an event, and gives a forecast if it is time for one.
    pub(crate) fn hear(&mut self, timed: &Timed) -> Option<Timed> {
        let now = timed.elapsed_seconds;
        match &timed.event {
            Event::Launch { domain, technique, .. } => self.launch(domain, *technique, now),
            Event::Phase { domain, phase } => self.with(domain, |flight| {
                let leg = match phase {
                    Phase::Starting => Leg::Setup,
                    // Until it is switched over.
                    Phase::PreCopy if flight.technique == Technique::PostCopy => Leg::Switch,
                    Phase::PreCopy => Leg::Pass,
                    Phase::PostCopy | Phase::Recovering => Leg::Pull,
                    Phase::Checking => Leg::Finish,
                };
                flight.enter(leg, now);
            }),
            Event::Progress { domain, progress } => self.with(domain, |flight| {
                if progress.pass > flight.progress.pass.max(1) && flight.leg == Leg::Pass {
                    flight.enter(Leg::Pass, now);
                }
                flight.progress = *progress;
            }),
            Event::Done(report) => {
                self.waiting.retain(|(name, _)| *name != report.domain);
                let flight = self.in_flight.shift_remove(&report.domain);
                if let Some(flight) = flight.filter(|_| report.outcome == DomainOutcome::Migrated) {
                    self.arrived.push(flight.domain);
                    let expected = image_bits(&self.profiles.source.domains[flight.domain]);
                    self.fullness.extend((expected > 0.0).then(|| report.bytes as f64 * 8.0 / expected));
                }
            }
            _ => {}
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
        let again = self.in_flight.get(name).map(|flight| flight.domain);
        let first = self.waiting.iter().position(|(waiting, _)| waiting == name);
        let first = first.map(|place| self.waiting.remove(place).1.domain);
        if let Some(domain) = first.or(again) {
            let progress = Progress::default();
            let flight = Flight { domain, technique, launched_at: now, leg: Leg::Setup, leg_since: now, progress };
            self.in_flight.insert(name.to_owned(), flight);
        }
    }

    fn with(&mut self, domain: &str, change: impl FnOnce(&mut Flight)) {
        self.in_flight.get_mut(domain).map(change);
    }

    /// Seconds from now to the end; `None` if none is foreseen.
    fn remaining_seconds(&mut self, now: f64) -> Option<f64> {
        let domains = &self.profiles.source.domains;
        let position = |flight: &Flight| (flight.domain, flight.position(&domains[flight.domain], now));
        let in_flight = self.in_flight.values().map(position).collect();
        let situation = Situation { in_flight, arrived: self.arrived.clone() };
        let moves: Vec<_> = self.waiting.iter().map(|(_, next)| *next).collect();
        self.keep_pace(&situation, &moves);
        let Both { mut source, mut destination } = self.profiles.clone();
        // Guests of one host are often alike. As long as few have crossed, the profile counts as one of them.
        let fullness = (1.0 + self.fullness.iter().sum::<f64>()) / (1.0 + self.fullness.len() as f64);
        for next in &moves {
            let domain = &mut source.domains[next.domain];
            let image = (image_bits(domain) * fullness / 8.0).min(domain.memory_bytes as f64);
            (domain.resident_bytes, domain.unused_bytes) = (image as u64, None);
        }
        for host in [&mut source, &mut destination] {
            host.migration_port.bits_per_second *= self.pace;
        }
        let (totals, _) = situation.predict(&source, &destination, &moves, self.bandwidth_bits_per_second);
        totals.total_seconds
    }

    /// Compares what crosses with what the model says would, of those that go on as they do.
    fn keep_pace(&mut self, now: &Situation, moves: &[Move]) {
        let Both { source, destination } = &self.profiles;
        let (later, _) = now.after(COMPARED_SECONDS, source, destination, moves, self.bandwidth_bits_per_second);
        let (mut measured, mut expected) = (0.0, 0.0);
        for flight in self.in_flight.values().filter(|flight| flight.progress.bits_per_second > 0.0) {
            let of = |situation: &Situation| {
                situation.in_flight.iter().find(|(domain, _)| *domain == flight.domain).map(|(_, position)| *position)
            };
            if let Some((before, after)) = of(now).zip(of(&later)).filter(|(before, after)| before.leg == after.leg) {
                measured += flight.progress.bits_per_second;
                expected += (after.transferred_bits - before.transferred_bits) / COMPARED_SECONDS;
            }
        }
        if expected > 0.0 {
            let pace = (measured / expected).clamp(PACES.0, PACES.1);
            self.pace += PACE_WEIGHT * (pace - self.pace);
        }
    }
}

impl Flight {
    fn enter(&mut self, leg: Leg, now: f64) {
        (self.leg, self.leg_since) = (leg, now);
    }

    /// Whether memory was seen to cross.
    fn flows(&self) -> bool {
        self.progress.transferred > 0
    }

    fn position(&self, domain: &DomainProfile, now: f64) -> Position {
        let transferred_bits = self.progress.transferred as f64 * 8.0;
        Position {
            technique: self.technique,
            leg: self.leg,
            seconds: now - self.launched_at,
            leg_seconds: now - self.leg_since,
            remaining_bits: self.left(domain),
            transferred_bits,
            downtime_seconds: 0.0,
        }
    }

    /// Bits that the leg has still to send. QEMU counts pages of zeros, too, until it has come by them: how many are left is
    /// taken from the profile at first, and more and more from those that it has come by.
    fn left(&self, domain: &DomainProfile) -> f64 {
        let bits = |bytes: u64| bytes as f64 * 8.0;
        let Progress { pass, transferred, remaining, .. } = self.progress;
        let (image, memory) = (image_bits(domain), bits(domain.memory_bytes));
        let come_by = memory - bits(remaining);
        if transferred == 0 || come_by <= 0.0 {
            return image;
        }
        if self.leg == Leg::Pass && pass > 1 {
            return bits(remaining);
        }
        let (share, seen, expected) = (come_by / memory, bits(transferred) / come_by, image / memory);
        bits(remaining) * (share * seen + (1.0 - share) * expected).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainState;
    use crate::plan::{Demands, plan};
    use crate::profile::fixture;
    use crate::report::DomainReport;

    /// A plan to move idle guests of 100 MiB over links of 100 Mbit/s, one after the other.
    fn forecaster(names: &[&str]) -> (Plan, Forecaster) {
        let domains: Vec<_> = names.iter().map(|name| (*name, *name, DomainState::Running)).collect();
        let (mut source, mut destination) = (fixture::host("a", &domains), fixture::host("b", &[]));
        for profile in [&mut source, &mut destination] {
            profile.migration_port.bits_per_second = 1e8;
        }
        for domain in &mut source.domains {
            (domain.memory_bytes, domain.resident_bytes) = (100 << 20, 100 << 20);
            (domain.outbound_bits_per_second, domain.inbound_bits_per_second) = (0.0, 0.0);
        }
        let demands = Demands { concurrency: Some(1), ..Demands::default() };
        let plan = plan(&source, &destination, &[], &demands);
        (plan.clone(), Forecaster::new(&plan, Both { source, destination }))
    }

    fn launch(domain: &str) -> Event {
        let (domain, destination) = (domain.to_owned(), "b".to_owned());
        Event::Launch { domain, destination, technique: Technique::PreCopy }
    }

    /// Tells of a first pass over so many MiB that has gone so far, at so many Mbit/s.
    fn progress(domain: &str, transferred: u64, of: u64, mbit: f64) -> Event {
        let progress = Progress {
            pass: 1,
            transferred: transferred << 20,
            remaining: (of - transferred) << 20,
            bits_per_second: mbit * 1e6,
            ..Progress::default()
        };
        Event::Progress { domain: domain.to_owned(), progress }
    }

    fn hear(forecaster: &mut Forecaster, elapsed_seconds: f64, event: Event) -> Option<f64> {
        match forecaster.hear(&Timed { elapsed_seconds, event })?.event {
            Event::Forecast { remaining_seconds } => remaining_seconds,
            _ => None,
        }
    }

    #[test]
    fn what_goes_as_planned_ends_as_planned() {
        let (plan, mut forecaster) = forecaster(&["x", "y"]);
        let total = plan.predicted.total_seconds.unwrap();
        let first = plan.migrations[0].domain.clone();
        let begun = 1.0;
        hear(&mut forecaster, 0.0, launch(&first));
        let phase = Phase::PreCopy;
        assert_eq!(
            hear(&mut forecaster, begun, Event::Phase { domain: first.clone(), phase }),
            None,
            "nothing crosses"
        );
        // Half of the first has crossed at the model's own rate.
        let rate = 1e8 * 0.957;
        let now = begun + f64::from(50 << 20) * 8.0 / rate;
        let rest = hear(&mut forecaster, now, progress(&first, 50, 100, rate / 1e6)).unwrap();
        assert!((now + rest - total).abs() < 0.05 * total, "{rest} s from {now} s on, {total} s in all");
        assert_eq!(hear(&mut forecaster, now + 1.0, progress(&first, 61, 100, 90.0)), None, "not yet again");
    }

    #[test]
    fn a_post_copy_that_is_about_to_switch_over_has_an_end() {
        let (_, mut forecaster) = forecaster(&["x"]);
        forecaster.profiles.source.domains[0].outbound_bits_per_second = 9e7;
        let (domain, destination) = ("x".to_owned(), "b".to_owned());
        hear(&mut forecaster, 0.0, Event::Launch { domain, destination, technique: Technique::PostCopy });
        hear(&mut forecaster, 1.0, Event::Phase { domain: "x".to_owned(), phase: Phase::PreCopy });
        let rest = hear(&mut forecaster, 2.0, progress("x", 1, 100, 90.0)).unwrap();
        assert!(rest > 8.0 && rest < 20.0, "{rest} s");
    }

    #[test]
    fn a_link_that_carries_half_takes_twice_as_long() {
        let (_, mut forecaster) = forecaster(&["x"]);
        hear(&mut forecaster, 0.0, launch("x"));
        hear(&mut forecaster, 1.0, Event::Phase { domain: "x".to_owned(), phase: Phase::PreCopy });
        let at = |step: u32| (1.0 + 2.0 * f64::from(step), progress("x", 6 * u64::from(step), 100, 48.0));
        let rests: Vec<f64> =
            (1..=8).map(at).filter_map(|(now, progress)| hear(&mut forecaster, now, progress)).collect();
        let last = rests.last().unwrap();
        // 52 MiB are left.
        let expected = f64::from(52 << 20) * 8.0 / 48e6;
        assert!((last / expected - 1.0).abs() < 0.15, "{last} s, and not {expected} s: {rests:?}");
    }

    #[test]
    fn what_is_fuller_or_emptier_than_the_profile_says_is_believed_more_and_more() {
        let rest = |resident: u64, transferred, come_by: u64| {
            let (_, mut forecaster) = forecaster(&["x"]);
            forecaster.profiles.source.domains[0].resident_bytes = resident << 20;
            hear(&mut forecaster, 0.0, launch("x"));
            hear(&mut forecaster, 1.0, Event::Phase { domain: "x".to_owned(), phase: Phase::PreCopy });
            hear(&mut forecaster, 6.0, progress("x", transferred, transferred + 100 - come_by, 95.7)).unwrap()
        };
        assert!(rest(40, 50, 50) > 1.3 * rest(40, 20, 50), "each page that it has come by was full");
        assert!(rest(100, 40, 80) < 0.8 * rest(100, 80, 80), "half of them were zeros");
    }

    #[test]
    fn those_that_wait_are_as_full_as_those_that_have_crossed() {
        let rest = |mib: u64| {
            let (plan, mut forecaster) = forecaster(&["x", "y"]);
            let [first, second] = [0, 1].map(|step: usize| plan.migrations[step].domain.clone());
            hear(&mut forecaster, 0.0, launch(&first));
            let done = DomainReport::new(&first, &first, DomainOutcome::Migrated);
            hear(&mut forecaster, 9.0, Event::Done(Box::new(DomainReport { bytes: mib << 20, ..done })));
            forecaster.waiting.iter().for_each(|(name, _)| assert_eq!(*name, second));
            forecaster.remaining_seconds(9.0).unwrap()
        };
        let (half, full) = (rest(50), rest(100));
        assert!(half < 0.85 * full && half > 0.6 * full, "{half} s and {full} s");
    }

    #[test]
    fn one_that_stays_is_not_waited_for() {
        let (_, mut forecaster) = forecaster(&["x", "y"]);
        let stays = DomainReport::new("y", "y", DomainOutcome::Remains);
        assert_eq!(hear(&mut forecaster, 0.0, Event::Done(Box::new(stays))), None);
        assert_eq!(forecaster.waiting.len(), 1);
    }
}
