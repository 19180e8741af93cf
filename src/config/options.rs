//! The configuration's `[defaults]` as defaults of the command line: a value goes through the option's own parser, and
//! what the user types beats it, as it beats the built-in default.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::keys::{COMMANDS, defaults};
use super::{Config, ConfigError, Origin, Setting};
use crate::cli::{Cli, EvacuateArgs};

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The command line is wrong, or asks for help.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The configuration can't be used.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
}

/// Reads the command line, then the configuration, and then the command line with the configuration's defaults.
///
/// # Errors
/// Either is wrong; a request for help or the version is an error of the command line, too.
pub fn resolve(arguments: impl IntoIterator<Item = OsString>) -> Result<(Cli, Config), ResolveError> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let first = Cli::command().try_get_matches_from(&arguments)?;
    let mut config = Config::load(first.get_one::<PathBuf>("config").map(PathBuf::as_path))?;
    // The command that names all problems finds more than these.
    let is_check = |(_, matches): (&str, &ArgMatches)| matches.subcommand_name() == Some("check");
    if !first.subcommand().filter(|(name, _)| *name == "config").is_some_and(is_check) {
        config.valid()?;
    }
    let matches = with_defaults(&config).try_get_matches_from(&arguments)?;
    config.settings = settings(&config, &matches);
    Ok((Cli::from_arg_matches(&matches)?, config))
}

/// The arguments and settings that a command line of `evacuate` with these options would have.
///
/// # Errors
/// The options are wrong.
pub fn evacuation(config: &Config, options: &[String]) -> Result<(EvacuateArgs, Vec<Setting>), clap::Error> {
    let arguments = ["tsmig", "evacuate", "SOURCE", "DESTINATION"].into_iter().map(str::to_owned);
    let matches = with_defaults(config).try_get_matches_from(arguments.chain(options.iter().cloned()))?;
    let evacuate = matches.subcommand().map_or(&matches, |(_, matches)| matches);
    Ok((EvacuateArgs::from_arg_matches(evacuate)?, settings(config, &matches)))
}

/// The command line's definition with the configured defaults.
fn with_defaults(config: &Config) -> Command {
    let mut command = Cli::command();
    for option in defaults() {
        let Some(name) = option.get_long() else { continue };
        let Some(default) = config.defaults.get(name) else { continue };
        command = with_default(command, &option, &default.value);
        for name in COMMANDS {
            command = command.mut_subcommand(name, |command| with_default(command, &option, &default.value));
        }
    }
    command
}

fn with_default(command: Command, option: &Arg, default: &str) -> Command {
    let has = command.get_arguments().any(|argument| argument.get_id() == option.get_id());
    if has { command.mut_arg(option.get_id(), |argument| argument.default_value(default.to_owned())) } else { command }
}

/// Each option's value and where it is from, as far as the command has it.
fn settings(config: &Config, matches: &ArgMatches) -> Vec<Setting> {
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    let setting = |name: &str, id: &str| {
        let source = matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id))?;
        let value = matches.try_get_raw(id).ok().flatten()?.map(|v| v.to_string_lossy().into_owned()).next()?;
        let origin = match source {
            ValueSource::CommandLine => Origin::Option,
            _ => config.defaults.get(name).map_or(Origin::Default, |default| default.origin.clone()),
        };
        Some(Setting { key: name.to_owned(), value, origin })
    };
    defaults().iter().filter_map(|option| setting(option.get_long()?, option.get_id().as_str())).collect()
}

/// Reads a value as the option of this name does.
///
/// # Errors
/// The option's own message.
pub(super) fn parse<T: Clone + Send + Sync + 'static>(name: &str, value: &str) -> Result<T, String> {
    let matches = matches_of(name, value)?;
    let matches = matches.subcommand().map_or(&matches, |(_, matches)| matches);
    let id = name.replace('-', "_");
    matches.try_get_one::<T>(&id).ok().flatten().cloned().ok_or_else(|| format!("--{name} has no value of this type"))
}

/// Whether the option of this name takes the value.
///
/// # Errors
/// The option's own message.
pub(super) fn check(name: &str, value: &str) -> Result<(), String> {
    matches_of(name, value).map(drop)
}

fn matches_of(name: &str, value: &str) -> Result<ArgMatches, String> {
    let has = |command: &Command| command.get_arguments().any(|a| a.get_long() == Some(name));
    let definition = Cli::command();
    let command = COMMANDS.iter().find(|command| definition.find_subcommand(command).is_some_and(has));
    let command = command.unwrap_or(&COMMANDS[0]);
    let arguments = ["tsmig", command, "SOURCE", "DESTINATION", &format!("--{name}={value}")];
    definition.try_get_matches_from(arguments).map_err(|error| message(&error, value))
}

/// What clap says of a value, without the option that nobody typed.
fn message(error: &clap::Error, value: &str) -> String {
    let reason = std::error::Error::source(error).map(ToString::to_string);
    match (error.kind(), reason, error.get(ContextKind::ValidValue)) {
        (_, Some(reason), _) if reason.contains(&format!("{value:?}")) => reason,
        (_, Some(reason), _) => format!("invalid value {value:?}: {reason}"),
        (ErrorKind::InvalidValue, None, Some(ContextValue::Strings(valid))) => {
            format!("invalid value {value:?}: write {}", valid.join(", "))
        }
        _ => format!("invalid value {value:?}"),
    }
}
