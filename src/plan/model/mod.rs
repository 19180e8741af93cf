//! The contention model: an evacuation as fluid flows, simulated from event to event.
//!
//! All migrations leave through the source's NIC and enter through the destination's, and share what the
//! applications leave of the scarcer of the two ([`Nic::left_for`]), each an equal part. Between two events (a
//! migration starts, ends a pass, switches over, ends) all rates are constant, so the next event is known in
//! closed form. `docs/model.md` says how well that matches measurements.

pub(super) mod bound;
mod passes;
mod port;
pub(super) mod scene;

pub(super) use self::passes::can_converge;
pub(super) use super::launch::Launch;
use super::{Extreme, StepPrediction, Totals};
use crate::domain::{HELD_BACK, LAST_SECONDS, Technique};
use crate::plan::model::passes::{DOWNTIME_LIMIT, Next, after_pass, stall_seconds};
use crate::plan::model::port::Nic;
use crate::plan::model::scene::{Guest, INBOUND_KEPT, Load, OUTBOUND_KEPT, Scene};

/// Memory per bit on the wire: the rest is Ethernet, IP and TCP headers.
///
/// 1448 of 1514 bytes would be 0.956; measured 0.97, since somewhat less than the resident memory crosses
/// (40.1 s where the wire alone needs 38.6 s, of which 0.9 s are fixed).
pub(super) const EFFICIENCY: f64 = 0.97;

/// Seconds from the launch of a migration to its first byte: the destination starts a QEMU, both agree.
///
/// This, [`SWITCH`] and [`FINISH`] make up 0.9 s per migration. Measured: runs with one migration after the other
/// exceed their transfer times by 1.1, 1.0, 1.1, 1.5 and 0.5 s each, of which 0.1-0.2 s are pages sent again; a
/// post-copy could be started 0.2-0.5 s after the launch.
pub(super) const SETUP: f64 = 0.4;
/// How long before the end of a migration the next is launched in its place, if it may be, in seconds. The least by which the engine
/// does it (`AHEAD_SECONDS` in `src/engine/bandwidth.rs`): for longer what is left of a migration may not be known.
const AHEAD: f64 = 1.5;
/// Seconds that a guest is down while it changes hosts. Measured: the one-by-one pre-copies lost traffic worth
/// 0.25-0.5 s each, up to half of it for the last pages.
pub(super) const SWITCH: f64 = 0.3;
/// Seconds from the guest's start at the destination, memory complete, to the migration's end. See [`SETUP`].
pub(super) const FINISH: f64 = 0.2;

/// Seconds for each bit of memory that is looked at and found to be blank: nothing of it crosses, and it takes time.
///
/// Measured by others: 100 GB of zeros take 9.6 s where the main thread looks for them (qemu-devel, "Introduce multifd zero
/// page checking", version 5), which is 0.10 s/GiB; an idle guest of 192 GiB takes 8.8 s with everything, at most
/// 0.046 s/GiB (QEMU 8.2.2 on a Xeon Gold 6430). Chosen between the two.
pub(super) const LOOK: f64 = 0.07 / (1024.0 * 1024.0 * 1024.0 * 8.0);

/// What a simulated evacuation comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prediction {
    /// Migrations that never end, or never start behind those.
    pub(super) unfinished: usize,
    pub(super) seconds: f64,
    pub(super) lost: f64,
    /// The most migrations that were in flight.
    pub(super) peak: usize,
    /// Bits of memory that guests pull, all of them together.
    pub(super) pulled: f64,
}

impl Prediction {
    /// Seconds to the end; infinite if there is none.
    pub(super) fn fast(&self) -> f64 {
        if self.unfinished == 0 { self.seconds } else { f64::INFINITY }
    }

    /// Less is better: seconds to the end, and above all of those, what leaves fewer migrations without end.
    pub(super) fn speed(&self) -> f64 {
        if self.unfinished == 0 { self.seconds } else { 1e200 * self.unfinished as f64 }
    }

    /// Bits of application traffic lost; infinite if it does not end.
    pub(super) fn gentle(&self) -> f64 {
        if self.unfinished == 0 { self.lost } else { f64::INFINITY }
    }

    /// In the plan's form, with the range for hosts and guests of which so much is known.
    pub(super) fn totals(&self, scene: &Scene) -> Totals {
        let ended = |value: f64| value.is_finite().then_some(value);
        let total_seconds = ended(self.fast());
        let at = |part: f64| total_seconds.map(|seconds| Extreme { total_seconds: part * seconds });
        Totals {
            total_seconds,
            lost_bits: ended(self.gentle()),
            low: at(1.0 - scene.spread),
            high: at(1.0 + scene.spread),
        }
    }
}

/// Simulates what is in flight, and `launches` in order; the outcome, and what becomes of each guest.
pub(super) fn predict(scene: &Scene, launches: &[Launch]) -> (Prediction, Vec<StepPrediction>) {
    let mut steps = vec![StepPrediction::default(); scene.guests.len()];
    let (outcome, endless, _) = run(scene, launches, f64::INFINITY, |guest, step| steps[guest] = step);
    endless.iter().for_each(|flight| steps[flight.guest].start_seconds = Some(flight.launched_at));
    (outcome, steps)
}

/// The same, for the outcome alone. What goes on after `deadline` seconds counts as unfinished.
pub(super) fn outcome(scene: &Scene, launches: &[Launch], deadline: f64) -> Prediction {
    run(scene, launches, deadline, |_, _| ()).0
}

/// What is in flight after this many seconds, by guest, and those of `launches` that are still to come.
pub(super) fn after<'a>(scene: &Scene, launches: &'a [Launch], seconds: f64) -> (Vec<(usize, Position)>, &'a [Launch]) {
    let (_, flights, waiting) = run(scene, launches, seconds, |_, _| ());
    (flights.iter().map(|flight| (flight.guest, flight.position(seconds))).collect(), waiting)
}

/// What a migration in flight is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// Nothing flows yet.
    Setup,
    /// Pre-copy: memory is sent while the guest runs at the source.
    Pass,
    /// Pre-copy: passes go on without headway until rates change, or it is switched to post-copy.
    Stalled,
    /// Pre-copy: the guest is stopped, the last pages are sent.
    Stop,
    /// The guest changes hosts.
    Switch,
    /// Post-copy: memory is pulled while the guest runs at the destination.
    Pull,
    /// All is there.
    Finish,
}

impl Leg {
    /// Seconds that it takes, if that does not depend on what is sent.
    fn fixed_seconds(self, guest: &Guest) -> Option<f64> {
        match self {
            Self::Setup => Some(guest.setup),
            Self::Switch => Some(SWITCH),
            Self::Finish => Some(FINISH),
            Self::Pass | Self::Stalled | Self::Stop | Self::Pull => None,
        }
    }
}

/// How far a migration in flight is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// How it moves by now.
    pub technique: Technique,
    /// What it is at.
    pub leg: Leg,
    /// Seconds since its launch.
    pub seconds: f64,
    /// Seconds since the leg began: this pass, for one. It is negative while the destination sets up others first.
    pub leg_seconds: f64,
    /// Bits that the leg has still to send; while a hybrid switches over, those that it will pull.
    pub remaining_bits: f64,
    /// Bits that have crossed since its launch.
    pub transferred_bits: f64,
    /// Seconds that the guest has been stopped.
    pub downtime_seconds: f64,
    /// Bits for which the guest will be stopped after this pass, where several passes are counted as one; `None`: it depends on what
    /// is dirtied meanwhile.
    pub stop_bits: Option<f64>,
}

impl Position {
    fn at_launch(technique: Technique) -> Self {
        Self {
            technique,
            leg: Leg::Setup,
            seconds: 0.0,
            leg_seconds: 0.0,
            remaining_bits: 0.0,
            transferred_bits: 0.0,
            downtime_seconds: 0.0,
            stop_bits: None,
        }
    }
}

/// A migration in flight while the simulation runs.
#[derive(Debug, Clone)]
pub(super) struct Simulated {
    guest: usize,
    launched_at: f64,
    /// Of every leg but the stall: seconds, or bits to send.
    left: f64,
    at: Position,
    /// Seconds to the end of the leg if rates stay as they are.
    leg_ends_in: f64,
}

impl Simulated {
    /// Of the guest at that place.
    pub(super) fn new(guest: usize, at: Position, of: &Guest) -> Self {
        let left = at.leg.fixed_seconds(of).map_or(at.remaining_bits, |fixed| (fixed - at.leg_seconds).max(0.0));
        Self { guest, launched_at: -at.seconds, left, at, leg_ends_in: f64::INFINITY }
    }

    fn position(&self, now: f64) -> Position {
        let remaining_bits = match self.at.leg {
            // Of a hybrid: what it will pull.
            Leg::Switch => self.at.remaining_bits,
            _ if self.flows() => self.left,
            _ => 0.0,
        };
        Position { seconds: now - self.launched_at, remaining_bits, ..self.at }
    }

    fn flows(&self) -> bool {
        matches!(self.at.leg, Leg::Pass | Leg::Stalled | Leg::Stop | Leg::Pull)
    }

    fn is_down(&self) -> bool {
        matches!(self.at.leg, Leg::Stop | Leg::Switch)
    }

    /// Seconds to the end of the leg while each migration gets `rate`.
    fn seconds_left(&self, rate: f64, of: &Guest) -> f64 {
        match self.at.leg {
            Leg::Stalled if of.may_switch => (stall_seconds(self.left, rate) - self.at.leg_seconds).max(0.0),
            Leg::Stalled => f64::INFINITY,
            _ if self.left <= 0.0 => 0.0,
            _ if self.flows() => self.left / rate,
            _ => self.left,
        }
    }

    fn enter(&mut self, leg: Leg, left: f64) {
        self.at.leg = leg;
        self.at.leg_seconds = 0.0;
        self.left = left;
    }

    /// Time passes while each migration gets `rate`.
    fn pass(&mut self, seconds: f64, rate: f64) {
        self.at.leg_seconds += seconds;
        if self.is_down() {
            self.at.downtime_seconds += seconds;
        }
        let flows = self.flows();
        if flows {
            self.at.transferred_bits += seconds * rate;
        }
        if self.at.leg != Leg::Stalled {
            self.left -= seconds * if flows { rate } else { 1.0 };
        }
    }
}

/// The ports of both hosts while the simulation runs.
struct Nics<'a> {
    scene: &'a Scene,
    source: Nic,
    destination: Nic,
    loads: Vec<Load>,
    /// Bits per second that guests in flight would exchange and do not, being down or slowed.
    suspended: f64,
    /// How many guests pull their memory.
    pulling: usize,
}

impl<'a> Nics<'a> {
    fn new(scene: &'a Scene) -> Self {
        let mut nics = Self {
            scene,
            source: scene.source_nic.clone(),
            destination: scene.destination_nic.clone(),
            loads: scene.loads.clone(),
            suspended: 0.0,
            pulling: 0,
        };
        for flight in &scene.in_flight {
            if !matches!(flight.at.leg, Leg::Setup | Leg::Pass | Leg::Stalled) {
                nics.stop(flight.guest);
            }
            match flight.at.leg {
                Leg::Pull => nics.start_pulling(flight.guest),
                Leg::Finish => nics.arrive(flight.guest),
                _ => {}
            }
        }
        nics
    }

    fn stop(&mut self, guest: usize) {
        let Guest { outbound, inbound, .. } = self.scene.guests[guest];
        self.source.remove(self.scene.places[guest].leaving);
        for (place, demand) in &self.scene.shares[guest].at_source {
            self.loads[*place].demand -= demand;
        }
        self.suspended += outbound + inbound;
    }

    fn start_pulling(&mut self, guest: usize) {
        let Guest { outbound, inbound, .. } = self.scene.guests[guest];
        self.pulling += 1;
        self.destination.add(self.scene.places[guest].pulling);
        for (place, demand, kept) in &self.scene.shares[guest].at_destination {
            self.loads[*place].demand += demand * kept;
        }
        self.suspended -= outbound * OUTBOUND_KEPT + inbound * INBOUND_KEPT;
    }

    fn stop_pulling(&mut self, guest: usize) {
        let Guest { outbound, inbound, .. } = self.scene.guests[guest];
        self.pulling -= 1;
        self.destination.remove(self.scene.places[guest].pulling);
        for (place, demand, kept) in &self.scene.shares[guest].at_destination {
            self.loads[*place].demand -= demand * kept;
        }
        self.suspended += outbound * OUTBOUND_KEPT + inbound * INBOUND_KEPT;
    }

    fn arrive(&mut self, guest: usize) {
        let Guest { outbound, inbound, .. } = self.scene.guests[guest];
        self.destination.add(self.scene.places[guest].arriving);
        for (place, demand, _) in &self.scene.shares[guest].at_destination {
            self.loads[*place].demand += demand;
        }
        self.suspended -= outbound + inbound;
    }

    /// Memory that `flows` migrations move together, in bits per second.
    fn goodput(&self, flows: usize) -> f64 {
        let wire = self.source.left_for(flows).min(self.destination.left_for(flows));
        self.scene.goodput(wire, flows)
    }

    /// The rate by which a pre-copy with `next` bits to send again is judged that gets `rate` as its share: what would soon be
    /// through gets as much of the link as ends it, but for what post-copies have (`src/engine/bandwidth.rs`).
    fn rate_of_last_passes(&self, next: f64, rate: f64) -> f64 {
        if next <= DOWNTIME_LIMIT * rate || self.pulling > 0 || !self.scene.sets_shares {
            return rate;
        }
        let alone = (1.0 - HELD_BACK) * self.goodput(1);
        if next <= LAST_SECONDS * alone { rate.max(alone) } else { rate }
    }

    /// Application traffic lost while migrations move `goodput`, in bits per second.
    fn lost(&self, goodput: f64) -> f64 {
        let wire = goodput / EFFICIENCY;
        let beside: f64 = self.loads.iter().map(|load| (load.demand - load.capacity).max(0.0)).sum();
        self.source.lost(wire) + self.destination.lost(wire) + beside + self.suspended.max(0.0)
    }
}

/// Simulates until `deadline`; the outcome, and what is in flight and still waits then.
fn run<'a>(
    scene: &Scene,
    launches: &'a [Launch],
    deadline: f64,
    mut report: impl FnMut(usize, StepPrediction),
) -> (Prediction, Vec<Simulated>, &'a [Launch]) {
    let mut nics = Nics::new(scene);
    let mut flights = scene.in_flight.clone();
    let mut waiting = launches;
    let mut ended =
        Prediction { unfinished: launches.len() + flights.len(), seconds: 0.0, lost: 0.0, peak: 0, pulled: 0.0 };
    let (mut now, mut lost, mut rate) = (0.0, 0.0, None);
    let mut proven = scene.gate.start();
    // When the destination can begin to set up the next.
    let setups = flights.iter().filter(|f| f.at.leg == Leg::Setup).map(|f| scene.turn - f.at.leg_seconds);
    let mut free_at = setups.fold(f64::NEG_INFINITY, f64::max);
    loop {
        while let Some((next, others)) = waiting.split_first().filter(|(next, _)| {
            let in_post_copy = flights.iter().filter(|f| f.at.technique.pulls());
            let in_post_copy = in_post_copy.map(|f| (f.guest, matches!(f.at.leg, Leg::Pull | Leg::Finish)));
            flights.len() < next.concurrency.max(1) && scene.gate.is_open(next, in_post_copy, &proven)
        }) {
            waiting = others;
            let ahead = if scene.launches_ahead && now > 0.0 { AHEAD } else { 0.0 };
            let begins_at = f64::max(now - ahead, free_at);
            if scene.turn > 0.0 {
                free_at = begins_at + scene.turn;
            }
            let at = Position { leg_seconds: now - begins_at, ..Position::at_launch(next.technique) };
            flights.push(Simulated { launched_at: now, ..Simulated::new(next.guest, at, &scene.guests[next.guest]) });
        }
        ended.peak = ended.peak.max(flights.len());
        let flows = flights.iter().filter(|f| f.flows()).count();
        let goodput = if flows > 0 { nics.goodput(flows) } else { 0.0 };
        let share = if flows > 0 { goodput / flows as f64 } else { 0.0 };
        if rate.replace(share).is_some_and(|before| before != share) {
            for flight in flights.iter_mut().filter(|f| f.at.leg == Leg::Stalled) {
                flight.enter(Leg::Pass, flight.left);
            }
        }
        flights.iter_mut().for_each(|f| f.leg_ends_in = f.seconds_left(share, &scene.guests[f.guest]));
        let span = flights.iter().map(|f| f.leg_ends_in).fold(f64::INFINITY, f64::min);
        if !span.is_finite() || now + span > deadline {
            break;
        }
        now += span;
        lost += span * nics.lost(goodput);
        let mut any_ended = false;
        for flight in &mut flights {
            flight.pass(span, share);
            // Relative, so that phases that end at the same time do so in one event whatever was rounded.
            if flight.leg_ends_in <= span * (1.0 + 1e-12) {
                any_ended |= flight.at.leg == Leg::Finish;
                advance(flight, &mut nics, share);
                if flight.at.leg == Leg::Pull {
                    ended.pulled += flight.left;
                    scene.gate.prove(flight.guest, &mut proven);
                }
            }
        }
        if !any_ended {
            continue;
        }
        flights.retain(|flight| {
            let over = flight.at.leg == Leg::Finish && flight.left <= 0.0;
            if over {
                scene.gate.prove(flight.guest, &mut proven);
                ended = Prediction { unfinished: ended.unfinished - 1, seconds: now, lost, ..ended };
                report(
                    flight.guest,
                    StepPrediction {
                        bytes: Some((flight.at.transferred_bits / 8.0).round() as u64),
                        start_seconds: Some(flight.launched_at),
                        end_seconds: Some(now),
                        downtime_seconds: Some(flight.at.downtime_seconds),
                    },
                );
            }
            !over
        });
    }
    if deadline.is_finite() {
        flights.iter_mut().for_each(|flight| flight.pass(deadline - now, rate.unwrap_or(0.0)));
    }
    (ended, flights, waiting)
}

/// Switches `flight` over; it then pulls so many bits.
fn pull_after_a_switch(flight: &mut Simulated, nics: &mut Nics, bits: f64) {
    nics.stop(flight.guest);
    flight.at.remaining_bits = bits;
    flight.enter(Leg::Switch, SWITCH);
}

/// The leg of `flight` is over: enters the next.
fn advance(flight: &mut Simulated, nics: &mut Nics, rate: f64) {
    let guest = flight.guest;
    match (flight.at.leg, flight.at.technique) {
        (Leg::Setup, Technique::PostCopy) => {
            nics.stop(guest);
            flight.enter(Leg::Switch, SWITCH);
        }
        (Leg::Setup, _) => flight.enter(Leg::Pass, nics.scene.guests[guest].image),
        (Leg::Pass, Technique::Hybrid) => {
            let dirtied = nics.scene.guests[guest].dirtied(flight.at.leg_seconds);
            pull_after_a_switch(flight, nics, dirtied);
        }
        (Leg::Pass, _) => {
            let dirties = &nics.scene.guests[guest];
            let raised = flight.at.stop_bits.take().filter(|bits| bits.is_finite());
            let next = raised.unwrap_or_else(|| dirties.dirtied(flight.at.leg_seconds));
            let share = rate;
            let rate = if dirties.writes_are_known { nics.rate_of_last_passes(next, share) } else { share };
            match after_pass(dirties, next, raised.is_some(), share, rate) {
                Next::Stop => {
                    nics.stop(guest);
                    // As long as it takes at that rate; the rest crosses beside its share.
                    let at_share = if next > 0.0 { next * (share / rate).min(1.0) } else { 0.0 };
                    flight.at.transferred_bits += next - at_share;
                    flight.enter(Leg::Stop, at_share);
                }
                Next::Pass { bits, stop_bits } => {
                    flight.enter(Leg::Pass, bits);
                    flight.at.stop_bits = stop_bits;
                }
                Next::Stalled => flight.enter(Leg::Stalled, next),
            }
        }
        (Leg::Stop, _) => flight.enter(Leg::Switch, SWITCH),
        (Leg::Switch, Technique::PostCopy) => {
            nics.start_pulling(guest);
            flight.enter(Leg::Pull, nics.scene.guests[guest].image);
        }
        (Leg::Switch, Technique::Hybrid) => {
            nics.start_pulling(guest);
            flight.enter(Leg::Pull, flight.at.remaining_bits);
        }
        (Leg::Switch, _) => {
            nics.arrive(guest);
            flight.enter(Leg::Finish, FINISH);
        }
        (Leg::Pull, _) => {
            nics.stop_pulling(guest);
            nics.arrive(guest);
            flight.enter(Leg::Finish, FINISH);
        }
        // It is switched.
        (Leg::Stalled, _) => {
            flight.at.technique = Technique::Hybrid;
            pull_after_a_switch(flight, nics, flight.left);
        }
        // The end: nothing is left.
        (Leg::Finish, _) => flight.left = 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainState;
    use crate::plan::{Demands, Move, Plan, Rule, Situation, plan};
    use crate::profile::learned::{Learned, Teacher, Writes};
    use crate::profile::{Profile, fixture};
    use crate::topology::{CapacityOrigin, Port};

    /// A guest that sends so much that its buffers of 1 MiB take about 0.7 s to copy.
    fn hosts() -> [Profile; 2] {
        let guest: &[_] = &[("g", "g", DomainState::Running)];
        let [mut source, destination] = [("a", guest), ("b", &[])].map(|(host, domains)| {
            let mut profile = fixture::host(host, domains);
            profile.migration_port.bits_per_second = 2.5e7;
            profile
        });
        let guest = &mut source.domains[0];
        (guest.memory_bytes, guest.resident_bytes, guest.outbound_bits_per_second) = (64 << 20, 64 << 20, 2e7);
        [source, destination]
    }

    fn by_pre_copy(max_downtime_ms: Option<u64>) -> Plan {
        let [source, destination] = hosts();
        let technique = Some(Technique::PreCopy);
        plan(&source, &destination, &[Rule { technique, max_downtime_ms, ..Rule::default() }], &Demands::default())
    }

    #[test]
    fn a_pre_copy_without_headway_ends_with_the_downtime_that_it_may_have() {
        for too_little in [None, Some(300), Some(600)] {
            assert_eq!(by_pre_copy(too_little).predicted.total_seconds, None, "{too_little:?}");
        }
        let ended = by_pre_copy(Some(1000));
        let step = &ended.migrations[0];
        assert_eq!(step.transfer.max_downtime_ms, Some(1000));
        // Its own traffic does not slow the last pages down any more: it is stopped.
        let downtime = step.predicted.downtime_seconds.unwrap() - SWITCH;
        assert!((0.3..0.4).contains(&downtime), "{downtime}");
        // Passes of 5 s that show the stall, two for the steps, and the last one with the guest stopped.
        let again = step.predicted.bytes.unwrap() as f64 / f64::from(1 << 20) - 64.0;
        assert!((9.0..=12.0).contains(&again), "{again} MiB are sent again");
    }

    /// Seconds of two at once, each of which leaves more than it may stop for at half the link, and less than at most of it.
    fn seconds_of_two(origin: CapacityOrigin, max_downtime_ms: Option<u64>) -> Option<f64> {
        let guests = ["g", "h"].map(|name| (name, name, DomainState::Running));
        let [mut source, mut destination] = [fixture::host("a", &guests), fixture::host("b", &[])];
        let writes = Some(Writes { bytes_per_second: 5.8e6, most_bytes: 5_000_000, open_after_seconds: None });
        for domain in &mut source.domains {
            (domain.memory_bytes, domain.resident_bytes) = (64 << 20, 64 << 20);
            (domain.outbound_bits_per_second, domain.inbound_bits_per_second) = (0.0, 0.0);
            domain.learned = Some(Learned { crossing_bytes: 64 << 20, writes, migrations: 2, of: Teacher::Itself });
        }
        for host in [&mut source, &mut destination] {
            host.migration_port = Port::unnamed(1e8, origin);
        }
        let moves = [0, 1].map(|domain| Move { domain, technique: Technique::PreCopy, concurrency: 2 });
        let max_downtimes_ms = [0, 1].into_iter().zip(max_downtime_ms.into_iter().cycle()).collect();
        let situation = Situation { max_downtimes_ms, ..Situation::default() };
        situation.predict(&source, &destination, &moves, None).0.total_seconds
    }

    #[test]
    fn a_set_of_which_no_end_was_seen_grows_with_the_root_of_the_time_and_never_faster_than_it_is_written_to() {
        let dirtied = |open_after_seconds, seconds| {
            let mut source = fixture::host("a", &[("g", "g", DomainState::Running)]);
            let domain = &mut source.domains[0];
            (domain.memory_bytes, domain.resident_bytes) = (64 << 20, 64 << 20);
            (domain.outbound_bits_per_second, domain.inbound_bits_per_second) = (0.0, 0.0);
            let writes = Some(Writes { bytes_per_second: 1e6, most_bytes: 5_000_000, open_after_seconds });
            domain.learned = Some(Learned { crossing_bytes: 64 << 20, writes, migrations: 2, of: Teacher::Itself });
            Guest::new(domain).dirtied(seconds) / 8e6
        };
        let open = [1.0, 5.0, 10.0, 40.0].map(|seconds| dirtied(Some(10.0), seconds));
        assert_eq!(open, [1.0, 5.0, 5.0, 10.0]);
        assert_eq!(dirtied(Some(2.0), 6.0), 6.0);
        assert_eq!(dirtied(Some(1.0), 1e9), 64.0 * 1.048576, "all of its memory");
        assert_eq!(dirtied(None, 1e9), 5.0);
    }

    #[test]
    fn a_limit_below_that_of_qemu_is_none() {
        let without = seconds_of_two(CapacityOrigin::Detected, None);
        assert!(without.is_some());
        assert_eq!(seconds_of_two(CapacityOrigin::Detected, Some(1)), without);
    }

    #[test]
    fn last_passes_come_first_where_the_engine_knows_a_capacity_to_share() {
        let shared = seconds_of_two(CapacityOrigin::Detected, None).unwrap();
        let equal = seconds_of_two(CapacityOrigin::Assumed, None);
        assert!(equal.is_none_or(|equal| equal > shared + 0.5), "{equal:?} s and {shared} s");
    }

    #[test]
    fn what_may_stop_for_longer_need_not_go_by_post_copy() {
        let [source, destination] = hosts();
        let technique = |max_downtime_ms| {
            let rule = Rule { max_downtime_ms, ..Rule::default() };
            plan(&source, &destination, &[rule], &Demands::default()).migrations[0].technique()
        };
        assert_eq!(technique(None), Technique::PostCopy);
        let [source, destination] = hosts();
        let scene = Scene::at(&Default::default(), &source, &destination, &[0], None, &Default::default());
        assert!(!can_converge(&scene, 0, 1e7));
        let mut allowed = scene.clone();
        allowed.allow_downtimes([Some(1000)].into_iter());
        assert!(can_converge(&allowed, 0, 1e7));
    }
}
