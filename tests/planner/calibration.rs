//! The model against what was measured: the table of `docs/model.md` is true, and its errors are small.

use std::fmt::Write;

use crate::support::{balanced, domain, host};
use tsmig::plan::{Move, Technique, Totals, predict};
use tsmig::profile::Profile;

/// A measured run: its policy as techniques and concurrency in launch order, seconds, and Mbit lost.
struct Run {
    policy: &'static str,
    hosts: fn() -> (Profile, Profile),
    moves: [(Technique, usize); 4],
    measured: Option<(f64, f64)>,
}

fn mostly_senders() -> (Profile, Profile) {
    let senders = [("o1", 25.0), ("o2", 25.0), ("o3", 20.0)];
    let mut domains: Vec<_> = senders.into_iter().map(|(name, rate)| domain(name, rate, 0.0)).collect();
    domains.push(domain("i1", 0.0, 15.0));
    (host("host-a", 100.0, domains), host("host-b", 100.0, vec![]))
}

/// All runs that were measured with libvirt 11.3 and QEMU 10.0: guests of 115 MiB on links of 100 Mbit/s. The
/// domains are launched in the order of their profile, senders first.
fn runs() -> Vec<Run> {
    use Technique::{PostCopy as Post, PreCopy as Pre};
    let run = |policy, hosts, moves, measured| Run { policy, hosts, moves, measured };
    vec![
        run("balanced: pre-copy for all, all at once", balanced, [(Pre, 4); 4], None),
        run("balanced: pre-copy for all, two at a time", balanced, [(Pre, 2); 4], Some((69.8, 326.0))),
        run("balanced: pre-copy for all, one by one", balanced, [(Pre, 1); 4], Some((67.6, 60.0))),
        run("balanced: post-copy for all, all at once", balanced, [(Post, 4); 4], Some((46.7, 3025.0))),
        run(
            "balanced: the wrong mix, all at once",
            balanced,
            [(Pre, 4), (Pre, 4), (Post, 4), (Post, 4)],
            Some((80.3, 4389.0)),
        ),
        run(
            "balanced: the right mix, all at once",
            balanced,
            [(Post, 4), (Post, 4), (Pre, 4), (Pre, 4)],
            Some((40.1, 892.0)),
        ),
        run(
            "balanced: the right mix, post-copies together, then each pre-copy",
            balanced,
            [(Post, 2), (Post, 2), (Pre, 1), (Pre, 1)],
            Some((47.3, 634.0)),
        ),
        run(
            "balanced: the right mix, one by one",
            balanced,
            [(Post, 1), (Post, 1), (Pre, 1), (Pre, 1)],
            Some((52.4, 387.0)),
        ),
        run(
            "mostly senders: the right mix, all at once",
            mostly_senders,
            [(Post, 4), (Post, 4), (Post, 4), (Pre, 4)],
            Some((39.1, 1056.0)),
        ),
        run(
            "mostly senders: post-copies together, then the pre-copy",
            mostly_senders,
            [(Post, 3), (Post, 3), (Post, 3), (Pre, 1)],
            Some((40.2, 797.0)),
        ),
        run("mostly senders: pre-copy for all, one by one", mostly_senders, [(Pre, 1); 4], Some((79.5, 21.0))),
    ]
}

fn prediction(run: &Run) -> Totals {
    let (source, destination) = (run.hosts)();
    let moves: Vec<Move> = (0..)
        .zip(run.moves)
        .map(|(domain, (technique, concurrency))| Move { domain, technique, concurrency })
        .collect();
    predict(&source, &destination, &moves, None).0
}

/// Relative error of the predicted time; `None` where neither ends.
fn error(run: &Run) -> Option<f64> {
    match (prediction(run).total_seconds, run.measured) {
        (Some(predicted), Some((measured, _))) => Some(predicted / measured - 1.0),
        (None, None) => None,
        (predicted, measured) => panic!("{}: {predicted:?} predicted, {measured:?} measured", run.policy),
    }
}

#[test]
fn predicted_times_are_close_to_the_measured() {
    let runs = runs();
    let errors: Vec<f64> = runs.iter().filter_map(error).map(f64::abs).collect();
    assert_eq!(errors.len(), runs.len() - 1, "only pre-copy for all at once does not end");
    assert!(errors.iter().all(|error| *error <= 0.15), "{errors:?}");
    assert!(errors.iter().sum::<f64>() / errors.len() as f64 <= 0.05, "{errors:?}");
}

#[test]
fn predicted_losses_rank_the_policies_as_measured() {
    let runs = runs();
    let lost: Vec<(f64, f64)> =
        runs.iter().filter_map(|run| Some((prediction(run).lost_bits? / 1e6, run.measured?.1))).collect();
    for (predicted, measured) in &lost {
        assert!((predicted - measured).abs() <= 0.2 * measured.max(100.0), "{predicted} against {measured}");
        for (other_predicted, other_measured) in &lost {
            // Where two differ by half, the model must know which is the better.
            assert!(!(measured * 1.5 < *other_measured && predicted >= other_predicted));
        }
    }
}

#[test]
fn the_documented_table_is_true() {
    let mut table = String::from(
        "| Run | Measured, s | Predicted, s | Error | Lost, measured, Mbit | Lost, predicted, Mbit |\n|---|---|---|---|---|---|\n",
    );
    for run in runs() {
        let totals = prediction(&run);
        let row = match (run.measured, totals.total_seconds, totals.lost_bits, error(&run)) {
            (Some((seconds, lost)), Some(total), Some(bits), Some(error)) => {
                format!("{seconds:.1} | {total:.1} | {:+.1} % | {lost:.0} | {:.0}", error * 100.0, bits / 1e6)
            }
            _ => "did not end | does not end | | |".to_owned(),
        };
        writeln!(table, "| {} | {row} |", run.policy).expect("a string takes all");
    }
    let documented = include_str!("../../docs/model.md");
    assert!(documented.contains(&table), "docs/model.md should have this table:\n{table}");
}
