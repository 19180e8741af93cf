//! The configuration's `[defaults]` as defaults of the command line: a value goes through the option's own parser, and
//! what the user types beats it, as it beats the built-in default.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::{Cli, EvacuateArgs};
use crate::config::{Config, ConfigError, Origin, Setting, invalid, keys};

/// The commands whose options have defaults.
const COMMANDS: [&str; 3] = ["evacuate", "plan", "profile"];

/// The options that `[defaults]` can set, by name.
pub fn defaults() -> Vec<Arg> {
    let has_default = |option: &Arg| option.get_long().is_some_and(|long| keys::DEFAULTS.contains(&long));
    options().into_iter().filter(has_default).collect()
}

/// The options of all commands that have any with a default, by name.
fn options() -> Vec<Arg> {
    let command = Cli::command();
    let commands = COMMANDS.iter().filter_map(|name| command.find_subcommand(name)).chain([&command]);
    let mut options: Vec<Arg> = commands.flat_map(Command::get_arguments).cloned().collect();
    options.retain(|option| option.get_long().is_some());
    options.sort_by(|a, b| a.get_long().cmp(&b.get_long()));
    options.dedup_by(|a, b| a.get_long() == b.get_long());
    options
}

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
    let mut config = Config::load(first.get_one::<PathBuf>("config").map(PathBuf::as_path), &judge)?;
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
pub(crate) fn evacuation(config: &Config, options: &[String]) -> Result<(EvacuateArgs, Vec<Setting>), clap::Error> {
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

/// Whether the option of this name takes the value; if not, its own message.
pub fn judge(name: &str, value: &str) -> Result<(), String> {
    let has = |command: &Command| command.get_arguments().any(|a| a.get_long() == Some(name));
    let definition = Cli::command();
    let command = COMMANDS.iter().find(|command| definition.find_subcommand(command).is_some_and(has));
    let command = command.unwrap_or(&COMMANDS[0]);
    let arguments = ["tsmig", command, "SOURCE", "DESTINATION", &format!("--{name}={value}")];
    definition.try_get_matches_from(arguments).map(drop).map_err(|error| message(&error, value))
}

/// What clap says of a value, without the option that nobody typed.
fn message(error: &clap::Error, value: &str) -> String {
    let reason = std::error::Error::source(error).map(ToString::to_string);
    match (error.kind(), reason, error.get(ContextKind::ValidValue)) {
        (_, Some(reason), _) => invalid(value, reason),
        (ErrorKind::InvalidValue, None, Some(ContextValue::Strings(valid))) => {
            invalid(value, format!("write {}", valid.join(", ")))
        }
        _ => format!("invalid value {value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::ArgAction;

    use super::*;
    use crate::config::show;

    #[test]
    fn each_option_takes_a_default_or_says_why_not() {
        for option in options() {
            let name = option.get_long().unwrap_or_default();
            let settable = keys::DEFAULTS.contains(&name) && matches!(option.get_action(), ArgAction::Set);
            let explained = keys::OPTIONS_ONLY.iter().any(|(other, _)| *other == name);
            assert!(
                settable != explained,
                "--{name} needs a place in DEFAULTS and to be set by one value (as --partial is), or one in OPTIONS_ONLY"
            );
        }
        assert_eq!(defaults().len(), keys::DEFAULTS.len(), "each default is of an option");
    }

    #[test]
    fn the_explained_options_exist() {
        let mut command = Cli::command();
        command.build();
        let all: Vec<_> = command.get_subcommands().chain([&command]).flat_map(Command::get_arguments).collect();
        for (name, _) in keys::OPTIONS_ONLY {
            assert!(all.iter().any(|option| option.get_long() == Some(name)), "there is no --{name}");
        }
    }

    #[test]
    fn a_default_is_judged_by_its_option() {
        for (name, value, wanted) in [
            ("window", "5", "invalid value \"5\": time unit needed"),
            ("objective", "speed", "invalid value \"speed\": write time, impact"),
            ("concurrency", "0", "invalid value \"0\": write auto, or a whole number from 1"),
        ] {
            let error = judge(name, value).expect_err(value);
            assert!(error.contains(wanted) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_example_is_valid_and_has_every_key() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config.toml");
        let config = Config::read(&path, &judge).expect("readable");
        config.valid().unwrap_or_else(|error| panic!("{error}"));
        for name in keys::DEFAULTS {
            assert!(config.defaults.contains_key(name), "[defaults] lacks {name}");
        }
        let shown = show::Effective::of(&config, &[]).settings;
        for (section, keys) in
            [("hosts", &keys::HOSTS[..]), ("domains", &keys::DOMAINS[..]), ("hooks", &keys::HOOKS[..])]
        {
            for key in keys {
                let has =
                    |row: &Setting| row.key.starts_with(section) && row.key.split('.').any(|part| part == key.name);
                assert!(shown.iter().any(has), "[{section}] lacks {}", key.name);
            }
        }
    }
}
