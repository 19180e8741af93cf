//! The `tsmig-lab` command; see [`tsmig_lab::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tsmig_lab::cli::main()
}
