//! Profiles hosts over the window, and shows it passing.

use std::io::{self, IsTerminal};
use std::iter::zip;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::context::Context;
use super::usage;
use crate::cli::{SamplingArgs, checks};
use crate::libvirt::Host;
use crate::preflight::facts::Known;
use crate::profile::link::detect;
use crate::profile::sampler::{Inventory, Timing, profile_hosts};
use crate::profile::{Both, Profile};
use crate::render;
use crate::topology::{CapacityOrigin, Port};
use crate::units::{Rate, rate};

/// Capacity that is assumed of a link that nobody has told and libvirt can't see: 1 Gbit/s, in bits per second. It is
/// what every server has at the least; a faster link makes the plan's times shorter, not wrong in their order.
const ASSUMED_LINK: f64 = 1e9;

pub(crate) struct Sampling<'a> {
    context: Context<'a>,
    timing: Timing,
    link: Option<Rate>,
}

impl<'a> Sampling<'a> {
    pub(crate) fn new(context: Context<'a>, arguments: &SamplingArgs) -> Result<Self> {
        let timing = checks::timing(context.config, arguments).map_err(usage)?;
        Ok(Self { context, timing, link: arguments.link })
    }

    /// Profiles a source and a destination. Meanwhile they describe themselves, and the connections open over which the
    /// preflight asks both about each domain.
    pub(crate) fn of_both(&self, source: &Host, destination: &Host) -> Result<(Both, [Known; 2])> {
        let (hosts, domains) = ([source, destination], source.count()?);
        hosts.iter().for_each(|host| host.prepare_for(domains));
        let described = hosts.map(|host| host.aside(Host::describe));
        let sampled = self.of(&hosts)?;
        let known = |((profile, inventory), (host, described)): (_, (&Host, JoinHandle<_>))| {
            // One that takes no more connections, or takes long, is asked over the one that there is.
            let described = described.is_finished().then(|| described.join());
            let facts = described.and_then(Result::ok).and_then(Result::ok);
            Ok((profile, Known { facts: facts.map_or_else(|| host.describe(), Ok)?, inventory }))
        };
        let mut known =
            sampled.into_iter().zip(zip(hosts, described)).map(known).collect::<Result<Vec<_>>>()?.into_iter();
        match (known.next(), known.next()) {
            (Some((source, leaving)), Some((destination, resident))) => {
                Ok((Both { source, destination }, [leaving, resident]))
            }
            _ => bail!("a host gave no profile"),
        }
    }

    /// Profiles the hosts over the window, which a bar shows passing.
    pub(crate) fn of(&self, hosts: &[&Host]) -> Result<Vec<(Profile, Inventory)>> {
        let (timing, quiet) = (self.timing, self.context.output.quiet);
        let hosts: Vec<_> = hosts.iter().map(|host| Ok((*host, self.link(host)?))).collect::<Result<_>>()?;
        let names: Vec<_> = hosts.iter().map(|(host, _)| host.endpoint().name.as_str()).collect();
        let names = names.join(" and ");
        let window = timing.window.as_millis() as u64;
        let bar = Arc::new(if quiet { ProgressBar::hidden() } else { ProgressBar::new(window) });
        if !io::stderr().is_terminal() {
            self.context.say(&format!("profiling {names} for {}", humantime::format_duration(timing.window)));
        }
        let style = ProgressStyle::with_template("profiling {msg} [{bar:30}] {eta} left");
        bar.set_style(style.map_or_else(|_| ProgressStyle::default_bar(), |s| s.progress_chars("=> ")));
        let draw = |change: Box<dyn FnOnce(&ProgressBar) + Send>| {
            let bar = Arc::clone(&bar);
            render::draw(move || change(&bar));
        };
        draw(Box::new(|bar| bar.set_message(names)));
        let tick = |elapsed: Duration| draw(Box::new(move |bar| bar.set_position(elapsed.as_millis() as u64)));
        let profiles = profile_hosts(&hosts, timing, &tick);
        draw(Box::new(ProgressBar::finish_and_clear));
        Ok(profiles?)
    }

    /// The capacity of a host's link: as told, else as detected, else assumed. What is not certain is said.
    fn link(&self, host: &Host) -> Result<Port> {
        let name = &host.endpoint().name;
        if let Some(link) = self.context.config.link(name, self.link) {
            return Ok(link);
        }
        let remedy = "give --link, or `link` in the configuration";
        let warn = |text: &str| self.context.say(&format!("warning: {text}; {remedy}"));
        let (devices, bonds) = host.net_devices()?;
        if let Some(found) = detect(&devices, &bonds) {
            if let Some(assumption) = found.assumption {
                warn(&format!("the capacity of {name}'s link was detected, but {assumption}"));
            }
            let (name, bits_per_second) = (found.interface, found.bits_per_second);
            return Ok(Port { name, bits_per_second, origin: CapacityOrigin::Detected });
        }
        warn(&format!("the capacity of {name}'s link is not known, {} is assumed", rate(ASSUMED_LINK)));
        Ok(Port::unnamed(ASSUMED_LINK, CapacityOrigin::Assumed))
    }
}
