//! How far a migration is, from the statistics that libvirt keeps of its job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::libvirt::JobStats;

/// How far a migration is. Bytes unless named otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// From 0 to 99 while it runs; it never goes back.
    #[schemars(range(max = 99))]
    pub percent: u8,
    /// Pass over the memory, from 1.
    #[schemars(range(min = 1))]
    pub pass: u64,
    /// What has crossed the wire, pages sent again included.
    #[serde(rename = "transferred_bytes")]
    pub transferred: u64,
    /// What has not crossed yet, or was dirtied since.
    #[serde(rename = "remaining_bytes")]
    pub remaining: u64,
    /// Mean rate over the last seconds, in bits per second.
    pub bits_per_second: f64,
    /// How fast the guest dirties its memory, in bytes per second, if known.
    pub dirty_bytes_per_second: Option<f64>,
    /// Seconds until what remains has crossed at the present rate; `None` if that is not known.
    pub eta_seconds: Option<f64>,
}

/// Weight of the newest reading in the mean rate; at two readings a second the mean spans about three seconds.
const RATE_WEIGHT: f64 = 0.3;

/// Makes a [`Progress`] from one reading of the statistics after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Gauge {
    progress: Progress,
    read_at: Option<f64>,
}

impl Gauge {
    /// As of the last reading.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Takes in statistics that were read at `now`, in seconds on any clock; whether bytes have crossed since the last.
    pub(super) fn read(&mut self, now: f64, job: &JobStats) -> bool {
        let progress = &mut self.progress;
        let moves = job.transferred > progress.transferred;
        if let Some(before) = self.read_at.filter(|before| now > *before) {
            let bits = job.transferred.saturating_sub(progress.transferred) as f64 * 8.0;
            let rate = bits / (now - before);
            let known = progress.bits_per_second > 0.0;
            let weight = if known { RATE_WEIGHT } else { 1.0 };
            progress.bits_per_second += weight * (rate - progress.bits_per_second);
        }
        self.read_at = Some(now);
        progress.transferred = progress.transferred.max(job.transferred);
        progress.remaining = job.remaining;
        progress.pass = progress.pass.max(job.pass).max(1);
        progress.dirty_bytes_per_second = job.dirty_bytes_per_second;
        if job.total > 0 {
            // What remains grows when a pass ends and the dirtied pages are counted: the percentage holds there.
            let done = 1.0 - job.remaining.min(job.total) as f64 / job.total as f64;
            progress.percent = progress.percent.max(((done * 100.0) as u8).min(99));
        }
        progress.eta_seconds = (progress.bits_per_second > 0.0)
            .then(|| progress.remaining as f64 * 8.0 / progress.bits_per_second)
            .filter(|_| job.total > 0);
        moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(transferred: u64, remaining: u64) -> JobStats {
        JobStats { total: 1000, transferred, remaining, pass: 1, ..JobStats::default() }
    }

    #[test]
    fn the_percentage_never_goes_back_and_never_says_done() {
        let mut gauge = Gauge::default();
        let mut last = 0;
        for (second, remaining) in [900, 500, 100, 0, 700, 300, 0].into_iter().enumerate() {
            gauge.read(second as f64, &job(second as u64, remaining));
            assert!(gauge.progress().percent >= last);
            last = gauge.progress().percent;
        }
        assert_eq!(last, 99);
    }

    #[test]
    fn the_rate_is_what_crossed_and_the_eta_what_remains_of_it() {
        let mut gauge = Gauge::default();
        gauge.read(1.0, &job(0, 1000));
        assert_eq!(gauge.progress().eta_seconds, None, "one reading is no rate");
        assert!(gauge.read(2.0, &job(100, 900)));
        assert_eq!(gauge.progress().bits_per_second, 800.0);
        assert_eq!(gauge.progress().eta_seconds, Some(9.0));
        assert!(!gauge.read(3.0, &job(100, 900)), "nothing has crossed");
    }
}
