//! Plain lines, for logs and pipes: each step of each domain, and its progress every few seconds.

use std::collections::HashMap;
use std::io;

use super::escape::escape;
use super::tables::{count, outcome_line};
use super::write_line;
use crate::domain::Phase;
use crate::engine::events::{Event, Timed};
use crate::engine::migration::Progress;
use crate::report::{DomainOutcome, Job};
use crate::units::{rate, size, span};

/// Seconds between two progress lines of a domain.
const PAUSE_SECONDS: f64 = 5.0;

/// Seconds between two lines that foretell the end.
const FORECAST_PAUSE_SECONDS: f64 = 10.0;

/// Writes events as lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// When a domain's progress was last told.
    told: HashMap<String, f64>,
    /// The highest percentage of a domain: a migration that is tried again begins anew, and does not go back.
    percent: HashMap<String, u8>,
    /// When the end was last foretold.
    foretold: f64,
    /// How many domains are to move.
    domains: usize,
}

impl Lines {
    pub(super) fn draw(&mut self, timed: &Timed) {
        if let Some(text) = self.text(timed) {
            // There is nowhere left to report an error to.
            let _ = write_line(io::stderr(), &format!("[{:>6.1} s] {}", timed.elapsed_seconds, escape(&text)));
        }
    }

    fn text(&mut self, timed: &Timed) -> Option<String> {
        match &timed.event {
            Event::Start { job, source, destinations, domains, .. } => {
                self.domains = domains.len();
                let doing = match job {
                    Job::Evacuate => "evacuating",
                    Job::Recover => "finishing what was begun with",
                };
                Some(format!("{doing} {} from {source} to {}", count(domains.len()), destinations.join(", ")))
            }
            Event::Launch { domain, technique, .. } => Some(format!("{domain}: {technique} starts")),
            Event::Adopt { domain, found, .. } => Some(format!("{domain}: {found}")),
            Event::Phase { domain, phase: Phase::PostCopy } => {
                Some(format!("{domain}: runs at the destination, its memory follows"))
            }
            Event::Phase { .. } => None,
            Event::Progress { domain, progress } => {
                let percent = self.percent.entry(domain.clone()).or_default();
                *percent = progress.percent.max(*percent);
                let progress = Progress { percent: *percent, ..*progress };
                let last = self.told.entry(domain.clone()).or_insert(timed.elapsed_seconds);
                if timed.elapsed_seconds - *last < PAUSE_SECONDS {
                    return None;
                }
                *last = timed.elapsed_seconds;
                Some(format!("{domain}: {}", self::progress(&progress)))
            }
            // Of one alone its progress says it.
            Event::Forecast { remaining_seconds: Some(rest) }
                if self.domains > 1 && timed.elapsed_seconds - self.foretold >= FORECAST_PAUSE_SECONDS =>
            {
                self.foretold = timed.elapsed_seconds;
                Some(format!("about {} to go until the last has moved", span(*rest)))
            }
            Event::Forecast { .. } => None,
            Event::Notice(notice) => Some(notice.to_string()),
            Event::Done(report) => Some(match (report.outcome, report.error()) {
                (DomainOutcome::Migrated, _) => format!("{}: migrated in {}", report.domain, span(report.seconds)),
                (_, error) => format!("{}: {}", report.domain, error.as_deref().unwrap_or_default()),
            }),
            Event::Report(report) => Some(outcome_line(report)),
        }
    }
}

/// How far a migration is, in one line.
pub(super) fn progress(progress: &Progress) -> String {
    let mut text = format!("{} %, ", progress.percent);
    if progress.pass > 1 {
        text += &format!("extra pass {}, ", progress.pass);
    }
    let (sent, left) = (size(progress.transferred), size(progress.remaining));
    text += &format!("{sent} sent, {left} left, {}", rate(progress.bits_per_second));
    if let Some(eta) = progress.eta_seconds {
        text += &format!(", {} to go", span(eta));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(elapsed_seconds: f64, percent: u8) -> Timed {
        let progress = Progress { percent, pass: 1, ..Progress::default() };
        Timed { elapsed_seconds, event: Event::Progress { domain: "o1".to_owned(), progress } }
    }

    #[test]
    fn progress_is_told_every_few_seconds_only() {
        let mut lines = Lines::default();
        let told: Vec<_> = (0..20).filter_map(|second| lines.text(&at(f64::from(second), 10))).collect();
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn a_further_pass_is_named() {
        let later = Progress { percent: 97, pass: 3, ..Progress::default() };
        assert!(progress(&later).contains("97 %, extra pass 3"));
    }
}
