//! `tsmig evacuate`: finish what an earlier run left, profile, plan, migrate, report.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, bail};

use super::connect::{connect, endpoints};
use super::hooks::hooks;
use super::interrupts::Interrupts;
use super::live::{Live, announce};
use super::output::{ResultFile, conclude, screen, show};
use super::plan::{Basis, earlier_run, make_plan};
use super::sample::sample_both;
use super::unfinished::Claim;
use super::usage;
use crate::cli::checks;
use crate::cli::selection::{self, Selection};
use crate::cli::{EvacuateArgs, Format, OutputArgs};
use crate::config::Config;
use crate::engine::hooks::AfterDomains;
use crate::engine::recovery::journal::Journal;
use crate::engine::recovery::survey::Scope;
use crate::engine::{Evacuation, Options, Timeout};
use crate::files::load_plan;
use crate::files::saved_report::SavedReport;
use crate::history::Recorder;
use crate::history::traffic_monitor::watch;
use crate::libvirt::Host;
use crate::plan::return_trip;
use crate::plan::{Plan, Step};
use crate::render::feed::Feed;
use crate::render::{leave, post_line, say, tables};
use crate::report::{DomainOutcome, DomainReport, Outcome, Report};
use crate::topology::Side;
use crate::units::span;

pub(super) fn run(config: &Config, output: &OutputArgs, arguments: &EvacuateArgs) -> Result<u8> {
    // What can be found without a host comes first.
    let endpoints = endpoints(config, &arguments.source, &arguments.destination)?;
    let timing = checks::timing(config, &arguments.sampling).map_err(usage)?;
    selection::check(&arguments.planning).map_err(usage)?;
    let on_stall = checks::on_stall(config, arguments).map_err(usage)?;
    let returning = earlier_run(&arguments.planning)?;
    let saved = arguments.plan.as_deref().map(load_plan).transpose().map_err(usage)?;
    let hooks = Arc::new(hooks(config, &endpoints)?);
    let inputs = [("--plan", arguments.plan.as_deref()), ("--from-report", arguments.planning.from_report.as_deref())];
    let file = ResultFile::open("--report", arguments.report.as_deref(), &inputs, config)?;
    let (source_host, destination_host) = connect(endpoints)?;
    let profile_and_plan = |from: &Host, to: &Host, journal: Option<&Journal>| {
        let (source, destination) = sample_both(config, output, &arguments.sampling, timing, from, to)?;
        let basis = match (&saved, &returning) {
            (Some(plan), _) => Basis::Plan(plan),
            (None, Some(report)) => Basis::Report(report),
            (None, None) => Basis::Options,
        };
        let checked =
            make_plan(config, source, &destination, &arguments.planning, basis, Some(Live { from, to, journal }))?;
        if saved.is_some() {
            still_holds(&checked.differences, arguments, output)?;
        }
        anyhow::Ok(checked.plan)
    };
    if arguments.dry_run {
        let plan = profile_and_plan(&source_host, &destination_host, None)?;
        show(output, &plan, || tables::plan(&plan))?;
        stop_where_refused(&plan, arguments)?;
        if !output.quiet && !plan.migrations.is_empty() {
            hooks.list().for_each(|hook| say(&format!("hook that would run, {hook}")));
        }
        return Ok(0);
    }
    let conclude = |saved: &SavedReport| conclude(output, file.as_ref(), saved);
    let interrupts = Interrupts::catch()?;
    let claim = Claim::take(source_host, destination_host)?;
    let options = claim.options(config, arguments.migration_uri.as_deref());

    // Before the preflight, which refuses a domain that is on its way, whoever began it.
    let mut earlier = Vec::new();
    let found = claim.survey(output, Scope::Journal)?;
    if !found.findings.is_empty() {
        // What is lost already must not keep the others here.
        let is_open = |domain: &DomainReport| domain.outcome == DomainOutcome::NeedsRecovery;
        let is_last = |report: &Report| report.outcome == Outcome::Interrupted || report.domains.iter().any(is_open);
        let report = claim.finish(found, options.clone(), &interrupts, &mut Feed::to(screen(output)), is_last);
        if is_last(&report) {
            interrupts.hand_to(leave);
            return Ok(conclude(&SavedReport { report, history: None }));
        }
        earlier = report.domains;
    }

    let (source_host, destination_host) = (claim.hosts.side(Side::Source), claim.hosts.side(Side::Destination));
    // Already now, so that it is connected when the first domain moves.
    let watched = file.is_some();
    let readings = watched.then(|| watch(source_host.endpoint().clone(), destination_host.endpoint().clone()));
    let plan = profile_and_plan(source_host, destination_host, Some(&claim.journal))?;
    if output.output == Format::Text && !output.quiet {
        post_line(tables::plan(&plan));
    }
    stop_where_refused(&plan, arguments)?;
    announce(&claim.journal, &plan)?;
    if plan.migrations.is_empty() && !output.quiet {
        say(&format!("{} has no domain to move", plan.source));
    }
    let hooks = if plan.migrations.is_empty() { Arc::default() } else { hooks };
    let after_run = |outcome, report| {
        let (to_end, told) = (Arc::clone(&hooks), AtomicBool::new(false));
        interrupts.hand_to(move || {
            to_end.interrupt();
            if !told.swap(true, Ordering::Relaxed) {
                say("the after-run hook still runs; interrupt again to end it");
            }
        });
        if let Err(problem) = hooks.after_run(outcome, report) {
            say(&format!("warning: {problem}"));
        }
        interrupts.hand_to(leave);
    };
    let options = Options {
        timeout: arguments.timeout,
        timeouts: timeouts(config, &plan),
        on_stall,
        hooks: Arc::clone(&hooks),
        ..options
    };
    let (hosts, journal) = (Arc::clone(&claim.hosts), Arc::clone(&claim.journal));
    let selection = Selection::new(&arguments.planning, config).map_err(usage)?;
    let uuids = |report| return_trip::moved(report).map(|domain| domain.uuid.clone()).collect::<HashSet<_>>();
    let returns = returning.as_ref().map(uuids);
    // A saved plan knows what its own options left out.
    let left_out = plan.stays.iter().filter(|stay| stay.is_by_options()).map(|stay| stay.uuid.clone());
    let left_out: HashSet<_> = left_out.collect();
    let wanted = move |name: &str, uuid: &str| {
        let returns = returns.as_ref().is_none_or(|returns| returns.contains(uuid));
        selection.takes(name) && returns && !left_out.contains(uuid)
    };
    let evacuation = Evacuation::new(&plan, earlier, hosts, journal, options).wanting(wanted);
    let (interrupter, to_end) = (evacuation.interrupter(), Arc::clone(&hooks));
    interrupts.hand_to(move || {
        to_end.interrupt();
        interrupter.interrupt();
    });
    // One that is interrupted is followed by the end of a run that has launched nothing.
    if let Some(problem) = hooks.before_run().err().filter(|_| !hooks.are_interrupted()) {
        after_run(Outcome::Failed, None);
        bail!("nothing was moved, since {problem}");
    }
    let mut recorder = watched.then(|| Recorder::new(&plan, readings));
    let mut feed = Feed::to(screen(output));
    let mut after_domains = AfterDomains::new(&hooks);
    let report = thread::scope(|scope| {
        evacuation.run(&mut |event| {
            after_domains.hear(scope, event, &mut |event| {
                feed.tell(event);
                if let Some(recorder) = &mut recorder {
                    recorder.hear(event);
                }
            });
        })
    });
    let history = recorder.map(|recorder| recorder.finish(report.total_seconds));
    let saved = SavedReport { report, history };
    let status = conclude(&saved);
    after_run(saved.report.outcome, arguments.report.as_deref());
    Ok(status)
}

/// Nothing moves by a saved plan that does not hold any more, unless the user accepts that.
fn still_holds(differences: &[String], arguments: &EvacuateArgs, output: &OutputArgs) -> Result<()> {
    let list = differences.iter().map(|difference| format!("\n  {difference}")).collect::<String>();
    if !differences.is_empty() && !arguments.accept_drift {
        bail!(
            "nothing was moved, since the saved plan does not hold any more; make a new one, or run it with \
             --accept-drift as far as that is safe{list}"
        );
    }
    if !output.quiet {
        match differences.is_empty() {
            true => say("the saved plan still holds"),
            false => say(&format!("warning: the saved plan does not hold any more, and is run nevertheless{list}")),
        }
    }
    Ok(())
}

/// The timeouts that rules of the configuration give single domains, by UUID; one that was typed is for all.
fn timeouts(config: &Config, plan: &Plan) -> HashMap<String, Timeout> {
    let of = |step: &Step| Some((step.uuid.clone(), config.rule(&step.domain, |rule| &rule.timeout)?));
    if config.is_typed("timeout") { HashMap::new() } else { plan.migrations.iter().filter_map(of).collect() }
}

/// Nothing moves if a host can't take part, if some domain can't move and the others were not asked for, or if the plan
/// does not fit its window and that was not accepted.
fn stop_where_refused(plan: &Plan, arguments: &EvacuateArgs) -> Result<()> {
    let blocked = plan.blocked.iter().map(|blocked| format!("  {}: {}", blocked.host, blocked.reason));
    let refused = plan.refused.iter().map(|refused| format!("  {}: {}", refused.domain, refused.reason));
    let findings: Vec<_> = blocked.chain(refused).collect();
    let advice = if !plan.blocked.is_empty() {
        "nothing was moved, since a host can't take part"
    } else if !findings.is_empty() && !arguments.partial {
        "nothing was moved, since not everything can be; with --partial the others go, with --exclude one stays on purpose"
    } else {
        return fits_window(plan, arguments.accept_overrun);
    };
    bail!("{advice}\n{}", findings.join("\n"));
}

fn fits_window(plan: &Plan, accepted: bool) -> Result<()> {
    let Some(window) = plan.window.filter(|window| !window.fits && !accepted) else { return Ok(()) };
    let total = plan
        .predicted
        .total_seconds
        .map_or_else(|| "not to end".to_owned(), |total| format!("to take {}", span(total)));
    bail!(
        "nothing was moved, since the plan is predicted {total}, and its window is {}; move fewer domains (--only, \
         --exclude), or run it with --accept-overrun",
        span(window.limit_seconds)
    );
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::domain::DomainState;
    use crate::plan::{Demands, plan};
    use crate::profile::fixture;

    #[test]
    fn a_plan_that_does_not_fit_its_window_is_run_only_where_that_is_accepted() {
        let source = fixture::host("host-a", &[("web", "web", DomainState::Running)]);
        let destination = fixture::host("host-b", &[]);
        let starts = |limit, option: &[&str]| {
            let line = [&["tsmig", "evacuate", "host-a", "host-b"], option].concat();
            let Command::Evacuate(arguments) = Cli::try_parse_from(line).unwrap().command else { unreachable!() };
            let demands = Demands { window_limit_seconds: limit, ..Demands::default() };
            stop_where_refused(&plan(&source, &destination, &[], &demands), &arguments)
        };
        for (limit, options) in [(None, &[][..]), (Some(600.0), &[]), (Some(0.1), &["--accept-overrun"])] {
            assert!(starts(limit, options).is_ok(), "{limit:?} {options:?}");
        }
        let error = starts(Some(0.1), &[]).unwrap_err().to_string();
        assert!(error.contains("its window is 0.10 s") && error.contains("--accept-overrun"), "{error}");
    }
}
