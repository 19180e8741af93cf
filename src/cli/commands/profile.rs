//! `tsmig profile`: the traffic of one host's domains, or of two.

use anyhow::Result;

use crate::cli::ProfileArgs;
use crate::cli::steps::connect::{connect, endpoint, endpoints};
use crate::cli::steps::context::{Context, save};
use crate::cli::steps::sampling::Sampling;
use crate::libvirt::Host;
use crate::render::tables;

pub(super) fn run(context: Context<'_>, arguments: &ProfileArgs) -> Result<u8> {
    let sampling = Sampling::new(context, &arguments.sampling)?;
    let open_file = || context.result_file("--save", arguments.save.as_deref(), &[]);
    match &arguments.destination {
        Some(destination) => {
            let endpoints = endpoints(context.config, &arguments.host, destination)?;
            let file = open_file()?;
            let (source, destination) = connect(endpoints)?;
            let both = sampling.of_both(&source, &destination)?;
            file.map(|file| save(&file, &both)).transpose()?;
            context.show(&both, || {
                format!("{}\n\n{}", tables::profile(&both.source), tables::profile(&both.destination))
            })?;
        }
        None => {
            let endpoint = endpoint(context.config, &arguments.host)?;
            let file = open_file()?;
            let host = Host::open(endpoint)?;
            for profile in sampling.of(&[&host])? {
                file.as_ref().map(|file| save(file, &profile)).transpose()?;
                context.show(&profile, || tables::profile(&profile))?;
            }
        }
    }
    Ok(0)
}
