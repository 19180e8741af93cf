//! The networks of a lab. The nodes' cards, bridges and addresses, the shaping and libvirt's networks follow from here.

use std::net::Ipv4Addr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{node::Node, rate::Rate, spec::LabSpec};

/// Length of all networks' prefixes, in bits.
pub(crate) const PREFIX: u8 = 24;

/// An address of the peer that is in none of the networks: hosts reach it by their default route, which leads to the peer,
/// and guests of [`Network::Nat`] by theirs.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 4);

/// A network that guests can be in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The network that joins all nodes: 10.10.0.0/24, `br0` on the hosts.
    #[default]
    Lan,
    /// The network for migrations, which joins the hosts and the peer: 10.20.0.0/24.
    Migration,
    /// A network of libvirt's own in each host, which leads nowhere: 10.30.0.0/24.
    Isolated,
    /// A network of libvirt's own in each host, which leads out by the host's address: 10.40.0.0/24.
    Nat,
}

/// What joins the hosts' migration addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationNetwork {
    /// A wire of its own: each host has another NIC, in the bridge `br1`, of that capacity each way.
    OwnWire(Rate),
    /// The wire of [`Network::Lan`]: each host has a macvlan on `br0`.
    LanWire,
}

/// A switch, and a cable to each of its nodes; those of the hosts are shaped.
#[derive(Debug, PartialEq)]
pub(crate) struct Wire {
    /// The network that runs on it.
    pub(crate) network: Network,
    /// Capacity of each host's cable, each way.
    pub(crate) rate: Rate,
    /// Name of the bridge that is the switch.
    pub(crate) switch: &'static str,
    /// Name of each host's NIC.
    pub(crate) uplink: &'static str,
    /// Name of each other node's NIC.
    nic: &'static str,
}

impl Wire {
    /// The nodes that it joins.
    pub(crate) fn nodes(&self, lab: &LabSpec) -> impl Iterator<Item = Node> {
        let others: &[Node] = if self.network == Network::Lan { &[Node::Client, Node::Peer] } else { &[Node::Peer] };
        lab.hosts().iter().chain(others).copied()
    }

    /// A node's end of its cable.
    pub(crate) fn nic(&self, node: Node) -> &'static str {
        if node.is_host() { self.uplink } else { self.nic }
    }

    /// The switch's end of it.
    pub(crate) fn port(&self, node: Node) -> String {
        if self.network == Network::Lan { node.to_string() } else { format!("{node}-{}", self.switch) }
    }
}

impl LabSpec {
    /// The lab's wires, that of [`Network::Lan`] first.
    pub(crate) fn wires(&self) -> Vec<Wire> {
        let lan = Wire { network: Network::Lan, rate: self.link, switch: "br0", uplink: "uplink", nic: "eth0" };
        let own = |rate| Wire { network: Network::Migration, rate, switch: "br1", uplink: "migration", nic: "eth1" };
        let migration = match self.migration {
            Some(MigrationNetwork::OwnWire(rate)) => Some(own(rate)),
            _ => None,
        };
        [lan].into_iter().chain(migration).collect()
    }

    /// The bridge on each host that joins guests to a network, if the lab has it.
    pub(crate) fn bridge(&self, network: Network) -> Option<&'static str> {
        match network {
            Network::Lan => Some("br0"),
            Network::Migration => self.migration.map(|way| match way {
                MigrationNetwork::OwnWire(_) => "br1",
                MigrationNetwork::LanWire => "br0",
            }),
            Network::Isolated => self.inner_networks.then_some("virbr1"),
            Network::Nat => self.inner_networks.then_some("virbr2"),
        }
    }

    /// Those of libvirt's own: name and definition.
    pub(crate) fn libvirt_networks(&self) -> Vec<(String, String)> {
        let inner = [Network::Isolated, Network::Nat].into_iter().filter(|_| self.inner_networks);
        inner.map(|network| (network.name(), self.libvirt_network(network))).collect()
    }

    /// Guests bring their addresses, so nothing has to give them any.
    fn libvirt_network(&self, network: Network) -> String {
        let (name, address) = (network.name(), network.address(GATEWAY));
        let bridge = self.bridge(network).unwrap_or_default();
        let forward = if network == Network::Nat { "<forward mode='nat'/>" } else { "" };
        let octet = address.octets()[1];
        format!(
            "\
<network>
  <name>{name}</name>
  <uuid>7c1e5a0e-0000-4000-8000-0000000000{octet}</uuid>
  {forward}
  <bridge name='{bridge}' stp='off' delay='0'/>
  <mac address='52:54:00:10:{octet}:01'/>
  <dns enable='no'/>
  <ip address='{address}' prefix='{PREFIX}'/>
</network>
"
        )
    }
}

/// Last byte of each host's address in a network of libvirt's own.
const GATEWAY: u8 = 1;

impl Network {
    /// Its address with that last byte.
    pub(crate) const fn address(self, last: u8) -> Ipv4Addr {
        let second = match self {
            Self::Lan => 10,
            Self::Migration => 20,
            Self::Isolated => 30,
            Self::Nat => 40,
        };
        Ipv4Addr::new(10, second, 0, last)
    }

    /// The MAC address of a guest's card in it; `number` is the last byte of the guest's addresses.
    pub(crate) fn guest_mac(self, number: u8) -> String {
        format!("52:54:00:10:{}:{number:02x}", self.address(number).octets()[1])
    }

    /// The router to all that is not in it.
    pub(crate) fn gateway(self) -> Option<Ipv4Addr> {
        (self == Self::Nat).then(|| self.address(GATEWAY))
    }

    /// Where the peer is to guests in it.
    pub(crate) fn peer(self) -> Option<Ipv4Addr> {
        match self {
            Self::Lan | Self::Migration => Node::Peer.address_in(self),
            Self::Nat => Some(OUTSIDE),
            Self::Isolated => None,
        }
    }

    /// Whether it is libvirt's own, in each host.
    pub(crate) fn is_inner(self) -> bool {
        matches!(self, Self::Isolated | Self::Nat)
    }

    /// As on the command line, and to libvirt.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_follow_from_the_lab() {
        let plain = LabSpec::default();
        assert_eq!(plain.wires().len(), 1);
        assert_eq!(plain.bridge(Network::Migration), None);
        assert!(plain.libvirt_networks().is_empty());

        let rate = Rate::mbit(50);
        let own = LabSpec { migration: Some(MigrationNetwork::OwnWire(rate)), hosts: 3, ..LabSpec::default() };
        let wire = &own.wires()[1];
        assert_eq!((wire.rate, own.bridge(Network::Migration)), (rate, Some("br1")));
        let ports: Vec<_> = wire.nodes(&own).map(|node| wire.port(node)).collect();
        assert_eq!(ports, ["host-a-br1", "host-b-br1", "host-c-br1", "peer-br1"]);

        let shared = LabSpec { migration: Some(MigrationNetwork::LanWire), ..LabSpec::default() };
        assert_eq!((shared.wires().len(), shared.bridge(Network::Migration)), (1, Some("br0")));
    }
}
