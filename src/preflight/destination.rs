//! What a domain would miss at the destination: its kind of machine, its processor, its files, its networks; and what is
//! taken there already.

use super::facts::{DomainFacts, Facts};
use super::gather::plug_path;
use crate::libvirt::facts::Network;
use crate::libvirt::xml::domain::{GuestNic, HostFile, Plug, Role};
use crate::obstacle::Obstacle;
use crate::plan::Note;

/// What keeps a domain from the destination.
pub(super) fn obstacles(facts: &Facts, uuid: &str, domain: &str, found: &DomainFacts) -> Vec<Obstacle> {
    let (source, destination) = (|| facts.source.name.clone(), || facts.destination.name.clone());
    let mut obstacles = Vec::new();
    if let Some(words) = found.machine.clone() {
        obstacles.push(Obstacle::NoMachine { source: source(), destination: destination(), words });
    }
    if let Some(words) = found.processor.clone() {
        obstacles.push(Obstacle::NoProcessor { destination: destination(), words });
    }
    let missing = |path: &str| facts.files.get(path) == Some(&false);
    // What a definition needs beside its disks can be set right before it is started.
    let needed = |file: &&HostFile| found.belongings.is_none() || matches!(file.role, Role::Disk(_));
    let files = found.hardware.files.iter().filter(needed).filter(|file| missing(&file.path));
    obstacles.extend(files.filter_map(|file| without_file(destination(), domain, file)));
    for nic in &found.hardware.nics {
        let there = plug_path(&nic.plug).is_none_or(|path| !missing(&path));
        obstacles.extend(without_plug(facts, nic, there));
        obstacles.extend(collision(facts, uuid, nic));
    }
    obstacles
}

pub(super) fn dropped(facts: &Facts, domain: &str, found: &DomainFacts) -> Vec<Note> {
    let missing = found.hardware.files.iter().filter(|file| facts.files.get(&file.path) == Some(&false));
    let note = |HostFile { path, role }: &HostFile| match role {
        Role::Dispensable(drive) => Some(Note::MediumDropped {
            domain: domain.to_owned(),
            destination: facts.destination.name.clone(),
            drive: drive.clone(),
            path: path.clone(),
        }),
        _ => None,
    };
    missing.filter_map(note).collect()
}

fn without_file(destination: String, domain: &str, file: &HostFile) -> Option<Obstacle> {
    let path = file.path.clone();
    Some(match file.role.clone() {
        Role::Disk(disk) => Obstacle::NoDisk { destination, disk, path },
        Role::Medium(drive) => Obstacle::NoMedium { name: domain.to_owned(), destination, drive, path },
        Role::Boot(file) => Obstacle::NoBootFile { destination, file: file.to_owned(), path },
        Role::Dispensable(_) => return None,
    })
}

fn without_plug(facts: &Facts, nic: &GuestNic, there: bool) -> Option<Obstacle> {
    let (destination, mac) = (facts.destination.name.clone(), nic.mac.clone());
    match nic.plug.clone() {
        Plug::Bridge { name: bridge, .. } if !there => Some(Obstacle::NoBridge { destination, bridge, mac }),
        Plug::Device(device) if !there => Some(Obstacle::NoDevice { destination, device, mac }),
        Plug::Network(network) => match facts.networks.get(&network)? {
            Network::Missing => {
                Some(Obstacle::NoNetwork { source: facts.source.name.clone(), destination, network, mac })
            }
            Network::Inactive => Some(Obstacle::NetworkInactive { destination, network, mac }),
            Network::Active => None,
        },
        Plug::Bridge { .. } | Plug::Device(_) | Plug::Other => None,
    }
}

/// The same MAC address in the same network would take the traffic of both away. In different ones it is no harm.
fn collision(facts: &Facts, uuid: &str, nic: &GuestNic) -> Option<Obstacle> {
    let others = facts.residents.iter().filter(|resident| resident.uuid != uuid && !nic.mac.is_empty());
    let taken = others.into_iter().find(|resident| resident.hardware.nics.contains(nic))?;
    Some(Obstacle::MacTaken {
        destination: facts.destination.name.clone(),
        mac: nic.mac.clone(),
        taken_by: taken.name.clone(),
    })
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
        let found = DomainFacts { hardware, ..DomainFacts::default() };
        obstacles(facts, "u1", "web", &found).iter().map(ToString::to_string).collect()
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
