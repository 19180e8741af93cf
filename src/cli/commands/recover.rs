//! `tsmig recover`: finishes what was left between two hosts.

use anyhow::Result;

use crate::cli::RecoverArgs;
use crate::cli::steps::claim::Claim;
use crate::cli::steps::connect::{connect, endpoints};
use crate::cli::steps::context::Context;
use crate::cli::steps::interrupts::Interrupts;
use crate::engine::recovery::survey::Scope;
use crate::files::saved_report::SavedReport;
use crate::render::leave;

pub(super) fn run(context: Context<'_>, arguments: &RecoverArgs) -> Result<u8> {
    let endpoints = endpoints(context.config, &arguments.source, &arguments.destination)?;
    let file = context.result_file("--report", arguments.report.as_deref(), &[])?;
    let hosts = connect(endpoints)?;
    let claim = Claim::take(context, Interrupts::catch()?, hosts)?;
    let found = claim.survey(Scope::Everything)?;
    let report = claim.finish(found, claim.options(arguments.migration_uri.as_deref()), |_| true);
    claim.interrupts.hand_to(leave);
    Ok(context.conclude(file.as_ref(), &SavedReport { report, history: None }))
}
