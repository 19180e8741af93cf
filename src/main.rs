//! The `tsmig` command: parse, run, print the error once, exit with the documented status.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use tsmig::cli::Cli;
use tsmig::config::options::{ResolveError, resolve};
use tsmig::render;
use tsmig::run::{NOTHING_MOVED, USAGE, Usage, run};

fn main() -> ExitCode {
    // A shell that asks for completions gets them, and nothing else happens.
    CompleteEnv::with_factory(Cli::command).complete();
    let (cli, config) = match resolve(std::env::args_os()) {
        Ok(resolved) => resolved,
        Err(ResolveError::CommandLine(error)) => error.exit(),
        Err(error) => {
            render::say(&format!("error: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    match run(cli, &config) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            render::say(&format!("error: {error:#}"));
            ExitCode::from(if error.is::<Usage>() { USAGE } else { NOTHING_MOVED })
        }
    }
}
