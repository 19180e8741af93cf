//! What a run is about.

use std::collections::HashMap;

use crate::domain::{Route, Then};
use crate::engine::options::Options;
use crate::failure::Names;
use crate::plan::{Ground, Plan, Refusal, StayKind};
use crate::report::{DomainOutcome, DomainReport, Job};

/// What a run is about; nothing of it changes.
pub(crate) struct Run {
    pub(super) job: Job,
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) predicted_seconds: Option<f64>,
    /// The user's cap on all migrations together, in bits per second.
    pub(super) bandwidth: Option<f64>,
    /// The capacity between the hosts, if it is known, in bits per second.
    pub(super) link: Option<f64>,
    pub(super) launch_ahead: bool,
    /// The most in flight, those that are launched ahead included.
    pub(super) most_in_flight: usize,
    /// Whether domains are watched for a while after they have arrived.
    pub(super) watches: bool,
    /// The most in post-copy at once.
    pub(super) post_copy_limit: Option<usize>,
    /// The kinds of guests that move.
    pub(super) grounds: Vec<Ground>,
    pub(super) refused: Vec<Refusal>,
    /// Domains that the plan does not move although the rules want them moved: what each was when it was made, by UUID.
    pub(super) not_in_plan: HashMap<String, Then>,
    /// What is to be reported of domains that this run does not look after.
    pub(super) earlier: Vec<DomainReport>,
    /// Whether one was lost in an earlier run.
    pub(super) lost_earlier: Option<String>,
    /// Where the memory goes, if the user said so.
    pub(super) migration_uri: Option<String>,
    pub(super) route: Route,
}

impl Run {
    /// The run of a plan. `earlier` are the reports of domains that were recovered first.
    pub(crate) fn of(plan: &Plan, earlier: Vec<DomainReport>, options: &Options) -> Self {
        let planned = |report: &DomainReport| plan.step(&report.uuid).is_some();
        let lost = earlier.iter().find(|report| report.outcome == DomainOutcome::Lost);
        let not_in_plan = plan.stays.iter().filter_map(|stay| match stay.kind {
            StayKind::NotInPlan { then } => Some((stay.uuid.clone(), then)),
            _ => None,
        });
        Self {
            job: Job::Evacuate,
            predicted_seconds: plan.predicted.total_seconds,
            bandwidth: plan.bandwidth_bits_per_second,
            link: plan.known_link(),
            launch_ahead: plan.launch_ahead,
            most_in_flight: plan.most_in_flight(),
            watches: options.watch_arrivals,
            post_copy_limit: plan.post_copy_limit.map(|limit| limit.max(1)),
            grounds: plan.grounds.clone(),
            refused: plan.refused.clone(),
            not_in_plan: not_in_plan.collect(),
            lost_earlier: lost.map(|report| report.domain.clone()),
            ..Self::recovery(
                (&plan.source, plan.destinations.first().map_or("", String::as_str)),
                earlier.into_iter().filter(|report| !planned(report)).collect(),
                options,
            )
        }
    }

    /// A recovery, beside the reports of domains that nothing can be done about.
    pub(crate) fn recovery((source, destination): (&str, &str), others: Vec<DomainReport>, options: &Options) -> Self {
        Self {
            job: Job::Recover,
            source: source.to_owned(),
            destination: destination.to_owned(),
            predicted_seconds: None,
            bandwidth: None,
            link: None,
            launch_ahead: false,
            most_in_flight: usize::MAX,
            // What it finishes has no profile of this run to be held against.
            watches: false,
            post_copy_limit: None,
            grounds: Vec::new(),
            refused: Vec::new(),
            not_in_plan: HashMap::new(),
            earlier: others,
            lost_earlier: None,
            migration_uri: options.migration_uri.clone(),
            route: options.route,
        }
    }

    /// The kinds of guests that have come through before.
    pub(super) fn proven(&self) -> impl Iterator<Item = Option<usize>> + use<'_> {
        self.grounds.iter().enumerate().filter(|(_, ground)| ground.proven).map(|(place, _)| Some(place))
    }

    /// A recovery launches nothing of its own, so it waits for no proof, shares nothing out and cancels nothing. It switches nothing
    /// while a post-copy is broken, or after one was lost or has failed for good.
    pub(super) fn adopts(&self) -> bool {
        self.job == Job::Recover
    }

    /// At which interrupt it leaves at once.
    pub(super) fn leaves_at(&self) -> usize {
        if self.adopts() { 1 } else { 2 }
    }

    pub(super) fn names(&self) -> Names {
        Names { source: self.source.clone(), destination: self.destination.clone() }
    }
}
