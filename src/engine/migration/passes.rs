//! The passes of a pre-copy over the memory.
//!
//! QEMU counts how often it has asked which pages the guest has written. Up to QEMU 10 it asks at the end of each pass.
//! QEMU 11.1 asks about 23 times a second if post-copy is enabled (measured), so its count says nothing of passes, and
//! "three passes without gain" would be an eighth of a second.

use crate::libvirt::JobStats;

/// The part of what a pass has begun with after which it has ended. The rest may never be sent: the guest's balloon
/// tells QEMU of pages that it no longer needs.
const WHOLE: f64 = 0.9;

/// Counts passes, from one reading of the statistics to the next.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passes {
    /// QEMU's count as of the last reading.
    counted: u64,
    /// How much of that were no passes.
    looks: u64,
    /// What will have been gone through when the present pass ends, in bytes.
    ends_at: f64,
}

impl Passes {
    /// The same statistics, with the number of the pass.
    pub(super) fn count(&mut self, job: &JobStats) -> JobStats {
        if job.pass < self.counted {
            // Another migration: the first one has failed.
            *self = Self::default();
        }
        let rise = job.pass - self.counted;
        if rise > 0 {
            let first = self.counted == 0;
            if first {
                self.ends_at = WHOLE * job.total as f64;
            }
            let ended = job.gone_through.is_none_or(|bytes| bytes as f64 >= self.ends_at);
            let passes = match (ended, self.looks) {
                (true, 0) => rise,
                (true, _) => 1,
                (false, _) => u64::from(first),
            };
            self.looks += rise - passes;
            self.counted = job.pass;
            if ended {
                self.ends_at = job.gone_through.unwrap_or(0) as f64 + WHOLE * job.remaining as f64;
            }
        }
        JobStats { pass: job.pass - self.looks, ..*job }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(readings: &[(u64, u64, u64)]) -> Vec<u64> {
        let mut passes = Passes::default();
        let job = |&(pass, gone_through, remaining)| JobStats {
            pass,
            remaining,
            gone_through: Some(gone_through),
            total: 128,
            ..JobStats::default()
        };
        readings.iter().map(|reading| passes.count(&job(reading)).pass).collect()
    }

    #[test]
    fn a_count_that_rises_within_a_pass_counts_no_passes() {
        // As QEMU 11.1 counted, with post-copy enabled; MiB.
        let first = [(5, 2, 126), (22, 11, 117), (46, 22, 106), (112, 67, 61), (184, 96, 32)];
        assert_eq!(count(&first), [1; 5]);
        let later = [(221, 127, 4), (230, 129, 3), (240, 131, 4), (251, 136, 1)];
        assert_eq!(count(&[&first[..], &later].concat())[5..], [2, 2, 3, 4]);
        // One that is watched from its middle on.
        assert_eq!(count(&[(112, 67, 61), (184, 96, 32), (221, 127, 4)]), [1, 1, 2]);
    }

    #[test]
    fn a_count_that_rises_at_the_end_of_each_pass_is_that_of_the_passes() {
        assert_eq!(count(&[(1, 0, 128), (1, 100, 28), (2, 130, 10), (3, 140, 8), (9, 180, 5)]), [1, 1, 2, 3, 9]);
        assert_eq!(count(&[(3, 140, 8), (4, 150, 8)]), [3, 4]);
        // Pages that the guest has given back are never sent.
        assert_eq!(count(&[(1, 0, 128), (2, 120, 10)]), [1, 2]);
    }

    #[test]
    fn a_count_stands_for_itself_if_nothing_tells_how_much_was_gone_through() {
        let mut passes = Passes::default();
        let pass = |pass| JobStats { pass, remaining: 100, ..JobStats::default() };
        assert_eq!([1, 2, 4].map(|number| passes.count(&pass(number)).pass), [1, 2, 4]);
    }

    #[test]
    fn a_second_try_counts_anew() {
        assert_eq!(count(&[(1, 0, 128), (30, 40, 90), (1, 0, 128), (2, 128, 10)]), [1, 1, 1, 2]);
    }
}
