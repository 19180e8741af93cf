//! The contention model: an evacuation as fluid flows, simulated from event to event.
//!
//! All migrations leave through the source's NIC and enter through the destination's, and share what the
//! applications leave of the scarcer of the two ([`Nic::left_for`]), each an equal part. Between two events (a
//! migration starts, ends a pass, switches over, ends) all rates are constant, so the next event is known in
//! closed form. `docs/model.md` says how well that matches measurements.

pub(super) mod bound;
mod port;
pub(super) mod scene;

use super::{StepPrediction, Totals};
use crate::domain::Technique;
use crate::plan::model::port::Nic;
use crate::plan::model::scene::{Guest, INBOUND_KEPT, OUTBOUND_KEPT, Scene};

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
/// Seconds that a guest is down while it changes hosts. Measured: the one-by-one pre-copies lost traffic worth
/// 0.25-0.5 s each, up to half of it for the last pages.
pub(super) const SWITCH: f64 = 0.3;
/// Seconds from the guest's start at the destination, memory complete, to the migration's end. See [`SETUP`].
pub(super) const FINISH: f64 = 0.2;

/// Pre-copy stops the guest for the rest as soon as that takes no longer than this many seconds: QEMU's
/// `downtime-limit`, which libvirt leaves at its default.
const DOWNTIME_LIMIT: f64 = 0.3;

/// A pass that leaves more than this part of what it sent makes no headway. Chosen: at 0.98 a migration would
/// need a hundred passes where a good one needs three, and QEMU's own estimates are not that exact.
const NO_HEADWAY: f64 = 0.98;

/// One migration to simulate; it starts by the rule of [`Step::concurrency`](super::Step::concurrency).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Launch {
    /// Index of the guest in the scene.
    pub(super) guest: usize,
    /// [`Technique::PreCopy`] or [`Technique::PostCopy`].
    pub(super) technique: Technique,
    /// It starts as soon as fewer than this many are in flight.
    pub(super) concurrency: usize,
}

impl Launch {
    /// Changes the technique to the other.
    pub(super) fn flip(&mut self) {
        self.technique = match self.technique {
            Technique::PostCopy => Technique::PreCopy,
            _ => Technique::PostCopy,
        };
    }
}

/// What a simulated evacuation comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prediction {
    /// Migrations that never end, or never start behind those.
    pub(super) unfinished: usize,
    /// Seconds to the last end.
    pub(super) seconds: f64,
    /// Application traffic lost until then, in bits.
    pub(super) lost: f64,
    /// The most migrations that were in flight.
    pub(super) peak: usize,
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

    /// As a plan states it.
    pub(super) fn totals(&self) -> Totals {
        let ended = |value: f64| value.is_finite().then_some(value);
        Totals { total_seconds: ended(self.fast()), lost_bits: ended(self.gentle()) }
    }
}

/// Whether a pre-copy of `guest` ends when it gets `wire` bits per second of the link.
pub(super) fn can_converge(scene: &Scene, guest: usize, wire: f64) -> bool {
    let guest = &scene.guests[guest];
    let rate = (wire * EFFICIENCY).min(scene.bandwidth);
    if rate <= 0.0 {
        return false;
    }
    let mut sent = guest.image;
    loop {
        let next = guest.dirtied(sent / rate);
        if next <= DOWNTIME_LIMIT * rate {
            return true;
        }
        if next >= NO_HEADWAY * sent {
            return false;
        }
        sent = next;
    }
}

/// Simulates `launches` in order; the outcome, and what becomes of each launch.
pub(super) fn predict(scene: &Scene, launches: &[Launch]) -> (Prediction, Vec<StepPrediction>) {
    let mut steps = Vec::with_capacity(launches.len());
    let outcome = run(scene, launches, f64::INFINITY, |launch, step| steps.push((launch, step)));
    steps.sort_by_key(|&(launch, _)| launch);
    (outcome, steps.into_iter().map(|(_, step)| step).collect())
}

/// Simulates `launches` in order, for the outcome alone. What goes on after `deadline` seconds counts as unfinished.
pub(super) fn outcome(scene: &Scene, launches: &[Launch], deadline: f64) -> Prediction {
    run(scene, launches, deadline, |_, _| ())
}

/// Where a migration in flight is. Every leg but the stall has so much `left`: seconds, or bits to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leg {
    /// Nothing flows yet.
    Setup,
    /// Pre-copy: memory is sent while the guest runs at the source.
    Pass,
    /// Pre-copy: passes go on without headway until rates change.
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

#[derive(Debug, Clone)]
struct Simulated {
    launch: usize,
    guest: usize,
    technique: Technique,
    leg: Leg,
    left: f64,
    start: f64,
    /// Seconds that this pass has taken.
    pass: f64,
    sent: f64,
    down: f64,
}

impl Simulated {
    fn flows(&self) -> bool {
        matches!(self.leg, Leg::Pass | Leg::Stalled | Leg::Stop | Leg::Pull)
    }

    fn is_down(&self) -> bool {
        matches!(self.leg, Leg::Stop | Leg::Switch)
    }

    /// Seconds to the end of the leg while each migration gets `rate`.
    fn seconds_left(&self, rate: f64) -> f64 {
        match self.leg {
            Leg::Stalled => f64::INFINITY,
            _ if self.left <= 0.0 => 0.0,
            _ if self.flows() => self.left / rate,
            _ => self.left,
        }
    }

    fn enter(&mut self, leg: Leg, left: f64) {
        self.leg = leg;
        self.left = left;
        self.pass = 0.0;
    }
}

/// The NICs of both hosts while the simulation runs.
struct Nics<'a> {
    scene: &'a Scene,
    source: Nic<'a>,
    destination: Nic<'a>,
    source_inbound: f64,
    destination_outbound: f64,
    /// Bits per second that guests in flight would exchange and do not, being down or slowed.
    suspended: f64,
}

impl Nics<'_> {
    fn stop(&mut self, guest: usize) {
        let Guest { outbound, inbound, .. } = self.scene.guests[guest];
        self.source.remove(self.scene.places[guest].leaving);
        self.source_inbound -= inbound;
        self.suspended += outbound + inbound;
    }

    fn start_pulling(&mut self, guest: usize) {
        let Guest { outbound, inbound, .. } = self.scene.guests[guest];
        self.destination.add(self.scene.places[guest].pulling);
        self.destination_outbound += outbound * OUTBOUND_KEPT;
        self.suspended -= outbound * OUTBOUND_KEPT + inbound * INBOUND_KEPT;
    }

    fn stop_pulling(&mut self, guest: usize) {
        let Guest { outbound, inbound, .. } = self.scene.guests[guest];
        self.destination.remove(self.scene.places[guest].pulling);
        self.destination_outbound -= outbound * OUTBOUND_KEPT;
        self.suspended += outbound * OUTBOUND_KEPT + inbound * INBOUND_KEPT;
    }

    fn arrive(&mut self, guest: usize) {
        let Guest { outbound, inbound, .. } = self.scene.guests[guest];
        self.destination.add(self.scene.places[guest].arriving);
        self.destination_outbound += outbound;
        self.suspended -= outbound + inbound;
    }

    /// Memory that `flows` migrations move together, in bits per second.
    fn goodput(&self, flows: usize) -> f64 {
        let wire = self.source.left_for(flows).min(self.destination.left_for(flows));
        (wire * EFFICIENCY).min(self.scene.bandwidth)
    }

    /// Application traffic lost while migrations move `goodput`, in bits per second.
    fn lost(&self, goodput: f64) -> f64 {
        let wire = goodput / EFFICIENCY;
        self.source.lost(wire)
            + self.destination.lost(wire)
            + (self.source_inbound - self.scene.source_capacity).max(0.0)
            + (self.destination_outbound - self.scene.destination_capacity).max(0.0)
            + self.suspended.max(0.0)
    }
}

fn run(scene: &Scene, launches: &[Launch], deadline: f64, mut report: impl FnMut(usize, StepPrediction)) -> Prediction {
    let mut nics = Nics {
        scene,
        source: scene.source_nic(),
        destination: scene.destination_nic(),
        source_inbound: scene.source_inbound,
        destination_outbound: scene.destination_outbound,
        suspended: 0.0,
    };
    let mut flights: Vec<Simulated> = Vec::new();
    let mut waiting = launches.iter().enumerate().peekable();
    let mut ended = Prediction { unfinished: launches.len(), seconds: 0.0, lost: 0.0, peak: 0 };
    let (mut now, mut lost, mut rate) = (0.0, 0.0, 0.0);
    loop {
        while let Some((launch, next)) = waiting.next_if(|(_, next)| flights.len() < next.concurrency.max(1)) {
            flights.push(Simulated {
                launch,
                guest: next.guest,
                technique: next.technique,
                leg: Leg::Setup,
                left: SETUP,
                start: now,
                pass: 0.0,
                sent: 0.0,
                down: 0.0,
            });
        }
        ended.peak = ended.peak.max(flights.len());
        let flows = flights.iter().filter(|f| f.flows()).count();
        let goodput = if flows > 0 { nics.goodput(flows) } else { 0.0 };
        let share = if flows > 0 { goodput / flows as f64 } else { 0.0 };
        if share != rate {
            rate = share;
            for flight in flights.iter_mut().filter(|f| f.leg == Leg::Stalled) {
                flight.enter(Leg::Pass, flight.left);
            }
        }
        let span = flights.iter().map(|f| f.seconds_left(rate)).fold(f64::INFINITY, f64::min);
        if !span.is_finite() || now + span > deadline {
            break;
        }
        now += span;
        lost += span * nics.lost(goodput);
        for flight in &mut flights {
            // Relative, so that phases that end at the same time do so in one event whatever was rounded.
            let over = flight.seconds_left(rate) <= span * (1.0 + 1e-12);
            flight.pass += span;
            if flight.is_down() {
                flight.down += span;
            }
            if flight.flows() {
                flight.sent += span * rate;
            }
            if over {
                advance(flight, &mut nics, rate);
            } else if flight.leg != Leg::Stalled {
                flight.left -= span * if flight.flows() { rate } else { 1.0 };
            }
        }
        flights.retain(|flight| {
            let over = flight.leg == Leg::Finish && flight.left <= 0.0;
            if over {
                ended = Prediction { unfinished: ended.unfinished - 1, seconds: now, lost, ..ended };
                report(
                    flight.launch,
                    StepPrediction {
                        bytes: Some((flight.sent / 8.0).round() as u64),
                        start_seconds: Some(flight.start),
                        end_seconds: Some(now),
                        downtime_seconds: Some(flight.down),
                    },
                );
            }
            !over
        });
    }
    let never =
        |start_seconds| StepPrediction { bytes: None, start_seconds, end_seconds: None, downtime_seconds: None };
    flights.iter().for_each(|flight| report(flight.launch, never(Some(flight.start))));
    waiting.for_each(|(launch, _)| report(launch, never(None)));
    ended
}

/// The leg of `flight` is over: enters the next.
fn advance(flight: &mut Simulated, nics: &mut Nics, rate: f64) {
    let guest = flight.guest;
    match (flight.leg, flight.technique) {
        (Leg::Setup, Technique::PostCopy) => {
            nics.stop(guest);
            flight.enter(Leg::Switch, SWITCH);
        }
        (Leg::Setup, _) => flight.enter(Leg::Pass, nics.scene.guests[guest].image),
        (Leg::Pass, _) => {
            let next = nics.scene.guests[guest].dirtied(flight.pass);
            if next <= DOWNTIME_LIMIT * rate {
                nics.stop(guest);
                flight.enter(Leg::Stop, next);
            } else if nics.scene.guests[guest].dirtied(next / rate) >= NO_HEADWAY * next {
                flight.enter(Leg::Stalled, next);
            } else {
                flight.enter(Leg::Pass, next);
            }
        }
        (Leg::Stop, _) => flight.enter(Leg::Switch, SWITCH),
        (Leg::Switch, Technique::PostCopy) => {
            nics.start_pulling(guest);
            flight.enter(Leg::Pull, nics.scene.guests[guest].image);
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
        // The end: nothing is left.
        (Leg::Finish | Leg::Stalled, _) => flight.left = 0.0,
    }
}
