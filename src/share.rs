//! How migrations that run at the same time share the link. Pure: what is in flight goes in, limits come out.
//!
//! TCP alone shares badly. Of two equal migrations that started together, one was measured to take two thirds of the
//! link; it arrived 9 s before the other, and the traffic that it then received was in the other's way. The plan
//! counts on equal shares, so each gets one as a limit. And a pre-copy that is about to end gets the link nearly to
//! itself: half a link may be too little to send what the guest dirties within the allowed downtime, and then two such
//! migrations send the same pages over and over, each in the other's way.

use crate::plan::Technique;

/// The highest bandwidth that libvirt takes, in MiB/s: its own default.
pub(crate) const UNLIMITED_MIB: u64 = i64::MAX as u64 >> 20;

/// A pre-copy is about to end when what remains would cross in so many seconds if it had the link to itself.
const LAST_SECONDS: f64 = 1.0;

/// A pre-copy that has not ended by this pass will not, and nobody waits for it any more.
const LAST_PASS: u64 = 12;

/// What is left to a pre-copy beside one that is about to end, as a part of its equal share.
const HELD_BACK: f64 = 0.125;

/// A migration in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct InFlight {
    pub(crate) technique: Technique,
    /// Pass over the memory, from 1; 0 before the first.
    pub(crate) pass: u64,
    /// Memory that has not crossed yet, or was dirtied since, in bytes.
    pub(crate) remaining: u64,
}

/// The limit of each migration in MiB/s, libvirt's unit, of which it takes at least one.
///
/// `cap` is the user's, on all of them together, `link` the capacity that is there, both in bits per second; a link
/// that is only assumed is no reason to slow anything down and must be left out.
pub(crate) fn limits(migrations: &[InFlight], cap: Option<f64>, link: Option<f64>) -> Vec<u64> {
    let count = migrations.len() as f64;
    let equal = match (cap.map(mib), link.map(mib)) {
        // Rounded down: a cap is kept. Rounded up: together they still fill the link.
        (Some(cap), link) if link.is_none_or(|link| cap <= link) => (cap / count).floor(),
        (_, Some(link)) if count > 1.0 => (link / count).ceil(),
        _ => return vec![UNLIMITED_MIB; migrations.len()],
    };
    let last_bytes = equal * count * MIB * LAST_SECONDS;
    let is_ending = |m: &InFlight| {
        m.technique == Technique::PreCopy && (1..=LAST_PASS).contains(&m.pass) && m.remaining as f64 <= last_bytes
    };
    let ending = migrations.iter().position(is_ending).filter(|_| count > 1.0);
    let held_back = |index, m: &InFlight| m.technique == Technique::PreCopy && ending.is_some_and(|e| e != index);
    let mut limits: Vec<f64> = migrations
        .iter()
        .enumerate()
        .map(|(index, m)| if held_back(index, m) { (equal * HELD_BACK).floor() } else { equal })
        .collect();
    if let Some(ending) = ending {
        let others: f64 = limits.iter().sum::<f64>() - limits[ending];
        limits[ending] = equal * count - others;
    }
    limits.into_iter().map(|limit| (limit as u64).max(1)).collect()
}

const MIB: f64 = 1_048_576.0;

/// Bits per second in MiB/s.
fn mib(bits_per_second: f64) -> f64 {
    bits_per_second / 8.0 / MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRE: InFlight = InFlight { technique: Technique::PreCopy, pass: 1, remaining: 8 << 30 };
    const POST: InFlight = InFlight { technique: Technique::PostCopy, ..PRE };
    const ENDING: InFlight = InFlight { remaining: 100 << 20, ..PRE };
    const GBIT: Option<f64> = Some(1e9);

    #[test]
    fn alone_a_migration_is_limited_by_the_user_only() {
        assert_eq!(limits(&[PRE], None, GBIT), [UNLIMITED_MIB]);
        assert_eq!(limits(&[PRE], Some(8e8), GBIT), [95]);
        assert_eq!(limits(&[PRE, PRE], None, None), [UNLIMITED_MIB; 2], "of an unknown link there are no shares");
    }

    #[test]
    fn together_they_get_equal_shares_that_fill_the_link_and_keep_the_cap() {
        assert_eq!(limits(&[PRE, POST], None, Some(1e8)), [6, 6]);
        assert_eq!(limits(&[PRE, POST], Some(5e7), Some(1e8)), [2, 2]);
        assert_eq!(limits(&[PRE, POST], Some(5e7), None), [2, 2]);
        assert_eq!(limits(&[PRE, POST], Some(1e6), None), [1, 1], "libvirt knows no less than 1 MiB/s");
    }

    #[test]
    fn a_pre_copy_that_is_about_to_end_gets_what_other_pre_copies_can_spare() {
        assert_eq!(limits(&[PRE, ENDING], None, GBIT), [7, 113]);
        assert_eq!(limits(&[ENDING, ENDING], None, GBIT), [113, 7], "one after the other");
        assert_eq!(limits(&[POST, ENDING], None, GBIT), [60, 60], "a guest in post-copy waits for its memory");
        let waiting = InFlight { pass: 0, ..ENDING };
        assert_eq!(limits(&[PRE, waiting], None, GBIT), [60, 60], "before its first pass nothing is known of it");
        let hopeless = InFlight { pass: 13, ..ENDING };
        assert_eq!(limits(&[PRE, hopeless], None, GBIT), [60, 60], "nobody waits for one that does not converge");
    }
}
