//! What is kept of each run: enough to hold any later model against it without a lab. One file of JSON lines for each seed, its
//! scenario first.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tsmig::domain::Technique;

use crate::draw::Scenario;

/// One run of a policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    pub policy: String,
    /// How often these guests had been evacuated before, whoever did it. They come back by the same hosts' ways.
    pub trips: usize,
    /// Seconds from the command to the last verdict, the watching before the first launch included; `None` if it did not end.
    pub command_seconds: Option<f64>,
    /// Seconds from the first launch to the last verdict.
    pub total_seconds: Option<f64>,
    /// By the plan, if there was one that was predicted to end.
    pub predicted_seconds: Option<f64>,
    /// What the applications did not get through from the first launch on, in bits.
    pub lost_bits: f64,
    /// Whether every guest's heartbeat and traffic lived through it.
    pub intact: bool,
    /// Guests that arrived, and were watched afterwards.
    pub arrivals: usize,
    /// Of those, how many were said to be in distress. None was.
    pub alarms: usize,
    pub migrations: Vec<Migration>,
    /// What was foretold on the way: when, and that it would end when. Seconds from the first launch.
    pub forecasts: Vec<(f64, Option<f64>)>,
    /// Both hosts before it, as `tsmig profile --save` has them; by tsmig only.
    pub profile: Option<Value>,
    /// Seconds between two entries of `traffic`.
    pub traffic_interval_seconds: f64,
    /// What got through from the first launch on: kilobytes that each guest sent, and received, interval after interval.
    pub traffic: BTreeMap<String, Vec<(u64, u64)>>,
}

/// One migration of a run. Times are in seconds from the first launch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Migration {
    pub guest: String,
    pub technique: Technique,
    pub launched_seconds: f64,
    pub ended_seconds: Option<f64>,
    pub downtime_seconds: Option<f64>,
    /// All that crossed; by tsmig only.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Its job's statistics: when, which pass, and MiB that had crossed and that were left. By tsmig only.
    pub samples: Vec<(f64, u64, f64, f64)>,
}

/// All that is kept of a seed.
#[derive(Debug, Clone)]
pub struct Kept {
    pub scenario: Scenario,
    pub runs: Vec<Run>,
}

/// Where the results of a seed are, from the project's top.
pub fn path(root: &Path, seed: u64) -> PathBuf {
    root.join(format!("docs/bench/seeds/{seed}.jsonl"))
}

/// Reads what is kept of a seed; `None` if nothing is.
pub fn read(root: &Path, seed: u64) -> Result<Option<Kept>> {
    let path = path(root, seed);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path)?;
    let mut lines = text.lines();
    let scenario = serde_json::from_str(lines.next().context("no scenario")?)?;
    let runs = lines.map(serde_json::from_str).collect::<Result<_, _>>().with_context(|| format!("{path:?}"))?;
    Ok(Some(Kept { scenario, runs }))
}

/// Adds a run to what is kept.
pub fn add(root: &Path, scenario: &Scenario, run: &Run) -> Result<()> {
    let path = path(root, scenario.seed);
    fs::create_dir_all(path.parent().context("a directory")?)?;
    let is_new = !path.exists();
    let mut file = File::options().append(true).create(true).open(&path)?;
    if is_new {
        writeln!(file, "{}", serde_json::to_string(scenario)?)?;
    }
    Ok(writeln!(file, "{}", serde_json::to_string(run)?)?)
}

/// What is kept of these seeds, in whole sets of so many runs: one that was cut short does not count.
pub fn whole(root: &Path, seeds: impl Iterator<Item = u64>, runs: usize) -> Result<Vec<Kept>> {
    let mut all: Vec<Kept> = seeds.filter_map(|seed| read(root, seed).transpose()).collect::<Result<_>>()?;
    all.iter_mut().for_each(|kept| kept.runs.truncate(kept.runs.len() / runs * runs));
    all.retain(|kept| !kept.runs.is_empty());
    Ok(all)
}

/// How many whole sets of so many runs are kept of a seed. What is left of one that was cut short is removed.
pub fn whole_sets(root: &Path, seed: u64, runs: usize) -> Result<usize> {
    let Some(kept) = read(root, seed)? else { return Ok(0) };
    let sets = kept.runs.len() / runs;
    fs::remove_file(path(root, seed))?;
    kept.runs[..sets * runs].iter().try_for_each(|run| add(root, &kept.scenario, run))?;
    Ok(sets)
}
