//! Evacuations of hosts that nobody chose: guests drawn by seed, at least two minutes old, moved by tsmig and by what virsh
//! alone can do. `make bench-seeds` does what is not kept yet, so it can be stopped and started again at any time; an argument
//! is a seed, or a range of them as in 127-132.
#![allow(clippy::print_stderr, reason = "a benchmark talks to who runs it")]

#[allow(dead_code, reason = "the other benchmark runs what this one does not")]
#[path = "../evacuations/baseline.rs"]
mod baseline;
mod draw;
mod record;
mod replay;
mod table;
mod tsmig_run;

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use tsmig_lab::{Lab, LabSpec, Node, Rate};

use crate::baseline::{Baseline, Moved, Way};
use crate::draw::{REPORTED, Scenario, UNSEEN, draw};
use crate::record::{Migration, Run};

/// Guests that have just booted have more empty memory than any that is in use.
const AGE: Duration = Duration::from_secs(120);

/// Seconds between two entries of the kept traffic.
const TRAFFIC_INTERVAL_SECONDS: f64 = 1.0;

/// How guests are evacuated.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Policy {
    Tsmig,
    Virsh(Baseline),
}

impl Policy {
    fn name(self) -> String {
        match self {
            Self::Tsmig => table::TSMIG.to_owned(),
            Self::Virsh(baseline) => baseline.name(),
        }
    }
}

/// The evacuations of one set of guests, there and back again, in this order. tsmig's first knows nothing of them, its third
/// has seen them there and back.
const TRIPS: [Policy; table::TRIPS] = [
    Policy::Tsmig,
    Policy::Tsmig,
    Policy::Tsmig,
    Policy::Virsh(Baseline::RightMix),
    Policy::Virsh(Baseline::Capped(4)),
];

/// Equal sets of trips with each seed, each with fresh guests: what contends for a full link does not end at the same second
/// twice.
const SETS: usize = 3;

fn main() -> Result<()> {
    // cargo passes --bench.
    let arguments = || std::env::args().skip(1);
    let replays = arguments().any(|argument| argument == "--replay");
    let named = arguments().filter(|argument| !argument.starts_with("--"));
    let wanted: Vec<RangeInclusive<u64>> = named.map(|text| range(&text)).collect::<Result<_>>()?;
    let seeds: Vec<u64> =
        if wanted.is_empty() { REPORTED.chain([UNSEEN]).collect() } else { wanted.into_iter().flatten().collect() };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if replays {
        seeds.iter().try_for_each(|seed| replay_all(root, *seed))?;
        return keep(root);
    }
    for set in 1..=SETS {
        for &seed in &seeds {
            let kept = record::whole_sets(root, seed, TRIPS.len())?;
            if kept < set {
                eprintln!("seed {seed}, set {set}");
                // One that fails says nothing of the others.
                if let Err(error) = measure(root, &draw(seed)) {
                    eprintln!("seed {seed}: {error:#}");
                }
            }
        }
    }
    keep(root)
}

/// The README's table of the seeds that are only reported, and of the host that was not drawn.
fn keep(root: &Path) -> Result<()> {
    let kept = record::whole(root, REPORTED, TRIPS.len())?;
    let unseen = record::whole(root, UNSEEN..=UNSEEN, TRIPS.len())?;
    let readme = root.join("README.md");
    let text = table::into_readme(&fs::read_to_string(&readme)?, &kept, &unseen).context("README.md has no table")?;
    Ok(fs::write(&readme, text)?)
}

/// What today's model says of the kept runs of a seed.
fn replay_all(root: &Path, seed: u64) -> Result<()> {
    let Some(kept) = record::read(root, seed)? else { return Ok(()) };
    for run in &kept.runs {
        let today = replay::seconds(&kept, run)?;
        eprintln!("seed {seed}: {}; today predicted {}", line(run).trim(), today.map_or(f64::INFINITY, |today| today));
    }
    Ok(())
}

fn range(text: &str) -> Result<RangeInclusive<u64>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let seed = |text: &str| text.parse().with_context(|| format!("{text:?} is no seed"));
    Ok(seed(first)?..=seed(last)?)
}

/// One set of trips.
fn measure(root: &Path, scenario: &Scenario) -> Result<()> {
    let lab = Lab::up(&LabSpec { link: scenario.link, ..LabSpec::named(&format!("seed-{}", scenario.seed)) })?;
    lab.add_guests(&scenario.guests)?;
    let born = Instant::now();
    tsmig_run::prove(&lab)?;
    tsmig_run::forget(&lab)?;
    thread::sleep(AGE.saturating_sub(born.elapsed()));
    let (mut way, mut trips) = (Way::THERE, 0);
    for policy in TRIPS {
        let run = run(&lab, scenario, policy, way, trips)?;
        record::add(root, scenario, &run)?;
        eprintln!("{}", line(&run));
        (way, trips) = (way.back(), trips + 1);
        if run.total_seconds.is_none() {
            // Some are here and some there: what comes next begins with fresh ones.
            lab.remove_all_guests()?;
            lab.add_guests(&scenario.guests)?;
            thread::sleep(AGE);
            (way, trips) = (Way::THERE, 0);
        }
    }
    Ok(())
}

fn run(lab: &Lab, scenario: &Scenario, policy: Policy, way: Way, trips: usize) -> Result<Run> {
    let guests = &scenario.guests;
    let pulses: Vec<_> = guests.iter().map(|guest| lab.pulse(&guest.name)).collect::<Result<_>>()?;
    let profile = (policy == Policy::Tsmig).then(|| tsmig_run::profile(lab, way)).transpose()?;
    let command = SystemTime::now();
    let mut run = Run {
        policy: policy.name(),
        trips,
        command_seconds: None,
        total_seconds: None,
        predicted_seconds: None,
        lost_bits: 0.0,
        intact: true,
        arrivals: 0,
        alarms: 0,
        migrations: Vec::new(),
        forecasts: Vec::new(),
        profile,
        traffic_interval_seconds: TRAFFIC_INTERVAL_SECONDS,
        traffic: BTreeMap::new(),
    };
    let begin = match policy {
        Policy::Tsmig => tsmig_run::carry_out(lab, way, &mut run)?,
        Policy::Virsh(baseline) => {
            run.migrations = baseline.run(lab, way, &baseline.steps(guests))?.into_iter().map(migration).collect();
            command
        }
    };
    let ended = |migration: &Migration| migration.ended_seconds;
    let all = run.migrations.iter().map(ended).collect::<Option<Vec<_>>>();
    run.total_seconds = all.map(|ends| ends.into_iter().fold(0.0, f64::max));
    let span = run.total_seconds.unwrap_or_else(|| begin.elapsed().map_or(0.0, |elapsed| elapsed.as_secs_f64()));
    run.command_seconds =
        run.total_seconds.map(|total| begin.duration_since(command).unwrap_or_default().as_secs_f64() + total);
    watch_traffic(lab, scenario, begin, span, &mut run)?;
    for (guest, before) in guests.iter().zip(&pulses) {
        let lives =
            lab.assert_unbroken(&guest.name, before).and_then(|_| lab.wait_for_flow(guest, Duration::from_secs(30)));
        if let Err(error) = lives {
            eprintln!("seed {} / {}: {error:#}", scenario.seed, run.policy);
            run.intact = false;
        }
    }
    Ok(run)
}

fn migration(moved: Moved) -> Migration {
    Migration {
        guest: moved.guest,
        technique: moved.technique,
        launched_seconds: moved.launched_seconds,
        ended_seconds: moved.ended_seconds,
        downtime_seconds: None,
        bytes: None,
        samples: Vec::new(),
    }
}

/// What got through from `begin` on, and what did not.
fn watch_traffic(lab: &Lab, scenario: &Scenario, begin: SystemTime, seconds: f64, run: &mut Run) -> Result<()> {
    let mut at = 0.0;
    while at < seconds {
        let to = (at + TRAFFIC_INTERVAL_SECONDS).min(seconds);
        let delivered = lab.traffic(begin + Duration::from_secs_f64(at), begin + Duration::from_secs_f64(to))?;
        for guest in scenario.guests.iter().filter(|guest| guest.sends().max(guest.receives()) > Rate::ZERO) {
            let got = delivered.get(&guest.name).copied().unwrap_or_default();
            let kilobytes = |bits: f64| (bits / 8000.0).round() as u64;
            let row = (kilobytes(got.outbound_bits), kilobytes(got.inbound_bits));
            run.traffic.entry(guest.name.clone()).or_default().push(row);
        }
        at = to;
    }
    // Over the whole: a burst that comes later is no gain, and its pause no loss.
    let all = lab.traffic(begin, begin + Duration::from_secs_f64(seconds))?;
    for guest in &scenario.guests {
        let got = all.get(&guest.name).copied().unwrap_or_default();
        let wanted = |rate: Rate| rate.bits_per_second() as f64 * seconds;
        run.lost_bits += (wanted(guest.sends()) - got.outbound_bits).max(0.0);
        run.lost_bits += (wanted(guest.receives()) - got.inbound_bits).max(0.0);
    }
    Ok(())
}

fn line(run: &Run) -> String {
    let seconds =
        |seconds: Option<f64>| seconds.map_or_else(|| "no end".to_owned(), |seconds| format!("{seconds:.1} s"));
    let error = run.predicted_seconds.zip(run.total_seconds).map(|(predicted, total)| predicted / total - 1.0);
    format!(
        "  {} after {} trips: {} (from the command {}), predicted {} ({}), lost {:.0} Mbit, {} of {} by post-copy{}",
        run.policy,
        run.trips,
        seconds(run.total_seconds),
        seconds(run.command_seconds),
        seconds(run.predicted_seconds),
        error.map_or_else(|| "-".to_owned(), |error| format!("{:+.0} %", 100.0 * error)),
        run.lost_bits / 1e6,
        run.migrations.iter().filter(|migration| migration.technique.pulls()).count(),
        run.migrations.len(),
        if run.intact { "" } else { ", A GUEST WAS HARMED" },
    )
}

/// The hosts as tsmig reaches them: by ssh.
fn names(way: Way) -> [&'static str; 2] {
    [way.from, way.to].map(Node::name)
}
