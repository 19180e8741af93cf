//! The nodes of a lab.

use std::{fmt, net::Ipv4Addr};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::networks::Network;

/// One node: a set of namespaces in which its programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// The first KVM host, by default the source of an evacuation.
    HostA,
    /// The second KVM host.
    HostB,
    /// The third KVM host, if the lab has so many.
    HostC,
    /// The fourth KVM host, if the lab has so many.
    HostD,
    /// Where `tsmig` and `virsh` run, over the machine's own root filesystem.
    Client,
    /// The other end of the guests' traffic.
    Peer,
    /// The switch that joins the others; it has no address.
    Switch,
}

impl Node {
    /// The KVM hosts that a lab can have; how many it has, [`LabSpec::hosts`](crate::LabSpec) says.
    pub(crate) const POSSIBLE_HOSTS: [Self; 4] = [Self::HostA, Self::HostB, Self::HostC, Self::HostD];

    /// The nodes that each lab has beside its hosts.
    pub(crate) const OTHERS: [Self; 3] = [Self::Client, Self::Peer, Self::Switch];

    /// The node's name: its hostname, and the name of its port on the switch.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostA => "host-a",
            Self::HostB => "host-b",
            Self::HostC => "host-c",
            Self::HostD => "host-d",
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Switch => "switch",
        }
    }

    /// A second name of a host that only the client knows.
    pub const fn alias(self) -> Option<&'static str> {
        match self {
            Self::HostA => Some("host-a-mgmt"),
            Self::HostB => Some("host-b-mgmt"),
            Self::HostC => Some("host-c-mgmt"),
            Self::HostD => Some("host-d-mgmt"),
            _ => None,
        }
    }

    /// Last byte of the node's addresses; below [`FIRST_GUEST`].
    pub(crate) const fn number(self) -> Option<u8> {
        match self {
            Self::HostA => Some(1),
            Self::HostB => Some(2),
            Self::Client => Some(3),
            Self::Peer => Some(4),
            Self::HostC => Some(5),
            Self::HostD => Some(6),
            Self::Switch => None,
        }
    }

    /// The node's address in the network that joins all; the same in every lab, as nothing joins two labs.
    pub const fn address(self) -> Option<Ipv4Addr> {
        self.address_in(Network::Lan)
    }

    /// The address that the node has in a network, if it is there.
    pub const fn address_in(self, network: Network) -> Option<Ipv4Addr> {
        match self.number() {
            Some(number) => Some(network.address(number)),
            None => None,
        }
    }

    /// Whether this is a KVM host.
    pub const fn is_host(self) -> bool {
        matches!(self, Self::HostA | Self::HostB | Self::HostC | Self::HostD)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Last byte of the first guest's addresses.
pub(crate) const FIRST_GUEST: u8 = 16;

/// The text of `/etc/hosts` on one of those nodes, with the aliases on the client.
pub(crate) fn hosts_file(nodes: impl Iterator<Item = Node>, with_aliases: bool) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    for node in nodes {
        if let Some(address) = node.address() {
            let alias = node.alias().filter(|_| with_aliases).unwrap_or_default();
            text.push_str(format!("{address} {node} {alias}").trim_end());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_client_knows_the_aliases() {
        let nodes = || [Node::HostB, Node::Peer].into_iter();
        assert!(hosts_file(nodes(), true).contains("10.10.0.2 host-b host-b-mgmt\n"));
        assert!(hosts_file(nodes(), false).contains("10.10.0.2 host-b\n"));
    }
}
