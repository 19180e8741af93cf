//! Why a domain is not at the destination, of closed lists; [`render`](crate::render) has the words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Condition, DomainState, Fault, Phase, Places, Route, Then};
use crate::obstacle::Obstacle;
use crate::sentence;

/// Why a migration was not begun, was cancelled or failed; in words one clause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "a field is what it is called, and an error in its author's words")]
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
    /// Passes gain, but slowly: by post-copy it is there sooner.
    Slower {
        /// The pass that was looked at last.
        pass: u64,
        /// What was left to send when it began.
        remaining_bytes: u64,
        /// How much longer it would take by pre-copy.
        seconds: f64,
    },
    /// No byte of it has crossed for [`SILENCE_SECONDS`](crate::engine::migration::convergence::SILENCE_SECONDS).
    Silent,
    /// No byte of this domain has crossed for as long, nor of any other.
    AllSilent { domain: String },
    /// No data gets through to the destination.
    NoData { error: String },
    /// The post-copy of another domain has ended badly.
    PostCopyEnded { domain: String, end: PostCopyEnd },
    /// Another domain has arrived, and something is wrong with it.
    ArrivedInDistress { domain: String, host: String, distress: Distress },
    /// It does not converge, and nothing has proven that it can go by post-copy.
    Unproven,
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

/// What is wrong with a guest that has arrived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Distress {
    /// Nothing gets through one of its NICs.
    Silent {
        /// The destination's name for the NIC.
        nic: String,
        /// What it sent at the least before, in bits per second.
        outbound_bits_per_second: f64,
        /// What it received at the least before, in bits per second.
        inbound_bits_per_second: f64,
    },
    /// An error has stopped it after it arrived.
    Stopped {
        /// Its state there.
        state: DomainState,
        /// The error.
        fault: Fault,
    },
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
#[allow(missing_docs, reason = "a field is what it is called, and an error in its author's words")]
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

/// The two hosts of a migration by the names that the user gave them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "said above")]
pub struct Names {
    pub source: String,
    pub destination: String,
}

/// Why a domain is not at the destination, and what state it is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "a field with nothing said of it is what it is called")]
pub enum Failure {
    /// The plan refuses to move it.
    Refused {
        #[serde(serialize_with = "sentence::reason")]
        #[schemars(with = "Obstacle")]
        obstacle: Box<Obstacle>,
    },
    /// It is at the source as before: its turn did not come.
    NotLaunched { host: String, cause: Cause },
    /// It is at the source as before.
    Remains { host: String, cause: Cause },
    /// It is half here and half there, or can't be seen.
    NeedsRecovery { state: Trouble, cause: Cause, hosts: Names },
    /// It can't have survived.
    Lost {
        how: Loss,
        cause: Cause,
        /// Whether it had a stored definition.
        persistent: bool,
        hosts: Names,
        places: Places,
    },
    /// It runs on neither host.
    Gone { how: Departure, hosts: Names, places: Places },
    /// It was on its way when the user had the run leave.
    LeftOnItsWay { phase: Option<Phase>, route: Route, hosts: Names },
    /// It came to the source after planning.
    Newcomer {
        host: String,
        state: Condition,
        /// What it was when the saved plan was made, if that does not move it.
        planned: Option<Then>,
    },
    /// The last look at both hosts shows that another outcome is true by now.
    LastLook { found: LateChange, hosts: Names, places: Places },
    /// A host did not answer a question about it, so nothing was done about it.
    Unanswered {
        /// What it was found to be, if that was answered.
        #[serde(serialize_with = "sentence::message_if_any")]
        found: Option<Whereabouts>,
        cause: Cause,
    },
}

/// What keeps a domain from being at one of the hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "a field with nothing said of it is what it is called")]
pub enum Trouble {
    /// It runs on both hosts.
    RunsTwice,
    /// Its emulator at the source does not answer libvirt.
    EmulatorHangs,
    /// Its post-copy failed, and the destination can't resume it.
    NotResumable { fault: String },
    /// Its post-copy failed before it ran at the destination, which QEMU can't resume.
    NeverRan,
    /// A fault of tsmig's own ended the watch over its migration.
    Unwatched,
    /// Its states on the two hosts do not go together.
    Unclear { places: Places },
}

/// How it is known that a domain is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Its definition, which alone was moved, is on neither host.
    Definition,
    /// The destination's half of its post-copy is gone.
    HalfAtDestination,
    /// The source's half of its post-copy is gone.
    HalfAtSource,
    /// It was in post-copy and runs on neither host.
    BothHalves,
}

/// How a domain left both hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Departure {
    /// It stopped running while it was migrated.
    Stopped,
    /// It was undefined before its turn.
    Undefined,
}

/// What the last look at both hosts shows of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LateChange {
    /// It runs on both hosts.
    RunsTwice,
    /// It had arrived and is at the source again.
    Returned,
    /// It had ended and is at the source again.
    Revived,
    /// It had arrived and is on neither host any more.
    LeftDestination,
    /// It was at the source and is on neither host any more.
    LeftSource,
    /// Somebody else migrates it.
    MovedByOthers,
}

/// What a domain was found to be between the two hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = sentence::with_message)]
pub struct Whereabouts {
    /// As far as a recovery cares.
    pub kind: Between,
    /// Where it was seen.
    pub places: Places,
}

/// What both hosts say of a domain that is not just there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Between {
    /// It is in pre-copy.
    PreCopy,
    /// It is in post-copy.
    PostCopy,
    /// Its post-copy failed.
    PostCopyFailed,
    /// It runs at the destination, and its definition stayed at the source.
    LeftOver,
    /// It runs on both hosts.
    Twice,
    /// It is on its way to some other host.
    Elsewhere,
    /// The journal has no end of it.
    Unfinished,
}
