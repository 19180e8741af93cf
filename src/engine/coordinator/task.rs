//! One domain of a run, and how far it is.

use std::time::Duration;

use crate::domain::{Fault, Phase, Route, Technique, Transfer};
use crate::engine::bandwidth::{InFlight, Share};
use crate::engine::launch_queue::Waiting;
use crate::engine::migration::Progress;
use crate::engine::recovery::survey::Finding;
use crate::failure::Whereabouts;
use crate::libvirt::Definition;
use crate::plan::{Plan, Step};
use crate::report::DomainReport;

/// One domain to move or to recover.
#[derive(Debug)]
pub(crate) struct Task {
    pub(super) domain: String,
    pub(super) uuid: String,
    pub(super) transfer: Transfer,
    /// Its kind, if that is known.
    pub(super) ground: Option<usize>,
    /// Whether it may be the first of its kind in post-copy.
    pub(super) trusted: bool,
    /// It starts as soon as fewer than this many are in flight.
    pub(super) concurrency: usize,
    pub(super) start: Start,
    pub(super) stage: Stage,
    /// The error that has stopped it at the source since the run began.
    pub(super) fault: Option<Fault>,
}

/// How a task starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Start {
    /// By a migration; `forced` if the user, not the planner, chose the technique.
    Launch { forced: bool },
    /// It has started, or ended, before this run; with what it was found to be.
    Adopt { before: Definition, found: Whereabouts },
}

/// How far a task is.
#[derive(Debug)]
pub(super) enum Stage {
    Waiting,
    InFlight(Flight),
    Ended(Box<DomainReport>),
}

/// A migration in flight, as its driver told.
#[derive(Debug)]
pub(super) struct Flight {
    /// Its place in the queue, if a busy destination turns it away.
    pub(super) waiting: Waiting,
    /// Since the run began.
    pub(super) launched_at: Duration,
    pub(super) phase: Option<Phase>,
    /// How it moves by now, which may differ from the plan.
    pub(super) technique: Technique,
    /// Whether it was seen in post-copy.
    pub(super) switched: bool,
    /// Whether it was seen to run at the destination in post-copy.
    pub(super) loaded: bool,
    /// Whether its driver was told that it may switch to post-copy.
    pub(super) may_switch: bool,
    /// Whether it is to switch for the sake of time alone: it goes on by pre-copy where it may not.
    pub(super) early: bool,
    pub(super) progress: Progress,
    pub(super) route: Route,
    /// Since when the destination waits for its memory.
    pub(super) awaited_at: Option<Duration>,
    pub(super) share: Share,
}

impl Flight {
    pub(super) fn traffic(&self) -> InFlight {
        let Progress { pass, transferred, remaining, eta_seconds, .. } = self.progress;
        InFlight { technique: self.technique, pass, transferred, remaining, eta_seconds }
    }
}

impl Task {
    pub(super) fn new(domain: &str, uuid: &str, transfer: Transfer, concurrency: usize, start: Start) -> Self {
        let (domain, uuid) = (domain.to_owned(), uuid.to_owned());
        Self {
            domain,
            uuid,
            transfer,
            ground: None,
            trusted: true,
            concurrency,
            start,
            stage: Stage::Waiting,
            fault: None,
        }
    }

    pub(super) fn flight(&self) -> Option<&Flight> {
        if let Stage::InFlight(flight) = &self.stage { Some(flight) } else { None }
    }

    pub(super) fn flight_mut(&mut self) -> Option<&mut Flight> {
        if let Stage::InFlight(flight) = &mut self.stage { Some(flight) } else { None }
    }

    pub(super) fn report(&self) -> Option<&DomainReport> {
        if let Stage::Ended(report) = &self.stage { Some(report) } else { None }
    }
}

impl Task {
    /// The task of a plan's step. Where nothing is known of kinds, no proof can be asked for.
    pub(crate) fn of(plan: &Plan, step: &Step) -> Self {
        let start = Start::Launch { forced: step.is_forced() };
        let forced = step.is_forced() && step.technique().pulls();
        Self {
            ground: step.ground,
            trusted: plan.trust_destination || forced || step.ground.is_none(),
            ..Self::new(&step.domain, &step.uuid, step.transfer.clone(), step.concurrency, start)
        }
    }
}

impl From<&Finding> for Task {
    fn from(finding: &Finding) -> Self {
        let start = Start::Adopt { before: finding.before.clone(), found: finding.found.clone() };
        Self::new(&finding.domain, &finding.uuid, finding.transfer.clone(), usize::MAX, start)
    }
}
