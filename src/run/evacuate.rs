//! `tsmig evacuate`: profile, plan, migrate, report.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::connect::{connect, is_remote};
use super::output::{create, save, show};
use super::plan::{earlier_run, make_plan};
use super::sample::{sample_both, timing};
use super::usage;
use crate::cli::{EvacuateArgs, Format, OutputArgs};
use crate::config::Config;
use crate::drift::{self, Checked};
use crate::evacuate::{Evacuation, Options, Timeout};
use crate::history::Recorder;
use crate::hypervisor::Route;
use crate::hypervisor::libvirt::{Host, Pair};
use crate::plan::{Plan, Step};
use crate::preflight;
use crate::profile::Profile;
use crate::profile_file::load_plan;
use crate::render::{Screen, print_line, say, tables};
use crate::report_file::SavedReport;
use crate::select::rules;
use crate::watch::watch;

pub(super) fn run(config: &Config, output: &OutputArgs, arguments: &EvacuateArgs) -> Result<u8> {
    let timing = timing(&arguments.sampling)?;
    let earlier = earlier_run(&arguments.planning)?;
    let saved = arguments.plan.as_deref().map(load_plan).transpose().map_err(usage)?;
    let (source_host, destination_host) = connect(config, &arguments.source, &arguments.destination)?;
    // Already now, so that it is connected when the first domain moves.
    let watched = arguments.report.is_some() && !arguments.dry_run;
    let readings = watched.then(|| watch(source_host.endpoint().clone(), destination_host.endpoint().clone()));
    let (source, destination) =
        sample_both(config, output, &arguments.sampling, timing, &source_host, &destination_host)?;
    let hosts = (&source_host, &destination_host);
    let plan = match saved {
        Some(saved) => still_holds(config, &saved, source, &destination, arguments, hosts, output)?,
        None => make_plan(config, source, &destination, &arguments.planning, earlier.as_ref(), Some(hosts))?,
    };
    if arguments.dry_run {
        show(output, &plan, || tables::plan(&plan))?;
        return Ok(0);
    }
    if output.output == Format::Text && !output.quiet {
        // Where nobody reads, the evacuation goes on: its outcome is in the exit status.
        let _ = print_line(&tables::plan(&plan));
    }
    stop_where_refused(&plan, arguments.partial)?;
    if plan.migrations.is_empty() && !output.quiet {
        say(&format!("{} has no domain to move", plan.source));
    }
    let file = create(arguments.report.as_deref())?;
    let migration_uri = arguments.migration_uri.clone().or_else(|| config.migration_uri(&arguments.destination));
    let route = if is_remote(&destination_host.endpoint().uri) { Route::PeerToPeer } else { Route::ClientManaged };
    let options = Options { migration_uri, route, timeout: arguments.timeout, timeouts: timeouts(config, &plan) };
    let mut recorder = file.is_some().then(|| Recorder::new(&plan, readings));
    let hosts = Arc::new(Pair::new(source_host, destination_host));
    let evacuation = Evacuation::new(&plan, hosts, options);
    let interrupter = evacuation.interrupter();
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals can't be handled")?;
    thread::spawn(move || signals.forever().for_each(|_| interrupter.interrupt()));

    let mut screen = Screen::new(output);
    let report = evacuation.run(&mut |event| {
        screen.draw(event);
        if let Some(recorder) = &mut recorder {
            recorder.hear(event);
        }
    });
    let history = recorder.map(|recorder| recorder.finish(report.total_seconds));
    let saved = SavedReport { report, history };
    let report = &saved.report;
    if let Err(error) = save(file.as_ref(), arguments.report.as_deref(), &saved) {
        say(&format!("warning: the report was not written: {error:#}"));
    }
    if output.output == Format::Text {
        let _ = print_line(&tables::report(report));
    }
    Ok(report.outcome.exit_status())
}

/// The saved plan for today's hosts, where it holds or the user accepts that it does not.
fn still_holds(
    config: &Config,
    saved: &Plan,
    mut source: Profile,
    destination: &Profile,
    arguments: &EvacuateArgs,
    (from, to): (&Host, &Host),
    output: &OutputArgs,
) -> Result<Plan> {
    let rules = rules(&source, &arguments.planning, config).map_err(usage)?;
    let facts = preflight::gather(from, to, &source, &rules)?;
    preflight::mark(&mut source, destination, &facts);
    let Checked { plan, differences } = drift::check(saved, &source, destination);
    let plan = preflight::remark(plan, &facts);
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
    Ok(plan)
}

/// The timeouts that rules of the configuration give single domains, by UUID; one that was typed is for all.
fn timeouts(config: &Config, plan: &Plan) -> HashMap<String, Timeout> {
    let of = |step: &Step| Some((step.uuid.clone(), config.rule(&step.domain, |rule| &rule.timeout)?));
    if config.is_typed("timeout") { HashMap::new() } else { plan.migrations.iter().filter_map(of).collect() }
}

/// Nothing moves where a host can't take part, or where some domain can't move and the others were not asked for.
fn stop_where_refused(plan: &Plan, partial: bool) -> Result<()> {
    let blocked = plan.blocked.iter().map(|blocked| format!("  {}: {}", blocked.host, blocked.reason));
    let refused = plan.refused.iter().map(|refused| format!("  {}: {}", refused.domain, refused.reason));
    let findings: Vec<_> = blocked.chain(refused).collect();
    let advice = if !plan.blocked.is_empty() {
        "nothing was moved, since a host can't take part"
    } else if !findings.is_empty() && !partial {
        "nothing was moved, since not everything can be; with --partial the others go, with --exclude one stays on purpose"
    } else {
        return Ok(());
    };
    bail!("{advice}\n{}", findings.join("\n"));
}
