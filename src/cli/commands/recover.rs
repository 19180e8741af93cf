//! `tsmig recover`: finishes what was left between a host and those that it was evacuated to.

use anyhow::{Context as _, Result};

use crate::cli::RecoverArgs;
use crate::cli::steps::claim::Claim;
use crate::cli::steps::connect::{all_endpoints, connect_all};
use crate::cli::steps::context::Context;
use crate::engine::events::{Event, Timed};
use crate::engine::recovery::survey::Scope;
use crate::files::saved_report::SavedReport;
use crate::libvirt::Host;
use crate::render::leave;
use crate::report::{Outcome, Report};

pub(super) fn run(context: Context<'_>, arguments: &RecoverArgs) -> Result<u8> {
    let names = [&arguments.source].into_iter().chain(&arguments.destinations).map(String::as_str);
    let endpoints = all_endpoints(context.config, names)?;
    let file = context.result_file("--report", arguments.report.as_deref(), &[])?;
    let claims = Claim::take_all(context, pairs(connect_all(endpoints)?)?)?;
    // All hosts are looked at before anything is done.
    let found = claims.iter().map(|claim| claim.survey(Scope::Everything)).collect::<Result<Vec<_>>>()?;
    let mut report: Option<Report> = None;
    for (claim, found) in claims.iter().zip(found) {
        let ended = claim.finish(found, claim.options(arguments.migration_uri.as_deref()), |_| false);
        let left = ended.outcome == Outcome::Interrupted;
        report = Some(match report {
            Some(before) => before.and(ended),
            None => ended,
        });
        if left {
            break;
        }
    }
    let (claim, report) = claims.first().zip(report).context("no host was named")?;
    claim.tell(&Timed::at(report.total_seconds, Event::Report(report.clone())));
    claim.interrupts.hand_to(leave);
    Ok(context.conclude(file.as_ref(), &SavedReport { report, history: None }))
}

/// A connection to the source for each of its destinations.
fn pairs(hosts: Vec<Host>) -> Result<Vec<(Host, Host)>> {
    let mut hosts = hosts.into_iter();
    let source = hosts.next().context("no host was named")?;
    let endpoint = source.endpoint().clone();
    let mut first = Some(source);
    hosts.map(|to| Ok((first.take().map_or_else(|| Host::open(endpoint.clone()), Ok)?, to))).collect()
}
