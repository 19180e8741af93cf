//! The man pages and completions are made from the command line's definition, the JSON Schemas from the types that are
//! printed and saved: these tests fail when they differ.
//! `make docs` (which sets `UPDATE_GENERATED`) writes them anew.
#![allow(clippy::unwrap_used, reason = "a test that unwraps None or Err fails, as it should")]

#[path = "generated/manual.rs"]
mod manual;
#[path = "generated/schemas.rs"]
mod schemas;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Arg, CommandFactory};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use clap_mangen::roff::{Roff, bold, italic, roman};
use tsmig::cli::Cli;
use tsmig::cli::resolve;
use tsmig::keys::{self, Key};

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
        let page = page.unwrap().path();
        let name = page.file_stem().unwrap().to_str().unwrap();
        let text = manual::complete(name, &fs::read_to_string(&page).unwrap());
        check(root().join("man").join(page.file_name().unwrap()), text.as_bytes());
    }
}

#[test]
fn man_shows_every_page_without_a_warning() {
    for page in fs::read_dir(root().join("man")).unwrap() {
        let page = page.unwrap().path();
        let shown = Command::new("man").args(["--warnings", "-l"]).arg(&page).env("MANWIDTH", "80").output().unwrap();
        let warnings = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
        assert!(String::from_utf8_lossy(&shown.stdout).contains("DESCRIPTION"), "{}", page.display());
    }
}

/// What a hook finds in its environment; `value` says in which.
const HOOK_VARIABLES: [Key; 11] = [
    Key { name: "TSMIG_HOOK", value: "all", about: "Which one it is: before-run, and so on." },
    Key { name: "TSMIG_SOURCE", value: "all", about: "The source as it was named on the command line." },
    Key { name: "TSMIG_SOURCE_URI", value: "all", about: "Its libvirt URI." },
    Key { name: "TSMIG_DESTINATION", value: "all", about: "The destination as it was named on the command line." },
    Key { name: "TSMIG_DESTINATION_URI", value: "all", about: "Its libvirt URI." },
    Key { name: "TSMIG_DOMAIN", value: "domain", about: "The domain's name." },
    Key { name: "TSMIG_UUID", value: "domain", about: "Its UUID." },
    Key {
        name: "TSMIG_TECHNIQUE",
        value: "domain",
        about: "How it moves: pre-copy, post-copy, hybrid or offline; after a domain, how it did.",
    },
    Key {
        name: "TSMIG_OUTCOME",
        value: "after",
        about: "For a domain: migrated, remains, needs-recovery, lost or gone. For the run: evacuated, partial, \
                failed, interrupted or needs-recovery.",
    },
    Key { name: "TSMIG_ERROR", value: "after-domain", about: "Why it is not at the destination, if it is not." },
    Key {
        name: "TSMIG_REPORT",
        value: "after-run",
        about: "The file of --report, complete, if it was given and the hook before the run did not fail.",
    },
];

#[test]
fn the_manual_of_the_configuration() {
    let mut page = Roff::new();
    page.control("TH", ["tsmig-config", "5", "", "tsmig", ""]);
    page.control("SH", ["NAME"]).text([roman("tsmig-config - the configuration of tsmig")]);
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in [
        "TOML files: /etc/tsmig/config.toml, then $XDG_CONFIG_HOME/tsmig/config.toml (~/.config/tsmig/config.toml), \
         then the file of --config. A key of a later file beats the same key of an earlier one, and an option of the \
         command line beats them all. Rules for domains of all files are kept.",
        "An unknown key is an error. `tsmig config check` says whether the files are valid, `tsmig config show` what \
         then holds and where each value is from.",
    ] {
        page.control("PP", []).text([roman(paragraph)]);
    }
    let mut section = |title: &str, about: &str, keys: Vec<(String, String, String)>| {
        page.control("SH", [title]).text([roman(about)]);
        for (name, value, about) in keys {
            page.control("TP", []).text([bold(name), roman(" = "), italic(value)]).text([roman(about)]);
        }
    };
    let rows = |keys: &[Key]| keys.iter().map(|k| (k.name.into(), k.value.into(), k.about.into())).collect();
    section("[hosts.NAME]", "What NAME stands for on the command line.", rows(&keys::HOSTS));
    let option = |option: &Arg| {
        let value = option.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        let about = option.get_help().map(ToString::to_string).unwrap_or_default();
        (option.get_long().unwrap().to_owned(), value.unwrap(), about)
    };
    let about = "Defaults of the options of the same names, and with their values.";
    section("[defaults]", about, resolve::defaults().iter().map(option).collect());
    let about = "A rule for the domains that a pattern matches; any number of them. For each key, the last matching rule \
                 that has it counts; the rules of a later file come after those of an earlier one. A rule may match nothing.";
    section("[[domains]]", about, rows(&keys::DOMAINS));
    let about = "Programs that `tsmig evacuate` runs where something is to be moved: an absolute path, or a list of it and \
                 arguments, with no shell between. A program that is not there or not executable is an error before \
                 anything is done. What a hook prints is shown where it fails: its last line. --dry-run names the hooks \
                 and runs none; `tsmig recover` runs none. `tsmig rehearse` runs them on each of its ways, with source and \
                 destination exchanged on the way back.";
    section("[hooks]", about, rows(&keys::HOOKS));
    page.control("SH", ["ENVIRONMENT OF THE HOOKS"]).text([roman("In brackets, which hooks have it.")]);
    for variable in HOOK_VARIABLES {
        let of = roman(format!(" [{}]", variable.value));
        page.control("TP", []).text([bold(variable.name), of]).text([roman(variable.about)]);
    }
    check(root().join("man/tsmig-config.5"), page.render().as_bytes());
}

#[test]
fn json_schemas() {
    for (file, text) in schemas::all() {
        check(root().join("schemas").join(file), text.as_bytes());
    }
}

#[test]
fn completions() {
    let shells: [(&dyn EnvCompleter, &str); 3] = [(&Bash, "tsmig.bash"), (&Zsh, "_tsmig"), (&Fish, "tsmig.fish")];
    for (shell, file) in shells {
        let mut text = Vec::new();
        shell.write_registration("COMPLETE", "tsmig", "tsmig", "tsmig", &mut text).unwrap();
        if file == "_tsmig" {
            // zsh loads the file at the first completion, which is to be answered too.
            text.extend(b"[[ $funcstack[1] = _tsmig ]] && _clap_dynamic_completer_tsmig \"$@\"\n");
        }
        check(root().join("completions").join(file), &text);
    }
}

#[test]
fn bash_completes_options_and_the_configured_hosts() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("completion");
    fs::create_dir_all(directory.join("tsmig")).unwrap();
    fs::write(directory.join("tsmig/config.toml"), "[hosts.host-a]\n[hosts.host-b]\n[hosts.other]").unwrap();
    let complete = |words: &[&str]| {
        let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9; \
                      _clap_complete_tsmig tsmig \"${COMP_WORDS[COMP_CWORD]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let program = Path::new(env!("CARGO_BIN_EXE_tsmig")).parent().unwrap();
        let output = Command::new("bash")
            .args(["--norc", "-c", script, "bash"])
            .arg(root().join("completions/tsmig.bash"))
            .args(words)
            .env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()))
            .env("XDG_CONFIG_HOME", &directory)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["tsmig", "evacuate", "host"]), ["host-a", "host-b"]);
    assert_eq!(complete(&["tsmig", "evacuate", "host-a", "oth"]), ["other"]);
    assert_eq!(complete(&["tsmig", "evacuate", "--conc"]), ["--concurrency"]);
    assert_eq!(complete(&["tsmig", "plan", "--objective", "i"]), ["impact"]);
}
