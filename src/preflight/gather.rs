//! Asks both hosts for the [`Facts`]. Nothing is changed, and each question has a time limit of its own.

use std::collections::BTreeMap;

use super::facts::{DomainFacts, Facts, Network, Resident};
use super::needs::{Needs, Plug, Processor};
use crate::hypervisor::libvirt::Host;
use crate::hypervisor::{HostError, HostErrorKind};
use crate::plan::Rule;
use crate::profile::{DomainProfile, DomainState, Profile};

/// What is to be known of the hosts before the domains of `profile` that `rules` select move.
///
/// # Errors
/// A host did not answer a question in time.
pub fn gather(source: &Host, destination: &Host, profile: &Profile, rules: &[Rule]) -> Result<Facts, HostError> {
    let mut facts = Facts { source: source.describe()?, destination: destination.describe()?, ..Facts::default() };
    facts.memory = destination.memory()?;
    let resident = |(name, uuid, xml): (String, String, String)| Resident { name, uuid, needs: Needs::read(&xml) };
    facts.residents = destination.active_domains()?.into_iter().map(resident).collect();
    for (domain, rule) in profile.domains.iter().zip(rules) {
        let offline = domain.state == DomainState::ShutOff;
        if !rule.stays && domain.migration.eligible && (rule.offline || !offline) {
            match gather_domain(source, destination, domain, offline, &mut facts) {
                Err(error) if error.kind == HostErrorKind::Hangs => {
                    facts.domains.insert(domain.uuid.clone(), DomainFacts { hangs: true, ..DomainFacts::default() });
                }
                gathered => gathered?,
            }
        }
    }
    Ok(facts)
}

fn gather_domain(
    source: &Host,
    destination: &Host,
    domain: &DomainProfile,
    offline: bool,
    facts: &mut Facts,
) -> Result<(), HostError> {
    let uuid = &domain.uuid;
    // A domain that is gone needs nothing; its migration will say so.
    let Some(xml) = source.domain_xml(uuid)? else { return Ok(()) };
    let needs = Needs::read(&xml);
    let (job, snapshots) = source.occupation(uuid)?;
    let mut found = DomainFacts { job, snapshots, ..DomainFacts::default() };
    // It would wait for the job.
    if job.is_none() && !facts.source.read_only {
        found.refusal = source.rehearse(destination, uuid, offline)?;
    }
    // A definition alone is not run there yet, and what it needs can be set right before it is.
    if !offline {
        found.machine = destination.machine_obstacle(&needs.machine)?;
        found.processor = match &needs.processor {
            Some(Processor::Model(xml)) => destination.processor_obstacle(&needs.machine, xml)?,
            Some(Processor::Host) => destination.lacks_processor_of(source)?,
            None => None,
        };
        for file in &needs.files {
            look_for_file(destination, &file.path, &mut facts.files)?;
        }
        for nic in &needs.nics {
            if let Some(path) = plug_path(&nic.plug) {
                look_for_file(destination, &path, &mut facts.files)?;
            }
            if let Plug::Network(name) = &nic.plug {
                look_for_network(destination, name, &mut facts.networks)?;
            }
        }
    }
    found.needs = needs;
    facts.domains.insert(uuid.clone(), found);
    Ok(())
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

fn look_for_file(host: &Host, path: &str, files: &mut BTreeMap<String, bool>) -> Result<(), HostError> {
    if !files.contains_key(path)
        && let Some(exists) = host.has_file(path)?
    {
        files.insert(path.to_owned(), exists);
    }
    Ok(())
}

fn look_for_network(host: &Host, name: &str, networks: &mut BTreeMap<String, Network>) -> Result<(), HostError> {
    if !networks.contains_key(name)
        && let Some(network) = host.network(name)?
    {
        networks.insert(name.to_owned(), network);
    }
    Ok(())
}
