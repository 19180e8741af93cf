//! What the engine says while it runs: its only output. Renderers and the report are made of these.
//!
//! Each event is also one JSON object a line under `--output json`, with the seconds since the start beside it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::Technique;
use crate::engine::migration::{Phase, Progress};
use crate::report::{DomainReport, Job, Report};

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
        /// The destination's name.
        destination: String,
        /// The domains in launch order.
        domains: Vec<String>,
        /// Seconds that the plan predicts.
        predicted_seconds: Option<f64>,
    },
    /// A domain's migration starts.
    Launch {
        /// The domain.
        domain: String,
        /// How it moves.
        technique: Technique,
    },
    /// A migration that was not begun by this run is seen to its end.
    Adopt {
        /// The domain.
        domain: String,
        /// How it moves.
        technique: Technique,
        /// What it was found to be on both hosts.
        state: String,
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
    /// Something that the user should know; the evacuation goes on.
    Notice {
        /// One sentence.
        message: String,
    },
    /// A domain's migration ended.
    Done(DomainReport),
    /// The evacuation ended. Always the last.
    Report(Report),
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
