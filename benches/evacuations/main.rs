//! What an evacuation takes and costs, measured: tsmig's plans beside what virsh alone can do, on the lab.
//!
//! `make bench` runs every policy three times in every scenario, each time on fresh guests, checks each guest's
//! heartbeat and traffic before and after, and keeps the raw results as JSON beside the table and the picture that are
//! made from them. An argument narrows it to the scenarios whose name contains it; the results of the others are kept.
#![allow(clippy::print_stderr, reason = "a benchmark talks to who runs it")]

#[allow(dead_code, reason = "the other benchmark runs what this one does not")]
mod baseline;
mod picture;
mod prediction;
mod results;
mod scenario;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tsmig::domain::Technique;
use tsmig::files;
use tsmig::profile::{Both, Profile};
use tsmig_lab::{GuestSpec, Lab, LabSpec, Node};

use crate::baseline::{Baseline, Way};
use crate::results::{Results, Row, Run};
use crate::scenario::{SCENARIOS, Scenario};

/// The results, from the project's top; the picture lies beside them.
const KEPT: &str = "docs/bench/results.json";

/// What the lab's links carry.
const LINK: [&str; 2] = ["--link", "100Mbit"];

/// Equal runs of each policy: what contends for a full link does not end at the same second twice. A policy that did
/// not finish once is not run again.
const RUNS: usize = 3;

/// How a scenario is evacuated.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Policy {
    /// By virsh, as a fixed schedule.
    Virsh(Baseline),
    /// By tsmig, with this objective.
    Tsmig(&'static str),
}

impl Policy {
    /// Its row, without a run.
    fn row(self, scenario: &Scenario) -> Row {
        let policy = match self {
            Self::Virsh(baseline) => baseline.name(),
            Self::Tsmig(objective) => format!("tsmig, objective {objective}"),
        };
        Row { scenario: scenario.name.to_owned(), policy, bytes_to_cross: None, runs: Vec::new() }
    }
}

const POLICIES: [Policy; 6] = [
    Policy::Tsmig("time"),
    Policy::Tsmig("impact"),
    Policy::Virsh(Baseline::OneByOne),
    Policy::Virsh(Baseline::PostCopy),
    Policy::Virsh(Baseline::WrongMix),
    Policy::Virsh(Baseline::PreCopy),
];

/// The hosts as tsmig reaches them: by ssh, since only their shells tell in which QEMU a guest runs.
const HOSTS: [&str; 2] = ["host-a", "host-b"];

fn main() -> Result<()> {
    // cargo passes --bench; what else there is narrows the run.
    let wanted: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let lab = Lab::up(&LabSpec::named("bench"))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut results: Results = serde_json::from_str(&fs::read_to_string(root.join(KEPT))?)?;
    results.link_bits_per_second = lab.spec().link.bits_per_second() as f64;
    for scenario in SCENARIOS.iter().filter(|s| wanted.is_empty() || wanted.iter().any(|w| s.name.contains(w))) {
        let hosts = profile(&lab, &root.join(scenario.profile()), &scenario.guests())?;
        prove(&lab, &scenario.guests())?;
        let mut rows: Vec<Row> = POLICIES.iter().map(|policy| policy.row(scenario)).collect();
        for _ in 0..RUNS {
            measure(&lab, scenario, &hosts, &mut rows)?;
            results.rows.retain(|row| row.scenario != scenario.name);
            results.rows.extend(rows.iter().cloned());
            results.rows.sort_by_key(|row| SCENARIOS.iter().position(|scenario| scenario.name == row.scenario));
            keep(root, &results)?;
        }
    }
    eprintln!("{}", results::table(&results));
    Ok(())
}

/// One more run of each policy.
fn measure(lab: &Lab, scenario: &Scenario, hosts: &(Profile, Profile), rows: &mut [Row]) -> Result<()> {
    for (row, policy) in rows.iter_mut().zip(POLICIES) {
        if row.runs.iter().all(|run| run.total_seconds.is_some()) {
            run(lab, scenario, policy, hosts, row)?;
            eprintln!("{}", results::line(row));
        }
    }
    // What must cross is what the guests' memory holds, whoever moves it.
    let bytes = rows[0].bytes_to_cross;
    rows.iter_mut().for_each(|row| row.bytes_to_cross = bytes);
    Ok(())
}

/// Writes down what is known so far, so that a run that is cut short was not for nothing.
fn keep(root: &Path, results: &Results) -> Result<()> {
    let (kept, readme) = (root.join(KEPT), root.join("README.md"));
    fs::write(&kept, serde_json::to_string_pretty(results)? + "\n")?;
    fs::write(kept.with_extension("svg"), picture::draw(results))?;
    let text = results::into_readme(&fs::read_to_string(&readme)?, results).context("README.md has no table")?;
    Ok(fs::write(&readme, text)?)
}

/// Profiles both hosts with fresh guests, and keeps that beside the results.
fn profile(lab: &Lab, kept: &Path, guests: &[GuestSpec]) -> Result<(Profile, Profile)> {
    lab.remove_all_guests()?;
    lab.add_guests(guests)?;
    let mut command = lab.command(Node::Client, env!("CARGO_BIN_EXE_tsmig"));
    let arguments =
        ["profile", "qemu+tcp://host-a/system", "qemu+tcp://host-b/system", "--window", "10s", "--quiet", "--save"];
    let output = command.args(arguments).arg(kept).args(LINK).output()?;
    ensure!(output.status.success(), "no profile: {}", String::from_utf8_lossy(&output.stderr));
    let Both { source, destination } = files::load(kept)?;
    Ok((source, destination))
}

/// Proves post-copy for guests like these, which are there: one of them moves there and back.
fn prove(lab: &Lab, guests: &[GuestSpec]) -> Result<()> {
    let guest = guests.first().context("a scenario has guests")?;
    let ask = |arguments: &[&str]| -> Result<Vec<u8>> {
        let output = lab.command(Node::Client, env!("CARGO_BIN_EXE_tsmig")).args(arguments).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    let [source, destination] = HOSTS;
    ask(&["rehearse", source, destination, &guest.name])?;
    let plan: Value =
        serde_json::from_slice(&ask(&["plan", source, destination, "--window", "1s", "--output", "json"])?)?;
    let grounds = plan["grounds"].as_array().context("grounds")?;
    ensure!(grounds.iter().all(|ground| ground["proven"] == true), "{grounds:?}");
    Ok(())
}

/// One run of a policy on fresh guests, whom virsh's predictions know from `hosts`; added to `row`.
fn run(lab: &Lab, scenario: &Scenario, policy: Policy, hosts: &(Profile, Profile), row: &mut Row) -> Result<()> {
    lab.remove_all_guests()?;
    let guests = scenario.guests();
    lab.add_guests(&guests)?;
    let pulses: Vec<_> = guests.iter().map(|guest| lab.pulse(&guest.name)).collect::<Result<_>>()?;
    let mut run = match policy {
        Policy::Tsmig(objective) => {
            let (run, bytes) = tsmig(lab, scenario, objective)?;
            row.bytes_to_cross.get_or_insert(bytes);
            run
        }
        Policy::Virsh(baseline) => Run {
            predicted_seconds: prediction::seconds(&baseline.name(), &hosts.0, &hosts.1),
            ..virsh(lab, scenario, baseline, &guests)?
        },
    };
    for (guest, before) in guests.iter().zip(&pulses) {
        let lives = lab.assert_unbroken(&guest.name, before).and_then(|_| {
            lab.wait_for_flow(guest, Duration::from_secs(30))?;
            let host = if run.total_seconds.is_some() { Node::HostB } else { Node::HostA };
            let state = lab.state(host, &guest.name)?;
            // One that did not finish may have been through by then.
            ensure!(run.total_seconds.is_none() || state.is_some(), "{} is not at the destination", guest.name);
            Ok(())
        });
        if let Err(error) = lives {
            eprintln!("{} / {}: {error:#}", row.scenario, row.policy);
            run.intact = false;
        }
    }
    row.runs.push(run);
    Ok(())
}

/// By tsmig; the run, and the bytes that had to cross.
fn tsmig(lab: &Lab, scenario: &Scenario, objective: &str) -> Result<(Run, u64)> {
    let mut command = lab.command(Node::Client, env!("CARGO_BIN_EXE_tsmig"));
    let arguments = ["--window", "10s", "--output", "json", "--quiet", "--trust-destination=false", "--objective"];
    command.arg("evacuate").args(HOSTS).args(arguments).arg(objective).args(LINK).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let (mut lines, mut begin) = (Vec::new(), None);
    for line in BufReader::new(child.stdout.take().context("piped")?).lines().map_while(Result::ok) {
        // It ends later than the last migration: what arrives is watched for a while.
        if line.contains("\"event\":\"launch\"") {
            begin.get_or_insert_with(SystemTime::now);
        }
        lines.push(line);
    }
    let status = child.wait()?;
    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
    let report = events.last().context("no report")?;
    ensure!(status.success(), "tsmig did not evacuate: {report}");
    let total = report["total_seconds"].as_f64().context("total_seconds")?;
    let domains = report["domains"].as_array().context("domains")?;
    let begin = begin.context("nothing was launched")?;
    let run = Run {
        total_seconds: Some(total),
        predicted_seconds: report["predicted_seconds"].as_f64(),
        lost_bits: lost(lab, scenario, begin, begin + Duration::from_secs_f64(total))?,
        downtime_seconds: domains
            .iter()
            .map(|domain| (text(&domain["domain"]), domain["downtime_seconds"].as_f64()))
            .collect(),
        intact: true,
    };
    Ok((run, domains.iter().map(|domain| first_pass(&events, domain)).sum()))
}

/// What crosses once: all of a post-copy's bytes, and of a pre-copy's those of its first pass.
fn first_pass(events: &[Value], domain: &Value) -> u64 {
    let all = domain["bytes"].as_u64().unwrap_or(0);
    if domain["technique"] == "post-copy" {
        return all;
    }
    let later = events
        .iter()
        .filter(|e| e["event"] == "progress" && e["domain"] == domain["domain"] && e["pass"].as_u64() > Some(1))
        .filter_map(|e| e["transferred_bytes"].as_u64());
    later.min().unwrap_or(all)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn virsh(lab: &Lab, scenario: &Scenario, baseline: Baseline, guests: &[GuestSpec]) -> Result<Run> {
    let begin = SystemTime::now();
    let moved = baseline.run(lab, Way::THERE, &baseline.steps(guests))?;
    let end = SystemTime::now();
    let ends = moved.iter().map(|moved| moved.ended_seconds).collect::<Option<Vec<_>>>();
    let finished = ends.is_some();
    let downtimes = moved
        .iter()
        .map(|moved| {
            // libvirt keeps no statistics of a post-copy at the destination.
            let known = finished && moved.technique == Technique::PreCopy;
            let downtime = if known { baseline::downtime(lab, Way::THERE, &moved.guest)? } else { None };
            Ok((moved.guest.clone(), downtime))
        })
        .collect::<Result<_>>()?;
    Ok(Run {
        total_seconds: ends.map(|ends| ends.into_iter().fold(0.0, f64::max)),
        predicted_seconds: None,
        lost_bits: lost(lab, scenario, begin, end)?,
        downtime_seconds: downtimes,
        intact: true,
    })
}

/// What the guests' applications would have carried, less what they did.
fn lost(lab: &Lab, scenario: &Scenario, from: SystemTime, to: SystemTime) -> Result<f64> {
    let seconds = to.duration_since(from)?.as_secs_f64();
    let delivered = lab.traffic(from, to)?;
    let per_guest = scenario.guests().into_iter().map(|guest| {
        let got = delivered.get(&guest.name).copied().unwrap_or_default();
        let wanted = |rate: tsmig_lab::Rate| rate.bits_per_second() as f64 * seconds;
        (wanted(guest.sends()) - got.outbound_bits).max(0.0) + (wanted(guest.receives()) - got.inbound_bits).max(0.0)
    });
    Ok(per_guest.sum())
}
