//! `tsmig report`: a saved report, printed again or drawn as a page.

use anyhow::Result;

use super::output::{ResultFile, show};
use super::usage;
use crate::cli::{OutputArgs, ReportArgs};
use crate::config::Config;
use crate::files;
use crate::render::{html, tables};

pub(super) fn run(config: &Config, output: &OutputArgs, arguments: &ReportArgs) -> Result<u8> {
    let page = ResultFile::open("--html", arguments.html.as_deref(), &[("REPORT", Some(&arguments.file))], config)?;
    let saved = files::saved_report::load(&arguments.file).map_err(usage)?;
    match page {
        Some(page) => page.write(&html::page(&saved))?,
        None => show(output, &saved, || tables::report(&saved.report))?,
    }
    Ok(0)
}
