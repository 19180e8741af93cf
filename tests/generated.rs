//! The man pages and completions are made from the command line's definition: these tests fail when they differ.
//! `make docs` (which sets `UPDATE_GENERATED`) writes them anew.
#![allow(clippy::unwrap_used, reason = "a test that unwraps None or Err fails, as it should")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use tsmig::cli::Cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares, or writes where asked to.
fn check(path: PathBuf, wanted: &[u8]) {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, wanted).unwrap();
        return;
    }
    let found = fs::read(&path).unwrap_or_default();
    assert!(found == wanted, "{} is out of date: run `make docs`", path.display());
}

#[test]
fn man_pages() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("man");
    fs::create_dir_all(&scratch).unwrap();
    // clap's own help subcommand needs no page.
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), &scratch).unwrap();
    for page in fs::read_dir(&scratch).unwrap() {
        let page = page.unwrap();
        check(root().join("man").join(page.file_name()), &fs::read(page.path()).unwrap());
    }
}

#[test]
fn completions() {
    for (shell, file) in [(Shell::Bash, "tsmig.bash"), (Shell::Zsh, "_tsmig"), (Shell::Fish, "tsmig.fish")] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "tsmig", &mut text);
        check(root().join("completions").join(file), &text);
    }
}
