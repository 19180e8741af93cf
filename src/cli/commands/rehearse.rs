//! `tsmig rehearse`: moves domains to a host and back, both by pre-copy, and so proves both ways for guests of their kinds.

use std::time::Duration;

use anyhow::Result;

use super::evacuate;
use crate::cli::steps::context::Context;
use crate::cli::steps::interrupts::Interrupts;
use crate::cli::steps::usage;
use crate::cli::{EvacuateArgs, RehearseArgs, resolve};
use crate::plan::return_trip::moved;
use crate::render::say;
use crate::report::{Outcome, Report};

/// How a rehearsal moves domains: one after the other, so that a stranger to the destination meets it alone.
const WAY: [&str; 3] = ["--technique=pre-copy", "--concurrency=1", "--on-stall=abort"];

pub(super) fn run(context: Context<'_>, arguments: &RehearseArgs) -> Result<u8> {
    let interrupts = Interrupts::catch()?;
    let way = |source: &str, destination: &str, domains: &[String]| -> Result<EvacuateArgs> {
        let only = domains.iter().map(|pattern| format!("--only={pattern}"));
        let interval = arguments.window.min(Duration::from_secs(1));
        let times = [("window", arguments.window), ("interval", interval)];
        let times = times.map(|(option, time)| format!("--{option}={}", humantime::format_duration(time)));
        let options: Vec<_> = WAY.map(str::to_owned).into_iter().chain(only).chain(times).collect();
        let (evacuate, _) = resolve::evacuation(context.config, &options).map_err(usage)?;
        Ok(EvacuateArgs { source: source.to_owned(), destination: destination.to_owned(), ..evacuate })
    };
    let RehearseArgs { source, destination, domains, .. } = arguments;
    let there = EvacuateArgs { migration_uri: arguments.migration_uri.clone(), ..way(source, destination, domains)? };
    let (status, report) = evacuate::perform(context, &there, || Ok(interrupts.clone()))?;
    let Some(report) = report else { return Ok(status) };
    let arrived: Vec<_> = moved(&report).map(|domain| globset::escape(&domain.domain)).collect();
    if arrived.is_empty() {
        return Ok(status);
    }
    if report.outcome == Outcome::Interrupted {
        say(&still_there(&report, source, destination));
        return Ok(status);
    }
    match evacuate::perform(context, &way(destination, source, &arrived)?, || Ok(interrupts.clone())) {
        Ok((back, _)) => Ok(if status == 0 { back } else { status }),
        Err(error) => Err(error.context(still_there(&report, source, destination))),
    }
}

/// Which domains have not come back, and what brings them.
fn still_there(report: &Report, source: &str, destination: &str) -> String {
    let names: Vec<_> = moved(report).map(|domain| domain.domain.as_str()).collect();
    let only: Vec<_> = names.iter().map(|name| format!("--only {name}")).collect();
    format!(
        "{} did not come back from {destination}: `tsmig evacuate {destination} {source} {}` brings them",
        names.join(" and "),
        only.join(" ")
    )
}
