//! The traffic profile of a host: what `tsmig profile` prints and saves, and all that the planner sees.
//!
//! A [`Profile`] is plain data with a stable JSON form (schema `tsmig.profile/1`), so that a plan can be
//! computed again later, elsewhere, without libvirt. [`sampling`](crate::profile::sampler) makes one from a live host.

pub mod link;
pub(crate) mod mobility;
pub mod sampler;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{DomainState, Eligibility};
use crate::topology::Link;

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

impl Profile {
    /// The place of a domain among [`Self::domains`], by its UUID.
    pub fn position(&self, uuid: &str) -> Option<usize> {
        self.domains.iter().position(|domain| domain.uuid == uuid)
    }

    /// A domain, by its UUID.
    pub fn domain(&self, uuid: &str) -> Option<&DomainProfile> {
        self.domains.iter().find(|domain| domain.uuid == uuid)
    }
}

/// The profiles of a source and a destination over the same window: all that a plan is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// How fast it dirties memory as libvirt measures it, in bytes per second; 0 if it does not.
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

/// Profiles for the unit tests of whatever works on them.
#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use crate::topology::LinkOrigin;

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
