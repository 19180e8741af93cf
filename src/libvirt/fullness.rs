//! How much of a domain's memory is not blank: a look at some of its pages.
//!
//! What is all zeros does not cross. A guest does not say which of the memory that it calls free is, and its host does not know
//! either, so tsmig reads single pages (`virDomainMemoryPeek`, which is QEMU's `pmemsave`), sees whether they are zeros, and keeps
//! nothing else of them. QEMU writes each to a file, which libvirt reads and removes.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::connection::lock;
use super::ffi;
use super::host::Host;
use super::state::condition;
use super::xml::memory::MemoryMap;
use super::{DomainSample, HostError, HostErrorKind};
use crate::domain::Condition;

/// Bytes of a page, as migrations send them.
const PAGE: u64 = 4096;

/// Pages of a domain that are looked at, at most. Blank memory lies together, so that pages which are spread evenly say more than as
/// many that are drawn: of 22 guests of 96 to 256 MiB (docs/bench/seeds, 142 to 146) it was off by 1.4 % of their memory in the mean.
const MOST_PAGES: u64 = 512;

/// From fewer pages nothing is concluded.
const FEWEST_PAGES: u64 = 64;

/// Nor if fewer of them are not blank: a large guest of which little is used may write to that little.
const FEWEST_FILLED: u64 = 8;

/// Pages of all domains of a host together, as long as each gets its fewest. Each took 1.2 ms over ssh (libvirt without a security
/// driver; one that labels files takes longer), and several domains are looked at side by side.
const PAGES_OF_A_HOST: u64 = 20_000;

/// After so many pages it is judged whether [`FEWEST_PAGES`] can be read within [`PATIENCE`]; if not, the domain is left alone.
const FIRST_PAGES: u64 = 4;

/// How long a sample waits for looks to end. Chosen: many times what one takes.
const LOOK: Duration = Duration::from_millis(100);

/// How long one domain is looked at, at most. Chosen: less than an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the host is being sampled, and how many look at a domain's memory meanwhile: libvirt leaves out most of what it knows of a
/// domain whose emulator is just busy with somebody else's question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<(Mutex<(bool, usize)>, Condvar)>);

impl Turns {
    /// All domains with their counters, while nobody looks at their memory.
    pub(crate) fn sample(&self, host: &Host) -> Result<Vec<DomainSample>, HostError> {
        let (turn, changed) = &*self.0;
        let mut sampled = lock(turn);
        sampled.0 = true;
        // Not for ever: an emulator may hang while it is asked.
        drop(changed.wait_timeout_while(sampled, LOOK, |(_, looking)| *looking > 0));
        let domains = host.sample();
        lock(turn).0 = false;
        changed.notify_all();
        domains
    }

    /// Waits until no sample is taken, and looks; `None` if that would be after `until`.
    fn look<T>(&self, until: Instant, look: impl FnOnce() -> T) -> Option<T> {
        let (turn, changed) = &*self.0;
        let patience = until.saturating_duration_since(Instant::now());
        let (mut sampled, _) = changed
            .wait_timeout_while(lock(turn), patience, |(sampled, _)| *sampled)
            .unwrap_or_else(PoisonError::into_inner);
        if sampled.0 || Instant::now() >= until {
            return None;
        }
        sampled.1 += 1;
        drop(sampled);
        let seen = look();
        lock(turn).1 -= 1;
        changed.notify_all();
        Some(seen)
    }
}

impl Host {
    /// How much of each domain's memory is not blank, in bytes, as far as it was seen before `until`; the others are left out.
    pub(crate) fn fullness(&self, domains: &[DomainSample], turns: &Turns, until: Instant) -> Vec<(String, u64)> {
        let running: Vec<_> = domains.iter().filter(|domain| domain.state.is_active()).collect();
        let pages = (PAGES_OF_A_HOST / running.len().max(1) as u64).clamp(FEWEST_PAGES, MOST_PAGES);
        let found = Mutex::new(Vec::new());
        let look = |[host]: [&Self; 1], domain: &&DomainSample| match host.filled_bytes(
            &domain.uuid,
            pages,
            turns.clone(),
            until,
        ) {
            // Nobody asks a host on that does not answer; what was seen until then counts.
            Err(error) if matches!(error.kind, HostErrorKind::NoAnswer | HostErrorKind::NoConnection) => Err(error),
            seen => {
                lock(&found).extend(seen.ok().flatten().map(|bytes| (domain.uuid.clone(), bytes)));
                Ok(())
            }
        };
        drop(Self::side_by_side([self], &running, look));
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of a domain's memory is not blank, in bytes. `None` if it was not seen, or libvirt does not show it.
    fn filled_bytes(&self, uuid: &str, pages: u64, turns: Turns, until: Instant) -> Result<Option<u64>, HostError> {
        if Instant::now() >= until {
            return Ok(None);
        }
        self.ask_live(uuid, move |domain| {
            let (state, reason) = ffi::state(domain)?;
            // What has not arrived yet can't be read, and libvirt lets those wait that ask about a domain while a job holds it.
            let is_whole = matches!(condition(state, reason), Condition::Running | Condition::Paused);
            if !is_whole || ffi::job_stats(domain)?.is_some() {
                return Ok(None);
            }
            let Some(map) = MemoryMap::read(&domain.xml_desc(0)?) else { return Ok(None) };
            let (mut seen, mut filled, mut page) = (0_u64, 0_u64, [0; PAGE as usize]);
            let begun = Instant::now();
            let until = until.min(begun + PATIENCE);
            for address in addresses(&map, pages) {
                let Some(looked) = turns.look(until, || ffi::peek(domain, address, &mut page)) else { break };
                looked?;
                seen += 1;
                if seen == FIRST_PAGES && begun.elapsed() * (FEWEST_PAGES / FIRST_PAGES) as u32 > PATIENCE {
                    break;
                }
                filled += u64::from(page.iter().any(|byte| *byte != 0));
            }
            let is_enough = seen >= FEWEST_PAGES && filled >= FEWEST_FILLED;
            Ok(is_enough.then(|| (map.bytes as f64 * filled as f64 / seen as f64) as u64))
        })
    }
}

/// Addresses of so many pages, spread evenly over the memory, however few of them are looked at: each is further on than the one
/// before by the golden section of the memory.
fn addresses(map: &MemoryMap, pages: u64) -> impl Iterator<Item = u64> + '_ {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let all: u64 = map.ranges.iter().map(|range| (range.end - range.start) / PAGE).sum();
    let address = move |index: u64| {
        let mut page = ((index as f64 * GOLDEN).fract() * all as f64) as u64;
        map.ranges.iter().find_map(|range| {
            let here = (range.end - range.start) / PAGE;
            let found = (page < here).then(|| range.start + page * PAGE);
            page = page.saturating_sub(here);
            found
        })
    };
    (0..pages).filter_map(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_spread_evenly_over_all_that_is_memory_however_few_they_are() {
        let map = MemoryMap { bytes: 8 << 30, ranges: vec![1 << 20..2 << 30, 4 << 30..8 << 30] };
        for pages in [FEWEST_PAGES, 100, MOST_PAGES] {
            let seen: Vec<u64> = addresses(&map, pages).collect();
            assert_eq!(seen.len() as u64, pages);
            assert!(seen.iter().all(|at| at % PAGE == 0 && map.ranges.iter().any(|range| range.contains(at))));
            // A third of the memory is below the devices.
            let below = seen.iter().filter(|at| **at < 2 << 30).count() as f64 / pages as f64;
            assert!((below - 1.0 / 3.0).abs() < 3.0 / pages as f64, "{below}");
        }
        assert_eq!(addresses(&MemoryMap { bytes: 0, ranges: Vec::new() }, 9).count(), 0);
    }
}
