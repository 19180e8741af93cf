//! `tsmig report`: a saved report, printed again or drawn as a page.

use std::io::Write;

use anyhow::{Context, Result};

use super::output::{create, show, truncate};
use super::usage;
use crate::cli::{OutputArgs, ReportArgs};
use crate::render::{html, tables};
use crate::report_file;

pub(super) fn run(output: &OutputArgs, arguments: &ReportArgs) -> Result<u8> {
    let saved = report_file::load(&arguments.file).map_err(usage)?;
    let Some(path) = &arguments.html else {
        show(output, &saved, || tables::report(&saved.report))?;
        return Ok(0);
    };
    if let Some(mut file) = create(Some(path))? {
        truncate(&file)
            .and_then(|()| file.write_all(html::page(&saved).as_bytes()))
            .with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(0)
}
