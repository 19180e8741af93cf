//! The README's table of measurements is the one that the kept raw results give.

#[path = "../benches/evacuations/results.rs"]
mod results;

#[test]
fn the_readme_shows_the_kept_results() {
    let kept: results::Results = serde_json::from_str(include_str!("../docs/bench/results.json")).expect("readable");
    let readme = include_str!("../README.md");
    assert_eq!(results::into_readme(readme, &kept).as_deref(), Some(readme), "run `make bench`, or put its table back");
}
