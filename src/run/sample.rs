//! Profiles hosts over the window, and shows it passing.

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::usage;
use crate::cli::{OutputArgs, SamplingArgs};
use crate::config::Config;
use crate::hypervisor::libvirt::Host;
use crate::profile::{LinkOrigin, Profile};
use crate::render::say;
use crate::sampling::{Timing, profile_hosts};
use crate::units;

pub(super) fn timing(arguments: &SamplingArgs) -> Result<Timing> {
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

pub(super) fn sample_both(
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
pub(super) fn sample(
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
