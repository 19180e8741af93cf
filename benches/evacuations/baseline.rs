//! What virsh alone does: fixed schedules that a script could run today.

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tsmig::domain::Technique;
use tsmig_lab::{GuestSpec, Lab, Node};

/// A policy that has not ended by then does not end.
pub const TIME_LIMIT: Duration = Duration::from_secs(150);

const PAUSE: Duration = Duration::from_millis(50);

/// From one host to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    pub from: Node,
    pub to: Node,
}

impl Way {
    pub const THERE: Self = Self { from: Node::HostA, to: Node::HostB };

    pub fn back(self) -> Self {
        Self { from: self.to, to: self.from }
    }

    /// The hosts' libvirts; all policies that virsh runs connect in the same way.
    fn uris(self) -> [String; 2] {
        [self.from, self.to].map(|host| format!("qemu+tcp://{}/system", host.name()))
    }
}

/// A schedule for virsh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Baseline {
    PreCopy,
    PostCopy,
    OneByOne,
    /// So many pre-copies at once, the next as soon as one has ended.
    Capped(usize),
    /// The paper's rule: post-copy for what mostly sends, pre-copy for what mostly receives, all at once.
    RightMix,
    WrongMix,
}

/// One migration of a schedule.
pub struct Step {
    pub guest: String,
    pub technique: Technique,
}

/// One migration that was run. Times are in seconds since the start of the schedule.
pub struct Moved {
    pub guest: String,
    pub technique: Technique,
    pub launched_seconds: f64,
    /// `None`: it had not ended by the time limit, and was cancelled, or it was not begun.
    pub ended_seconds: Option<f64>,
}

/// A migration in flight.
struct Flight<'a> {
    step: &'a Step,
    child: Child,
    launched_seconds: f64,
    switched: bool,
}

impl Baseline {
    pub fn name(self) -> String {
        match self {
            Self::PreCopy => "pre-copy for all, at once".to_owned(),
            Self::PostCopy => "post-copy for all, at once".to_owned(),
            Self::OneByOne => "pre-copy one by one".to_owned(),
            Self::Capped(at_once) => format!("pre-copy, {at_once} at once"),
            Self::RightMix => "the paper's rule, at once".to_owned(),
            Self::WrongMix => "the wrong mix, at once".to_owned(),
        }
    }

    pub fn steps(self, guests: &[GuestSpec]) -> Vec<Step> {
        let step = |guest: &GuestSpec| {
            let sends = guest.sends() > guest.receives();
            let by_post_copy = match self {
                Self::PreCopy | Self::OneByOne | Self::Capped(_) => false,
                Self::PostCopy => true,
                Self::RightMix => sends,
                Self::WrongMix => !sends,
            };
            let technique = if by_post_copy { Technique::PostCopy } else { Technique::PreCopy };
            Step { guest: guest.name.clone(), technique }
        };
        guests.iter().map(step).collect()
    }

    fn at_once(self) -> usize {
        match self {
            Self::OneByOne => 1,
            Self::Capped(at_once) => at_once,
            _ => usize::MAX,
        }
    }

    /// Runs the schedule, in its order; what has not ended by [`TIME_LIMIT`] is cancelled.
    pub fn run(self, lab: &Lab, way: Way, steps: &[Step]) -> Result<Vec<Moved>> {
        let start = Instant::now();
        let (mut waiting, mut in_flight, mut moved) = (steps.iter().collect::<VecDeque<_>>(), Vec::new(), Vec::new());
        while !(waiting.is_empty() && in_flight.is_empty()) {
            let late = start.elapsed() >= TIME_LIMIT;
            while !late && in_flight.len() < self.at_once() {
                let Some(step) = waiting.pop_front() else { break };
                let launched_seconds = start.elapsed().as_secs_f64();
                in_flight.push(Flight { step, child: launch(lab, way, step)?, launched_seconds, switched: false });
            }
            let mut still = Vec::new();
            for mut flight in in_flight {
                let step = flight.step;
                if let Some(status) = flight.child.try_wait()? {
                    // A post-copy can't be cancelled, and may end too late.
                    let ended_seconds = (status.success() && !late).then(|| start.elapsed().as_secs_f64());
                    let (guest, technique) = (step.guest.clone(), step.technique);
                    moved.push(Moved { guest, technique, launched_seconds: flight.launched_seconds, ended_seconds });
                    continue;
                }
                if late {
                    // Refused while the migration is being set up.
                    virsh(lab, way, &["domjobabort", &step.guest]).status()?;
                } else if step.technique == Technique::PostCopy && !flight.switched {
                    // Refused until the migration has come so far.
                    flight.switched = virsh(lab, way, &["migrate-postcopy", &step.guest]).status()?.success();
                }
                still.push(flight);
            }
            in_flight = still;
            if late {
                let never = waiting.drain(..).map(|step| Moved {
                    guest: step.guest.clone(),
                    technique: step.technique,
                    launched_seconds: start.elapsed().as_secs_f64(),
                    ended_seconds: None,
                });
                moved.extend(never);
            }
            thread::sleep(PAUSE);
        }
        Ok(moved)
    }
}

fn launch(lab: &Lab, way: Way, step: &Step) -> Result<Child> {
    let [_, destination] = way.uris();
    let arguments = ["migrate", "--live", "--p2p", "--persistent", "--undefinesource", &step.guest, &destination];
    let mut command = virsh(lab, way, &arguments);
    if step.technique == Technique::PostCopy {
        command.arg("--postcopy");
    }
    Ok(command.spawn()?)
}

fn virsh(lab: &Lab, way: Way, arguments: &[&str]) -> Command {
    let [source, _] = way.uris();
    let mut command = lab.command(Node::Client, "virsh");
    command.args(["--quiet", "--connect", &source]).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The downtime of the pre-copy that brought a guest to the destination, in seconds, as libvirt counted it.
pub fn downtime(lab: &Lab, way: Way, guest: &str) -> Result<Option<f64>> {
    let statistics = lab.run(way.to, &["virsh", "domjobinfo", guest, "--completed"])?;
    let line = statistics.lines().find_map(|line| line.strip_prefix("Total downtime:"));
    let milliseconds = line.and_then(|line| line.split_whitespace().next()).map(str::parse::<f64>).transpose();
    Ok(milliseconds.context("a number of milliseconds")?.map(|milliseconds| milliseconds / 1000.0))
}
