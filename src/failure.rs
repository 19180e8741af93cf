//! Why a domain is not at the destination, of closed lists; [`render`](crate::render) has the words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::libvirt::HostError;
use crate::obstacle::Obstacle;
use crate::sentence;

/// Why a migration was not begun, was cancelled or failed; in words one clause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(
    missing_docs,
    reason = "a field with nothing said of it is what it is called; an error is in its author's words"
)]
pub enum Cause {
    /// libvirt reported no error.
    Unreported,
    /// A host did not do as it was asked.
    Host { host: String, error: String },
    /// The user has interrupted the run.
    Interrupted,
    /// It did not leave the source in time.
    TimedOut { limit_seconds: f64 },
    /// Pass after pass, no less was left to send.
    Stalled {
        /// The pass that was looked at last.
        pass: u64,
        /// What was left to send when it began.
        remaining_bytes: u64,
    },
    /// No byte of it has crossed for [`SILENCE_SECONDS`](crate::engine::migration::convergence::SILENCE_SECONDS).
    Silent,
    /// No byte of this domain has crossed for as long, nor of any other.
    AllSilent { domain: String },
    /// No data gets through to the destination.
    NoData { error: String },
    /// The post-copy of another domain has ended badly.
    PostCopyEnded { domain: String, end: PostCopyEnd },
    /// The journal can't be written.
    Unrecorded { error: String },
    /// A hook before it failed.
    HookFailed(HookFailure),
    /// What its definition alone would leave behind.
    LeftBehind {
        #[serde(serialize_with = "sentence::reason")]
        #[schemars(with = "Obstacle")]
        obstacle: Box<Obstacle>,
    },
}

impl From<HostError> for Cause {
    fn from(error: HostError) -> Self {
        Self::Host { host: error.host, error: error.message }
    }
}

/// How a post-copy ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PostCopyEnd {
    /// The guest is lost.
    Lost,
    /// It has to be recovered.
    Failed,
}

/// A hook that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HookFailure {
    /// Its name, such as `before-domain`.
    pub hook: String,
    /// The program that it runs.
    pub program: String,
    /// How it failed.
    pub problem: HookProblem,
    /// The last line that it printed.
    pub output: Option<String>,
}

/// How a hook failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(
    missing_docs,
    reason = "a field with nothing said of it is what it is called; an error is in its author's words"
)]
pub enum HookProblem {
    /// The run was interrupted before.
    NotBegun,
    /// The run was interrupted meanwhile.
    Interrupted,
    /// It took too long.
    TimedOut { limit_seconds: f64 },
    /// It ended without success.
    Ended { status: String },
    /// It could not be run.
    System { error: String },
}
