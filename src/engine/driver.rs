//! Drives one migration from its launch, or from where an earlier run left it, to its verdict: the hands of
//! [`Migration`].
//!
//! libvirt's migration call blocks until the end, so it has a thread of its own; meanwhile this one watches the
//! source, asks for post-copy or an abort where the state machine says so, and reports. When the call returns, the
//! domain is looked up on both hosts until it is clear where it is; a post-copy that failed is resumed by another
//! call. A migration that is adopted has no call, and is watched in the same way. Each step is in the journal first.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::domain::{Condition, Fault, Presence};
use crate::domain::{Technique, Transfer};
use crate::engine::coordinator::Instruction;
use crate::engine::migration::convergence::SILENCE_SECONDS;
use crate::engine::migration::{Action, Cause, Course, Migration, Phase, Progress, Sight, Verdict};
use crate::engine::recovery::journal::{Entry, Journal};
use crate::libvirt::{Definition, HostError, HostErrorKind, Hosts, JobStats, MigrationRequest, Route, Tidied};
use crate::topology::Side;
use crate::units::size;

/// Time between two looks at a migration.
const LOOK: Duration = Duration::from_millis(500);
/// The same where a switch or a verdict is pending.
const CLOSE_LOOK: Duration = Duration::from_millis(100);
/// How long to wait for the source's final statistics, which come on another connection than the return.
const STATISTICS_LIMIT: Duration = Duration::from_secs(1);

/// Seconds without a byte after which a failed post-copy that can't be resumed does not go on by itself either: TCP tries
/// again within that time where the link was cut for less than about 50 s.
const QUIET_LIMIT: f64 = 60.0;

/// For how long an emulator may hang in a migration, in seconds, before others take its turn: longer than storage over
/// NFS takes to fail over, the 90 s of its grace period.
const HANGING_SECONDS: f64 = 120.0;

/// The same while libvirt may be connecting to a port that does not answer, which makes the emulator seem to hang: Linux
/// gives an address up after 127 s (`tcp_syn_retries`), and a host may have two.
const CONNECTING_SECONDS: f64 = 300.0;

/// What a driver is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// libvirt's call of that number has returned.
    Returned(usize, Result<(), HostError>),
    /// The coordinator's word.
    Told(Instruction),
}

/// What a driver tells.
#[derive(Debug)]
pub(crate) enum Update {
    /// It entered a phase.
    Phase(Phase),
    /// How far it is.
    Progress(Progress),
    /// The source can't reach the destination's libvirt, as two tries have shown: this migration goes on by way of the
    /// client.
    NoPeer(HostError),
    /// An error has stopped it at the source.
    Stopped(Fault),
    /// The destination waits for its memory.
    Awaited,
    /// No data gets through to the destination, and its migration has failed for that.
    NoData(HostError),
    /// The destination can't post-copy: this migration goes on by pre-copy alone.
    NoPostCopy(HostError),
    /// It goes by pre-copy, though post-copy was planned: the domain can't be post-copied as it is now.
    ByPreCopy,
    /// The guest runs at the destination in post-copy, so the destination could load its device state.
    Loaded,
    /// The destination can't take it just now; it has not begun and this driver has ended.
    Busy(HostError),
    /// No byte crosses: it is being cancelled.
    Silent,
    /// Pre-copy got nowhere: in one clause, what was seen. It is to be switched to post-copy.
    Switching(String),
    /// Its post-copy failed, with libvirt's words where there are any, and is resumed.
    Resuming(Option<HostError>),
    /// Something was put right around the domain that has moved.
    Tidied(Tidied),
    /// The domain has moved but something around it did not.
    Untidy(HostError),
    /// The journal can't be written any more.
    Unrecorded(io::Error),
    /// It ended.
    Ended(Ended),
}

/// A migration that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    pub(crate) technique: Technique,
    /// Why the domain is not at the destination, in one clause.
    pub(crate) cause: Option<String>,
    /// Whether the domain had a stored definition.
    pub(crate) persistent: bool,
    /// Whether this driver did not move it: somebody else did, or it was found moved.
    pub(crate) foreign: bool,
    pub(crate) seconds: f64,
    pub(crate) downtime_seconds: Option<f64>,
    pub(crate) bytes: u64,
    pub(crate) passes: u64,
}

impl Ended {
    /// A migration that was not asked for, or not begun, since something was in its way.
    pub(crate) fn not_wanted(technique: Technique, cause: String) -> Self {
        Self {
            verdict: Verdict::Remains,
            technique,
            cause: Some(cause),
            persistent: false,
            foreign: false,
            seconds: 0.0,
            downtime_seconds: None,
            bytes: 0,
            passes: 0,
        }
    }
}

/// One migration and those it talks to.
pub(crate) struct Driver<F> {
    pub(crate) hosts: Arc<dyn Hosts>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) domain: String,
    pub(crate) request: MigrationRequest,
    pub(crate) before: Definition,
    pub(crate) course: Course,
    /// Whether the user asks for a resumption, known faults or not.
    pub(crate) insists: bool,
    /// A bandwidth limit in MiB/s that libvirt has not been told yet.
    pub(crate) limit: Option<u64>,
    /// Where the thread that waits in libvirt's call posts its return; `inbox` is the other end.
    pub(crate) sender: Sender<Input>,
    pub(crate) inbox: Receiver<Input>,
    pub(crate) tell: F,
}

/// What a driver remembers while it works.
struct Work {
    migration: Migration,
    start: Instant,
    /// Whether a call of libvirt's is out, and which one that is, from 1.
    calling: bool,
    calls: usize,
    /// Somebody else's migration runs: what is seen of it is none of this driver's business.
    foreign: bool,
    /// Since when the source's libvirt has not answered about the domain.
    hangs_since: Option<f64>,
    /// What the last call returned, where that was an error.
    error: Option<HostError>,
    /// Whether the source's libvirt has failed once to work with the destination's.
    lost_peer: bool,
    /// Since when the destination waits for memory, as far as was seen before any crossed.
    awaited_since: Option<f64>,
    told: Option<Cause>,
    /// Whether it was seen stopped by an error.
    stopped: bool,
    /// Why it is to be cancelled, where somebody else wants that.
    wish: String,
    /// Whether the switch to post-copy is in the journal.
    switch_recorded: bool,
    /// Whether it was seen running at the destination in post-copy.
    loaded: bool,
}

impl Work {
    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Whether any of its memory has crossed, as far as was seen.
    fn has_crossed(&self) -> bool {
        self.migration.progress().transferred > 0
    }

    /// Whether the destination has waited for memory in vain for a while.
    fn is_mute(&self) -> bool {
        !self.has_crossed() && self.awaited_since.is_some_and(|since| self.now() - since > SILENCE_SECONDS)
    }
}

impl<F: Fn(Update)> Driver<F> {
    /// Whether it is to be launched still, after what took its time before that; if not, why.
    pub(crate) fn still_wanted(&self) -> Result<(), String> {
        for input in self.inbox.try_iter().collect::<Vec<_>>() {
            match input {
                Input::Told(Instruction::Abort(reason)) => return Err(reason),
                // It is for later; the other end is in this driver's hands.
                other => drop(self.sender.send(other)),
            }
        }
        Ok(())
    }

    /// Launches the migration and sees it to its end.
    pub(crate) fn launch(mut self) {
        let mut work = self.work();
        if let Err(error) = self.perform(&mut work) {
            // What is not on record could not be found again.
            let cause = format!("the journal can't be written: {error}");
            (self.tell)(Update::Ended(Ended::not_wanted(self.course.technique, cause)));
            return;
        }
        self.see_through(work);
    }

    /// Sees a migration to its end that was begun by somebody else, or has ended already.
    pub(crate) fn adopt(mut self) {
        let work = self.work();
        self.see_through(work);
    }

    fn work(&self) -> Work {
        let work = Work {
            migration: Migration::new(self.course, 0.0),
            start: Instant::now(),
            calling: false,
            calls: 0,
            foreign: false,
            hangs_since: None,
            error: None,
            lost_peer: false,
            awaited_since: None,
            told: None,
            stopped: false,
            wish: String::new(),
            switch_recorded: false,
            loaded: false,
        };
        (self.tell)(Update::Phase(work.migration.phase()));
        work
    }

    /// Starts libvirt's call in a thread of its own.
    fn perform(&self, work: &mut Work) -> io::Result<()> {
        let uuid = self.request.uuid.clone();
        self.journal.record(&match self.request.resume {
            true => Entry::Resume { uuid },
            false => Entry::Launch {
                domain: self.domain.clone(),
                uuid,
                technique: self.request.transfer.technique,
                persistent: self.before.persistent,
                autostart: self.before.autostart,
            },
        })?;
        let (hosts, request, sender) = (Arc::clone(&self.hosts), self.request.clone(), self.sender.clone());
        (work.calling, work.calls, work.awaited_since) = (true, work.calls + 1, None);
        let call = work.calls;
        // Nobody listens any more when tsmig is on its way out.
        thread::spawn(move || sender.send(Input::Returned(call, hosts.migrate(&request))));
        Ok(())
    }

    fn perform_again(&self, work: &mut Work) {
        if let Err(error) = self.perform(work) {
            (self.tell)(Update::Unrecorded(error));
        }
    }

    fn see_through(&mut self, mut work: Work) {
        let verdict = loop {
            let phase = work.migration.phase();
            let loads = phase == Phase::PostCopy && !work.loaded;
            let close = work.migration.is_urgent() || phase == Phase::Checking || loads;
            // This end holds a sender itself, so the only error is that nothing came in time.
            match self.inbox.recv_timeout(if close { CLOSE_LOOK } else { LOOK }) {
                // One that was let go changes nothing any more by its return.
                Ok(Input::Returned(call, _)) if call != work.calls || !work.calling => {}
                Ok(Input::Returned(_, result)) => {
                    if let Some(busy) = self.returned(&mut work, result) {
                        (self.tell)(Update::Busy(busy));
                        return;
                    }
                }
                Ok(Input::Told(Instruction::Abort(reason))) => {
                    work.wish = reason;
                    work.migration.want_abort();
                }
                Ok(Input::Told(Instruction::Share(share))) => {
                    self.limit = Some(share.mib);
                    work.migration.share_again(share.of, share.held_back);
                }
                Ok(Input::Told(Instruction::MaySwitch(may_switch))) => work.migration.allow_switch(may_switch),
                Err(_) => {}
            }
            if let Some(verdict) = self.look(&mut work) {
                break verdict;
            }
        };
        self.end(&work, verdict);
    }

    /// libvirt's call has returned. Where that tells what else to try, it is tried, once; a destination that is busy
    /// is for others to judge.
    fn returned(&mut self, work: &mut Work, result: Result<(), HostError>) -> Option<HostError> {
        work.calling = false;
        work.error = result.err();
        let untouched = !self.request.resume && !work.migration.post_copied();
        let mut error = work.error.clone().filter(|_| untouched && work.migration.cause().is_none())?;
        if error.kind == HostErrorKind::PeerLost && work.is_mute() {
            error.kind = HostErrorKind::NoData;
        }
        match error.kind {
            // Once memory has crossed, the source had reached it: then the connection broke, which is another matter.
            // The job alone says nothing: libvirt opens it before it connects.
            HostErrorKind::NoPeer | HostErrorKind::PeerLost
                if self.request.route == Route::PeerToPeer && !work.has_crossed() =>
            {
                // A second try often brings the true error.
                if work.lost_peer {
                    self.request.route = Route::ClientManaged;
                    (self.tell)(Update::NoPeer(error));
                }
                work.lost_peer = true;
            }
            HostErrorKind::NoData => {
                let error = self.hosts.locate(error, &self.request, false);
                work.error = Some(error.clone());
                (self.tell)(Update::NoData(error));
                return None;
            }
            HostErrorKind::NoPostCopy if self.request.transfer.post_copy => {
                self.request.transfer.post_copy = false;
                self.request.transfer.technique = Technique::PreCopy;
                work.migration.without_post_copy();
                (self.tell)(Update::NoPostCopy(error));
            }
            HostErrorKind::Busy => return Some(self.hosts.locate(error, &self.request, work.has_crossed())),
            HostErrorKind::Taken => {
                work.foreign = true;
                return None;
            }
            _ => return None,
        }
        // Where the journal fails now, the domain stays, which the verdict will find.
        self.perform_again(work);
        None
    }

    /// Passes a changed limit on, once there is a job to take it; one that is refused is tried again.
    fn apply_limit(&mut self) {
        let Some(mib) = self.limit else { return };
        let uuid = &self.request.uuid;
        // The limit before a planned switch stays as it is; one that is not planned needs its limit beforehand.
        let fallback = self.request.transfer.post_copy && self.request.transfer.technique == Technique::PreCopy;
        let limited = self.hosts.limit_bandwidth(uuid, self.request.transfer.technique, mib).is_ok()
            && (!fallback || self.hosts.limit_bandwidth(uuid, Technique::PostCopy, mib).is_ok());
        if limited {
            self.limit = None;
        }
    }

    /// Tells once that the destination waits for memory.
    fn look_for_wait(&self, work: &mut Work) {
        let starts = work.calling && work.awaited_since.is_none() && !work.has_crossed() && !self.request.resume;
        let waits = || self.hosts.presence(Side::Destination, &self.request.uuid);
        if starts && waits() == Presence::Present(Condition::PausedMigration) {
            work.awaited_since = Some(work.now());
            (self.tell)(Update::Awaited);
        }
    }

    /// Looks at the domain, does what is to be done, and says how it ended if it did.
    fn look(&mut self, work: &mut Work) -> Option<Verdict> {
        if work.foreign {
            return Some(Verdict::Remains);
        }
        let uuid = self.request.uuid.clone();
        // Before anything else: while libvirt connects to the destination's port in vain, other questions wait.
        self.look_for_wait(work);
        let source = self.hosts.presence(Side::Source, &uuid);
        // At the destination libvirt calls it paused by its user.
        let newly_paused = source == Presence::Present(Condition::Paused) && !work.stopped;
        if let Some(fault) = newly_paused.then(|| self.hosts.fault(&uuid)).flatten() {
            work.stopped = true;
            (self.tell)(Update::Stopped(fault));
        }
        // Others wait for the word that the destination could load the guest.
        let loads = source == Presence::Present(Condition::PausedPostCopy) && !work.loaded;
        let destination = (!work.calling || loads).then(|| self.hosts.presence(Side::Destination, &uuid));
        let runs =
            |place: &Presence| matches!(place, Presence::Present(Condition::RunningPostCopy | Condition::Running));
        let has_loaded = loads && destination.as_ref().is_some_and(runs);
        let job = match source {
            Presence::Present(_) => self.hosts.job(&uuid),
            Presence::Absent | Presence::Unknown(_) => Ok(None),
        };
        let unanswered = job.as_ref().err().filter(|error| error.is_silence()).map(|error| error.kind);
        match (&source, unanswered) {
            (_, Some(HostErrorKind::Hangs)) => {
                let since = *work.hangs_since.get_or_insert(work.start.elapsed().as_secs_f64());
                let limit = if work.is_mute() { CONNECTING_SECONDS } else { HANGING_SECONDS };
                if work.now() - since > limit {
                    return Some(Verdict::NeedsRecovery(
                        "its emulator at the source has stopped answering libvirt, and what it waits for, such as \
                         storage that is gone, has to be mended first"
                            .to_owned(),
                    ));
                }
            }
            (Presence::Present(_), None) => work.hangs_since = None,
            // A host that says nothing at all says nothing of that either.
            _ => {}
        }
        if unanswered.is_some() && !work.calling {
            // It may be on its way all the same: where it runs now is no verdict.
            return None;
        }
        let job = job.ok().flatten();
        let sight =
            Sight { calling: work.calling, source: &source, destination: destination.as_ref(), job: job.as_ref() };
        let phase = work.migration.phase();
        let action = work.migration.observe(work.now(), &sight, work.error.is_some());
        if work.migration.phase() != phase {
            (self.tell)(Update::Phase(work.migration.phase()));
        }
        if has_loaded {
            work.loaded = true;
            (self.tell)(Update::Loaded);
        }
        if let Some(job) = &job {
            // What is set before memory crosses libvirt takes for the domain's own limit, and puts it back after a failure.
            if job.transferred > 0 {
                self.apply_limit();
            }
            (self.tell)(Update::Progress(work.migration.progress()));
        }
        let first_time = work.told != work.migration.cause();
        work.told = work.migration.cause();
        if let (Some(cause @ Cause::Stalled { .. }), true) = (work.told, first_time && work.migration.switches()) {
            (self.tell)(Update::Switching(self.explain(cause)));
        }
        match action? {
            // Both may be refused because it is too early or too late; the next look tells.
            Action::StartPostCopy => {
                self.record(&Entry::PostCopy { uuid: uuid.clone() }, !work.switch_recorded);
                work.switch_recorded = true;
                drop(self.hosts.start_post_copy(&uuid));
            }
            Action::Abort => {
                if work.told == Some(Cause::Silent) && first_time {
                    (self.tell)(Update::Silent);
                }
                self.record(&Entry::Abort { uuid: uuid.clone() }, first_time);
                drop(self.hosts.abort(&uuid));
            }
            Action::Resume => {
                // A destination that does not answer is asked at the next try.
                let Ok(fault) = self.hosts.resume_fault() else { return None };
                // On the user's word it is tried: a distribution mends faults without another version number.
                if let Some(fault) = fault.filter(|_| !self.insists || self.request.resume) {
                    // QEMU may still go on by itself.
                    if work.migration.quiet_seconds(work.now()) < QUIET_LIMIT {
                        return None;
                    }
                    return Some(Verdict::NeedsRecovery(format!("its post-copy failed, and {fault}")));
                }
                if !self.request.resume {
                    let located = |error| self.hosts.locate(error, &self.request, true);
                    (self.tell)(Update::Resuming(work.error.clone().map(located)));
                }
                self.request = MigrationRequest {
                    transfer: Transfer { post_copy: true, ..Transfer::by(Technique::PostCopy) },
                    resume: true,
                    ..self.request.clone()
                };
                self.perform_again(work);
            }
            Action::LetGo => work.calling = false,
            Action::End(verdict) => return Some(verdict),
        }
        None
    }

    /// Records a step that is taken whatever becomes of the record: to leave it out would not help the domain.
    fn record(&self, entry: &Entry, wanted: bool) {
        if wanted {
            self.journal.record(entry).unwrap_or_else(|error| (self.tell)(Update::Unrecorded(error)));
        }
    }

    fn end(&self, work: &Work, verdict: Verdict) {
        let last = work.migration.progress();
        let completed = if verdict == Verdict::Migrated { self.finish(last.transferred > 0) } else { None };
        let bytes = completed.map_or(0, |job| job.transferred).max(last.transferred);
        let located = || Some(self.hosts.locate(work.error.clone()?, &self.request, work.has_crossed()).to_string());
        let seen = work.migration.cause().map(|cause| match cause {
            Cause::Wanted => work.wish.clone(),
            cause => self.explain(cause),
        });
        (self.tell)(Update::Ended(Ended {
            verdict,
            technique: work.migration.technique(),
            cause: seen.or_else(located),
            persistent: self.before.persistent,
            foreign: work.foreign || work.calls == 0,
            seconds: work.now(),
            downtime_seconds: completed.and_then(|job| job.downtime_seconds),
            bytes,
            passes: completed.map_or(0, |job| work.migration.passes(&job)).max(last.pass),
        }));
    }

    /// In one clause, as it is put after the domain's place.
    fn explain(&self, cause: Cause) -> String {
        match cause {
            Cause::Wanted => "it was cancelled".to_owned(),
            Cause::Timeout => format!(
                "it did not finish within {} s and was cancelled",
                self.course.timeout_seconds.unwrap_or_default().round()
            ),
            Cause::Stalled { pass, remaining } => format!(
                "pre-copy does not converge: pass {pass} began with {} left, which is no less than passes before it",
                size(remaining)
            ),
            Cause::Silent => format!("no byte has crossed for {SILENCE_SECONDS} s, so it was cancelled"),
        }
    }

    /// The domain has arrived: its last statistics, and what is left to do around it.
    fn finish(&self, counted: bool) -> Option<JobStats> {
        let start = Instant::now();
        let completed = loop {
            let completed = self.hosts.completed(&self.request.uuid);
            if completed.is_some() || !counted || start.elapsed() > STATISTICS_LIMIT {
                break completed;
            }
            thread::sleep(CLOSE_LOOK);
        };
        self.record(&Entry::Tidy { uuid: self.request.uuid.clone() }, true);
        match self.hosts.tidy(&self.request.uuid, &self.before) {
            Ok(done) => done.into_iter().for_each(|tidied| (self.tell)(Update::Tidied(tidied))),
            Err(error) => (self.tell)(Update::Untidy(error)),
        }
        completed
    }
}
