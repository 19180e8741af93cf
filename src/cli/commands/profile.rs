//! `tsmig profile`: the traffic of one host's domains, or of two.

use anyhow::Result;

use super::connect::{connect, endpoint, endpoints};
use super::output::{ResultFile, show};
use super::sample::{sample, sample_both};
use super::usage;
use crate::cli::checks;
use crate::cli::{OutputArgs, ProfileArgs};
use crate::config::Config;
use crate::libvirt::Host;
use crate::profile::Both;
use crate::render::tables;

pub(super) fn run(config: &Config, output: &OutputArgs, arguments: &ProfileArgs) -> Result<u8> {
    let timing = checks::timing(config, &arguments.sampling).map_err(usage)?;
    let open_file = || ResultFile::open("--save", arguments.save.as_deref(), &[], config);
    match &arguments.destination {
        Some(destination) => {
            let endpoints = endpoints(config, &arguments.host, destination)?;
            let file = open_file()?;
            let (source, destination) = connect(endpoints)?;
            let (source, destination) =
                sample_both(config, output, &arguments.sampling, timing, &source, &destination)?;
            let both = Both { source, destination };
            file.map(|file| file.save(&both)).transpose()?;
            show(output, &both, || {
                format!("{}\n\n{}", tables::profile(&both.source), tables::profile(&both.destination))
            })?;
        }
        None => {
            let endpoint = endpoint(config, &arguments.host)?;
            let file = open_file()?;
            let host = Host::open(endpoint)?;
            for profile in sample(config, output, &arguments.sampling, timing, &[&host])? {
                file.as_ref().map(|file| file.save(&profile)).transpose()?;
                show(output, &profile, || tables::profile(&profile))?;
            }
        }
    }
    Ok(0)
}
