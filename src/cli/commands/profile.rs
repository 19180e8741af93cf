//! `tsmig profile`: the traffic of the domains of one host, or of several.

use anyhow::Result;

use crate::cli::ProfileArgs;
use crate::cli::steps::connect::{all_endpoints, connect_all};
use crate::cli::steps::context::{Context, save};
use crate::cli::steps::sampling::Sampling;
use crate::profile::Profiles;
use crate::render::tables;

pub(super) fn run(context: Context<'_>, arguments: &ProfileArgs) -> Result<u8> {
    let sampling = Sampling::new(context, &arguments.sampling)?;
    let endpoints = all_endpoints(context.config, arguments.hosts.iter().map(String::as_str))?;
    let file = context.result_file("--save", arguments.save.as_deref(), &[])?;
    let hosts = connect_all(endpoints)?;
    let profiles = Profiles::of(sampling.of(&hosts.iter().collect::<Vec<_>>())?);
    file.map(|file| save(&file, &profiles)).transpose()?;
    context.show(&profiles, || profiles.hosts.iter().map(tables::profile).collect::<Vec<_>>().join("\n\n"))?;
    Ok(0)
}
