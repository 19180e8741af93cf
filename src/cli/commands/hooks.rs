//! From the configuration to the hooks of a run.

use anyhow::Result;

use super::usage;
use crate::cli::checks;
use crate::config::Config;
use crate::engine::hooks::Hooks;
use crate::libvirt::Endpoint;

/// The hooks that the configuration gives a run between two hosts; one that is no program which could be run is an
/// error of the configuration.
pub(super) fn hooks(config: &Config, (source, destination): &(Endpoint, Endpoint)) -> Result<Hooks> {
    checks::hooks(config).map_err(usage)?;
    let commands = config.hooks.iter().map(|(name, hook)| (*name, hook.value.clone())).collect();
    let limit = config.hook_timeout.as_ref().map(|limit| limit.value);
    Ok(Hooks::new(commands, limit, source, destination))
}
