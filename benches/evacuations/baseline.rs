//! What virsh alone does: fixed schedules that a script could run today.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tsmig::domain::Technique;
use tsmig_lab::{GuestSpec, Lab, Node};

use crate::prediction::TIME_LIMIT_SECONDS;

/// A policy that has not ended by then does not end.
const TIME_LIMIT: Duration = Duration::from_secs(TIME_LIMIT_SECONDS);

/// All policies connect in the same way.
pub const SOURCE: &str = "qemu+tcp://host-a/system";
/// See [`SOURCE`].
pub const DESTINATION: &str = "qemu+tcp://host-b/system";
const PAUSE: Duration = Duration::from_millis(100);

/// A schedule for virsh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Baseline {
    PreCopy,
    PostCopy,
    OneByOne,
    WrongMix,
}

/// One migration of a schedule.
pub struct Step {
    pub guest: String,
    pub technique: Technique,
}

impl Baseline {
    pub fn name(self) -> &'static str {
        match self {
            Self::PreCopy => "pre-copy for all, at once",
            Self::PostCopy => "post-copy for all, at once",
            Self::OneByOne => "pre-copy one by one",
            Self::WrongMix => "the wrong mix, at once",
        }
    }

    pub fn steps(self, guests: &[GuestSpec]) -> Vec<Step> {
        let step = |guest: &GuestSpec| Step {
            guest: guest.name.clone(),
            technique: match self {
                Self::PreCopy | Self::OneByOne => Technique::PreCopy,
                Self::PostCopy => Technique::PostCopy,
                Self::WrongMix if guest.sends() > guest.receives() => Technique::PreCopy,
                Self::WrongMix => Technique::PostCopy,
            },
        };
        guests.iter().map(step).collect()
    }

    pub fn concurrency(self, steps: usize) -> usize {
        if self == Self::OneByOne { 1 } else { steps }
    }

    /// Runs the schedule; false where it did not end within [`TIME_LIMIT`] and was cancelled.
    pub fn run(self, lab: &Lab, steps: &[Step]) -> Result<bool> {
        let end = Instant::now() + TIME_LIMIT;
        for group in steps.chunks(self.concurrency(steps.len())) {
            if Instant::now() >= end {
                break;
            }
            let mut migrations = Vec::new();
            for step in group {
                migrations.push((step, start(lab, step)?));
            }
            for (step, _) in migrations.iter().filter(|(step, _)| step.technique == Technique::PostCopy) {
                // Refused until the migration has come so far.
                while !virsh(lab, &["migrate-postcopy", &step.guest]).status()?.success() && Instant::now() < end {
                    thread::sleep(PAUSE);
                }
            }
            for (step, mut migration) in migrations {
                while !ends_by(&mut migration, end)? {
                    // Refused while the migration is being set up.
                    virsh(lab, &["domjobabort", &step.guest]).status()?;
                    thread::sleep(PAUSE);
                }
            }
        }
        Ok(Instant::now() < end)
    }
}

fn start(lab: &Lab, step: &Step) -> Result<Child> {
    let mut command =
        virsh(lab, &["migrate", "--live", "--p2p", "--persistent", "--undefinesource", &step.guest, DESTINATION]);
    if step.technique == Technique::PostCopy {
        command.arg("--postcopy");
    }
    Ok(command.spawn()?)
}

fn ends_by(migration: &mut Child, end: Instant) -> Result<bool> {
    while migration.try_wait()?.is_none() {
        if Instant::now() >= end {
            return Ok(false);
        }
        thread::sleep(PAUSE);
    }
    Ok(true)
}

fn virsh(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = lab.command(Node::Client, "virsh");
    command.args(["--quiet", "--connect", SOURCE]).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The downtime of the pre-copy that brought a guest to the destination, in seconds, as libvirt counted it.
pub fn downtime(lab: &Lab, guest: &str) -> Result<Option<f64>> {
    let statistics = lab.run(Node::HostB, &["virsh", "domjobinfo", guest, "--completed"])?;
    let line = statistics.lines().find_map(|line| line.strip_prefix("Total downtime:"));
    let milliseconds = line.and_then(|line| line.split_whitespace().next()).map(str::parse::<f64>).transpose();
    Ok(milliseconds.context("a number of milliseconds")?.map(|milliseconds| milliseconds / 1000.0))
}
