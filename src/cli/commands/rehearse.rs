//! `tsmig rehearse`: moves domains to a host and back, both by pre-copy, and so proves both ways for guests of their kinds.

use std::time::Duration;

use anyhow::Result;
use globset::Glob;

use super::evacuate;
use crate::cli::steps::context::Context;
use crate::cli::steps::interrupts::Interrupts;
use crate::cli::steps::usage;
use crate::cli::{EvacuateArgs, RehearseArgs, resolve};
use crate::plan::return_trip::moved;
use crate::render::{exit, say};
use crate::report::{Outcome, Report};

/// How a rehearsal moves domains, whatever is configured: one after the other, and never by post-copy.
const WAY: [&str; 6] = [
    "--technique=pre-copy",
    "--concurrency=1",
    "--on-stall=abort",
    "--trust-destination=false",
    "--offline=false",
    "--partial=false",
];

pub(super) fn run(context: Context<'_>, arguments: &RehearseArgs) -> Result<u8> {
    let RehearseArgs { source, destination, domains, .. } = arguments;
    let interrupts = Interrupts::catch()?;
    let there = EvacuateArgs {
        migration_uri: arguments.migration_uri.clone(),
        ..way(context, arguments, [source, destination], domains)?
    };
    let (status, report) = evacuate::perform(context, &there, || Ok(interrupts.clone()))?;
    let Some(report) = report else { return Ok(status) };
    let arrived = arrived(&report, domains);
    if arrived.is_empty() {
        return Ok(status);
    }
    let away = still_there(&arrived, source, destination);
    if report.outcome == Outcome::Interrupted {
        say(&away);
        return Ok(status);
    }
    // Until the way back has begun.
    let interrupted = away.clone();
    interrupts.hand_to(move || exit(&interrupted, 130));
    let patterns: Vec<_> = arrived.iter().map(|name| globset::escape(name)).collect();
    let back = way(context, arguments, [destination, source], &patterns)?;
    let (back, report) = evacuate::perform(context, &back, || Ok(interrupts.clone())).map_err(|e| e.context(away))?;
    let home = report.map(|report| self::arrived(&report, &patterns)).unwrap_or_default();
    let missing: Vec<_> = arrived.into_iter().filter(|name| !home.contains(name)).collect();
    if !missing.is_empty() {
        say(&still_there(&missing, source, destination));
    }
    Ok(if status == 0 { back } else { status })
}

/// One way, of which the configuration says only what a rehearsal leaves open. A pattern for pre-copy beats its rules.
fn way(
    context: Context<'_>,
    arguments: &RehearseArgs,
    [from, to]: [&String; 2],
    domains: &[String],
) -> Result<EvacuateArgs> {
    let named = domains.iter().flat_map(|pattern| [format!("--only={pattern}"), format!("--pre-copy={pattern}")]);
    let times = [("window", arguments.window), ("interval", arguments.window.min(Duration::from_secs(1)))];
    let times = times.map(|(option, time)| format!("--{option}={}", humantime::format_duration(time)));
    let options: Vec<_> = WAY.map(str::to_owned).into_iter().chain(named).chain(times).collect();
    let (mut evacuate, _) = resolve::evacuation(context.config, &options).map_err(usage)?;
    evacuate.planning.window_limit = None;
    Ok(EvacuateArgs { source: from.clone(), destination: to.clone(), rehearsal: true, ..evacuate })
}

/// The domains of these patterns that a run has moved; it may have seen to others that an earlier run left on their way.
fn arrived(report: &Report, patterns: &[String]) -> Vec<String> {
    let is_named = |name: &str| {
        let fits = |pattern: &String| {
            pattern == name || Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(name))
        };
        patterns.iter().any(fits)
    };
    moved(report).map(|domain| domain.domain.clone()).filter(|name| is_named(name)).collect()
}

/// What brings domains back that have stayed at the destination.
fn still_there(names: &[String], source: &str, destination: &str) -> String {
    let only: Vec<_> = names.iter().map(|name| format!("--only {name}")).collect();
    format!(
        "{} did not come back from {destination}: `tsmig evacuate {destination} {source} {}` brings them",
        names.join(" and "),
        only.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{self, DomainOutcome, DomainReport};

    #[test]
    fn only_named_domains_come_back() {
        let domain = |name: &str, outcome| DomainReport::new(name, name, outcome);
        let domains = vec![
            domain("test-1", DomainOutcome::Migrated),
            domain("test-2", DomainOutcome::Remains),
            domain("web", DomainOutcome::Migrated),
        ];
        let report = Report {
            schema: report::SCHEMA.to_owned(),
            job: report::Job::Evacuate,
            source: "host-a".to_owned(),
            destinations: vec!["host-b".to_owned()],
            outcome: Outcome::Partial,
            total_seconds: 1.0,
            predicted_seconds: None,
            domains,
        };
        assert_eq!(arrived(&report, &["test-*".to_owned()]), ["test-1"]);
        assert_eq!(arrived(&report, &[globset::escape("web")]), ["web"]);
    }
}
