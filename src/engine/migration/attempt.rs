//! One domain's way from its launch, or its adoption, to its end: which call of libvirt's is out, what its return means,
//! how long a silent emulator is waited for, when a broken post-copy is resumed.
//!
//! Pure, around the states of [`Migration`]: what was seen and returned goes in, actions come out.

use crate::domain::{Condition, Fault, Phase, Presence, Route, Technique};
use crate::engine::bandwidth::Share;
use crate::engine::migration::convergence::SILENCE_SECONDS;
use crate::engine::migration::{Action as Move, Course, Migration, Progress, Sight, Verdict};
use crate::failure::{Cause, Trouble};
use crate::libvirt::{HostError, HostErrorKind, JobStats, MigrationRequest, Tidied};

/// Seconds without a byte after which a failed post-copy that can't be resumed does not go on by itself either: TCP tries
/// again within that time if the link was cut for less than about 50 s.
const QUIET_LIMIT: f64 = 60.0;

/// For how long an emulator may hang in a migration, in seconds, before others take its turn: longer than storage over
/// NFS takes to fail over, the 90 s of its grace period.
const HANGING_SECONDS: f64 = 120.0;

/// The same while libvirt may be connecting to a port that does not answer, which makes the emulator seem to hang: Linux
/// gives an address up after 127 s (`tcp_syn_retries`), and a host may have two.
const CONNECTING_SECONDS: f64 = 300.0;

/// What the coordinator tells an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Instruction {
    /// Cancel, if it can still be cancelled.
    Abort(Cause),
    /// The migration's share of the bandwidth has changed.
    Share(Share),
    /// Whether it may switch to post-copy; forbidden until this comes.
    MaySwitch(bool),
}

/// What an attempt tells the coordinator.
#[derive(Debug, Clone, PartialEq)]
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
    /// The destination can't take it just now; it has not begun and this attempt has ended.
    Busy(HostError),
    /// No byte crosses: it is being cancelled.
    Silent,
    /// Pre-copy makes no headway: a downtime of so many milliseconds is allowed.
    AllowingDowntime(u64),
    /// Pre-copy got nowhere: it is to be switched to post-copy.
    Switching(Cause),
    /// Its post-copy failed, with libvirt's words if there are any, and is resumed.
    Resuming(Option<HostError>),
    /// Something was put right around the domain that has moved.
    Tidied(Tidied),
    /// The domain has moved but something around it did not.
    Untidy(HostError),
    /// The journal can't be written any more, in the system's words.
    Unrecorded(String),
    /// It ended.
    Ended(Ended),
}

/// A migration that ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    pub(crate) technique: Technique,
    /// Why the domain is not at the destination.
    pub(crate) cause: Cause,
    /// Whether the domain had a stored definition.
    pub(crate) persistent: bool,
    /// Whether this attempt did not move it: somebody else did, or it was found moved.
    pub(crate) foreign: bool,
    pub(crate) seconds: f64,
    pub(crate) downtime_seconds: Option<f64>,
    pub(crate) bytes: u64,
    pub(crate) passes: u64,
}

impl Ended {
    /// A migration that was not asked for, or not begun, since something was in its way.
    pub(crate) fn not_wanted(technique: Technique, cause: Cause) -> Self {
        Self {
            verdict: Verdict::Remains,
            technique,
            cause,
            persistent: false,
            foreign: false,
            seconds: 0.0,
            downtime_seconds: None,
            bytes: 0,
            passes: 0,
        }
    }
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Tell the coordinator.
    Tell(Update),
    /// The same of an error of the call, with the host where it happened.
    TellOf(HostError, fn(HostError) -> Update),
    /// Call libvirt with [`Attempt::request`].
    Call,
    /// Limit the bandwidth in the phases that these techniques are named after, in MiB/s; [`Attempt::limited`] says that
    /// it was done.
    Limit(Vec<Technique>, u64),
    /// Ask for the switch to post-copy.
    StartPostCopy,
    /// Allow a downtime of so many milliseconds.
    AllowDowntime(u64),
    /// Cancel.
    Abort,
    /// Ask whether the destination can resume a post-copy; the answer goes to [`Attempt::resumable`].
    AskResumption,
    /// Nothing more: a busy destination has refused it, and the coordinator tries again.
    GiveBack,
    /// Nothing more: it has ended like this.
    End(Verdict),
}

/// What is seen of a domain in one look.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// At the source.
    pub(crate) source: Presence,
    /// The error that has stopped it at the source, if [`Attempt::looks_for_fault`].
    pub(crate) fault: Option<Fault>,
    /// At the destination, if [`Attempt::looks_at_destination`].
    pub(crate) destination: Option<Presence>,
    /// The migration's statistics.
    pub(crate) job: Result<Option<JobStats>, HostError>,
}

/// One domain's migration, with libvirt's calls that perform it. Times are seconds since its beginning.
#[derive(Debug)]
pub(crate) struct Attempt {
    migration: Migration,
    request: MigrationRequest,
    /// Whether the user asks for a resumption, known faults or not.
    insists: bool,
    /// Whether a call of libvirt's is out, and which one that is, from 1.
    calling: bool,
    calls: usize,
    /// Somebody else's migration runs: what is seen of it is none of this attempt's business.
    foreign: bool,
    /// Since when the source's libvirt has not answered about the domain.
    hangs_since: Option<f64>,
    /// What the last call returned, if that was an error.
    error: Option<HostError>,
    /// Whether the source's libvirt has failed once to work with the destination's.
    lost_peer: bool,
    /// Since when the destination waits for memory, as far as was seen before any crossed.
    awaited_since: Option<f64>,
    /// Whether it was seen stopped by an error.
    stopped: bool,
    /// Whether it was seen running at the destination in post-copy.
    loaded: bool,
    /// A bandwidth limit in MiB/s that libvirt has not been told yet.
    limit: Option<u64>,
}

impl Attempt {
    /// An attempt that has not called libvirt yet.
    pub(crate) fn new(request: MigrationRequest, course: Course, insists: bool) -> Self {
        Self {
            migration: Migration::new(course, 0.0),
            request,
            insists,
            calling: false,
            calls: 0,
            foreign: false,
            hangs_since: None,
            error: None,
            lost_peer: false,
            awaited_since: None,
            stopped: false,
            loaded: false,
            limit: None,
        }
    }

    /// What libvirt is asked for by the next call.
    pub(crate) fn request(&self) -> &MigrationRequest {
        &self.request
    }

    /// Its phase.
    pub(crate) fn phase(&self) -> Phase {
        self.migration.phase()
    }

    /// A call goes out; its number.
    pub(crate) fn call(&mut self) -> usize {
        (self.calling, self.calls, self.awaited_since) = (true, self.calls + 1, None);
        self.calls
    }

    /// Whether the next look should come soon.
    pub(crate) fn is_urgent(&self) -> bool {
        let loads = self.phase() == Phase::PostCopy && !self.loaded;
        self.migration.is_urgent() || self.phase() == Phase::Checking || loads
    }

    /// Whether to look first if the destination waits for memory: while libvirt connects to the destination's port in vain,
    /// other questions wait.
    pub(crate) fn looks_for_wait(&self) -> bool {
        self.calling && self.awaited_since.is_none() && !self.has_crossed() && !self.request.resume
    }

    /// Whether to ask for the error that has stopped a domain which is seen like this at the source. At the destination
    /// libvirt calls it paused by its user.
    pub(crate) fn looks_for_fault(&self, source: &Presence) -> bool {
        *source == Presence::Present(Condition::Paused) && !self.stopped
    }

    /// Whether to look at the destination, too, for a domain that is seen like this at the source.
    pub(crate) fn looks_at_destination(&self, source: &Presence) -> bool {
        !self.calling || self.loads(source)
    }

    /// Others wait for the word that the destination could load the guest.
    fn loads(&self, source: &Presence) -> bool {
        *source == Presence::Present(Condition::PausedPostCopy) && !self.loaded
    }

    /// Whether any of its memory has crossed, as far as was seen.
    pub(crate) fn has_crossed(&self) -> bool {
        self.migration.post_copied() || self.migration.progress().transferred > 0
    }

    /// Whether the destination has waited for memory in vain for a while.
    fn is_mute(&self, now: f64) -> bool {
        !self.has_crossed() && self.awaited_since.is_some_and(|since| now - since > SILENCE_SECONDS)
    }

    /// The coordinator's word.
    pub(crate) fn told(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Abort(cause) => self.migration.want_abort(cause),
            Instruction::Share(share) => {
                self.limit = Some(share.mib);
                self.migration.share_again(share.of, share.held_back);
            }
            Instruction::MaySwitch(may_switch) => self.migration.allow_switch(may_switch),
        }
    }

    /// The last limit was set.
    pub(crate) fn limited(&mut self) {
        self.limit = None;
    }

    /// libvirt's call of that number has returned. If that tells what else to try, it is tried, once; a destination that
    /// is busy is for the coordinator to judge.
    pub(crate) fn returned(&mut self, now: f64, call: usize, result: Result<(), HostError>) -> Vec<Action> {
        // One that was let go changes nothing any more by its return.
        if call != self.calls || !self.calling {
            return Vec::new();
        }
        self.calling = false;
        self.error = result.err();
        let untouched = !self.request.resume && !self.migration.post_copied() && self.migration.cause().is_none();
        let Some(mut error) = self.error.clone().filter(|_| untouched) else { return Vec::new() };
        if error.kind == HostErrorKind::PeerLost && self.is_mute(now) {
            error.kind = HostErrorKind::NoData;
        }
        match error.kind {
            // Once memory has crossed, the source had reached it: then the connection broke, which is another matter.
            // The job alone says nothing: libvirt opens it before it connects.
            HostErrorKind::NoPeer | HostErrorKind::PeerLost
                if self.request.route == Route::PeerToPeer && !self.has_crossed() =>
            {
                // A second try often brings the true error.
                if !std::mem::replace(&mut self.lost_peer, true) {
                    return vec![Action::Call];
                }
                self.request.route = Route::ClientManaged;
                vec![Action::Tell(Update::NoPeer(error)), Action::Call]
            }
            HostErrorKind::NoData => {
                self.error = Some(error.clone());
                vec![Action::TellOf(error, Update::NoData)]
            }
            HostErrorKind::NoPostCopy | HostErrorKind::Paused if self.request.post_copy => {
                self.request.post_copy = false;
                self.request.transfer.technique = Technique::PreCopy;
                self.migration.without_post_copy();
                let paused = error.kind == HostErrorKind::Paused;
                let update = if paused { Update::ByPreCopy } else { Update::NoPostCopy(error) };
                vec![Action::Tell(update), Action::Call]
            }
            HostErrorKind::Busy => vec![Action::TellOf(error, Update::Busy), Action::GiveBack],
            HostErrorKind::Taken => {
                self.foreign = true;
                vec![Action::End(Verdict::Remains)]
            }
            _ => Vec::new(),
        }
    }

    /// Takes in how the domain is seen at the destination, before anything else is asked.
    pub(crate) fn awaited(&mut self, now: f64, destination: &Presence) -> Vec<Action> {
        let waits = *destination == Presence::Present(Condition::PausedMigration);
        self.awaited_since = waits.then_some(now);
        waits.then_some(Action::Tell(Update::Awaited)).into_iter().collect()
    }

    /// Takes in what was seen, and says what to do.
    pub(crate) fn observe(&mut self, now: f64, seen: &Seen) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(fault) = seen.fault {
            self.stopped = true;
            actions.push(Action::Tell(Update::Stopped(fault)));
        }
        if self.has_hung_too_long(now, seen) {
            actions.push(Action::End(Verdict::NeedsRecovery(Trouble::EmulatorHangs)));
            return actions;
        }
        if seen.job.as_ref().is_err_and(HostError::is_silence) && !self.calling {
            // It may still be on its way, so where it runs now proves nothing.
            return actions;
        }
        self.follow(now, seen, &mut actions);
        actions
    }

    /// Whether its emulator has not answered for too long. A host that says nothing at all says nothing of that either.
    fn has_hung_too_long(&mut self, now: f64, seen: &Seen) -> bool {
        match &seen.job {
            Err(error) if error.kind == HostErrorKind::Hangs => {
                let since = *self.hangs_since.get_or_insert(now);
                now - since > if self.is_mute(now) { CONNECTING_SECONDS } else { HANGING_SECONDS }
            }
            Err(error) if error.is_silence() => false,
            _ => {
                if matches!(seen.source, Presence::Present(_)) {
                    self.hangs_since = None;
                }
                false
            }
        }
    }

    /// Moves the states on.
    fn follow(&mut self, now: f64, seen: &Seen, actions: &mut Vec<Action>) {
        let job = seen.job.as_ref().ok().and_then(Option::as_ref);
        let (source, destination) = (&seen.source, seen.destination.as_ref());
        let has_loaded = self.loads(source) && destination.is_some_and(runs_in_post_copy);
        let (phase, cause) = (self.phase(), self.migration.cause().cloned());
        let slower = self.migration.slower().cloned();
        let sight = Sight { calling: self.calling, source, destination, job };
        let next = self.migration.observe(now, &sight, self.error.is_some());
        if self.phase() != phase {
            actions.push(Action::Tell(Update::Phase(self.phase())));
        }
        if has_loaded {
            self.loaded = true;
            actions.push(Action::Tell(Update::Loaded));
        }
        if let Some(job) = job {
            // What is set before memory crosses libvirt takes for the domain's own limit, and puts it back after a failure.
            actions.extend(self.limit.filter(|_| job.transferred > 0).map(|mib| self.limit_to(mib)));
            actions.push(Action::Tell(Update::Progress(self.migration.progress())));
        }
        let new = self.migration.cause().filter(|new| Some(*new) != cause.as_ref());
        if let Some(cause @ Cause::Stalled { .. }) = new.filter(|_| self.migration.switches()) {
            actions.push(Action::Tell(Update::Switching(cause.clone())));
        }
        let slower = self.migration.slower().filter(|new| Some(*new) != slower.as_ref());
        actions.extend(slower.map(|cause| Action::Tell(Update::Switching(cause.clone()))));
        match next {
            None => {}
            Some(Move::StartPostCopy) => actions.push(Action::StartPostCopy),
            Some(Move::AllowDowntime(milliseconds)) => {
                actions.push(Action::Tell(Update::AllowingDowntime(milliseconds)));
                actions.push(Action::AllowDowntime(milliseconds));
            }
            Some(Move::Abort) => {
                actions.extend((new == Some(&Cause::Silent)).then_some(Action::Tell(Update::Silent)));
                actions.push(Action::Abort);
            }
            Some(Move::Resume) => actions.push(Action::AskResumption),
            Some(Move::LetGo) => self.calling = false,
            Some(Move::End(verdict)) => actions.push(Action::End(verdict)),
        }
    }

    /// The limit before a planned switch stays as it is; one that is not planned needs its limit beforehand.
    fn limit_to(&self, mib: u64) -> Action {
        Action::Limit(
            match self.request.transfer.technique {
                Technique::Hybrid => vec![Technique::PreCopy, Technique::PostCopy],
                Technique::PreCopy if self.request.post_copy => vec![Technique::PreCopy, Technique::PostCopy],
                technique => vec![technique],
            },
            mib,
        )
    }

    /// Whether the destination can resume the post-copy, which has failed: `Ok(Some)` is why not, in one clause.
    pub(crate) fn resumable(&mut self, now: f64, fault: Result<Option<String>, HostError>) -> Vec<Action> {
        // A destination that does not answer is asked at the next try.
        let Ok(fault) = fault else { return Vec::new() };
        // On the user's word it is tried: a distribution mends faults without another version number.
        if let Some(fault) = fault.filter(|_| !self.insists || self.request.resume) {
            // QEMU may still go on by itself.
            let gives_up = self.migration.quiet_seconds(now) >= QUIET_LIMIT;
            let verdict = Verdict::NeedsRecovery(Trouble::NotResumable { fault });
            return gives_up.then_some(Action::End(verdict)).into_iter().collect();
        }
        let first = !std::mem::replace(&mut self.request.resume, true);
        self.request.transfer.technique = Technique::PostCopy;
        (self.request.post_copy, self.request.auto_converge) = (true, false);
        let tell = first.then(|| match self.error.clone() {
            Some(error) => Action::TellOf(error, |error| Update::Resuming(Some(error))),
            None => Action::Tell(Update::Resuming(None)),
        });
        tell.into_iter().chain([Action::Call]).collect()
    }

    /// The error of the last call, if what was seen does not explain the end better.
    pub(crate) fn unexplained(&self) -> Option<&HostError> {
        self.error.as_ref().filter(|_| self.migration.cause().is_none())
    }

    /// The end: `completed` are the last statistics, `located` is [`Self::unexplained`] with the host where it happened.
    pub(crate) fn ended(
        &self,
        now: f64,
        verdict: Verdict,
        completed: Option<JobStats>,
        located: Option<HostError>,
    ) -> Ended {
        let last = self.migration.progress();
        Ended {
            verdict,
            technique: self.migration.technique(),
            cause: self.migration.cause().cloned().or(located.map(Cause::from)).unwrap_or(Cause::Unreported),
            persistent: self.request.persistent,
            foreign: self.foreign || self.calls == 0,
            seconds: now,
            downtime_seconds: completed.and_then(|job| job.downtime_seconds),
            bytes: completed.map_or(0, |job| job.transferred).max(last.transferred),
            passes: completed.map_or(0, |job| self.migration.passes(&job)).max(last.pass),
        }
    }
}

fn runs_in_post_copy(place: &Presence) -> bool {
    matches!(place, Presence::Present(Condition::RunningPostCopy | Condition::Running))
}
