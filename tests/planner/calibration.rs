//! The model against what was measured: the kept results of `make bench`, with the profiles that the guests had.

#[path = "../../benches/evacuations/prediction.rs"]
mod prediction;
#[path = "../../benches/evacuations/results.rs"]
mod results;

use std::path::Path;
use std::{env, fs};

use results::{Results, Row};
use tsmig::plan::predict;
use tsmig::profile::Profile;
use tsmig::profile_file;

const TIME: &str = "tsmig, objective time";
const IMPACT: &str = "tsmig, objective impact";

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bench").join(name)
}

fn kept() -> Results {
    let text = fs::read_to_string(path("results.json")).expect("the kept results");
    serde_json::from_str(&text).expect("readable")
}

fn by_tsmig(row: &Row) -> bool {
    row.policy.starts_with("tsmig")
}

/// The hosts of one of virsh's runs.
fn hosts(row: &Row) -> (Profile, Profile) {
    let name = row.scenario.split(',').next().unwrap_or_default().replace(' ', "-");
    profile_file::load(&path(&format!("profiles/{name}.json"))).expect("a kept profile")
}

/// What the model says today of one of virsh's runs.
fn prediction(row: &Row) -> Option<f64> {
    let (source, destination) = hosts(row);
    prediction::seconds(&row.policy, &source, &destination)
}

#[test]
fn the_kept_predictions_are_those_of_the_model() {
    let mut results = kept();
    let update = env::var_os("UPDATE_GENERATED").is_some();
    for row in results.rows.iter_mut().filter(|row| !by_tsmig(row)) {
        let today = prediction(row);
        let same = match (today, row.predicted_seconds()) {
            (Some(today), Some(kept)) => (today - kept).abs() < 0.01,
            (today, kept) => today == kept,
        };
        assert!(same || update, "{} / {}: {today:?}; run `make docs`", row.scenario, row.policy);
        row.runs.iter_mut().for_each(|run| run.predicted_seconds = today);
    }
    if update {
        fs::write(path("results.json"), serde_json::to_string_pretty(&results).expect("JSON") + "\n").expect("written");
        let readme = path("../../README.md");
        let text = fs::read_to_string(&readme).expect("the README");
        fs::write(&readme, results::into_readme(&text, &results).expect("a table")).expect("written");
    }
}

#[test]
fn predicted_times_are_close_to_the_measured() {
    let rows = kept().rows;
    for row in &rows {
        let ends = (row.predicted_seconds().is_some(), row.total_seconds().is_some());
        assert_eq!(ends.0, ends.1, "{} / {}: whether it ends", row.scenario, row.policy);
        assert!(row.error().is_none_or(|error| error.abs() <= 0.15), "{} / {}", row.scenario, row.policy);
    }
    let errors: Vec<f64> = rows.iter().filter_map(Row::error).map(f64::abs).collect();
    assert!(errors.iter().sum::<f64>() / errors.len() as f64 <= 0.05, "{errors:?}");
}

#[test]
fn predicted_losses_rank_the_policies_as_measured() {
    let rows: Vec<Row> =
        kept().rows.into_iter().filter(|row| !by_tsmig(row) && row.total_seconds().is_some()).collect();
    let predicted = |row: &Row| {
        let (source, destination) = hosts(row);
        prediction::totals(&row.policy, &source, &destination).lost_bits
    };
    for (a, b) in rows.iter().flat_map(|a| rows.iter().map(move |b| (a, b))).filter(|(a, b)| a.scenario == b.scenario) {
        // Where any run of one differs by half from any of the other, the model must know which is the better.
        let most = a.runs.iter().map(|run| run.lost_bits).fold(0.0, f64::max);
        let least = b.runs.iter().map(|run| run.lost_bits).fold(f64::INFINITY, f64::min);
        if most * 1.5 < least
            && let (Some(less), Some(more)) = (predicted(a), predicted(b))
        {
            assert!(less < more, "{}: {} before {}, {less} {more}", a.scenario, a.policy, b.policy);
        }
    }
}

#[test]
fn tsmigs_plan_beats_what_virsh_does_alone() {
    let rows = kept().rows;
    for row in rows.iter().filter(|row| row.policy == TIME) {
        let others = rows.iter().filter(|other| other.scenario == row.scenario && !by_tsmig(other));
        let best = others.filter_map(Row::total_seconds).fold(f64::INFINITY, f64::min);
        let total = row.total_seconds().expect("tsmig's plan ends");
        assert!(total <= best * 1.05, "{}: {total} s against {best} s", row.scenario);
    }
}

#[test]
fn a_balanced_host_is_emptied_half_as_fast_again_as_one_by_one_and_gently_where_asked() {
    let rows = kept().rows;
    let row = |policy: &str| rows.iter().find(|row| row.scenario == "balanced" && row.policy == policy).expect("a row");
    let seconds = |policy: &str| row(policy).total_seconds().expect("it ends");
    assert!(seconds("pre-copy one by one") >= 1.5 * seconds(TIME));
    assert!(seconds(IMPACT) <= 1.4 * seconds(TIME));
    assert!(row(IMPACT).lost_bits() <= 450e6);
}

#[test]
fn no_guest_was_harmed() {
    assert!(kept().rows.iter().flat_map(|row| &row.runs).all(|run| run.intact));
}

#[test]
fn pre_copy_for_all_at_once_is_predicted_not_to_converge() {
    let (source, destination) = crate::support::balanced();
    let all = [0, 1, 2, 3].map(|domain| tsmig::plan::Move {
        domain,
        technique: tsmig::plan::Technique::PreCopy,
        concurrency: 4,
    });
    assert_eq!(predict(&source, &destination, &all, None).0.total_seconds, None);
}
