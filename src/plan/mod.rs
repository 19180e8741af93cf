//! The plan of an evacuation: which domain goes by which technique, in which order, how many at once, and why.
//!
//! Everything below is pure: profiles and rules in, a [`Plan`] out; no clock, no libvirt, no printing. The plan
//! is plain data with a stable JSON form (schema `tsmig.plan/2`); the engine runs exactly what it says.

mod draft;
mod eligibility;
mod explain;
mod fresh;
mod gate;
mod launch;
mod model;
mod note;
mod planner;
mod predict;
mod replan;
pub(crate) mod return_trip;
mod revalidate;
mod search;
mod worth;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Technique, Then, Transfer};
use crate::obstacle::Obstacle;
use crate::profile::{Profile, Steady};
use crate::sentence;
use crate::topology::{self, CapacityOrigin, Hop, HostPorts, Port};
use draft::Seen;
pub(crate) use draft::{Draft, Findings};
pub use explain::{Activity, Otherwise, Reason};
pub(crate) use gate::IN_USE;
pub use gate::{Ground, ProofCost};
pub(crate) use model::scene::setups_apart;
pub use model::scene::{SPREAD_ASSUMED, SPREAD_KNOWN};
pub use model::{Leg, Position};
pub use note::Note;
pub(crate) use planner::{Basis, Planner};
pub use predict::{Move, Situation, predict};
pub(crate) use predict::{dirtied_by_traffic, image_bits};
pub use replan::Leeway;
pub use revalidate::Difference;

/// The schema name that a saved plan carries.
pub const SCHEMA: &str = "tsmig.plan/2";

/// What the planner aims at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// The least total migration time.
    #[default]
    Time,
    /// The least application traffic lost, within a bounded total time.
    Impact,
}

/// What the user asks of one domain of the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rule {
    /// It is not selected: it stays at the source and keeps its traffic there.
    pub stays: bool,
    /// Why it stays, if it does.
    pub stays_because: StayKind,
    /// The technique is given, not chosen: pre-copy or post-copy.
    pub technique: Option<Technique>,
    /// Where the technique was given, for the plan's reason (`--post-copy`, `configuration`); `None`: the option.
    pub technique_origin: Option<&'static str>,
    /// Lower ranks are launched before higher ones, and the planner orders those of equal rank: a negative one puts a
    /// domain before those of which nothing is said, a positive one after them.
    pub rank: i32,
    /// Where it does not run, its definition moves; else an inactive domain stays.
    pub offline: bool,
    /// It moves although a manager owns it.
    pub owned: bool,
    /// As [`Transfer::max_downtime_ms`].
    pub max_downtime_ms: Option<u64>,
}

/// What the user asks of the whole plan.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Demands {
    /// What to aim at.
    pub objective: Objective,
    /// The most migrations in flight; `None`: the planner's choice.
    pub concurrency: Option<usize>,
    /// Cap on the sum of all migration traffic, in bits per second.
    pub bandwidth_bits_per_second: Option<f64>,
    /// The most domains in post-copy at the same time.
    pub post_copy_limit: Option<usize>,
    /// Whether the first post-copy of each kind may go unproven.
    pub trust_destination: bool,
    /// The maintenance window that the evacuation has to fit, in seconds; judged, never aimed at.
    pub window_limit_seconds: Option<f64>,
}

/// The least that a migration can be limited to, in bits per second: libvirt takes whole MiB/s, and 0 is no limit.
pub const LEAST_BANDWIDTH: f64 = 8.0 * 1024.0 * 1024.0;

impl Demands {
    /// Migrations that can run at once and together keep the cap.
    fn most_within_cap(&self) -> usize {
        most_within(self.bandwidth_bits_per_second)
    }
}

/// Migrations that can run at once and together keep a cap in bits per second.
fn most_within(cap: Option<f64>) -> usize {
    cap.map_or(usize::MAX, |cap| ((cap / LEAST_BANDWIDTH) as usize).max(1))
}

/// A whole evacuation, ready to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Always [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// The source host as the user named it.
    pub source: String,
    /// The hosts that take its domains, as the user named them.
    pub destinations: Vec<String>,
    /// What it aims at.
    pub objective: Objective,
    /// All these hosts with their ports, as planned with.
    pub hosts: Vec<HostPorts>,
    /// Cap on the sum of all migration traffic, in bits per second.
    pub bandwidth_bits_per_second: Option<f64>,
    /// The most migrations that are ever in flight.
    pub concurrency: usize,
    /// Whether the next may be launched while one that is about to end still counts as in flight, which hides the time
    /// that it takes to set up; not if the user limits how many there may be.
    #[serde(default)]
    pub launch_ahead: bool,
    /// The most domains that may be in post-copy at the same time.
    #[serde(default)]
    pub post_copy_limit: Option<usize>,
    /// Whether the first post-copy of each kind goes unproven, alone, by the user's word.
    #[serde(default)]
    pub trust_destination: bool,
    /// The kinds of guests that move; none if the hosts were not asked.
    #[serde(default)]
    pub grounds: Vec<Ground>,
    /// What it costs that some of them are not proven; `None` if it costs nothing.
    #[serde(default)]
    pub proof: Option<ProofCost>,
    /// The migrations in launch order.
    #[serde(serialize_with = "sentence::reasons")]
    #[schemars(with = "Vec<Step>")]
    pub migrations: Vec<Step>,
    /// Selected domains that can't be moved.
    pub refused: Vec<Refusal>,
    /// What keeps a whole host from taking part, so that nothing can be moved.
    #[serde(default)]
    pub blocked: Vec<HostRefusal>,
    /// What is worth knowing before it is run, and no bar.
    #[serde(default, serialize_with = "sentence::messages")]
    #[schemars(with = "Vec<Note>")]
    pub notes: Vec<Note>,
    /// Domains that are to stay: excluded ones, and inactive ones that were not asked for.
    #[serde(default)]
    pub stays: Vec<Stay>,
    /// Totals by the contention model.
    pub predicted: Totals,
    /// Seconds that the fastest plan takes that was found, which may lose more traffic; `None` if none ends.
    #[serde(default)]
    pub fastest_seconds: Option<f64>,
    /// Seconds below which no plan ends by the model; `None` if none ends.
    #[serde(default)]
    pub bound_seconds: Option<f64>,
    /// Whether it fits the maintenance window; `None` if none was given, or if nothing is to be moved.
    #[serde(default)]
    pub window: Option<Window>,
    /// What other policies would take, by the same model.
    pub alternatives: Vec<Alternative>,
}

impl Plan {
    /// The capacity that a migration finds between the hosts, in bits per second; `None` if it is only assumed.
    pub fn known_link(&self) -> Option<f64> {
        let ports = self.hosts.iter().map(|host| &host.migration_port);
        let known = ports.filter(|port| port.origin != CapacityOrigin::Assumed);
        known.map(|port| port.bits_per_second).min_by(f64::total_cmp)
    }

    /// The port of a host that migrations cross.
    pub fn port(&self, host: &str) -> Option<&Port> {
        topology::migration_port(&self.hosts, host)
    }

    /// The step that moves a domain, by its UUID.
    pub fn step(&self, uuid: &str) -> Option<&Step> {
        self.migrations.iter().find(|step| step.uuid == uuid)
    }
}

/// One domain's migration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The domain's name.
    pub domain: String,
    /// Its UUID.
    pub uuid: String,
    /// Position in the launch order, from 1.
    #[schemars(range(min = 1))]
    pub order: usize,
    /// It starts, after all earlier ones have started, as soon as fewer than this many are in flight; see
    /// [`Plan::launch_ahead`].
    #[schemars(range(min = 1))]
    pub concurrency: usize,
    /// The host that takes it.
    pub destination: String,
    /// The ports that it crosses, the source's first.
    pub path: Vec<Hop>,
    /// Its kind, by its place in [`Plan::grounds`], if that is known.
    #[serde(default)]
    pub ground: Option<usize>,
    /// How it crosses them; in JSON its technique is beside it, too.
    #[serde(flatten, with = "step_transfer")]
    #[schemars(with = "StepTransfer")]
    pub transfer: Transfer,
    /// What it was seen to send, in bits per second.
    #[serde(default)]
    pub outbound_bits_per_second: f64,
    /// What it was seen to receive, in bits per second.
    #[serde(default)]
    pub inbound_bits_per_second: f64,
    /// What the traffic of each of its NICs did not fall below.
    #[serde(default)]
    pub steady: Vec<Steady>,
    /// Memory that it takes at the destination as it arrives, in bytes.
    #[serde(default)]
    pub memory_bytes: u64,
    /// How many earlier migrations of it the prediction rests on; 0 if none was seen.
    #[serde(default)]
    pub earlier_migrations: usize,
    /// What its guest does that the migration meets.
    pub activity: Activity,
    /// Why it moves so. Its sentence is beside it as `reason`.
    #[serde(flatten)]
    pub reason: Reason,
    /// By the contention model.
    pub predicted: StepPrediction,
}

impl Step {
    /// How its memory moves.
    pub fn technique(&self) -> Technique {
        self.transfer.technique
    }

    /// Whether the technique was given, not chosen.
    pub(crate) fn is_forced(&self) -> bool {
        matches!(self.reason, Reason::Forced { .. } | Reason::OnlyPreCopy { forced: true, .. })
    }
}

/// A step's transfer in JSON, with the technique where most readers look for it.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct StepTransfer {
    /// How it moves.
    pub(crate) technique: Technique,
    /// What crosses, and how.
    pub(crate) transfer: Transfer,
}

mod step_transfer {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{StepTransfer, Transfer};

    pub(super) fn serialize<S: Serializer>(transfer: &Transfer, serializer: S) -> Result<S::Ok, S::Error> {
        StepTransfer { technique: transfer.technique, transfer: transfer.clone() }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Transfer, D::Error> {
        StepTransfer::deserialize(deserializer).map(|step| step.transfer)
    }
}

/// What the model says of one migration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepPrediction {
    /// Bytes that cross the wire, pages sent again included; `None` if it does not end.
    pub bytes: Option<u64>,
    /// Seconds from the start of the evacuation to its launch; `None` if it waits for one that does not end.
    pub start_seconds: Option<f64>,
    /// Seconds from the start of the evacuation to its end; `None` if it does not end.
    pub end_seconds: Option<f64>,
    /// Seconds that the guest is stopped at the switch-over; `None` if it does not end.
    #[serde(default)]
    pub downtime_seconds: Option<f64>,
}

/// A domain that is not moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// The domain's name.
    pub domain: String,
    /// Its UUID.
    pub uuid: String,
    /// The technique that the user gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Technique>,
    /// What is in the way.
    #[serde(flatten, serialize_with = "sentence::reason")]
    #[schemars(with = "sentence::Beside<Obstacle>")]
    pub obstacle: Obstacle,
}

/// A domain that is to stay at the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stay {
    /// The domain's name.
    pub domain: String,
    /// Its UUID.
    pub uuid: String,
    /// Why it stays.
    #[serde(flatten, serialize_with = "sentence::reason")]
    #[schemars(with = "sentence::Beside<StayKind>")]
    pub kind: StayKind,
}

impl Stay {
    pub(crate) fn new(domain: &str, uuid: &str, kind: StayKind) -> Self {
        Self { domain: domain.to_owned(), uuid: uuid.to_owned(), kind }
    }

    /// Whether the options of the plan chose it.
    pub(crate) fn is_by_options(&self) -> bool {
        matches!(self.kind, StayKind::NotSelected | StayKind::NotInReport)
    }
}

/// Why a domain is to stay at the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[schemars(transform = sentence::with_reason)]
pub enum StayKind {
    /// The options do not select it.
    #[default]
    NotSelected,
    /// The configuration keeps it.
    Kept,
    /// The run that is to be reversed did not move it.
    NotInReport,
    /// It is shut off, and its definition was not asked for.
    ShutOff,
    /// A saved plan does not move it, but a new plan would.
    NotInPlan {
        /// The domain when the plan was made.
        then: Then,
    },
}

/// A host that can't take part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostRefusal {
    /// The host as the user named it.
    pub host: String,
    /// What is in the way.
    #[serde(flatten, serialize_with = "sentence::reason")]
    #[schemars(with = "sentence::Beside<Obstacle>")]
    pub obstacle: Obstacle,
}

/// A maintenance window, and whether the plan fits it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// Its length in seconds.
    pub limit_seconds: f64,
    /// Whether the most that the plan is predicted to take is within it; a plan that does not end never is.
    pub fits: bool,
}

impl Window {
    /// Judges whether what is predicted fits a window of that length, in seconds. A plan that moves nothing is not judged.
    fn judge(limit_seconds: Option<f64>, moves: bool, predicted: &Totals) -> Option<Self> {
        let most = predicted.high.map_or(predicted.total_seconds, |high| Some(high.total_seconds));
        let fits = |limit| most.is_some_and(|most| most <= limit);
        limit_seconds.filter(|_| moves).map(|limit_seconds| Self { limit_seconds, fits: fits(limit_seconds) })
    }
}

/// Totals of a plan by the model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Seconds from the first launch to the last end; `None` if it does not end.
    pub total_seconds: Option<f64>,
    /// Application traffic that does not get through meanwhile, in bits; `None` if it does not end.
    pub lost_bits: Option<f64>,
    /// What it is expected to take at the least; `None` if it does not end.
    #[serde(default)]
    pub low: Option<Extreme>,
    /// What it is expected to take at the most.
    #[serde(default)]
    pub high: Option<Extreme>,
}

/// An end of the range of what is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Extreme {
    /// Seconds from the first launch to the last end.
    pub total_seconds: f64,
}

/// Another policy on the same domains, by the same model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alternative {
    /// `pre-copy-only`, `post-copy-only` or `senders-post-copy`, all at once, or `one-by-one-pre-copy`; senders first.
    pub policy: String,
    /// Its totals.
    #[serde(flatten)]
    pub predicted: Totals,
}

/// Plans the evacuation of `source` to `destination`; `rules` has one entry per domain of the source, in order.
/// Domains without an entry are planned freely.
pub fn plan(source: &Profile, destination: &Profile, rules: &[Rule], demands: &Demands) -> Plan {
    fresh::plan(&Seen { source, destination, rules, findings: &Findings::default() }, demands)
}
