//! `tsmig report`: a saved report, printed again or drawn as a page.

use anyhow::{Context as _, Result};

use crate::cli::ReportArgs;
use crate::cli::steps::context::Context;
use crate::cli::steps::usage;
use crate::files::{self, saved_report::SavedReport};
use crate::render::{html, tables};

pub(super) fn run(context: Context<'_>, arguments: &ReportArgs) -> Result<u8> {
    let page = context.result_file("--html", arguments.html.as_deref(), &[("REPORT", Some(&arguments.file))])?;
    let saved: SavedReport = files::load(&arguments.file).map_err(usage)?;
    match page {
        Some(page) => {
            let written = page.write(&html::page(&saved));
            written.with_context(|| format!("{} can't be written", page.path().display()))?;
        }
        None => context.show(&saved, || tables::report(&saved.report))?,
    }
    Ok(0)
}
