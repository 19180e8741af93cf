//! What a domain would miss at the destination: its kind of machine, its processor, its files, its networks; and what is
//! taken there already.

use super::facts::{DomainFacts, Facts};
use super::gather::plug_path;
use crate::libvirt::facts::Network;
use crate::libvirt::xml::domain::{GuestNic, HostFile, Plug, Role};

/// The findings about a domain and the destination.
pub(super) fn findings(facts: &Facts, uuid: &str, domain: &str, found: &DomainFacts) -> Vec<String> {
    let host = &facts.destination.name;
    let mut findings = Vec::new();
    if let Some(words) = &found.machine {
        findings.push(format!(
            "{host} can't run its kind of machine: {words}; install there what {} has, or exclude the domain",
            facts.source.name
        ));
    }
    if let Some(words) = &found.processor {
        findings.push(format!(
            "the processor of {host} is not enough for it: {words}; give the domain a CPU model that both hosts have, and \
             restart it"
        ));
    }
    let missing = |path: &str| facts.files.get(path) == Some(&false);
    // What a definition needs beside its disks can be set right before it is started.
    let needed = |file: &&HostFile| found.belongings.is_none() || matches!(file.role, Role::Disk(_));
    let files = found.hardware.files.iter().filter(needed);
    findings.extend(files.filter(|file| missing(&file.path)).filter_map(|file| without_file(host, domain, file)));
    for nic in &found.hardware.nics {
        let there = plug_path(&nic.plug).is_none_or(|path| !missing(&path));
        findings.extend(without_plug(facts, nic, there));
        findings.extend(collision(facts, uuid, nic));
    }
    findings
}

/// What libvirt drops on the way, as clauses after the domain's name.
pub(super) fn dropped(facts: &Facts, found: &DomainFacts) -> Vec<String> {
    let missing = found.hardware.files.iter().filter(|file| facts.files.get(&file.path) == Some(&false));
    let clause = |HostFile { path, role }: &HostFile| match role {
        Role::Dispensable(drive) => Some(format!(
            "the medium in its drive {drive} ({path}) is not at {}; libvirt drops it, and the drive arrives empty",
            facts.destination.name
        )),
        _ => None,
    };
    missing.filter_map(clause).collect()
}

fn without_file(host: &str, domain: &str, HostFile { path, role }: &HostFile) -> Option<String> {
    Some(match role {
        Role::Disk(target) => {
            format!(
                "its disk {target} ({path}) is not at {host}; mount the storage with it there, or exclude the domain"
            )
        }
        Role::Medium(target) => format!(
            "the medium in its drive {target} ({path}) is not at {host}; put it there, or eject it (virsh change-media \
             {domain} {target} --eject)"
        ),
        Role::Boot(what) => format!("its {what} ({path}) is not at {host}; install it there"),
        Role::Dispensable(_) => return None,
    })
}

fn without_plug(facts: &Facts, nic: &GuestNic, there: bool) -> Option<String> {
    let host = &facts.destination.name;
    match &nic.plug {
        Plug::Bridge { name, .. } if !there => {
            Some(format!("{host} has no bridge {name} for its NIC {}; create it there", nic.mac))
        }
        Plug::Device(name) if !there => Some(format!(
            "{host} has no network device {name} for its NIC {}; name one there alike, or plug the NIC into a libvirt \
             network that both hosts have",
            nic.mac
        )),
        Plug::Network(name) => match facts.networks.get(name) {
            Some(Network::Missing) => Some(format!(
                "{host} has no libvirt network {name} for its NIC {}; define and start it there (virsh net-dumpxml {name} \
                 at {}, virsh net-define)",
                nic.mac, facts.source.name
            )),
            Some(Network::Inactive) => Some(format!(
                "the libvirt network {name} for its NIC {} is not active at {host}; start it there (virsh net-start \
                 {name})",
                nic.mac
            )),
            Some(Network::Active) | None => None,
        },
        Plug::Bridge { .. } | Plug::Device(_) | Plug::Other => None,
    }
}

/// The same MAC address in the same network would take the traffic of both away. In different ones it is no harm.
fn collision(facts: &Facts, uuid: &str, nic: &GuestNic) -> Option<String> {
    let others = facts.residents.iter().filter(|resident| resident.uuid != uuid && !nic.mac.is_empty());
    let taken = others.into_iter().find(|resident| resident.hardware.nics.contains(nic))?;
    Some(format!(
        "its MAC address {} is taken at {} by {}; give one of the two another",
        nic.mac, facts.destination.name, taken.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::facts::Resident;
    use crate::libvirt::xml::domain::Hardware;

    fn of(facts: &mut Facts, devices: &str) -> Vec<String> {
        facts.source.name = "host-a".to_owned();
        facts.destination.name = "host-b".to_owned();
        let hardware = hardware(devices);
        findings(facts, "u1", "web", &DomainFacts { hardware, ..DomainFacts::default() })
    }

    fn hardware(devices: &str) -> Hardware {
        Hardware::read(&format!("<domain><devices>{devices}</devices></domain>"))
    }

    #[test]
    fn only_what_is_known_to_be_missing_counts() {
        let devices = "<disk><source file='/a'/><target dev='vda'/></disk>
                       <disk device='cdrom'><source file='/b.iso'/><target dev='sda'/></disk>
                       <interface type='bridge'><source bridge='br0'/></interface>
                       <interface type='network'><source network='lan'/></interface>";
        let mut facts = Facts::default();
        assert!(of(&mut facts, devices).is_empty(), "nothing is known");
        facts.files = [("/a", false), ("/b.iso", false), ("/sys/class/net/br0/bridge/bridge_id", false)]
            .map(|(p, e)| (p.to_owned(), e))
            .into();
        facts.networks.insert("lan".to_owned(), Network::Inactive);
        let found = of(&mut facts, devices);
        for (index, words) in
            ["disk vda (/a)", "change-media web sda --eject", "no bridge br0", "virsh net-start lan"].iter().enumerate()
        {
            assert!(found[index].contains(words), "{found:?}");
        }
        facts.files.values_mut().for_each(|exists| *exists = true);
        facts.networks.insert("lan".to_owned(), Network::Active);
        assert!(of(&mut facts, devices).is_empty());
    }

    #[test]
    fn a_mac_address_collides_in_the_same_network_with_another_domain_only() {
        let nic = |mac: &str, bridge: &str| {
            format!("<interface type='bridge'><mac address='{mac}'/><source bridge='{bridge}'/></interface>")
        };
        let mine = nic("52:54:00:00:00:01", "br0");
        let collides = |uuid: &str, devices: &str| {
            let resident = Resident { name: "other".to_owned(), uuid: uuid.to_owned(), hardware: hardware(devices) };
            let mut facts = Facts { residents: vec![resident], ..Facts::default() };
            !of(&mut facts, &mine).is_empty()
        };
        assert!(collides("u2", &mine));
        assert!(!collides("u1", &mine), "itself");
        assert!(!collides("u2", &nic("52:54:00:00:00:01", "br1")));
        assert!(!collides("u2", &nic("52:54:00:00:00:02", "br0")));
    }
}
