//! When to look for a better schedule than the planned one, how much it must gain, and the one that was found.

use std::collections::HashMap;

use crate::domain::Transfer;
use crate::engine::{Replanned, Schedule, Scheduled};
use crate::plan::{Leeway, Move, Plan, Totals};

/// Seconds between two looks for a better schedule. Chosen: long enough to see what the last one came to.
const REPLAN_SECONDS: f64 = 4.0;

/// What waits is launched otherwise only if that gains more than this, in seconds, and more than what the prediction may be off.
/// Chosen: equal runs differ by about as much.
const LEAST_GAIN_SECONDS: f64 = 1.0;

/// Keeps what is better than the plan until it is asked for.
pub(super) struct Replanner {
    /// What of the plan may change; `None` if nothing.
    leeway: Option<Leeway>,
    /// By name, the UUIDs of those that the plan moves, and how.
    planned: HashMap<String, (String, Transfer)>,
    looked_at: f64,
    better: Option<Schedule>,
}

impl Replanner {
    pub(super) fn new(plan: &Plan, leeway: Option<Leeway>) -> Self {
        let planned = |step: &crate::plan::Step| (step.domain.clone(), (step.uuid.clone(), step.transfer.clone()));
        Self { leeway, planned: plan.migrations.iter().map(planned).collect(), looked_at: 0.0, better: None }
    }

    /// What may change, if it is time to look for something better. The next time is a while later.
    pub(super) fn leeway_if_due(&mut self, now: f64) -> Option<Leeway> {
        let leeway = self.leeway.filter(|_| now - self.looked_at >= REPLAN_SECONDS)?;
        self.looked_at = now;
        Some(leeway)
    }

    /// What waits, each with its name, is better launched so.
    pub(super) fn keep(&mut self, waiting: &[(String, Move)], reason: Replanned) {
        let scheduled = |(name, next): &(String, Move)| {
            let (uuid, transfer) = self.planned.get(name)?.clone();
            let transfer = Transfer { technique: next.technique, ..transfer };
            Some(Scheduled { uuid, transfer, concurrency: next.concurrency })
        };
        self.better = Some(Schedule { order: waiting.iter().filter_map(scheduled).collect(), reason });
    }

    /// What is better. Once.
    pub(super) fn take(&mut self) -> Option<Schedule> {
        self.better.take()
    }
}

/// How many seconds a change must gain at least: by as much the prediction without it may be off.
pub(super) fn worth_a_change(predicted: &Totals) -> f64 {
    let spread = predicted.high.zip(predicted.total_seconds).map(|(high, total)| high.total_seconds - total);
    spread.unwrap_or(0.0).max(LEAST_GAIN_SECONDS)
}
