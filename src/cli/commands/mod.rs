//! The commands: each a straight line from the arguments to the result and the exit status.

mod config;
mod connect;
mod evacuate;
mod hooks;
mod interrupts;
mod live;
mod output;
mod plan;
mod profile;
mod recover;
mod report;
mod sample;
mod unfinished;

use std::io::{self, ErrorKind};

use anyhow::Result;

use crate::cli::{Cli, Command};
use crate::config::Config;

/// Exit status of a usage or configuration error.
pub const USAGE: u8 = 2;
/// Exit status where nothing was moved because of any other error.
pub const NOTHING_MOVED: u8 = 1;

/// What the user typed or wrote can't be used; the exit status is [`USAGE`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    Usage(error.to_string()).into()
}

/// Runs the command line and returns the exit status.
///
/// # Errors
/// Nothing was moved; [`Usage`] where the input was at fault.
pub fn run(cli: Cli, config: &Config) -> Result<u8> {
    let result = match cli.command {
        Command::Config(arguments) => config::run(config, &cli.output, &arguments),
        Command::Report(arguments) => report::run(config, &cli.output, &arguments),
        Command::Profile(arguments) => profile::run(config, &cli.output, &arguments),
        Command::Plan(arguments) => plan::run(config, &cli.output, &arguments),
        Command::Recover(arguments) => recover::run(config, &cli.output, &arguments),
        Command::Evacuate(arguments) => evacuate::run(config, &cli.output, &arguments),
    };
    match result {
        // A reader that has seen enough, such as `| head`, is no error. Nothing is printed while domains move.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => Ok(0),
        other => other,
    }
}
