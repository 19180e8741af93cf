//! An evacuation by tsmig, as its events tell it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tsmig_lab::{Lab, Node};

use crate::baseline::Way;
use crate::names;
use crate::record::{Migration, Run};

const MIB: f64 = 1048576.0;

/// For how long the hosts are watched before each run.
const WINDOW: &str = "10s";

/// Proves post-copy for the guests, which are there: one of each kind moves there and back. Where one writes too much for
/// that, another does.
pub fn prove(lab: &Lab) -> Result<()> {
    let [source, destination] = names(Way::THERE);
    let mut failed = BTreeMap::new();
    loop {
        let plan = ask(lab, &["plan", source, destination, "--window", "1s", "--output", "json"])?;
        let plan: Value = serde_json::from_slice(&plan)?;
        let is_open = |step: &&Value| {
            let ground = step["ground"].as_u64().map(|place| &plan["grounds"][place as usize]);
            ground.is_some_and(|ground| ground["proven"] == false)
        };
        let steps = plan["migrations"].as_array().context("migrations")?;
        let open: Vec<&str> = steps.iter().filter(is_open).filter_map(|step| step["domain"].as_str()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let Some(&next) = open.iter().find(|&&domain| !failed.contains_key(domain)) else {
            bail!("no guest of a kind could be rehearsed: {failed:#?}");
        };
        if let Err(error) = ask(lab, &["rehearse", source, destination, next]) {
            failed.insert(next.to_owned(), error);
        }
    }
}

fn ask(lab: &Lab, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = lab.command(Node::Client, env!("CARGO_BIN_EXE_tsmig")).args(arguments).output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// Has it know nothing of the guests.
pub fn forget(lab: &Lab) -> Result<()> {
    ask(lab, &["model", "forget", "--migrations"]).map(drop)
}

/// Both hosts, as they are saved.
pub fn profile(lab: &Lab, way: Way) -> Result<Value> {
    let [source, destination] = names(way);
    let kept = lab.shared_dir().join("profile.json");
    let path = kept.to_str().context("a path")?;
    ask(lab, &["profile", source, destination, "--window", WINDOW, "--quiet", "--save", path])?;
    Ok(serde_json::from_str(&fs::read_to_string(&kept)?)?)
}

/// Evacuates, and writes down what its events tell; returns when the first domain was launched.
pub fn carry_out(lab: &Lab, way: Way, run: &mut Run) -> Result<SystemTime> {
    let [source, destination] = names(way);
    let mut command = lab.command(Node::Client, env!("CARGO_BIN_EXE_tsmig"));
    command
        .args(["evacuate", source, destination, "--window", WINDOW, "--output", "json", "--quiet"])
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut begin = None;
    for line in BufReader::new(child.stdout.take().context("piped")?).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        if event["event"] == "launch" {
            begin.get_or_insert_with(SystemTime::now);
        }
        hear(&event, run);
    }
    ensure!(child.wait()?.success(), "tsmig did not evacuate");
    begin.context("nothing was launched")
}

fn hear(event: &Value, run: &mut Run) {
    let now = event["elapsed_seconds"].as_f64().unwrap_or_default();
    let name = event["domain"].as_str().unwrap_or_default();
    let migration = run.migrations.iter_mut().rfind(|migration| migration.guest == name);
    match event["event"].as_str() {
        Some("launch") => run.migrations.push(Migration {
            guest: name.to_owned(),
            technique: serde_json::from_value(event["technique"].clone()).expect("a technique"),
            launched_seconds: now,
            ended_seconds: None,
            downtime_seconds: None,
            bytes: None,
            samples: Vec::new(),
        }),
        Some("progress") => {
            let number = |key: &str| event[key].as_f64().unwrap_or_default();
            let sample =
                (now, number("pass") as u64, tenths(number("transferred_bytes")), tenths(number("remaining_bytes")));
            migration.into_iter().for_each(|migration| migration.samples.push(sample));
        }
        Some("done") => {
            if let Some(migration) = migration {
                let has_arrived = event["outcome"] == "migrated";
                migration.ended_seconds = has_arrived.then_some(now);
                migration.bytes = event["bytes"].as_u64();
                migration.downtime_seconds = event["downtime_seconds"].as_f64();
                run.arrivals += usize::from(has_arrived);
            }
        }
        Some("forecast") => {
            let end = event["remaining_seconds"].as_f64().map(|rest| now + rest);
            run.forecasts.push((now, end));
        }
        Some("notice") => run.alarms += usize::from(event["kind"] == "arrived-in-distress"),
        Some("report") => run.predicted_seconds = event["predicted_seconds"].as_f64(),
        _ => {}
    }
}

/// In MiB, to a tenth: more would only be noise.
fn tenths(bytes: f64) -> f64 {
    (bytes / MIB * 10.0).round() / 10.0
}
