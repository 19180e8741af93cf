//! `tsmig evacuate`: finish what an earlier run left, profile, plan, migrate, report.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;

use anyhow::{Result, bail};

use crate::cli::steps::claim::Claim;
use crate::cli::steps::connect::{connect, endpoints};
use crate::cli::steps::context::Context;
use crate::cli::steps::examine::Live;
use crate::cli::steps::interrupts::Interrupts;
use crate::cli::steps::planning::Planning;
use crate::cli::steps::sampling::Sampling;
use crate::cli::steps::usage;
use crate::cli::{EvacuateArgs, Format, checks};
use crate::config::Config;
use crate::engine::hooks::{AfterDomains, Hooks};
use crate::engine::migration::OnStall;
use crate::engine::recovery::survey::Scope;
use crate::engine::{Control, Evacuation, Options, Timeout};
use crate::files::result_file::ResultFile;
use crate::files::saved_report::SavedReport;
use crate::forecast::Forecaster;
use crate::history::Recorder;
use crate::history::observer::Observer;
use crate::history::traffic_monitor::{Reading, watch};
use crate::libvirt::Endpoint;
use crate::plan::{Difference, Leeway, Objective, Plan, Step};
use crate::profile::Both;
use crate::render::feed::Feed;
use crate::render::{leave, post_line, say, tables};
use crate::report::{DomainOutcome, DomainReport, Outcome, Report};
use crate::units::span;

pub(super) fn run(context: Context<'_>, arguments: &EvacuateArgs) -> Result<u8> {
    perform(context, arguments, Interrupts::catch).map(|(status, _)| status)
}

/// Evacuates, and returns the exit status and, if anything was begun, the report. From the first thing that is done to a
/// host on, signals are handed on.
pub(super) fn perform(
    context: Context<'_>,
    arguments: &EvacuateArgs,
    interrupts: impl FnOnce() -> Result<Interrupts>,
) -> Result<(u8, Option<Report>)> {
    // What can be found without a host comes first.
    let endpoints = endpoints(context.config, &arguments.source, &arguments.destination)?;
    let request = Request::read(context, arguments, &endpoints)?;
    let (source, destination) = connect(endpoints)?;
    if arguments.dry_run {
        return Ok((request.show_plan(Live { from: &source, to: &destination, journal: None })?, None));
    }
    let claim = Claim::take(context, interrupts()?, (source, destination))?;
    // Before the preflight, which refuses a domain that is on its way, whoever began it.
    let earlier = match request.finish_earlier(&claim)? {
        Some(report) if is_last(&report) => {
            claim.interrupts.hand_to(leave);
            let saved = SavedReport { report, history: None };
            return Ok((request.conclude(&saved), Some(saved.report)));
        }
        report => report.map(|report| report.domains).unwrap_or_default(),
    };
    // Already now, so that it is connected when the first domain moves.
    let [from, to] = claim.endpoints();
    let readings = request.file.is_some().then(|| watch(from.clone(), to.clone()));
    let (plan, profiles) = request.plan(claim.live())?;
    if context.output.output == Format::Text && !context.output.quiet {
        post_line(tables::plan(&plan));
    }
    stop_where_refused(&plan, arguments)?;
    claim.announce(&plan)?;
    if plan.migrations.is_empty() {
        context.say(&format!("{} has no domain to move", plan.source));
    }
    let leeway = match arguments.no_replan {
        true => None,
        false => Leeway::of(&plan, request.planning.gives_the_order(&profiles)?),
    };
    let may_switch = arguments.on_stall.is_none_or(|on_stall| on_stall == OnStall::PostCopy);
    let forecaster = Forecaster::new(&plan, profiles, leeway, may_switch);
    Run { request: &request, hooks: request.hooks_for(&plan), plan, claim: &claim }
        .carry_out(earlier, readings, forecaster)
}

/// What was asked for, checked as far as that can be done without a host.
struct Request<'a> {
    context: Context<'a>,
    arguments: &'a EvacuateArgs,
    sampling: Sampling<'a>,
    planning: Planning<'a>,
    hooks: Arc<Hooks>,
    file: Option<ResultFile>,
}

impl<'a> Request<'a> {
    fn read(context: Context<'a>, arguments: &'a EvacuateArgs, endpoints: &[Endpoint; 2]) -> Result<Self> {
        let (saved, returning) = (arguments.plan.as_deref(), arguments.planning.from_report.as_deref());
        let inputs = [("--plan", saved), ("--from-report", returning)];
        Ok(Self {
            context,
            arguments,
            sampling: Sampling::new(context, &arguments.sampling)?.over(arguments.migration_uri.clone()),
            planning: Planning::read(context, &arguments.planning, saved)?,
            hooks: Arc::new(hooks(context.config, endpoints)?),
            file: context.result_file("--report", arguments.report.as_deref(), &inputs)?,
        })
    }

    /// The plan for hosts whose ports are still what they were when it was begun: else it is made once more. With the profiles
    /// that it is made of.
    fn plan(&self, hosts: Live<'_>) -> Result<(Plan, Both)> {
        let (plan, profiles) = self.plan_once(hosts)?;
        if !plan.blocked.is_empty() {
            return Ok((plan, profiles));
        }
        let changes = self.sampling.changes([hosts.from, hosts.to], &plan.hosts)?;
        if changes.is_empty() {
            return Ok((plan, profiles));
        }
        self.context.say(&format!(
            "note: the plan is made anew, since the hosts' networks have changed meanwhile; {}",
            changes.join("; ")
        ));
        self.plan_once(hosts)
    }

    /// Profiles the hosts, and has the plan made.
    fn plan_once(&self, hosts: Live<'_>) -> Result<(Plan, Both)> {
        let (profiles, known, passage) = self.sampling.of_both(hosts.from, hosts.to)?;
        let assessment = self.planning.assess(profiles.clone(), Some((hosts, known, passage)))?;
        if self.planning.is_of_saved() {
            self.still_holds(&assessment.differences)?;
        }
        Ok((assessment.plan, profiles))
    }

    /// Nothing moves by a saved plan that does not hold any more, unless the user accepts that.
    fn still_holds(&self, differences: &[Difference]) -> Result<()> {
        let list = differences.iter().map(|difference| format!("\n  {difference}")).collect::<String>();
        if differences.is_empty() {
            self.context.say("the saved plan still holds");
        } else if self.arguments.accept_drift {
            self.context.say(&format!("warning: the saved plan does not hold any more, and is run nevertheless{list}"));
        } else {
            bail!(
                "nothing was moved, since the saved plan does not hold any more; make a new one, or run it with \
                 --accept-drift as far as that is safe{list}"
            );
        }
        Ok(())
    }

    fn show_plan(&self, hosts: Live<'_>) -> Result<u8> {
        let (plan, _) = self.plan(hosts)?;
        self.context.show(&plan, || tables::plan(&plan))?;
        stop_where_refused(&plan, self.arguments)?;
        for hook in self.hooks_for(&plan).list() {
            self.context.say(&format!("hook that would run, {hook}"));
        }
        Ok(0)
    }

    /// The hooks of a run: none if nothing is to be moved.
    fn hooks_for(&self, plan: &Plan) -> Arc<Hooks> {
        if plan.migrations.is_empty() { Arc::default() } else { Arc::clone(&self.hooks) }
    }

    /// Finishes what an earlier run left, if there is something.
    fn finish_earlier(&self, claim: &Claim<'_>) -> Result<Option<Report>> {
        let found = claim.survey(Scope::Journal)?;
        let options = claim.options(self.arguments.migration_uri.as_deref());
        Ok((!found.findings.is_empty()).then(|| claim.finish(found, options, is_last)))
    }

    fn conclude(&self, saved: &SavedReport) -> u8 {
        self.context.conclude(self.file.as_ref(), saved)
    }
}

/// Whether the run ends with what it found from an earlier one. What is lost already must not keep the others here.
fn is_last(report: &Report) -> bool {
    let is_open = |domain: &DomainReport| domain.outcome == DomainOutcome::NeedsRecovery;
    report.outcome == Outcome::Interrupted || report.domains.iter().any(is_open)
}

struct Run<'a> {
    request: &'a Request<'a>,
    claim: &'a Claim<'a>,
    plan: Plan,
    hooks: Arc<Hooks>,
}

impl Run<'_> {
    /// Moves the domains; `earlier` are the reports of those that an earlier run had begun to move.
    fn carry_out(
        &self,
        earlier: Vec<DomainReport>,
        readings: Option<Receiver<Reading>>,
        forecaster: Forecaster,
    ) -> Result<(u8, Option<Report>)> {
        let (hosts, journal) = (Arc::clone(&self.claim.hosts), Arc::clone(&self.claim.journal));
        let planning = &self.request.planning;
        let evacuation = Evacuation::new(&self.plan, earlier, hosts, journal, self.options())
            .wanting(planning.wanted(&self.plan), planning.empties(&self.plan));
        let (control, hooks) = (evacuation.control(), Arc::clone(&self.hooks));
        let replanned = evacuation.control();
        self.claim.interrupts.hand_to(move || {
            hooks.interrupt();
            control.interrupt();
        });
        // One that is interrupted is followed by the end of a run that has launched nothing.
        if let Some(problem) = self.hooks.before_run().err().filter(|_| !self.hooks.are_interrupted()) {
            self.run_last_hook(Outcome::Failed, false);
            bail!("nothing was moved, since {problem}");
        }
        let recorder = readings.map(|readings| Recorder::new(&self.plan, Some(readings)));
        let observer = Observer::new(self.claim.identities.clone(), forecaster.source().clone());
        let saved = self.migrate((evacuation, replanned), recorder, forecaster, observer);
        let status = self.request.conclude(&saved);
        self.run_last_hook(saved.report.outcome, true);
        Ok((status, Some(saved.report)))
    }

    fn options(&self) -> Options {
        let Request { context, arguments, .. } = self.request;
        Options {
            timeout: arguments.timeout,
            timeouts: timeouts(context.config, &self.plan),
            on_stall: arguments.on_stall,
            replan: !arguments.no_replan && self.plan.objective == Objective::Time,
            watch_arrivals: arguments.watch_arrivals,
            hooks: Arc::clone(&self.hooks),
            ..self.claim.options(arguments.migration_uri.as_deref())
        }
    }

    /// Runs the evacuation to its end. Whoever draws, records, foretells, or waits for a hook hears of it; what is foretold may
    /// change what waits.
    fn migrate(
        &self,
        (evacuation, control): (Evacuation, Control),
        mut recorder: Option<Recorder>,
        mut forecaster: Forecaster,
        mut observer: Observer,
    ) -> SavedReport {
        let mut feed = Feed::to(self.request.context.screen());
        let mut after_domains = AfterDomains::new(&self.hooks);
        let report = thread::scope(|scope| {
            evacuation.run(&mut |event| {
                after_domains.hear(scope, event, &mut |event| {
                    feed.tell(event);
                    observer.hear(event);
                    if let Some(forecast) = forecaster.hear(event) {
                        feed.tell(&forecast);
                    }
                    forecaster.take_better().into_iter().for_each(|schedule| control.replace(schedule));
                    if let Some(recorder) = &mut recorder {
                        recorder.hear(event);
                    }
                });
            })
        });
        if let Err(error) = self.claim.experience.add(&observer.finish(forecaster.pace())) {
            let path = self.claim.experience.path().display();
            self.request.context.say(&format!("note: what this run has shown can't be kept in {path}: {error}"));
        }
        let history = recorder.map(|recorder| recorder.finish(report.total_seconds));
        SavedReport { report, history }
    }

    /// Runs the hook after the run; `reported` says whether there is a report.
    fn run_last_hook(&self, outcome: Outcome, reported: bool) {
        let (hooks, told) = (Arc::clone(&self.hooks), AtomicBool::new(false));
        self.claim.interrupts.hand_to(move || {
            hooks.interrupt();
            if !told.swap(true, Ordering::Relaxed) {
                say("the after-run hook still runs; interrupt again to end it");
            }
        });
        let report = self.request.arguments.report.as_deref().filter(|_| reported);
        if let Err(problem) = self.hooks.after_run(outcome, report) {
            say(&format!("warning: {problem}"));
        }
        self.claim.interrupts.hand_to(leave);
    }
}

/// The hooks that the configuration gives a run between two hosts; one that is no program which could be run is an
/// error of the configuration.
fn hooks(config: &Config, [source, destination]: &[Endpoint; 2]) -> Result<Hooks> {
    checks::hooks(config).map_err(usage)?;
    let commands = config.hooks.iter().map(|(name, hook)| (*name, hook.value.clone())).collect();
    let limit = config.hook_timeout.as_ref().map(|limit| limit.value);
    Ok(Hooks::new(commands, limit, source, destination))
}

/// The timeouts that rules of the configuration give single domains, by UUID; one that was typed is for all.
fn timeouts(config: &Config, plan: &Plan) -> HashMap<String, Timeout> {
    let of = |step: &Step| Some((step.uuid.clone(), config.rule(&step.domain, |rule| &rule.timeout)?));
    if config.is_typed("timeout") { HashMap::new() } else { plan.migrations.iter().filter_map(of).collect() }
}

/// Nothing moves if a host can't take part, if some domain can't move and the others were not asked for, or if the plan
/// does not fit its window and that was not accepted.
fn stop_where_refused(plan: &Plan, arguments: &EvacuateArgs) -> Result<()> {
    let blocked = plan.blocked.iter().map(|blocked| format!("  {}: {}", blocked.host, blocked.obstacle));
    let refused = plan.refused.iter().map(|refused| format!("  {}: {}", refused.domain, refused.obstacle));
    let findings: Vec<_> = blocked.chain(refused).collect();
    let advice = if !plan.blocked.is_empty() {
        "nothing was moved, since a host can't take part"
    } else if !findings.is_empty() && !arguments.partial {
        match &arguments.plan {
            _ if arguments.rehearsal => "nothing was moved: some of these domains can't be. Name others",
            None => {
                "nothing was moved: some domains can't be. Use --partial to move the rest, or --exclude to leave them"
            }
            Some(_) => "nothing was moved: some domains can't be. Use --partial to move the rest, or make a new plan",
        }
    } else {
        return fits_window(plan, arguments);
    };
    bail!("{advice}\n{}", findings.join("\n"));
}

fn fits_window(plan: &Plan, arguments: &EvacuateArgs) -> Result<()> {
    let Some(window) = plan.window.filter(|window| !window.fits && !arguments.accept_overrun) else { return Ok(()) };
    let fewer = match arguments.plan {
        None => "move fewer domains (--only, --exclude)",
        Some(_) => "make a new plan of fewer domains",
    };
    let most = plan.predicted.high.map(|high| high.total_seconds).or(plan.predicted.total_seconds);
    let total = most.map_or_else(|| "not to end".to_owned(), |most| format!("to take up to {}", span(most)));
    bail!(
        "nothing was moved, since the plan is predicted {total}, and its window is {}; {fewer}, or run it with \
         --accept-overrun",
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
        assert!(error.contains("--only"), "{error}");
        let error = starts(Some(0.1), &["--plan", "saved.json"]).unwrap_err().to_string();
        assert!(
            error.contains("make a new plan") && !error.contains("--only"),
            "a saved plan takes no selection: {error}"
        );
    }
}
