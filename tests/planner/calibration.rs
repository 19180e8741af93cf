//! The model against what was measured: the kept results of `make bench`, with the profiles that the guests had.

#[path = "../../benches/evacuations/prediction.rs"]
mod prediction;
#[path = "../../benches/evacuations/results.rs"]
mod results;

use std::path::Path;
use std::{env, fs};

use results::{Results, Row};
use tsmig::files;
use tsmig::plan::predict;
use tsmig::profile::{Both, Profile};

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

/// The hosts of a row, as they were profiled before its scenario was measured.
fn hosts(row: &Row) -> (Profile, Profile) {
    let name = row.scenario.split(',').next().unwrap_or_default().replace(' ', "-");
    let Both { source, destination } = files::load(&path(&format!("profiles/{name}.json"))).expect("a kept profile");
    (source, destination)
}

/// Seconds that today's model says of a row: of virsh's schedule, or of the plan that today's planner makes.
fn prediction(row: &Row) -> Option<f64> {
    let (source, destination) = hosts(row);
    prediction::seconds(&row.policy, &source, &destination)
}

/// Bits that today's model says are lost.
fn predicted_loss(row: &Row) -> Option<f64> {
    let (source, destination) = hosts(row);
    prediction::totals(&row.policy, &source, &destination).lost_bits
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
        assert!(
            same || update,
            "{} / {}: {today:?}; run `UPDATE_GENERATED=1 cargo test --test planner`",
            row.scenario,
            row.policy
        );
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
fn tsmigs_plans_are_predicted_as_when_they_were_measured() {
    for row in kept().rows.iter().filter(|row| by_tsmig(row)) {
        let (today, kept) = (prediction(row).expect("it ends"), row.predicted_seconds().expect("it ended"));
        // Each run was planned from a profile of its own, and by the planner of its day: one post-copy of "mostly
        // receivers" under the objective impact is not worth it any more, which makes 2.7 %.
        let same = (today / kept - 1.0).abs() < 0.04;
        assert!(same, "{} / {}: {today} s, not {kept} s: measure again", row.scenario, row.policy);
    }
}

#[test]
fn predicted_times_are_close_to_the_measured() {
    let mut errors = Vec::new();
    for row in kept().rows {
        let (predicted, measured) = (prediction(&row), row.total_seconds());
        assert_eq!(predicted.is_some(), measured.is_some(), "{} / {}: whether it ends", row.scenario, row.policy);
        if let (Some(predicted), Some(measured)) = (predicted, measured) {
            let error = (predicted / measured - 1.0).abs();
            assert!(error <= 0.15, "{} / {}: {predicted} s for {measured} s", row.scenario, row.policy);
            errors.push(error);
        }
    }
    assert!(errors.iter().sum::<f64>() / errors.len() as f64 <= 0.05, "{errors:?}");
    // A post-copy has to gain more than the model errs by (`docs/model.md`).
    assert!(errors.iter().all(|error| *error < crate::support::LEAST_GAIN), "{errors:?}");
}

#[test]
fn predicted_losses_rank_the_policies_as_measured() {
    let rows: Vec<Row> = kept().rows.into_iter().filter(|row| row.total_seconds().is_some()).collect();
    for (a, b) in rows.iter().flat_map(|a| rows.iter().map(move |b| (a, b))).filter(|(a, b)| a.scenario == b.scenario) {
        // Where any run of one differs by half from any of the other, the model must know which is the better.
        let most = a.runs.iter().map(|run| run.lost_bits).fold(0.0, f64::max);
        let least = b.runs.iter().map(|run| run.lost_bits).fold(f64::INFINITY, f64::min);
        if let (true, Some(less), Some(more)) = (most * 1.5 < least, predicted_loss(a), predicted_loss(b)) {
            assert!(less < more, "{}: {} before {}, {less} {more}", a.scenario, a.policy, b.policy);
        }
    }
}

#[test]
fn tsmigs_plan_beats_what_virsh_does_alone() {
    let rows = kept().rows;
    for row in rows.iter().filter(|row| row.policy == TIME) {
        let others = || rows.iter().filter(|other| other.scenario == row.scenario && !by_tsmig(other));
        let check = |total: f64, best: f64| assert!(total <= best * 1.05, "{}: {total} s, {best} s", row.scenario);
        let best = others().filter_map(Row::total_seconds).fold(f64::INFINITY, f64::min);
        check(row.total_seconds().expect("tsmig's plan ends"), best);
        check(
            prediction(row).expect("tsmig's plan ends"),
            others().filter_map(prediction).fold(f64::INFINITY, f64::min),
        );
    }
}

#[test]
fn a_balanced_host_is_emptied_half_as_fast_again_as_one_by_one_and_gently_where_asked() {
    let rows = kept().rows;
    let row = |policy: &str| rows.iter().find(|row| row.scenario == "balanced" && row.policy == policy).expect("a row");
    for seconds in [Row::total_seconds, prediction as fn(&Row) -> Option<f64>] {
        let seconds = |policy: &str| seconds(row(policy)).expect("it ends");
        assert!(seconds("pre-copy one by one") >= 1.5 * seconds(TIME));
        assert!(seconds(IMPACT) <= 1.4 * seconds(TIME));
    }
    for lost in [row(IMPACT).lost_bits(), predicted_loss(row(IMPACT)).expect("it ends")] {
        assert!(lost <= 450e6, "{lost}");
    }
}

/// The kept results are of guests that lived through it; this holds the file, whoever measures anew.
#[test]
fn no_guest_was_harmed() {
    assert!(kept().rows.iter().flat_map(|row| &row.runs).all(|run| run.intact));
}

/// The border of convergence, where the model can't tell: measured, it ended after 82, 105 and 120 s.
#[test]
fn no_end_is_predicted_for_pre_copy_for_all_at_once() {
    let (source, destination) = crate::support::balanced();
    let all = [0, 1, 2, 3].map(|domain| tsmig::plan::Move {
        domain,
        technique: tsmig::domain::Technique::PreCopy,
        concurrency: 4,
    });
    assert_eq!(predict(&source, &destination, &all, None).0.total_seconds, None);
}
