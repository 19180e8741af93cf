//! `tsmig profile`: the traffic of one host's domains, or of two.

use anyhow::Result;

use super::connect::{connect, valid};
use super::output::{create, save, show};
use super::sample::{sample, sample_both, timing};
use crate::cli::{OutputArgs, ProfileArgs};
use crate::config::Config;
use crate::hypervisor::libvirt::Host;
use crate::profile::Both;
use crate::render::tables;

pub(super) fn run(config: &Config, output: &OutputArgs, arguments: &ProfileArgs) -> Result<u8> {
    let timing = timing(&arguments.sampling)?;
    let file = create(arguments.save.as_deref())?;
    let save_to = arguments.save.as_deref();
    match &arguments.destination {
        Some(destination) => {
            let (source, destination) = connect(config, &arguments.host, destination)?;
            let (source, destination) =
                sample_both(config, output, &arguments.sampling, timing, &source, &destination)?;
            let both = Both { source, destination };
            save(file.as_ref(), save_to, &both)?;
            show(output, &both, || {
                format!("{}\n\n{}", tables::profile(&both.source), tables::profile(&both.destination))
            })?;
        }
        None => {
            let host = Host::open(config.endpoint(valid(&arguments.host)?))?;
            for profile in sample(config, output, &arguments.sampling, timing, &[&host])? {
                save(file.as_ref(), save_to, &profile)?;
                show(output, &profile, || tables::profile(&profile))?;
            }
        }
    }
    Ok(0)
}
