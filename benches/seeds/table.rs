//! The kept runs as a Markdown table, with what they come to together.

use std::fmt::Write;

use tsmig::plan::{SPREAD_ASSUMED, SPREAD_KNOWN};

use crate::baseline::TIME_LIMIT;
use crate::record::{Kept, Run};

const BEGIN: &str = "<!-- seeds: begin -->\n";
const END: &str = "<!-- seeds: end -->";

/// By tsmig, as its rows are called.
pub const TSMIG: &str = "tsmig";

/// Evacuations of one set of guests.
pub const TRIPS: usize = 5;

/// tsmig's trips, by what it knows: nothing, and how the guests went there and back.
const NEW: usize = 0;
const KNOWN: usize = 2;

/// By what part of the whole time the end may be foretold wrong once a quarter has crossed.
const ETA: f64 = 0.10;

/// The text with the table between its marks replaced; `None` where there are no marks. `unseen` is the host that was not drawn.
pub fn into_readme(text: &str, kept: &[Kept], unseen: &[Kept]) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}{}{END}{after}", table(kept), of_unseen(unseen)))
}

/// All seeds, and what they come to.
fn table(kept: &[Kept]) -> String {
    let mut text = "| seed | link | guests | tsmig, new guests | tsmig, after there and back | the paper's rule | four pre-copies at once | lost: tsmig, the paper's rule |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for kept in kept {
        let plain = plain(kept);
        let cells = [
            kept.scenario.seed.to_string(),
            kept.scenario.link.to_string(),
            kept.scenario.guests.len().to_string(),
            predicted(&tsmig(kept, NEW)),
            predicted(&tsmig(kept, KNOWN)),
            plain.first().map_or_else(|| "-".to_owned(), |(runs, _)| seconds(median(totals(runs, f64::INFINITY)))),
            plain.get(1).map_or_else(|| "-".to_owned(), |(runs, _)| seconds(median(totals(runs, f64::INFINITY)))),
            format!(
                "{:.0}, {:.0} Mbit",
                lost(&tsmig(kept, KNOWN)),
                plain.first().map_or(f64::NAN, |(runs, _)| lost(runs))
            ),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text + "\n" + &summary(kept)
}

/// What comes of a guest that writes what a profile can't show: each of tsmig's trips, since the first knows nothing of it.
fn of_unseen(kept: &[Kept]) -> String {
    let line = |kept: &Kept| {
        let trips: Vec<String> =
            (NEW..=KNOWN).map(|trips| seconds(median(totals(&tsmig(kept, trips), f64::INFINITY)))).collect();
        format!(
            "- Not drawn, but chosen: {} guests, one of which writes 5 MiB/s, too little for a profile to show, and sends 5 Mbit/s, so \
             that the paper's rule moves it by post-copy. tsmig took {} on its three trips, the faster plain policy {}.\n",
            kept.scenario.guests.len(),
            trips.join(", "),
            seconds(best_plain(kept, f64::INFINITY)),
        )
    };
    kept.iter().map(line).collect()
}

/// What all seeds come to.
fn summary(kept: &[Kept]) -> String {
    let mut lines = Vec::new();
    for (trips, range, what) in
        [(NEW, SPREAD_ASSUMED, "new guests"), (KNOWN, SPREAD_KNOWN, "guests that went there and back")]
    {
        let of_seeds = kept.iter().map(|kept| tsmig(kept, trips).into_iter().filter_map(error).collect());
        let of_seeds: Vec<Vec<f64>> = of_seeds.collect();
        let most = |errors: &[f64]| errors.iter().map(|error| error.abs()).fold(0.0, f64::max);
        let middles: Vec<f64> = of_seeds.iter().filter_map(|errors| median(errors.clone())).collect();
        let errors = of_seeds.concat();
        if errors.is_empty() {
            continue;
        }
        let mean = errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len() as f64;
        // The measured is in the range around the predicted.
        let within = errors.iter().filter(|error| ((1.0 / (1.0 + **error)) - 1.0).abs() <= range).count();
        lines.push(format!(
            "Predicted, {what}: off by {:.1} % on average, {:.1} % at most, and {:.1} % at most in the median of a seed; {within} \
             of {} within the range.",
            100.0 * mean,
            100.0 * most(&errors),
            100.0 * most(&middles),
            errors.len()
        ));
    }
    let etas: Vec<f64> = kept.iter().flat_map(|kept| &kept.runs).filter_map(eta_error).collect();
    let good = etas.iter().filter(|error| **error <= ETA).count();
    lines.push(format!(
        "When a quarter had crossed, the end was foretold within 10 % in {good} of {} runs.",
        etas.len()
    ));
    for (trips, what) in [(NEW, "new guests"), (KNOWN, "guests that went there and back")] {
        let ratios: Vec<f64> = kept.iter().filter_map(|kept| ratio(kept, trips, f64::INFINITY)).collect();
        if ratios.is_empty() {
            continue;
        }
        let mean = geometric_mean(&ratios);
        let (least, most) =
            (ratios.iter().copied().fold(f64::INFINITY, f64::min), ratios.iter().copied().fold(0.0, f64::max));
        lines.push(format!(
            "Against the faster of the two plain policies, {what}: {mean:.2} of the time in the geometric mean ({least:.2} to \
             {most:.2}).",
        ));
    }
    let endless = |kept: &&Kept| best_plain(kept, f64::INFINITY).is_some_and(f64::is_infinite);
    let only_we = |kept: &&Kept| endless(kept) && ends(&tsmig(kept, KNOWN));
    let more = kept.iter().filter(only_we).count();
    if more > 0 {
        let seeds = if more == 1 { "1 more seed" } else { &format!("{more} more seeds") };
        let limit = TIME_LIMIT.as_secs_f64();
        let ratios: Vec<f64> = kept.iter().filter_map(|kept| ratio(kept, KNOWN, limit)).collect();
        lines.push(format!(
            "On {seeds} neither of the two ended in the median of its runs, and tsmig did. If what was cancelled after {limit} s counts as {limit} s, the geometric \
             mean over all {}, of guests that went there and back, is {:.2}.",
            ratios.len(),
            geometric_mean(&ratios),
        ));
    }
    // What does not end loses over another time.
    let both: Vec<[f64; 2]> = kept.iter().filter_map(losses).collect();
    if !both.is_empty() {
        let sum = |of: usize| both.iter().map(|lost| lost[of]).sum::<f64>();
        lines.push(format!(
            "Of the traffic that the paper's rule lost where it ended, tsmig lost {:.0} % once it knew the guests, {:.0} instead of \
             {:.0} Mbit.",
            100.0 * sum(0) / sum(1),
            sum(0),
            sum(1)
        ));
    }
    let watching: Vec<f64> =
        kept.iter().flat_map(|kept| &kept.runs).filter(|run| run.policy == TSMIG).filter_map(before_launch).collect();
    if let Some(middle) = median(watching.clone()) {
        let most = watching.iter().copied().fold(0.0, f64::max);
        lines.push(format!(
            "From the command to the first launch tsmig took {middle:.1} s in the median, {most:.1} s at most. The plain policies are \
             told who sends, and need not watch.",
        ));
    }
    let runs = || kept.iter().flat_map(|kept| &kept.runs);
    lines.push(format!(
        "{} domains arrived by tsmig and were watched afterwards; {} false alarms. {}",
        runs().map(|run| run.arrivals).sum::<usize>(),
        runs().map(|run| run.alarms).sum::<usize>(),
        if runs().all(|run| run.intact) { "No guest was harmed." } else { "A GUEST WAS HARMED." },
    ));
    lines.iter().map(|line| format!("- {line}\n")).collect()
}

fn tsmig(kept: &Kept, trips: usize) -> Vec<&Run> {
    kept.runs.iter().filter(|run| run.policy == TSMIG && run.trips == trips).collect()
}

/// The runs of each policy but tsmig's, in the order in which they were run.
fn plain(kept: &Kept) -> Vec<(Vec<&Run>, &str)> {
    let mut policies: Vec<(Vec<&Run>, &str)> = Vec::new();
    for run in kept.runs.iter().filter(|run| run.policy != TSMIG) {
        match policies.iter_mut().find(|(_, name)| *name == run.policy) {
            Some((runs, _)) => runs.push(run),
            None => policies.push((vec![run], &run.policy)),
        }
    }
    policies
}

/// tsmig's time after so many trips, divided by that of the fastest plain policy. A run without an end counts as `endless` seconds.
fn ratio(kept: &Kept, trips: usize, endless: f64) -> Option<f64> {
    let ours = median(totals(&tsmig(kept, trips), endless))?;
    Some(ours / best_plain(kept, endless)?).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
}

fn geometric_mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

/// How long the fastest plain policy took, in seconds; one that did not end counts as `endless`.
fn best_plain(kept: &Kept, endless: f64) -> Option<f64> {
    plain(kept).iter().filter_map(|(runs, _)| median(totals(runs, endless))).reduce(f64::min)
}

/// What was lost by tsmig and by the paper's rule, in Mbit, if both ended.
fn losses(kept: &Kept) -> Option<[f64; 2]> {
    let (by_rule, ours) = (plain(kept).into_iter().next()?.0, tsmig(kept, KNOWN));
    (ends(&ours) && ends(&by_rule)).then(|| [lost(&ours), lost(&by_rule)])
}

/// Whether it ends, in the median.
fn ends(runs: &[&Run]) -> bool {
    median(totals(runs, f64::INFINITY)).is_some_and(f64::is_finite)
}

/// Seconds from the command to the first launch.
fn before_launch(run: &Run) -> Option<f64> {
    Some(run.command_seconds? - run.total_seconds?)
}

/// What each run took in seconds; one that did not end counts as `endless`.
fn totals(runs: &[&Run], endless: f64) -> Vec<f64> {
    runs.iter().map(|run| run.total_seconds.unwrap_or(endless)).collect()
}

fn lost(runs: &[&Run]) -> f64 {
    median(runs.iter().map(|run| run.lost_bits / 1e6).collect()).unwrap_or(f64::NAN)
}

fn error(run: &Run) -> Option<f64> {
    Some(run.predicted_seconds? / run.total_seconds? - 1.0)
}

/// By what part of the total the forecast was off that was made when a quarter of all bytes had crossed.
fn eta_error(run: &Run) -> Option<f64> {
    let total = run.total_seconds?;
    let crossed = |at: f64| -> f64 {
        let of = |migration: &crate::record::Migration| {
            let until = migration.samples.iter().take_while(|(when, ..)| *when <= at);
            until.last().map_or(0.0, |(_, _, transferred, _)| *transferred)
        };
        run.migrations.iter().map(of).sum()
    };
    let all = crossed(f64::INFINITY);
    let (_, end) = run.forecasts.iter().find(|(at, _)| crossed(*at) >= all / 4.0)?;
    Some(end.map_or(f64::INFINITY, |end| (end / total - 1.0).abs()))
}

fn predicted(runs: &[&Run]) -> String {
    let error = median(runs.iter().filter_map(|run| error(run)).collect());
    // Not `-0`.
    let percent = |error: f64| (100.0 * error).round() + 0.0;
    let error = error.map_or_else(String::new, |error| format!(" (predicted {:+.0} %)", percent(error)));
    seconds(median(totals(runs, f64::INFINITY))) + &error
}

fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        Some(seconds) if seconds.is_finite() => format!("{seconds:.1} s"),
        Some(_) => "does not end".to_owned(),
        None => "-".to_owned(),
    }
}

/// The value in the middle; of an even number, the mean of the two there.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (upper, lower) = (values.len() / 2, values.len().saturating_sub(1) / 2);
    Some((values.get(lower)? + values.get(upper)?) / 2.0)
}
