//! The `tsmig` command: parse, run, print the error once, exit with the documented status.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use tsmig::cli::Cli;
use tsmig::cli::commands::{NOTHING_MOVED, USAGE, Usage, run};
use tsmig::cli::resolve::{ResolveError, resolve};
use tsmig::render;

fn main() -> ExitCode {
    // A shell that asks for completions gets them, and nothing else happens.
    CompleteEnv::with_factory(Cli::command).complete();
    let (cli, config) = match resolve(std::env::args_os()) {
        Ok(resolved) => resolved,
        Err(ResolveError::CommandLine(error)) => {
            let text = error.render().to_string();
            if !error.use_stderr() || render::escape::escape(&text) == text {
                error.exit();
            }
            render::say(text.trim_end());
            render::finish();
            return ExitCode::from(USAGE);
        }
        Err(error) => {
            render::say(&format!("error: {error}"));
            render::finish();
            return ExitCode::from(USAGE);
        }
    };
    let status = run(cli, &config).unwrap_or_else(|error| {
        render::say(&format!("error: {error:#}"));
        if error.is::<Usage>() { USAGE } else { NOTHING_MOVED }
    });
    render::finish();
    ExitCode::from(status)
}
