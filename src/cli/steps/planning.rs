//! From two profiles to the plan that the user asks for: a new one, or a saved one, looked at again.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use super::context::Context;
use super::examine::Live;
use super::usage;
use crate::cli::PlanningArgs;
use crate::cli::selection::Selection;
use crate::files;
use crate::plan::{Basis, Demands, Plan, Planner, Stay, return_trip};
use crate::preflight::facts::Known;
use crate::preflight::way::Passage;
use crate::preflight::{self, Assessment, Facts};
use crate::profile::Both;
use crate::render::say;
use crate::report::Report;
use crate::units::Rate;

pub(crate) struct Planning<'a> {
    context: Context<'a>,
    arguments: &'a PlanningArgs,
    selection: Selection,
    /// The report of the run whose domains are to return.
    returning: Option<Report>,
    saved: Option<Plan>,
}

impl<'a> Planning<'a> {
    /// Reads the files that the arguments name; `saved` is that of a saved plan.
    pub(crate) fn read(context: Context<'a>, arguments: &'a PlanningArgs, saved: Option<&Path>) -> Result<Self> {
        let selection = Selection::new(arguments, context.config).map_err(usage)?;
        let returning = arguments.from_report.as_deref().map(earlier_run).transpose()?;
        let saved = saved.map(files::load).transpose().map_err(usage)?;
        Ok(Self { context, arguments, selection, returning, saved })
    }

    pub(crate) fn is_of_saved(&self) -> bool {
        self.saved.is_some()
    }

    /// Has the plan made, by the user's rules and what is known to be impossible: by the profiles, and by the hosts
    /// themselves if they are given, with what is known of them and of the way between them.
    pub(crate) fn assess(&self, profiles: Both, hosts: Option<(Live<'_>, [Known; 2], Passage)>) -> Result<Assessment> {
        let Both { source, destination } = &profiles;
        let mut rules = self.selection.rules(source, destination).map_err(usage)?;
        if let Some(report) = &self.returning {
            for absent in return_trip::narrow(&mut rules, report, source, destination) {
                say(&format!("warning: {absent}"));
            }
        }
        let demands = self.demands();
        let basis = self.saved.as_ref().map_or(Basis::Demands(&demands), Basis::Saved);
        let planner = Planner { rules: &rules, basis };
        let rules = planner.examined(source);
        let ask = |(hosts, known, passage): (Live<'_>, _, _)| {
            hosts.facts(self.context.config, &profiles, (known, passage), &rules)
        };
        let facts = hosts.map(ask).transpose()?.map(|facts| Facts { strict: self.arguments.strict, ..facts });
        Ok(preflight::assess(profiles, facts.as_ref(), &planner))
    }

    fn demands(&self) -> Demands {
        let arguments = self.arguments;
        Demands {
            objective: arguments.objective,
            concurrency: arguments.concurrency.map(Into::into),
            bandwidth_bits_per_second: arguments.bandwidth.map(Rate::bits_per_second),
            post_copy_limit: Some(arguments.post_copy_limit.into()),
            trust_destination: arguments.trust_destination,
            window_limit_seconds: arguments.window_limit.map(|limit| limit.as_secs_f64()),
        }
    }

    /// Whether the order of the plan for these hosts is the user's: a saved plan's, or by ranks.
    pub(crate) fn gives_the_order(&self, profiles: &Both) -> Result<bool> {
        let rules = self.selection.rules(&profiles.source, &profiles.destination).map_err(usage)?;
        Ok(self.is_of_saved() || rules.iter().any(|rule| rule.rank != 0))
    }

    /// Whether a domain would move that appears while the plan runs, by its name and UUID.
    pub(crate) fn wanted(&self, plan: &Plan) -> impl Fn(&str, &str) -> bool + Send + use<> {
        let selection = self.selection.clone();
        let uuids = |report| return_trip::moved(report).map(|domain| domain.uuid.clone()).collect::<HashSet<_>>();
        let returns = self.returning.as_ref().map(uuids);
        // A saved plan knows what its own options left out.
        let left_out = plan.stays.iter().filter(|stay| stay.is_by_options()).map(|stay| stay.uuid.clone());
        let left_out: HashSet<_> = left_out.collect();
        move |name: &str, uuid: &str| {
            let returns = returns.as_ref().is_none_or(|returns| returns.contains(uuid));
            selection.takes(name) && returns && !left_out.contains(uuid)
        }
    }

    /// Whether the plan is about all domains, not some that were picked. Of a saved plan that left some out it is not known
    /// how they were named.
    pub(crate) fn empties(&self, plan: &Plan) -> bool {
        let picks = self.saved.is_some() && plan.stays.iter().any(Stay::is_by_options);
        self.arguments.only.is_empty() && self.returning.is_none() && !picks
    }
}

/// The report of the run whose domains are to return.
fn earlier_run(path: &Path) -> Result<Report> {
    let report: Report = files::load(path).map_err(usage)?;
    if !report.domains.is_empty() && return_trip::moved(&report).next().is_none() {
        return Err(usage(format!("{}: that run moved nothing, so there is nothing to return", path.display())));
    }
    Ok(report)
}
