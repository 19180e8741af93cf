//! The lines of the file in which experience is kept.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Technique;

/// The schema name that each line carries.
pub const SCHEMA: &str = "tsmig.experience/1";

/// One thing that a run has shown of two hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Always [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// When, as RFC 3339 has it.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// From which host.
    pub source: HostName,
    /// To which host.
    pub destination: HostName,
    /// What.
    #[serde(flatten)]
    pub shown: Shown,
}

/// A host of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostName {
    /// What tells it from others, whatever it is called: the UUID of its machine, else its URI.
    pub id: String,
    /// What the user called it.
    pub name: String,
}

/// What a run has shown, of a closed list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "shown", rename_all = "kebab-case")]
pub enum Shown {
    /// Whether the destination can load guests of a kind.
    Proof {
        /// The domain that showed it.
        domain: String,
        /// [`Ground::key`](crate::plan::Ground::key).
        key: String,
        /// Whether it came through; else the destination could not load it.
        proven: bool,
    },
    /// What the migration of a domain took.
    Migration(Migrated),
    /// How migrations crossed in a run.
    Run {
        /// How fast memory crossed, as a part of what the model says without any experience.
        pace: f64,
        /// Over how many seconds that was compared.
        seconds: f64,
        /// Seconds from a launch to the first byte where nothing else was being set up, the one in the middle.
        setup_seconds: f64,
        /// How many seconds apart the first bytes of migrations came that were launched together, in the mean; `None` if none were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        setups_apart_seconds: Option<f64>,
        /// Capacity of the slower of the two links, in bits per second.
        link_bits_per_second: f64,
    },
}

/// What the migration of a domain took. Bytes unless named otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Migrated {
    /// The domain's name.
    pub domain: String,
    /// Its UUID.
    pub uuid: String,
    /// How it moved in the end.
    pub technique: Technique,
    /// Its memory.
    pub memory: u64,
    /// What of that was resident before.
    pub resident: u64,
    /// What of it crossed once.
    pub crossed: u64,
    /// What it sent and received before, in bits per second.
    pub traffic_bits_per_second: f64,
    /// What it had written to by the end of each pass of a pre-copy, or of a hybrid's, as far as that was seen.
    pub dirtied: Vec<Dirtied>,
}

/// Memory that was written to within a pass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dirtied {
    /// How long the pass took.
    pub seconds: f64,
    /// How much was to be sent again, in bytes.
    pub bytes: u64,
}

/// Two hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// From which.
    pub source: HostName,
    /// To which.
    pub destination: HostName,
}

impl Hosts {
    /// What was shown of them now.
    pub(crate) fn record(&self, shown: Shown) -> Record {
        Record {
            schema: SCHEMA.to_owned(),
            at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            source: self.source.clone(),
            destination: self.destination.clone(),
            shown,
        }
    }

    /// Whether a record is about migrations from the one to the other.
    pub(crate) fn are_of(&self, record: &Record) -> bool {
        (&record.source.id, &record.destination.id) == (&self.source.id, &self.destination.id)
    }

    /// The way back.
    pub(crate) fn reversed(&self) -> Self {
        Self { source: self.destination.clone(), destination: self.source.clone() }
    }
}
