//! How an evacuation is run, if the plan does not say it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::Route;
use crate::engine::hooks::Hooks;
use crate::engine::migration::OnStall;
use crate::experience::proofs::Proofs;
use crate::units;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the memory goes, if libvirt's own choice is not right.
    pub migration_uri: Option<String>,
    /// Who drives the migrations.
    pub route: Route,
    /// How long a migration may take before its switch-over.
    pub timeout: Timeout,
    /// The same for single domains, by UUID.
    pub timeouts: HashMap<String, Timeout>,
    /// What is done about a pre-copy that does not converge; `None`: post-copy if the planner chose pre-copy, and
    /// a cancellation if the user did.
    pub on_stall: Option<OnStall>,
    /// Whether a pre-copy of the planner's choice may be switched to post-copy for the sake of time alone.
    pub replan: bool,
    /// Whether a domain that has arrived is watched for a while.
    pub watch_arrivals: bool,
    /// Where it is remembered what a migration has proven.
    pub proofs: Option<Arc<Proofs>>,
    /// What runs before each domain; who hears the events sees to what runs after it.
    pub hooks: Arc<Hooks>,
}

/// How long a migration may stay at the source before it is cancelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Timeout {
    /// [`AUTO_SECONDS_PER_GIB`] for each GiB of memory begun.
    #[default]
    Auto,
    /// So long.
    Fixed(Duration),
}

/// OpenStack Nova's default, `live_migration_completion_timeout`, in seconds per GiB.
pub const AUTO_SECONDS_PER_GIB: u64 = 800;

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Fixed(limit) => f.pad(&humantime::format_duration(*limit).to_string()),
        }
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(units::duration_or_auto(text)?.map_or(Self::Auto, Self::Fixed))
    }
}

impl Timeout {
    /// In seconds, for a domain of that memory.
    pub(super) fn seconds(self, memory_bytes: u64) -> f64 {
        match self {
            Self::Fixed(limit) => limit.as_secs_f64(),
            Self::Auto => (memory_bytes.div_ceil(1 << 30).max(1) * AUTO_SECONDS_PER_GIB) as f64,
        }
    }
}
