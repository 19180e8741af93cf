//! How long hosts are watched, and when that is long enough.

use std::fmt;
use std::str::FromStr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::libvirt::lock;
use crate::units;

/// How long to watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Window {
    /// [`MOST`], or [`LEAST`] where no guest does anything that counts.
    #[default]
    Auto,
    Fixed(Duration),
}

/// How often guests tell of their memory where a management tool has set that.
const LEAST: Duration = Duration::from_secs(10);

/// Chosen: guests pause and burst for several seconds, and what they did not fall below in this time is what they are judged by
/// when they have arrived.
const MOST: Duration = Duration::from_secs(30);

impl Window {
    pub fn least(self) -> Duration {
        match self {
            Self::Auto => LEAST,
            Self::Fixed(window) => window,
        }
    }

    pub fn most(self) -> Duration {
        match self {
            Self::Auto => MOST,
            Self::Fixed(window) => window,
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Fixed(window) => f.pad(&humantime::format_duration(*window).to_string()),
        }
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(units::duration_or_auto(text)?.map_or(Self::Auto, Self::Fixed))
    }
}

/// How long and how often to sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    pub window: Window,
    pub interval: Duration,
}

impl Timing {
    /// When the sample after the one that was due at `due` is due, if it is `now`: one that would be late is left out. All
    /// times count from the begin of the window, whose end is always due.
    pub(super) fn next(self, due: Duration, now: Duration) -> Duration {
        let most = self.window.most();
        let mut next = due + self.interval;
        while next < now && next < most {
            next += self.interval;
        }
        next.min(most)
    }
}

/// What the threads of one window agree on: it ends for all hosts when it may end for each, or when one fails.
#[derive(Debug)]
pub(super) struct Agreement {
    /// By host, whether it may end.
    said: Mutex<Vec<bool>>,
    changed: Condvar,
}

impl Agreement {
    pub(super) fn of(hosts: usize) -> Self {
        Self { said: Mutex::new(vec![false; hosts]), changed: Condvar::new() }
    }

    /// Whether the window ends for one of the hosts: its time is over there, or each may end, of which this one says now whether it
    /// may. Once all do, none goes on.
    pub(super) fn ends(&self, host: usize, is_over: bool, may_end: bool) -> bool {
        let mut said = lock(&self.said);
        if !agreed(&said) {
            said[host] = is_over || may_end;
        }
        self.changed.notify_all();
        is_over || agreed(&said)
    }

    /// Ends the window for all.
    pub(super) fn end(&self) {
        lock(&self.said).fill(true);
        self.changed.notify_all();
    }

    /// Waits for `pause`, or until the window ends; returns whether it has ended.
    pub(super) fn wait(&self, pause: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(lock(&self.said), pause, |said| !agreed(said));
        agreed(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

fn agreed(said: &[bool]) -> bool {
    said.iter().all(|may_end| *may_end)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_window_is_auto_or_a_duration() {
        let read = |text: &str| text.parse::<Window>();
        assert_eq!(read("auto"), Ok(Window::Auto));
        assert_eq!(read("12s"), Ok(Window::Fixed(Duration::from_secs(12))));
        assert_eq!(
            read("12s").map(|window| (window.least(), window.most())),
            Ok((Duration::from_secs(12), Duration::from_secs(12)))
        );
        assert!(
            read("12").is_err_and(|error| error.contains("12sec") && error.ends_with(", or auto")),
            "as durations elsewhere"
        );
        assert_eq!(format!("{:>6}|{:>6}", Window::Auto, Window::Fixed(Duration::from_millis(500))), "  auto| 500ms");
    }

    #[test]
    fn a_sample_that_would_be_late_does_not_lengthen_the_window() {
        let seconds = Duration::from_secs_f64;
        let timing = Timing { window: Window::Fixed(seconds(5.0)), interval: seconds(2.0) };
        assert_eq!(timing.next(seconds(0.0), seconds(0.5)), seconds(2.0));
        assert_eq!(timing.next(seconds(0.0), seconds(2.5)), seconds(4.0));
        assert_eq!(timing.next(seconds(2.0), seconds(9.0)), seconds(5.0));
        assert_eq!(timing.next(seconds(4.0), seconds(4.1)), seconds(5.0));
    }

    #[test]
    fn a_window_ends_for_all_hosts_at_once() {
        let agreement = Agreement::of(2);
        assert!(!agreement.ends(0, false, true), "the other has not said so");
        assert!(!agreement.ends(0, false, false), "something happens there now");
        assert!(!agreement.ends(1, false, true));
        assert!(!agreement.wait(Duration::ZERO));
        assert!(agreement.ends(0, false, true));
        assert!(agreement.ends(1, false, false), "the other has ended already");
        assert!(agreement.wait(Duration::from_secs(60)), "nobody waits any more");
        let late = Agreement::of(2);
        assert!(late.ends(0, true, false), "the other began later");
        assert!(!late.ends(1, false, false) && late.ends(1, true, false));
        let failed = Agreement::of(2);
        thread::scope(|scope| {
            let waits = scope.spawn(|| failed.wait(Duration::from_secs(60)));
            failed.end();
            assert!(waits.join().unwrap(), "the other host has failed");
        });
    }
}
