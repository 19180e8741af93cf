//! A report in a file: how the evacuation ended, and how it went (`History`).

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::Text;
use super::{FileError, Saved};
use crate::history::History;
use crate::report::{self, DomainOutcome, Report};

/// What `tsmig evacuate --report FILE` writes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SavedReport {
    /// How it ended.
    #[serde(flatten)]
    pub report: Report,
    /// How it went; not there if nobody kept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

impl Saved for Report {
    const SCHEMA: &'static str = report::SCHEMA;
    const WHAT: &'static str = "a report as `tsmig evacuate --report FILE` writes it";

    fn read(text: &Text<'_>) -> Result<Self, FileError> {
        let report: Self = text.document(Self::SCHEMA)?;
        let mut uuids = HashMap::new();
        for (i, domain) in report.domains.iter().enumerate() {
            let key = |name: &str| format!("domains[{i}].{name}");
            text.check_text(&key("domain"), &domain.domain)?;
            text.check_text(&key("uuid"), &domain.uuid)?;
            text.check_uuid(&mut uuids, &domain.uuid, key("uuid"))?;
            // A kind that is not known would be read as none.
            if domain.outcome != DomainOutcome::Migrated && domain.failure.is_none() {
                return Err(text.wrong(&key("kind"), "it is missing, or not known with its fields"));
            }
        }
        Ok(report)
    }
}

impl Saved for SavedReport {
    const SCHEMA: &'static str = Report::SCHEMA;
    const WHAT: &'static str = Report::WHAT;

    fn read(text: &Text<'_>) -> Result<Self, FileError> {
        #[derive(Deserialize)]
        struct Rest {
            history: Option<History>,
        }
        // One after the other, and not flattened: so an error knows its key.
        let report = Report::read(text)?;
        let Rest { history } = text.parse()?;
        text.check_number("total_seconds", report.total_seconds)?;
        for (i, domain) in report.domains.iter().enumerate() {
            text.check_number(&format!("domains[{i}].seconds"), domain.seconds)?;
        }
        Ok(Self { report, history })
    }
}
