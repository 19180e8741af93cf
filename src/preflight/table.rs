//! The table of what a definition names of its host: how the destination is asked about it ([`questions`]), and what that
//! it misses there is an obstacle or a difference ([`judge`]). What mends it stands with the obstacle's words.
//!
//! | named ([`Thing`]) | asked | by |
//! |---|---|---|
//! | file, block device, directory, template | is it there; may QEMU's user use it | libvirt; shell |
//! | pipe, socket, character device | is it there | shell |
//! | bridge, network device | its file in sysfs | libvirt |
//! | libvirt network | is it active; does it lead where the source's leads; is its bridge there | libvirt |
//! | address, port | has it the address; has a guest the port | shell; libvirt |
//! | processors, NUMA cells, sizes of pages | are they there | capabilities |
//! | label | is the user there | shell |
//! | device models, secrets, pools, volumes | could libvirt make a guest of the definition | [`DomainFacts::unfit`] |

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::facts::{DomainFacts, Facts};
use super::question::Question;
use super::shell::Shell;
use crate::libvirt::facts::Network;
use crate::libvirt::xml::names::{Named, Part, Thing, Use, certain};
use crate::libvirt::xml::network::{Port, Reach};
use crate::obstacle::{NetworkDifference, Obstacle};

/// What is asked about one row; `user` is who QEMU runs as at the destination.
pub(super) fn questions(named: &Named, user: Option<&str>) -> Vec<Question> {
    match &named.thing {
        Thing::File { path, used } => {
            let access = || Some(Question::Access { user: user?.to_owned(), path: path.clone() });
            let access = if *used == Use::Nothing { None } else { access() };
            [Some(Question::File(path.clone())), access].into_iter().flatten().collect()
        }
        Thing::Template { path, copy } => vec![Question::File(path.clone()), Question::File(copy.clone())],
        Thing::Node(path) => vec![Question::Node(path.clone())],
        Thing::Bridge { .. } | Thing::Device(_) => plug_path(&named.thing).map(Question::File).into_iter().collect(),
        Thing::Network { name, .. } => vec![Question::Network(name.clone())],
        Thing::Address { address, .. } => certain(address).map(|_| Question::Addresses).into_iter().collect(),
        // A number needs no entry among the users.
        Thing::Label(label) if label.starts_with('+') => Vec::new(),
        Thing::Label(label) => vec![Question::User(user_of(label).to_owned())],
        // The capabilities are known.
        Thing::Processors(_) | Thing::Cells(_) | Thing::Pages(_) => Vec::new(),
    }
}

/// What the destination lacks, or has otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// The domain can't run there, or has no network there.
    Missing(Obstacle),
    /// It may harm the domain, or may not.
    Differs(Obstacle),
    /// libvirt leaves the medium out: its drive and its path.
    Dropped { drive: String, path: String },
}

/// What is wrong with one row; `None` if nothing is, or it can't be known.
pub(super) fn judge(facts: &Facts, domain: &str, found: &DomainFacts, named: &Named) -> Option<Finding> {
    use Finding::{Differs, Missing};
    let (source, destination) = (|| facts.source.name.clone(), || facts.destination.name.clone());
    let name = || domain.to_owned();
    let part = || words(&named.part).to_owned();
    let missing = |path: &str| facts.files.get(path) == Some(&false);
    match &named.thing {
        Thing::File { path, .. } if missing(path) => {
            Some(without_file(destination(), name(), &named.part, path.clone()))
        }
        Thing::File { path, used } => forbidden(facts, found, path, *used).map(|user| {
            let writes = *used == Use::Writes;
            Missing(Obstacle::NotAllowed { destination: destination(), user, part: part(), path: path.clone(), writes })
        }),
        Thing::Template { path, copy } => {
            let lacks = missing(path) && missing(copy);
            lacks.then(|| without_file(destination(), name(), &named.part, path.clone()))
        }
        Thing::Node(path) => {
            let lacks = facts.shell().nodes.get(path) == Some(&false);
            let obstacle = Obstacle::NoFile { destination: destination(), part: part(), path: path.clone() };
            lacks.then(|| if named.part == Part::Argument { Differs(obstacle) } else { Missing(obstacle) })
        }
        Thing::Bridge { name: bridge, .. } => {
            let (bridge, mac) = (bridge.clone(), mac(&named.part));
            plug_path(&named.thing)
                .is_some_and(|path| missing(&path))
                .then(|| Missing(Obstacle::NoBridge { destination: destination(), bridge, mac }))
        }
        Thing::Device(device) => {
            let (device, mac) = (device.clone(), mac(&named.part));
            plug_path(&named.thing)
                .is_some_and(|path| missing(&path))
                .then(|| Missing(Obstacle::NoDevice { destination: destination(), device, mac }))
        }
        Thing::Network { name, portgroup } => network(facts, name, portgroup.as_deref(), &named.part),
        Thing::Address { address, port } => {
            let known = certain(address).filter(|address| is_elsewhere(facts, *address));
            let (address, part) = (address.clone(), part());
            if known.is_some() {
                return Some(Missing(Obstacle::NoAddress { name: name(), destination: destination(), part, address }));
            }
            let (port, taken_by) = (*port)
                .and_then(|port| Some((port, facts.residents.iter().find(|other| takes(other, &address, port))?)))?;
            let taken_by = taken_by.name.clone();
            Some(Missing(Obstacle::PortTaken { name: name(), destination: destination(), part, port, taken_by }))
        }
        Thing::Processors(set) => {
            let there = &facts.destination.processors;
            let absent: BTreeSet<u32> = set.difference(there).copied().collect();
            let obstacle =
                || Obstacle::NoProcessors { name: name(), destination: destination(), numbers: list(&absent) };
            match () {
                () if there.is_empty() || absent.is_empty() => None,
                () if set.is_disjoint(there) => Some(Missing(obstacle())),
                // The kernel pins to those that are there, unless a control group is asked first.
                () => Some(Differs(obstacle())),
            }
        }
        Thing::Cells(set) => {
            let there = &facts.destination.cells;
            let absent: BTreeSet<u32> = set.difference(there).copied().collect();
            let obstacle = || Obstacle::NoCells { name: name(), destination: destination(), numbers: list(&absent) };
            (!there.is_empty() && !absent.is_empty()).then(|| Missing(obstacle()))
        }
        Thing::Pages(size) => {
            let there = &facts.destination.page_sizes;
            let lacks = !there.is_empty() && !there.contains(size);
            lacks.then(|| Missing(Obstacle::NoPageSize { destination: destination(), page_bytes: *size }))
        }
        Thing::Label(label) => {
            let user = user_of(label);
            let lacks = facts.shell().users.get(user) == Some(&false);
            let (user, source) = (user.to_owned(), source());
            lacks.then(|| Missing(Obstacle::NoUser { source, destination: destination(), user }))
        }
    }
}

/// Whether nothing but the destination's shell could tell, and it did not.
pub(super) fn is_unknown(facts: &Facts, named: &Named) -> bool {
    let shell = facts.shell();
    match &named.thing {
        Thing::Node(path) => !shell.nodes.contains_key(path),
        Thing::Address { address, .. } => {
            certain(address).is_some_and(|address| shell.addresses.is_none() && !is_elsewhere(facts, address))
        }
        Thing::Label(label) => !shell.users.contains_key(user_of(label)),
        _ => false,
    }
}

/// The file that shows whether a host has what a NIC is plugged into: a device of the host has a directory in sysfs.
pub(super) fn plug_path(plug: &Thing) -> Option<String> {
    let path = |device: &str, file: &str| Some(format!("/sys/class/net/{device}/{file}"));
    match plug {
        Thing::Bridge { name, of_kernel: true } => path(name, "bridge/bridge_id"),
        Thing::Bridge { name, of_kernel: false } | Thing::Device(name) => path(name, "uevent"),
        _ => None,
    }
}

/// The file that shows whether a host has what a libvirt network is on.
pub(super) fn reach_path(reach: &Reach) -> Option<String> {
    let of_kernel = reach.port.kind.as_deref() != Some("openvswitch");
    match (&reach.bridge, &reach.device) {
        // libvirt makes the bridge of any other.
        _ if !reach.is_bridged() => None,
        (Some(bridge), _) => plug_path(&Thing::Bridge { name: bridge.clone(), of_kernel }),
        (None, Some(device)) => plug_path(&Thing::Device(device.clone())),
        (None, None) => None,
    }
}

/// What a part is called after "its".
fn words(part: &Part) -> &str {
    match part {
        Part::Disk(target) | Part::Medium(target) | Part::Dispensable(target) => target,
        Part::Boot(name) | Part::Other(name) => name,
        Part::Nic { .. } => "NIC",
        Part::Argument => "argument of QEMU's",
    }
}

fn mac(part: &Part) -> String {
    if let Part::Nic { mac, .. } = part { mac.clone() } else { String::new() }
}

fn without_file(destination: String, name: String, part: &Part, path: String) -> Finding {
    Finding::Missing(match part.clone() {
        Part::Disk(disk) => Obstacle::NoDisk { destination, disk, path },
        Part::Medium(drive) => Obstacle::NoMedium { name, destination, drive, path },
        Part::Dispensable(drive) => return Finding::Dropped { drive, path },
        Part::Boot(file) => Obstacle::NoBootFile { destination, file: file.to_owned(), path },
        other => Obstacle::NoFile { destination, part: words(&other).to_owned(), path },
    })
}

/// The user of the destination's QEMU if it may not use the file. libvirt gives the file to that user, unless it is told not
/// to, or the server of the storage does not let root do so.
fn forbidden(facts: &Facts, found: &DomainFacts, path: &str, used: Use) -> Option<String> {
    let shell = facts.shell();
    let user = qemu_user(facts, found)?;
    let allows = |user: &str| {
        let access = shell.access.get(&(user.to_owned(), path.to_owned()))?;
        Some(if used == Use::Writes { access.reads && access.writes } else { access.reads })
    };
    let may = allows(&user)?;
    let is_given = shell.gives? && allows(Shell::ROOT)?;
    (used != Use::Nothing && !may && !is_given).then_some(user)
}

/// The user and the group of a domain's QEMU at the destination, as numbers or names: `64055:109`.
pub(super) fn qemu_user(facts: &Facts, found: &DomainFacts) -> Option<String> {
    let label = found.hardware.names.iter().find_map(|named| match &named.thing {
        Thing::Label(label) => {
            Some(label.split(':').map(|id| id.trim_start_matches('+')).collect::<Vec<_>>().join(":"))
        }
        _ => None,
    });
    label.or_else(|| facts.destination.qemu.map(|(user, group)| format!("{user}:{group}")))
}

/// The user of a label such as `+64055:+109`.
fn user_of(label: &str) -> &str {
    label.split(':').next().unwrap_or_default()
}

/// Whether an address is known to be none of the destination's.
fn is_elsewhere(facts: &Facts, address: IpAddr) -> bool {
    let shell = facts.shell();
    let at_source = || facts.source_shell.as_ref().and_then(|shell| shell.addresses.as_ref());
    match &shell.addresses {
        Some(addresses) => !addresses.contains(&address) && !shell.binds_any,
        None => at_source().is_some_and(|addresses| addresses.contains(&address)),
    }
}

/// Whether a guest of the destination listens on the port already.
fn takes(resident: &crate::libvirt::facts::Resident, address: &str, port: u16) -> bool {
    let meets = |other: &str| {
        let any = |address: &str| address.parse().is_ok_and(|address: IpAddr| address.is_unspecified());
        other == address || any(other) || any(address)
    };
    resident.hardware.listens.iter().any(|(other, taken)| *taken == port && meets(other))
}

fn list(numbers: &BTreeSet<u32>) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn network(facts: &Facts, network: &str, portgroup: Option<&str>, part: &Part) -> Option<Finding> {
    let (source, destination, network) =
        (facts.source.name.clone(), facts.destination.name.clone(), network.to_owned());
    let Part::Nic { mac, tagged } = part else {
        let lacks = matches!(facts.networks.get(&network)?, Network::Missing | Network::Inactive);
        return lacks.then_some(Finding::Missing(Obstacle::NoListenNetwork { source, destination, network }));
    };
    let mac = mac.clone();
    let there = match facts.networks.get(&network)? {
        Network::Missing => return Some(Finding::Missing(Obstacle::NoNetwork { source, destination, network, mac })),
        Network::Inactive => return Some(Finding::Missing(Obstacle::NetworkInactive { destination, network, mac })),
        Network::Active(reach) => reach.as_ref()?,
    };
    if reach_path(there).is_some_and(|path| facts.files.get(&path) == Some(&false)) {
        return Some(Finding::Missing(match (there.bridge.clone(), there.device.clone()) {
            (Some(bridge), _) => Obstacle::NoBridge { destination, bridge, mac },
            (None, device) => Obstacle::NoDevice { destination, device: device.unwrap_or_default(), mac },
        }));
    }
    let Some(Network::Active(Some(here))) = facts.source_networks.get(&network) else { return None };
    let differs =
        |difference| Obstacle::NetworkDiffers { source, destination, network, mac, difference: Box::new(difference) };
    if here.is_bridged() != there.is_bridged() || (!here.is_bridged() && here.mode != there.mode) {
        let (here, there) = (here.mode.clone(), there.mode.clone());
        return Some(Finding::Missing(differs(NetworkDifference::Kind { here, there })));
    }
    if !here.is_bridged() {
        return Some(Finding::Differs(differs(NetworkDifference::OfEachHost { mode: here.mode.clone() })));
    }
    let (here_port, there_port) = (here.port_of(portgroup), there.port_of(portgroup));
    if let (Some(portgroup), Some(_), None) = (portgroup, &here_port, &there_port) {
        let portgroup = portgroup.to_owned();
        return Some(Finding::Missing(differs(NetworkDifference::NoPortgroup { portgroup })));
    }
    let vlan = |port: Option<Port>| port.map(|port| port.vlan.into_iter().collect::<Vec<_>>()).unwrap_or_default();
    let (here_vlan, there_vlan) = (vlan(here_port), vlan(there_port));
    if here_vlan != there_vlan && !tagged {
        return Some(Finding::Missing(differs(NetworkDifference::Vlan { here: here_vlan, there: there_vlan })));
    }
    let on = |reach: &Reach| reach.bridge.clone().or_else(|| reach.device.clone()).unwrap_or_default();
    let (here, there) = (on(here), on(there));
    (here != there).then(|| Finding::Differs(differs(NetworkDifference::Bridge { here, there })))
}

#[cfg(test)]
mod tests {
    use super::super::shell::Access;
    use super::*;
    use crate::libvirt::facts::Resident;
    use crate::libvirt::xml::domain::Hardware;

    /// What the row of a thing finds, in words; `?` is before what only may harm.
    fn found(facts: &Facts, thing: Thing, part: Part) -> Option<String> {
        let named = Named { thing, part };
        judge(facts, "web", &DomainFacts::default(), &named).map(|finding| match finding {
            Finding::Missing(obstacle) => obstacle.to_string(),
            Finding::Differs(obstacle) => format!("?{obstacle}"),
            Finding::Dropped { path, .. } => path,
        })
    }

    fn assert_found(facts: &Facts, thing: Thing, part: Part, words: Option<&str>) {
        let found = found(facts, thing, part);
        match (&found, words) {
            (None, None) => {}
            (Some(found), Some(words)) if found.contains(words) => {}
            _ => panic!("{found:?}, not {words:?}"),
        }
    }

    fn facts() -> Facts {
        let mut facts = Facts::default();
        facts.source.name = "host-a".to_owned();
        facts.destination.name = "host-b".to_owned();
        facts
    }

    #[test]
    fn two_networks_of_one_name_lead_to_the_same_place_or_are_told_apart() {
        let group = "<portgroup name='g'><vlan><tag id='7'/></vlan></portgroup>";
        let xml = |mode: &str, bridge: &str, more: &str| {
            format!("<network><forward mode='{mode}'/><bridge name='{bridge}'/>{more}</network>")
        };
        let bridged = xml("bridge", "br0", group);
        for (here, there, words) in [
            (&bridged, bridged.clone(), None),
            (&bridged, xml("nat", "virbr0", ""), Some("of the kind bridge at host-a and nat at host-b")),
            (&xml("nat", "virbr0", ""), "<network/>".to_owned(), Some("nat at host-a and isolated at host-b")),
            (&xml("nat", "virbr0", ""), xml("nat", "virbr1", ""), Some("?its NIC m is in the libvirt network lan")),
            (&bridged, xml("bridge", "br1", group), Some("?its NIC m is in the libvirt network lan, which is on br0")),
            (&bridged, xml("bridge", "br0", &group.replace('7', "8")), Some("VLAN 7 at host-a and 8 at host-b")),
            (&bridged, xml("bridge", "br0", ""), Some("no portgroup g at host-b")),
        ] {
            let mut facts = facts();
            facts.source_networks.insert("lan".to_owned(), Network::Active(Reach::read(here)));
            facts.networks.insert("lan".to_owned(), Network::Active(Reach::read(&there)));
            let lan = Thing::Network { name: "lan".to_owned(), portgroup: Some("g".to_owned()) };
            let group = here.contains("portgroup").then(|| lan.clone());
            let lan = group.unwrap_or(Thing::Network { name: "lan".to_owned(), portgroup: None });
            assert_found(&facts, lan, Part::Nic { mac: "m".to_owned(), tagged: false }, words);
        }
    }

    #[test]
    fn a_bridge_behind_a_network_is_looked_for() {
        let mut facts = facts();
        let reach = Reach::read("<network><forward mode='bridge'/><bridge name='br7'/></network>").unwrap();
        let path = reach_path(&reach).unwrap();
        facts.networks.insert("lan".to_owned(), Network::Active(Some(reach)));
        let lan = || Thing::Network { name: "lan".to_owned(), portgroup: None };
        let nic = || Part::Nic { mac: "m".to_owned(), tagged: false };
        assert_found(&facts, lan(), nic(), None);
        facts.files.insert(path, false);
        assert_found(&facts, lan(), nic(), Some("host-b has no bridge br7"));
        facts.networks.insert("lan".to_owned(), Network::Inactive);
        assert_found(&facts, lan(), Part::Other("display"), Some("its display listens on the libvirt network lan"));
    }

    #[test]
    fn an_address_is_the_destination_s_or_known_to_be_the_source_s() {
        let address = |address: &str| Thing::Address { address: address.to_owned(), port: None };
        let shell = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            Some(Shell { addresses: Some(addresses), ..Shell::default() })
        };
        let mut facts = facts();
        let display = || Part::Other("display");
        assert_found(&facts, address("10.0.0.1"), display(), None);
        facts.source_shell = shell(&["10.0.0.1"]);
        assert_found(&facts, address("10.0.0.1"), display(), Some("10.0.0.1, which is no address of host-b"));
        facts.destination_shell = shell(&["10.0.0.2"]);
        assert_found(&facts, address("10.0.0.1"), display(), Some("virsh edit web"));
        for everywhere in ["0.0.0.0", "::", "127.0.0.1", "10.0.0.2", "a.name"] {
            assert_found(&facts, address(everywhere), display(), None);
        }
        facts.destination_shell.as_mut().unwrap().binds_any = true;
        assert_found(&facts, address("10.0.0.1"), display(), None);
    }

    #[test]
    fn a_port_is_taken_on_the_same_address_or_on_all() {
        let mut facts = facts();
        let hardware = Hardware { listens: vec![("10.0.0.2".to_owned(), 5901)], ..Hardware::default() };
        facts.residents.push(Resident { name: "other".to_owned(), uuid: "u2".to_owned(), hardware });
        let listens = |address: &str, port| Thing::Address { address: address.to_owned(), port: Some(port) };
        for (thing, words) in [
            (listens("0.0.0.0", 5901), Some("port 5901, which other has at host-b")),
            (listens("127.0.0.1", 5901), None),
            (listens("0.0.0.0", 5902), None),
        ] {
            assert_found(&facts, thing, Part::Other("display"), words);
        }
    }

    #[test]
    fn a_file_that_libvirt_gives_to_qemu_s_user_is_no_obstacle() {
        let mut facts = facts();
        facts.destination.qemu = Some((64055, 109));
        let (none, all) = (Access::default(), Access { reads: true, writes: true });
        let reads = Access { reads: true, writes: false };
        let writes = Thing::File { path: "/d".to_owned(), used: Use::Writes };
        // QEMU's user, root, whether libvirt gives files away.
        for (qemu, root, gives, words) in [
            (none, all, Some(false), Some("QEMU at host-b, as 64055:109 (user:group), may not write its vda (/d)")),
            (reads, all, Some(false), Some("may not write")),
            (none, all, Some(true), None),
            (none, reads, Some(true), Some("may not write")),
            (none, all, None, None),
            (all, all, Some(false), None),
        ] {
            let access = [("64055:109", qemu), (Shell::ROOT, root)];
            let access = access.map(|(user, may)| ((user.to_owned(), "/d".to_owned()), may)).into();
            facts.destination_shell = Some(Shell { gives, access, ..Shell::default() });
            assert_found(&facts, writes.clone(), Part::Disk("vda".to_owned()), words);
        }
    }

    #[test]
    fn processors_cells_and_pages_are_in_the_capabilities() {
        let mut facts = facts();
        let set = |numbers: &[u32]| numbers.iter().copied().collect();
        let pinned = || Part::Other("pinned threads");
        assert_found(&facts, Thing::Processors(set(&[9])), pinned(), None);
        facts.destination.processors = set(&[0, 1]);
        facts.destination.cells = set(&[0]);
        facts.destination.page_sizes = [4 << 10, 2 << 20].into();
        assert_found(&facts, Thing::Processors(set(&[0, 1])), pinned(), None);
        assert_found(&facts, Thing::Processors(set(&[1, 2])), pinned(), Some("?it is pinned"));
        assert_found(&facts, Thing::Processors(set(&[2, 3])), pinned(), Some("host-b does not have (2, 3)"));
        assert_found(&facts, Thing::Cells(set(&[0, 1])), Part::Other("memory"), Some("NUMA nodes"));
        for ordinary_or_huge in [4 << 10, 2 << 20] {
            assert_found(&facts, Thing::Pages(ordinary_or_huge), Part::Other("memory"), None);
        }
        assert_found(&facts, Thing::Pages(1 << 30), Part::Other("memory"), Some("huge pages of 1.0"));
    }

    #[test]
    fn what_only_the_shell_could_tell_is_known_or_not() {
        let mut facts = facts();
        let row = |thing, part| Named { thing, part };
        let socket = row(Thing::Node("/s".to_owned()), Part::Other("console"));
        assert!(is_unknown(&facts, &socket));
        assert_eq!(judge(&facts, "web", &DomainFacts::default(), &socket), None);
        facts.destination_shell = Some(Shell { nodes: [("/s".to_owned(), false)].into(), ..Shell::default() });
        assert!(!is_unknown(&facts, &socket));
        assert_found(&facts, socket.thing, socket.part, Some("its console names /s"));
        assert_found(&facts, Thing::Node("/s".to_owned()), Part::Argument, Some("?its argument of QEMU's"));
    }
}
