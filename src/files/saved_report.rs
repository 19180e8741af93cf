//! A report in a file: what became of the evacuation, and how it went ([`History`]).

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError, Text};
use crate::history::History;
use crate::report::Report;

/// What `tsmig evacuate --report FILE` writes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SavedReport {
    /// What became of it.
    #[serde(flatten)]
    pub report: Report,
    /// How it went; not there where nobody kept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

/// Reads a report.
///
/// # Errors
/// The file can't be read, is no report, or a key of it is missing or wrong.
pub fn load(path: &Path) -> Result<SavedReport, FileError> {
    #[derive(Deserialize)]
    struct Rest {
        history: Option<History>,
    }
    // One after the other, and not flattened: so an error knows its key.
    let report = files::load_report(path)?;
    let file = Text::read(path, files::REPORT)?;
    let Rest { history } = file.parse()?;
    file.check_number("total_seconds", report.total_seconds)?;
    for (i, domain) in report.domains.iter().enumerate() {
        file.check_number(&format!("domains[{i}].seconds"), domain.seconds)?;
    }
    Ok(SavedReport { report, history })
}
