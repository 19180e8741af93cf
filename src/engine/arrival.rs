//! Whether a guest that has arrived lives on: what its NICs carry at the destination, beside what they did not fall below
//! before.
//!
//! Pure: what both hosts count goes in, a verdict comes out. An alarm ends the launching, so whatever is in doubt raises none:
//! traffic that was not steady during the profile's window, or not any more when the guest left; a guest that its user has
//! paused, shut off or given another NIC; a destination that does not answer. A guest that exchanges data is known to live
//! within a second. Only one that is silent is watched to the end.

use std::collections::{HashMap, VecDeque};

use crate::domain::DomainState;
use crate::failure::Distress;
use crate::libvirt::{NicCounters, Vitals};
use crate::profile::{JUDGED_BITS_PER_SECOND, STEADY_SECONDS, Steady};
use crate::topology::Side;

/// How long a guest is watched, in seconds. While nobody answers, TCP doubles the time before it sends again: it does so after
/// at most twice the time for which the guest stood still at its switch. That was 0.83 s at the most in `docs/bench`; for 2 s
/// it would be 4 s, and as long again is given for the data to get going.
pub(super) const WATCH_SECONDS: f64 = STEADY_SECONDS;

/// What a guest does first says nothing of the network, in seconds: it sends what TCP had under way, and TCP sends the first
/// segment again after 0.2, 0.6 and 1.4 s.
const SETTLE_SECONDS: f64 = 2.0;

/// The part of its least rate below which a NIC is silent: as little as what a dead one still carries allows. A live guest
/// may get far less than before, since migrations fill its link, or since the other end of its traffic is on the move as well.
const SILENT: f64 = 0.02;

/// What is received beyond this rate is no mere broadcast, in bits per second: 100 ARP requests a second are 50 kbit/s.
const NOISE_BITS_PER_SECOND: f64 = 1e5;

/// The part of its least rate that a guest which gets no answer can't send by TCP, after the first seconds. By UDP it can, so
/// then nothing is said of it.
const ANSWERED: f64 = 0.5;

/// The least time over which a rate is taken, in seconds.
const LEAST_SECONDS: f64 = 0.4;

/// The guests of a run, by UUID.
#[derive(Debug, Default)]
pub(super) struct Watch(HashMap<String, Guest>);

/// When, and what the NICs had carried by then.
type Reading = (f64, Vec<NicCounters>);

#[derive(Debug, Default)]
struct Guest {
    /// What its profile says of each NIC.
    steady: Vec<Steady>,
    /// At the source while it ran there: the last [`STEADY_SECONDS`].
    before: VecDeque<Reading>,
    /// When it was first seen to run at the destination.
    runs_since: Option<f64>,
    /// At the destination while it ran there.
    last: Option<Reading>,
    /// Which of its NICs were seen to exchange data at the destination.
    live: Vec<bool>,
    arrival: Option<Arrival>,
}

#[derive(Debug)]
struct Arrival {
    at: f64,
    /// The destination's last answer about it since then.
    seen: Option<Seen>,
    /// What its NICs had carried when it had settled.
    settled: Option<Reading>,
}

#[derive(Debug, Clone)]
enum Seen {
    Running,
    Stopped(Distress),
    /// Its user has stopped it, or taken it away.
    Otherwise,
}

impl Watch {
    /// For guests with what the profile says of their NICs.
    pub(super) fn new(guests: impl IntoIterator<Item = (String, Vec<Steady>)>) -> Self {
        let guest = |(uuid, steady)| (uuid, Guest { steady, ..Guest::default() });
        Self(guests.into_iter().map(guest).collect())
    }

    /// Takes in what a host has counted `now`, in seconds on any clock.
    pub(super) fn see(&mut self, side: Side, now: f64, domains: &[Vitals]) {
        for (uuid, guest) in &mut self.0 {
            let vitals = domains.iter().find(|vitals| vitals.uuid == *uuid);
            match side {
                Side::Source => guest.at_source(now, vitals),
                Side::Destination => guest.at_destination(now, vitals),
            }
        }
    }

    /// A guest has arrived.
    pub(super) fn arrived(&mut self, uuid: &str, now: f64) {
        let guest = self.0.entry(uuid.to_owned()).or_default();
        guest.arrival = Some(Arrival { at: now, seen: None, settled: None });
    }

    /// The guests of which it is clear by now what is wrong with them, or that nothing is to be said. They are watched no
    /// longer.
    pub(super) fn verdicts(&mut self, now: f64) -> Vec<(String, Option<Distress>)> {
        let verdict = |(uuid, guest): (&String, &Guest)| Some((uuid.clone(), guest.verdict(now)?));
        let verdicts: Vec<_> = self.0.iter().filter_map(verdict).collect();
        verdicts.iter().for_each(|(uuid, _)| drop(self.0.remove(uuid)));
        verdicts
    }
}

impl Guest {
    fn at_source(&mut self, now: f64, vitals: Option<&Vitals>) {
        let Some(vitals) = vitals.filter(|vitals| vitals.state == DomainState::Running) else { return };
        self.before.push_back((now, vitals.nics.clone()));
        while self.before.get(1).is_some_and(|(at, _)| now - at >= STEADY_SECONDS) {
            self.before.pop_front();
        }
    }

    fn at_destination(&mut self, now: f64, vitals: Option<&Vitals>) {
        if let Some(arrival) = &mut self.arrival {
            arrival.seen = Some(match vitals {
                Some(Vitals { state, fault: Some(fault), .. }) => {
                    Seen::Stopped(Distress::Stopped { state: *state, fault: *fault })
                }
                Some(Vitals { state: DomainState::Running, .. }) => Seen::Running,
                _ => Seen::Otherwise,
            });
        }
        // Before it runs there, its NICs may carry the broadcast of the network.
        let Some(vitals) = vitals.filter(|vitals| vitals.state == DomainState::Running) else {
            self.last = None;
            return;
        };
        let since = *self.runs_since.get_or_insert(now);
        let nics = &vitals.nics;
        match &self.last {
            Some((at, _)) if now - at < LEAST_SECONDS => return,
            Some(last) => {
                self.live.resize(nics.len(), false);
                for (index, live) in self.live.iter_mut().enumerate() {
                    let Some(expected) = expected(&self.steady, &self.before, index) else { continue };
                    let settled = last.0 - since >= SETTLE_SECONDS;
                    *live |=
                        rates(last, &(now, nics.clone()), index).is_some_and(|seen| lives(expected, seen, settled));
                }
            }
            None => {}
        }
        self.last = Some((now, nics.clone()));
        if let Some(arrival) = self.arrival.as_mut().filter(|arrival| now - arrival.at >= SETTLE_SECONDS) {
            arrival.settled.get_or_insert_with(|| (now, nics.clone()));
        }
    }

    /// What is wrong with it, if that is clear; `None` if it is not clear yet.
    fn verdict(&self, now: f64) -> Option<Option<Distress>> {
        let arrival = self.arrival.as_ref()?;
        let is_over = now - arrival.at >= WATCH_SECONDS;
        match &arrival.seen {
            Some(Seen::Stopped(distress)) => return Some(Some(distress.clone())),
            Some(Seen::Otherwise) => return Some(None),
            Some(Seen::Running) => {}
            None => return is_over.then_some(None),
        }
        let is_open = |index: &usize| {
            let judged = expected(&self.steady, &self.before, *index).is_some_and(|steady| is_judged(&steady));
            judged && !self.live.get(*index).copied().unwrap_or(false)
        };
        let nics = self.last.as_ref().map_or(0, |(_, nics)| nics.len());
        // A NIC more or less than in the profile: which is which is not known.
        let open: Vec<_> = if nics == self.steady.len() { (0..nics).filter(is_open).collect() } else { Vec::new() };
        if open.is_empty() || is_over {
            return Some(open.into_iter().find_map(|index| self.silent(arrival, index)));
        }
        None
    }

    /// Whether nothing gets through a NIC.
    fn silent(&self, arrival: &Arrival, index: usize) -> Option<Distress> {
        let (from, to) = (arrival.settled.as_ref()?, self.last.as_ref()?);
        // For most of the watch, unless the destination did not answer.
        if to.0 - from.0 < (WATCH_SECONDS - SETTLE_SECONDS) / 2.0 {
            return None;
        }
        let (expected, seen) = (expected(&self.steady, &self.before, index)?, rates(from, to, index)?);
        let Steady { outbound_bits_per_second, inbound_bits_per_second } = expected;
        let nic = to.1.get(index)?.name.clone();
        is_silent(expected, seen).then_some(Distress::Silent { nic, outbound_bits_per_second, inbound_bits_per_second })
    }
}

/// What a NIC did not fall below, neither in the profile nor before it left the source: what was steady when the profile was
/// taken may have ended since.
fn expected(steady: &[Steady], before: &VecDeque<Reading>, index: usize) -> Option<Steady> {
    let profiled = *steady.get(index)?;
    let (Some(from), Some(to)) = (before.front(), before.back()) else { return Some(profiled) };
    if from.1.len() != steady.len() || to.1.len() != steady.len() {
        return None;
    }
    // A post-copy may leave before there are two readings.
    if to.0 - from.0 < SETTLE_SECONDS {
        return Some(profiled);
    }
    let lately = rates(from, to, index)?;
    Some(Steady {
        outbound_bits_per_second: profiled.outbound_bits_per_second.min(lately.outbound_bits_per_second),
        inbound_bits_per_second: profiled.inbound_bits_per_second.min(lately.inbound_bits_per_second),
    })
}

/// What passed a NIC between two readings; `None` if its counters can't tell.
fn rates(from: &Reading, to: &Reading, index: usize) -> Option<Steady> {
    let (before, after) = (from.1.get(index)?, to.1.get(index)?);
    let seconds = to.0 - from.0;
    let rate = |before: Option<u64>, after: Option<u64>| {
        Some(after?.checked_sub(before?)? as f64 * 8.0 / seconds).filter(|rate| rate.is_finite())
    };
    Some(Steady {
        outbound_bits_per_second: rate(before.outbound_bytes, after.outbound_bytes)?,
        inbound_bits_per_second: rate(before.inbound_bytes, after.inbound_bytes)?,
    })
}

fn is_judged(expected: &Steady) -> bool {
    expected.outbound_bits_per_second >= JUDGED_BITS_PER_SECOND
        || expected.inbound_bits_per_second >= JUDGED_BITS_PER_SECOND
}

/// Whether a NIC exchanges data, at the first look: what comes in has got through. What goes out counts only where so little
/// came in before that it can't be told from broadcast.
fn lives(expected: Steady, seen: Steady, settled: bool) -> bool {
    let answers = expected.inbound_bits_per_second;
    if answers >= NOISE_BITS_PER_SECOND {
        return seen.inbound_bits_per_second >= (SILENT * answers).max(NOISE_BITS_PER_SECOND);
    }
    settled && seen.outbound_bits_per_second >= ANSWERED * expected.outbound_bits_per_second
}

/// Whether nothing gets through a NIC, by all that it carried once it had settled.
fn is_silent(expected: Steady, seen: Steady) -> bool {
    let is_judged = |rate: f64| rate >= JUDGED_BITS_PER_SECOND;
    let receives = is_judged(expected.inbound_bits_per_second);
    let silent = |expected: f64, seen: f64, part: f64| !is_judged(expected) || seen < part * expected;
    let sent = if receives { ANSWERED } else { SILENT };
    silent(expected.inbound_bits_per_second, seen.inbound_bits_per_second, SILENT)
        && silent(expected.outbound_bits_per_second, seen.outbound_bits_per_second, sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Fault;

    const LEAVES: f64 = 10.0;

    fn mbit(outbound: f64, inbound: f64) -> Steady {
        Steady { outbound_bits_per_second: outbound * 1e6, inbound_bits_per_second: inbound * 1e6 }
    }

    fn vitals(nics: &[(f64, f64)]) -> Vitals {
        let nic = |(index, (outbound, inbound)): (usize, &(f64, f64))| NicCounters {
            name: format!("vnet{index}"),
            outbound_bytes: Some((outbound * 1e6 / 8.0) as u64),
            inbound_bytes: Some((inbound * 1e6 / 8.0) as u64),
        };
        let nics = nics.iter().enumerate().map(nic).collect();
        Vitals { uuid: "g".to_owned(), state: DomainState::Running, fault: None, nics }
    }

    /// A guest whose NICs were steady like this, and until it left 10 s later carried `before`. What they carry at the
    /// destination, in Mbit, depends on the seconds since then; it arrives `after` so many of these. Returns the verdict and how
    /// long after the arrival it was known.
    fn judged(
        steady: &[Steady],
        before: &[Steady],
        after: f64,
        carries: impl Fn(f64) -> Option<Vec<(f64, f64)>>,
    ) -> (Option<Distress>, f64) {
        let mut watch = Watch::new([("g".to_owned(), steady.to_vec())]);
        let mut arrived = false;
        for now in (0..80).map(|half| f64::from(half) / 2.0) {
            if now < LEAVES {
                let carried = |rate: &Steady| {
                    (rate.outbound_bits_per_second * now / 1e6, rate.inbound_bits_per_second * now / 1e6)
                };
                watch.see(Side::Source, now, &[vitals(&before.iter().map(carried).collect::<Vec<_>>())]);
                continue;
            }
            watch.see(Side::Source, now, &[]);
            if now - LEAVES >= after && !std::mem::replace(&mut arrived, true) {
                watch.arrived("g", now);
            }
            if let Some(carried) = carries(now - LEAVES) {
                watch.see(Side::Destination, now, &[vitals(&carried)]);
            }
            if let Some((_, distress)) = watch.verdicts(now).pop() {
                return (distress, now - LEAVES - after);
            }
        }
        panic!("it is watched for ever");
    }

    /// The same for a guest with one NIC that leaves as it was profiled.
    fn one(steady: Steady, carries: impl Fn(f64) -> (f64, f64)) -> (Option<Distress>, f64) {
        judged(&[steady], &[steady], 0.0, |at| Some(vec![carries(at)]))
    }

    /// What a TCP sender whose data nobody acknowledges has sent by then, in Mbit: a window, then each segment again.
    fn unanswered(at: f64) -> f64 {
        const SEGMENT: f64 = 12e-3;
        let again = [0.2, 0.6, 1.4, 3.0, 6.2].into_iter().filter(|sent| at >= *sent).count();
        1.1 + SEGMENT * again as f64
    }

    fn is_silent(distress: Option<Distress>, name: &str) -> bool {
        matches!(distress, Some(Distress::Silent { nic, .. }) if nic == name)
    }

    #[test]
    fn a_guest_to_which_nothing_gets_through_is_told_within_ten_seconds() {
        for (steady, carries) in [
            (mbit(0.3, 20.0), (|_| (0.0, 0.0)) as fn(f64) -> (f64, f64)),
            (mbit(0.0, 1.0), |at| (0.0, 0.01 * at)),
            (mbit(30.0, 0.4), |at| (unanswered(at), 0.0)),
            (mbit(30.0, 3.0), |at| (unanswered(at) * 20.0, 0.001 * at)),
        ] {
            let (distress, seconds) = one(steady, carries);
            assert!(is_silent(distress, "vnet0") && seconds < 10.0, "{steady:?} after {seconds} s");
        }
    }

    #[test]
    fn one_that_exchanges_data_is_known_to_live_at_once() {
        for (steady, part) in [(mbit(0.3, 20.0), 0.3), (mbit(30.0, 0.4), 0.5), (mbit(30.0, 3.0), 0.1)] {
            let alive = |at: f64| {
                (steady.outbound_bits_per_second * part * at / 1e6, steady.inbound_bits_per_second * part * at / 1e6)
            };
            let (distress, seconds) = one(steady, alive);
            assert!(distress.is_none() && seconds <= 0.5, "{steady:?} after {seconds} s");
        }
        let (distress, seconds) = one(mbit(10.0, 0.0), |at| (10.0 * at, 0.0));
        assert!(distress.is_none() && seconds <= 3.0, "it sends on after TCP would have stopped: {seconds} s");
    }

    #[test]
    fn a_doubt_raises_no_alarm() {
        let receiver = mbit(0.3, 20.0);
        let late = one(receiver, |at| (0.0, if at > 6.0 { at - 6.0 } else { 0.0 }));
        assert_eq!(late.0, None, "TCP may take that long");
        assert_eq!(one(mbit(5.0, 5.0), |at| (5.0 * at, 0.0)).0, None, "by UDP it may send on");
        assert_eq!(one(mbit(30.0, 0.0), |at| (at, 0.0)).0, None, "a thirtieth is more than nothing");
        let unanswered = judged(&[receiver], &[receiver], 0.0, |_| None);
        assert_eq!(unanswered.0, None, "the destination does not answer");
        let more = judged(&[receiver], &[receiver], 0.0, |_| Some(vec![(0.0, 0.0), (0.0, 0.0)]));
        assert_eq!(more.0, None, "one of its NICs is new");
    }

    #[test]
    fn what_was_not_steady_or_had_ended_before_it_left_is_not_judged() {
        let dead = |_| Some(vec![(0.0, 0.0)]);
        assert_eq!(judged(&[mbit(0.0, 0.0)], &[mbit(9.0, 9.0)], 0.0, dead), (None, 0.0));
        assert_eq!(judged(&[mbit(9.0, 9.0)], &[mbit(0.0, 0.1)], 0.0, dead), (None, 0.0));
        assert_eq!(judged(&[mbit(0.5, 0.9)], &[mbit(0.5, 0.9)], 0.0, dead), (None, 0.0));
        assert_eq!(judged(&[], &[mbit(9.0, 9.0)], 0.0, dead), (None, 0.0), "it has no profile");
    }

    #[test]
    fn what_a_post_copy_got_before_its_memory_was_there_counts() {
        let receiver = mbit(0.3, 20.0);
        let stalls = |at: f64| Some(vec![(0.0, if at < 2.0 { 4.0 * at } else { 8.0 })]);
        assert_eq!(judged(&[receiver], &[receiver], 15.0, stalls).0, None);
        let (distress, _) = judged(&[receiver], &[receiver], 15.0, |_| Some(vec![(0.0, 0.0)]));
        assert!(is_silent(distress, "vnet0"));
    }

    #[test]
    fn one_dead_nic_of_two_is_named() {
        let steady = [mbit(30.0, 2.0), mbit(0.1, 8.0)];
        let (distress, _) = judged(&steady, &steady, 0.0, |at| Some(vec![(30.0 * at, 2.0 * at), (0.0, 0.0)]));
        assert!(is_silent(distress, "vnet1"));
    }

    #[test]
    fn only_an_error_that_has_stopped_it_is_told_and_not_what_its_user_did() {
        let state = |state, fault| {
            let mut watch = Watch::new([("g".to_owned(), vec![mbit(9.0, 9.0)])]);
            watch.arrived("g", 0.0);
            watch.see(Side::Destination, 0.0, &[Vitals { state, fault, ..vitals(&[(0.0, 0.0)]) }]);
            watch.verdicts(0.0).pop().map(|(_, distress)| distress)
        };
        for (is, fault) in [(DomainState::Paused, Fault::IoError), (DomainState::ShutOff, Fault::Crash)] {
            assert_eq!(state(is, Some(fault)), Some(Some(Distress::Stopped { state: is, fault })));
        }
        for by_its_user in [DomainState::Paused, DomainState::ShuttingDown, DomainState::ShutOff] {
            assert_eq!(state(by_its_user, None), Some(None), "{by_its_user}");
        }
        assert_eq!(state(DomainState::Running, None), None, "it is watched on");
        let mut watch = Watch::new([("g".to_owned(), vec![mbit(9.0, 9.0)])]);
        watch.arrived("g", 0.0);
        watch.see(Side::Destination, 0.0, &[]);
        assert_eq!(watch.verdicts(0.0), [("g".to_owned(), None)], "it has ended");
    }
}
