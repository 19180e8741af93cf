//! What the engine says while it runs: its only output. Renderers and the report are made of these.
//!
//! Each event is also one JSON object a line under `--output json`, with the seconds since the start beside it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{Phase, Technique};
use crate::engine::launch_queue::Replanned;
use crate::engine::migration::Progress;
use crate::failure::{Cause, Distress, HookFailure, PostCopyEnd, Whereabouts};
use crate::libvirt::Tidied;
use crate::report::{DomainReport, Job, Report};
use crate::sentence;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The evacuation, or the recovery, starts.
    Start {
        /// Which of the two.
        job: Job,
        /// The source's name.
        source: String,
        /// The destinations' names.
        destinations: Vec<String>,
        /// The domains in launch order.
        domains: Vec<String>,
        /// Seconds that the plan predicts.
        predicted_seconds: Option<f64>,
    },
    /// A domain's migration starts.
    Launch {
        /// The domain.
        domain: String,
        /// Where it goes.
        destination: String,
        /// How it moves.
        technique: Technique,
    },
    /// A migration that was not begun by this run is seen to its end.
    Adopt {
        /// The domain.
        domain: String,
        /// Where it goes.
        destination: String,
        /// How it moves.
        technique: Technique,
        /// What it was found to be on both hosts.
        #[serde(serialize_with = "sentence::message")]
        found: Whereabouts,
    },
    /// A migration enters a phase.
    Phase {
        /// The domain.
        domain: String,
        /// The phase.
        phase: Phase,
    },
    /// How far a migration is.
    Progress {
        /// The domain.
        domain: String,
        /// In numbers.
        #[serde(flatten)]
        progress: Progress,
    },
    /// When the evacuation will end, by the model and by what was seen of it so far.
    Forecast {
        /// Seconds from now; `None` if no end is foreseen.
        remaining_seconds: Option<f64>,
    },
    /// Something that the user should know; the evacuation goes on. Its sentence is beside it as `message`.
    Notice(
        #[serde(serialize_with = "sentence::message")]
        #[schemars(with = "Notice")]
        Notice,
    ),
    /// A domain's migration ended.
    Done(Box<DomainReport>),
    /// The evacuation ended. Always the last.
    Report(Report),
}

/// What the user should know, of a closed list of kinds.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[schemars(transform = sentence::with_message)]
#[allow(missing_docs, reason = "a field is what it is called, and an error in its author's words")]
pub enum Notice {
    /// A domain was lost in an earlier run, so nothing goes by post-copy until it is started again.
    LostEarlier { domain: String },
    /// The user has interrupted the run.
    Interrupted {
        /// How many are in post-copy and must finish.
        in_post_copy: usize,
    },
    /// Nothing more is launched, and what can be cancelled is.
    Halted { cause: Cause, source: String, destination: String },
    /// Nothing more is launched or switched to post-copy.
    PostCopyStopped {
        /// The domain whose post-copy ended badly.
        domain: String,
        end: PostCopyEnd,
        source: String,
        destination: String,
    },
    /// Something is wrong with a domain that has arrived. Nothing more is launched, and what can be cancelled is.
    ArrivedInDistress { domain: String, distress: Distress, source: String, destination: String },
    /// The destination waits for memory, and none has got through.
    NoDataYet {
        /// The host or the URI that memory is sent to.
        to: String,
        source: String,
        destination: String,
    },
    /// The destination can't post-copy.
    NoPostCopy { destination: String, error: String },
    /// Nothing has come through that would prove post-copy for a domain.
    Unproven { domain: String, destination: String },
    /// The source can't reach the destination's libvirt, so the client manages the migrations.
    NoPeer { source: String, destination: String, error: String },
    /// The source's libvirt lost its connection to the destination's twice, so the client manages this migration.
    PeerLost { domain: String, source: String, destination: String, error: String },
    /// No byte of one migration crosses while others progress; it is cancelled.
    Silent { domain: String, destination: String },
    /// The destination can't take a domain just now; it is tried again.
    Busy {
        domain: String,
        /// The host that is busy.
        host: String,
        error: String,
    },
    /// What waits is launched otherwise than it was planned.
    Replanned {
        /// In their new order.
        domains: Vec<String>,
        /// The most that are in flight by it.
        concurrency: usize,
        #[serde(flatten)]
        reason: Replanned,
    },
    /// A pre-copy does not converge; it may stop the guest for this long now.
    AllowingDowntime { domain: String, milliseconds: u64 },
    /// A pre-copy does not converge; it is switched to post-copy.
    Switching { domain: String, cause: Cause },
    /// A post-copy failed and is resumed.
    Resuming {
        domain: String,
        /// libvirt's words, if there are any.
        error: Option<String>,
    },
    /// Something was put right around a domain that has arrived.
    Tidied { domain: String, tidied: Tidied, source: String, destination: String },
    /// A domain has arrived, and something around it could not be put right.
    Untidy { domain: String, destination: String, error: String },
    /// The journal can't be written any more.
    Unrecorded { error: String },
    /// Somebody else has moved a domain.
    MovedByOthers { domain: String, destination: String },
    /// What the source starts by itself when it boots.
    Autostart { host: String, domains: Vec<String> },
    /// The hosts could not be listed at the end.
    EndUnchecked { error: String },
    /// A hook after a domain failed.
    HookFailed { domain: String, failure: HookFailure },
    /// Events were left out, since the output was not read in time.
    Missed {
        /// How many about progress.
        progress: usize,
        /// How many others.
        others: usize,
    },
}

/// An event and when it happened.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Timed {
    /// Seconds since the start of the evacuation.
    pub elapsed_seconds: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Timed {
    /// An event that happened then, in seconds since the start of the evacuation.
    pub fn at(seconds: f64, event: Event) -> Self {
        // To the millisecond: more would only be noise in a log.
        Self { elapsed_seconds: (seconds * 1000.0).round() / 1000.0, event }
    }
}
