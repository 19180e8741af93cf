//! How migrations that run at the same time share the link. Pure: what is in flight goes in, limits come out.
//!
//! TCP alone shares badly. Of two equal migrations that started together, one was measured to take two thirds of the
//! link; it arrived 9 s before the other, and the traffic that it then received was in the other's way. The plan
//! counts on equal shares, so each gets one as a limit, and what rounding leaves goes to the one that is behind. And a
//! pre-copy in its last passes gets as much of the link as ends it: half a link may be too little to send what the guest
//! dirties within the allowed downtime, and then two such migrations send the same pages over and over, each in the
//! other's way.

use std::cmp::Reverse;

use crate::domain::{DOWNTIME_MS, HELD_BACK, LAST_SECONDS, Technique};
use crate::engine::migration::convergence::GAIN;

/// The highest bandwidth that libvirt takes, in MiB/s: its own default.
const UNLIMITED_MIB: u64 = i64::MAX as u64 >> 20;

/// The next is launched when one in flight needs at most this many seconds at its present rate, or as many as the last one took
/// to be set up. Measured: 0.6 to 1.3 s from a launch to its first byte, and 0.3 s from the last byte of the one before to
/// its end.
const AHEAD_SECONDS: f64 = 1.5;

/// No longer ahead than this, in seconds. Chosen: what is left of a migration is not known for longer.
const MOST_AHEAD_SECONDS: f64 = 5.0;

/// How long before the end of a migration the next may be launched, in seconds; `setup` is what the last one took from its launch
/// to its first byte.
pub(crate) fn ahead_seconds(setup: Option<f64>) -> f64 {
    setup.unwrap_or(0.0).clamp(AHEAD_SECONDS, MOST_AHEAD_SECONDS)
}

/// A pre-copy that has not ended by this pass will not, and nobody waits for it any more.
pub(crate) const LAST_PASS: u64 = 12;

/// A pre-copy that is about to end gets as much of the link as it needs to send the rest within this time, in seconds. That is half
/// of what QEMU may stop a guest for, since QEMU judges by the rate that it has measured so far.
const AT_ONCE_SECONDS: f64 = DOWNTIME_MS as f64 / 1000.0 / 2.0;

/// What it gets is rounded up to a step of the link, of which there are this many. Else every page that crosses would change a limit.
const STEPS: f64 = 8.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct InFlight {
    pub(crate) technique: Technique,
    /// Pass over the memory, from 1; 0 before the first.
    pub(crate) pass: u64,
    /// Memory that has crossed, in bytes.
    pub(crate) transferred: u64,
    /// Memory that has not crossed yet, or was dirtied since, in bytes.
    pub(crate) remaining: u64,
    /// Seconds until that has crossed at the present rate, if known.
    pub(crate) eta_seconds: Option<f64>,
}

impl InFlight {
    /// Whether it leaves the link to the next within this many `seconds`. The next may be launched ahead of that.
    pub(crate) fn is_about_to_end(&self, seconds: f64) -> bool {
        let soon = self.eta_seconds.is_some_and(|eta| eta <= seconds);
        soon && match self.technique {
            Technique::PostCopy => true,
            // What it wrote to meanwhile is still to be pulled.
            Technique::Hybrid => false,
            Technique::PreCopy | Technique::Offline => self.pass <= LAST_PASS,
        }
    }

    /// Whether it is set up, and takes what it may of the link.
    pub(crate) fn flows(&self) -> bool {
        self.transferred > 0 || self.remaining > 0
    }

    /// Whether all has crossed, so that it needs the link no more.
    pub(crate) fn is_through(&self) -> bool {
        self.pass > 0 && self.remaining == 0 && self.eta_seconds.is_some()
    }

    /// Whether it is a pre-copy that has crossed once, and would be through soon with the link to itself.
    fn is_in_last_passes(&self, link_bytes_per_second: f64) -> bool {
        self.technique == Technique::PreCopy
            && (2..=LAST_PASS).contains(&self.pass)
            && self.remaining as f64 <= link_bytes_per_second * LAST_SECONDS
    }
}

/// What one migration may take of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// The most that it may take, in MiB/s, libvirt's unit, of which it takes at least one.
    pub(crate) mib: u64,
    /// Among how many it is shared.
    pub(crate) of: usize,
    /// Whether it gets little, for a while, for the sake of another.
    pub(crate) held_back: bool,
}

impl Share {
    pub(crate) const ALL: Self = Self { mib: UNLIMITED_MIB, of: 1, held_back: false };

    /// The limit in MiB/s, if there is one.
    pub(crate) fn limit(&self) -> Option<u64> {
        Some(self.mib).filter(|mib| *mib < UNLIMITED_MIB)
    }
}

/// The share of each migration.
///
/// `cap` is the user's, on all of them together, `link` the capacity that is there, both in bits per second; a link
/// that is only assumed is no reason to slow anything down and must be left out.
pub(crate) fn shares(migrations: &[InFlight], cap: Option<f64>, link: Option<f64>) -> Vec<Share> {
    let all = migrations.len();
    let (capacity, total, kept) = match (cap.map(mib), link.map(mib)) {
        // Rounded down: a cap is kept. Rounded up: together they still fill the link.
        (Some(cap), link) if link.is_none_or(|link| cap <= link) => (cap, cap.floor(), true),
        (_, Some(link)) if all > 1 => (link, link.ceil(), false),
        _ => return vec![Share { of: all, ..Share::ALL }; all],
    };
    // What is being set up leaves its part of the link to the others meanwhile. A cap is kept at the instant when it begins, too.
    let counts = |m: &InFlight| kept || m.flows();
    let of = migrations.iter().filter(|m| counts(m)).count();
    let equal = |of: usize| capacity / of.max(1) as f64;
    let first = migrations.iter().position(|m| m.is_in_last_passes(capacity * MIB)).filter(|_| of > 1);
    let needed = first.map_or(0.0, |first| {
        let most = capacity - (of - 1) as f64 * equal(of) * HELD_BACK;
        let steps = migrations[first].remaining as f64 / MIB / AT_ONCE_SECONDS / (capacity / STEPS);
        (steps.ceil() * capacity / STEPS).min(most)
    });
    let first = first.filter(|_| needed > equal(of));
    let others = first.map_or(equal(of), |_| (capacity - needed) / (of - 1) as f64);
    let mut shares: Vec<Share> = migrations
        .iter()
        .map(|m| {
            let of = if counts(m) { of } else { all };
            let held_back = m.technique != Technique::PostCopy && counts(m) && first.is_some();
            let mib = if held_back { others } else { equal(of) };
            Share { mib: mib.floor().max(1.0) as u64, of, held_back: held_back && mib < equal(of) * GAIN }
        })
        .collect();
    let taken = |shares: &[Share]| -> u64 {
        shares.iter().zip(migrations).filter(|(_, m)| counts(m)).map(|(share, _)| share.mib).sum()
    };
    if let Some(first) = first {
        (shares[first].mib, shares[first].held_back) = (0, false);
        shares[first].mib = (total as u64).saturating_sub(taken(&shares)).max(1);
    } else {
        let behind = (0..all).filter(|&index| counts(&migrations[index]));
        if let Some(index) = behind.max_by_key(|&index| (migrations[index].remaining, Reverse(index))) {
            shares[index].mib += (total as u64).saturating_sub(taken(&shares));
        }
    }
    shares
}

const MIB: f64 = 1_048_576.0;

fn mib(bits_per_second: f64) -> f64 {
    bits_per_second / 8.0 / MIB
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::LEAST_BANDWIDTH;

    fn limits(migrations: &[InFlight], cap: Option<f64>, link: Option<f64>) -> Vec<u64> {
        shares(migrations, cap, link).into_iter().map(|share| share.mib).collect()
    }

    const PRE: InFlight =
        InFlight { technique: Technique::PreCopy, pass: 1, transferred: 0, remaining: 8 << 30, eta_seconds: None };
    const POST: InFlight = InFlight { technique: Technique::PostCopy, ..PRE };
    const ENDING: InFlight = InFlight { pass: 2, remaining: 100 << 20, ..PRE };
    const GBIT: Option<f64> = Some(1e9);

    #[test]
    fn alone_a_migration_is_limited_by_the_user_only() {
        assert_eq!(limits(&[PRE], None, GBIT), [UNLIMITED_MIB]);
        assert_eq!(limits(&[PRE], Some(8e8), GBIT), [95]);
        assert_eq!(limits(&[PRE, PRE], None, None), [UNLIMITED_MIB; 2], "of an unknown link there are no shares");
    }

    #[test]
    fn together_they_get_equal_shares_that_fill_the_link_and_keep_the_cap() {
        assert_eq!(limits(&[PRE, POST, PRE], None, Some(1e8)), [6, 3, 3]);
        assert_eq!(limits(&[PRE, POST], Some(5.1e7), Some(1e8)), [3, 3]);
        assert_eq!(limits(&[PRE, POST], Some(5.1e7), None), [3, 3]);
        // A plan has no more in flight than its cap has MiB/s, so each gets one at least, and together they keep it.
        assert_eq!(limits(&[PRE, POST], Some(2.0 * LEAST_BANDWIDTH), None), [1, 1]);
        assert_eq!(limits(&[PRE, PRE, ENDING], Some(3.0 * LEAST_BANDWIDTH), None), [1, 1, 1]);
        assert_eq!(limits(&[PRE], Some(LEAST_BANDWIDTH), None), [1]);
    }

    #[test]
    fn what_rounding_leaves_goes_to_the_one_that_is_behind() {
        let ahead = InFlight { remaining: 1 << 30, ..PRE };
        assert_eq!(limits(&[ahead, PRE], None, Some(1e8)), [5, 7]);
        assert_eq!(limits(&[PRE, ahead, ahead], Some(1.2e8), None), [6, 4, 4]);
    }

    #[test]
    fn a_pre_copy_in_its_last_passes_gets_what_other_pre_copies_can_spare() {
        assert_eq!(limits(&[PRE, ENDING], None, GBIT), [7, 113]);
        assert_eq!(limits(&[ENDING, ENDING], None, GBIT), [113, 7], "one after the other");
        assert_eq!(limits(&[POST, ENDING], None, GBIT), [59, 61], "a guest in post-copy waits for its memory");
        let first_pass = InFlight { pass: 1, ..ENDING };
        assert_eq!(limits(&[PRE, first_pass], None, GBIT), [61, 59], "what it dirties is still to be sent again");
        let hopeless = InFlight { pass: 13, ..ENDING };
        assert_eq!(limits(&[PRE, hopeless], None, GBIT), [61, 59], "nobody waits for one that does not converge");
    }

    #[test]
    fn the_next_is_launched_ahead_of_an_end_that_will_come() {
        let soon = Some(0.9);
        let ahead = ahead_seconds(None);
        assert!(InFlight { eta_seconds: soon, ..POST }.is_about_to_end(ahead));
        assert!(InFlight { eta_seconds: soon, ..PRE }.is_about_to_end(ahead));
        assert!(!InFlight { eta_seconds: Some(1.6), ..PRE }.is_about_to_end(ahead));
        assert!(!PRE.is_about_to_end(ahead), "nothing is known of it yet");
        assert!(!InFlight { pass: 13, eta_seconds: soon, ..PRE }.is_about_to_end(ahead), "it does not converge");
        let slow = ahead_seconds(Some(4.0));
        assert!(InFlight { eta_seconds: Some(3.5), ..PRE }.is_about_to_end(slow), "the next takes 4 s to be set up");
        assert!(!InFlight { eta_seconds: Some(6.0), ..PRE }.is_about_to_end(ahead_seconds(Some(60.0))));
    }

    #[test]
    fn what_is_being_set_up_leaves_its_part_to_the_others() {
        let starting = InFlight { remaining: 0, ..PRE };
        assert_eq!(limits(&[PRE, starting, starting], None, GBIT), [120, 39, 39]);
        assert_eq!(limits(&[PRE, PRE, starting], None, GBIT), [61, 59, 39]);
        assert_eq!(limits(&[starting, starting], None, GBIT), [59, 59], "whichever begins first");
        assert_eq!(limits(&[PRE, starting], Some(8e8), GBIT), [48, 47], "a cap is kept at each instant");
    }

    #[test]
    fn one_that_ends_takes_no_more_than_it_needs() {
        let small = InFlight { remaining: 4 << 20, ..ENDING };
        assert_eq!(limits(&[PRE, small], None, GBIT), [61, 59], "its equal share ends it");
        let many: Vec<_> = [PRE; 5].into_iter().chain([small]).collect();
        // 4 MiB within 0.15 s are 27 MiB/s: two eighths of the link.
        assert_eq!(limits(&many, None, GBIT), [17, 17, 17, 17, 17, 35]);
        assert!(shares(&many, None, GBIT).iter().all(|share| !share.held_back));
    }
}
