//! What a look at some pages of a domain's memory tells: how much of it is not blank, and how much of it the guest keeps writing to.
//!
//! What is all zeros does not cross. A guest does not say which of the memory that it calls free is, and its host does not know
//! either, so tsmig reads single pages (`virDomainMemoryPeek`, which is QEMU's `pmemsave`) and sees whether they are zeros. It reads
//! them again some seconds later and sees whether they have changed; until then it keeps a checksum of each, and nothing else. QEMU
//! writes each to a file, which libvirt reads and removes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use virt::domain::Domain;
use virt::error::Error;

use super::connection::lock;
use super::ffi;
use super::host::Host;
use super::state::condition;
use super::xml::memory::MemoryMap;
use super::{DomainSample, HostError, HostErrorKind};
use crate::domain::{Condition, Rewritten};

/// Bytes of a page, as migrations send them.
const PAGE: u64 = 4096;

/// Pages of a domain that are looked at, at most. Blank memory lies together, so that pages which are spread evenly say more than as
/// many that are drawn: of 22 guests of 96 to 256 MiB (docs/bench/seeds, 142 to 146) it was off by 1.4 % of their memory in the mean.
const MOST_PAGES: u64 = 512;

/// From fewer pages nothing is concluded.
const FEWEST_PAGES: u64 = 64;

/// Nor if fewer of them are not blank: a large guest of which little is used may write to that little. If fewer have changed at
/// the second look, what they stand for is the most that the guest may have written to.
const FEWEST_FOUND: u64 = 8;

/// Between two looks that are closer together little is written to. Chosen: half of what the shortest usual window leaves.
const APART: Duration = Duration::from_secs(4);

/// Pages of all domains of a host together, as long as each gets its fewest. Each took 1.2 ms over ssh (libvirt without a security
/// driver; one that labels files takes longer), and several domains are looked at side by side.
const PAGES_OF_A_HOST: u64 = 20_000;

/// After this many, a domain whose [`FEWEST_PAGES`] can't be read within [`PATIENCE`] is left alone.
const FIRST_PAGES: usize = 4;

/// How long a sample waits for looks to end. Chosen: many times what one takes.
const LOOK: Duration = Duration::from_millis(100);

/// How long one domain is looked at, at most. Chosen: less than an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who asks the host just now: libvirt leaves out most of what it knows of a domain whose emulator is just busy with somebody
/// else's question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<(Mutex<Turn>, Condvar)>);

#[derive(Debug, Default)]
struct Turn {
    /// Whether the host is being sampled.
    sampled: bool,
    /// How many look at a domain's memory.
    looking: usize,
    /// Whether the window is over, so that nobody waits for another look.
    over: bool,
}

impl Turns {
    /// All domains with their counters, while nobody looks at their memory.
    pub(crate) fn sample(&self, host: &Host) -> Result<Vec<DomainSample>, HostError> {
        let (turn, changed) = &*self.0;
        let mut now = lock(turn);
        now.sampled = true;
        // Not for ever: an emulator may hang while it is asked.
        drop(changed.wait_timeout_while(now, LOOK, |now| now.looking > 0));
        let domains = host.sample();
        lock(turn).sampled = false;
        changed.notify_all();
        domains
    }

    /// Nobody waits for the next look any more.
    pub(crate) fn end(&self) {
        let (turn, changed) = &*self.0;
        lock(turn).over = true;
        changed.notify_all();
    }

    /// Waits until then; whether there is still somebody who wants to know.
    fn wait(&self, until: Instant) -> bool {
        let (turn, changed) = &*self.0;
        let patience = until.saturating_duration_since(Instant::now());
        let waited = changed.wait_timeout_while(lock(turn), patience, |now| !now.over);
        !waited.unwrap_or_else(PoisonError::into_inner).0.over
    }

    /// Waits until no sample is taken, and looks; `None` if that would be after `until`.
    fn look<T>(&self, until: Instant, look: impl FnOnce() -> T) -> Option<T> {
        let (turn, changed) = &*self.0;
        let patience = until.saturating_duration_since(Instant::now());
        let waited = changed.wait_timeout_while(lock(turn), patience, |now| now.sampled);
        let (mut now, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if now.sampled || Instant::now() >= until {
            return None;
        }
        now.looking += 1;
        drop(now);
        let seen = look();
        lock(turn).looking -= 1;
        changed.notify_all();
        Some(seen)
    }
}

/// What was seen of a domain's memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    /// How much of it is not blank, in bytes; `None` if too few pages were seen.
    pub filled_bytes: Option<u64>,
    /// How much of it had changed when it was looked at again; `None` if it was not.
    pub rewritten: Option<Rewritten>,
}

/// A page that was looked at.
#[derive(Debug, Clone, Copy)]
struct Page {
    address: u64,
    checksum: u64,
    is_blank: bool,
    at: Instant,
}

/// A domain's pages at the first look.
#[derive(Debug)]
struct Pages {
    uuid: String,
    /// Of all its memory.
    bytes: u64,
    seen: Vec<Page>,
}

impl Pages {
    /// Bytes of the memory that `found` of `seen` pages stand for.
    fn stands_for(&self, found: u64, seen: u64) -> u64 {
        (self.bytes as f64 * found as f64 / seen as f64) as u64
    }

    fn filled_bytes(&self) -> Option<u64> {
        let (seen, filled) = (self.seen.len() as u64, self.seen.iter().filter(|page| !page.is_blank).count() as u64);
        (filled >= FEWEST_FOUND).then(|| self.stands_for(filled, seen))
    }

    /// What has become of them by a second look, which may have been at fewer.
    fn rewritten(&self, again: &[Page]) -> Option<Rewritten> {
        let seen = again.len() as u64;
        let pairs = || self.seen.iter().zip(again);
        let changed = pairs().filter(|(before, now)| before.checksum != now.checksum).count() as u64;
        let apart: Duration = pairs().map(|(before, now)| now.at.saturating_duration_since(before.at)).sum();
        (seen >= FEWEST_PAGES).then(|| Rewritten {
            bytes: self.stands_for(changed.max(FEWEST_FOUND), seen),
            is_most: changed < FEWEST_FOUND,
            seconds: apart.as_secs_f64() / seen as f64,
        })
    }
}

impl Host {
    /// What is seen of each domain's memory from now until `until`, by UUID, as far as anything is.
    pub(crate) fn look(&self, domains: &[DomainSample], turns: &Turns, until: Instant) -> Vec<(String, Seen)> {
        let begun = Instant::now();
        let running: Vec<_> = domains.iter().filter(|domain| domain.state.is_active()).collect();
        let most = (PAGES_OF_A_HOST / running.len().max(1) as u64).clamp(FEWEST_PAGES, MOST_PAGES);
        let first: Vec<Pages> =
            self.gather(&running, |host, domain| host.pages(&domain.uuid, most, turns.clone(), until));
        let again = second_look(begun, Instant::now(), until).filter(|(at, _)| turns.wait(*at));
        let (wanted, part) = again.map_or((&[][..], 0.0), |(_, part)| (first.as_slice(), part));
        let second: Vec<(String, Rewritten)> = self.gather(wanted, |host, pages| {
            if Instant::now() >= until {
                return Ok(None);
            }
            let most = ((pages.seen.len() as f64 * part) as usize).max(FEWEST_PAGES as usize);
            let addresses: Vec<_> = pages.seen.iter().map(|page| page.address).take(most).collect();
            let turns = turns.clone();
            let look = move |domain: &Domain| peek_at(domain, addresses.iter().copied(), &turns, until);
            let again = host.ask_at_rest(&pages.uuid, look)?.unwrap_or_default();
            Ok(pages.rewritten(&again).map(|rewritten| (pages.uuid.clone(), rewritten)))
        });
        let seen = |pages: Pages| {
            let rewritten = second.iter().find(|(uuid, _)| *uuid == pages.uuid).map(|(_, rewritten)| *rewritten);
            (pages.uuid.clone(), Seen { filled_bytes: pages.filled_bytes(), rewritten })
        };
        first.into_iter().map(seen).collect()
    }

    /// Asks about each item; what can't be told of one is left out. Nobody asks a host on that does not answer; what was told until
    /// then counts.
    fn gather<I: Sync, T: Send>(
        &self,
        items: &[I],
        ask: impl Fn(&Self, &I) -> Result<Option<T>, HostError> + Sync,
    ) -> Vec<T> {
        let found = Mutex::new(Vec::new());
        let ask = |[host]: [&Self; 1], item: &I| match ask(host, item) {
            Err(error) if matches!(error.kind, HostErrorKind::NoAnswer | HostErrorKind::NoConnection) => Err(error),
            told => {
                lock(&found).extend(told.ok().flatten());
                Ok(())
            }
        };
        drop(Self::side_by_side([self], items, ask));
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many pages of a domain. `None` if libvirt does not show them, or too few of them in time.
    fn pages(&self, uuid: &str, most: u64, turns: Turns, until: Instant) -> Result<Option<Pages>, HostError> {
        if Instant::now() >= until {
            return Ok(None);
        }
        let own = uuid.to_owned();
        let look = move |domain: &Domain| {
            let Some(map) = MemoryMap::read(&domain.xml_desc(0)?) else { return Ok(None) };
            let seen = peek_at(domain, addresses(&map, most), &turns, until)?;
            let is_enough = seen.len() as u64 >= FEWEST_PAGES;
            Ok(is_enough.then(|| Pages { uuid: own.clone(), bytes: map.bytes, seen }))
        };
        Ok(self.ask_at_rest(uuid, look)?.flatten())
    }

    /// Asks about a domain of which all memory is here, and that no job holds; `None` of another. What has not arrived yet can't be
    /// read, and libvirt lets those wait that ask about a domain while a job holds it.
    fn ask_at_rest<T: Send + 'static>(
        &self,
        uuid: &str,
        question: impl Fn(&Domain) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Option<T>, HostError> {
        self.ask_live(uuid, move |domain| {
            let (state, reason) = ffi::state(domain)?;
            let is_whole = matches!(condition(state, reason), Condition::Running | Condition::Paused);
            if is_whole && ffi::job_stats(domain)?.is_none() { question(domain).map(Some) } else { Ok(None) }
        })
    }
}

/// When all domains are looked at again, and at which part of their pages, after a first look from `begun` to `now`: as late as it can
/// be with a quarter more time than that took, and at fewer pages if that were too soon.
fn second_look(begun: Instant, now: Instant, until: Instant) -> Option<(Instant, f64)> {
    let time = now.duration_since(begun) * 5 / 4;
    let soonest = now.max(begun + APART);
    let at = until.checked_sub(time).map_or(soonest, |latest| latest.max(soonest));
    let left = until.checked_duration_since(at).filter(|left| !left.is_zero())?;
    Some((at, left.div_duration_f64(time).min(1.0)))
}

/// The pages at these addresses, as far as there is time.
fn peek_at(
    domain: &Domain,
    addresses: impl Iterator<Item = u64>,
    turns: &Turns,
    until: Instant,
) -> Result<Vec<Page>, Error> {
    let begun = Instant::now();
    let until = until.min(begun + PATIENCE);
    let (mut seen, mut page) = (Vec::new(), [0; PAGE as usize]);
    for address in addresses {
        let Some(looked) = turns.look(until, || ffi::peek(domain, address, &mut page)) else { break };
        looked?;
        let mut checksum = DefaultHasher::new();
        page.hash(&mut checksum);
        let is_blank = page.iter().all(|byte| *byte == 0);
        seen.push(Page { address, checksum: checksum.finish(), is_blank, at: Instant::now() });
        if seen.len() == FIRST_PAGES && begun.elapsed() * (FEWEST_PAGES as usize / FIRST_PAGES) as u32 > PATIENCE {
            break;
        }
    }
    Ok(seen)
}

/// Addresses of pages that are spread evenly over the memory, however few of them are looked at: from each to the next it is a
/// golden section of the memory.
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
    fn what_has_changed_at_a_second_look_stands_for_as_much_of_the_memory() {
        let begun = Instant::now();
        let page = |index: u64, checksum: u64, at: u64| Page {
            address: index * PAGE,
            checksum,
            is_blank: checksum == 0,
            at: begun + Duration::from_secs(at),
        };
        let look =
            |pages: u64, changed: u64, at| (0..pages).map(|i| page(i, u64::from(i < changed), at)).collect::<Vec<_>>();
        let first = Pages { uuid: "u".to_owned(), bytes: 512 << 20, seen: look(512, 0, 0) };
        let seen = |pages, changed| first.rewritten(&look(pages, changed, 8));
        assert_eq!(seen(512, 64), Some(Rewritten { bytes: 64 << 20, is_most: false, seconds: 8.0 }));
        assert_eq!(
            seen(512, 3),
            Some(Rewritten { bytes: 8 << 20, is_most: true, seconds: 8.0 }),
            "too few to say more"
        );
        assert_eq!(seen(128, 64).map(|seen| seen.bytes), Some(256 << 20), "there was no time for the others");
        assert_eq!(seen(63, 63), None);
        assert_eq!(first.filled_bytes(), None, "all are blank");
        let filled = Pages { uuid: "u".to_owned(), bytes: 512 << 20, seen: look(256, 64, 0) };
        assert_eq!(filled.filled_bytes(), Some(128 << 20));
    }

    #[test]
    fn a_second_look_is_as_late_as_it_can_be_and_at_fewer_pages_where_time_is_short() {
        let begun = Instant::now();
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        let again = |now: f64, until: f64| {
            let (when, part) = second_look(begun, at(now), at(until))?;
            Some((when.duration_since(begun).as_secs_f64(), (part * 100.0).round()))
        };
        assert_eq!(again(2.0, 10.0), Some((7.5, 100.0)));
        assert_eq!(again(3.0, 7.0), Some((4.0, 80.0)), "4 s after the first");
        assert_eq!(again(6.0, 10.0), Some((6.0, 53.0)), "not before the first has ended");
        assert_eq!(again(1.0, 3.0), None, "too soon");
        assert_eq!(again(10.0, 10.0), None);
    }

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
