//! When an evacuation that runs will end: what the model says of the rest, from how far each domain was seen to be and how fast
//! memory was seen to cross. Pure: it hears the engine's events.

use std::collections::HashMap;

use indexmap::IndexMap;

use crate::domain::{Phase, Technique, Transfer};
use crate::engine::events::{Event, Notice, Timed};
use crate::engine::migration::Progress;
use crate::engine::{Replanned, Schedule, Scheduled};
use crate::plan::{Leeway, Leg, Move, Plan, Position, Situation, image_bits, setups_apart};
use crate::profile::learned::{Crossing, Learned};
use crate::profile::{Both, DomainProfile, Profile};
use crate::report::{DomainOutcome, DomainReport};
use crate::setups::Setups;
use crate::topology::CapacityOrigin;

/// Seconds between two forecasts. Chosen: often enough to count down by, and far longer than one takes to make.
const PAUSE_SECONDS: f64 = 2.0;

/// Seconds of the model's time over which what crosses is compared.
const COMPARED_SECONDS: f64 = 0.5;

/// Where a migration has gone by so much more memory than crossed, some was blank. Chosen: what is sent has headers.
const BLANK: f64 = 1.25;

/// So many comparisons are needed before a run says how fast memory crosses.
const FEWEST_COMPARISONS: usize = 3;

/// Seconds between two looks for a better schedule. Chosen: long enough to see what the last one came to.
const REPLAN_SECONDS: f64 = 4.0;

/// What waits is launched otherwise only if that gains more than this, in seconds, and more than what the prediction may be off.
/// Chosen: equal runs differ by about as much.
const LEAST_GAIN_SECONDS: f64 = 1.0;

/// So many setups say how long those to come will take. Chosen: one may be odd.
const FEWEST_SETUPS: usize = 3;

/// Weight of the newest comparison in the pace; the last ten seconds count most.
const PACE_WEIGHT: f64 = 0.3;

/// How much slower or faster than by the model memory may be taken to cross. Chosen: a tenth of what was said is believed, and a
/// burst is not, unless the capacity of a link was only assumed.
const PACES: (f64, f64) = (0.1, 1.5);
/// See [`PACES`].
const FASTEST_IF_ASSUMED: f64 = 100.0;

/// After so many seconds a post-copy that has not switched over is taken to go by pre-copy. Chosen: a switch takes about one.
const SWITCHES_WITHIN_SECONDS: f64 = 5.0;

/// How fast memory crossed in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    /// As a part of what the model says without any experience.
    pub(crate) pace: f64,
    /// Over how many seconds it was compared.
    pub(crate) seconds: f64,
    /// Capacity of the slower of the two links.
    pub(crate) link_bits_per_second: f64,
}

/// Listens to the run of a plan.
pub(crate) struct Forecaster {
    profiles: Both,
    bandwidth_bits_per_second: Option<f64>,
    /// In launch order, each with its name.
    waiting: Vec<(String, Move)>,
    /// By name.
    in_flight: IndexMap<String, Flight>,
    /// How far it is beside those in flight.
    situation: Situation,
    forecast_at: f64,
    /// Of each domain that has crossed, what did once, as a part of what was to.
    fullness: Vec<f64>,
    /// What crossed from one forecast to the next, as a part of what the model says, time after time.
    compared: Vec<f64>,
    setups: Setups,
    /// What of the plan may change; `None` if nothing.
    leeway: Option<Leeway>,
    /// By name, the UUIDs of those that the plan moves, and how.
    planned: HashMap<String, (String, Transfer)>,
    replanned_at: f64,
    /// What is better than the plan by now, until it is asked for.
    better: Option<Schedule>,
}

/// A migration in flight as it was last seen. Bytes unless named otherwise.
#[derive(Clone, Copy)]
struct Flight {
    /// Its place in the schedule, if a busy destination turns it away.
    planned: Move,
    domain: usize,
    technique: Technique,
    launched_at: f64,
    leg: Leg,
    leg_since: f64,
    progress: Progress,
    progress_at: f64,
    /// When it was compared last with what the model says of this leg, what had crossed then, and what remained.
    compared: Option<(f64, u64, u64)>,
    /// All that the first pass goes through, as far as it was seen.
    whole: u64,
    /// What had crossed by the end of the first pass.
    first_pass: Option<u64>,
}

impl Forecaster {
    /// Of a plan that was made with these profiles, of which so much may change while it runs.
    pub(crate) fn new(plan: &Plan, profiles: Both, leeway: Option<Leeway>) -> Self {
        let place = |uuid: &str| profiles.source.domains.iter().position(|domain| domain.uuid == uuid);
        let steps: Vec<_> = plan.migrations.iter().filter_map(|step| Some((place(&step.uuid)?, step))).collect();
        let next = |(domain, step): &(usize, &crate::plan::Step)| {
            let next = Move { domain: *domain, technique: step.technique(), concurrency: step.concurrency };
            (step.domain.clone(), next)
        };
        let waiting = steps.iter().map(next).filter(|(_, next)| next.technique != Technique::Offline).collect();
        let most = steps.iter().filter_map(|(domain, step)| Some((*domain, step.transfer.max_downtime_ms?)));
        let situation = Situation {
            launches_ahead: plan.launch_ahead,
            post_copy_limit: plan.post_copy_limit.map(|limit| limit.max(1)),
            max_downtimes_ms: most.collect::<HashMap<_, _>>(),
            ..Situation::default()
        };
        Self {
            profiles,
            bandwidth_bits_per_second: plan.bandwidth_bits_per_second,
            waiting,
            in_flight: IndexMap::new(),
            situation,
            forecast_at: 0.0,
            fullness: Vec::new(),
            compared: Vec::new(),
            setups: Setups::default(),
            leeway,
            planned: plan
                .migrations
                .iter()
                .map(|step| (step.domain.clone(), (step.uuid.clone(), step.transfer.clone())))
                .collect(),
            replanned_at: 0.0,
            better: None,
        }
    }

    /// What is better by now than what was planned for those that wait. Once.
    pub(crate) fn take_better(&mut self) -> Option<Schedule> {
        self.better.take()
    }

    /// The profile of the host that is emptied.
    pub(crate) fn source(&self) -> &Profile {
        &self.profiles.source
    }

    /// How fast memory has crossed, as a part of what the model says without any experience, and over how many seconds that was
    /// compared; `None` if that was too short.
    /// A capacity that is only assumed, or a cap, is no measure.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let Both { source, destination } = &self.profiles;
        let is_measure = self.bandwidth_bits_per_second.is_none()
            && [source, destination].iter().all(|host| host.migration_port.origin != CapacityOrigin::Assumed);
        let link_bits_per_second = source.link_to(destination);
        let crossing = source.crossing.filter(|crossing| crossing.is_of(link_bits_per_second));
        let known = crossing.map_or(1.0, |crossing| crossing.pace);
        // The one in the middle: when few pages are left, or few are not blank, less crosses for a moment.
        let mut compared = self.compared.clone();
        compared.sort_by(f64::total_cmp);
        (is_measure && compared.len() >= FEWEST_COMPARISONS).then(|| Pace {
            pace: known * compared[compared.len() / 2],
            seconds: compared.len() as f64 * PAUSE_SECONDS,
            link_bits_per_second,
        })
    }

    /// Hears an event, and gives a forecast if it is time for one.
    pub(crate) fn hear(&mut self, timed: &Timed) -> Option<Timed> {
        let now = timed.elapsed_seconds;
        self.setups.hear(timed);
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
                if leg == Leg::Setup {
                    // What runs before a domain has ended.
                    flight.launched_at = now;
                }
                flight.enter(leg, now);
            }),
            Event::Progress { domain, progress } => self.with(domain, |flight| flight.progress(progress, now)),
            Event::Done(report) => self.done(report),
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
            let flight = Flight {
                planned,
                domain: planned.domain,
                technique,
                launched_at: now,
                leg: Leg::Setup,
                leg_since: now,
                progress: Progress::default(),
                progress_at: now,
                compared: None,
                whole: 0,
                first_pass: None,
            };
            self.in_flight.insert(name.to_owned(), flight);
        }
    }

    fn with(&mut self, domain: &str, change: impl FnOnce(&mut Flight)) {
        self.in_flight.get_mut(domain).map(change);
    }

    fn done(&mut self, report: &DomainReport) {
        self.waiting.retain(|(name, _)| *name != report.domain);
        let Some(flight) = self.in_flight.shift_remove(&report.domain) else { return };
        if report.outcome == DomainOutcome::Migrated {
            self.situation.arrived.push(flight.domain);
            let crossed = flight.first_pass.unwrap_or(report.bytes) as f64 * 8.0;
            let expected = image_bits(&self.profiles.source.domains[flight.domain]);
            self.fullness.extend((crossed > 0.0 && expected > 0.0).then(|| crossed / expected));
        }
    }

    fn notice(&mut self, notice: &Notice) {
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
            let image = (image_bits(domain) * fullness / 8.0).min(domain.memory_bytes as f64);
            (domain.resident_bytes, domain.unused_bytes) = (image as u64, None);
            domain.learned = domain.learned.map(|learned| Learned { crossing_bytes: image as u64, ..learned });
        }
        let (totals, _) = self.situation.predict(&source, destination, &moves, self.bandwidth_bits_per_second);
        if let Some(leeway) = self.leeway.filter(|_| now - self.replanned_at >= REPLAN_SECONDS && !moves.is_empty()) {
            let sooner = self.situation.sooner((&source, destination), &moves, self.bandwidth_bits_per_second, leeway);
            let most = totals.high.zip(totals.total_seconds).map(|(high, total)| high.total_seconds - total);
            let spread = most.unwrap_or(0.0).max(LEAST_GAIN_SECONDS);
            self.replanned_at = now;
            if let Some((moves, gain)) = sooner.filter(|(_, gain)| *gain > spread) {
                self.replan(moves, gain);
                return totals.total_seconds.map(|total| total - gain);
            }
        }
        totals.total_seconds
    }

    /// Takes a better schedule for its own, and keeps it for whoever asks.
    fn replan(&mut self, moves: Vec<Move>, gain: f64) {
        let domains = &self.profiles.source.domains;
        self.waiting = moves.into_iter().map(|next| (domains[next.domain].name.clone(), next)).collect();
        let scheduled = |(name, next): &(String, Move)| {
            let (uuid, transfer) = self.planned.get(name)?.clone();
            let transfer = Transfer { technique: next.technique, ..transfer };
            Some(Scheduled { uuid, transfer, concurrency: next.concurrency })
        };
        let reason = Replanned {
            sooner_seconds: Some(gain).filter(|gain| gain.is_finite()),
            setup_seconds: self.setups.seconds().map(|(setup, _)| setup),
            pace: self.situation.pace,
        };
        self.better = Some(Schedule { order: self.waiting.iter().filter_map(scheduled).collect(), reason });
    }

    /// Those in flight. What is being set up comes one after the other, as it was launched.
    fn positions(&self, now: f64) -> Vec<(usize, Position)> {
        let domains = &self.profiles.source.domains;
        let apart = self.crossing().and_then(|seen| seen.setups_apart_seconds);
        let apart = apart.unwrap_or_else(|| setups_apart(&self.profiles.destination));
        let mut free_at = f64::NEG_INFINITY;
        let position = |flight: &Flight| {
            let begins = matches!(flight.leg, Leg::Setup | Leg::Pass | Leg::Switch) && !flight.flows();
            let mut position = flight.position(&domains[flight.domain], now);
            if begins {
                let begins_at = free_at.max(flight.launched_at);
                free_at = begins_at + apart;
                (position.leg, position.leg_seconds) = (Leg::Setup, now - begins_at);
            }
            (flight.domain, position)
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
        let (Both { source, destination }, before) = (&self.profiles, self.situation.pace);
        let is_assumed = [source, destination].iter().any(|host| host.migration_port.origin == CapacityOrigin::Assumed);
        // What is being set up takes no part of the link, however long ago it should have begun.
        let flows = |(domain, _): &(usize, Position)| self.in_flight.values().any(|f| f.domain == *domain && f.flows());
        let in_flight = self.situation.in_flight.iter().copied().filter(flows).collect();
        let now = Situation { pace: 1.0, in_flight, ..self.situation.clone() };
        let (later, _) = now.after(COMPARED_SECONDS, source, destination, &[], self.bandwidth_bits_per_second);
        let (mut measured, mut expected) = (0.0, 0.0);
        for flight in self.in_flight.values_mut().filter(|flight| flight.progress.bits_per_second > 0.0) {
            let of = |situation: &Situation| {
                situation.in_flight.iter().find(|(domain, _)| *domain == flight.domain).map(|(_, position)| *position)
            };
            if let Some((now, later)) = of(&now).zip(of(&later)).filter(|(now, later)| now.leg == later.leg) {
                if let Some(seen) = flight.since_compared() {
                    measured += seen;
                    expected += (later.transferred_bits - now.transferred_bits) / COMPARED_SECONDS;
                }
            }
        }
        if expected <= 0.0 {
            return before;
        }
        self.compared.push(measured / expected);
        let pace = (measured / expected).clamp(PACES.0, if is_assumed { FASTEST_IF_ASSUMED } else { PACES.1 });
        before + PACE_WEIGHT * (pace - before)
    }
}

impl Flight {
    fn enter(&mut self, leg: Leg, now: f64) {
        (self.leg, self.leg_since, self.compared) = (leg, now, None);
    }

    fn progress(&mut self, progress: &Progress, now: f64) {
        // It was to go by post-copy, and what it needs for that is not there.
        let stays = progress.pass > 1 || now - self.leg_since > SWITCHES_WITHIN_SECONDS;
        if self.leg == Leg::Switch && stays {
            self.technique = Technique::PreCopy;
            self.enter(Leg::Pass, now);
        }
        if progress.pass <= 1 {
            self.whole = self.whole.max(progress.transferred.saturating_add(progress.remaining));
        } else if self.leg == Leg::Pass && progress.pass > self.progress.pass {
            self.first_pass.get_or_insert(progress.transferred);
            self.enter(Leg::Pass, now);
        }
        (self.progress, self.progress_at) = (*progress, now);
    }

    /// Bits per second that have crossed since it was asked last, within the same leg. A mean rate would lag behind. `None` where
    /// it went by blank memory, which takes time of its own in the model.
    fn since_compared(&mut self) -> Option<f64> {
        let now = (self.progress_at, self.progress.transferred, self.progress.remaining);
        let (then, crossed, remained) = self.compared.replace(now)?;
        let crossed = now.1.saturating_sub(crossed);
        let is_blank = remained.saturating_sub(now.2) as f64 > BLANK * crossed as f64;
        (now.0 > then && !is_blank).then(|| crossed as f64 * 8.0 / (now.0 - then))
    }

    /// Whether memory was seen to cross.
    fn flows(&self) -> bool {
        self.progress.transferred > 0
    }

    fn position(&self, domain: &DomainProfile, now: f64) -> Position {
        Position {
            technique: self.technique,
            leg: self.leg,
            seconds: now - self.launched_at,
            leg_seconds: now - self.leg_since,
            remaining_bits: self.left(domain),
            transferred_bits: self.progress.transferred as f64 * 8.0,
            downtime_seconds: 0.0,
            stop_bits: None,
        }
    }

    /// Bits that the leg has still to send. QEMU counts pages of zeros, too, until it has come by them: how many are left is
    /// taken from the profile at first, and more and more from those that it has come by.
    fn left(&self, domain: &DomainProfile) -> f64 {
        let bits = |bytes: u64| bytes as f64 * 8.0;
        let Progress { pass, transferred, remaining, .. } = self.progress;
        if self.leg == Leg::Pass && pass > 1 {
            return bits(remaining);
        }
        let (image, whole) = (image_bits(domain), bits(self.whole));
        let come_by = whole - bits(remaining);
        if transferred == 0 || come_by <= 0.0 {
            return image;
        }
        let (share, seen, expected) = (come_by / whole, bits(transferred) / come_by, image / whole);
        bits(remaining) * (share * seen + (1.0 - share) * expected).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainState;
    use crate::plan::{Demands, plan};
    use crate::profile::fixture;

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
        (plan.clone(), Forecaster::new(&plan, Both { source, destination }, None))
    }

    fn launch(domain: &str) -> Event {
        let (domain, destination) = (domain.to_owned(), "b".to_owned());
        Event::Launch { domain, destination, technique: Technique::PreCopy }
    }

    /// A first pass over `of` MiB, of which `transferred` have crossed, at so many Mbit/s.
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
        // 11 MiB in two seconds.
        let rate = 11.0 * 1.048576 * 8.0 / 2.0;
        let at = |step: u32| (1.0 + 2.0 * f64::from(step), progress("x", 11 * u64::from(step), 100, rate));
        let rests: Vec<f64> =
            (1..=8).map(at).filter_map(|(now, progress)| hear(&mut forecaster, now, progress)).collect();
        let last = rests.last().unwrap();
        // 12 MiB are left.
        let expected = f64::from(12 << 20) * 8.0 / (rate * 1e6);
        assert!((last / expected - 1.0).abs() < 0.15, "{last} s, and not {expected} s: {rests:?}");
    }

    #[test]
    fn what_is_fuller_or_emptier_than_the_profile_says_is_believed_more_and_more() {
        let rest = |resident: u64, transferred, come_by: u64| {
            let (_, mut forecaster) = forecaster(&["x"]);
            forecaster.profiles.source.domains[0].resident_bytes = resident << 20;
            hear(&mut forecaster, 0.0, launch("x"));
            hear(&mut forecaster, 1.0, Event::Phase { domain: "x".to_owned(), phase: Phase::PreCopy });
            hear(&mut forecaster, 1.1, progress("x", 0, 100, 0.0));
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
    fn what_is_never_launched_is_not_waited_for() {
        let (plan, mut forecaster) = forecaster(&["x", "y"]);
        let first = plan.migrations[0].domain.clone();
        hear(&mut forecaster, 0.0, launch(&first));
        hear(&mut forecaster, 1.0, Event::Phase { domain: first.clone(), phase: Phase::PreCopy });
        let both = hear(&mut forecaster, 3.0, progress(&first, 20, 100, 95.7)).unwrap();
        hear(&mut forecaster, 3.5, Event::Notice(Notice::Interrupted { in_post_copy: 0 }));
        let one = hear(&mut forecaster, 5.0, progress(&first, 42, 100, 95.7)).unwrap();
        assert!(one < 0.5 * both, "{one} s after {both} s");
    }

    #[test]
    fn what_a_busy_destination_turned_away_is_waited_for_again() {
        let (plan, mut forecaster) = forecaster(&["x", "y"]);
        let [first, second] = [0, 1].map(|place: usize| plan.migrations[place].domain.clone());
        hear(&mut forecaster, 0.0, launch(&first));
        hear(&mut forecaster, 1.0, Event::Phase { domain: first.clone(), phase: Phase::PreCopy });
        let both = hear(&mut forecaster, 3.0, progress(&first, 20, 100, 95.7)).unwrap();
        hear(&mut forecaster, 3.1, launch(&second));
        let (domain, host, error) = (second.clone(), "b".to_owned(), "too many".to_owned());
        hear(&mut forecaster, 3.5, Event::Notice(Notice::Busy { domain, host, error }));
        let turned_away = hear(&mut forecaster, 5.0, progress(&first, 42, 100, 95.7)).unwrap();
        assert!((turned_away - (both - 2.0)).abs() < 1.0, "{turned_away} s after {both} s");
        hear(&mut forecaster, 6.0, launch(&second));
        let again = hear(&mut forecaster, 7.0, progress(&first, 64, 100, 95.7)).unwrap();
        assert!((again - (both - 4.0)).abs() < 1.0, "{again} s after {both} s");
    }

    #[test]
    fn traffic_beside_it_is_no_reason_to_take_a_link_for_slower() {
        let (_, mut forecaster) = forecaster(&["x"]);
        let mut beside = forecaster.profiles.source.domains[0].clone();
        (beside.uuid, beside.outbound_bits_per_second) = ("z".to_owned(), 6e7);
        forecaster.profiles.source.domains.push(beside);
        hear(&mut forecaster, 0.0, launch("x"));
        hear(&mut forecaster, 1.0, Event::Phase { domain: "x".to_owned(), phase: Phase::PreCopy });
        // Half of what the model has it get.
        let rate = 6.0 * 1.048576 * 8.0 / 2.0;
        let at = |step: u32| (1.0 + 2.0 * f64::from(step), progress("x", 6 * u64::from(step), 100, rate));
        let rests: Vec<f64> =
            (1..=8).map(at).filter_map(|(now, progress)| hear(&mut forecaster, now, progress)).collect();
        let expected = f64::from(52 << 20) * 8.0 / (rate * 1e6);
        let last = rests.last().unwrap();
        assert!((last / expected - 1.0).abs() < 0.15, "{last} s, and not {expected} s: {rests:?}");
    }

    #[test]
    fn what_waits_is_launched_sooner_where_setups_take_long() {
        let names: Vec<String> = (0..8).map(|number| format!("g{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let better = |leeway: Option<Leeway>, setup: f64| {
            let (plan, mut forecaster) = forecaster(&names);
            forecaster.leeway = leeway;
            let mut now = 0.0;
            for step in &plan.migrations[..3] {
                hear(&mut forecaster, now, launch(&step.domain));
                now += setup;
                hear(&mut forecaster, now, progress(&step.domain, 1, 100, 95.7));
                now += 8.0;
                let done = DomainReport::new(&step.domain, &step.domain, DomainOutcome::Migrated);
                hear(&mut forecaster, now, Event::Done(Box::new(DomainReport { bytes: 100 << 20, ..done })));
            }
            hear(&mut forecaster, now, launch(&plan.migrations[3].domain));
            hear(&mut forecaster, now + setup, progress(&plan.migrations[3].domain, 1, 100, 95.7));
            forecaster.take_better()
        };
        let leeway = Some(Leeway { most_in_flight: 15, reorders: true, keeps_losses: false });
        let schedule = better(leeway, 6.0).expect("the link lies idle while the next is set up");
        assert!((4..8).contains(&schedule.order.len()), "{schedule:?}");
        assert!(schedule.order[0].concurrency > 1, "{schedule:?}");
        assert!(schedule.reason.setup_seconds.is_some_and(|seconds| (seconds - 6.0).abs() < 0.2), "{schedule:?}");
        assert_eq!(better(None, 6.0), None, "the user keeps to the plan");
    }

    #[test]
    fn what_is_still_set_up_makes_no_link_look_faster() {
        let (_, mut forecaster) = forecaster(&["x", "y"]);
        for name in ["x", "y"] {
            hear(&mut forecaster, 0.0, launch(name));
            hear(&mut forecaster, 1.0, Event::Phase { domain: name.to_owned(), phase: Phase::PreCopy });
        }
        // The one has the whole link, since the other takes long.
        let rate = 10.0 * 1.048576 * 8.0;
        for second in 1..=9 {
            hear(&mut forecaster, 1.0 + second as f64, progress("x", 10 * second, 100, rate));
        }
        let pace = forecaster.situation.pace;
        assert!((0.85..1.0).contains(&pace), "{pace}");
    }

    #[test]
    fn one_that_stays_is_not_waited_for() {
        let (_, mut forecaster) = forecaster(&["x", "y"]);
        let stays = DomainReport::new("y", "y", DomainOutcome::Remains);
        assert_eq!(hear(&mut forecaster, 0.0, Event::Done(Box::new(stays))), None);
        assert_eq!(forecaster.waiting.len(), 1);
    }
}
