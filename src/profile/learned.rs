//! What earlier migrations have shown of domains and hosts. It takes the place of what the model assumes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was seen of a domain when it, or others on these hosts, moved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Learned {
    /// Memory of it that must cross once, in bytes.
    pub crossing_bytes: u64,
    /// What it writes to its memory beside what its traffic explains; `None` if no pre-copy of it was seen.
    #[serde(default)]
    pub writes: Option<Writes>,
    /// How many migrations showed it.
    pub migrations: usize,
    /// Which domain's they were.
    pub of: Teacher,
}

/// Whose migrations taught something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Teacher {
    /// The domain's own.
    Itself,
    /// Those of other domains between the same hosts.
    Others,
}

/// Memory that a guest keeps writing to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Writes {
    /// How fast, in bytes per second: of whole pages.
    pub bytes_per_second: f64,
    /// How much memory that was at the most, in bytes.
    pub most_bytes: u64,
    /// After so many seconds of writing it was still growing. `None` if it grows no more, however long the writing goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_after_seconds: Option<f64>,
}

/// How migrations from this host to the other were seen to cross.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Crossing {
    /// How fast memory crossed, as a part of what the model says.
    pub pace: f64,
    /// Seconds from a launch to the first byte, if nothing else is being set up.
    pub setup_seconds: f64,
    /// How many seconds apart the first bytes of migrations come that are launched together: the destination sets up one after the
    /// other. `None` if that was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setups_apart_seconds: Option<f64>,
    /// Capacity of the slower of the two links then, in bits per second: of another link nothing is known.
    pub link_bits_per_second: f64,
    /// How many runs showed it.
    pub runs: usize,
}

impl Crossing {
    /// How far a pace is believed. Chosen: from a third of what the model says, as of many small guests on a fast link, to a
    /// little more than it says; no run on our own hosts was outside of it.
    pub(crate) const PACES: (f64, f64) = (0.3, 1.3);

    /// How long it is believed to take from a launch to the first byte, in seconds. Chosen: a tenth of what is usual to ten times
    /// that.
    pub(crate) const SETUPS: (f64, f64) = (0.05, 5.0);

    /// How far apart setups are believed to be, in seconds. Chosen: from all at once to as long as one may take.
    pub(crate) const APART: (f64, f64) = (0.0, 5.0);

    /// Whether it was seen on a link of this capacity.
    pub(crate) fn is_of(&self, link_bits_per_second: f64) -> bool {
        (self.link_bits_per_second / link_bits_per_second - 1.0).abs() < 0.01
    }
}
