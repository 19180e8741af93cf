//! What a domain would miss at the destination: its kind of machine, its processor, whatever its definition names of its
//! host ([`table`]); and what is taken there already.

use super::facts::{DomainFacts, Facts};
use super::table::{self, Finding};
use crate::libvirt::xml::domain::GuestNic;
use crate::libvirt::xml::names::{Named, Part};
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
    // libvirt names the first that it meets, which may be one of the above.
    if let Some(unfit) = found.unfit.as_ref().filter(|_| obstacles.is_empty()) {
        let (destination, words) = (destination(), unfit.message.clone());
        obstacles.push(match unfit.secret {
            true => Obstacle::NoSecret { source: source(), destination, words },
            false => Obstacle::Unfit { destination, words },
        });
    }
    obstacles.extend(findings(facts, domain, found).filter_map(|finding| match finding {
        Finding::Missing(obstacle) => Some(obstacle),
        Finding::Differs(difference) => facts.strict.then_some(difference),
        Finding::Dropped { .. } => None,
    }));
    obstacles.extend(found.hardware.nics.iter().filter_map(|nic| collision(facts, uuid, nic)));
    obstacles
}

/// What is worth knowing of a domain that goes there.
pub(super) fn notes(facts: &Facts, domain: &str, found: &DomainFacts) -> Vec<Note> {
    let note = |finding| match finding {
        Finding::Dropped { drive, path } => Some(Note::MediumDropped {
            domain: domain.to_owned(),
            destination: facts.destination.name.clone(),
            drive,
            path,
        }),
        Finding::Differs(difference) => Some(Note::Differs { domains: vec![domain.to_owned()], difference }),
        Finding::Missing(_) => None,
    };
    findings(facts, domain, found).filter_map(note).collect()
}

fn findings(facts: &Facts, domain: &str, found: &DomainFacts) -> impl Iterator<Item = Finding> {
    named(found).filter_map(move |named| table::judge(facts, domain, found, named))
}

/// What a domain needs of what its definition names. What a definition alone needs beside its disks can be set right before
/// it is started.
pub(super) fn named(found: &DomainFacts) -> impl Iterator<Item = &Named> {
    let needed = |named: &&Named| found.belongings.is_none() || matches!(named.part, Part::Disk(_));
    found.hardware.names.iter().filter(needed)
}

/// Why the hosts may be unlike for any domain.
pub(super) fn difference(facts: &Facts) -> Option<Obstacle> {
    let (source, destination) = (&facts.source, &facts.destination);
    let words = |(user, group)| format!("{user}:{group}");
    let (source_user, user) = (words(source.qemu?), words(destination.qemu?));
    // Root may open what any other opens, unless a server of storage does not let it.
    (source_user != user && destination.qemu.is_some_and(|(user, _)| user != 0)).then(|| Obstacle::OtherUser {
        destination: destination.name.clone(),
        user,
        source: source.name.clone(),
        source_user,
    })
}

/// The same MAC address in the same network would take the traffic of both away. In different ones it is no harm.
fn collision(facts: &Facts, uuid: &str, nic: &GuestNic) -> Option<Obstacle> {
    let others = facts.residents.iter().filter(|resident| resident.uuid != uuid && !nic.mac.is_empty());
    let same = |other: &GuestNic| (&other.mac, &other.plug, other.tagged) == (&nic.mac, &nic.plug, nic.tagged);
    let taken = others.into_iter().find(|resident| resident.hardware.nics.iter().any(same))?;
    Some(Obstacle::MacTaken {
        destination: facts.destination.name.clone(),
        mac: nic.mac.clone(),
        taken_by: taken.name.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::facts::{Network, Resident};
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
        facts.networks.insert("lan".to_owned(), Network::Active(None));
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
        let plugged_in = mine.replace("<source", "<target dev='vnet7'/><source");
        assert!(collides("u2", &plugged_in), "whatever the host calls it");
        assert!(!collides("u1", &mine), "itself");
        assert!(!collides("u2", &nic("52:54:00:00:00:01", "br1")));
        assert!(!collides("u2", &nic("52:54:00:00:00:02", "br0")));
    }
}
