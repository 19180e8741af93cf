//! Saved profiles and plans: what is accepted, and that an error names the file, the key and what would be right.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tsmig::files::load;
use tsmig::obstacle::{Eligibility, Obstacle};
use tsmig::plan::{Demands, Plan, Refusal, plan};
use tsmig::profile::Both;

/// A file of its own for each test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tsmig-{}-{test}.json", std::process::id()));
        fs::write(&path, text).expect("the temporary directory is writable");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A file of these hosts.
fn file_of(hosts: &[Value]) -> String {
    json!({"schema": "tsmig.profile/2", "hosts": hosts}).to_string()
}

fn profile() -> Value {
    json!({
        "host": "host-a", "window_seconds": 10.0,
        "migration_port": {"name": "eth0", "bits_per_second": 1e8, "origin": "option"},
        "domains": [domain("o1", "u1"), domain("i1", "u2")],
    })
}

fn domain(name: &str, uuid: &str) -> Value {
    json!({
        "name": name, "uuid": uuid, "state": "running", "persistent": true, "memory_bytes": 134217728,
        "resident_bytes": 120586240, "outbound_bits_per_second": 3.0e7, "inbound_bits_per_second": 1.2e5,
        "post_copy": {"eligible": true, "reason": null},
    })
}

/// The message of the error that `text` gives; it names the file in any case.
fn error_of(test: &str, text: &str) -> String {
    let file = Scratch::new(test, text);
    let error = load::<Both>(&file.0).expect_err("it is wrong").to_string();
    assert!(error.contains(&*file.0.to_string_lossy()), "{error}");
    error
}

/// As [`error_of`], for the pair of profiles with the value at `pointer` of the source changed (`None`: removed).
fn error_with(test: &str, pointer: &str, value: Option<Value>) -> String {
    let mut source = profile();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = source.pointer_mut(parent).expect("the parent is there");
    match (parent, value) {
        (Value::Object(parent), Some(value)) => drop(parent.insert(key.to_owned(), value)),
        (Value::Object(parent), None) => drop(parent.remove(key)),
        _ => unreachable!("only keys are changed"),
    }
    error_of(test, &file_of(&[source, profile()]))
}

#[test]
fn a_lone_profile_means_an_empty_destination_with_the_same_ports() {
    let file = Scratch::new("lone", &file_of(&[profile()]));
    let Both { source, destination } = load(&file.0).expect("valid");
    assert_eq!((source.host.as_str(), source.domains.len()), ("host-a", 2));
    assert_eq!((destination.host.as_str(), destination.domains.len()), ("destination", 0));
    assert_eq!(source.migration_port, destination.migration_port);
}

#[test]
fn a_byte_order_mark_is_no_error() {
    let file = Scratch::new("mark", &format!("\u{feff}{}", file_of(&[profile()])));
    assert!(load::<Both>(&file.0).is_ok());
}

#[test]
fn unknown_keys_are_ignored_and_optional_ones_have_defaults() {
    let mut source = profile();
    source["colour"] = json!("blue");
    source["domains"][0]["colour"] = json!("red");
    let file = Scratch::new("unknown", &file_of(&[source, profile()]));
    let Both { source, .. } = load(&file.0).expect("valid");
    assert_eq!(source.domains[0].dirty_bytes_per_second, 0.0);
    assert!(source.domains[0].migration.obstacle.is_none());
}

#[test]
fn an_obstacle_is_read_as_it_is_written_and_by_hand_its_words_are_enough() {
    let snapshots = Obstacle::Snapshots { name: "o1".to_owned(), count: 2 };
    let forced = Obstacle::PostCopyForced { by: "--post-copy".to_owned(), obstacle: Box::new(Obstacle::MemoryInFile) };
    let obstacle = Obstacle::all(vec![snapshots, forced]).expect("two");
    let written = serde_json::to_value(Eligibility::no(obstacle.clone())).expect("JSON");
    assert_eq!((&written["eligible"], &written["kind"]), (&json!(false), &json!("several")));
    assert_eq!(written["obstacles"][0]["count"], json!(2));
    assert_eq!(written["obstacles"][1]["obstacle"]["reason"], json!(Obstacle::MemoryInFile.to_string()));
    let stated = |words: &str| Obstacle::Stated { words: words.to_owned() };
    for (eligibility, read) in [
        (written, Some(obstacle.clone())),
        (json!({"eligible": false, "reason": "a device"}), Some(stated("a device"))),
        (json!({"eligible": false, "kind": "unheard-of", "reason": "a device"}), Some(stated("a device"))),
        (json!({"eligible": false, "reason": ""}), Some(Obstacle::NotMigratable)),
        (json!({"eligible": false}), Some(Obstacle::NotMigratable)),
        (json!({"eligible": true, "reason": null}), None),
    ] {
        assert_eq!(serde_json::from_value::<Eligibility>(eligibility).expect("valid").obstacle, read);
    }
    assert_eq!(serde_json::to_value(Eligibility::default()).expect("JSON"), json!({"eligible": true, "reason": null}));
    let refusal = Refusal { domain: "o1".to_owned(), uuid: "u1".to_owned(), forced: None, obstacle };
    let written = serde_json::to_value(&refusal).expect("JSON");
    assert_eq!(written["reason"], json!(refusal.obstacle.to_string()));
    assert_eq!(serde_json::from_value::<Refusal>(written).expect("valid"), refusal);
}

#[test]
fn a_wrong_value_is_named_with_its_key_and_what_would_be_right() {
    for (pointer, value, key, right) in [
        (
            "/domains/0/outbound_bits_per_second",
            json!(-1.0),
            "hosts[0].domains[0].outbound_bits_per_second",
            "0 or more",
        ),
        (
            "/domains/1/inbound_bits_per_second",
            json!("fast"),
            "hosts[0].domains[1].inbound_bits_per_second",
            "bits per second",
        ),
        (
            "/domains/1/inbound_bits_per_second",
            json!(null),
            "hosts[0].domains[1].inbound_bits_per_second",
            "bits per second",
        ),
        (
            "/domains/0/dirty_bytes_per_second",
            json!(-0.5),
            "hosts[0].domains[0].dirty_bytes_per_second",
            "bytes per second",
        ),
        ("/domains/0/memory_bytes", json!(-5), "hosts[0].domains[0].memory_bytes", "bytes"),
        ("/domains/0/resident_bytes", json!(1.5), "hosts[0].domains[0].resident_bytes", "whole number"),
        ("/domains/0/state", json!("dancing"), "hosts[0].domains[0].state", "shut off"),
        ("/domains/0/name", json!(""), "hosts[0].domains[0].name", "name"),
        ("/domains/1/name", json!("o1"), "hosts[0].domains[1].name", "unique"),
        ("/domains/1/uuid", json!("u1"), "hosts[0].domains[1].uuid", "unique"),
        ("/domains/1/uuid", json!("U-1"), "hosts[0].domains[1].uuid", "taken by hosts[0].domains[0].uuid"),
        ("/domains/0/name", json!("web\u{1b}[2J"), "hosts[0].domains[0].name", "control character"),
        ("/migration_port/bits_per_second", json!(0), "hosts[0].migration_port.bits_per_second", "more than 0"),
        ("/migration_port/bits_per_second", json!(-1e9), "hosts[0].migration_port.bits_per_second", "more than 0"),
        ("/migration_port/origin", json!("guess"), "hosts[0].migration_port.origin", "detected"),
        ("/window_seconds", json!(-10), "hosts[0].window_seconds", "seconds"),
        ("/migration_port/name", json!(""), "hosts[0].migration_port.name", "port"),
        ("/domains", json!({}), "hosts[0].domains", "list"),
    ] {
        let error = error_with("wrong", pointer, Some(value));
        assert!(error.contains(&format!("{key}: ")) && error.contains(right), "{key}: {error}");
    }
}

#[test]
fn a_missing_key_is_named() {
    for key in ["host", "window_seconds", "domains", "migration_port"] {
        let error = error_with("missing", &format!("/{key}"), None);
        assert!(error.contains(&format!("hosts[0].{key}: it is missing")), "{error}");
    }
    for key in ["name", "uuid", "state", "memory_bytes", "resident_bytes", "outbound_bits_per_second", "post_copy"] {
        let error = error_with("missing", &format!("/domains/1/{key}"), None);
        assert!(error.contains(&format!("hosts[0].domains[1].{key}: it is missing")), "{error}");
    }
    let error = error_of("schema", &json!({"hosts": [profile()]}).to_string());
    assert!(error.contains("schema: it is missing"), "{error}");
}

#[test]
fn a_plan_is_made_of_one_host_or_two() {
    for hosts in [vec![], vec![profile(); 3]] {
        let error = error_of("hosts", &file_of(&hosts));
        assert!(error.contains(&format!("hosts: it has {} of them; expected a source", hosts.len())), "{error}");
    }
}

#[test]
fn a_number_that_is_none_is_named() {
    let text = file_of(&[profile(), profile()]);
    for number in ["1e999", "NaN", "Infinity"] {
        let error = error_of("number", &text.replacen("120000.0", number, 1));
        assert!(error.contains(": hosts[0].domains[0].inbound_bits_per_second: "), "{number}: {error}");
    }
}

#[test]
fn what_is_no_profile_at_all_says_what_would_be() {
    for text in ["", " \n", "not json", "[1, 2]", "{", "3", "{}", "{\"schema\": \"other/1\"}"] {
        let error = error_of("none", text);
        assert!(error.contains("tsmig profile --save") || error.contains("tsmig.profile/2"), "{text:?}: {error}");
    }
    let cut = file_of(&[profile()]);
    let error = error_of("cut", &cut[..cut.len() / 2]);
    assert!(error.contains("line 1"), "{error}");
    let error = error_of("more", &format!("{}\n}}", file_of(&[profile()])));
    assert!(error.contains("it goes on after its end") && error.contains("line 2"), "{error}");
    let error = load::<Both>("/nonexistent/profile.json".as_ref()).expect_err("no such file").to_string();
    assert!(error.starts_with("/nonexistent/profile.json: "), "{error}");
}

#[test]
fn a_saved_plan_is_read_back_as_it_was() {
    let file = Scratch::new("pair", &file_of(&[profile(), profile()]));
    let Both { source, destination } = load(&file.0).expect("valid");
    let made = plan(&source, &destination, &[], &Demands { window_limit_seconds: Some(600.0), ..Demands::default() });
    let text = serde_json::to_string_pretty(&made).expect("a plan is JSON");
    let saved = Scratch::new("plan", &text);
    assert_eq!(load::<Plan>(&saved.0).expect("valid"), made);
}

#[test]
fn a_wrong_plan_is_refused_by_its_key() {
    let file = Scratch::new("for-plan", &file_of(&[profile(), profile()]));
    let Both { source, destination } = load(&file.0).expect("valid");
    let made = serde_json::to_value(plan(&source, &destination, &[], &Demands::default())).expect("a plan is JSON");
    let change = |pointer: &str, value: Value| {
        let mut changed = made.clone();
        *changed.pointer_mut(pointer).expect("the key is there") = value;
        let saved = Scratch::new("wrong-plan", &changed.to_string());
        load::<Plan>(&saved.0).expect_err("it is wrong").to_string()
    };
    for (pointer, value, key, right) in [
        ("/schema", json!("tsmig.plan/9"), "schema", "tsmig.plan/2"),
        ("/migrations/0/technique", json!("magic"), "migrations[0].technique", "post-copy"),
        ("/migrations/0/technique", json!("offline"), "migrations[0].technique", "the same as in transfer"),
        ("/migrations/0/transfer/transport/tls", json!(true), "migrations[0].transfer.transport", "not encrypted"),
        ("/hosts", json!([]), "source", "the host's name"),
        ("/destinations", json!(["host-a", "host-c"]), "destinations", "the name of one host"),
        ("/migrations/0/destination", json!("host-c"), "migrations[0].destination", "the host's name"),
        ("/migrations/1/order", json!(7), "migrations[1].order", "1, 2, 3"),
        ("/migrations/1/concurrency", json!(0), "migrations[1].concurrency", "1 or more"),
        ("/migrations/0/concurrency", json!(-1), "migrations[0].concurrency", "1 or more"),
    ] {
        let error = change(pointer, value);
        assert!(error.contains(&format!("{key}: ")) && error.contains(right), "{key}: {error}");
    }
    let twice = made.pointer("/migrations/0/uuid").expect("two migrations").clone();
    let error = change("/migrations/1/uuid", twice);
    assert!(error.contains("migrations[1].uuid") && error.contains("migrations[0].uuid"), "{error}");
    let error = load::<Plan>(&file.0).expect_err("profiles are no plan").to_string();
    assert!(error.contains("schema: \"tsmig.profile/2\" is not known to this version"), "{error}");
}
