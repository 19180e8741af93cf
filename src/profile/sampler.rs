//! Samples hosts over a window, and makes a [`Profile`] of each: the clock around [`SamplingWindow`].

use std::collections::{BTreeSet, HashMap};
use std::iter::zip;
use std::thread;
use std::time::{Duration, Instant};

use crate::domain::DomainState;
use crate::libvirt::xml::domain::Hardware;
use crate::libvirt::{DomainSample, Host, HostError, HostErrorKind, Sample, Turns};
use crate::profile::mobility::Mobility;
use crate::profile::ports::ASSUMED;
use crate::profile::rates::SamplingWindow;
use crate::profile::window::{Agreement, Timing};
use crate::profile::{Processors, Profile};
use crate::topology::{CapacityOrigin, Port, RouteOrigin};

/// What the domains of a host are made of at the end of the window, by UUID, as far as it tells.
pub type Inventory = HashMap<String, Equipment>;

#[derive(Debug, Clone, Default)]
pub struct Equipment {
    pub hardware: Hardware,
    /// The models of those NICs by which the guest has sent something since it came to its host.
    pub models_in_use: BTreeSet<String>,
}

/// Profiles all `hosts` at the same time, each from a thread of its own. `tick` is called with the elapsed
/// part of the window after each sample of the first host. Of their ports nothing is known yet.
pub fn profile_hosts(
    hosts: &[&Host],
    timing: Timing,
    tick: &(dyn Fn(Duration) + Sync),
) -> Result<Vec<(Profile, Inventory)>, HostError> {
    let (agreement, silent) = (&Agreement::of(hosts.len()), |_| ());
    let tick = |index| if index == 0 { tick } else { &silent };
    thread::scope(|scope| {
        let threads = hosts.iter().enumerate().map(|(index, host)| {
            let tick = tick(index);
            scope.spawn(move || {
                let profiled = profile_host(host, timing, (index, agreement), tick);
                // Nobody waits for the others' guests then.
                profiled.inspect_err(|_| agreement.end())
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn profile_host(
    host: &Host,
    timing: Timing,
    (index, agreement): (usize, &Agreement),
    tick: &(dyn Fn(Duration) + Sync),
) -> Result<(Profile, Inventory), HostError> {
    let mut window = SamplingWindow::default();
    let mut asked = Asked::default();
    let mut looking = None;
    // The window begins with the first sample, which an emulator that hangs may hold up.
    let (mut begun, mut due) = (None, Duration::ZERO);
    let (at_first, watched) = (host.idle_processors(), Instant::now());
    let turns = Turns::default();
    loop {
        let domains = turns.sample(host).inspect_err(|_| turns.end())?;
        let begun = *begun.get_or_insert_with(Instant::now);
        window.add(Sample { at_seconds: begun.elapsed().as_secs_f64(), domains });
        tick(due);
        let may_end = due >= timing.window.least() && window.is_still();
        if agreement.ends(index, due >= timing.window.most(), may_end) {
            break;
        }
        // Of the first host alone, which is the source of a plan: what stays does not cross.
        if index == 0 && looking.is_none() {
            let (domains, turns) = (window.last().to_vec(), turns.clone());
            let until = Instant::now() + timing.window.least().max(LOOKED_WITHIN);
            looking = Some(host.aside(move |host| host.look(&domains, &turns, until)));
        }
        measure_dirty_rates(host, window.last(), &mut asked);
        due = timing.next(due, begun.elapsed());
        if agreement.wait(due.saturating_sub(begun.elapsed())) {
            break;
        }
    }
    turns.end();
    // A short window may end before the first result, of which libvirt sends no event.
    let until = Instant::now() + MEASURED_WITHIN;
    while window.awaits_dirty_rates(&asked.measured) && Instant::now() < until {
        thread::sleep(BETWEEN_LOOKS);
        let (domains, begun) = (turns.sample(host)?, begun.unwrap_or(watched));
        window.add(Sample { at_seconds: begun.elapsed().as_secs_f64(), domains });
    }
    window.see(looking.and_then(|looking| looking.join().ok()).unwrap_or_default());
    let processors = idle_between(at_first, host.idle_processors(), watched.elapsed());
    let persistent = host.persistent()?;
    let asked = Host::side_by_side([host], window.last(), |[host], domain| {
        Mobility::ask(host, domain, persistent.contains(&domain.uuid))
    })?;
    let (mut mobilities, mut inventory) = (Vec::new(), Inventory::new());
    for (domain, asked) in zip(window.last(), asked) {
        let (mobility, hardware) = asked.unzip();
        mobilities.push(mobility);
        let is_in_use = |name: &String| domain.nics.iter().any(|nic| nic.name == *name && nic.is_in_use());
        let equipment = |hardware: Hardware| {
            let used = hardware.nics.iter().filter(|nic| nic.device.as_ref().is_some_and(is_in_use));
            Equipment { models_in_use: used.map(|nic| nic.model.clone()).collect(), hardware }
        };
        inventory.extend(hardware.flatten().map(|hardware| (domain.uuid.clone(), equipment(hardware))));
    }
    let profile = Profile {
        host: host.endpoint().name.clone(),
        window_seconds: window.seconds(),
        migration_port: Port::unnamed(ASSUMED, CapacityOrigin::Assumed),
        route: RouteOrigin::Assumed,
        address: None,
        other_ports: Vec::new(),
        outlets: Vec::new(),
        processors,
        crossing: None,
        domains: window.domains(mobilities),
    };
    Ok((profile, inventory))
}

/// The processors of a host, by how many there are and what they had spent idle at the begin and at the end of the time that
/// `elapsed`.
fn idle_between(begin: Option<(u32, Duration)>, end: Option<(u32, Duration)>, elapsed: Duration) -> Option<Processors> {
    let ((_, before), (count, after)) = begin.zip(end)?;
    let idle = after.checked_sub(before)?.as_secs_f64() / elapsed.as_secs_f64();
    (count > 0 && idle.is_finite()).then(|| Processors { count, idle: idle.min(f64::from(count)) })
}

/// How long a first dirty rate is waited for after the window. Chosen: twice what libvirt needs to measure one.
const MEASURED_WITHIN: Duration = Duration::from_secs(2);

/// How long the memory of the guests is looked at if the window is shorter. Chosen: enough for a dozen guests.
const LOOKED_WITHIN: Duration = Duration::from_secs(2);

/// Between two looks for it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// Domains of which dirty rates were asked for, by UUID.
#[derive(Debug, Default)]
struct Asked {
    measured: BTreeSet<String>,
    hanging: BTreeSet<String>,
}

/// Has libvirt measure the dirty rate of each running domain; a later sample has the result. libvirt refuses while it
/// still measures, and if the hypervisor can't. Domains that hang are not asked again.
fn measure_dirty_rates(host: &Host, domains: &[DomainSample], asked: &mut Asked) {
    let wanted = |domain: &&DomainSample| domain.state == DomainState::Running && !asked.hanging.contains(&domain.uuid);
    let running: Vec<_> = domains.iter().filter(wanted).collect();
    let started = Host::side_by_side([host], &running, |[host], domain| match host.start_dirty_rate(&domain.uuid) {
        Err(error) if matches!(error.kind, HostErrorKind::NoAnswer | HostErrorKind::NoConnection) => Err(error),
        started => Ok(started.map_err(|error| error.kind)),
    });
    // If the host does not answer, the next sample says so.
    for (domain, started) in zip(running, started.into_iter().flatten()) {
        match started {
            Ok(true) => drop(asked.measured.insert(domain.uuid.clone())),
            Err(HostErrorKind::Hangs) => {
                asked.measured.remove(&domain.uuid);
                asked.hanging.insert(domain.uuid.clone());
            }
            Ok(false) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_idle_for_a_part_of_the_window() {
        let at = |seconds| Some((4, Duration::from_secs(seconds)));
        let idle = |begin, end, seconds| idle_between(begin, end, Duration::from_secs(seconds));
        assert_eq!(idle(at(100), at(125), 10), Some(Processors { count: 4, idle: 2.5 }));
        assert_eq!(idle(at(100), at(150), 10).map(|seen| seen.idle), Some(4.0), "no more than there are");
        assert_eq!(idle(at(100), at(99), 10), None, "it was started again");
        assert_eq!(idle(at(100), at(125), 0), None);
        assert_eq!(idle(None, at(125), 10), None);
    }
}
