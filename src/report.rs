//! How an evacuation ended: the outcome of each domain and of the whole, and the exit status.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{Fault, Technique};
use crate::failure::{Distress, Failure};
use crate::sentence;

/// The schema name that a report carries.
pub const SCHEMA: &str = "tsmig.report/2";

/// A whole evacuation, ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// What it reports on.
    #[serde(default)]
    pub job: Job,
    /// The source as the user named it.
    pub source: String,
    /// The hosts that take its domains, as the user named them.
    pub destinations: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Seconds from the first launch to the last verdict; the watch over the last arrivals comes after it.
    pub total_seconds: f64,
    /// Seconds that the plan predicted; `None` if it predicted no end.
    pub predicted_seconds: Option<f64>,
    /// Every domain of the plan: those that were to move, in launch order, then those that it refused.
    pub domains: Vec<DomainReport>,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// To evacuate the source.
    #[default]
    Evacuate,
    /// To finish what was begun earlier.
    Recover,
}

/// One domain, ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
#[schemars(transform = sentence::with_error)]
pub struct DomainReport {
    /// Its name.
    pub domain: String,
    /// Its UUID.
    pub uuid: String,
    /// The host that it went to, or was to go to; `None` if no plan says so.
    #[serde(default)]
    pub destination: Option<String>,
    /// How it was moved; `None` if the plan refused it.
    pub technique: Option<Technique>,
    /// How it ended.
    pub outcome: DomainOutcome,
    /// Seconds from its launch to its verdict; 0 if it was never launched.
    pub seconds: f64,
    /// How long the guest did not run, in seconds, if the source said so.
    pub downtime_seconds: Option<f64>,
    /// What crossed the wire, pages sent again included, in bytes.
    pub bytes: u64,
    /// Passes over the memory.
    pub passes: u64,
    /// Why it is not at the destination, and what state it is in; `None` if it is there.
    #[serde(flatten)]
    #[schemars(with = "sentence::Beside<Option<Failure>>")]
    pub failure: Option<Failure>,
    /// The error that has paused it at the destination although it ran when the run began.
    #[serde(default)]
    pub paused_by: Option<Fault>,
    /// What is to be known of a domain at the destination, such as that it is paused, and what to do.
    #[serde(default, serialize_with = "sentence::message_if_any")]
    pub notice: Option<DomainNotice>,
}

impl DomainReport {
    /// A domain that ended like this; nothing else is known of it.
    pub(crate) fn new(domain: &str, uuid: &str, outcome: DomainOutcome) -> Self {
        Self {
            domain: domain.to_owned(),
            uuid: uuid.to_owned(),
            destination: None,
            technique: None,
            outcome,
            seconds: 0.0,
            downtime_seconds: None,
            bytes: 0,
            passes: 0,
            failure: None,
            paused_by: None,
            notice: None,
        }
    }
}

impl DomainReport {
    /// Whether something is wrong with it since it has arrived.
    pub fn is_in_distress(&self) -> bool {
        matches!(self.notice, Some(DomainNotice::InDistress { .. }))
    }
}

/// With the sentence about its failure as `error`, which needs its name.
impl Serialize for DomainReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Said<'a> {
            #[serde(flatten, serialize_with = "DomainReport::serialize")]
            report: &'a DomainReport,
            error: Option<String>,
        }
        Said { report: self, error: self.error() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DomainReport {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// What is to be known of a domain, of a closed list of kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[schemars(transform = sentence::with_message)]
#[allow(missing_docs, reason = "a field with nothing said of it is what it is called")]
pub enum DomainNotice {
    /// An error has paused it.
    Paused {
        domain: String,
        host: String,
        fault: Fault,
        /// Whether it was paused already when the run began.
        before: bool,
    },
    /// Something is wrong with it since it has arrived.
    InDistress { domain: String, source: String, destination: String, distress: Distress },
}

/// How a domain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DomainOutcome {
    /// It is at the destination.
    Migrated,
    /// It is at the source as before.
    Remains,
    /// It is between the hosts.
    NeedsRecovery,
    /// It can't have survived.
    Lost,
    /// It ended by itself.
    Gone,
}

/// How an evacuation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every selected domain is at the destination.
    Evacuated,
    /// Some are, some remain; or some ended by themselves and are nowhere.
    Partial,
    /// None is.
    Failed,
    /// The user stopped it.
    Interrupted,
    /// A domain is between the hosts, or lost.
    NeedsRecovery,
}

/// As in JSON.
impl fmt::Display for DomainOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// As in JSON.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Outcome {
    /// The outcome of the whole from those of the domains.
    pub fn of(domains: &[DomainReport], interrupted: bool) -> Self {
        let any = |outcome| domains.iter().any(|d| d.outcome == outcome);
        let all_run = domains.iter().all(|domain| domain.paused_by.is_none() && !domain.is_in_distress());
        if any(DomainOutcome::NeedsRecovery) || any(DomainOutcome::Lost) {
            Self::NeedsRecovery
        } else if any(DomainOutcome::Remains) && interrupted {
            Self::Interrupted
        } else if any(DomainOutcome::Gone) || !all_run {
            Self::Partial
        } else if !any(DomainOutcome::Remains) {
            Self::Evacuated
        } else if any(DomainOutcome::Migrated) {
            Self::Partial
        } else {
            Self::Failed
        }
    }

    /// The exit status that the manual documents for it.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Evacuated => 0,
            Self::Failed => 1,
            Self::Partial => 3,
            Self::NeedsRecovery => 4,
            Self::Interrupted => 130,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(domains: &[DomainOutcome], interrupted: bool) -> Outcome {
        let domains: Vec<_> = domains.iter().map(|outcome| DomainReport::new("o1", "u1", *outcome)).collect();
        Outcome::of(&domains, interrupted)
    }

    #[test]
    fn the_status_says_the_worst_that_is_true() {
        use DomainOutcome::*;
        for (domains, interrupted, status) in [
            (vec![], false, 0),
            (vec![Migrated, Migrated], false, 0),
            (vec![Migrated, Gone], false, 3),
            (vec![Gone, Gone], false, 3),
            (vec![Gone, Remains], false, 3),
            (vec![Gone, Gone], true, 3),
            (vec![Gone, Lost], false, 4),
            (vec![Migrated, Remains], false, 3),
            (vec![Remains, Remains], false, 1),
            (vec![Migrated, Remains], true, 130),
            (vec![Migrated, Migrated], true, 0),
            (vec![Migrated, NeedsRecovery, Remains], true, 4),
            (vec![Lost], false, 4),
        ] {
            assert_eq!(outcome(&domains, interrupted).exit_status(), status, "{domains:?} {interrupted}");
        }
    }

    #[test]
    fn a_domain_that_an_error_has_paused_does_not_run_at_the_destination() {
        let report = |paused_by| {
            let migrated = DomainReport::new("o1", "u1", DomainOutcome::Migrated);
            DomainReport { paused_by, ..migrated }
        };
        assert_eq!(Outcome::of(&[report(Some(Fault::IoError)), report(None)], false).exit_status(), 3);
        assert_eq!(Outcome::of(&[report(Some(Fault::IoError))], false).exit_status(), 3);
    }
}
