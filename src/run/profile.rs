//! `tsmig profile`: the traffic of one host's domains, or of two.

use anyhow::Result;
use serde::Serialize;

use super::connect::{connect, valid};
use super::output::{create, save, show};
use super::sample::{sample, sample_both, timing};
use crate::cli::{OutputArgs, ProfileArgs};
use crate::config::Config;
use crate::hypervisor::libvirt::Host;
use crate::profile::Profile;
use crate::render::tables;

/// Two profiles as `plan --profile` reads them.
#[derive(Serialize)]
struct Both<'a> {
    source: &'a Profile,
    destination: &'a Profile,
}

pub(super) fn run(config: &Config, output: &OutputArgs, arguments: &ProfileArgs) -> Result<u8> {
    let timing = timing(&arguments.sampling)?;
    let file = create(arguments.save.as_deref())?;
    let profiles = match &arguments.destination {
        Some(destination) => {
            let (source, destination) = connect(config, &arguments.host, destination)?;
            let (source, destination) =
                sample_both(config, output, &arguments.sampling, timing, &source, &destination)?;
            vec![source, destination]
        }
        None => {
            let host = Host::open(config.endpoint(valid(&arguments.host)?))?;
            sample(config, output, &arguments.sampling, timing, &[&host])?
        }
    };
    match profiles.as_slice() {
        [source, destination] => {
            let both = Both { source, destination };
            save(file.as_ref(), arguments.save.as_deref(), &both)?;
            show(output, &both, || format!("{}\n\n{}", tables::profile(source), tables::profile(destination)))?;
        }
        alone => {
            for profile in alone {
                save(file.as_ref(), arguments.save.as_deref(), profile)?;
                show(output, profile, || tables::profile(profile))?;
            }
        }
    }
    Ok(0)
}
