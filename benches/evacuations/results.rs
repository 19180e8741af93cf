//! What was measured, as data and as a table. A test uses this to hold the README to the kept results.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All runs of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Capacity of the lab's links, each way.
    pub link_bits_per_second: f64,
    pub rows: Vec<Row>,
}

/// One policy in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub scenario: String,
    pub policy: String,
    /// What must cross the wire in this scenario, each page once.
    pub bytes_to_cross: Option<u64>,
    /// Equal runs, each on fresh guests.
    pub runs: Vec<Run>,
}

/// One run of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// `None`: it did not finish.
    pub total_seconds: Option<f64>,
    /// `None`: predicted not to finish.
    pub predicted_seconds: Option<f64>,
    /// What the applications did not get through meanwhile.
    pub lost_bits: f64,
    /// By guest, where libvirt tells it.
    pub downtime_seconds: BTreeMap<String, Option<f64>>,
    /// Whether every guest's heartbeat and traffic lived through it.
    pub intact: bool,
}

impl Row {
    /// Mean time of the runs; `None` where one did not finish.
    pub fn total_seconds(&self) -> Option<f64> {
        self.mean(|run| run.total_seconds)
    }

    /// Mean of what was predicted; `None` where a run was predicted not to finish.
    pub fn predicted_seconds(&self) -> Option<f64> {
        self.mean(|run| run.predicted_seconds)
    }

    /// Mean of the traffic lost, in bits.
    pub fn lost_bits(&self) -> f64 {
        self.mean(|run| Some(run.lost_bits)).unwrap_or_default()
    }

    /// The times of the fastest and the slowest run; `None` where there are no two.
    pub fn range(&self) -> Option<(f64, f64)> {
        let times = || self.runs.iter().filter_map(|run| run.total_seconds);
        (times().count() > 1).then(|| (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max)))
    }

    /// Relative error of the prediction; `None` where there is nothing to compare.
    pub fn error(&self) -> Option<f64> {
        Some(self.predicted_seconds()? / self.total_seconds()? - 1.0)
    }

    fn mean(&self, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        let sum: f64 = self.runs.iter().map(value).sum::<Option<f64>>()?;
        Some(sum / self.runs.len() as f64)
    }
}

const BEGIN: &str = "<!-- bench: begin -->\n";
const END: &str = "<!-- bench: end -->";

/// The text with the table between its marks replaced; `None` where there are no marks.
pub fn into_readme(text: &str, results: &Results) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}{END}{after}", table(results)))
}

/// All results as a Markdown table.
pub fn table(results: &Results) -> String {
    let mut text = "| scenario | policy | total | predicted | error | lost | longest downtime |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut scenario = "";
    for row in &results.rows {
        if row.scenario != scenario {
            scenario = &row.scenario;
            let wire = row.bytes_to_cross.map_or_else(String::new, |bytes| {
                format!(", the wire alone needs {:.1} s", bytes as f64 * 8.0 / results.link_bits_per_second)
            });
            text += &format!("| **{scenario}**{wire} | | | | | | |\n");
        }
        text += &line(row);
        text += "\n";
    }
    text
}

/// One row of the table.
pub fn line(row: &Row) -> String {
    let seconds = |seconds: Option<f64>, none: &str| seconds.map_or_else(|| none.to_owned(), |s| format!("{s:.1} s"));
    let range = row.range().map_or_else(String::new, |(least, most)| format!(" ({least:.1}-{most:.1})"));
    let longest = row.runs.iter().flat_map(|run| run.downtime_seconds.values()).flatten().copied().reduce(f64::max);
    format!(
        "| | {}{} | {}{range} | {} | {} | {:.0} Mbit | {} |",
        row.policy,
        if row.runs.iter().all(|run| run.intact) { "" } else { " (A GUEST WAS HARMED)" },
        seconds(row.total_seconds(), "does not finish"),
        seconds(row.predicted_seconds(), "may not end"),
        row.error().map_or_else(|| "-".to_owned(), |error| format!("{:+.0} %", error * 100.0)),
        row.lost_bits() / 1e6,
        longest.map_or_else(|| "-".to_owned(), |s| format!("{s:.2} s")),
    )
}
