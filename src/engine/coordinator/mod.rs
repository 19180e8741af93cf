//! Decides what an evacuation, or a recovery, does next: what happened goes in, effects come out.
//!
//! Pure: no clock, no thread, no libvirt. The same inputs at the same times give the same effects.

mod arrivals;
mod final_check;
mod gate;
mod run;
mod task;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use indexmap::IndexMap;

use crate::domain::{Fault, Phase, Route, Technique, Transfer};
use crate::engine::bandwidth::{Share, ahead_seconds, shares};
use crate::engine::events::{Event, Notice};
use crate::engine::launch_queue::{LaunchQueue, Schedule, Scheduled, Turn, Waiting};
use crate::engine::migration::attempt::{Ended, Instruction, Update};
use crate::engine::migration::convergence::SILENCE_SECONDS;
use crate::engine::migration::{Progress, Verdict};
use crate::engine::outcome;
use crate::engine::recovery::journal::Entry;
use crate::failure::{Cause, Distress, PostCopyEnd};
use crate::libvirt::{HostError, HostErrorKind, Listed};
use crate::report::{DomainOutcome, DomainReport, Report};

use gate::Passage;
pub(super) use run::Run;
use task::{Flight, Stage};
pub(super) use task::{Start, Task};

/// What the coordinator hears.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// The run begins.
    Begin,
    /// What the source had before anything was launched.
    Begun(Vec<Listed>),
    /// The user interrupts.
    Interrupt,
    /// What waits is to be launched otherwise.
    Replace(Schedule),
    /// The driver of a domain, by its UUID, tells.
    From(String, Update),
    /// Whether a domain that has arrived, by its UUID, is in distress: it is watched no longer.
    Watched(String, Option<Distress>),
    /// The journal can't be written, in the system's words.
    Unrecorded(String),
    /// Time has passed.
    Tick,
    /// What both hosts have at the end, the source listed first.
    Ended(Result<(Vec<Listed>, Vec<Listed>), HostError>),
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    /// Tell the user.
    Tell(Event),
    /// Write it into the journal.
    Record(Entry),
    /// Remember what came of a kind of guest.
    Proof {
        domain: String,
        /// [`Ground::key`](crate::plan::Ground::key).
        kind: String,
        /// Whether the destination could load it.
        proven: bool,
    },
    /// Start a driver.
    Launch(Launch),
    /// Tell the driver of a domain, by its UUID.
    Instruct(String, Instruction),
    /// Watch a domain that has arrived, by its UUID; the answer is [`Input::Watched`].
    Watch(String),
    /// List the source; the answer is [`Input::Begun`].
    ListSource,
    /// List both hosts; the answer is [`Input::Ended`].
    ListBoth,
    /// The run is over.
    Finish(Report),
}

/// A migration to start, or to adopt.
#[derive(Debug, PartialEq)]
pub(super) struct Launch {
    pub(super) domain: String,
    pub(super) uuid: String,
    pub(super) transfer: Transfer,
    pub(super) start: Start,
    pub(super) share: Share,
    pub(super) route: Route,
    /// Whether the destination can post-copy, as far as is known.
    pub(super) post_copy_works: bool,
    /// Whether the user asks for a resumption, known faults or not.
    pub(super) insists: bool,
}

/// Whether a domain is wanted elsewhere, by its name and UUID.
type Wanted = Box<dyn Fn(&str, &str) -> bool + Send>;

/// What an evacuation does next.
pub(super) struct Coordinator {
    run: Run,
    wanted: Wanted,
    /// Whether the source is to be emptied, so that whatever starts there again is news, and what stays on purpose, too.
    empties: bool,
    /// By UUID, in launch order.
    tasks: IndexMap<String, Task>,
    queue: LaunchQueue,
    /// Domains that an error had stopped at the source when the run began, by UUID.
    faults: HashMap<String, Fault>,
    stretch: Stretch,
    /// Why nothing more is launched.
    halted: Option<Cause>,
    /// Whether a post-copy was lost, or has failed for good.
    post_copy_ended: bool,
    post_copy_works: bool,
    /// The kinds of guests of which one was seen to run at the destination: it can load what the source sends.
    proven: HashSet<Option<usize>>,
    interrupts: usize,
    /// What the last one that began to cross took from its launch to that.
    setup: Option<Duration>,
    /// When a byte of any migration last crossed, as far as a driver told.
    moved_at: Option<Duration>,
    /// Those that have arrived and are watched, by UUID: until when their watch is waited for.
    watched: HashMap<String, Duration>,
    /// When the last verdict was known.
    ended_at: Option<Duration>,
    told_mute: bool,
    told_unrecorded: bool,
    /// Since the run began.
    now: Duration,
    wakes_at: Option<Duration>,
    effects: VecDeque<Effect>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stretch {
    /// The source is being listed.
    Beginning,
    Running,
    /// Both hosts are being listed.
    Ending,
}

impl Coordinator {
    pub(super) fn new(run: Run, tasks: Vec<Task>) -> Self {
        Self {
            post_copy_works: run.lost_earlier.is_none(),
            proven: run.proven().collect(),
            run,
            wanted: Box::new(|_, _| false),
            empties: false,
            queue: LaunchQueue::new(tasks.iter().map(|task| (task.uuid.clone(), task.concurrency))),
            tasks: tasks.into_iter().map(|task| (task.uuid.clone(), task)).collect(),
            faults: HashMap::new(),
            stretch: Stretch::Beginning,
            halted: None,
            post_copy_ended: false,
            interrupts: 0,
            setup: None,
            moved_at: None,
            watched: HashMap::new(),
            ended_at: None,
            told_mute: false,
            told_unrecorded: false,
            now: Duration::ZERO,
            wakes_at: None,
            effects: VecDeque::new(),
        }
    }

    /// What tells by a domain's name and UUID whether the user's rules want it moved, and whether they are about all domains.
    pub(super) fn want(&mut self, wanted: Wanted, empties: bool) {
        (self.wanted, self.empties) = (wanted, empties);
    }

    /// When [`Input::Tick`] is due if nothing else happens, in time since the beginning.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        self.wakes_at
    }

    /// Takes in what happened `now`, in time since the beginning, and says what is to be done, in this order.
    pub(super) fn handle(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        self.now = now;
        match input {
            Input::Begin => self.begin(),
            Input::Begun(source) => {
                self.faults = source.into_iter().filter_map(|listed| Some((listed.uuid, listed.fault?))).collect();
                self.stretch = Stretch::Running;
            }
            Input::Ended(lists) => self.finish(lists),
            // The last entry of a run is written when nothing else is to be done.
            Input::Unrecorded(error) => self.unrecorded(error),
            // The run is over but for the last look.
            _ if self.stretch == Stretch::Ending => {}
            Input::Interrupt => self.interrupt(),
            Input::Replace(schedule) => self.replace(&schedule),
            Input::From(uuid, update) => self.update(&uuid, update),
            Input::Watched(uuid, distress) => self.watched(&uuid, distress),
            Input::Tick => {}
        }
        if self.stretch == Stretch::Running {
            self.advance();
        }
        self.effects.drain(..).collect()
    }

    fn begin(&mut self) {
        let Run { job, source, destination, predicted_seconds, .. } = &self.run;
        self.tell(Event::Start {
            job: *job,
            source: source.clone(),
            destinations: vec![destination.clone()],
            domains: self.tasks.values().map(|task| task.domain.clone()).collect(),
            predicted_seconds: *predicted_seconds,
        });
        if let Some(domain) = self.run.lost_earlier.clone() {
            // Of which kind it was is not known any more.
            let kinds = self.run.grounds.iter().filter(|ground| ground.proven).filter_map(|ground| ground.key.clone());
            let forget = kinds.map(|kind| Effect::Proof { domain: domain.clone(), kind, proven: false });
            self.effects.extend(forget.collect::<Vec<_>>());
            self.notice(Notice::LostEarlier { domain });
        }
        self.effects.push_back(Effect::ListSource);
    }

    /// Launches what is due, and ends the run if nothing is.
    fn advance(&mut self) {
        self.wakes_at = None;
        let leaves = self.interrupts >= self.run.leaves_at();
        let pause = if leaves { None } else { self.launch_due() };
        self.allow_switches();
        if leaves && self.in_flight() > 0 {
            return self.finish_at_once();
        }
        let watch = self.watch_ends_at();
        if pause.is_none() && self.in_flight() == 0 && watch.is_none() {
            self.stretch = Stretch::Ending;
            return self.effects.push_back(Effect::ListBoth);
        }
        let patience = self.patience_ends_at().filter(|ends| *ends > self.now);
        self.wakes_at = [pause, patience, watch].into_iter().flatten().min();
    }

    fn tell(&mut self, event: Event) {
        self.effects.push_back(Effect::Tell(event));
    }

    fn notice(&mut self, notice: Notice) {
        self.tell(Event::Notice(notice));
    }

    fn instruct(&mut self, uuid: &str, instruction: Instruction) {
        self.effects.push_back(Effect::Instruct(uuid.to_owned(), instruction));
    }

    fn flights(&self) -> impl Iterator<Item = (&Task, &Flight)> {
        self.tasks.values().filter_map(|task| Some((task, task.flight()?)))
    }

    fn flight_mut(&mut self, uuid: &str) -> Option<&mut Flight> {
        self.tasks.get_mut(uuid)?.flight_mut()
    }

    fn in_flight(&self) -> usize {
        self.flights().count()
    }

    /// Those in flight whose phase is that.
    fn count(&self, phase: Phase) -> usize {
        self.flights().filter(|(_, flight)| flight.phase == Some(phase)).count()
    }

    /// Launches what is due; returns when the next is, `None` if that depends on others.
    fn launch_due(&mut self) -> Option<Duration> {
        loop {
            if self.interrupts > 0 || self.halted.is_some() || self.is_broken() && !self.run.adopts() {
                return None;
            }
            if self.patience_ends_at().is_some_and(|ends| ends <= self.now) {
                self.say_mute();
                return None;
            }
            let passage = self.queue.front().map(str::to_owned).map(|next| self.passage(&next));
            if passage == Some(Passage::Waits) {
                return None;
            }
            match self.queue.next(self.now, self.in_flight() - self.about_to_end()) {
                Turn::Now(waiting) => {
                    if passage == Some(Passage::Shut) {
                        self.launch_by_pre_copy(&waiting);
                    }
                    self.launch(waiting);
                }
                Turn::At(time) => return Some(time),
                Turn::AfterOthers => return None,
            }
        }
    }

    /// Until when a migration that the destination waits for is given time, if no byte of this run has crossed: after that,
    /// most likely a firewall keeps them all back.
    fn patience_ends_at(&self) -> Option<Duration> {
        let since = self.flights().filter_map(|(_, flight)| flight.awaited_at).min()?;
        (!self.has_moved() && !self.run.adopts()).then(|| since + Duration::from_secs_f64(SILENCE_SECONDS))
    }

    /// Whether a byte of any migration has crossed.
    fn has_moved(&self) -> bool {
        let arrived = |task: &Task| task.report().is_some_and(|report| report.outcome == DomainOutcome::Migrated);
        self.moved_at.is_some() || self.tasks.values().any(arrived)
    }

    fn say_mute(&mut self) {
        if !std::mem::replace(&mut self.told_mute, true) {
            let Run { source, destination, migration_uri, .. } = &self.run;
            let to = migration_uri.as_ref().unwrap_or(destination).clone();
            let (source, destination) = (source.clone(), destination.clone());
            self.notice(Notice::NoDataYet { to, source, destination });
        }
    }

    /// Migrations in flight whose place may be taken already, so that the link does not lie idle while the next is
    /// set up; none if the user limits how many there may be.
    fn about_to_end(&self) -> usize {
        let ahead = ahead_seconds(self.setup.map(|setup| setup.as_secs_f64()));
        let soon = || self.flights().filter(|(_, flight)| flight.traffic().is_about_to_end(ahead)).count();
        // No more than libvirt serves, nor than can keep a cap together.
        let room = self.run.most_in_flight.saturating_sub(self.in_flight());
        if self.run.launch_ahead && room > 0 { soon() } else { 0 }
    }

    fn launch(&mut self, waiting: Waiting) {
        let uuid = waiting.uuid.clone();
        let (route, post_copy_works, insists) = (self.run.route, self.post_copy_works, self.run.adopts());
        let Some(task) = self.tasks.get_mut(&uuid) else { return };
        let (domain, transfer, start) = (task.domain.clone(), task.transfer.clone(), task.start.clone());
        let planned = transfer.technique;
        let falls_back = planned.pulls() && !post_copy_works && !insists;
        let technique = if falls_back { Technique::PreCopy } else { planned };
        let destination = self.run.destination.clone();
        task.stage = Stage::InFlight(Flight {
            waiting,
            launched_at: self.now,
            phase: None,
            technique,
            switched: false,
            loaded: false,
            may_switch: false,
            early: false,
            progress: Progress::default(),
            route,
            awaited_at: None,
            share: Share::ALL,
        });
        self.tell(match &start {
            Start::Launch { .. } => Event::Launch { domain: domain.clone(), destination, technique },
            Start::Adopt { found, .. } => {
                Event::Adopt { domain: domain.clone(), destination, technique, found: found.clone() }
            }
        });
        // It starts with its share, which takes from the others; they are told after it is there to be told its own.
        let place = self.effects.len();
        self.share_bandwidth();
        let share = self.tasks.get(&uuid).and_then(Task::flight).map_or(Share::ALL, |flight| flight.share);
        let launch = Launch { domain, uuid, transfer, start, share, route, post_copy_works, insists };
        self.effects.insert(place, Effect::Launch(launch));
    }

    /// Tells each migration in flight its share of the bandwidth, if it has changed. A recovery shares nothing out:
    /// what it adopts has its limits.
    fn share_bandwidth(&mut self) {
        if self.run.adopts() {
            return;
        }
        let (uuids, traffic): (Vec<_>, Vec<_>) = self
            .flights()
            .map(|(task, flight)| (task.uuid.clone(), flight.traffic()))
            .filter(|(_, traffic)| !traffic.is_through())
            .unzip();
        for (uuid, share) in uuids.iter().zip(shares(&traffic, self.run.bandwidth, self.run.link)) {
            let Some(flight) = self.flight_mut(uuid) else { continue };
            if std::mem::replace(&mut flight.share, share) != share {
                self.instruct(uuid, Instruction::Share(share));
            }
        }
    }

    fn abort_all(&mut self, cause: &Cause) {
        let uuids: Vec<_> = self.flights().map(|(task, _)| task.uuid.clone()).collect();
        uuids.iter().for_each(|uuid| self.instruct(uuid, Instruction::Abort(cause.clone())));
    }

    fn interrupt(&mut self) {
        self.interrupts += 1;
        if self.interrupts < self.run.leaves_at() {
            self.abort_all(&Cause::Interrupted);
            let in_post_copy = self.count(Phase::PostCopy) + self.count(Phase::Recovering);
            self.notice(Notice::Interrupted { in_post_copy });
        }
    }

    /// Only a domain that waits is launched otherwise, and what a recovery adopts is what it is.
    fn replace(&mut self, schedule: &Schedule) {
        // It may come too late.
        if self.run.adopts() || self.interrupts > 0 || self.halted.is_some() {
            return;
        }
        self.queue.replace(schedule);
        let (mut domains, mut concurrency) = (Vec::new(), 0);
        for Scheduled { uuid, transfer, concurrency: level } in &schedule.order {
            match self.tasks.get_mut(uuid) {
                Some(task) if matches!(task.stage, Stage::Waiting) => {
                    task.transfer = transfer.clone();
                    domains.push(task.domain.clone());
                    concurrency = concurrency.max(*level);
                }
                _ => {}
            }
        }
        if !domains.is_empty() {
            self.notice(Notice::Replanned { domains, concurrency, reason: schedule.reason });
        }
    }

    /// Launches nothing more and cancels what can be cancelled.
    fn halt(&mut self, cause: Cause) {
        if self.halted.is_none() && !self.run.adopts() {
            self.abort_all(&cause);
            self.halted = Some(cause.clone());
            let (source, destination) = (self.run.source.clone(), self.run.destination.clone());
            self.notice(Notice::Halted { cause, source, destination });
        }
    }

    fn update(&mut self, uuid: &str, update: Update) {
        let has_moved = self.has_moved();
        let Some(task) = self.tasks.get_mut(uuid) else { return };
        let (domain, destination, now) = (task.domain.clone(), self.run.destination.clone(), self.now);
        let Some(flight) = task.flight_mut() else { return };
        match update {
            Update::Phase(phase) => {
                flight.phase = Some(phase);
                if phase == Phase::Starting {
                    // What runs before a domain has ended.
                    flight.launched_at = now;
                }
                if matches!(phase, Phase::PostCopy | Phase::Recovering) {
                    (flight.technique, flight.switched) = (Technique::PostCopy, true);
                }
                self.tell(Event::Phase { domain, phase });
                self.share_bandwidth();
            }
            Update::Progress(progress) => {
                let (before, did_flow) = (flight.progress, flight.traffic().flows());
                flight.progress = progress;
                if !did_flow && flight.traffic().flows() {
                    self.setup = Some(now.saturating_sub(flight.launched_at));
                }
                if progress.transferred > before.transferred {
                    self.moved_at = Some(now);
                }
                self.tell(Event::Progress { domain, progress });
                self.share_bandwidth();
            }
            Update::NoPeer(error) => {
                flight.route = Route::ClientManaged;
                self.no_peer(domain, &error);
            }
            Update::Stopped(fault) => task.fault = Some(fault),
            Update::Awaited => flight.awaited_at = Some(now),
            // What has got through before says that the way is open.
            Update::NoData(error) if !has_moved => self.halt(Cause::NoData { error: error.message }),
            Update::NoData(_) => {}
            Update::ByPreCopy => flight.technique = Technique::PreCopy,
            Update::Loaded => {
                flight.loaded = true;
                self.prove(uuid);
            }
            Update::NoPostCopy(error) => {
                flight.technique = Technique::PreCopy;
                if std::mem::replace(&mut self.post_copy_works, false) {
                    self.notice(Notice::NoPostCopy { destination, error: error.message });
                }
            }
            Update::Busy(error) => self.busy(uuid, error),
            Update::Silent => self.silent(domain),
            Update::AllowingDowntime(milliseconds) => self.notice(Notice::AllowingDowntime { domain, milliseconds }),
            Update::Switching(Cause::Slower { .. }) if !self.may_switch_early(uuid) => {}
            Update::Switching(cause) => {
                let Some(flight) = self.flight_mut(uuid) else { return };
                flight.technique = Technique::PostCopy;
                flight.early = matches!(cause, Cause::Slower { .. });
                if self.passage_of_switch(uuid) != Passage::Shut {
                    self.notice(Notice::Switching { domain, cause });
                }
                self.share_bandwidth();
                if let Some(cause) = self.halted.clone() {
                    self.instruct(uuid, Instruction::Abort(cause));
                }
            }
            Update::Resuming(error) => {
                self.notice(Notice::Resuming { domain, error: error.map(|error| error.to_string()) });
            }
            Update::Tidied(tidied) => {
                let Run { source, destination, .. } = &self.run;
                let (source, destination) = (source.clone(), destination.clone());
                self.notice(Notice::Tidied { domain, tidied, source, destination });
            }
            Update::Untidy(error) => self.notice(Notice::Untidy { domain, destination, error: error.to_string() }),
            Update::Unrecorded(error) => self.unrecorded(error),
            Update::Ended(ended) => self.driver_ended(uuid, ended),
        }
    }

    fn unrecorded(&mut self, error: String) {
        if !std::mem::replace(&mut self.told_unrecorded, true) {
            self.notice(Notice::Unrecorded { error });
        }
    }

    /// The client manages a migration. It manages all later ones if the cause is one of the two hosts, and not of a domain.
    fn no_peer(&mut self, domain: String, error: &HostError) {
        let Run { source, destination, route, .. } = &mut self.run;
        if *route == Route::ClientManaged {
            return;
        }
        let (source, destination, cause) = (source.clone(), destination.clone(), error.message.clone());
        if error.kind == HostErrorKind::NoPeer {
            *route = Route::ClientManaged;
            self.notice(Notice::NoPeer { source, destination, error: cause });
        } else {
            self.notice(Notice::PeerLost { domain, source, destination, error: cause });
        }
    }

    /// No byte of one migration crosses: if none of another does either, the network is to blame, else its emulator.
    fn silent(&mut self, domain: String) {
        // Half, since on a link that is cut the last bytes of all do not cross in the same instant.
        let lately = Duration::from_secs_f64(SILENCE_SECONDS / 2.0);
        if self.moved_at.is_some_and(|at| self.now.saturating_sub(at) < lately) {
            let destination = self.run.destination.clone();
            self.notice(Notice::Silent { domain, destination });
        } else {
            self.halt(Cause::AllSilent { domain });
        }
    }

    /// The destination turned it away: it has not begun, and a later run has nothing to finish.
    fn busy(&mut self, uuid: &str, error: HostError) {
        let Some(task) = self.tasks.get_mut(uuid) else { return };
        let Stage::InFlight(flight) = std::mem::replace(&mut task.stage, Stage::Waiting) else { return };
        task.fault = None;
        let (domain, technique) = (task.domain.clone(), task.transfer.technique);
        let end = Entry::End { uuid: uuid.to_owned(), outcome: DomainOutcome::Remains };
        self.effects.push_back(Effect::Record(end));
        if self.interrupts > 0 || self.halted.is_some() {
            return;
        }
        if self.queue.again(flight.waiting, self.now, self.in_flight()) {
            self.notice(Notice::Busy { domain, host: error.host, error: error.message });
        } else {
            let ended = Ended::not_wanted(technique, error.into());
            self.ended(uuid, outcome::report(self.run.names(), (&domain, uuid), ended));
        }
    }

    fn driver_ended(&mut self, uuid: &str, ended: Ended) {
        let Some(task) = self.tasks.get(uuid) else { return };
        let (domain, switched) = (task.domain.clone(), task.flight().is_some_and(|flight| flight.switched));
        if ended.verdict == Verdict::Migrated && ended.technique != Technique::Offline && !ended.foreign {
            self.prove(uuid);
        }
        let stop = gate::ends_post_copy(switched, &ended.verdict);
        if ended.foreign && ended.verdict == Verdict::Migrated && !self.run.adopts() {
            let destination = self.run.destination.clone();
            self.notice(Notice::MovedByOthers { domain: domain.clone(), destination });
        }
        self.ended(uuid, outcome::report(self.run.names(), (&domain, uuid), ended));
        if let Some(end) = stop {
            if end == PostCopyEnd::Lost {
                self.disprove(uuid);
            }
            self.stop_post_copy(domain, end);
        }
    }

    fn ended(&mut self, uuid: &str, report: DomainReport) {
        let Some(task) = self.tasks.get_mut(uuid) else { return };
        let report = Box::new(report);
        task.stage = Stage::Ended(report.clone());
        self.ended_at = Some(self.now);
        self.queue.freed();
        self.watch(uuid);
        let end = Entry::End { uuid: uuid.to_owned(), outcome: report.outcome };
        self.tell(Event::Done(report));
        self.effects.push_back(Effect::Record(end));
        self.share_bandwidth();
    }
}
