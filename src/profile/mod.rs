//! The traffic profiles of hosts: what `tsmig profile` prints and saves, and all that the planner sees.
//!
//! They are plain data with a stable JSON form (schema `tsmig.profile/2`), so that a plan can be
//! computed again later, elsewhere, without libvirt. `sampler` makes one from a live host.

pub(crate) mod changes;
pub mod learned;
pub(crate) mod mobility;
pub(crate) mod ports;
pub(crate) mod rates;
pub(crate) mod sampler;
pub(crate) mod window;

use std::net::IpAddr;
use std::ops::Not;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{DomainState, Rewritten};
use crate::obstacle::Eligibility;
use crate::profile::learned::{Crossing, Learned, Teacher};
use crate::profile::ports::Ports;
use crate::topology::{Binding, Hop, HostPorts, Outlet, Plug, Port, RouteOrigin, contends};

/// The schema name that a saved profile carries.
pub const SCHEMA: &str = "tsmig.profile/2";

/// Hosts over the same sampling window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Profiles {
    /// Always [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// In the order in which the user named them: a plan takes the first as the source.
    pub hosts: Vec<Profile>,
}

impl Profiles {
    /// The profiles of these hosts.
    pub fn of(hosts: Vec<Profile>) -> Self {
        Self { schema: SCHEMA.to_owned(), hosts }
    }
}

/// One host over one sampling window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// The host as the user named it.
    pub host: String,
    /// Length of the sampling window, in seconds.
    pub window_seconds: f64,
    /// The port that migrations cross.
    pub migration_port: Port,
    /// How it is known that they do.
    #[serde(default)]
    pub route: RouteOrigin,
    /// The address that they come in at, if the host is to take any, and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub address: Option<IpAddr>,
    /// Its other ports, as far as they are known.
    #[serde(default)]
    pub other_ports: Vec<Port>,
    /// What guests can be plugged into, and where that leads, as far as that is known.
    #[serde(default)]
    pub outlets: Vec<Outlet>,
    /// Its processors, if libvirt tells of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors: Option<Processors>,
    /// How earlier migrations from this host to the other crossed, if any was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crossing: Option<Crossing>,
    /// All domains of the host, the inactive ones included, sorted by name.
    pub domains: Vec<DomainProfile>,
}

impl Profile {
    /// The host with its ports, and with what these domains are plugged into.
    pub fn ports(&self, domains: &[DomainProfile]) -> HostPorts {
        let used = |plug: &Plug| domains.iter().flat_map(|d| &d.nics).any(|nic| nic.plug.as_ref() == Some(plug));
        HostPorts {
            host: self.host.clone(),
            migration_port: self.migration_port.clone(),
            route: self.route,
            address: self.address,
            other_ports: self.other_ports.clone(),
            outlets: self.outlets.iter().filter(|outlet| used(&outlet.plug)).cloned().collect(),
        }
    }

    /// The host with these ports, and each guest's NIC bound to where what it is plugged into leads.
    pub(crate) fn wired(self, ports: Ports) -> Self {
        let Ports { migration_port, route, other_ports, outlets, address, .. } = ports;
        let mut domains = Vec::new();
        let mut wired = Self { migration_port, route, other_ports, outlets, address, domains: Vec::new(), ..self };
        for mut domain in self.domains {
            for nic in &mut domain.nics {
                nic.port = wired.arrival(nic).clone();
            }
            domains.push(domain);
        }
        wired.domains = domains;
        wired
    }

    /// Where the NIC of a guest that comes from another host will lead at this one.
    pub fn arrival(&self, nic: &NicProfile) -> &Binding {
        let found = nic.plug.as_ref().and_then(|plug| self.outlets.iter().find(|outlet| outlet.plug == *plug));
        found.map_or(&Binding::Unknown, |outlet| &outlet.port)
    }

    /// Capacity of the slower of the two links that a migration from here to `destination` crosses, in bits per second.
    pub(crate) fn link_to(&self, destination: &Self) -> f64 {
        self.migration_port.bits_per_second.min(destination.migration_port.bits_per_second)
    }

    /// As [`HostPorts::contends`].
    pub(crate) fn contends(&self, binding: &Binding) -> bool {
        contends(&self.migration_port, self.route, binding)
    }

    /// The port that migrations cross, on the way of one.
    pub fn hop(&self) -> Hop {
        Hop { host: self.host.clone(), port: self.migration_port.name.clone() }
    }

    /// The place of a domain among [`Self::domains`], by its UUID.
    pub fn position(&self, uuid: &str) -> Option<usize> {
        self.domains.iter().position(|domain| domain.uuid == uuid)
    }

    /// A domain, by its UUID.
    pub fn domain(&self, uuid: &str) -> Option<&DomainProfile> {
        self.domains.iter().find(|domain| domain.uuid == uuid)
    }
}

/// The processors of a host.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Processors {
    /// How many it has.
    pub count: u32,
    /// How many of them were idle over the window, in the mean.
    pub idle: f64,
}

/// The profiles of a source and a destination over the same window: all that a plan is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Both {
    /// Of the host that is to be emptied.
    pub source: Profile,
    /// Of the host that takes its domains.
    pub destination: Profile,
}

/// One domain over the window. Directions are the guest's: outbound is what it sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DomainProfile {
    /// Its name, unique on the host.
    pub name: String,
    /// Its UUID in the usual hyphenated form.
    pub uuid: String,
    /// Its state at the end of the window.
    pub state: DomainState,
    /// Whether it has a stored definition.
    pub persistent: bool,
    /// Its memory at present (balloon), in bytes.
    pub memory_bytes: u64,
    /// How much of it is backed by host memory: an upper bound of what must cross the wire, in bytes.
    pub resident_bytes: u64,
    /// How much of it the guest says is free, in bytes, if it says so.
    #[serde(default)]
    pub unused_bytes: Option<u64>,
    /// How much of it is not blank, in bytes, by a look at some of its pages; `None` if nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filled_bytes: Option<u64>,
    /// How much of it had changed at a second look at them; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<Rewritten>,
    /// How fast it dirties memory as libvirt measures it, in bytes per second; 0 if it does not.
    #[serde(default)]
    pub dirty_bytes_per_second: f64,
    /// Whether it runs and libvirt has not measured that within the window and two seconds after it.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub dirty_rate_unknown: bool,
    /// Mean rate that its NICs send, in bits per second.
    pub outbound_bits_per_second: f64,
    /// Mean rate that its NICs receive, in bits per second.
    pub inbound_bits_per_second: f64,
    /// Its NICs, whose rates make up the two above.
    #[serde(default)]
    pub nics: Vec<NicProfile>,
    /// What earlier migrations have shown of it, if any was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Learned>,
    /// Whether post-copy may be used on it.
    pub post_copy: Eligibility,
    /// Whether it can be migrated at all.
    #[serde(default)]
    pub migration: Eligibility,
}

impl DomainProfile {
    /// How much of its memory is backed by host memory, in bytes; all of it if that is not known.
    pub(crate) fn backed_bytes(&self) -> u64 {
        if self.resident_bytes > 0 { self.resident_bytes } else { self.memory_bytes }
    }

    /// Whether it was seen how much of its memory crosses, now or when it moved.
    pub(crate) fn is_fullness_known(&self) -> bool {
        self.filled_bytes.is_some() || self.earlier_migrations() > 0
    }

    /// How many migrations of this very domain something is known from.
    pub(crate) fn earlier_migrations(&self) -> usize {
        self.learned.filter(|learned| learned.of == Teacher::Itself).map_or(0, |learned| learned.migrations)
    }

    /// What each of its NICs did not fall below.
    pub(crate) fn steady(&self) -> Vec<Steady> {
        self.nics.iter().map(|nic| nic.steady).collect()
    }
}

/// A measured dirty rate that is no more than this above what the traffic explains tells nothing, in bits per second:
/// 6 MiB/s.
///
/// QEMU's measurement hashes 512 pages for each GiB before and after a second, so one page stands for 2 MiB, and the
/// mean of a few such counts is off by about as much. Measured: guests with 30 Mbit/s of traffic, which dirty some
/// 3 MB/s, gave means of 2 to 6 MB/s over 10 s.
pub(crate) const DIRTY_NOISE: f64 = 6.0 * 1024.0 * 1024.0 * 8.0;

/// How long a stretch of a window is over which traffic counts as [`Steady`], in seconds; a shorter window is one stretch.
/// A guest that has arrived is watched for as long (`engine::arrival` has the reason), so that a pause that it also made
/// during the window raises no alarm.
pub const STEADY_SECONDS: f64 = 8.0;

/// From this rate on traffic is judged when a guest has arrived, in bits per second: 2 % of it is 20 kbit/s, which is more than a
/// dead connection's retransmissions and the ARP of a small network.
pub(crate) const JUDGED_BITS_PER_SECOND: f64 = 1e6;

/// What the traffic of a NIC did not fall below: the least over any [`STEADY_SECONDS`] of the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Steady {
    /// Of what it sends, in bits per second.
    pub outbound_bits_per_second: f64,
    /// Of what it receives, in bits per second.
    pub inbound_bits_per_second: f64,
}

/// A NIC of a domain over the window. Directions are the guest's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NicProfile {
    /// The host's name for it.
    pub name: String,
    /// Mean rate that it sends, in bits per second.
    pub outbound_bits_per_second: f64,
    /// Mean rate that it receives, in bits per second.
    pub inbound_bits_per_second: f64,
    /// What its rates did not fall below.
    #[serde(default)]
    pub steady: Steady,
    /// What it is plugged into, if that is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plug: Option<Plug>,
    /// What of the host's ports its traffic crosses.
    #[serde(default)]
    pub port: Binding,
}

/// Profiles for the unit tests of whatever works on them.
#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use crate::topology::CapacityOrigin;

    /// A host with these domains, each idle and of one byte, which is not free.
    pub(crate) fn host(name: &str, domains: &[(&str, &str, DomainState)]) -> Profile {
        let domain = |(name, uuid, state): &(&str, &str, DomainState)| DomainProfile {
            name: (*name).to_owned(),
            uuid: (*uuid).to_owned(),
            state: *state,
            persistent: true,
            memory_bytes: 1,
            resident_bytes: 1,
            unused_bytes: Some(0),
            filled_bytes: None,
            rewritten: None,
            dirty_bytes_per_second: 0.0,
            dirty_rate_unknown: false,
            outbound_bits_per_second: 0.0,
            inbound_bits_per_second: 0.0,
            nics: Vec::new(),
            learned: None,
            post_copy: Eligibility::default(),
            migration: Eligibility::default(),
        };
        Profile {
            host: name.to_owned(),
            window_seconds: 1.0,
            migration_port: Port::unnamed(1e9, CapacityOrigin::Assumed),
            route: RouteOrigin::default(),
            address: None,
            other_ports: Vec::new(),
            outlets: Vec::new(),
            processors: None,
            crossing: None,
            domains: domains.iter().map(domain).collect(),
        }
    }
}
