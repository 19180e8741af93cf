//! How long the hosts of a run take to set up migrations, from its events. Pure.

use std::collections::HashMap;

use crate::domain::Phase;
use crate::engine::events::{Event, Timed};
use crate::engine::migration::Progress;

/// Listens to a run.
#[derive(Debug, Default)]
pub(crate) struct Setups {
    /// When those that are being set up were launched, by name.
    waiting: HashMap<String, f64>,
    /// When the others were launched, and when their first bytes crossed. In seconds since the run began, as all times here.
    begun: Vec<(f64, f64)>,
}

impl Setups {
    pub(crate) fn hear(&mut self, timed: &Timed) {
        let now = timed.elapsed_seconds;
        match &timed.event {
            Event::Launch { domain, .. } => drop(self.waiting.insert(domain.clone(), now)),
            // What runs before a domain has ended.
            Event::Phase { domain, phase: Phase::Starting } => {
                self.waiting.get_mut(domain).into_iter().for_each(|launched_at| *launched_at = now);
            }
            Event::Progress { domain, progress } if progress.transferred > 0 => {
                let launched_at = self.waiting.remove(domain);
                self.begun.extend(launched_at.map(|at| (at, first_byte_at(now, progress).max(at))));
            }
            Event::Done(report) => drop(self.waiting.remove(&report.domain)),
            _ => {}
        }
    }

    /// How many were seen.
    pub(crate) fn count(&self) -> usize {
        self.begun.len()
    }

    /// Seconds from a launch to the first byte where nothing else is being set up (else of those that began first), the one in the
    /// middle; and how many seconds apart first bytes come that others held up, in the mean. `None` if there were none.
    pub(crate) fn seconds(&self) -> Option<(f64, Option<f64>)> {
        self.seconds_after(&[])
    }

    /// The same, with earlier observations of how many seconds first bytes come apart.
    pub(crate) fn seconds_after(&self, before: &[f64]) -> Option<(f64, Option<f64>)> {
        let mut begun = self.begun.clone();
        begun.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        let earlier = std::iter::once(f64::NEG_INFINITY).chain(begun.iter().map(|(_, first_byte)| *first_byte));
        // Each with when the one before began to cross.
        let each: Vec<_> = begun.iter().zip(earlier).map(|(&(launch, first), other)| (launch, first, other)).collect();
        let meets = |launch: f64, first: f64| begun.iter().filter(|(l, f)| *l < first && launch < *f).count() > 1;
        let alone = each.iter().filter(|(launch, first, _)| !meets(*launch, *first));
        let first_of_all = each.iter().filter(|(launch, _, other)| other <= launch);
        let took = |(launch, first, _): &(f64, f64, f64)| first - launch;
        let setup = middle(alone.map(took).collect()).or_else(|| middle(first_of_all.map(took).collect()))?;
        let together = each.iter().filter(|(launch, _, other)| other > launch);
        let apart = together.map(|(launch, first, other)| if first - launch > setup { first - other } else { 0.0 });
        let apart: Vec<f64> = apart.chain(before.iter().copied()).collect();
        let mean = apart.iter().sum::<f64>() / apart.len() as f64;
        Some((setup, Some(mean).filter(|_| !apart.is_empty())))
    }
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// When the first byte of a migration crossed that was seen first at `now`: what has crossed already took time, too.
pub(crate) fn first_byte_at(now: f64, progress: &Progress) -> f64 {
    match progress.bits_per_second > 0.0 {
        true => now - progress.transferred as f64 * 8.0 / progress.bits_per_second,
        false => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Technique;

    /// By when each was launched, and its first byte crossed.
    fn seconds(begun: &[(f64, f64)]) -> Option<(f64, Option<f64>)> {
        let mut setups = Setups::default();
        let mut hear = |elapsed_seconds, event| setups.hear(&Timed { elapsed_seconds, event });
        for (number, (launch, first)) in begun.iter().enumerate() {
            let (domain, destination) = (number.to_string(), "b".to_owned());
            hear(*launch, Event::Launch { domain, destination, technique: Technique::PreCopy });
            // A second after its first byte it is seen.
            let progress = Progress { transferred: 1000, bits_per_second: 8000.0, ..Progress::default() };
            hear(*first, Event::Progress { domain: number.to_string(), progress: Progress::default() });
            hear(first + 1.0, Event::Progress { domain: number.to_string(), progress });
        }
        assert_eq!(setups.count(), begun.len());
        setups.seconds()
    }

    #[test]
    fn setups_that_wait_for_each_other_come_apart() {
        let close = |begun: &[(f64, f64)], expected: (f64, Option<f64>)| {
            let (setup, apart) = seconds(begun).unwrap();
            let same = apart.zip(expected.1).map_or(apart == expected.1, |(one, other)| (one - other).abs() < 1e-9);
            assert!((setup - expected.0).abs() < 1e-9 && same, "{setup} {apart:?}");
        };
        assert_eq!(seconds(&[]), None);
        // One after the other tells nothing of several at once.
        close(&[(0.0, 0.6), (5.0, 5.7), (9.0, 9.8)], (0.7, None));
        close(&[(0.0, 0.6), (0.0, 0.6), (0.1, 0.65)], (0.6, Some(0.0)));
        // Four at once, one after the other, and one more when they are through.
        close(&[(0.0, 4.0), (0.0, 2.0), (0.0, 3.0), (0.0, 1.0), (8.0, 9.0)], (1.0, Some(1.0)));
        close(&[(0.0, 4.0), (0.0, 2.0), (0.0, 3.0), (8.0, 8.5)], (0.5, Some(1.0)));
        let mut setups = Setups { begun: vec![(0.0, 1.0), (0.0, 1.2)], ..Setups::default() };
        let (_, apart) = setups.seconds_after(&[1.0; 3]).unwrap();
        assert!(apart.is_some_and(|apart| (apart - 0.8).abs() < 1e-9), "{apart:?}");
        setups.begun.clear();
        assert_eq!(setups.seconds_after(&[1.0; 3]), None, "of this run nothing is known");
    }
}
