//! The nodes of a lab and their addresses.

use std::{fmt, net::Ipv4Addr};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Length of the network prefix of the lab's only network, in bits.
pub(crate) const PREFIX: u8 = 24;

/// One node: a set of namespaces in which its programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// The first KVM host, by default the source of an evacuation.
    HostA,
    /// The second KVM host.
    HostB,
    /// Where `tsmig` and `virsh` run, over the machine's own root filesystem.
    Client,
    /// The other end of the guests' traffic.
    Peer,
    /// The switch that joins the others; it has no address.
    Switch,
}

impl Node {
    /// All nodes.
    pub const ALL: [Self; 5] = [Self::HostA, Self::HostB, Self::Client, Self::Peer, Self::Switch];

    /// The KVM hosts.
    pub const HOSTS: [Self; 2] = [Self::HostA, Self::HostB];

    /// The node's name: its hostname, and the name of its port on the switch.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostA => "host-a",
            Self::HostB => "host-b",
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
            _ => None,
        }
    }

    /// The node's address; the same in every lab, as nothing joins two labs.
    pub const fn address(self) -> Option<Ipv4Addr> {
        match self {
            Self::HostA => Some(address(1)),
            Self::HostB => Some(address(2)),
            Self::Client => Some(address(3)),
            Self::Peer => Some(address(4)),
            Self::Switch => None,
        }
    }

    /// Whether this is a KVM host.
    pub const fn is_host(self) -> bool {
        matches!(self, Self::HostA | Self::HostB)
    }

    /// The network device that leads to the switch.
    pub(crate) const fn uplink(self) -> &'static str {
        if self.is_host() { "uplink" } else { "eth0" }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The address with that last byte; guests have those from [`FIRST_GUEST`] on.
pub(crate) const fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 10, 0, last)
}

/// Last byte of the first guest's address.
pub(crate) const FIRST_GUEST: u8 = 16;

/// The text of `/etc/hosts` on a host, or, with the aliases, on the client.
pub(crate) fn hosts_file(with_aliases: bool) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    for node in Node::ALL {
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
        assert!(hosts_file(true).contains("10.10.0.2 host-b host-b-mgmt\n"));
        assert!(hosts_file(false).contains("10.10.0.2 host-b\n"));
    }
}
