//! The session that the README shows is one that tsmig has had.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tsmig_lab::{Lab, Node};

use crate::harness::{Guests, Test, assert_states, receiver, run, sender};

pub const TESTS: &[(&str, Test)] = &[("readme_shows_what_an_evacuation_prints", session)];

const BEGIN: &str = "<!-- session: begin -->\n```text\n$ tsmig evacuate host-a host-b --window 3s\n";
const END: &str = "```\n<!-- session: end -->\n";

/// The shape of what is printed: numbers, their units and bars are of one run; so is which of two that start together
/// is named first.
fn shape(text: &str) -> Vec<String> {
    const UNITS: [&str; 5] = ["s", "min", "KiB", "MiB", "GiB"];
    let word = |word: &str| match word {
        _ if word.chars().any(|c| c.is_ascii_digit()) => "0".to_owned(),
        _ if word.chars().all(|c| !c.is_alphanumeric() && !c.is_ascii()) => "bar".to_owned(),
        _ => word.to_owned(),
    };
    let line = |line: &str| {
        // What would have been otherwise, and the dirty rate, are told where they matter.
        let line = line.split("; by ").next().unwrap_or_default().replace("no end", "0");
        let (head, tail) = line.split_once(", dirties ").unwrap_or((&line, ""));
        let line = format!("{head}{}", tail.find(':').map_or("", |colon| &tail[colon..]));
        let words = line.split_whitespace().filter(|word| !UNITS.contains(&word.trim_end_matches([',', ';'])));
        words.map(word).collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<_> = text.lines().map(line).collect();
    lines.sort();
    lines
}

fn session(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("web-1"), sender("web-2"), receiver("backup-1"), receiver("backup-2")])?;
    let out = run(lab, &["evacuate", "host-a", "host-b"])?;
    ensure!(out.status == 0, "{} {}", out.stdout, out.stderr);
    for name in ["web-1", "web-2", "backup-1", "backup-2"] {
        assert_states(lab, name, None, Some("running"))?;
    }
    guests.assert_alive(lab)?;
    ensure!(lab.run(Node::HostA, &["virsh", "list", "--all", "--name"])?.trim().is_empty(), "host-a is empty");

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path)?;
    let (before, rest) = readme.split_once(BEGIN).context("the README has a session")?;
    let (shown, after) = rest.split_once(END).context("the README's session has an end")?;
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", out.stdout))?;
        return Ok(());
    }
    let (shown, printed) = (shape(shown), shape(&out.stdout));
    ensure!(
        shown == printed,
        "the README shows another session; with UPDATE_GENERATED=1 this test puts this one there:\n{}\n{shown:#?}\n{printed:#?}",
        out.stdout
    );
    Ok(())
}
