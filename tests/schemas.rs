//! What tsmig prints and saves is what the schemas of `schemas/` say; the lab's tests hold the rest against them.
#![allow(clippy::unwrap_used, reason = "a test that unwraps None or Err fails, as it should")]

#[path = "support/schema.rs"]
mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use schema::Schema;
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn files(directory: &str) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().path())
}

/// What tsmig prints with `--output json`.
fn printed(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_tsmig"))
        .args(arguments)
        .args(["--output", "json"])
        .env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"))
        .current_dir(root())
        .output()
        .unwrap();
    let (text, problems) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}{problems}"))
}

fn assert_fits(schema: &Schema, value: &Value, what: &dyn std::fmt::Debug) {
    let errors = schema.errors(value);
    assert!(errors.is_empty(), "{what:?}:\n{errors}");
}

#[test]
fn a_profile_is_as_published() {
    let schema = Schema::strict("profile.json");
    let saved = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema-profile.json");
    let arguments = ["profile", "test:///default", "--window", "200ms", "--interval", "100ms", "--quiet", "--save"];
    let arguments = [&arguments[..], &[saved.to_str().unwrap()]].concat();
    assert_fits(&schema, &printed(&arguments), &arguments);
    assert_fits(&schema, &read(&saved), &saved);
    for path in files("examples/profiles") {
        assert_fits(&schema, &read(&path), &path);
    }
}

#[test]
fn a_plan_is_as_published() {
    let schema = Schema::strict("plan.json");
    for path in files("examples/profiles") {
        let path = path.to_str().unwrap();
        for more in [&[][..], &["--objective", "impact"], &["--window-limit", "1s", "--exclude", "*1"]] {
            let saved = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema-plan.json");
            let arguments = [&["plan", "--profile", path, "--save", saved.to_str().unwrap()], more].concat();
            assert_fits(&schema, &printed(&arguments), &arguments);
            assert_fits(&schema, &read(&saved), &saved);
        }
    }
}

#[test]
fn a_report_is_as_published() {
    let (schema, events) = (Schema::strict("report.json"), Schema::strict("events.json"));
    for path in files("examples/reports").chain([root().join("tests/cmd/failed-report.json")]) {
        let (saved, again) = (read(&path), printed(&["report", path.to_str().unwrap()]));
        assert_fits(&schema, &saved, &path);
        assert_fits(&schema, &again, &path);
        assert_eq!(again["domains"], saved["domains"], "what is read back is told in the same words");
        for domain in again["domains"].as_array().unwrap() {
            let mut done = domain.clone();
            (done["event"], done["elapsed_seconds"]) = (json!("done"), json!(1.5));
            assert_fits(&events, &done, &path);
        }
    }
}

#[test]
fn the_last_event_is_a_report_too() {
    let mut event = printed(&["report", "examples/reports/balanced.json"]);
    event.as_object_mut().unwrap().remove("history");
    event["event"] = json!("report");
    event["elapsed_seconds"] = json!(40.0);
    assert_fits(&Schema::strict("events.json"), &event, &"the event");
    assert_fits(&Schema::published("report.json"), &event, &"the event as a report");
}

#[test]
fn what_is_missing_or_wrong_is_found_and_what_is_new_is_not() {
    let plan = printed(&["plan", "--profile", "examples/profiles/balanced.json"]);
    let published = Schema::published("plan.json");
    let errors = |schema: &Schema, change: &dyn Fn(&mut Value)| {
        let mut changed = plan.clone();
        change(&mut changed);
        schema.errors(&changed)
    };
    for (wanted, change) in [
        ("\"uuid\" is a required property", &(|p: &mut Value| drop(step(p).remove("uuid"))) as &dyn Fn(&mut Value)),
        ("/migrations/0/technique", &|p| drop(step(p).insert("technique".to_owned(), json!("hot")))),
        ("/migrations/0/outbound_bits_per_second", &|p| {
            step(p).insert("outbound_bits_per_second".to_owned(), json!(-1));
        }),
        ("/schema", &|p| p["schema"] = json!("tsmig.plan/9")),
        ("/predicted/total_seconds", &|p| p["predicted"]["total_seconds"] = json!("soon")),
    ] {
        let found = errors(&published, change);
        assert!(found.contains(wanted), "{wanted}: {found}");
    }
    let new = |p: &mut Value| drop(step(p).insert("later".to_owned(), json!(1)));
    assert_eq!(errors(&published, &new), "", "keys may be added");
    assert!(errors(&Schema::strict("plan.json"), &new).contains("'later'"), "and then the schema has to have them");
}

fn step(plan: &mut Value) -> &mut serde_json::Map<String, Value> {
    plan["migrations"][0].as_object_mut().unwrap()
}
