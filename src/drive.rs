//! Drives one migration from its launch to its verdict: the hands of [`Migration`].
//!
//! libvirt's migration call blocks until the end, so it has a thread of its own; meanwhile this one watches the
//! source, asks for post-copy or an abort where the state machine says so, and reports. When the call returns, the
//! domain is looked up on both hosts until it is clear where it is.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::hypervisor::{
    Definition, HostError, HostErrorKind, Hosts, JobStats, MigrationRequest, Presence, Route, Side,
};
use crate::migration::{Action, Migration, Phase, Progress, Verdict, verdict};

/// Time between two looks at a migration.
const LOOK: Duration = Duration::from_millis(500);
/// The same where a switch or a verdict is pending.
const CLOSE_LOOK: Duration = Duration::from_millis(100);
/// How long a domain's place may stay unclear after libvirt's call has returned: a broken link was seen to mend
/// after 37 s, and a post-copy then to end by itself.
const UNCLEAR_LIMIT: Duration = Duration::from_secs(120);
/// How long to wait for the source's final statistics, which come on another connection than the return.
const STATISTICS_LIMIT: Duration = Duration::from_secs(1);

/// What a driver is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// libvirt's call has returned.
    Returned(Result<(), HostError>),
    /// Cancel, if it can still be cancelled.
    Abort,
    /// The migration's share of the bandwidth has changed, in MiB/s.
    Limit(u64),
}

/// What a driver tells.
#[derive(Debug)]
pub(crate) enum Update {
    /// It entered a phase.
    Phase(Phase),
    /// How far it is.
    Progress(Progress),
    /// The source can't reach the destination's libvirt: this migration goes on by way of the client.
    NoPeer(HostError),
    /// The domain has moved but something around it did not.
    Untidy(HostError),
    /// It ended.
    Ended(Ended),
}

/// A migration that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    /// Why the domain is not at the destination, in one clause.
    pub(crate) cause: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) downtime_seconds: Option<f64>,
    pub(crate) bytes: u64,
    pub(crate) passes: u64,
}

impl Ended {
    /// A migration that libvirt was not even asked for.
    pub(crate) fn not_started(error: &HostError) -> Self {
        let verdict = match error.kind {
            HostErrorKind::NoSuchDomain => Verdict::Gone("it left the source before its turn".to_owned()),
            HostErrorKind::NoPeer | HostErrorKind::NoAnswer | HostErrorKind::Other => Verdict::Remains,
        };
        let cause = Some(error.to_string());
        Self { verdict, cause, seconds: 0.0, downtime_seconds: None, bytes: 0, passes: 0 }
    }
}

/// One migration and those it talks to.
pub(crate) struct Driver<F> {
    pub(crate) hosts: Arc<dyn Hosts>,
    pub(crate) request: MigrationRequest,
    pub(crate) definition: Definition,
    pub(crate) timeout_seconds: Option<f64>,
    /// A bandwidth limit in MiB/s that libvirt has not been told yet.
    pub(crate) limit: Option<u64>,
    /// Where the thread that waits in libvirt's call posts its return; `inbox` is the other end.
    pub(crate) sender: Sender<Input>,
    pub(crate) inbox: Receiver<Input>,
    pub(crate) tell: F,
}

impl<F: Fn(Update)> Driver<F> {
    /// Runs the migration to its end.
    pub(crate) fn run(mut self) {
        let start = Instant::now();
        let mut migration = Migration::new(self.request.technique, self.timeout_seconds, 0.0);
        (self.tell)(Update::Phase(migration.phase()));
        self.perform();
        let result = self.watch(&mut migration, start);
        let timed_out = migration.timed_out(start.elapsed().as_secs_f64());
        let post_copy = migration.returned();
        (self.tell)(Update::Phase(migration.phase()));
        let verdict = self.judge(post_copy, result.is_err());
        let last = migration.progress();
        let completed = if verdict == Verdict::Migrated { self.finish() } else { None };
        let bytes = completed.map_or(0, |job| job.transferred).max(last.transferred);
        (self.tell)(Update::Ended(Ended {
            verdict,
            cause: match result {
                Err(_) if timed_out => Some(format!(
                    "it did not finish within {} s and was cancelled",
                    self.timeout_seconds.unwrap_or_default().round()
                )),
                Err(error) => Some(error.to_string()),
                Ok(()) => None,
            },
            seconds: start.elapsed().as_secs_f64(),
            downtime_seconds: completed.and_then(|job| job.downtime_seconds),
            bytes,
            passes: completed.map_or(0, |job| job.pass).max(last.pass),
        }));
    }

    /// Starts libvirt's call in a thread of its own.
    fn perform(&self) {
        let (hosts, request, sender) = (Arc::clone(&self.hosts), self.request.clone(), self.sender.clone());
        // Nobody listens any more when tsmig is on its way out.
        thread::spawn(move || sender.send(Input::Returned(hosts.migrate(&request))));
    }

    /// Watches until libvirt's call returns.
    fn watch(&mut self, migration: &mut Migration, start: Instant) -> Result<(), HostError> {
        loop {
            let pause = if migration.is_urgent() { CLOSE_LOOK } else { LOOK };
            match self.inbox.recv_timeout(pause) {
                Ok(Input::Returned(Err(error)))
                    // Once memory has crossed, the source had reached it: then the connection broke, which is another
                    // matter. The job alone says nothing: libvirt opens it before it connects.
                    if error.kind == HostErrorKind::NoPeer
                        && self.request.route == Route::PeerToPeer
                        && migration.progress().transferred == 0 =>
                {
                    self.request.route = Route::ClientManaged;
                    (self.tell)(Update::NoPeer(error));
                    self.perform();
                }
                Ok(Input::Returned(result)) => return result,
                Ok(Input::Abort) => migration.want_abort(),
                Ok(Input::Limit(mib)) => self.limit = Some(mib),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.look(migration, start.elapsed().as_secs_f64());
        }
    }

    fn look(&mut self, migration: &mut Migration, now: f64) {
        let uuid = &self.request.uuid;
        let source = self.hosts.presence(Side::Source, uuid);
        let job = self.hosts.job(uuid).ok().flatten();
        let phase = migration.phase();
        let action = migration.observe(now, &source, job.as_ref());
        // Both may be refused because it is too early or too late; the next look tells.
        match action {
            Some(Action::StartPostCopy) => drop(self.hosts.start_post_copy(uuid)),
            Some(Action::Abort) => drop(self.hosts.abort(uuid)),
            None => {}
        }
        if migration.phase() != phase {
            (self.tell)(Update::Phase(migration.phase()));
        }
        if job.is_some() {
            self.apply_limit();
            (self.tell)(Update::Progress(migration.progress()));
        }
    }

    /// Passes a changed limit on, once there is a job to take it; one that is refused is tried again.
    fn apply_limit(&mut self) {
        if let Some(mib) = self.limit
            && self.hosts.limit_bandwidth(&self.request.uuid, self.request.technique, mib).is_ok()
        {
            self.limit = None;
        }
    }

    /// Looks at both hosts until it is clear where the domain is.
    fn judge(&self, post_copy: bool, failed: bool) -> Verdict {
        let start = Instant::now();
        loop {
            let source = self.hosts.presence(Side::Source, &self.request.uuid);
            let destination = self.hosts.presence(Side::Destination, &self.request.uuid);
            if let Some(verdict) = verdict(self.request.technique, post_copy, failed, &source, &destination) {
                return verdict;
            }
            if start.elapsed() > UNCLEAR_LIMIT {
                return Verdict::NeedsRecovery(unclear(&source, &destination));
            }
            thread::sleep(CLOSE_LOOK);
        }
    }

    /// The domain has arrived: its last statistics, and what is left to do around it.
    fn finish(&self) -> Option<JobStats> {
        let start = Instant::now();
        let completed = loop {
            let completed = self.hosts.completed(&self.request.uuid);
            if completed.is_some() || start.elapsed() > STATISTICS_LIMIT {
                break completed;
            }
            thread::sleep(CLOSE_LOOK);
        };
        if let Err(error) = self.hosts.tidy(&self.request.uuid, self.definition.autostart) {
            (self.tell)(Update::Untidy(error));
        }
        completed
    }
}

fn unclear(source: &Presence, destination: &Presence) -> String {
    format!("it is {source} at the source and {destination} at the destination")
}
