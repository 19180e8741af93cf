//! Runs a [`Plan`]: launches each migration when its turn has come, and tells by [`Event`]s what happens.
//!
//! One thread coordinates; each migration has its driver. A failed migration is data in the report and never
//! cancels its siblings. After a first interrupt nothing more is launched, pre-copies are cancelled and post-copies
//! finish; after a second one this returns at once and the report says what is still on its way.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::drive::{Driver, Ended, Input, Update};
use crate::event::{Event, Timed};
use crate::hypervisor::{Hosts, MigrationRequest, Route};
use crate::migration::{Phase, Verdict};
use crate::plan::{Plan, Refusal, Step};
use crate::report::{self, DomainOutcome, DomainReport, Outcome, Report};
use crate::share::{self, InFlight, UNLIMITED_MIB};

/// How to run a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where the memory goes, where libvirt's own choice is not right.
    pub migration_uri: Option<String>,
    /// Who drives the migrations.
    pub route: Route,
    /// How long a migration may take before its switch-over.
    pub timeout: Timeout,
    /// The same for single domains, by UUID.
    pub timeouts: HashMap<String, Timeout>,
}

/// How long a migration may stay at the source before it is cancelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Timeout {
    /// [`AUTO_SECONDS_PER_GIB`] for each GiB of memory begun.
    #[default]
    Auto,
    /// So long.
    Fixed(Duration),
}

/// OpenStack Nova's default, `live_migration_completion_timeout`, in seconds per GiB.
pub const AUTO_SECONDS_PER_GIB: u64 = 800;

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Fixed(limit) => f.pad(&humantime::format_duration(*limit).to_string()),
        }
    }
}

impl Timeout {
    fn seconds(self, memory_bytes: u64) -> f64 {
        match self {
            Self::Fixed(limit) => limit.as_secs_f64(),
            Self::Auto => (memory_bytes.div_ceil(1 << 30).max(1) * AUTO_SECONDS_PER_GIB) as f64,
        }
    }
}

/// What the coordinator hears.
enum Message {
    Interrupt,
    From(usize, Update),
}

/// The way to interrupt a run from elsewhere, a signal handler's thread for one.
#[derive(Clone)]
pub struct Interrupter(Sender<Message>);

impl Interrupter {
    /// Interrupts the run; a second time makes it return at once.
    pub fn interrupt(&self) {
        // Nobody listens any more when the run is over.
        let _ = self.0.send(Message::Interrupt);
    }
}

/// An evacuation that is ready to run.
pub struct Evacuation<'a> {
    plan: &'a Plan,
    hosts: Arc<dyn Hosts>,
    options: Options,
    sender: Sender<Message>,
    inbox: Receiver<Message>,
    start: Instant,
    waiting: VecDeque<usize>,
    /// By index of the plan's migrations: the driver's inbox, while it runs.
    running: Vec<Option<Sender<Input>>>,
    phases: Vec<Phase>,
    reports: Vec<Option<DomainReport>>,
    /// By the same index: its pass and the bytes that remain.
    passes: Vec<(u64, u64)>,
    /// By the same index: the most that it may take, in MiB/s.
    limits: Vec<u64>,
    interrupts: usize,
}

impl<'a> Evacuation<'a> {
    /// Prepares the run of a plan.
    pub fn new(plan: &'a Plan, hosts: Arc<dyn Hosts>, options: Options) -> Self {
        let (sender, inbox) = mpsc::channel();
        let count = plan.migrations.len();
        Self {
            plan,
            hosts,
            options,
            sender,
            inbox,
            start: Instant::now(),
            waiting: (0..count).collect(),
            running: vec![None; count],
            phases: vec![Phase::Starting; count],
            reports: vec![None; count],
            passes: vec![(0, 0); count],
            limits: vec![UNLIMITED_MIB; count],
            interrupts: 0,
        }
    }

    /// The way to interrupt it.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.sender.clone())
    }

    /// Runs the plan to its end; `tell` hears every event, the report as the last.
    pub fn run(mut self, tell: &mut dyn FnMut(&Timed)) -> Report {
        self.start = Instant::now();
        self.tell(
            tell,
            Event::Start {
                source: self.plan.source.clone(),
                destination: self.plan.destination.clone(),
                domains: self.plan.migrations.iter().map(|step| step.domain.clone()).collect(),
                predicted_seconds: self.plan.predicted.total_seconds,
            },
        );
        self.launch_due(tell);
        while self.in_flight() > 0 && self.interrupts < 2 {
            let Ok(message) = self.inbox.recv() else { break };
            match message {
                Message::Interrupt => self.interrupt(tell),
                Message::From(index, update) => self.update(index, update, tell),
            }
            self.launch_due(tell);
        }
        let report = self.report();
        self.tell(tell, Event::Report(report.clone()));
        report
    }

    fn tell(&self, tell: &mut dyn FnMut(&Timed), event: Event) {
        // To the millisecond: more would only be noise in a log.
        let elapsed_seconds = (self.start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        tell(&Timed { elapsed_seconds, event });
    }

    fn notice(&self, tell: &mut dyn FnMut(&Timed), message: String) {
        self.tell(tell, Event::Notice { message });
    }

    fn step(&self, index: usize) -> &'a Step {
        &self.plan.migrations[index]
    }

    fn in_flight(&self) -> usize {
        self.running.iter().flatten().count()
    }

    /// Launches in the plan's order, each as soon as few enough are in flight.
    fn launch_due(&mut self, tell: &mut dyn FnMut(&Timed)) {
        while self.interrupts == 0
            && let Some(&index) = self.waiting.front()
            && self.in_flight() < self.step(index).concurrency.max(1)
        {
            self.waiting.pop_front();
            self.launch(index, tell);
        }
    }

    fn launch(&mut self, index: usize, tell: &mut dyn FnMut(&Timed)) {
        let step = self.step(index);
        let (sender, inbox) = mpsc::channel();
        self.running[index] = Some(sender.clone());
        self.tell(tell, Event::Launch { domain: step.domain.clone(), technique: step.technique });
        self.share_bandwidth();
        let request = MigrationRequest {
            uuid: step.uuid.clone(),
            technique: step.technique,
            persistent: false,
            route: self.options.route,
            migration_uri: self.options.migration_uri.clone(),
            bandwidth_mib: Some(self.limits[index]).filter(|limit| *limit < UNLIMITED_MIB),
        };
        let timeout = self.options.timeouts.get(&step.uuid).copied().unwrap_or(self.options.timeout);
        let (hosts, out) = (Arc::clone(&self.hosts), self.sender.clone());
        thread::spawn(move || {
            // Nobody listens any more when tsmig is on its way out.
            let tell = move |update| drop(out.send(Message::From(index, update)));
            match hosts.definition(&request.uuid) {
                Ok(definition) => Driver {
                    hosts,
                    request: MigrationRequest { persistent: definition.persistent, ..request },
                    definition,
                    timeout_seconds: Some(timeout.seconds(definition.memory_bytes)),
                    limit: None,
                    sender,
                    inbox,
                    tell,
                }
                .run(),
                Err(error) => tell(Update::Ended(Ended::not_started(&error))),
            }
        });
    }

    /// Tells each migration in flight its share of the bandwidth, where it has changed.
    fn share_bandwidth(&mut self) {
        let in_flight: Vec<_> = (0..self.running.len()).filter(|index| self.running[*index].is_some()).collect();
        let of = |index: &usize| {
            let (pass, remaining) = self.passes[*index];
            InFlight { technique: self.step(*index).technique, pass, remaining }
        };
        let migrations: Vec<_> = in_flight.iter().map(of).collect();
        let limits = share::limits(&migrations, self.plan.bandwidth_bits_per_second, self.plan.known_link());
        for (index, limit) in in_flight.into_iter().zip(limits) {
            if std::mem::replace(&mut self.limits[index], limit) != limit
                && let Some(driver) = &self.running[index]
            {
                // A driver that has just ended needs no share.
                let _ = driver.send(Input::Limit(limit));
            }
        }
    }

    fn interrupt(&mut self, tell: &mut dyn FnMut(&Timed)) {
        self.interrupts += 1;
        if self.interrupts > 1 {
            return;
        }
        for driver in self.running.iter().flatten() {
            // A driver that has just ended has nothing to cancel.
            let _ = driver.send(Input::Abort);
        }
        let post_copies = self.in_post_copy().count();
        self.notice(
            tell,
            format!(
                "interrupted: nothing more is launched, pre-copies are cancelled, {post_copies} in post-copy must \
                 finish; interrupt again to leave at once"
            ),
        );
    }

    fn in_post_copy(&self) -> impl Iterator<Item = usize> {
        (0..self.running.len()).filter(|i| self.running[*i].is_some() && self.phases[*i] == Phase::PostCopy)
    }

    fn update(&mut self, index: usize, update: Update, tell: &mut dyn FnMut(&Timed)) {
        let domain = self.step(index).domain.clone();
        match update {
            Update::Phase(phase) => {
                self.phases[index] = phase;
                self.tell(tell, Event::Phase { domain, phase });
            }
            Update::Progress(progress) => {
                self.tell(tell, Event::Progress { domain, progress });
                self.passes[index] = (progress.pass, progress.remaining);
                self.share_bandwidth();
            }
            Update::NoPeer(error) => {
                if self.options.route == Route::PeerToPeer {
                    self.options.route = Route::ClientManaged;
                    self.notice(
                        tell,
                        format!(
                            "{} can't reach the libvirt of {} by itself, so this client manages the migrations and \
                             must stay until they end ({})",
                            self.plan.source, self.plan.destination, error.message
                        ),
                    );
                }
            }
            Update::Untidy(error) => {
                self.notice(tell, format!("{domain} runs at {}, but: {error}", self.plan.destination));
            }
            Update::Ended(ended) => {
                self.running[index] = None;
                let report = self.domain_report(index, ended);
                self.reports[index] = Some(report.clone());
                self.tell(tell, Event::Done(report));
                self.share_bandwidth();
            }
        }
    }

    fn domain_report(&self, index: usize, ended: Ended) -> DomainReport {
        let step = self.step(index);
        let (source, destination) = (&self.plan.source, &self.plan.destination);
        let cause = ended.cause.unwrap_or_else(|| "libvirt reported no error".to_owned());
        let look = format!("look at it on both hosts with `virsh domstate {} --reason`", step.domain);
        let (outcome, error) = match ended.verdict {
            Verdict::Migrated => (DomainOutcome::Migrated, None),
            Verdict::Remains => {
                let why = if self.interrupts > 0 { "interrupted" } else { &cause };
                (DomainOutcome::Remains, Some(format!("it is at {source} as before: {why}")))
            }
            Verdict::NeedsRecovery(state) => (
                DomainOutcome::NeedsRecovery,
                Some(format!("{state} ({cause}); do not start, reset or destroy it: {look}")),
            ),
            Verdict::Lost(state) => {
                (DomainOutcome::Lost, Some(format!("{state} ({cause}); {look}, then start it from its disk")))
            }
            Verdict::Gone(state) => {
                (DomainOutcome::Gone, Some(format!("{state}; it was running neither at {source} nor at {destination}")))
            }
        };
        DomainReport {
            domain: step.domain.clone(),
            uuid: step.uuid.clone(),
            technique: Some(step.technique),
            outcome,
            seconds: ended.seconds,
            downtime_seconds: ended.downtime_seconds,
            bytes: ended.bytes,
            passes: ended.passes,
            error,
        }
    }

    /// A domain that has no report yet: never launched, or still on its way when tsmig was told to leave.
    fn unreported(&self, index: usize) -> DomainReport {
        let step = self.step(index);
        let (outcome, error) = if self.running[index].is_none() {
            (DomainOutcome::Remains, format!("it is at {} as before: interrupted before its turn", self.plan.source))
        } else {
            let fate = match self.options.route {
                Route::PeerToPeer => "libvirt goes on with it",
                Route::ClientManaged => "without this client it goes on only if it was in post-copy",
            };
            let phase = if self.phases[index] == Phase::PostCopy { "post-copy" } else { "pre-copy" };
            (
                DomainOutcome::NeedsRecovery,
                format!(
                    "it was in {phase} when tsmig left; {fate}: look at it on both hosts with `virsh domstate {} \
                     --reason`",
                    step.domain
                ),
            )
        };
        DomainReport {
            domain: step.domain.clone(),
            uuid: step.uuid.clone(),
            technique: Some(step.technique),
            outcome,
            seconds: 0.0,
            downtime_seconds: None,
            bytes: 0,
            passes: 0,
            error: Some(error),
        }
    }

    fn report(&self) -> Report {
        let planned =
            (0..self.reports.len()).map(|index| self.reports[index].clone().unwrap_or_else(|| self.unreported(index)));
        let domains: Vec<_> = planned.chain(self.plan.refused.iter().map(refused)).collect();
        let left = self.interrupts > 1 && self.in_flight() > 0;
        Report {
            schema: report::SCHEMA.to_owned(),
            source: self.plan.source.clone(),
            destination: self.plan.destination.clone(),
            // Left on the user's word: that is the news, and the status; what is on its way is named.
            outcome: if left { Outcome::Interrupted } else { Outcome::of(&domains, self.interrupts > 0) },
            total_seconds: self.start.elapsed().as_secs_f64(),
            predicted_seconds: self.plan.predicted.total_seconds,
            domains,
        }
    }
}

/// A domain that was selected and could not be moved: it is still at the source, and the end state says so.
fn refused(refusal: &Refusal) -> DomainReport {
    DomainReport {
        domain: refusal.domain.clone(),
        uuid: refusal.uuid.clone(),
        technique: None,
        outcome: DomainOutcome::Remains,
        seconds: 0.0,
        downtime_seconds: None,
        bytes: 0,
        passes: 0,
        error: Some(refusal.reason.clone()),
    }
}
