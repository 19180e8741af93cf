//! From the configuration to the hooks of a run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;

use super::usage;
use crate::config::Config;
use crate::hooks::Hooks;

/// The hooks that the configuration gives a run between two hosts; one that is no program which could be run is an
/// error of the configuration.
pub(super) fn hooks(config: &Config, source: &str, destination: &str) -> Result<Hooks> {
    for (name, hook) in &config.hooks {
        let program = hook.value.first().map_or("", String::as_str);
        check(Path::new(program)).map_err(|problem| {
            usage(format!(
                "{}: the {name} hook {program} {problem}; give the path of an executable program",
                hook.origin
            ))
        })?;
    }
    let commands = config.hooks.iter().map(|(name, hook)| (*name, hook.value.clone())).collect();
    let limit = config.hook_timeout.as_ref().map(|limit| limit.value);
    Ok(Hooks::new(commands, limit, &config.endpoint(source), &config.endpoint(destination)))
}

/// What is wrong with a program, where something is.
fn check(program: &Path) -> Result<(), String> {
    let metadata = fs::metadata(program).map_err(|error| format!("can't be run: {error}"))?;
    match metadata.is_file() {
        true if metadata.permissions().mode() & 0o111 != 0 => Ok(()),
        true => Err("is not executable".to_owned()),
        false => Err("is no file".to_owned()),
    }
}
