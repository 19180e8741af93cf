//! The candidates of a search that may still be the best: those that no other beats in every respect.

use crate::plan::Objective;
use crate::plan::model::scene::Scene;
use crate::plan::model::{self, Launch, Prediction};

/// Plans for [`Objective::Time`] may take this much longer than the fastest, to lose less traffic: within it, less
/// loss counts for more than less time. Given by the objective's definition.
const TIME_SLACK: f64 = 1.05;

/// Plans for [`Objective::Impact`] may take this much longer than the fastest. Chosen: the right mix one by one
/// was measured at 1.31 times the right mix all at once (predicted 1.27) and lost the least of all mixes.
const IMPACT_SLACK: f64 = 1.3;

/// Plans may take at least this many seconds longer than the fastest, however short that is. Measured: runs of the
/// same plan differ by 0.1 to 0.6 s (`docs/bench/seeds`). A post-copy is not worth less than that.
const SAME_TIME: f64 = 0.5;

/// Losses that differ by less count as equal, and then fewer post-copies are better. Chosen: far below what the
/// model can tell, so that no guest is put at the risk of a post-copy for a difference that is none.
const SAME_LOSS: f64 = 1.01;

/// The same in bits, for losses below 100 Mbit. Among guests that are idle the planner would else take a second longer for a few
/// kilobits.
const SAME_LOSS_BITS: f64 = 1e6;

/// A schedule and what the model says of it.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) launches: Vec<Launch>,
    outcome: Prediction,
    pub(crate) post_copies: usize,
}

/// The Pareto front of all schedules offered, by time, traffic lost and number of post-copies, as far as it may
/// matter to the objective. A plan that leaves fewer migrations unfinished beats any that leaves more.
#[derive(Debug)]
pub(crate) struct Front {
    slack: f64,
    kept: Vec<Candidate>,
}

impl Front {
    pub(crate) fn new(objective: Objective) -> Self {
        let slack = match objective {
            Objective::Time => TIME_SLACK,
            Objective::Impact => IMPACT_SLACK,
        };
        Self { slack, kept: Vec::new() }
    }

    /// Seconds that a plan may take if the fastest takes `fastest`.
    pub(crate) fn allowed(&self, fastest: f64) -> f64 {
        (fastest * self.slack).max(fastest + SAME_TIME)
    }

    /// Seconds beyond which a plan is never picked, whatever is offered yet.
    pub(crate) fn deadline(&self) -> f64 {
        self.fastest().map_or(f64::INFINITY, |fastest| self.allowed(fastest))
    }

    /// Simulates `launches` up to `deadline`, and keeps them unless others are as good in every respect.
    pub(crate) fn offer(&mut self, scene: &Scene, launches: &[Launch], deadline: f64) -> Prediction {
        let outcome = model::outcome(scene, launches, deadline);
        let post_copies = launches.iter().filter(|launch| launch.technique.pulls()).count();
        let covered = |kept: &Candidate| covers((&kept.outcome, kept.post_copies), (&outcome, post_copies));
        if !self.kept.iter().any(covered) {
            self.kept.retain(|kept| !covers((&outcome, post_copies), (&kept.outcome, kept.post_copies)));
            self.kept.push(Candidate { launches: launches.to_vec(), outcome, post_copies });
        }
        outcome
    }

    /// Seconds that the fastest takes; `None` if none ends.
    pub(crate) fn fastest(&self) -> Option<f64> {
        let ended = self.kept.iter().filter(|c| c.outcome.unfinished == 0);
        ended.map(|c| c.outcome.seconds).min_by(f64::total_cmp)
    }

    pub(crate) fn fastest_launches(&self) -> Option<Vec<Launch>> {
        let fastest = self.kept.iter().min_by(|a, b| a.outcome.seconds.total_cmp(&b.outcome.seconds));
        fastest.map(|c| c.launches.clone())
    }

    /// The best: of those that are nearly as fast as the fastest, the one that loses the least, then the one with
    /// the fewest post-copies.
    pub(crate) fn pick(&self) -> Option<&Candidate> {
        let fastest = self.kept.iter().map(|c| c.outcome.seconds).min_by(f64::total_cmp)?;
        let eligible = || self.kept.iter().filter(|c| c.outcome.seconds <= self.allowed(fastest));
        let least = eligible().map(|c| c.outcome.lost).min_by(f64::total_cmp)?;
        let same = same_loss(least);
        eligible().filter(|c| c.outcome.lost <= same).min_by(|a, b| {
            (a.post_copies.cmp(&b.post_copies))
                .then(a.outcome.seconds.total_cmp(&b.outcome.seconds))
                .then(a.outcome.lost.total_cmp(&b.outcome.lost))
        })
    }
}

/// The most in bits that counts as no more loss than `least`.
pub(crate) fn same_loss(least: f64) -> f64 {
    (least * SAME_LOSS).max(least + SAME_LOSS_BITS)
}

/// Whether the first is as good as the second in every respect.
fn covers((a, a_post_copies): (&Prediction, usize), (b, b_post_copies): (&Prediction, usize)) -> bool {
    a.unfinished < b.unfinished
        || a.unfinished == b.unfinished && a.seconds <= b.seconds && a.lost <= b.lost && a_post_copies <= b_post_copies
}
