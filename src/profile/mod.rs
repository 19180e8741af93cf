//! The traffic profile of a host: what `tsmig profile` prints and saves, and all that the planner sees.
//!
//! A [`Profile`] is plain data with a stable JSON form (schema `tsmig.profile/1`), so that a plan can be
//! computed again later, elsewhere, without libvirt. [`sampling`](crate::profile::sampler) makes one from a live host.

pub mod link;
pub mod sampler;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The schema name that a saved profile carries.
pub const SCHEMA: &str = "tsmig.profile/1";

/// One host over one sampling window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Always [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// The host as the user named it.
    pub host: String,
    /// Length of the sampling window, in seconds.
    pub window_seconds: f64,
    /// The NIC that carries the migration.
    pub link: Link,
    /// All domains of the host, the inactive ones included, sorted by name.
    pub domains: Vec<DomainProfile>,
}

/// The profiles of a source and a destination over the same window: all that a plan is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Both {
    /// Of the host that is to be emptied.
    pub source: Profile,
    /// Of the host that takes its domains.
    pub destination: Profile,
}

/// The capacity of a host's NIC in each direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// Capacity each way, in bits per second.
    pub bits_per_second: f64,
    /// Where the number comes from.
    pub origin: LinkOrigin,
    /// The interface whose capacity was detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

impl Link {
    /// A link whose capacity was told or assumed, in bits per second.
    pub fn new(bits_per_second: f64, origin: LinkOrigin) -> Self {
        Self { bits_per_second, origin, interface: None }
    }

    /// Whether traffic of this rate, in bits per second, is nothing beside the link.
    pub fn is_idle(&self, bits_per_second: f64) -> bool {
        bits_per_second.is_nan() || bits_per_second < idle_below(self.bits_per_second)
    }
}

/// The rate below which traffic counts as idle beside a link of `capacity`, both in bits per second.
///
/// 0.2 % of the link: the acknowledgements of flows of 8 to 30 Mbit/s were measured at 53 to 92 kbit/s on a link of
/// 100 Mbit/s (`docs/bench/profiles`), and twice that makes a migration longer by 0.2 %, less than equal runs differ.
/// At least 10 kbit/s, since a guest without a task was measured at 0.06 to 0.7 kbit/s; at most 1 Mbit/s, since on a
/// fast link a guest with more than that has users. Chosen within what was measured.
pub(crate) fn idle_below(capacity: f64) -> f64 {
    (0.002 * capacity).clamp(1e4, 1e6)
}

/// Where a link's capacity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkOrigin {
    /// Given on the command line.
    Option,
    /// Given in the configuration.
    Configuration,
    /// Read from the host.
    Detected,
    /// Nothing was known.
    Assumed,
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
    /// How much of it the guest says is free, in bytes, where it says so.
    #[serde(default)]
    pub unused_bytes: Option<u64>,
    /// How fast it dirties memory as libvirt measures it, in bytes per second; 0 where it does not.
    #[serde(default)]
    pub dirty_bytes_per_second: f64,
    /// Mean rate that its NICs send, in bits per second.
    pub outbound_bits_per_second: f64,
    /// Mean rate that its NICs receive, in bits per second.
    pub inbound_bits_per_second: f64,
    /// Whether post-copy may be used on it.
    pub post_copy: Eligibility,
    /// Whether it can be migrated at all.
    #[serde(default)]
    pub migration: Eligibility,
}

/// A yes, or a no with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Eligibility {
    /// Whether it may be done.
    pub eligible: bool,
    /// Why not; `None` where it may.
    pub reason: Option<String>,
}

impl Eligibility {
    /// It may not be done, because of `reason`: a clause that follows the domain's name and a colon.
    pub fn no(reason: impl Into<String>) -> Self {
        Self { eligible: false, reason: Some(reason.into()) }
    }
}

impl Default for Eligibility {
    fn default() -> Self {
        Self { eligible: true, reason: None }
    }
}

/// A domain's state in libvirt's terms; `blocked` counts as running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DomainState {
    /// It runs.
    Running,
    /// Its processors are stopped, its memory is kept.
    Paused,
    /// The guest is on its way to power off.
    #[serde(rename = "in shutdown")]
    ShuttingDown,
    /// Defined, not running.
    #[serde(rename = "shut off")]
    ShutOff,
    /// It crashed and is kept.
    Crashed,
    /// The guest suspended itself.
    PmSuspended,
    /// libvirt does not know.
    #[serde(rename = "no state")]
    Unknown,
}

impl DomainState {
    /// Whether there is a process with memory to migrate.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::ShutOff)
    }
}

impl fmt::Display for DomainState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::ShuttingDown => "in shutdown",
            Self::ShutOff => "shut off",
            Self::Crashed => "crashed",
            Self::PmSuspended => "pmsuspended",
            Self::Unknown => "no state",
        })
    }
}

/// Profiles for the unit tests of whatever works on them.
#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    /// A host with these domains, each idle and of one byte.
    pub(crate) fn host(name: &str, domains: &[(&str, &str, DomainState)]) -> Profile {
        let domain = |(name, uuid, state): &(&str, &str, DomainState)| DomainProfile {
            name: (*name).to_owned(),
            uuid: (*uuid).to_owned(),
            state: *state,
            persistent: true,
            memory_bytes: 1,
            resident_bytes: 1,
            unused_bytes: None,
            dirty_bytes_per_second: 0.0,
            outbound_bits_per_second: 0.0,
            inbound_bits_per_second: 0.0,
            post_copy: Eligibility::default(),
            migration: Eligibility::default(),
        };
        Profile {
            schema: SCHEMA.to_owned(),
            host: name.to_owned(),
            window_seconds: 1.0,
            link: Link::new(1e9, LinkOrigin::Assumed),
            domains: domains.iter().map(domain).collect(),
        }
    }
}
