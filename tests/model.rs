//! `tsmig model`: what is known from earlier runs is shown and forgotten, and a file that is no such file does no harm.
#![allow(clippy::unwrap_used, reason = "a test that unwraps None or Err fails, as it should")]

#[path = "support/schema.rs"]
mod schema;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use schema::Schema;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory of states with these lines in its file of experience.
struct State {
    directory: TempDir,
}

impl State {
    fn with(lines: &[Value]) -> Self {
        let state = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(state.directory.path().join("tsmig")).unwrap();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(state.file(), text).unwrap();
        state
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("tsmig/experience.jsonl")
    }

    /// Standard output, standard error and exit status.
    fn tsmig(&self, arguments: &[&str]) -> (String, String, Option<i32>) {
        let output = Command::new(env!("CARGO_BIN_EXE_tsmig"))
            .args(arguments)
            .env("XDG_STATE_HOME", self.directory.path())
            .env("XDG_CONFIG_HOME", self.directory.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr), output.status.code())
    }

    fn shown(&self) -> Value {
        serde_json::from_str(&self.tsmig(&["model", "show", "--output", "json"]).0).unwrap()
    }
}

fn record(shown: &Value) -> Value {
    let host = |name: &str| json!({"id": format!("id of {name}"), "name": name});
    let mut record = json!({
        "schema": "tsmig.experience/1",
        "at": "2026-11-26T03:00:00Z",
        "source": host("host-a"),
        "destination": host("host-b"),
    });
    record.as_object_mut().unwrap().extend(shown.as_object().unwrap().clone());
    record
}

fn migration(domain: &str, crossed: u64) -> Value {
    record(&json!({
        "shown": "migration", "domain": domain, "uuid": format!("uuid of {domain}"), "technique": "pre-copy",
        "memory": 4_000_000, "resident": 4_000_000, "crossed": crossed,
        "traffic_bits_per_second": 0.0, "dirtied": [{"seconds": 10.0, "bytes": 50_000}, {"seconds": 1.0, "bytes": 20_000}],
    }))
}

fn lines() -> [Value; 4] {
    [
        migration("web", 3_000_000),
        migration("db", 1_000_000),
        record(&json!({
            "shown": "run", "pace": 0.9, "seconds": 20.0, "setup_seconds": 0.5, "link_bits_per_second": 1e9,
        })),
        record(&json!({"shown": "proof", "domain": "web", "key": "pc", "proven": true})),
    ]
}

#[test]
fn what_is_known_is_shown_and_fits_the_schemas() {
    let state = State::with(&lines());
    for line in lines() {
        assert_eq!(Schema::strict("experience.json").errors(&line), "");
    }
    let (text, problems, status) = state.tsmig(&["model", "show"]);
    assert_eq!((problems.as_str(), status), ("", Some(0)));
    for part in ["90 % of the model", "75 %", "25 %", "19.5 KiB/s", "host-a", "experience.jsonl"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let shown = state.shown();
    assert_eq!(Schema::strict("model.json").errors(&shown), "");
    assert_eq!(shown["pairs"][0]["proven"], 1);
}

#[test]
fn what_is_forgotten_is_not_known_any_more() {
    let state = State::with(&lines());
    let domains = || state.shown()["domains"].as_array().unwrap().len();
    assert_eq!(state.tsmig(&["model", "forget", "w*"]).2, Some(0));
    assert_eq!(domains(), 1);
    assert_eq!(state.tsmig(&["model", "forget", "--migrations"]).2, Some(0));
    assert_eq!((domains(), &state.shown()["pairs"][0]["proven"]), (0, &json!(1)), "what is proven is kept");
    assert_eq!(state.tsmig(&["model", "forget", "--all"]).2, Some(0));
    assert_eq!(state.shown()["pairs"], json!([]));
    for wrong in [&["model", "forget"][..], &["model", "forget", "web", "--all"], &["model", "forget", "[x"]] {
        let (_, problems, status) = state.tsmig(wrong);
        assert_eq!(status, Some(2), "{wrong:?}: {problems}");
    }
}

#[test]
fn a_damaged_file_gives_a_note_and_what_is_left_of_it() {
    let state = State::with(&[migration("web", 3_000_000)]);
    let text = [fs::read(state.file()).unwrap(), b"\x00\xff{{{\n[]\n".to_vec()].concat();
    fs::write(state.file(), text).unwrap();
    let (text, problems, status) = state.tsmig(&["model", "show"]);
    assert_eq!(status, Some(0));
    assert!(text.contains("75 %") && problems.contains("2 of 3 lines"), "{text}{problems}");
}
