//! Asks both hosts for the [`Facts`]. Nothing is changed, and each question has a time limit of its own. Several domains are
//! asked about at the same time, and what they need alike is asked once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::facts::{DomainFacts, Facts};
use crate::domain::DomainState;
use crate::libvirt::facts::Network;
use crate::libvirt::xml::domain::{Machine, Plug, Processor, Role};
use crate::libvirt::{Host, HostError, HostErrorKind, lock};
use crate::plan::Rule;
use crate::profile::{DomainProfile, Profile};

/// What is to be known of the hosts before the domains of `profile` that `rules` select move.
pub fn gather(source: &Host, destination: &Host, profile: &Profile, rules: &[Rule]) -> Result<Facts, HostError> {
    let mut facts = Facts { source: source.describe()?, destination: destination.describe()?, ..Facts::default() };
    facts.cluster = source.cluster()?;
    facts.memory = destination.memory()?;
    facts.residents = destination.residents()?;
    let shown = Shown::default();
    let leaves = |(domain, rule): &(&DomainProfile, &Rule)| {
        !rule.stays && domain.migration.obstacle.is_none() && (rule.offline || domain.state != DomainState::ShutOff)
    };
    let leaving: Vec<_> = profile.domains.iter().zip(rules).filter(leaves).map(|(domain, _)| domain).collect();
    let read_only = facts.source.read_only;
    let gathered = Host::side_by_side([source, destination], &leaving, |[source, destination], domain| {
        match gather_domain(source, destination, domain, read_only, &shown) {
            Err(error) if error.kind == HostErrorKind::Hangs => {
                Ok(Some(DomainFacts { hangs: true, ..DomainFacts::default() }))
            }
            gathered => gathered,
        }
    })?;
    let uuids = leaving.iter().map(|domain| domain.uuid.clone());
    facts.domains = uuids.zip(gathered).filter_map(|(uuid, found)| Some((uuid, found?))).collect();
    facts.files = known(shown.files);
    facts.networks = known(shown.networks);
    Ok(facts)
}

#[derive(Default)]
struct Shown {
    files: Answers<String, bool>,
    networks: Answers<String, Network>,
    machines: Answers<Machine, String>,
    processors: Answers<(Machine, Processor), String>,
}

/// Answers to questions of one kind, with those that the host can't tell.
type Answers<K, V> = Mutex<BTreeMap<K, Option<V>>>;

/// The answer, which is asked for if it is not known. Two threads may ask at the same time: the hosts do not mind.
fn answer<K: Ord + Clone, V: Clone>(
    answers: &Answers<K, V>,
    key: &K,
    ask: impl FnOnce() -> Result<Option<V>, HostError>,
) -> Result<Option<V>, HostError> {
    let known = lock(answers).get(key).cloned();
    known.map_or_else(|| ask().inspect(|answer| drop(lock(answers).insert(key.clone(), answer.clone()))), Ok)
}

/// Those that the host could tell.
fn known<K: Ord, V>(answers: Answers<K, V>) -> BTreeMap<K, V> {
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.into_iter().filter_map(|(key, answer)| Some((key, answer?))).collect()
}

/// What is to be known of one domain; `None` if it is gone: it needs nothing then, and its migration will say so.
fn gather_domain(
    source: &Host,
    destination: &Host,
    domain: &DomainProfile,
    read_only: bool,
    shown: &Shown,
) -> Result<Option<DomainFacts>, HostError> {
    let uuid = &domain.uuid;
    let Some(hardware) = source.hardware(uuid)? else { return Ok(None) };
    let (job, snapshots) = source.occupation(uuid)?;
    let fault = if domain.state == DomainState::Paused { source.fault(uuid)? } else { None };
    let mut found = DomainFacts { job, snapshots, fault, ..DomainFacts::default() };
    let offline = domain.state == DomainState::ShutOff;
    if offline {
        found.belongings = source.belongings(destination, uuid)?;
        // The definition would name disks that nobody has copied.
        for file in hardware.files.iter().filter(|file| matches!(file.role, Role::Disk(_))) {
            answer(&shown.files, &file.path, || destination.has_file(&file.path))?;
        }
    }
    // It would wait for the job.
    if job.is_none() && !read_only {
        found.refusal = source.rehearse(destination, uuid, offline)?;
    }
    // A definition alone is not run there yet, and what it needs can be set right before it is.
    if !offline {
        let machine = &hardware.machine;
        found.machine = answer(&shown.machines, machine, || destination.machine_obstacle(machine))?;
        if let Some(processor) = &hardware.processor {
            found.processor = answer(&shown.processors, &(machine.clone(), processor.clone()), || {
                destination.processor_obstacle(source, machine, processor)
            })?;
        }
        let plugs = hardware.nics.iter().filter_map(|nic| plug_path(&nic.plug));
        for path in hardware.files.iter().map(|file| file.path.clone()).chain(plugs) {
            answer(&shown.files, &path, || destination.has_file(&path))?;
        }
        for nic in &hardware.nics {
            if let Plug::Network(name) = &nic.plug {
                answer(&shown.networks, name, || destination.network(name))?;
            }
        }
    }
    found.hardware = hardware;
    Ok(Some(found))
}

/// The file that shows whether a host has what a NIC is plugged into: a device of the host has a directory in sysfs.
pub(super) fn plug_path(plug: &Plug) -> Option<String> {
    let path = |device: &str, file: &str| Some(format!("/sys/class/net/{device}/{file}"));
    match plug {
        Plug::Bridge { name, of_kernel: true } => path(name, "bridge/bridge_id"),
        Plug::Bridge { name, of_kernel: false } | Plug::Device(name) => path(name, "uevent"),
        Plug::Network(_) | Plug::Other => None,
    }
}
