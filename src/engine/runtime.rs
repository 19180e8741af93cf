//! Carries out what the [`Coordinator`] decides: threads, clocks, the journal, and the questions to the hosts.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::arrival::Watch;
use crate::engine::coordinator::{Coordinator, Effect, Input, Launch, Run, Task};
use crate::engine::driver::{self, Driver};
use crate::engine::events::{Event, Timed};
use crate::engine::launch;
use crate::engine::launch_queue::Schedule;
use crate::engine::migration::Verdict;
use crate::engine::migration::attempt::{Ended, Instruction, Update};
use crate::engine::options::Options;
use crate::engine::recovery::journal::{Entry, Journal};
use crate::engine::recovery::survey::Survey;
use crate::engine::watcher;
use crate::failure::{Cause, Trouble};
use crate::libvirt::{Definition, Hosts};
use crate::plan::Plan;
use crate::report::{DomainReport, Report};
use crate::topology::Side;

/// The way to a run from elsewhere, a signal handler's thread for one.
#[derive(Clone)]
pub struct Control(Sender<Input>);

impl Control {
    /// Interrupts the run; a second time makes it return at once.
    pub fn interrupt(&self) {
        // Nobody listens any more when the run is over.
        let _ = self.0.send(Input::Interrupt);
    }

    /// Changes what has not been launched.
    pub fn replace(&self, schedule: Schedule) {
        let _ = self.0.send(Input::Replace(schedule));
    }
}

/// An evacuation, or a recovery, that is ready to run.
pub struct Evacuation {
    coordinator: Coordinator,
    hands: Hands,
    inbox: Receiver<Input>,
    /// What is known of the guests that are to be watched.
    watch: Option<Watch>,
}

/// What effects are carried out with.
struct Hands {
    hosts: Arc<dyn Hosts>,
    journal: Arc<Journal>,
    options: Options,
    sender: Sender<Input>,
    /// The inboxes of the drivers, by UUID. One that has ended hears nothing.
    drivers: HashMap<String, Sender<driver::Input>>,
    /// The inbox of the watcher, if there is one.
    watcher: Option<Sender<String>>,
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
        let tasks = plan.migrations.iter().map(|step| Task::of(plan, step)).collect();
        let guests = plan.migrations.iter().map(|step| (step.uuid.clone(), step.steady.clone()));
        let watch = options.watch_arrivals.then(|| Watch::new(guests));
        let coordinator = Coordinator::new(Run::of(plan, earlier, &options), tasks);
        Self { watch, ..Self::of(coordinator, hosts, journal, options) }
    }

    /// The same, with what tells by a domain's name and UUID whether the user's rules want it moved: one that was started at
    /// the source after planning is then in the report. `empties` is whether the rules are about all domains: then whatever
    /// starts at the source again is told, what stays on purpose, too.
    pub fn wanting(mut self, wanted: impl Fn(&str, &str) -> bool + Send + 'static, empties: bool) -> Self {
        self.coordinator.want(Box::new(wanted), empties);
        self
    }

    /// Prepares to finish what was found between two hosts. It cancels nothing: the first interrupt makes it leave.
    pub fn recovery(
        names: (&str, &str),
        survey: Survey,
        hosts: Arc<dyn Hosts>,
        journal: Arc<Journal>,
        options: Options,
    ) -> Self {
        let tasks = survey.findings.iter().map(Task::from).collect();
        let run = Run::recovery(names, survey.unanswered, &options);
        Self::of(Coordinator::new(run, tasks), hosts, journal, options)
    }

    fn of(coordinator: Coordinator, hosts: Arc<dyn Hosts>, journal: Arc<Journal>, options: Options) -> Self {
        let (sender, inbox) = mpsc::channel();
        let (drivers, watcher) = (HashMap::new(), None);
        Self { coordinator, hands: Hands { hosts, journal, options, sender, drivers, watcher }, inbox, watch: None }
    }

    /// The way to interrupt it, or to change it.
    pub fn control(&self) -> Control {
        Control(self.hands.sender.clone())
    }

    /// Runs to the end; `tell` hears every event, the report as the last.
    pub fn run(mut self, tell: &mut dyn FnMut(&Timed)) -> Report {
        if let Some(watch) = self.watch.take() {
            self.hands.start_watcher(watch);
        }
        let start = Instant::now();
        let mut input = Input::Begin;
        loop {
            let now = start.elapsed();
            for effect in self.coordinator.handle(input, now) {
                match effect {
                    Effect::Tell(event) => tell(&Timed::at(now.as_secs_f64(), event)),
                    Effect::Finish(report) => {
                        tell(&Timed::at(now.as_secs_f64(), Event::Report(report.clone())));
                        return report;
                    }
                    effect => self.hands.carry_out(effect),
                }
            }
            let patience = self.coordinator.wakes_at().map_or(Duration::MAX, |at| at.saturating_sub(start.elapsed()));
            input = match self.inbox.recv_timeout(patience) {
                Ok(input) => input,
                // The other end is in these hands, so nothing came in time.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Input::Tick,
            };
        }
    }
}

impl Hands {
    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Launch(launch) => self.launch(launch),
            Effect::Instruct(uuid, instruction) => self.instruct(&uuid, instruction),
            Effect::Record(entry) => self.record(&entry),
            Effect::Proof { domain, kind, proven } => self.remember(&domain, &kind, proven),
            // If the source does not answer now, the launches will tell.
            Effect::ListSource => self.post(Input::Begun(self.hosts.list(Side::Source).unwrap_or_default())),
            Effect::ListBoth => {
                let source = self.hosts.list(Side::Source);
                self.post(Input::Ended(source.and_then(|source| Ok((source, self.hosts.list(Side::Destination)?)))));
            }
            Effect::Watch(uuid) => {
                // The coordinator waits for no watcher that has failed.
                self.watcher.as_ref().map(|watcher| watcher.send(uuid));
            }
            Effect::Tell(_) | Effect::Finish(_) => {}
        }
    }

    /// It ends soon after these hands.
    fn start_watcher(&mut self, watch: Watch) {
        let (sender, arrivals) = mpsc::channel();
        self.watcher = Some(sender);
        let (hosts, out) = (Arc::clone(&self.hosts), self.sender.clone());
        thread::spawn(move || {
            let tell = |uuid, distress| drop(out.send(Input::Watched(uuid, distress)));
            watcher::watch(&hosts, watch, &arrivals, tell);
        });
    }

    /// Hears the answer after what has happened before it was asked for.
    fn post(&self, input: Input) {
        // The other end lives as long as these hands.
        let _ = self.sender.send(input);
    }

    fn record(&self, entry: &Entry) {
        if let Err(error) = self.journal.record(entry) {
            self.post(Input::Unrecorded(error.to_string()));
        }
    }

    /// Where it can't be written, the next run has to prove it again.
    fn remember(&self, domain: &str, kind: &str, proven: bool) {
        if let Some(proofs) = &self.options.proofs {
            let _ = proofs.record(domain, kind, proven);
        }
    }

    fn instruct(&self, uuid: &str, instruction: Instruction) {
        if let Some(driver) = self.drivers.get(uuid) {
            // A driver that has just ended needs to know nothing more.
            let _ = driver.send(driver::Input::Told(instruction));
        }
    }

    fn launch(&mut self, launch: Launch) {
        let (sender, inbox) = mpsc::channel();
        let uuid = launch.uuid.clone();
        self.drivers.insert(uuid.clone(), sender.clone());
        let (out, from) = (self.sender.clone(), uuid.clone());
        let driver = Driver {
            hosts: Arc::clone(&self.hosts),
            journal: Arc::clone(&self.journal),
            domain: launch.domain.clone(),
            uuid,
            before: Definition::default(),
            sender,
            inbox,
            // Nobody listens any more when tsmig is on its way out.
            tell: move |update: Update| drop(out.send(Input::From(from.clone(), update))),
        };
        let options = self.options.clone();
        let (out, technique) = (self.sender.clone(), launch.transfer.technique);
        thread::spawn(move || {
            // A run waits for the end of each migration: it must not wait for a driver that has failed.
            let followed = panic::catch_unwind(AssertUnwindSafe(|| launch::start(driver, &launch, &options)));
            if followed.is_err() {
                let verdict = Verdict::NeedsRecovery(Trouble::Unwatched);
                let ended = Ended { verdict, ..Ended::not_wanted(technique, Cause::Unreported) };
                drop(out.send(Input::From(launch.uuid, Update::Ended(ended))));
            }
        });
    }
}
