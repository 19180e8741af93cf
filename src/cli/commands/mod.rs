//! The commands: each a straight line from the arguments to the result and the exit status.

mod config;
mod evacuate;
mod model;
mod plan;
mod profile;
mod recover;
mod rehearse;
mod report;

use std::io::{self, ErrorKind};

use anyhow::Result;

pub use super::steps::Usage;
use super::steps::context::Context;
use super::{Cli, Command};
use crate::config::Config;

/// Exit status of a usage or configuration error.
pub const USAGE: u8 = 2;
/// Exit status if nothing was moved because of any other error.
pub const NOTHING_MOVED: u8 = 1;

/// Runs the command line and returns the exit status.
///
/// # Errors
/// Nothing was moved; [`Usage`] if the input was at fault.
pub fn run(cli: Cli, config: &Config) -> Result<u8> {
    let context = Context { config, output: &cli.output };
    let result = match cli.command {
        Command::Config(arguments) => config::run(context, &arguments),
        Command::Report(arguments) => report::run(context, &arguments),
        Command::Model(arguments) => model::run(context, &arguments),
        Command::Profile(arguments) => profile::run(context, &arguments),
        Command::Plan(arguments) => plan::run(context, &arguments),
        Command::Recover(arguments) => recover::run(context, &arguments),
        Command::Rehearse(arguments) => rehearse::run(context, &arguments),
        Command::Evacuate(arguments) => evacuate::run(context, &arguments),
    };
    match result {
        // A reader that has seen enough, such as `| head`, is not an error. Nothing is printed while domains move.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => Ok(0),
        other => other,
    }
}
