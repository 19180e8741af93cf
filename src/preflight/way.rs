//! The way that memory takes from the source to the destination: whether there is one, as far as the hosts' shells told.

use std::net::IpAddr;

use crate::libvirt::facts::{Doors, NetDevice, Reached, Way, Wiring};
use crate::obstacle::Obstacle;
use crate::plan::Note;

/// What is known of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Passage {
    /// The name or the address that memory goes to, if it goes to a host at all.
    pub name: Option<String>,
    /// The port that it goes to, if that is a certain one.
    pub port: Option<u16>,
    /// Whether the user gave that: one may have an address of the source itself lead there.
    pub given: bool,
    /// How the source has to connect to the destination's libvirt, if it has to do that itself.
    pub peer: Option<String>,
    pub source: Wiring,
    pub destination: Wiring,
    pub doors: Doors,
}

impl Passage {
    /// The address that memory goes to, if the source can look it up, and it is not its own.
    pub fn address(&self) -> Option<IpAddr> {
        self.way()?.to.first().copied().filter(|address| self.source.owner(*address).is_none())
    }

    /// The device that memory leaves the source by.
    pub fn leaves_by(&self) -> Option<&str> {
        self.address()?;
        self.way()?.device.as_deref()
    }

    /// The device that it enters the destination by.
    pub fn enters_by(&self) -> Option<&str> {
        self.destination.owner(self.address()?)
    }

    fn way(&self) -> Option<&Way> {
        self.source.way.as_ref()
    }

    /// What keeps all memory from getting there.
    pub fn obstacles(&self, source: &str, destination: &str) -> Vec<Obstacle> {
        let (source, mut found) = (source.to_owned(), Vec::new());
        if let (Some(way), Some(name)) = (self.way(), self.name.clone()) {
            let is_own = |address: &IpAddr| self.source.owner(*address).is_some();
            match way.to.first() {
                None => found.push(Obstacle::NotLookedUp { source, name }),
                Some(address) if way.to.iter().all(is_own) && !self.given => {
                    found.push(Obstacle::OwnAddress { source, name, address: address.to_string() });
                }
                // The others are tried, too.
                Some(address) if way.unreachable && way.to.len() == 1 => {
                    found.push(Obstacle::NoRoute { source, address: address.to_string() });
                }
                Some(address) if way.to.len() == 1 => {
                    let leaves = self.leaves_by().map(|device| (source, &self.source, device));
                    let enters = self.enters_by().map(|device| (destination.to_owned(), &self.destination, device));
                    found.extend(leaves.into_iter().chain(enters).filter_map(|(host, wiring, device)| {
                        let (device, address) = (device.to_owned(), address.to_string());
                        self.is_dead(wiring, &device).then_some(Obstacle::NoCarrier { host, device, address })
                    }));
                }
                Some(_) => {}
            }
        }
        found
    }

    /// Whether nothing gets through a device. A host takes what is for its address by whichever device it comes, so an answer
    /// from there is believed.
    fn is_dead(&self, wiring: &Wiring, device: &str) -> bool {
        let has_carrier = |device: &NetDevice| device.up;
        let device = wiring.devices.iter().find(|found| found.name == device);
        self.doors.ports != Some(Reached::Answered) && !device.is_none_or(has_carrier)
    }

    /// What may keep it from getting there.
    pub(super) fn notes(&self, source: &str, destination: &str) -> Vec<Note> {
        let (source, mut notes) = (source.to_owned(), Vec::new());
        if let (Some(Some(words)), Some(uri)) = (&self.doors.login, &self.peer) {
            let (source, destination) = (source.clone(), destination.to_owned());
            notes.push(Note::NoLogin { source, destination, uri: uri.clone(), words: words.clone() });
        }
        let Some(address) = self.address() else { return notes };
        let leaves = self.leaves_by().and_then(|name| self.source.devices.iter().find(|d| d.name == *name));
        let enters = self.destination.devices.iter().find(|device| device.addresses.contains(&address));
        let mtus = leaves.and_then(|device| device.mtu).zip(enters.and_then(|device| device.mtu));
        if let (Some(device), Some((source_mtu, destination_mtu))) = (leaves, mtus.filter(|(a, b)| a != b)) {
            notes.push(Note::MtuDiffers {
                source: source.clone(),
                source_device: device.name.clone(),
                source_mtu,
                destination: destination.to_owned(),
                destination_mtu,
            });
        }
        if let Some(reached @ (Reached::Rejected | Reached::Dropped)) = self.doors.ports {
            let (address, rejected) = (address.to_string(), reached == Reached::Rejected);
            notes.push(Note::PortsClosed { source, address, rejected });
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, address: &str, mtu: u32) -> NetDevice {
        NetDevice {
            name: name.to_owned(),
            addresses: vec![address.parse().unwrap()],
            mtu: Some(mtu),
            up: true,
            ..NetDevice::default()
        }
    }

    fn passage(to: Option<&str>, by: Option<&str>) -> Passage {
        let to: Vec<IpAddr> = to.iter().map(|to| to.parse().unwrap()).collect();
        let way = Way { unreachable: by.is_none() && !to.is_empty(), to, device: by.map(str::to_owned) };
        let devices = vec![device("ens5", "10.1.0.1", 9000)];
        Passage {
            name: Some("host-b.example".to_owned()),
            source: Wiring { devices, way: Some(way), ..Wiring::default() },
            destination: Wiring { devices: vec![device("br1", "10.1.0.2", 1500)], ..Wiring::default() },
            ..Passage::default()
        }
    }

    fn said(passage: &Passage) -> String {
        let obstacles = passage.obstacles("host-a", "host-b").into_iter().map(|obstacle| obstacle.to_string());
        obstacles.chain(passage.notes("host-a", "host-b").into_iter().map(|note| note.to_string())).collect()
    }

    #[test]
    fn each_way_that_leads_nowhere_is_told() {
        for (to, by, wanted) in [
            (None, None, "host-a can't look up host-b.example"),
            (Some("10.1.0.1"), Some("lo"), "takes host-b.example, where memory is to go, for 10.1.0.1"),
            (Some("10.9.0.2"), None, "host-a has no route to 10.9.0.2"),
            (Some("10.1.0.2"), Some("ens5"), "9000 at host-a (ens5) and 1500 at host-b"),
        ] {
            let said = said(&passage(to, by));
            assert!(said.contains(wanted), "{said}");
        }
        assert_eq!(said(&Passage::default()), "", "nothing is known");
    }

    #[test]
    fn a_device_without_a_carrier_is_no_way_unless_the_destination_answers() {
        let dead = |of: fn(&mut Passage) -> &mut Wiring, ports| {
            let mut passage =
                Passage { doors: Doors { login: None, ports }, ..passage(Some("10.1.0.2"), Some("ens5")) };
            of(&mut passage).devices.iter_mut().for_each(|device| device.up = false);
            let obstacles = passage.obstacles("host-a", "host-b").into_iter();
            obstacles.map(|obstacle| obstacle.to_string()).collect::<String>()
        };
        assert!(dead(|p| &mut p.source, None).starts_with("ens5 at host-a, on the way of the memory to 10.1.0.2"));
        assert!(dead(|p| &mut p.destination, Some(Reached::Dropped)).starts_with("br1 at host-b"));
        assert_eq!(dead(|p| &mut p.destination, Some(Reached::Answered)), "");
    }

    #[test]
    fn closed_doors_are_told() {
        let passage = |doors| Passage {
            doors,
            peer: Some("qemu+ssh://host-b/system".to_owned()),
            destination: Wiring { devices: vec![device("br1", "10.1.0.2", 9000)], ..Wiring::default() },
            ..passage(Some("10.1.0.2"), Some("ens5"))
        };
        assert_eq!(said(&passage(Doors { login: Some(None), ports: Some(Reached::Answered) })), "");
        let stranger = said(&passage(Doors { login: Some(Some("Permission denied".to_owned())), ports: None }));
        assert!(stranger.contains("(Permission denied)") && stranger.contains("virsh -c qemu+ssh://"), "{stranger}");
        for (reached, word) in [(Reached::Dropped, "swallows"), (Reached::Rejected, "turns away")] {
            let closed = said(&passage(Doors { login: None, ports: Some(reached) }));
            assert!(closed.contains(word) && closed.contains("49152 to 49215"), "{closed}");
        }
    }
}
