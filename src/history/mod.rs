//! How an evacuation went, second by second: when each domain was in which phase, beside what was predicted, and what
//! crossed the two NICs. It is kept with the report, and `tsmig report --html` draws it.
//!
//! The [`Recorder`] listens to the engine's events, and to the readings of the guests' traffic that [`crate::history::traffic_monitor`]
//! sends it. Its size is bounded: a long evacuation is kept in wider intervals.

pub(crate) mod observer;
mod series;
pub mod traffic_monitor;

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::time::{Instant, SystemTime};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Phase;
use crate::engine::events::{Event, Notice, Timed};
use crate::engine::migration::Progress;
use crate::history::traffic_monitor::Reading;
use crate::plan::Plan;
use crate::report::DomainReport;
use crate::topology::HostPorts;
pub use series::TrafficInterval;
use series::{Channel, Series};

/// The most passes of a domain that are kept: a pre-copy that converges takes a few.
const PASSES: usize = 200;

/// How an evacuation went. Times are seconds since its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// When it started, as RFC 3339 has it.
    #[schemars(extend("format" = "date-time"))]
    pub started: String,
    /// The hosts with their ports, as planned with.
    pub hosts: Vec<HostPorts>,
    /// The domains of the plan in launch order.
    pub domains: Vec<DomainHistory>,
    /// What crossed the NICs, interval after interval.
    pub traffic: Vec<TrafficInterval>,
    /// Changes of the plan while it ran.
    #[serde(default)]
    pub changes: Vec<Change>,
}

/// A change of the plan while it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// When.
    pub at_seconds: f64,
    /// What, and why, in a sentence.
    pub message: String,
}

/// No more changes are kept: a run makes one in some seconds at the most, and seldom more than a few.
const CHANGES: usize = 100;

/// One domain of a [`History`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DomainHistory {
    /// Its name.
    pub domain: String,
    /// When the plan had it start.
    pub predicted_start_seconds: Option<f64>,
    /// When the plan had it end.
    pub predicted_end_seconds: Option<f64>,
    /// When it was launched; `None` if it never was.
    pub launched_seconds: Option<f64>,
    /// When its verdict was known.
    pub ended_seconds: Option<f64>,
    /// Its phases, from its launch on.
    pub phases: Vec<PhaseStart>,
    /// Its further passes over the memory, from the second on.
    pub passes: Vec<PassStart>,
}

/// When a phase began.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseStart {
    /// The phase.
    pub phase: Phase,
    /// When it was first seen.
    pub at_seconds: f64,
}

/// When a pass over the memory began.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PassStart {
    /// The pass, from 2.
    pub pass: u64,
    /// When it was first seen.
    pub at_seconds: f64,
}

pub struct Recorder {
    history: History,
    /// By name, in launch order.
    domains: IndexMap<String, DomainHistory>,
    /// By domain: what has crossed by when.
    crossed: HashMap<String, (f64, u64)>,
    series: Series,
    readings: Option<Receiver<Reading>>,
    start: Option<Instant>,
}

impl Recorder {
    /// Listens to the run of a plan, and to readings of the guests' traffic if there are any.
    pub fn new(plan: &Plan, readings: Option<Receiver<Reading>>) -> Self {
        let domain = |step: &crate::plan::Step| DomainHistory {
            domain: step.domain.clone(),
            predicted_start_seconds: step.predicted.start_seconds,
            predicted_end_seconds: step.predicted.end_seconds,
            ..DomainHistory::default()
        };
        Self {
            history: History {
                started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
                hosts: plan.hosts.clone(),
                domains: Vec::new(),
                traffic: Vec::new(),
                changes: Vec::new(),
            },
            domains: plan.migrations.iter().map(|step| (step.domain.clone(), domain(step))).collect(),
            crossed: HashMap::new(),
            series: Series::default(),
            readings,
            start: None,
        }
    }

    pub fn hear(&mut self, timed: &Timed) {
        let now = timed.elapsed_seconds;
        // The first event is the clock's zero, or close to it.
        self.start.get_or_insert_with(Instant::now);
        self.read();
        match &timed.event {
            Event::Launch { domain, .. } => {
                self.crossed.insert(domain.clone(), (now, 0));
                self.with(domain, |history| history.launched_seconds = Some(now));
            }
            Event::Phase { domain, phase } => {
                self.with(domain, |history| history.phases.push(PhaseStart { phase: *phase, at_seconds: now }));
            }
            Event::Progress { domain, progress } => self.progress(domain, progress, now),
            Event::Done(report) => self.done(report, now),
            Event::Notice(notice @ Notice::Replanned { .. }) if self.history.changes.len() < CHANGES => {
                self.history.changes.push(Change { at_seconds: now, message: notice.to_string() });
            }
            _ => {}
        }
    }

    /// The history of an evacuation that took `total_seconds`.
    pub fn finish(mut self, total_seconds: f64) -> History {
        self.read();
        let traffic = self.series.intervals(total_seconds);
        History { domains: self.domains.into_values().collect(), traffic, ..self.history }
    }

    fn with(&mut self, domain: &str, change: impl FnOnce(&mut DomainHistory)) {
        self.domains.get_mut(domain).map(change);
    }

    fn progress(&mut self, domain: &str, progress: &Progress, now: f64) {
        self.crossing(domain, now, progress.transferred);
        let start = PassStart { pass: progress.pass, at_seconds: now };
        self.with(domain, |history| {
            let known = history.passes.last().map_or(1, |last| last.pass);
            // The last pass of a post-copy counts what is pulled, which is no copying again.
            let again = progress.pass > known && history.phase() == Some(Phase::PreCopy);
            if again && history.passes.len() < PASSES {
                history.passes.push(start);
            }
        });
    }

    fn done(&mut self, report: &DomainReport, now: f64) {
        // What crossed after the last look did so before libvirt's call returned.
        let checking = |history: &DomainHistory| {
            history.phases.iter().rfind(|start| start.phase == Phase::Checking).map(|start| start.at_seconds)
        };
        let returned = self.domains.get(&report.domain).and_then(checking).unwrap_or(now);
        self.crossing(&report.domain, returned, report.bytes);
        self.with(&report.domain, |history| history.ended_seconds = Some(now));
    }

    /// So many bytes of a domain have crossed by now.
    fn crossing(&mut self, domain: &str, now: f64, bytes: u64) {
        let Some(&mut (since, before)) = self.crossed.get_mut(domain) else { return };
        let is_post_copy = |start: &PhaseStart| start.phase == Phase::PostCopy;
        let post_copy = self.domains.get(domain).is_some_and(|history| history.phases.iter().any(is_post_copy));
        let channel = if post_copy { Channel::PostCopy } else { Channel::PreCopy };
        self.series.add(channel, since, now, bytes.saturating_sub(before) as f64 * 8.0);
        self.crossed.insert(domain.to_owned(), (now.max(since), bytes.max(before)));
    }

    fn read(&mut self) {
        let (Some(start), Some(readings)) = (self.start, &self.readings) else { return };
        for reading in readings.try_iter() {
            let from = reading.from.saturating_duration_since(start).as_secs_f64();
            let to = reading.to.saturating_duration_since(start).as_secs_f64();
            let [outbound, inbound] = Channel::of_guests(reading.side);
            self.series.add(outbound, from, to, reading.outbound_bits_per_second * (to - from));
            self.series.add(inbound, from, to, reading.inbound_bits_per_second * (to - from));
        }
    }
}

impl DomainHistory {
    fn phase(&self) -> Option<Phase> {
        self.phases.last().map(|start| start.phase)
    }
}
