//! The `tsmig` command: parse, run, print the error once, exit with the documented status.

use std::process::ExitCode;

use clap::Parser;
use tsmig::cli::Cli;
use tsmig::render;
use tsmig::run::{NOTHING_MOVED, USAGE, Usage, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            render::say(&format!("error: {error:#}"));
            ExitCode::from(if error.is::<Usage>() { USAGE } else { NOTHING_MOVED })
        }
    }
}
