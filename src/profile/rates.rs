//! From counters to rates: adds the samples of a host over a window up, and never gives a negative or absurd rate, whatever the
//! counters do. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::zip;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::DomainState;
use crate::libvirt::{DirtyRate, DomainSample, NicCounters, Sample, Seen, Unused};
use crate::obstacle::{Eligibility, Obstacle};
use crate::profile::mobility::Mobility;
use crate::profile::{DIRTY_NOISE, DomainProfile, JUDGED_BITS_PER_SECOND, NicProfile, STEADY_SECONDS, Steady};
use crate::topology::Binding;

/// Counts what passed each NIC between the samples of one host.
#[derive(Debug, Default)]
pub struct SamplingWindow {
    last: Option<Sample>,
    /// By domain UUID and the NIC's name.
    nics: BTreeMap<(String, String), NicTraffic>,
    /// By domain UUID.
    dirty: BTreeMap<String, DirtyRates>,
    /// By domain UUID, when it had last told of its memory as the window began, in seconds since 1970.
    told_at_first: BTreeMap<String, u64>,
    started_at_seconds: Option<f64>,
    /// What was seen of a domain's memory, by its UUID.
    seen: HashMap<String, Seen>,
}

/// The dirty rates that were measured of a domain. A single measurement samples 512 pages for each GiB and so says
/// little of a small guest; their mean says more.
#[derive(Debug, Clone, Default)]
struct DirtyRates {
    last_started: Option<u64>,
    /// In bytes per second.
    measured: Vec<f64>,
}

impl DirtyRates {
    fn add(&mut self, rate: DirtyRate) {
        if self.last_started != Some(rate.started) {
            self.last_started = Some(rate.started);
            self.measured.push(rate.bytes_per_second);
        }
    }

    /// The mean, in bytes per second; `None` if nothing was measured.
    fn mean(&self) -> Option<f64> {
        let sum: f64 = self.measured.iter().sum();
        (!self.measured.is_empty()).then(|| sum / self.measured.len() as f64)
    }
}

/// What a NIC was seen to carry, and for how long it was seen; each direction has its own time, since a
/// direction whose counter was reset is not counted for that interval.
#[derive(Debug, Clone, Default)]
struct NicTraffic {
    inbound: Meter,
    outbound: Meter,
}

/// Bits per second that no NIC reaches: the fastest on the market run at 0.8 Tbit/s.
const FASTEST_NIC: f64 = 2e12;

/// The intervals that were seen, each with its length in seconds and the bytes that passed.
#[derive(Debug, Clone, Default)]
struct Meter(Vec<(f64, u64)>);

impl Meter {
    /// A counter that went back, or faster than any NIC, was reset: what passed in that interval is not known,
    /// so it does not count.
    fn add(&mut self, before: Option<u64>, after: Option<u64>, seconds: f64) {
        let bytes = before.zip(after).and_then(|(before, after)| after.checked_sub(before));
        if let Some(bytes) = bytes.filter(|bytes| *bytes as f64 * 8.0 / seconds < FASTEST_NIC) {
            self.0.push((seconds, bytes));
        }
    }

    fn bits_per_second(&self) -> f64 {
        rate(&self.0)
    }

    /// The least rate over any stretch of [`STEADY_SECONDS`], or over all if that is shorter.
    fn steady_bits_per_second(&self) -> f64 {
        let long_enough = STEADY_SECONDS - SLACK_SECONDS;
        let (mut from, mut seconds, mut least) = (0, 0.0, None::<f64>);
        for (to, interval) in self.0.iter().enumerate() {
            seconds += interval.0;
            while seconds - self.0[from].0 >= long_enough {
                seconds -= self.0[from].0;
                from += 1;
            }
            if seconds >= long_enough {
                let rate = rate(&self.0[from..=to]);
                least = Some(least.map_or(rate, |least| least.min(rate)));
            }
        }
        least.unwrap_or_else(|| self.bits_per_second())
    }
}

/// How often guests tell of their memory where a management tool has set that, in seconds.
const USUAL_PERIOD_SECONDS: f64 = 10.0;

/// What a guest told longer ago than this, in seconds, may not be so any more.
const STALE_SECONDS: u64 = 60;

/// By how much samples may come too early for a stretch to be a whole one: half of the default interval between them.
const SLACK_SECONDS: f64 = 0.5;

fn rate(intervals: &[(f64, u64)]) -> f64 {
    let seconds: f64 = intervals.iter().map(|(seconds, _)| seconds).sum();
    let bytes = intervals.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
    if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { 0.0 }
}

impl SamplingWindow {
    /// Adds the next sample. One that is not later than the last is ignored.
    pub fn add(&mut self, sample: Sample) {
        self.started_at_seconds.get_or_insert(sample.at_seconds);
        for domain in &sample.domains {
            if let Some(unused) = domain.unused {
                self.told_at_first.entry(domain.uuid.clone()).or_insert(unused.told_at);
            }
        }
        if let Some(last) = &self.last {
            let seconds = sample.at_seconds - last.at_seconds;
            if seconds <= 0.0 {
                return;
            }
            for domain in &sample.domains {
                if let Some(rate) = domain.dirty {
                    self.dirty.entry(domain.uuid.clone()).or_default().add(rate);
                }
                let Some(before) = last.domains.iter().find(|d| d.uuid == domain.uuid) else { continue };
                for nic in &domain.nics {
                    let Some(old) = before.nics.iter().find(|n| n.name == nic.name) else { continue };
                    let traffic = self.nics.entry((domain.uuid.clone(), nic.name.clone())).or_default();
                    traffic.add(old, nic, seconds);
                }
            }
        } else {
            // The first sample carries a rate from before the window; libvirt repeats it until it has a newer one.
            let told = sample.domains.iter().filter_map(|domain| Some((domain.uuid.clone(), domain.dirty?)));
            let before = |rate: DirtyRate| DirtyRates { last_started: Some(rate.started), ..DirtyRates::default() };
            self.dirty = told.map(|(uuid, rate)| (uuid, before(rate))).collect();
        }
        self.last = Some(sample);
    }

    pub fn last(&self) -> &[DomainSample] {
        self.last.as_ref().map_or(&[], |sample| &sample.domains)
    }

    /// Takes in what was seen of the domains' memory, by UUID.
    pub(super) fn see(&mut self, seen: Vec<(String, Seen)>) {
        self.seen.extend(seen);
    }

    pub fn seconds(&self) -> f64 {
        match (&self.last, self.started_at_seconds) {
            (Some(last), Some(start)) => last.at_seconds - start,
            _ => 0.0,
        }
    }

    /// The mean of what was measured within the window, in bytes per second.
    fn dirty_rate(&self, uuid: &str) -> Option<f64> {
        self.dirty.get(uuid).and_then(DirtyRates::mean)
    }

    /// Whether to watch longer would tell no more, as far as can be said: no guest does anything that counts, and each that tells
    /// of its memory regularly has done so again.
    pub fn is_still(&self) -> bool {
        let idle = |meter: &Meter| meter.bits_per_second().max(meter.steady_bits_per_second()) < JUDGED_BITS_PER_SECOND;
        let is_awaited = |domain: &DomainSample| {
            domain.unused.is_some_and(|unused| told_lately(&unused) && !self.told_again(domain, &unused))
        };
        self.nics.values().all(|traffic| idle(&traffic.inbound) && idle(&traffic.outbound))
            && self.dirty.values().filter_map(DirtyRates::mean).all(|bytes| 8.0 * bytes < DIRTY_NOISE)
            && !self.last().iter().any(is_awaited)
    }

    /// Whether a guest has told of its memory within the window.
    fn told_again(&self, sample: &DomainSample, unused: &Unused) -> bool {
        self.told_at_first.get(&sample.uuid).is_some_and(|at| *at != unused.told_at)
    }

    /// Whether a domain of the last sample that runs, and is `measured`, has no dirty rate yet.
    pub(super) fn awaits_dirty_rates(&self, measured: &BTreeSet<String>) -> bool {
        let awaited = |domain: &DomainSample| {
            let (uuid, runs) = (&domain.uuid, domain.state == DomainState::Running);
            runs && measured.contains(uuid) && self.dirty_rate(uuid).is_none()
        };
        self.last().iter().any(awaited)
    }

    /// What the NICs of a domain of the last sample were seen to send and to receive.
    pub fn nics(&self, sample: &DomainSample) -> Vec<NicProfile> {
        // Only the NICs that are still there: one that was unplugged carries nothing any more.
        let seen = |nic: &NicCounters| {
            let unseen = NicTraffic::default();
            let traffic = self.nics.get(&(sample.uuid.clone(), nic.name.clone())).unwrap_or(&unseen);
            NicProfile {
                name: nic.name.clone(),
                outbound_bits_per_second: traffic.outbound.bits_per_second(),
                inbound_bits_per_second: traffic.inbound.bits_per_second(),
                steady: Steady {
                    outbound_bits_per_second: traffic.outbound.steady_bits_per_second(),
                    inbound_bits_per_second: traffic.inbound.steady_bits_per_second(),
                },
                plug: None,
                port: Binding::Unknown,
            }
        };
        sample.nics.iter().map(seen).collect()
    }

    /// The domains of the last sample, sorted by name. Those without a mobility have gone since.
    pub(super) fn domains(&self, mobilities: impl IntoIterator<Item = Option<Mobility>>) -> Vec<DomainProfile> {
        let profiled = |(sample, mobility): (_, Option<_>)| Some(self.domain(sample, mobility?));
        let mut domains: Vec<_> = zip(self.last(), mobilities).filter_map(profiled).collect();
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        domains
    }

    /// What a guest says is free, if that is of now: if it has told again within the window, whatever its host's clock says. A
    /// window that is too short for that has to go by this machine's clock.
    fn unused_bytes(&self, sample: &DomainSample) -> Option<u64> {
        let is_new = |unused: &Unused| self.seconds() < USUAL_PERIOD_SECONDS && told_lately(unused);
        let current = sample.unused.filter(|unused| self.told_again(sample, unused) || is_new(unused));
        current.map(|unused| unused.bytes.min(sample.memory_bytes))
    }

    fn domain(&self, sample: &DomainSample, mobility: Mobility) -> DomainProfile {
        let mut nics = self.nics(sample);
        for nic in &mut nics {
            nic.plug = mobility.plugs.get(&nic.name).cloned();
        }
        let resident = sample.resident_bytes.unwrap_or(sample.memory_bytes);
        let post_copy = match sample.state {
            state if state.can_post_copy() => mobility.post_copy,
            state => Eligibility::no(Obstacle::NotRunning { state }),
        };
        let dirty = self.dirty_rate(&sample.uuid);
        let seen = self.seen.get(&sample.uuid);
        DomainProfile {
            name: sample.name.clone(),
            uuid: sample.uuid.clone(),
            state: sample.state,
            persistent: mobility.persistent,
            memory_bytes: sample.memory_bytes,
            // The emulator's own memory is in its resident size too; the guest's can't be more than it has.
            resident_bytes: resident.min(sample.memory_bytes),
            unused_bytes: self.unused_bytes(sample),
            filled_bytes: seen.and_then(|seen| seen.filled_bytes).map(|bytes| bytes.min(sample.memory_bytes)),
            rewritten: seen.and_then(|seen| seen.rewritten),
            dirty_bytes_per_second: dirty.unwrap_or(0.0),
            dirty_rate_unknown: dirty.is_none() && sample.state == DomainState::Running,
            outbound_bits_per_second: nics.iter().fold(0.0, |sum, nic| sum + nic.outbound_bits_per_second),
            inbound_bits_per_second: nics.iter().fold(0.0, |sum, nic| sum + nic.inbound_bits_per_second),
            nics,
            learned: None,
            post_copy,
            migration: mobility.migration,
        }
    }
}

/// Whether a guest has told of its memory a short while ago, by this machine's clock.
fn told_lately(unused: &Unused) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    now.abs_diff(unused.told_at) <= STALE_SECONDS
}

impl NicTraffic {
    fn add(&mut self, before: &NicCounters, after: &NicCounters, seconds: f64) {
        self.inbound.add(before.inbound_bytes, after.inbound_bytes, seconds);
        self.outbound.add(before.outbound_bytes, after.outbound_bytes, seconds);
    }
}

#[cfg(test)]
mod tests {
    use std::iter::repeat;

    use super::*;

    fn nic(name: &str, inbound: u64, outbound: u64) -> NicCounters {
        NicCounters { name: name.to_owned(), inbound_bytes: Some(inbound), outbound_bytes: Some(outbound) }
    }

    fn domain(name: &str, nics: Vec<NicCounters>) -> DomainSample {
        DomainSample {
            name: name.to_owned(),
            uuid: format!("uuid of {name}"),
            state: DomainState::Running,
            memory_bytes: 128 << 20,
            resident_bytes: Some(100 << 20),
            unused: None,
            dirty: None,
            answers: true,
            nics,
        }
    }

    fn profile_of(samples: Vec<(f64, Vec<DomainSample>)>) -> Vec<DomainProfile> {
        let mut window = SamplingWindow::default();
        for (at_seconds, domains) in samples {
            window.add(Sample { at_seconds, domains });
        }
        window.domains(repeat(Some(Mobility { persistent: true, ..Mobility::default() })))
    }

    fn rates(domain: &DomainProfile) -> (f64, f64) {
        (domain.inbound_bits_per_second, domain.outbound_bits_per_second)
    }

    #[test]
    fn mean_rates_over_uneven_samples() {
        let domains = profile_of(vec![
            (0.0, vec![domain("a", vec![nic("t0", 0, 1000)])]),
            (1.0, vec![domain("a", vec![nic("t0", 500, 1000)])]),
            (4.0, vec![domain("a", vec![nic("t0", 2000, 5000)])]),
        ]);
        assert_eq!(rates(&domains[0]), (4000.0, 8000.0));
    }

    #[test]
    fn steady_is_what_traffic_never_fell_below_for_a_while() {
        // 1 Mbit/s inbound, with a pause of so many seconds.
        let steady = |pause: usize| {
            let bytes = |second: usize| if (10..10 + pause).contains(&second) { 0 } else { 125_000 };
            let totals = (0..40).scan(0, |sum, second| Some(std::mem::replace(sum, *sum + bytes(second))));
            let samples = totals.enumerate().map(|(at, sum)| (at as f64, vec![domain("a", vec![nic("t0", sum, 0)])]));
            let profile = profile_of(samples.collect()).remove(0);
            (profile.inbound_bits_per_second > 0.0, profile.nics[0].steady.inbound_bits_per_second)
        };
        assert_eq!(steady(0), (true, 1e6));
        assert_eq!(steady(4), (true, 5e5), "half of some stretch");
        assert_eq!(steady(8), (true, 0.0));
        let short = profile_of(vec![
            (0.0, vec![domain("a", vec![nic("t0", 0, 0)])]),
            (1.0, vec![domain("a", vec![nic("t0", 0, 250)])]),
            (2.0, vec![domain("a", vec![nic("t0", 0, 500)])]),
        ]);
        assert_eq!(short[0].nics[0].steady.outbound_bits_per_second, 2000.0, "a short window is one stretch");
    }

    #[test]
    fn nothing_counts_until_a_guest_carries_or_writes_something_or_still_has_to_tell() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // Ten seconds, the second half of which is changed.
        let still = |change: &dyn Fn(&mut DomainSample)| {
            let mut window = SamplingWindow::default();
            for second in 0..=10 {
                let mut sample = domain("a", vec![nic("t0", 10_000 * second, 10_000 * second)]);
                sample.dirty = Some(DirtyRate { started: second, bytes_per_second: 2e6 });
                sample.unused = Some(Unused { bytes: 1 << 20, told_at: now - 10 + second / 6 });
                if second >= 5 {
                    change(&mut sample);
                }
                window.add(Sample { at_seconds: second as f64, domains: vec![sample] });
            }
            window.is_still()
        };
        assert!(still(&|_| ()));
        assert!(still(&|domain| (domain.unused, domain.dirty) = (None, None)), "libvirt tells nothing");
        assert!(!still(&|domain| domain.nics[0].inbound_bytes = Some(2_000_000)));
        assert!(!still(&|domain| domain.nics[0].outbound_bytes = Some(2_000_000)));
        assert!(!still(&|domain| domain.nics[0].outbound_bytes = Some(1_100_000)), "any eight seconds have that burst");
        assert!(!still(&|domain| domain.dirty = Some(DirtyRate { started: 99, bytes_per_second: 100e6 })));
        let told = |told_at| move |domain: &mut DomainSample| domain.unused = Some(Unused { bytes: 1 << 20, told_at });
        assert!(!still(&told(now - 10)), "it tells every half a minute");
        assert!(SamplingWindow::default().is_still(), "no guest does anything");
        let mut window = SamplingWindow::default();
        for second in 0..=10 {
            let mut sample = domain("a", vec![]);
            told(1000)(&mut sample);
            window.add(Sample { at_seconds: f64::from(second), domains: vec![sample] });
        }
        assert!(window.is_still(), "it told as it booted, and never again");
    }

    #[test]
    fn several_nics_add_up() {
        let domains = profile_of(vec![
            (0.0, vec![domain("a", vec![nic("t0", 0, 0), nic("t1", 0, 0)])]),
            (1.0, vec![domain("a", vec![nic("t0", 10, 20), nic("t1", 30, 40)])]),
        ]);
        assert_eq!(rates(&domains[0]), (320.0, 480.0));
    }

    #[test]
    fn a_reset_counter_costs_its_interval_only() {
        let domains = profile_of(vec![
            (0.0, vec![domain("a", vec![nic("t0", 5_000_000, 5_000_000)])]),
            (1.0, vec![domain("a", vec![nic("t0", 100, 5_001_000)])]),
            (2.0, vec![domain("a", vec![nic("t0", 1100, 5_002_000)])]),
            (3.0, vec![domain("a", vec![nic("t0", 1 << 50, 5_003_000)])]),
        ]);
        assert_eq!(rates(&domains[0]), (8000.0, 8000.0));
    }

    #[test]
    fn an_unknown_counter_is_no_traffic() {
        let unknown = NicCounters { name: "t0".to_owned(), inbound_bytes: None, outbound_bytes: Some(0) };
        let domains =
            profile_of(vec![(0.0, vec![domain("a", vec![unknown.clone()])]), (1.0, vec![domain("a", vec![unknown])])]);
        assert_eq!(rates(&domains[0]), (0.0, 0.0));
    }

    #[test]
    fn nics_and_domains_come_and_go() {
        let domains = profile_of(vec![
            (0.0, vec![domain("stays", vec![nic("t0", 0, 0), nic("t1", 0, 0)]), domain("goes", vec![nic("t2", 0, 0)])]),
            (1.0, vec![domain("stays", vec![nic("t0", 1000, 0)]), domain("comes", vec![nic("t2", 9_999_999, 0)])]),
            (2.0, vec![domain("stays", vec![nic("t0", 2000, 0)]), domain("comes", vec![nic("t2", 9_999_999, 0)])]),
        ]);
        let names: Vec<_> = domains.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["comes", "stays"]);
        assert_eq!(rates(&domains[0]), (0.0, 0.0), "the other domain's old NIC of the same name is not counted");
        assert_eq!(rates(&domains[1]), (8000.0, 0.0));
    }

    #[test]
    fn one_sample_or_a_clock_that_stands_gives_zero() {
        assert_eq!(rates(&profile_of(vec![(0.0, vec![domain("a", vec![nic("t0", 9, 9)])])])[0]), (0.0, 0.0));
        let still = profile_of(vec![
            (3.0, vec![domain("a", vec![nic("t0", 0, 0)])]),
            (3.0, vec![domain("a", vec![nic("t0", 1 << 40, 1 << 40)])]),
        ]);
        assert_eq!(rates(&still[0]), (0.0, 0.0));
    }

    #[test]
    fn a_domain_without_a_nic_is_idle() {
        let domains = profile_of(vec![(0.0, vec![domain("a", vec![])]), (1.0, vec![domain("a", vec![])])]);
        assert_eq!(rates(&domains[0]), (0.0, 0.0));
    }

    #[test]
    fn resident_memory_is_never_more_than_the_guest_has() {
        let mut big = domain("a", vec![]);
        big.resident_bytes = Some(900 << 20);
        assert_eq!(profile_of(vec![(0.0, vec![big])])[0].resident_bytes, 128 << 20);
    }

    #[test]
    fn what_a_guest_said_of_its_memory_long_ago_is_not_known_any_more() {
        let told = |at: f64, told_at, mib: u64| {
            let mut sample = domain("a", vec![]);
            sample.unused = Some(Unused { bytes: mib << 20, told_at });
            (at, vec![sample])
        };
        let unused = |samples| profile_of(samples)[0].unused_bytes.map(|bytes| bytes >> 20);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // Whatever the clock of the host says.
        assert_eq!(unused(vec![told(0.0, 1000, 90), told(15.0, 1010, 60)]), Some(60));
        assert_eq!(unused(vec![told(0.0, 1000, 90), told(15.0, 1010, 600)]), Some(128), "no more than it has");
        assert_eq!(unused(vec![told(0.0, now, 90), told(15.0, now, 90)]), None, "it has told nothing since");
        assert_eq!(unused(vec![told(0.0, now, 90), told(5.0, now, 90)]), Some(90), "it had no time to");
        assert_eq!(unused(vec![told(0.0, 1000, 90), told(5.0, 1000, 90)]), None);
    }

    #[test]
    fn the_dirty_rate_is_the_mean_of_what_was_measured_in_the_window() {
        let measured = |at: f64, started, bytes_per_second| {
            let mut sample = domain("a", vec![]);
            sample.dirty = Some(DirtyRate { started, bytes_per_second });
            (at, vec![sample])
        };
        let samples = vec![measured(0.0, 1, 9e9), measured(1.0, 2, 4e6), measured(1.5, 2, 4e6), measured(2.0, 3, 2e6)];
        let seen = &profile_of(samples)[0];
        assert_eq!((seen.dirty_bytes_per_second, seen.dirty_rate_unknown), (3e6, false));
        let stale = &profile_of(vec![measured(0.0, 1, 9e9), measured(1.0, 1, 9e9)])[0];
        assert_eq!((stale.dirty_bytes_per_second, stale.dirty_rate_unknown), (0.0, true));
        let unknown = |state| {
            let sample = || vec![DomainSample { state, ..domain("a", vec![]) }];
            profile_of(vec![(0.0, sample()), (1.0, sample())])[0].dirty_rate_unknown
        };
        assert!(unknown(DomainState::Running) && !unknown(DomainState::Paused));
    }

    #[test]
    fn a_paused_domain_is_not_post_copied() {
        let mut paused = domain("a", vec![]);
        paused.state = DomainState::Paused;
        let domains = profile_of(vec![(0.0, vec![paused])]);
        assert_eq!(
            domains[0].post_copy.obstacle.as_ref().map(ToString::to_string).as_deref(),
            Some("it is paused, and only a running domain can be post-copied")
        );
    }
}
