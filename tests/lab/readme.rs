//! The session that the README shows is one that tsmig has had.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tsmig_lab::{Lab, Node};

use crate::harness::{Guests, Test, assert_states, receiver, run, sender};

pub const TESTS: &[(&str, Test)] = &[("readme_shows_what_an_evacuation_prints", session)];

const BEGIN: &str = "<!-- session: begin -->\n```text\n$ tsmig evacuate host-a host-b --window 3s\n";
const END: &str = "```\n<!-- session: end -->\n";

/// Guests that are alike: which of two goes first is of one run.
const ALIKE: [(&str, &str); 4] = [("web-1", "web"), ("web-2", "web"), ("backup-1", "backup"), ("backup-2", "backup")];

/// What is printed, line by line, with what may differ from run to run replaced: numbers with their units, bars, spaces,
/// and the names of guests that are alike. Each paragraph also has the names in it, sorted, so that none is missing.
fn shape(text: &str) -> Vec<String> {
    let number = |word: &str| word.trim_matches(['(', ')', ',', ';', '.']).parse::<f64>().is_ok();
    let unit = |word: &str| {
        let unit = word.trim_matches(['(', ')', ',', ';', ':']);
        let scaled =
            |end: &str| unit.strip_suffix("/s").unwrap_or(unit).strip_suffix(end).is_some_and(|m| m.len() <= 2);
        match unit {
            "s" | "min" => Some("seconds"),
            _ if scaled("bit") => Some("bits"),
            _ if scaled("B") => Some("bytes"),
            _ => None,
        }
    };
    let is_bar = |word: &str| word.chars().all(|c| !c.is_ascii() && !c.is_alphanumeric());
    let line = |line: &str| {
        // Told only if they matter, which is of one run as well.
        let line = line.replace("may not end", "0 s").replace("< 1 Mbit", "0 Mbit");
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            let name = ALIKE.iter().find(|(name, _)| word.trim_end_matches(':') == *name);
            let shaped = match (name, unit(word)) {
                (Some((name, kind)), _) => word.replace(name, kind),
                // "2 min 05 s" is one span, as "59.1 s" is.
                (None, Some(kind)) if words.last().is_some_and(|last| last == "0") => {
                    words.pop();
                    if words.last().is_some_and(|last| last == kind) {
                        continue;
                    }
                    kind.to_owned()
                }
                _ if number(word) => "0".to_owned(),
                _ if word == "-" => "bits".to_owned(),
                _ if is_bar(word) => "bar".to_owned(),
                _ => word.to_owned(),
            };
            words.push(shaped);
        }
        words.join(" ").replace(" dirties bytes", "").replace("add seconds and lose", "lose")
    };
    let mut names: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '-').collect();
    names.retain(|word| ALIKE.iter().any(|(name, _)| word == name));
    names.sort_unstable();
    text.lines().map(line).chain([names.join(" ")]).collect()
}

fn session(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![sender("web-1"), sender("web-2"), receiver("backup-1"), receiver("backup-2")])?;
    let rehearsal = run(lab, &["rehearse", "host-a", "host-b", "backup-1"])?;
    ensure!(rehearsal.status == 0, "{} {}", rehearsal.stdout, rehearsal.stderr);
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
    // A shape that could not tell the guests apart would hold nothing.
    let swapped = |one, other| shown.replace(one, "another").replace(other, one).replace("another", other);
    ensure!(shape(&swapped("web-1", "web-2")) == shape(shown), "of guests that are alike, either may be first");
    ensure!(shape(&swapped("web-1", "backup-1")) != shape(shown), "a sender is no receiver");
    ensure!(shape(&shown.replace("web-2", "web-1")) != shape(shown), "every guest is named");
    let (shown, printed) = (shape(shown), shape(&out.stdout));
    ensure!(
        shown == printed,
        "the README shows another session; with UPDATE_GENERATED=1 this test puts this one there:\n{}\n{shown:#?}\n{printed:#?}",
        out.stdout
    );
    Ok(())
}
