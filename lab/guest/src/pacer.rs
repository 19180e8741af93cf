//! Keeps a sender to its rate.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How far behind its schedule a sender may catch up. It covers the jitter of timers. Time lost
/// beyond it is lost: an application that was stalled does not send faster afterwards, and the
/// lab's "lost traffic" rests on that.
const SLACK: Duration = Duration::from_millis(50);

/// How often a sender wakes up.
const STEP: Duration = Duration::from_millis(10);

/// A schedule for chunks of equal size.
#[derive(Debug)]
pub struct Pacer {
    bytes_per_second: f64,
    next: Instant,
    bursts: Option<Bursts>,
}

/// Sends in the first half of each period only.
#[derive(Debug)]
struct Bursts {
    begin: Instant,
    period: Duration,
}

impl Pacer {
    /// A pacer whose first chunk is due now.
    pub fn new(bytes_per_second: f64) -> Self {
        Self { bytes_per_second, next: Instant::now(), bursts: None }
    }

    /// The same mean rate, but at twice the rate for half of each `period`, and at none for the other half; 0 is steady.
    pub fn in_bursts(self, period: Duration) -> Self {
        if period.is_zero() {
            return self;
        }
        let bursts = Some(Bursts { begin: self.next, period });
        Self { bytes_per_second: 2.0 * self.bytes_per_second, bursts, ..self }
    }

    /// Size of chunk, in bytes, that needs one wake-up each 10 ms; a multiple of `unit`, at least one.
    pub fn chunk(&self, unit: usize) -> usize {
        let bytes = self.bytes_per_second * STEP.as_secs_f64();
        ((bytes / unit as f64) as usize).max(1) * unit
    }

    /// Sleeps until the next chunk, of `bytes`, is due.
    pub fn wait(&mut self, bytes: usize) {
        let now = Instant::now();
        if let Some(oldest) = now.checked_sub(SLACK) {
            self.next = self.next.max(oldest);
        }
        thread::sleep(self.next.saturating_duration_since(now));
        self.plan_next(bytes);
    }

    /// When the chunk after one of `bytes` is due.
    fn plan_next(&mut self, bytes: usize) {
        self.next += Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        if let Some(Bursts { begin, period }) = &self.bursts {
            let phase = (self.next - *begin).as_secs_f64() % period.as_secs_f64();
            if phase >= period.as_secs_f64() / 2.0 {
                self.next += Duration::from_secs_f64(period.as_secs_f64() - phase);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_rate() {
        let mut pacer = Pacer::new(1_000_000.0);
        let start = Instant::now();
        let chunk = pacer.chunk(1);
        assert_eq!(chunk, 10_000);
        for _ in 0..20 {
            pacer.wait(chunk);
        }
        let elapsed = start.elapsed();
        assert!(elapsed >= Duration::from_millis(190), "{elapsed:?}");
    }

    #[test]
    fn bursts_have_the_same_mean_rate() {
        let mut pacer = Pacer::new(1_000_000.0).in_bursts(Duration::from_millis(100));
        let begin = pacer.next;
        // Ten chunks of 5 ms fill the first half of a period, and ten more the next.
        let mut due = Vec::new();
        for _ in 0..20 {
            due.push((pacer.next - begin).as_millis());
            pacer.plan_next(10_000);
        }
        assert_eq!((due[1], due[9], due[10], due[19]), (5, 45, 100, 145));
    }

    #[test]
    fn lost_time_stays_lost() {
        let mut pacer = Pacer::new(1_000_000.0);
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        for _ in 0..20 {
            pacer.wait(10_000);
        }
        // 200 ms of data, of which at most the slack was owed.
        assert!(start.elapsed() >= Duration::from_millis(130));
    }
}
