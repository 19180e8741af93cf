//! The commands: each a straight line from the arguments to the result and the exit status.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::{Cli, Command, EvacuateArgs, Format, OutputArgs, PlanArgs, PlanningArgs, ProfileArgs, SamplingArgs};
use crate::config::Config;
use crate::evacuate::{Evacuation, Options};
use crate::hypervisor::Route;
use crate::hypervisor::libvirt::{Host, Pair};
use crate::plan::{Demands, Plan, plan};
use crate::preflight::refuse_collisions;
use crate::profile::{LinkOrigin, Profile};
use crate::render::{Screen, print_line, say, tables};
use crate::sampling::{Timing, profile_hosts};
use crate::select::rules;
use crate::{profile_file, units};

/// Exit status of a usage or configuration error.
pub const USAGE: u8 = 2;
/// Exit status where nothing was moved because of any other error.
pub const NOTHING_MOVED: u8 = 1;

/// What the user typed or wrote can't be used; the exit status is [`USAGE`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    Usage(error.to_string()).into()
}

/// Runs the command line and returns the exit status.
///
/// # Errors
/// Nothing was moved; [`Usage`] where the input was at fault.
pub fn run(cli: Cli) -> Result<u8> {
    let config = Config::load(cli.config.as_deref()).map_err(usage)?;
    let result = match cli.command {
        Command::Profile(arguments) => profile(&config, &cli.output, &arguments),
        Command::Plan(arguments) => print_plan(&config, &cli.output, &arguments),
        Command::Evacuate(arguments) => evacuate(&config, &cli.output, &arguments),
    };
    match result {
        // A reader that has seen enough, such as `| head`, is no error. Nothing is printed while domains move.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => Ok(0),
        other => other,
    }
}

/// Two profiles as `plan --profile` reads them.
#[derive(Serialize)]
struct Both<'a> {
    source: &'a Profile,
    destination: &'a Profile,
}

fn profile(config: &Config, output: &OutputArgs, arguments: &ProfileArgs) -> Result<u8> {
    let timing = timing(&arguments.sampling)?;
    let file = create(arguments.save.as_deref())?;
    let profiles = match &arguments.destination {
        Some(destination) => {
            let (source, destination) = connect(config, &arguments.host, destination)?;
            let (source, destination) =
                sample_both(config, output, &arguments.sampling, timing, &source, &destination)?;
            vec![source, destination]
        }
        None => {
            let host = Host::open(config.endpoint(valid(&arguments.host)?))?;
            sample(config, output, &arguments.sampling, timing, &[&host])?
        }
    };
    match profiles.as_slice() {
        [source, destination] => {
            let both = Both { source, destination };
            save(file.as_ref(), arguments.save.as_deref(), &both)?;
            show(output, &both, || format!("{}\n\n{}", tables::profile(source), tables::profile(destination)))?;
        }
        alone => {
            for profile in alone {
                save(file.as_ref(), arguments.save.as_deref(), profile)?;
                show(output, profile, || tables::profile(profile))?;
            }
        }
    }
    Ok(0)
}

fn print_plan(config: &Config, output: &OutputArgs, arguments: &PlanArgs) -> Result<u8> {
    let file = create(arguments.save.as_deref())?;
    let (mut source, destination) = match (&arguments.profile, &arguments.source, &arguments.destination) {
        (Some(path), ..) => {
            let (mut source, mut destination) = profile_file::load(path).map_err(usage)?;
            if let Some(rate) = arguments.sampling.link {
                for profile in [&mut source, &mut destination] {
                    profile.link.bits_per_second = rate.bits_per_second();
                    profile.link.origin = LinkOrigin::Option;
                }
            }
            (source, destination)
        }
        (None, Some(source), Some(destination)) => {
            let timing = timing(&arguments.sampling)?;
            let (source, destination) = connect(config, source, destination)?;
            sample_both(config, output, &arguments.sampling, timing, &source, &destination)?
        }
        (None, ..) => return Err(usage("plan needs SOURCE and DESTINATION, or --profile FILE")),
    };
    let plan = make_plan(&mut source, &destination, &arguments.planning)?;
    save(file.as_ref(), arguments.save.as_deref(), &plan)?;
    show(output, &plan, || tables::plan(&plan))?;
    Ok(0)
}

fn evacuate(config: &Config, output: &OutputArgs, arguments: &EvacuateArgs) -> Result<u8> {
    let timing = timing(&arguments.sampling)?;
    let (source_host, destination_host) = connect(config, &arguments.source, &arguments.destination)?;
    let (mut source, destination) =
        sample_both(config, output, &arguments.sampling, timing, &source_host, &destination_host)?;
    let plan = make_plan(&mut source, &destination, &arguments.planning)?;
    if arguments.dry_run {
        show(output, &plan, || tables::plan(&plan))?;
        return Ok(0);
    }
    if output.output == Format::Text && !output.quiet {
        // Where nobody reads, the evacuation goes on: its outcome is in the exit status.
        let _ = print_line(&tables::plan(&plan));
    }
    if !plan.refused.is_empty() && !arguments.partial {
        let refused: Vec<_> = plan.refused.iter().map(|r| format!("  {}: {}", r.domain, r.reason)).collect();
        bail!(
            "nothing was moved, since not everything can be; with --partial the others go, with --exclude one stays \
             on purpose\n{}",
            refused.join("\n")
        );
    }
    if plan.migrations.is_empty() && !output.quiet {
        say(&format!("{} has no domain to move", plan.source));
    }
    let file = create(arguments.report.as_deref())?;
    let migration_uri = arguments.migration_uri.clone().or_else(|| config.migration_uri(&arguments.destination));
    let route = if is_remote(&destination_host.endpoint().uri) { Route::PeerToPeer } else { Route::ClientManaged };
    let options = Options { migration_uri, route, timeout: arguments.timeout };
    let hosts = Arc::new(Pair::new(source_host, destination_host));
    let evacuation = Evacuation::new(&plan, hosts, options);
    let interrupter = evacuation.interrupter();
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals can't be handled")?;
    thread::spawn(move || signals.forever().for_each(|_| interrupter.interrupt()));

    let mut screen = Screen::new(output);
    let report = evacuation.run(&mut |event| screen.draw(event));
    if let Err(error) = save(file.as_ref(), arguments.report.as_deref(), &report) {
        say(&format!("warning: the report was not written: {error:#}"));
    }
    if output.output == Format::Text {
        let _ = print_line(&tables::report(&report));
    }
    Ok(report.outcome.exit_status())
}

fn make_plan(source: &mut Profile, destination: &Profile, arguments: &PlanningArgs) -> Result<Plan> {
    let rules = rules(source, arguments).map_err(usage)?;
    refuse_collisions(source, destination);
    let demands = Demands {
        objective: arguments.objective,
        concurrency: arguments.concurrency.0.map(Into::into),
        bandwidth_bits_per_second: arguments.bandwidth.map(units::Rate::bits_per_second),
        post_copy_limit: arguments.post_copy_limit.map(Into::into),
        window_limit_seconds: arguments.window_limit.map(|limit| limit.as_secs_f64()),
    };
    Ok(plan(source, destination, &rules, &demands))
}

/// Opens both hosts at the same time, and makes sure that they are two.
fn connect(config: &Config, source: &str, destination: &str) -> Result<(Host, Host)> {
    let (from, to) = (config.endpoint(valid(source)?), config.endpoint(valid(destination)?));
    if from.uri == to.uri {
        return Err(usage(format!("source and destination are the same host: {}", from.uri)));
    }
    let (from, to) = thread::scope(|scope| {
        let to = scope.spawn(|| Host::open(to));
        let from = Host::open(from);
        (from, to.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (from, to) = (from?, to?);
    if let (Some(one), Some(other)) = (from.machine_uuid()?, to.machine_uuid()?)
        && one == other
    {
        bail!(
            "{source} and {destination} are the same machine (libvirt host UUID {one}); if they are not, give each \
             its own host_uuid in libvirtd.conf"
        );
    }
    Ok((from, to))
}

fn valid(name: &str) -> Result<&str> {
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(usage(format!("{name:?} is no host; give a name such as host-a, or a libvirt URI")));
    }
    Ok(name)
}

/// Whether another host can connect by this URI: one without a server means the machine that opens it.
fn is_remote(uri: &str) -> bool {
    uri.split_once("://").is_some_and(|(_, rest)| !rest.starts_with('/'))
}

fn timing(arguments: &SamplingArgs) -> Result<Timing> {
    let SamplingArgs { window, interval, .. } = *arguments;
    if interval > window {
        return Err(usage(format!(
            "--interval {} is longer than --window {}",
            humantime::format_duration(interval),
            humantime::format_duration(window)
        )));
    }
    Ok(Timing { window, interval })
}

fn sample_both(
    config: &Config,
    output: &OutputArgs,
    arguments: &SamplingArgs,
    timing: Timing,
    source: &Host,
    destination: &Host,
) -> Result<(Profile, Profile)> {
    let mut profiles = sample(config, output, arguments, timing, &[source, destination])?.into_iter();
    match (profiles.next(), profiles.next()) {
        (Some(source), Some(destination)) => Ok((source, destination)),
        _ => bail!("a host gave no profile"),
    }
}

/// Profiles the hosts over the window, which a bar shows passing.
fn sample(
    config: &Config,
    output: &OutputArgs,
    arguments: &SamplingArgs,
    timing: Timing,
    hosts: &[&Host],
) -> Result<Vec<Profile>> {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host, config.link(&host.endpoint().name, arguments.link))).collect();
    let names: Vec<_> = hosts.iter().map(|(host, _)| host.endpoint().name.as_str()).collect();
    let names = names.join(" and ");
    if !output.quiet {
        for (host, link) in hosts.iter().filter(|(_, link)| link.origin == LinkOrigin::Assumed) {
            say(&format!(
                "warning: the capacity of {}'s link is not known, {}/s is assumed; give --link, or `link` in the \
                 configuration",
                host.endpoint().name,
                units::Rate::from_bits_per_second(link.bits_per_second)
            ));
        }
    }
    let bar = if output.quiet { ProgressBar::hidden() } else { ProgressBar::new(timing.window.as_millis() as u64) };
    if !output.quiet && !io::stderr().is_terminal() {
        say(&format!("profiling {names} for {}", humantime::format_duration(timing.window)));
    }
    let style = ProgressStyle::with_template("profiling {msg} [{bar:30}] {eta} left");
    bar.set_style(style.map_or_else(|_| ProgressStyle::default_bar(), |s| s.progress_chars("=> ")));
    bar.set_message(names);
    let tick = |elapsed: Duration| bar.set_position(elapsed.as_millis() as u64);
    let profiles = profile_hosts(&hosts, timing, &tick);
    bar.finish_and_clear();
    Ok(profiles?)
}

/// Opens a file for a result before anything else is done: a path that can't be written must not be found out after.
/// What it held stays until there is a result.
fn create(path: Option<&Path>) -> Result<Option<File>> {
    let create = |path: &Path| {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        file.map_err(|error| usage(format!("{}: can't be written: {error}", path.display())))
    };
    path.map(create).transpose()
}

fn save(file: Option<&File>, path: Option<&Path>, value: &impl Serialize) -> Result<()> {
    let (Some(mut file), Some(path)) = (file, path) else { return Ok(()) };
    let text = serde_json::to_string_pretty(value)? + "\n";
    // A pipe or a terminal has no length.
    let empty = || if file.metadata()?.is_file() { file.set_len(0) } else { Ok(()) };
    empty()
        .and_then(|()| file.write_all(text.as_bytes()))
        .with_context(|| format!("{} can't be written", path.display()))
}

fn show(output: &OutputArgs, value: &impl Serialize, text: impl Fn() -> String) -> Result<()> {
    let shown = match output.output {
        Format::Json => serde_json::to_string(value)?,
        Format::Text => text(),
    };
    Ok(print_line(&shown)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_result_stays_until_there_is_a_new_one() {
        let path = std::env::temp_dir().join(format!("tsmig-save-{}.json", std::process::id()));
        std::fs::write(&path, "an older and longer result").unwrap();
        let file = create(Some(&path)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "an older and longer result");
        save(file.as_ref(), Some(&path), &"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"new\"\n");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_uri_without_a_server_means_the_machine_that_opens_it() {
        assert!(is_remote("qemu+ssh://host-b/system"));
        assert!(is_remote("qemu+tcp://10.0.0.2:16509/system"));
        assert!(!is_remote("qemu:///system"));
        assert!(!is_remote("qemu+unix:///system"));
    }
}
