//! `tsmig recover`: finishes what was left between two hosts.

use anyhow::Result;

use super::connect::{connect, endpoints};
use super::interrupts::Interrupts;
use super::output::{ResultFile, conclude, screen};
use super::unfinished::Claim;
use crate::cli::{OutputArgs, RecoverArgs};
use crate::config::Config;
use crate::engine::recovery::survey::Scope;
use crate::files::saved_report::SavedReport;
use crate::render::feed::Feed;
use crate::render::leave;

pub(super) fn run(config: &Config, output: &OutputArgs, arguments: &RecoverArgs) -> Result<u8> {
    let endpoints = endpoints(config, &arguments.source, &arguments.destination)?;
    let file = ResultFile::open("--report", arguments.report.as_deref(), &[], config)?;
    let (source, destination) = connect(endpoints)?;
    let interrupts = Interrupts::catch()?;
    let claim = Claim::take(source, destination)?;
    let found = claim.survey(output, Scope::Everything)?;
    let options = claim.options(config, arguments.migration_uri.as_deref());
    let mut feed = Feed::to(screen(output));
    let report = claim.finish(found, options, &interrupts, &mut feed, |_| true);
    let saved = SavedReport { report, history: None };
    interrupts.hand_to(leave);
    Ok(conclude(output, file.as_ref(), &saved))
}
