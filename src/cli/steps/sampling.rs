//! Profiles hosts over the window, and shows it passing.

use std::io::{self, IsTerminal};
use std::iter::zip;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::connect::{identities, is_remote, named};
use super::context::Context;
use super::usage;
use crate::cli::{SamplingArgs, checks};
use crate::engine::recovery::journal;
use crate::experience::lessons;
use crate::experience::record::{Hosts, Record};
use crate::experience::store::{Contents, Store};
use crate::libvirt::facts::{Doors, Wiring};
use crate::libvirt::{Host, server};
use crate::preflight::facts::Known;
use crate::preflight::way::Passage;
use crate::profile::ports::Ports;
use crate::profile::sampler::{Inventory, profile_hosts};
use crate::profile::window::{Timing, Window};
use crate::profile::{Both, Profile};
use crate::render;
use crate::topology::{CapacityOrigin, HostPorts, Port};
use crate::units::{Rate, rate};

pub(crate) struct Sampling<'a> {
    context: Context<'a>,
    timing: Timing,
    link: Option<Rate>,
    /// As it was typed.
    migration_uri: Option<String>,
}

impl<'a> Sampling<'a> {
    pub(crate) fn new(context: Context<'a>, arguments: &SamplingArgs) -> Result<Self> {
        let timing = checks::timing(context.config, arguments).map_err(usage)?;
        Ok(Self { context, timing, link: arguments.link, migration_uri: None })
    }

    /// The same for a run that has the destination take memory there.
    pub(crate) fn over(self, migration_uri: Option<String>) -> Self {
        Self { migration_uri, ..self }
    }

    /// Profiles a source and a destination, and tells the way from the one to the other. Meanwhile they describe themselves and
    /// their ports, and the connections open over which the preflight asks both about each domain.
    pub(crate) fn of_both(&self, source: &Host, destination: &Host) -> Result<(Both, [Known; 2], Passage)> {
        let (hosts, domains) = ([source, destination], source.count()?);
        hosts.iter().for_each(|host| host.prepare_for(domains));
        let described = hosts.map(|host| host.aside(Host::describe));
        let timing = match source.runs_any()? {
            true => self.timing,
            // There is nothing to watch.
            false => Timing { window: Window::Fixed(self.timing.interval), ..self.timing },
        };
        let (passage, sampled) = thread::scope(|scope| {
            let passage = scope.spawn(|| self.passage_with_doors(source, destination));
            let sampled = self.over_window(&hosts, timing);
            (passage.join().unwrap_or_else(|panic| resume_unwind(panic)), sampled)
        });
        let passage = passage?;
        let wired = |((profile, inventory), ports): ((Profile, _), _)| (profile.wired(ports), inventory);
        let sampled = zip(sampled?, self.ports_on(&passage, hosts)).map(wired);
        let known = |((profile, inventory), (host, described)): (_, (&Host, JoinHandle<_>))| {
            // One that takes no more connections, or takes long, is asked over the one that there is.
            let described = described.is_finished().then(|| described.join());
            let facts = described.and_then(Result::ok).and_then(Result::ok);
            Ok((profile, Known { facts: facts.map_or_else(|| host.describe(), Ok)?, inventory }))
        };
        let mut known = sampled.zip(zip(hosts, described)).map(known).collect::<Result<Vec<_>>>()?.into_iter();
        match (known.next(), known.next()) {
            (Some((from, leaving)), Some((to, resident))) => {
                let identities = identities([(source, &leaving.facts), (destination, &resident.facts)]);
                let mut profiles = Both { source: from, destination: to };
                let link = profiles.source.link_to(&profiles.destination);
                lessons::teach(&self.earlier_runs(), &identities, link, &mut profiles.source);
                Ok((profiles, [leaving, resident], passage))
            }
            _ => bail!("a host gave no profile"),
        }
    }

    /// What has changed of both hosts' ports since a plan was made with these, each with its host, and what has cut the way of
    /// the memory since.
    pub(crate) fn changes(&self, hosts: [&Host; 2], then: &[HostPorts]) -> Result<Vec<String>> {
        let [source, destination] = hosts;
        let mut passage = self.passage(source, destination)?;
        let [here, there] = hosts.map(|host| &*host.endpoint().name);
        if !passage.obstacles(here, there).is_empty() {
            // A destination that answers disproves some.
            passage = Self::with_doors(source, passage)?;
        }
        let cut = passage.obstacles(here, there).into_iter().map(|obstacle| obstacle.to_string());
        let now = self.wired(&passage, hosts);
        let of_host = |(then, now): (&HostPorts, Ports)| {
            let changes = now.changes(then).into_iter();
            changes.map(|change| format!("{}: {change}", then.host)).collect::<Vec<_>>()
        };
        Ok(zip(then, now).flat_map(of_host).chain(cut).collect())
    }

    /// Profiles hosts: of two or more, the first as the source of migrations to the second.
    pub(crate) fn of(&self, hosts: &[&Host]) -> Result<Vec<Profile>> {
        let (ports, sampled) = thread::scope(|scope| {
            let ports = scope.spawn(|| self.ports_of(hosts));
            let sampled = self.over_window(hosts, self.timing);
            (ports.join().unwrap_or_else(|panic| resume_unwind(panic)), sampled)
        });
        let ports = ports?;
        zip(hosts, &ports).for_each(|(host, ports)| self.warn(&host.endpoint().name, ports));
        let mut profiles: Vec<_> = zip(sampled?, ports).map(|((profile, _), ports)| profile.wired(ports)).collect();
        if let ([from, to, ..], [source, destination, ..]) = (hosts, &mut profiles[..]) {
            // A host that does not say which it is has no experience.
            let name = |host: &Host| Some(named(host, host.machine_uuid().ok()?));
            if let (Some(from), Some(to)) = (name(from), name(to)) {
                let (identities, link) = (Hosts { source: from, destination: to }, source.link_to(destination));
                lessons::teach(&self.earlier_runs(), &identities, link, source);
            }
        }
        Ok(profiles)
    }

    /// What earlier runs have shown; a file that can't be read is told of.
    fn earlier_runs(&self) -> Vec<Record> {
        let Contents { records, note } = Store::within(&journal::directory()).read();
        note.iter().for_each(|note| self.context.say(&format!("note: {note}")));
        records
    }

    /// The ports of hosts: of two or more, the first as the source of migrations to the second.
    fn ports_of(&self, hosts: &[&Host]) -> Result<Vec<Ports>> {
        let (mut ports, rest) = match hosts {
            [source, destination, rest @ ..] => {
                (self.wired(&self.passage(source, destination)?, [source, destination]).into(), rest)
            }
            alone => (Vec::new(), alone),
        };
        for host in rest {
            ports.push(self.ports(host, &host.wiring(None)?, None));
        }
        Ok(ports)
    }

    /// Profiles the hosts over the window, which a bar shows passing.
    fn over_window(&self, hosts: &[&Host], timing: Timing) -> Result<Vec<(Profile, Inventory)>> {
        let quiet = self.context.output.quiet;
        let names: Vec<_> = hosts.iter().map(|host| host.endpoint().name.as_str()).collect();
        let names = names.join(" and ");
        let [least, most] = [timing.window.least(), timing.window.most()];
        let window = most.as_millis() as u64;
        let bar = Arc::new(if quiet { ProgressBar::hidden() } else { ProgressBar::new(window) });
        if !io::stderr().is_terminal() {
            let up_to =
                if least < most { format!(", or up to {}", humantime::format_duration(most)) } else { String::new() };
            self.context.say(&format!("profiling {names} for {}{up_to}", humantime::format_duration(least)));
        }
        let template = match least < most {
            true => "profiling {msg} [{bar:30}] {eta} left at the most",
            false => "profiling {msg} [{bar:30}] {eta} left",
        };
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.map_or_else(|_| ProgressStyle::default_bar(), |s| s.progress_chars("=> ")));
        let draw = |change: Box<dyn FnOnce(&ProgressBar) + Send>| {
            let bar = Arc::clone(&bar);
            render::draw(move || change(&bar));
        };
        draw(Box::new(|bar| bar.set_message(names)));
        let tick = |elapsed: Duration| draw(Box::new(move |bar| bar.set_position(elapsed.as_millis() as u64)));
        let profiles = profile_hosts(hosts, timing, &tick);
        draw(Box::new(ProgressBar::finish_and_clear));
        Ok(profiles?)
    }

    /// The way of memory from the one to the other, with its doors, as far as both tell it.
    fn passage_with_doors(&self, source: &Host, destination: &Host) -> Result<Passage> {
        Self::with_doors(source, self.passage(source, destination)?)
    }

    fn with_doors(source: &Host, passage: Passage) -> Result<Passage> {
        let (peer, taken) = (passage.peer.as_deref(), passage.destination.taken.as_ref());
        let doors = passage.address().map(|address| source.doors(address, passage.port, taken, peer)).transpose()?;
        Ok(Passage { doors: doors.unwrap_or_default(), ..passage })
    }

    /// The way of memory from the one to the other, as far as both tell it.
    fn passage(&self, source: &Host, destination: &Host) -> Result<Passage> {
        let endpoint = destination.endpoint();
        let uri = self.migration_uri.clone().or_else(|| self.context.config.migration_uri(&endpoint.name));
        let peer = is_remote(&endpoint.uri).then(|| endpoint.unprompted_uri());
        let given = uri.is_some();
        let (named, there) = match &uri {
            Some(uri) => (server(uri).map(|(host, port)| (host.to_owned(), port)), None),
            None => {
                let there = destination.wiring(None)?;
                // Which name libvirt takes is known only if its configuration can be read.
                let name = match there.migration_host.clone() {
                    Some(None) => Some(destination.own_name()?),
                    told => told.flatten(),
                };
                (name.map(|name| (name, None)), Some(there))
            }
        };
        let (name, port) = named.unzip();
        let (source, destination) = thread::scope(|scope| {
            let there = scope.spawn(|| there.map_or_else(|| destination.wiring(None), Ok));
            let here = source.wiring(name.as_deref());
            (here, there.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let (source, destination, doors) = (source?, destination?, Doors::default());
        Ok(Passage { name, port: port.flatten(), given, peer, source, destination, doors })
    }

    /// The ports of a source and a destination. What is not certain is said.
    fn ports_on(&self, passage: &Passage, hosts: [&Host; 2]) -> [Ports; 2] {
        let ports = self.wired(passage, hosts);
        zip(hosts, &ports).for_each(|(host, ports)| self.warn(&host.endpoint().name, ports));
        ports
    }

    /// The ports of a source and a destination.
    fn wired(&self, passage: &Passage, [source, destination]: [&Host; 2]) -> [Ports; 2] {
        let there = self.ports(destination, &passage.destination, passage.enters_by());
        let there = Ports { address: passage.address(), ..there };
        [self.ports(source, &passage.source, passage.leaves_by()), there]
    }

    /// The ports of a host that is wired so, and whose migrations take this device.
    fn ports(&self, host: &Host, wiring: &Wiring, way: Option<&str>) -> Ports {
        Ports::of(wiring, way, &self.context.config.ports(&host.endpoint().name, self.link))
    }

    /// Says what is not certain of a host's link.
    fn warn(&self, host: &str, ports: &Ports) {
        if let Some(port) = &ports.missing {
            let which = "which `migration_port` in the configuration names";
            self.context.say(&format!("warning: {host} has no device {port}, {which}; it is left out of account"));
        }
        let Port { bits_per_second, origin, .. } = ports.migration_port;
        let doubt = match (&ports.doubt, origin) {
            (Some(doubt), _) => format!("the capacity of {host}'s link was detected, but {doubt}"),
            (None, CapacityOrigin::Assumed) => {
                format!("the capacity of {host}'s link is not known, {} is assumed", rate(bits_per_second))
            }
            _ => return,
        };
        self.context.say(&format!("warning: {doubt}; give --link, or `link` in the configuration"));
    }
}
