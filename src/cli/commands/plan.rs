//! `tsmig plan`: the plan that an evacuation would run, from two hosts or from a saved profile.

use anyhow::Result;

use super::connect::{connect, endpoints};
use super::live::Live;
use super::output::{ResultFile, show};
use super::sample::sample_both;
use super::usage;
use crate::cli::checks;
use crate::cli::selection;
use crate::cli::selection::rules;
use crate::cli::{OutputArgs, PlanArgs, PlanningArgs};
use crate::config::Config;
use crate::plan::return_trip;
use crate::plan::revalidate::{self, Checked};
use crate::plan::{Demands, Plan, Rule};
use crate::preflight;
use crate::profile::Profile;
use crate::render::{say, tables};
use crate::report::Report;
use crate::topology::LinkOrigin;
use crate::{files, units};

pub(super) fn run(config: &Config, output: &OutputArgs, arguments: &PlanArgs) -> Result<u8> {
    let earlier = earlier_run(&arguments.planning)?;
    let basis = earlier.as_ref().map_or(Basis::Options, Basis::Report);
    let timing = checks::timing(config, &arguments.sampling).map_err(usage)?;
    selection::check(&arguments.planning).map_err(usage)?;
    let inputs =
        [("--profile", arguments.profile.as_deref()), ("--from-report", arguments.planning.from_report.as_deref())];
    let open_file = || ResultFile::open("--save", arguments.save.as_deref(), &inputs, config);
    let file;
    let Checked { plan, .. } = match (&arguments.profile, &arguments.source, &arguments.destination) {
        (Some(path), ..) => {
            let (mut source, mut destination) = files::load(path).map_err(usage)?;
            file = open_file()?;
            // A saved profile knows its link: only what was typed beats that.
            if let Some(rate) = arguments.sampling.link.filter(|_| config.is_typed("link")) {
                for profile in [&mut source, &mut destination] {
                    profile.link.bits_per_second = rate.bits_per_second();
                    profile.link.origin = LinkOrigin::Option;
                }
            }
            make_plan(config, source, &destination, &arguments.planning, basis, None)?
        }
        (None, Some(source), Some(destination)) => {
            let endpoints = endpoints(config, source, destination)?;
            file = open_file()?;
            let (from, to) = connect(endpoints)?;
            let (source, destination) = sample_both(config, output, &arguments.sampling, timing, &from, &to)?;
            let live = Live { from: &from, to: &to, journal: None };
            make_plan(config, source, &destination, &arguments.planning, basis, Some(live))?
        }
        (None, ..) => return Err(usage("plan needs SOURCE and DESTINATION, or --profile FILE")),
    };
    file.map(|file| file.save(&plan)).transpose()?;
    show(output, &plan, || tables::plan(&plan))?;
    Ok(0)
}

/// The report of the run whose domains are to return, where there is one to read.
pub(super) fn earlier_run(arguments: &PlanningArgs) -> Result<Option<Report>> {
    let Some(path) = &arguments.from_report else { return Ok(None) };
    let report = files::load_report(path).map_err(usage)?;
    if !report.domains.is_empty() && return_trip::moved(&report).next().is_none() {
        return Err(usage(format!("{}: that run moved nothing, so there is nothing to return", path.display())));
    }
    Ok(Some(report))
}

/// What a plan is made of beside the profiles.
#[derive(Clone, Copy)]
pub(super) enum Basis<'a> {
    /// The user's options alone.
    Options,
    /// The report of the run whose domains are to return.
    Report(&'a Report),
    /// A plan that was saved.
    Plan(&'a Plan),
}

/// Applies the user's rules and what is known to be impossible, by the profiles and by the hosts themselves where they
/// are given, then plans, or looks at the saved plan again.
pub(super) fn make_plan(
    config: &Config,
    source: Profile,
    destination: &Profile,
    arguments: &PlanningArgs,
    basis: Basis<'_>,
    live: Option<Live<'_>>,
) -> Result<Checked> {
    let mut rules = rules(&source, destination, arguments, config).map_err(usage)?;
    if let Basis::Report(report) = basis {
        for absent in return_trip::narrow(&mut rules, report, &source, destination) {
            say(&format!("warning: {absent}"));
        }
    }
    let facts = |rules: &[Rule]| live.map(|live| live.facts(config, &source, rules)).transpose();
    if let Basis::Plan(saved) = basis {
        let facts = facts(&revalidate::examined(saved, &source, &rules))?;
        let look_again = |source: &Profile| revalidate::check(saved, source, destination, &rules);
        return Ok(preflight::examine(source, destination, facts.as_ref(), look_again));
    }
    let facts = facts(&rules)?;
    let demands = Demands {
        objective: arguments.objective,
        concurrency: arguments.concurrency.0.map(Into::into),
        bandwidth_bits_per_second: arguments.bandwidth.map(units::Rate::bits_per_second),
        post_copy_limit: arguments.post_copy_limit.map(Into::into),
        window_limit_seconds: arguments.window_limit.map(|limit| limit.as_secs_f64()),
    };
    Ok(preflight::plan(source, destination, &rules, &demands, facts.as_ref()).into())
}
