//! The capacity of the NIC that carries a migration, from what libvirt says of a host's devices.
//!
//! Pure. libvirt can't be asked for the route to the other host, so this reasons from what is there: the only physical
//! NIC that is up, the members of a bond; if several would do, the slowest, since a plan that takes less time than
//! predicted still fits its window. What had to be assumed is said.

use crate::libvirt::facts::{Bond, NetDevice};
use crate::units::rate;

#[derive(Debug, Clone, PartialEq)]
pub struct Detected {
    /// Each way, in bits per second.
    pub bits_per_second: f64,
    pub interface: String,
    /// What was assumed for want of better knowledge, as a clause; `None` if nothing was.
    pub assumption: Option<String>,
}

/// What carries a migration away from, or to, a host with these devices; `None` if nothing can be said. `bonds` are
/// those that the host's libvirt knows; others are found by the address that their members share.
pub fn detect(devices: &[NetDevice], bonds: &[Bond]) -> Option<Detected> {
    let able = |device: &&NetDevice| device.physical && device.up && device.bits_per_second.is_some();
    let mut free: Vec<&NetDevice> = devices.iter().filter(able).collect();
    let mut carriers = Vec::new();
    for bond in bonds {
        let (members, rest) = free.into_iter().partition(|device| bond.members.contains(&device.name));
        free = rest;
        carriers.extend(bonded(Some(bond), &members));
    }
    while let Some(first) = free.first().copied() {
        let (members, rest): (Vec<_>, _) = free.into_iter().partition(|device| device.address == first.address);
        free = rest;
        carriers.extend(if members.len() == 1 { alone(first) } else { bonded(None, &members) });
    }
    let slowest = carriers.iter().min_by(|a, b| a.bits_per_second.total_cmp(&b.bits_per_second))?;
    let mut choice = slowest.clone();
    if carriers.len() > 1 {
        let name = |carrier: &Detected| format!("{} ({})", carrier.interface, rate(carrier.bits_per_second));
        let names: Vec<_> = carriers.iter().map(name).collect();
        choice.assumption = Some(format!(
            "any of {} may carry the migration, and the slowest is taken{}",
            names.join(", "),
            choice.assumption.map_or_else(String::new, |more| format!("; {more}"))
        ));
    }
    Some(choice)
}

fn alone(device: &NetDevice) -> Option<Detected> {
    let bits_per_second = device.bits_per_second?;
    Some(Detected { bits_per_second, interface: device.name.clone(), assumption: None })
}

/// The capacity of a bond by its mode (Linux, Documentation/networking/bonding.rst): with `active-backup` one member
/// carries everything, with `broadcast` each carries the same; the others spread it over all.
fn bonded(bond: Option<&Bond>, members: &[&NetDevice]) -> Option<Detected> {
    let speeds = || members.iter().filter_map(|member| member.bits_per_second);
    let slowest = speeds().min_by(f64::total_cmp)?;
    let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
    let names = names.join(", ");
    let interface = bond.map_or_else(|| format!("bond of {names}"), |bond| format!("{} ({names})", bond.name));
    let (bits_per_second, assumption) = match bond.and_then(|bond| bond.mode.as_deref()) {
        Some("active-backup" | "broadcast") => (slowest, None),
        Some(_) => (speeds().sum(), None),
        None => (slowest, Some(format!("the mode of the {interface} is not known, and one member's speed is taken"))),
    };
    Some(Detected { bits_per_second, interface, assumption })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic(name: &str, gbit: f64) -> NetDevice {
        NetDevice {
            name: name.to_owned(),
            address: format!("address of {name}"),
            bits_per_second: Some(gbit * 1e9),
            up: true,
            physical: true,
        }
    }

    fn bond(mode: Option<&str>) -> Bond {
        Bond {
            name: "bond0".to_owned(),
            mode: mode.map(str::to_owned),
            members: vec!["ens1".to_owned(), "ens2".to_owned()],
        }
    }

    fn found(devices: &[NetDevice], bonds: &[Bond]) -> (f64, String, bool) {
        let detected = detect(devices, bonds).expect("detected");
        (detected.bits_per_second / 1e9, detected.interface, detected.assumption.is_some())
    }

    #[test]
    fn the_only_physical_nic_that_is_up_carries_it() {
        let tap = NetDevice { physical: false, ..nic("vnet0", 0.01) };
        let unplugged = NetDevice { up: false, bits_per_second: None, ..nic("ens2", 0.0) };
        assert_eq!(found(&[tap, unplugged, nic("ens1", 10.0)], &[]), (10.0, "ens1".to_owned(), false));
    }

    #[test]
    fn virtual_devices_and_unknown_speeds_say_nothing() {
        let virtual_nic = NetDevice { physical: false, ..nic("uplink", 10.0) };
        let silent = NetDevice { bits_per_second: None, ..nic("ens1", 0.0) };
        assert_eq!(detect(&[virtual_nic, silent], &[]), None);
    }

    #[test]
    fn a_bond_sums_up_or_not_by_its_mode() {
        let members = [nic("ens1", 10.0), nic("ens2", 25.0)];
        let of = |mode| found(&members, &[bond(mode)]);
        assert_eq!(of(Some("802.3ad")), (35.0, "bond0 (ens1, ens2)".to_owned(), false));
        assert_eq!(of(Some("active-backup")), (10.0, "bond0 (ens1, ens2)".to_owned(), false));
        assert_eq!(of(None), (10.0, "bond0 (ens1, ens2)".to_owned(), true));
    }

    #[test]
    fn members_that_share_an_address_are_a_bond_of_unknown_mode() {
        let same = |name| NetDevice { address: "52:54:00:00:00:01".to_owned(), ..nic(name, 10.0) };
        assert_eq!(found(&[same("ens1"), same("ens2")], &[]), (10.0, "bond of ens1, ens2".to_owned(), true));
    }

    #[test]
    fn of_several_the_slowest_is_taken_and_all_are_named() {
        let detected = detect(&[nic("eno1", 1.0), nic("ens1", 10.0)], &[]).expect("detected");
        assert_eq!((detected.bits_per_second, detected.interface.as_str()), (1e9, "eno1"));
        let assumption = detected.assumption.expect("said");
        assert!(assumption.contains("eno1 (1 Gbit/s)") && assumption.contains("ens1 (10 Gbit/s)"), "{assumption}");
    }
}
