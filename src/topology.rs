//! The words for what migrations cross: hosts, their ports, and the capacity of those.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The host that is evacuated.
    Source,
    /// The host that takes the domains.
    Destination,
}

/// A NIC of a host, or a bond of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Port {
    /// The host's name for it; [`UPLINK`] if that is not known.
    pub name: String,
    /// Capacity each way, in bits per second.
    pub bits_per_second: f64,
    /// Where the number comes from.
    pub origin: CapacityOrigin,
    /// What a single flow finds of it, if it is a bond that spreads its traffic over its members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Member>,
}

/// One of the members of a bond, between which its traffic is spread by a hash: a flow takes one of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Capacity each way, in bits per second: of the slowest.
    pub bits_per_second: f64,
    /// What takes one member together.
    pub hashed: Hashed,
}

/// What of a bond's traffic keeps to one member (`xmit_hash_policy` in Linux, Documentation/networking/bonding.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hashed {
    /// Each connection.
    Connection,
    /// All that goes from one host to one other: all migrations between the two.
    Hosts,
}

/// The name of a port whose capacity is told or assumed, and whose name is not known.
pub const UPLINK: &str = "uplink";

impl Port {
    /// A port whose name is not known, with this capacity each way, in bits per second.
    pub fn unnamed(bits_per_second: f64, origin: CapacityOrigin) -> Self {
        Self { name: UPLINK.to_owned(), bits_per_second, origin, member: None }
    }

    /// Whether traffic of this rate, in bits per second, is nothing beside its capacity.
    pub fn is_idle(&self, bits_per_second: f64) -> bool {
        bits_per_second.is_nan() || bits_per_second < idle_below(self.bits_per_second)
    }
}

/// The rate below which traffic counts as idle beside a port of `capacity`, both in bits per second.
///
/// 0.2 % of it: the acknowledgements of flows of 8 to 30 Mbit/s were measured at 53 to 92 kbit/s on a link of
/// 100 Mbit/s (`docs/bench/profiles`), and twice that makes a migration longer by 0.2 %, less than equal runs differ.
/// At least 10 kbit/s, since a guest without a task was measured at 0.06 to 0.7 kbit/s; at most 1 Mbit/s, since on a
/// fast link a guest with more than that has users. Chosen within what was measured.
pub(crate) fn idle_below(capacity: f64) -> f64 {
    (0.002 * capacity).clamp(1e4, 1e6)
}

/// Where a port's capacity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CapacityOrigin {
    /// Given on the command line.
    Option,
    /// Given in the configuration.
    Configuration,
    /// Read from the host.
    Detected,
    /// Nothing was known.
    Assumed,
}

/// A host with its ports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostPorts {
    /// The host as the user named it.
    pub host: String,
    /// The port that migrations cross.
    pub migration_port: Port,
    /// How it is known that they do.
    #[serde(default)]
    pub route: RouteOrigin,
    /// The address that they come in at, if the host takes any, and its shell or that of the source told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub address: Option<IpAddr>,
    /// Its other ports.
    #[serde(default)]
    pub other_ports: Vec<Port>,
    /// What the guests that are planned for are plugged into, and where that leads.
    #[serde(default)]
    pub outlets: Vec<Outlet>,
}

impl HostPorts {
    /// Whether traffic that is bound so counts as beside migrations. Where it is not known which port those cross, all
    /// traffic does that leaves the host.
    pub fn contends(&self, binding: &Binding) -> bool {
        contends(&self.migration_port, self.route, binding)
    }
}

/// As [`HostPorts::contends`].
pub(crate) fn contends(migration_port: &Port, route: RouteOrigin, binding: &Binding) -> bool {
    match binding {
        Binding::Port { name } => route == RouteOrigin::Assumed || *name == migration_port.name,
        Binding::Internal => false,
        Binding::Unknown => true,
    }
}

/// How it is known which port of a host migrations cross.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteOrigin {
    /// Given in the configuration.
    Configuration,
    /// Read from the host: by its routes, or since it has one port only.
    Detected,
    /// Nothing was known: all traffic of guests that leaves the host counts as beside them.
    #[default]
    Assumed,
}

/// What a guest's NIC is plugged into, at whatever host it runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum Plug {
    /// A network of libvirt's.
    Network(String),
    /// A device of the host: a bridge, or a NIC that guests have macvtaps on.
    Device(String),
}

impl Plug {
    /// Its name.
    pub fn name(&self) -> &str {
        let (Self::Network(name) | Self::Device(name)) = self;
        name
    }
}

/// Where what is plugged into something of a host leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outlet {
    /// What guests are plugged into.
    pub plug: Plug,
    /// Where it leads.
    pub port: Binding,
}

/// The port of the host of that name that migrations cross.
pub(crate) fn migration_port<'a>(hosts: &'a [HostPorts], host: &str) -> Option<&'a Port> {
    hosts.iter().find(|ports| ports.host == host).map(|ports| &ports.migration_port)
}

/// A port of a host, on the way of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hop {
    /// The host.
    pub host: String,
    /// The name of its port.
    pub port: String,
}

/// What of its host's ports a guest's NIC is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Binding {
    /// Its traffic crosses this port.
    Port {
        /// The port's name.
        name: String,
    },
    /// Its traffic stays within the host.
    Internal,
    /// Not known; it counts as on the port that migrations cross.
    #[default]
    Unknown,
}

impl Binding {
    /// To the port of this name.
    pub fn to(port: &str) -> Self {
        Self::Port { name: port.to_owned() }
    }
}
