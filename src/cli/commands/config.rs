//! `tsmig config`: whether the configuration is right, and what then holds.

use anyhow::Result;

use crate::cli::steps::context::Context;
use crate::cli::steps::usage;
use crate::cli::{ConfigArgs, ConfigCommand, checks, resolve};
use crate::config::show::Effective;
use crate::config::{Config, ConfigError};
use crate::render::escape::escape;
use crate::render::{print_line, tables};

pub(super) fn run(context: Context<'_>, arguments: &ConfigArgs) -> Result<u8> {
    let config = context.config;
    match &arguments.command {
        ConfigCommand::Check { file } => {
            let checked = match file {
                Some(path) => &Config::read(path, &resolve::judge).map_err(usage)?,
                None => config,
            };
            match checks::all(checked) {
                problems if problems.is_empty() => {}
                problems => return Err(usage(ConfigError::Invalid(problems))),
            }
            for (path, _) in checked.files.iter().filter(|(_, read)| *read) {
                print_line(&escape(&format!("{}: valid", path.display())))?;
            }
        }
        ConfigCommand::Show { options } => {
            let (_, settings) = resolve::evacuation(config, options).map_err(|error| {
                // Without clap's own "error: " and its hint at a command line that nobody typed.
                let text = error.to_string();
                usage(text.trim_start_matches("error: ").lines().next().unwrap_or_default())
            })?;
            let effective = Effective::of(config, &settings);
            context.show(&effective, || {
                let files = effective.files.iter().map(|file| (file.path.as_path(), file.read));
                let settings =
                    effective.settings.iter().map(|s| [s.key.clone(), s.value.clone(), s.origin.to_string()]);
                tables::configuration(files, settings)
            })?;
        }
        ConfigCommand::Hosts => {
            for name in config.hosts.keys() {
                print_line(&escape(name))?;
            }
        }
    }
    Ok(0)
}
