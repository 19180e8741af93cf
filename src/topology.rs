//! The words for what migrations cross: hosts and the capacity of their NICs.

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
