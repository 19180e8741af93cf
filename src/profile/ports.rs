//! The ports of a host, which of them migrations cross, and which the traffic of its guests.
//!
//! Pure: from how its network devices are connected, and from what the user says of it. A port is a wire: a NIC, or a bond
//! of several; VLANs and bridges are ways to one. What is not known is said to be so, and counts as on the migrations' port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::libvirt::facts::{DeviceKind, NetDevice, Wiring};
use crate::libvirt::xml::network::Reach;
use crate::topology::{Binding, CapacityOrigin, Hashed, Member, Outlet, Plug, Port, RouteOrigin};
use crate::units::rate;

/// Capacity that is assumed of a port of which nobody tells any: 1 Gbit/s, in bits per second. It is what every server has at
/// the least; a faster one makes the plan's times shorter, not wrong in their order.
pub(super) const ASSUMED: f64 = 1e9;

/// What the user says of a host's ports.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// The one that migrations cross.
    pub migration_port: Option<String>,
    /// What the one that migrations cross carries each way, in bits per second, and who says so.
    pub link: Option<(f64, CapacityOrigin)>,
    /// Capacities by name, in bits per second.
    pub capacities: BTreeMap<String, f64>,
    /// Where devices lead: to a port, or `None` to nothing outside of the host.
    pub bridges: BTreeMap<String, Option<String>>,
}

/// The ports of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Ports {
    pub migration_port: Port,
    pub route: RouteOrigin,
    pub other_ports: Vec<Port>,
    pub outlets: Vec<Outlet>,
    /// Where migrations come in, if that is known.
    pub address: Option<IpAddr>,
    /// What had to be assumed of the capacity of the migrations' port, as a sentence without its host.
    pub doubt: Option<String>,
    /// The migrations' port by the user's word, if the host has no such device.
    pub missing: Option<String>,
}

impl Ports {
    /// The ports of a host that is connected so. `way` is the device by which migrations leave or enter it, if that is known.
    pub fn of(wiring: &Wiring, way: Option<&str>, told: &Told) -> Self {
        let graph = Graph { devices: &wiring.devices, complete: wiring.complete, told };
        let names = graph.ports();
        let by_way = way.map(|device| graph.lead(device, DEEPEST));
        let missing = told.migration_port.clone().filter(|port| wiring.complete && graph.device(port).is_none());
        let (name, route) = match (&told.migration_port, by_way) {
            (Some(_), _) if missing.is_some() => (graph.slowest(&names), RouteOrigin::Assumed),
            (Some(name), _) => (Some(graph.port_of(name)), RouteOrigin::Configuration),
            (None, Some(Binding::Port { name })) => (Some(name), RouteOrigin::Detected),
            (None, _) => match &Vec::from_iter(&names)[..] {
                // A host with virtual cables may have more of them.
                [only] if graph.members(only).any(|nic| nic.physical) => (Some((*only).clone()), RouteOrigin::Detected),
                _ => (graph.slowest(&names), RouteOrigin::Assumed),
            },
        };
        let (mut migration_port, mut doubt) = match &name {
            Some(name) => graph.port(name),
            None => (Port::unnamed(ASSUMED, CapacityOrigin::Assumed), None),
        };
        if route == RouteOrigin::Assumed && names.len() > 1 {
            let list: Vec<_> = names.iter().map(|name| graph.port(name).0).map(|port| named(&port)).collect();
            doubt = Some(format!(
                "any of {} may carry the migration, and the slowest is taken{}",
                list.join(", "),
                doubt.map_or_else(String::new, |more| format!("; {more}"))
            ));
        }
        if let Some((bits_per_second, origin)) = told.link {
            (migration_port.bits_per_second, migration_port.origin, doubt) = (bits_per_second, origin, None);
        }
        let others = names.iter().filter(|other| Some(*other) != name.as_ref());
        let other_ports = others.map(|name| graph.port(name).0).collect();
        Self { migration_port, route, other_ports, outlets: graph.outlets(wiring), address: None, doubt, missing }
    }
}

/// A port with its capacity in words.
fn named(port: &Port) -> String {
    format!("{} ({})", port.name, rate(port.bits_per_second))
}

/// How many devices a way goes through at the most: a tap, a bridge, a VLAN, a VLAN in it, a bond; more are a circle.
const DEEPEST: usize = 8;

#[derive(Clone, Copy)]
struct Graph<'a> {
    devices: &'a [NetDevice],
    /// Whether there are no others, and all that there is to know of them is known.
    complete: bool,
    told: &'a Told,
}

/// An address that packets leave no link for.
fn is_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

impl<'a> Graph<'a> {
    fn device(&self, name: &str) -> Option<&'a NetDevice> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// The bond that a NIC is a member of: as its host tells it, or by the address that members share, where that is all
    /// that is known.
    fn bond(&self, nic: &NetDevice) -> Option<String> {
        let is_bond = |device: &&NetDevice| matches!(device.kind, DeviceKind::Bond { .. });
        let told = self.devices.iter().filter(is_bond).find(|bond| bond.below.contains(&nic.name));
        let told = told.map(|bond| bond.name.clone());
        told.or_else(|| {
            let members: Vec<_> = self.twins(nic).map(|twin| &*twin.name).collect();
            (members.len() > 1).then(|| format!("bond of {}", members.join(", ")))
        })
    }

    /// The NICs that have this one's address, itself included.
    fn twins(&self, nic: &'a NetDevice) -> impl Iterator<Item = &'a NetDevice> {
        let twin = move |device: &&NetDevice| device.physical && device.up && device.address == nic.address;
        self.devices.iter().filter(move |_| nic.physical && nic.up).filter(twin)
    }

    /// The port that the user means by a name: a VLAN, a bridge or a member of a bond stands for its wire.
    fn port_of(&self, name: &str) -> String {
        let detected = Graph { told: &Told::default(), ..*self };
        match detected.lead(name, DEEPEST) {
            Binding::Port { name } => name,
            _ => name.to_owned(),
        }
    }

    /// Where a device of this name leads.
    fn lead(&self, name: &str, deepest: usize) -> Binding {
        match self.told.bridges.get(name) {
            Some(Some(port)) => return Binding::to(&self.port_of(port)),
            Some(None) => return Binding::Internal,
            None => {}
        }
        let Some((device, deeper)) = self.device(name).zip(deepest.checked_sub(1)) else { return Binding::Unknown };
        match &device.kind {
            // The other end of a virtual cable is here, too: it may be in a switch of Open vSwitch.
            DeviceKind::Nic if !device.physical && !device.below.is_empty() => Binding::Unknown,
            DeviceKind::Nic => Binding::to(&self.bond(device).unwrap_or_else(|| name.to_owned())),
            DeviceKind::Bond { .. } => Binding::to(name),
            DeviceKind::Stacked | DeviceKind::Tap => {
                device.below.first().map_or(Binding::Unknown, |below| self.lead(below, deeper))
            }
            DeviceKind::Bridge => self.lead_of_bridge(device, deeper),
            DeviceKind::Other => Binding::Unknown,
        }
    }

    /// Where a bridge leads: to the port of its members, guests aside. A virtual cable beside a NIC leads to a container.
    fn lead_of_bridge(&self, bridge: &NetDevice, deepest: usize) -> Binding {
        let is_cable =
            |name: &&String| self.device(name).is_some_and(|device| device.kind == DeviceKind::Nic && !device.physical);
        let (cables, others): (Vec<_>, Vec<_>) = self.members_of_bridge(bridge).partition(is_cable);
        let uplinks = if others.is_empty() { cables } else { others };
        let leads: BTreeSet<_> = uplinks.into_iter().map(|member| self.lead(member, deepest)).collect();
        let mut leads = leads.into_iter();
        match (leads.next(), leads.next()) {
            // With an address of the host's it may be routed, with or without NAT.
            (None, _) if self.complete && bridge.addresses.iter().all(is_local) => Binding::Internal,
            (None, _) => Binding::Unknown,
            (Some(only), None) => only,
            _ => Binding::Unknown,
        }
    }

    /// What is in a bridge beside guests.
    fn members_of_bridge<'b>(&'b self, bridge: &'b NetDevice) -> impl Iterator<Item = &'b String> {
        let is_guest = |name: &String| self.device(name).is_some_and(|device| device.kind == DeviceKind::Tap);
        bridge.below.iter().filter(move |name| !is_guest(name))
    }

    /// The names of all ports: those that carry something now, and those that the user names. A virtual cable is one if a
    /// bridge leads to it.
    fn ports(&self) -> BTreeSet<String> {
        let may_carry = |device: &&NetDevice| {
            let leads = matches!(device.kind, DeviceKind::Bridge | DeviceKind::Bond { .. } | DeviceKind::Stacked);
            device.up && (leads || device.kind == DeviceKind::Nic && device.physical)
        };
        let leads = self.devices.iter().filter(may_carry).map(|device| self.lead(&device.name, DEEPEST));
        let found = leads.filter_map(|lead| if let Binding::Port { name } = lead { Some(name) } else { None });
        let told = self.told.capacities.keys().chain(self.told.bridges.values().flatten());
        found.chain(told.chain(&self.told.migration_port).map(|name| self.port_of(name))).collect()
    }

    /// The port with the least capacity, of those that are known to have any.
    fn slowest(&self, names: &BTreeSet<String>) -> Option<String> {
        let ports = names.iter().map(|name| self.port(name).0).filter(|port| port.origin != CapacityOrigin::Assumed);
        ports.min_by(|a, b| a.bits_per_second.total_cmp(&b.bits_per_second)).map(|port| port.name)
    }

    /// A port with its capacity, and what had to be assumed of that.
    fn port(&self, name: &str) -> (Port, Option<String>) {
        let (port, doubt) = self.detected(name);
        match self.told.capacities.get(name) {
            Some(told) => (Port { bits_per_second: *told, origin: CapacityOrigin::Configuration, ..port }, None),
            None => (port, doubt),
        }
    }

    fn detected(&self, name: &str) -> (Port, Option<String>) {
        let mut port = Port { name: name.to_owned(), ..Port::unnamed(ASSUMED, CapacityOrigin::Assumed) };
        let members: Vec<_> = self.members(name).collect();
        // What a virtual device says of its speed is made up.
        let speeds = || members.iter().filter(|m| m.physical).filter_map(|m| m.bits_per_second.filter(|_| m.up));
        let Some(slowest) = speeds().min_by(f64::total_cmp) else { return (port, None) };
        (port.bits_per_second, port.origin) = (slowest, CapacityOrigin::Detected);
        let doubt = match self.device(name).map(|device| &device.kind) {
            Some(DeviceKind::Nic) => None,
            Some(DeviceKind::Bond { mode: Some(mode), hash }) => {
                let (all, hashed) = spread(mode, hash.as_deref());
                port.bits_per_second = if all { speeds().sum() } else { slowest };
                port.member = hashed.map(|hashed| Member { bits_per_second: slowest, hashed });
                None
            }
            _ => Some(format!("the mode of the {name} is not known, and one member's speed is taken")),
        };
        (port, doubt)
    }

    /// The NICs that a port is made of.
    fn members(&self, port: &str) -> impl Iterator<Item = &'a NetDevice> {
        let port = port.to_owned();
        let nics = self.devices.iter().filter(|device| device.kind == DeviceKind::Nic);
        nics.filter(move |nic| nic.name == port || self.bond(nic).as_deref() == Some(&*port))
    }

    /// Everything that guests may be plugged into, with where it leads.
    fn outlets(&self, wiring: &Wiring) -> Vec<Outlet> {
        let can_take = |device: &&NetDevice| !matches!(device.kind, DeviceKind::Tap | DeviceKind::Other);
        let devices = self.devices.iter().filter(can_take).map(|device| &device.name);
        let names: BTreeSet<&String> = devices.chain(self.told.bridges.keys()).collect();
        let device = |name: &String| Outlet { plug: Plug::Device(name.clone()), port: self.lead(name, DEEPEST) };
        let network = |(name, reach): &(String, Reach)| {
            let bridge = reach.bridge.as_ref().or(reach.device.as_ref());
            let leads_by = match &*reach.mode {
                _ if reach.is_bridged() || bridge.is_some_and(|bridge| self.told.bridges.contains_key(bridge)) => {
                    bridge
                }
                "isolated" => bridge.filter(|bridge| {
                    self.device(bridge).is_some_and(|bridge| self.members_of_bridge(bridge).next().is_some())
                }),
                // What leaves the host leaves it as the host's own packets do.
                _ => wiring.default_route.as_ref(),
            };
            let port = match leads_by {
                Some(device) => self.lead(device, DEEPEST),
                None if reach.mode == "isolated" => Binding::Internal,
                None => Binding::Unknown,
            };
            Outlet { plug: Plug::Network(name.clone()), port }
        };
        wiring.networks.iter().map(network).chain(names.into_iter().map(device)).collect()
    }
}

/// Whether a bond of this mode spreads its traffic over all members, and what keeps to one of them (Linux,
/// Documentation/networking/bonding.rst): with `active-backup` one member carries everything, with `broadcast` each carries the
/// same; `balance-rr` spreads every packet; the others hash, by `layer2` unless told otherwise.
fn spread(mode: &str, hash: Option<&str>) -> (bool, Option<Hashed>) {
    match mode {
        "active-backup" | "broadcast" => (false, None),
        "balance-rr" => (true, None),
        "802.3ad" | "balance-xor" if hash.is_some_and(|hash| hash.ends_with("3+4")) => (true, Some(Hashed::Connection)),
        _ => (true, Some(Hashed::Hosts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::server_wiring;

    fn nic(name: &str, gbit: f64) -> NetDevice {
        NetDevice {
            name: name.to_owned(),
            address: format!("address of {name}"),
            bits_per_second: Some(gbit * 1e9),
            up: true,
            physical: true,
            ..NetDevice::default()
        }
    }

    fn wiring(devices: Vec<NetDevice>) -> Wiring {
        Wiring { devices, ..Wiring::default() }
    }

    fn found(wiring: &Wiring) -> Ports {
        Ports::of(wiring, None, &Told::default())
    }

    /// The migrations' port in Gbit/s, its name, and whether there is a doubt.
    fn port(wiring: &Wiring) -> (f64, String, bool) {
        let ports = found(wiring);
        (ports.migration_port.bits_per_second / 1e9, ports.migration_port.name, ports.doubt.is_some())
    }

    fn leads(ports: &Ports, plug: Plug) -> Binding {
        let outlet = ports.outlets.iter().find(|outlet| outlet.plug == plug);
        outlet.map_or(Binding::Unknown, |outlet| outlet.port.clone())
    }

    fn device(name: &str) -> Plug {
        Plug::Device(name.to_owned())
    }

    #[test]
    fn a_server_s_guests_and_migrations_are_on_different_wires() {
        let wiring = server_wiring();
        let ports = Ports::of(&wiring, Some("ens5"), &Told::default());
        assert_eq!((&*ports.migration_port.name, ports.route), ("ens5", RouteOrigin::Detected));
        assert_eq!(ports.migration_port.bits_per_second, 2.5e10);
        let bond = &ports.other_ports[..];
        let member = Some(Member { bits_per_second: 1e10, hashed: Hashed::Connection });
        let expected =
            Port { name: "bond0".to_owned(), bits_per_second: 2e10, origin: CapacityOrigin::Detected, member };
        assert_eq!(bond, [expected], "ens6 has no carrier");
        for (name, lead) in [
            ("br0", Binding::to("bond0")),
            ("br42", Binding::to("bond0")),
            ("bond0.42", Binding::to("bond0")),
            ("ens5", Binding::to("ens5")),
            ("ens5v0", Binding::to("ens5")),
            ("qvbx", Binding::Unknown),
            ("virbr1", Binding::Unknown),
            ("ovs-br", Binding::Unknown),
        ] {
            assert_eq!(leads(&ports, device(name)), lead, "{name}");
        }
    }

    #[test]
    fn the_way_over_a_bridge_or_a_vlan_leads_to_their_wire() {
        for way in ["br0", "bond0.42", "bond0", "eno1"] {
            let ports = Ports::of(&server_wiring(), Some(way), &Told::default());
            assert_eq!((&*ports.migration_port.name, ports.route), ("bond0", RouteOrigin::Detected), "{way}");
        }
        for way in [Some("ovs-br"), Some("lo"), None] {
            assert_eq!(Ports::of(&server_wiring(), way, &Told::default()).route, RouteOrigin::Assumed, "{way:?}");
        }
    }

    #[test]
    fn what_the_user_tells_beats_what_is_detected() {
        let told = Told {
            migration_port: Some("bond0".to_owned()),
            link: None,
            capacities: [("bond0".to_owned(), 5e10)].into(),
            bridges: [("br42".to_owned(), Some("ens9".to_owned())), ("ovs-br".to_owned(), None)].into(),
        };
        let ports = Ports::of(&server_wiring(), Some("ens5"), &told);
        assert_eq!((&*ports.migration_port.name, ports.route), ("bond0", RouteOrigin::Configuration));
        assert_eq!(ports.migration_port.bits_per_second, 5e10);
        let member = Some(Member { bits_per_second: 1e10, hashed: Hashed::Connection });
        assert_eq!(ports.migration_port.member, member, "what one of its members carries is still known");
        assert_eq!(leads(&ports, device("br42")), Binding::to("ens9"));
        assert_eq!(leads(&ports, device("ovs-br")), Binding::Internal);
        let link = Some((1e8, CapacityOrigin::Option));
        let ports = Ports::of(&Wiring::default(), None, &Told { link, ..told });
        assert_eq!((ports.migration_port.bits_per_second, ports.migration_port.origin), (1e8, CapacityOrigin::Option));
        assert_eq!(leads(&ports, device("br42")), Binding::to("ens9"), "without any other knowledge, too");
    }

    #[test]
    fn a_name_of_the_user_s_stands_for_its_wire() {
        let port = |name: &str| {
            let told = Told { migration_port: Some(name.to_owned()), ..Told::default() };
            let ports = Ports::of(&server_wiring(), None, &told);
            (ports.migration_port.name, ports.route, ports.missing.is_some())
        };
        for name in ["bond0", "bond0.42", "br0", "eno2"] {
            assert_eq!(port(name), ("bond0".to_owned(), RouteOrigin::Configuration, false), "{name}");
        }
        assert_eq!(port("ens7").1, RouteOrigin::Assumed, "there is none of that name");
        assert!(port("ens7").2);
        let bridges = [("br42".to_owned(), Some("bond0.42".to_owned()))].into();
        let told = Told { bridges, ..Told::default() };
        assert_eq!(leads(&Ports::of(&server_wiring(), None, &told), device("br42")), Binding::to("bond0"));
    }

    #[test]
    fn a_bridge_without_an_uplink_leads_nowhere_if_the_host_has_no_address_on_it() {
        let lead = |addresses: &[&str], complete| {
            let bridge = NetDevice {
                kind: DeviceKind::Bridge,
                physical: false,
                addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
                ..nic("br9", 1.0)
            };
            leads(&found(&Wiring { complete, ..wiring(vec![bridge]) }), device("br9"))
        };
        assert_eq!(lead(&["fe80::1"], true), Binding::Internal);
        assert_eq!(lead(&["fe80::1", "192.168.9.1"], true), Binding::Unknown, "it may route");
        assert_eq!(lead(&[], false), Binding::Unknown, "libvirt tells no addresses");
    }

    #[test]
    fn networks_lead_where_their_bridges_do() {
        let reach = |mode: &str, bridge: &str| Reach {
            mode: mode.to_owned(),
            bridge: Some(bridge.to_owned()),
            ..Reach::default()
        };
        let networks = [("lan", "bridge", "br42"), ("default", "nat", "virbr1"), ("quiet", "isolated", "virbr9")];
        let networks = networks.map(|(name, mode, bridge)| (name.to_owned(), reach(mode, bridge))).to_vec();
        let wiring = Wiring { networks, ..server_wiring() };
        let ports = found(&wiring);
        let lead = |name: &str| leads(&ports, Plug::Network(name.to_owned()));
        assert_eq!(lead("lan"), Binding::to("bond0"));
        assert_eq!((lead("default"), lead("quiet")), (Binding::to("bond0"), Binding::Internal), "NAT is by the host");
        assert_eq!(lead("gone"), Binding::Unknown);
        let bridges = [("virbr1".to_owned(), None)].into();
        let told = Ports::of(&wiring, None, &Told { bridges, ..Told::default() });
        assert_eq!(leads(&told, Plug::Network("default".to_owned())), Binding::Internal, "the user knows better");
        let unseen = Wiring { default_route: None, ..wiring };
        assert_eq!(leads(&found(&unseen), Plug::Network("default".to_owned())), Binding::Unknown);
    }

    #[test]
    fn two_uplinks_of_a_bridge_and_a_circle_are_not_known() {
        let bridge = |name: &str, below: &[&str]| NetDevice {
            kind: DeviceKind::Bridge,
            physical: false,
            below: below.iter().map(|name| (*name).to_owned()).collect(),
            ..nic(name, 1.0)
        };
        let devices = vec![nic("eno1", 1.0), nic("eno2", 1.0), bridge("br0", &["eno1", "eno2"]), bridge("b", &["b"])];
        let ports = found(&wiring(devices));
        assert_eq!((leads(&ports, device("br0")), leads(&ports, device("b"))), (Binding::Unknown, Binding::Unknown));
    }

    #[test]
    fn the_only_physical_nic_that_is_up_carries_it() {
        let tap = NetDevice { physical: false, kind: DeviceKind::Other, ..nic("vnet0", 0.01) };
        let unplugged = NetDevice { up: false, bits_per_second: None, ..nic("ens2", 0.0) };
        let wiring = wiring(vec![tap, unplugged, nic("ens1", 10.0)]);
        assert_eq!(port(&wiring), (10.0, "ens1".to_owned(), false));
        assert_eq!(found(&wiring).route, RouteOrigin::Detected);
    }

    #[test]
    fn virtual_devices_and_unknown_speeds_say_nothing() {
        let virtual_nic = NetDevice { physical: false, kind: DeviceKind::Other, ..nic("uplink", 10.0) };
        let ports = found(&wiring(vec![virtual_nic]));
        assert_eq!(ports.migration_port, Port::unnamed(1e9, CapacityOrigin::Assumed));
        let silent = wiring(vec![NetDevice { bits_per_second: None, ..nic("ens1", 0.0) }]);
        let Port { name, bits_per_second, origin, .. } = found(&silent).migration_port;
        assert_eq!((&*name, bits_per_second, origin), ("ens1", 1e9, CapacityOrigin::Assumed));
        let cable = NetDevice { physical: false, ..nic("uplink", 10.0) };
        let ports = Ports::of(&wiring(vec![cable]), Some("uplink"), &Told::default()).migration_port;
        assert_eq!((&*ports.name, ports.bits_per_second, ports.origin), ("uplink", 1e9, CapacityOrigin::Assumed));
    }

    #[test]
    fn a_bond_sums_up_or_not_by_its_mode() {
        let of = |mode: Option<&str>, hash: Option<&str>| {
            let kind = DeviceKind::Bond { mode: mode.map(str::to_owned), hash: hash.map(str::to_owned) };
            let below = vec!["ens1".to_owned(), "ens2".to_owned()];
            let bond = NetDevice { kind, below, physical: false, ..nic("bond0", 35.0) };
            let ports = found(&wiring(vec![nic("ens1", 10.0), nic("ens2", 25.0), bond]));
            let member = ports.migration_port.member.map(|member| (member.bits_per_second, member.hashed));
            assert_eq!(ports.migration_port.name, "bond0");
            (ports.migration_port.bits_per_second, member, ports.doubt.is_some())
        };
        let hosts = Some((1e10, Hashed::Hosts));
        assert_eq!(of(Some("802.3ad"), Some("layer3+4")), (3.5e10, Some((1e10, Hashed::Connection)), false));
        assert_eq!(of(Some("802.3ad"), Some("layer2+3")), (3.5e10, hosts, false));
        assert_eq!(of(Some("balance-xor"), None), (3.5e10, hosts, false), "libvirt does not tell the hash");
        assert_eq!(of(Some("balance-alb"), Some("layer3+4")), (3.5e10, hosts, false), "it looks at hosts");
        assert_eq!(of(Some("balance-rr"), None), (3.5e10, None, false));
        assert_eq!(of(Some("active-backup"), Some("layer2")), (1e10, None, false));
        assert_eq!(of(None, None), (1e10, None, true));
    }

    #[test]
    fn members_that_share_an_address_are_a_bond_of_unknown_mode() {
        let same = |name| NetDevice { address: "52:54:00:00:00:01".to_owned(), ..nic(name, 10.0) };
        let bond = wiring(vec![same("ens1"), same("ens2")]);
        assert_eq!(port(&bond), (10.0, "bond of ens1, ens2".to_owned(), true));
    }

    #[test]
    fn of_several_the_slowest_is_taken_and_all_are_named() {
        let ports = found(&wiring(vec![nic("eno1", 1.0), nic("ens1", 10.0)]));
        assert_eq!((ports.migration_port.bits_per_second, &*ports.migration_port.name), (1e9, "eno1"));
        assert_eq!((ports.route, ports.other_ports.len()), (RouteOrigin::Assumed, 1));
        let doubt = ports.doubt.expect("said");
        assert!(doubt.contains("eno1 (1 Gbit/s)") && doubt.contains("ens1 (10 Gbit/s)"), "{doubt}");
    }
}
