//! The README's tables of measurements are the ones that the kept raw results give.
#![allow(dead_code, reason = "the benchmarks use what the tests do not")]

#[path = "../benches/evacuations/baseline.rs"]
mod baseline;
#[path = "../benches/evacuations/results.rs"]
mod results;

#[path = "../benches/seeds/draw.rs"]
mod draw;
#[path = "../benches/seeds/record.rs"]
mod record;
#[path = "../benches/seeds/table.rs"]
mod table;

use std::path::Path;

#[test]
fn the_readme_shows_the_kept_results() {
    let kept: results::Results = serde_json::from_str(include_str!("../docs/bench/results.json")).expect("readable");
    let readme = include_str!("../README.md");
    assert_eq!(results::into_readme(readme, &kept).as_deref(), Some(readme), "run `make bench`, or put its table back");
}

#[test]
fn the_readme_shows_the_kept_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = record::whole(root, draw::REPORTED, table::TRIPS).expect("readable");
    let unseen = record::whole(root, draw::UNSEEN..=draw::UNSEEN, table::TRIPS).expect("readable");
    let readme = include_str!("../README.md");
    let shown = table::into_readme(readme, &kept, &unseen);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(root.join("README.md"), shown.expect("a table")).expect("written");
        return;
    }
    assert!(shown.as_deref() == Some(readme), "run `make bench-seeds`, or put its table back");
}

/// Nobody chose them afterwards, and another library's chance would be other guests.
#[test]
fn kept_scenarios_are_those_of_their_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for seed in draw::FITTED.chain(draw::REPORTED).chain([draw::UNSEEN]) {
        if let Some(kept) = record::read(root, seed).expect("readable") {
            assert_eq!(kept.scenario, draw::draw(seed));
        }
    }
}
