//! How long hosts are watched, and when that is long enough.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::units;

/// How long to watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Window {
    /// [`LEAST`], and up to [`MOST`] as long as traffic changes.
    #[default]
    Auto,
    Fixed(Duration),
}

/// Less would not do, however steady the traffic is: guests tell of their memory every ten seconds where a management tool has
/// set that, and what their NICs do not fall below is taken over eight ([`super::STEADY_SECONDS`]).
const LEAST: Duration = Duration::from_secs(10);

/// Chosen: what bursts that are further apart do to a plan is left to its range and to what is seen while it runs.
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
        if text == "auto" { Ok(Self::Auto) } else { units::duration(text).map(Self::Fixed) }
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

/// What the threads of one window agree on: it ends for all hosts when it may end for each.
#[derive(Debug)]
pub(super) struct Agreement(Mutex<Vec<bool>>);

impl Agreement {
    pub(super) fn of(hosts: usize) -> Self {
        Self(Mutex::new(vec![false; hosts]))
    }

    /// Whether the window ends, now that it is known of one host whether it may. Once it does, it does for all.
    pub(super) fn ends(&self, host: usize, may_end: bool) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let agreed = |said: &[bool]| said.iter().all(|may_end| *may_end);
        if !agreed(&said) {
            said[host] = may_end;
        }
        agreed(&said)
    }
}

/// How many values it takes to tell how certain their mean is. Chosen.
pub(super) const FEWEST: usize = 5;

/// How far the mean of such values may be off: two standard errors. Infinite of fewer than [`FEWEST`].
pub(super) fn uncertainty(values: &[f64]) -> f64 {
    if values.len() < FEWEST {
        return f64::INFINITY;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    2.0 * (squares / (count - 1.0) / count).sqrt()
}

#[cfg(test)]
mod tests {
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
        assert!(read("12").is_err_and(|error| error.contains("12sec")), "as durations elsewhere");
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
        assert!(!agreement.ends(0, true), "the other has not said so");
        assert!(!agreement.ends(0, false), "it began to change");
        assert!(!agreement.ends(1, true));
        assert!(agreement.ends(0, true));
        assert!(agreement.ends(1, false), "the other has ended already");
        assert!(!Agreement::of(1).ends(0, false) && Agreement::of(1).ends(0, true));
    }

    #[test]
    fn a_mean_is_as_certain_as_its_values_are_alike() {
        assert_eq!(uncertainty(&[7.0; 4]), f64::INFINITY);
        assert_eq!(uncertainty(&[7.0; 5]), 0.0);
        // Their variance is 1, so the standard error is 1 / sqrt(5).
        let spread = uncertainty(&[5.0, 6.0, 6.0, 6.0, 7.0, 7.0, 5.0]);
        let expected = 2.0 * (4.0_f64 / 6.0 / 7.0).sqrt();
        assert!((spread - expected).abs() < 1e-12, "{spread}");
    }
}
