//! Runs a [`Plan`], or finishes what an earlier run left: launches each migration when its turn has come, adopts those
//! that run already, and tells by [`Event`]s what happens.
//!
//! One thread coordinates; each migration has its driver. A failed migration is data in the report and never
//! cancels its siblings, but a network over which nothing crosses ends the launching, and so does a guest that is lost. After a first interrupt nothing
//! more is launched, pre-copies are cancelled and post-copies finish; after a second one this returns at once and the
//! report says what is still on its way. At the end both hosts are listed again, and the report says what is true then.

mod bandwidth;
mod driver;
pub mod events;
mod final_check;
mod gate;
pub mod hooks;
mod launch;
mod launch_queue;
pub mod migration;
mod options;
mod outcome;
pub mod recovery;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::domain::Fault;
use crate::domain::{Technique, Transfer};
use crate::engine::bandwidth::{InFlight, Share};
use crate::engine::driver::{Driver, Ended, Input, Update};
use crate::engine::events::{Event, Timed};
use crate::engine::launch_queue::{Queue, Turn};
use crate::engine::migration::convergence::SILENCE_SECONDS;
use crate::engine::migration::{Course, Phase, Progress, Verdict};
use crate::engine::outcome::Names;
use crate::engine::recovery::journal::{Entry, Journal};
use crate::engine::recovery::survey::Finding;
use crate::libvirt::{Definition, HostError, HostErrorKind, Hosts, MigrationRequest, Route, no_data};
use crate::plan::{Plan, Refusal, StayKind};
use crate::report::{self, DomainOutcome, DomainReport, Report};
use crate::topology::Side;

pub use options::{AUTO_SECONDS_PER_GIB, Options, Timeout};

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

/// Whether a domain is wanted elsewhere, by its name and UUID.
type Wanted = Box<dyn Fn(&str, &str) -> bool + Send>;

/// One domain to see to.
struct Task {
    domain: String,
    uuid: String,
    technique: Technique,
    concurrency: usize,
    start: Start,
}

/// How a task starts.
enum Start {
    /// By a migration; `forced` where the user, not the planner, chose the technique.
    Launch { forced: bool },
    /// It has started, or ended, before this run; with what it was found to be.
    Adopt { before: Definition, state: String },
}

/// A task's state.
struct State {
    /// The driver's inbox, while it runs.
    driver: Option<Sender<Input>>,
    phase: Option<Phase>,
    /// How it moves by now, which may differ from the plan.
    technique: Technique,
    /// Whether it was seen in post-copy.
    switched: bool,
    /// Whether its driver was told that it may switch to post-copy.
    may_switch: bool,
    progress: Progress,
    /// The error that has stopped it at the source, since the run began or before.
    fault: Option<Fault>,
    /// Who drives it.
    route: Route,
    /// Since when the destination waits for its memory.
    awaited_at: Option<Instant>,
    /// When a byte of it last crossed, as far as its driver told.
    moved_at: Option<Instant>,
    share: Share,
    report: Option<DomainReport>,
}

impl State {
    fn new(technique: Technique) -> Self {
        Self {
            driver: None,
            phase: None,
            technique,
            switched: false,
            may_switch: false,
            progress: Progress::default(),
            fault: None,
            route: Route::PeerToPeer,
            awaited_at: None,
            moved_at: None,
            share: Share::ALL,
            report: None,
        }
    }
}

/// An evacuation, or a recovery, that is ready to run.
pub struct Evacuation {
    job: report::Job,
    source: String,
    destination: String,
    predicted_seconds: Option<f64>,
    bandwidth_bits_per_second: Option<f64>,
    known_link: Option<f64>,
    launch_ahead: bool,
    refused: Vec<Refusal>,
    /// Why the plan does not move domains that the rules want moved, by UUID.
    not_in_plan: HashMap<String, String>,
    /// Whether the user's rules want a domain moved, by its name and UUID.
    wanted: Wanted,
    /// Domains that came to the source after planning, as the last look finds them.
    newcomers: Vec<DomainReport>,
    /// Domains that an error had stopped at the source when the run began, by UUID.
    faults: HashMap<String, Fault>,
    /// What is to be reported of domains that this run does not look after.
    earlier: Vec<DomainReport>,
    hosts: Arc<dyn Hosts>,
    journal: Arc<Journal>,
    options: Options,
    sender: Sender<Message>,
    inbox: Receiver<Message>,
    start: Instant,
    tasks: Vec<Task>,
    states: Vec<State>,
    queue: Queue,
    /// Why nothing more is launched.
    halted: Option<String>,
    post_copy_works: bool,
    /// Whether it was said that no data gets through.
    told_mute: bool,
    /// Whether a guest was seen to run at the destination in post-copy: it can load what the source sends.
    proven: bool,
    unrecorded: bool,
    interrupts: usize,
    /// At which interrupt it leaves at once.
    leaves_at: usize,
}

impl Evacuation {
    /// Prepares the run of a plan. `earlier` are the reports of domains that were recovered first.
    pub fn new(
        plan: &Plan,
        earlier: Vec<DomainReport>,
        hosts: Arc<dyn Hosts>,
        journal: Arc<Journal>,
        options: Options,
    ) -> Self {
        let tasks = plan.migrations.iter().map(|step| Task {
            domain: step.domain.clone(),
            uuid: step.uuid.clone(),
            technique: step.technique,
            concurrency: step.concurrency,
            start: Start::Launch { forced: step.forced },
        });
        let not_in_plan = plan.stays.iter().filter(|stay| stay.kind == Some(StayKind::NotInPlan));
        let planned = |report: &DomainReport| plan.migrations.iter().any(|step| step.uuid == report.uuid);
        Self {
            predicted_seconds: plan.predicted.total_seconds,
            bandwidth_bits_per_second: plan.bandwidth_bits_per_second,
            known_link: plan.known_link(),
            launch_ahead: plan.launch_ahead,
            refused: plan.refused.clone(),
            not_in_plan: not_in_plan.map(|stay| (stay.uuid.clone(), stay.reason.clone())).collect(),
            post_copy_works: !earlier.iter().any(|report| report.outcome == DomainOutcome::Lost),
            earlier: earlier.into_iter().filter(|report| !planned(report)).collect(),
            ..Self::of(report::Job::Evacuate, &plan.source, &plan.destination, tasks.collect(), hosts, journal, options)
        }
    }

    /// The same, with what tells by a domain's name and UUID whether the user's rules want it moved: one that was started at
    /// the source after planning is then in the report.
    pub fn wanting(self, wanted: impl Fn(&str, &str) -> bool + Send + 'static) -> Self {
        Self { wanted: Box::new(wanted), ..self }
    }

    /// Prepares to finish what was found between two hosts. It cancels nothing: the first interrupt makes it leave.
    pub fn recovery(
        source: &str,
        destination: &str,
        findings: &[Finding],
        hosts: Arc<dyn Hosts>,
        journal: Arc<Journal>,
        options: Options,
    ) -> Self {
        let tasks = findings.iter().map(|finding| Task {
            domain: finding.domain.clone(),
            uuid: finding.uuid.clone(),
            technique: finding.technique,
            concurrency: usize::MAX,
            start: Start::Adopt { before: finding.before.clone(), state: finding.state.clone() },
        });
        let tasks = tasks.collect();
        Self { leaves_at: 1, ..Self::of(report::Job::Recover, source, destination, tasks, hosts, journal, options) }
    }

    /// The same, with what is to be reported of domains that nothing can be done about.
    pub fn beside(self, others: Vec<DomainReport>) -> Self {
        Self { earlier: others, ..self }
    }

    fn of(
        job: report::Job,
        source: &str,
        destination: &str,
        tasks: Vec<Task>,
        hosts: Arc<dyn Hosts>,
        journal: Arc<Journal>,
        options: Options,
    ) -> Self {
        let (sender, inbox) = mpsc::channel();
        Self {
            job,
            source: source.to_owned(),
            destination: destination.to_owned(),
            predicted_seconds: None,
            bandwidth_bits_per_second: None,
            known_link: None,
            launch_ahead: false,
            refused: Vec::new(),
            not_in_plan: HashMap::new(),
            wanted: Box::new(|_, _| false),
            newcomers: Vec::new(),
            faults: HashMap::new(),
            earlier: Vec::new(),
            hosts,
            journal,
            options,
            sender,
            inbox,
            start: Instant::now(),
            states: tasks.iter().map(|task| State::new(task.technique)).collect(),
            queue: Queue::new(tasks.iter().map(|task| task.concurrency)),
            tasks,
            halted: None,
            post_copy_works: true,
            told_mute: false,
            proven: false,
            unrecorded: false,
            interrupts: 0,
            leaves_at: 2,
        }
    }

    /// The way to interrupt it.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.sender.clone())
    }

    /// Runs to the end; `tell` hears every event, the report as the last.
    pub fn run(mut self, tell: &mut dyn FnMut(&Timed)) -> Report {
        self.start = Instant::now();
        self.tell(
            tell,
            Event::Start {
                job: self.job,
                source: self.source.clone(),
                destination: self.destination.clone(),
                domains: self.tasks.iter().map(|task| task.domain.clone()).collect(),
                predicted_seconds: self.predicted_seconds,
            },
        );
        if let Some(lost) = self.earlier.iter().find(|report| report.outcome == DomainOutcome::Lost) {
            let message =
                format!("{} was lost in an earlier run: until it is started again, all go by pre-copy", lost.domain);
            self.notice(tell, message);
        }
        // Who interrupts before the first launch wants none.
        while let Ok(Message::Interrupt) = self.inbox.try_recv() {
            self.interrupt(tell);
        }
        // If the source does not answer now, the launches will tell.
        let listed = self.hosts.list(Side::Source).unwrap_or_default();
        self.faults = listed.into_iter().filter_map(|listed| Some((listed.uuid, listed.fault?))).collect();
        while self.interrupts < self.leaves_at {
            let pause = self.launch_due(tell);
            self.allow_switches();
            if pause.is_none() && self.in_flight() == 0 {
                break;
            }
            let pauses = [pause, self.patience().filter(|patience| !patience.is_zero())];
            match self.inbox.recv_timeout(pauses.into_iter().flatten().min().unwrap_or(Duration::MAX)) {
                Ok(Message::Interrupt) => self.interrupt(tell),
                Ok(Message::From(index, update)) => self.update(index, update, tell),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if !self.left() {
            self.look_again(tell);
        }
        let report = self.report();
        self.tell(tell, Event::Report(report.clone()));
        report
    }

    /// Whether it leaves with migrations on their way.
    fn left(&self) -> bool {
        self.interrupts >= self.leaves_at && self.in_flight() > 0
    }

    fn tell(&self, tell: &mut dyn FnMut(&Timed), event: Event) {
        // To the millisecond: more would only be noise in a log.
        let elapsed_seconds = (self.start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        tell(&Timed { elapsed_seconds, event });
    }

    fn notice(&self, tell: &mut dyn FnMut(&Timed), message: String) {
        self.tell(tell, Event::Notice { message });
    }

    fn names(&self) -> Names<'_> {
        Names { source: &self.source, destination: &self.destination }
    }

    fn in_flight(&self) -> usize {
        self.states.iter().filter(|state| state.driver.is_some()).count()
    }

    /// Those in flight whose phase is that.
    fn count(&self, phase: Phase) -> usize {
        self.states.iter().filter(|state| state.driver.is_some() && state.phase == Some(phase)).count()
    }

    /// Launches what is due; returns how long to wait at the most for the next, `None` where that depends on others.
    fn launch_due(&mut self, tell: &mut dyn FnMut(&Timed)) -> Option<Duration> {
        loop {
            if self.interrupts > 0 || self.halted.is_some() || self.is_broken() && !self.adopts() {
                return None;
            }
            if self.patience() == Some(Duration::ZERO) {
                self.say_mute(tell);
                return None;
            }
            if self.queue.front().is_some_and(|next| self.waits_for_proof(next)) {
                return None;
            }
            match self.queue.next(self.start.elapsed(), self.in_flight() - self.about_to_end()) {
                Turn::Now(index) => self.launch(index, tell),
                Turn::In(pause) => return Some(pause),
                Turn::AfterOthers => return None,
            }
        }
    }

    /// Until no byte of this run has crossed, for how long one that the destination waits for is given time; zero once
    /// that is over, when most likely a firewall keeps them all back.
    fn patience(&self) -> Option<Duration> {
        let in_flight = || self.states.iter().filter(|state| state.driver.is_some());
        let since = in_flight().filter_map(|state| state.awaited_at).min()?;
        let limit = Duration::from_secs_f64(SILENCE_SECONDS);
        (!self.has_moved() && !self.adopts()).then(|| limit.saturating_sub(since.elapsed()))
    }

    /// Whether a byte of any migration has crossed.
    fn has_moved(&self) -> bool {
        let arrived = |report: &DomainReport| report.outcome == DomainOutcome::Migrated;
        self.states.iter().any(|state| state.moved_at.is_some() || state.report.as_ref().is_some_and(arrived))
    }

    fn say_mute(&mut self, tell: &mut dyn FnMut(&Timed)) {
        if !std::mem::replace(&mut self.told_mute, true) {
            let to = self.options.migration_uri.as_ref().unwrap_or(&self.destination);
            let problem = no_data(to, &self.source, &self.destination);
            self.notice(tell, format!("{problem}; nothing more is launched until data crosses"));
        }
    }

    /// Migrations in flight whose place may be taken already, so that the link does not lie idle while the next is
    /// set up; none where the user limits how many there may be.
    fn about_to_end(&self) -> usize {
        let in_flight = (0..self.states.len()).filter(|&index| self.states[index].driver.is_some());
        if self.launch_ahead { in_flight.filter(|&index| self.flight(index).is_about_to_end()).count() } else { 0 }
    }

    fn flight(&self, index: usize) -> InFlight {
        let Progress { pass, remaining, eta_seconds, .. } = self.states[index].progress;
        InFlight { technique: self.states[index].technique, pass, remaining, eta_seconds }
    }

    fn adopts(&self) -> bool {
        self.job == report::Job::Recover
    }

    fn launch(&mut self, index: usize, tell: &mut dyn FnMut(&Timed)) {
        let (sender, inbox) = mpsc::channel();
        self.states[index].driver = Some(sender.clone());
        self.states[index].route = self.options.route;
        let Task { domain, technique, start, .. } = &self.tasks[index];
        let (domain, technique) = (domain.clone(), *technique);
        self.tell(
            tell,
            match start {
                Start::Launch { .. } => Event::Launch { domain: domain.clone(), technique },
                Start::Adopt { state, .. } => Event::Adopt { domain: domain.clone(), technique, state: state.clone() },
            },
        );
        self.share_bandwidth();
        let Task { uuid, start, .. } = &self.tasks[index];
        let request = MigrationRequest {
            uuid: uuid.clone(),
            transfer: Transfer::by(technique),
            resume: false,
            persistent: false,
            route: self.options.route,
            migration_uri: self.options.migration_uri.clone(),
            bandwidth_mib: self.states[index].share.limit(),
        };
        let out = self.sender.clone();
        let driver = Driver {
            hosts: Arc::clone(&self.hosts),
            journal: Arc::clone(&self.journal),
            domain,
            request,
            before: Definition::default(),
            course: Course { technique, post_copy: false, on_stall: None, timeout_seconds: None },
            insists: self.adopts(),
            sender,
            inbox,
            limit: None,
            // Nobody listens any more when tsmig is on its way out.
            tell: move |update| drop(out.send(Message::From(index, update))),
        };
        match start {
            Start::Adopt { before, .. } => {
                let request = MigrationRequest { persistent: before.persistent, ..driver.request.clone() };
                let driver = Driver { request, before: before.clone(), ..driver };
                thread::spawn(move || driver.adopt());
            }
            Start::Launch { forced } => {
                let (forced, options, works) = (*forced, self.options.clone(), self.post_copy_works);
                thread::spawn(move || launch::launch(driver, &options, forced, works));
            }
        }
    }

    /// Tells each migration in flight its share of the bandwidth, where it has changed. A recovery shares nothing out:
    /// what it adopts has its limits.
    fn share_bandwidth(&mut self) {
        if self.adopts() {
            return;
        }
        let needs_some = |&index: &usize| self.states[index].driver.is_some() && !self.flight(index).is_through();
        let in_flight: Vec<_> = (0..self.states.len()).filter(needs_some).collect();
        let migrations: Vec<_> = in_flight.iter().map(|&index| self.flight(index)).collect();
        let shares = bandwidth::shares(&migrations, self.bandwidth_bits_per_second, self.known_link);
        for (index, share) in in_flight.into_iter().zip(shares) {
            let state = &mut self.states[index];
            let changed = std::mem::replace(&mut state.share, share) != share;
            if let Some(driver) = state.driver.as_ref().filter(|_| changed) {
                // A driver that has just ended needs no share.
                let _ = driver.send(Input::Share(share));
            }
        }
    }

    fn tell_drivers(&self, input: impl Fn() -> Input) {
        for driver in self.states.iter().filter_map(|state| state.driver.as_ref()) {
            // A driver that has just ended needs to know nothing more.
            let _ = driver.send(input());
        }
    }

    fn interrupt(&mut self, tell: &mut dyn FnMut(&Timed)) {
        self.interrupts += 1;
        if self.interrupts >= self.leaves_at {
            return;
        }
        self.tell_drivers(|| Input::Abort("interrupted".to_owned()));
        let post_copies = self.count(Phase::PostCopy) + self.count(Phase::Recovering);
        self.notice(
            tell,
            format!(
                "interrupted: nothing more is launched, pre-copies are cancelled, {post_copies} in post-copy must \
                 finish; interrupt again to leave at once"
            ),
        );
    }

    /// Launches nothing more and cancels what can be cancelled.
    fn halt(&mut self, reason: &str, advice: &str, tell: &mut dyn FnMut(&Timed)) {
        if self.halted.is_none() && !self.adopts() {
            self.halted = Some(reason.to_owned());
            self.tell_drivers(|| Input::Abort(reason.to_owned()));
            self.notice(tell, format!("{reason}: nothing more is launched, pre-copies are cancelled; {advice}"));
        }
    }

    fn update(&mut self, index: usize, update: Update, tell: &mut dyn FnMut(&Timed)) {
        let domain = self.tasks[index].domain.clone();
        let destination = self.destination.clone();
        match update {
            Update::Phase(phase) => {
                let state = &mut self.states[index];
                state.phase = Some(phase);
                if matches!(phase, Phase::PostCopy | Phase::Recovering) {
                    (state.technique, state.switched) = (Technique::PostCopy, true);
                }
                self.tell(tell, Event::Phase { domain, phase });
                self.share_bandwidth();
            }
            Update::Progress(progress) => {
                self.tell(tell, Event::Progress { domain, progress });
                let state = &mut self.states[index];
                if progress.transferred > state.progress.transferred {
                    state.moved_at = Some(Instant::now());
                }
                state.progress = progress;
                self.share_bandwidth();
            }
            Update::NoPeer(error) => self.no_peer(index, &error, tell),
            Update::Stopped(fault) => self.states[index].fault = Some(fault),
            Update::Awaited => self.states[index].awaited_at = Some(Instant::now()),
            // What has got through before says that the way is open.
            Update::NoData(error) if !self.has_moved() => self.halt(&error.message, "then run this again", tell),
            Update::NoData(_) => {}
            Update::ByPreCopy => self.states[index].technique = Technique::PreCopy,
            Update::Loaded => self.proven = true,
            Update::NoPostCopy(error) => {
                self.states[index].technique = Technique::PreCopy;
                if self.post_copy_works {
                    self.post_copy_works = false;
                    self.notice(
                        tell,
                        format!(
                            "{destination} can't post-copy, so all go by pre-copy ({}); most likely its QEMU may not \
                             use userfaultfd: `sysctl -w vm.unprivileged_userfaultfd=1` there allows it",
                            error.message
                        ),
                    );
                }
            }
            Update::Busy(error) => self.busy(index, &error, tell),
            Update::Silent => self.silent(index, tell),
            Update::Switching(why) => {
                self.notice(tell, format!("{domain}: {why}; it is switched to post-copy"));
                self.states[index].technique = Technique::PostCopy;
                self.share_bandwidth();
                if let Some(reason) = self.halted.clone() {
                    self.cancel(index, &reason);
                }
            }
            Update::Resuming(error) => {
                let cause = error.map_or_else(String::new, |error| format!(" ({error})"));
                self.notice(
                    tell,
                    format!(
                        "{domain}: its post-copy failed{cause} and is resumed until it gets through; do not reset or \
                         destroy it on either host"
                    ),
                );
            }
            Update::Tidied(tidied) => {
                self.notice(tell, format!("{domain}: {}", outcome::tidied(self.names(), tidied)));
            }
            Update::Untidy(error) => {
                self.notice(tell, format!("{domain} is at {destination}, but: {error}"));
            }
            Update::Unrecorded(error) => {
                if !self.unrecorded {
                    self.unrecorded = true;
                    self.notice(tell, format!("warning: the journal can't be written any more: {error}"));
                }
            }
            Update::Ended(ended) => {
                self.proven |= ended.verdict == Verdict::Migrated && self.states[index].switched;
                let stop = self.ends_post_copy(index, &ended.verdict);
                if ended.foreign && ended.verdict == Verdict::Migrated && !self.adopts() {
                    self.notice(tell, format!("{domain} was moved by somebody else and is at {destination}"));
                }
                let report = outcome::report(self.names(), (&domain, &self.tasks[index].uuid), ended);
                self.ended(index, report, tell);
                if let Some(reason) = stop {
                    self.stop_post_copy(reason, tell);
                }
            }
        }
    }

    /// The client manages a migration. It manages all later ones if the cause is one of the two hosts, and not of a domain.
    fn no_peer(&mut self, index: usize, error: &HostError, tell: &mut dyn FnMut(&Timed)) {
        self.states[index].route = Route::ClientManaged;
        let (source, destination, words) = (&self.source, &self.destination, &error.message);
        let message = match error.kind {
            _ if self.options.route == Route::ClientManaged => return,
            HostErrorKind::NoPeer => format!(
                "{source} can't reach the libvirt of {destination} by itself, so this client manages the migrations and \
                 must stay until they end ({words})"
            ),
            _ => format!(
                "{}: the libvirt of {source} lost its connection to that of {destination} twice, without a reason, so \
                 this client manages this one migration and must stay until it ends ({words})",
                self.tasks[index].domain
            ),
        };
        if error.kind == HostErrorKind::NoPeer {
            self.options.route = Route::ClientManaged;
        }
        self.notice(tell, message);
    }

    /// No byte of one migration crosses: where none of another does either, the network is to blame, else its emulator.
    fn silent(&mut self, index: usize, tell: &mut dyn FnMut(&Timed)) {
        let silence = format!("no byte of {} has crossed for {SILENCE_SECONDS} s", self.tasks[index].domain);
        // Half, since on a link that is cut the last bytes of all do not cross in the same instant.
        let lately = |at: Instant| at.elapsed().as_secs_f64() < SILENCE_SECONDS / 2.0;
        if self.states.iter().any(|state| state.moved_at.is_some_and(lately)) {
            let destination = &self.destination;
            let message =
                format!("{silence}, and others go on: it alone is cancelled; see to its emulator at {destination}");
            self.notice(tell, message);
        } else {
            let (source, destination) = (&self.source, &self.destination);
            let advice = format!("see to the network between {source} and {destination}, then run this again");
            self.halt(&silence, &advice, tell);
        }
    }

    fn busy(&mut self, index: usize, error: &HostError, tell: &mut dyn FnMut(&Timed)) {
        let Task { domain, uuid, technique, .. } = &self.tasks[index];
        let (domain, uuid, technique) = (domain.clone(), uuid.clone(), *technique);
        self.states[index] = State::new(technique);
        // It has not begun, and a later run has nothing to finish.
        self.record(index, Entry::End { uuid: uuid.clone(), outcome: DomainOutcome::Remains }, tell);
        if self.interrupts > 0 || self.halted.is_some() {
            return;
        }
        if self.queue.again(index, self.start.elapsed(), self.in_flight()) {
            let message = format!("{domain}: {} is busy ({}); it is tried again", error.host, error.message);
            self.notice(tell, message);
        } else {
            let ended = Ended::not_wanted(technique, error.to_string());
            let report = outcome::report(self.names(), (&domain, &uuid), ended);
            self.ended(index, report, tell);
        }
    }

    fn ended(&mut self, index: usize, report: DomainReport, tell: &mut dyn FnMut(&Timed)) {
        self.states[index].driver = None;
        self.queue.freed();
        let end = Entry::End { uuid: self.tasks[index].uuid.clone(), outcome: report.outcome };
        self.states[index].report = Some(report.clone());
        self.tell(tell, Event::Done(report));
        self.record(index, end, tell);
        self.share_bandwidth();
    }

    fn record(&mut self, index: usize, entry: Entry, tell: &mut dyn FnMut(&Timed)) {
        if let Err(error) = self.journal.record(&entry) {
            self.update(index, Update::Unrecorded(error), tell);
        }
    }
}
