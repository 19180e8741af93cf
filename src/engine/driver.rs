//! Carries out what an [`Attempt`] decides: a thread per migration, and one more for libvirt's call, which blocks until the
//! end. A launch is journaled before it runs.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::domain::{Presence, Technique};
use crate::engine::migration::Verdict;
use crate::engine::migration::attempt::{Action, Attempt, Ended, Instruction, Seen, Update};
use crate::engine::recovery::journal::{Entry, Journal};
use crate::failure::Cause;
use crate::libvirt::{Definition, HostError, Hosts, JobStats};
use crate::topology::Side;

/// Time between two looks at a migration.
const LOOK: Duration = Duration::from_millis(500);
/// The same while a switch or a verdict is pending.
const CLOSE_LOOK: Duration = Duration::from_millis(100);
/// How long to wait for the source's final statistics, which come on another connection than the return.
const STATISTICS_LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum Input {
    /// libvirt's call of that number has returned.
    Returned(usize, Result<(), HostError>),
    Told(Instruction),
}

/// One domain, and those that its driver talks to.
pub(crate) struct Driver<F> {
    pub(crate) hosts: Arc<dyn Hosts>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) domain: String,
    pub(crate) uuid: String,
    /// What the source stored of the domain before it moved.
    pub(crate) before: Definition,
    /// Where the thread that waits in libvirt's call posts its return; `inbox` is the other end.
    pub(crate) sender: Sender<Input>,
    pub(crate) inbox: Receiver<Input>,
    pub(crate) tell: F,
}

type Next = ControlFlow<()>;

impl<F: Fn(Update)> Driver<F> {
    /// Whether it is to be launched still, after what took its time before that; if not, why.
    pub(crate) fn still_wanted(&self) -> Result<(), Cause> {
        for input in self.inbox.try_iter().collect::<Vec<_>>() {
            match input {
                Input::Told(Instruction::Abort(cause)) => return Err(cause),
                // It is for later; the other end is in this driver's hands.
                other => drop(self.sender.send(other)),
            }
        }
        Ok(())
    }

    pub(crate) fn not_wanted(&self, technique: Technique, cause: Cause) {
        (self.tell)(Update::Ended(Ended::not_wanted(technique, cause)));
    }

    /// Launches a migration and follows it to its end.
    pub(crate) fn launch(&self, mut attempt: Attempt) {
        (self.tell)(Update::Phase(attempt.phase()));
        match self.call(&mut attempt) {
            Ok(()) => self.see_through(attempt, Instant::now()),
            // What is not on record could not be found again.
            Err(error) => {
                let cause = Cause::Unrecorded { error: error.to_string() };
                self.not_wanted(attempt.request().transfer.technique, cause);
            }
        }
    }

    /// Follows a migration to its end that somebody else began, or that has ended already.
    pub(crate) fn adopt(&self, attempt: Attempt) {
        (self.tell)(Update::Phase(attempt.phase()));
        self.see_through(attempt, Instant::now());
    }

    fn see_through(&self, mut attempt: Attempt, start: Instant) {
        let now = || start.elapsed().as_secs_f64();
        let mut next = Next::Continue(());
        while next.is_continue() {
            // This end holds a sender itself, so the only error is that nothing came in time.
            let actions = match self.inbox.recv_timeout(if attempt.is_urgent() { CLOSE_LOOK } else { LOOK }) {
                Ok(Input::Returned(call, result)) => attempt.returned(now(), call, result),
                Ok(Input::Told(instruction)) => {
                    attempt.told(instruction);
                    Vec::new()
                }
                Err(_) => Vec::new(),
            };
            next = self.carry_out(&mut attempt, actions, &now);
            if next.is_continue() && attempt.looks_for_wait() {
                let destination = self.hosts.presence(Side::Destination, &self.uuid);
                let actions = attempt.awaited(now(), &destination);
                next = self.carry_out(&mut attempt, actions, &now);
            }
            if next.is_continue() {
                let seen = self.look(&attempt);
                let actions = attempt.observe(now(), &seen);
                next = self.carry_out(&mut attempt, actions, &now);
            }
        }
    }

    fn look(&self, attempt: &Attempt) -> Seen {
        let uuid = &self.uuid;
        let source = self.hosts.presence(Side::Source, uuid);
        let fault = attempt.looks_for_fault(&source).then(|| self.hosts.fault(uuid)).flatten();
        let destination = attempt.looks_at_destination(&source).then(|| self.hosts.presence(Side::Destination, uuid));
        let job = match source {
            Presence::Present(_) => self.hosts.job(uuid),
            Presence::Absent | Presence::Unknown(_) => Ok(None),
        };
        Seen { source, fault, destination, job }
    }

    fn carry_out(&self, attempt: &mut Attempt, actions: Vec<Action>, now: &impl Fn() -> f64) -> Next {
        let (hosts, uuid) = (&self.hosts, &self.uuid);
        for action in actions {
            match action {
                Action::Tell(update) => (self.tell)(update),
                Action::TellOf(error, update) => {
                    (self.tell)(update(hosts.locate(error, attempt.request(), attempt.has_crossed())));
                }
                // If the journal fails now, the domain stays, which the verdict will find.
                Action::Call => self.call(attempt).unwrap_or_else(|error| {
                    (self.tell)(Update::Unrecorded(error.to_string()));
                }),
                Action::Limit(phases, mib) => {
                    if phases.into_iter().all(|phase| hosts.limit_bandwidth(uuid, phase, mib).is_ok()) {
                        attempt.limited();
                    }
                }
                // Both may be refused because it is too early or too late; the next look tells.
                Action::StartPostCopy => drop(hosts.start_post_copy(uuid)),
                // One that is refused is a step without effect; the next pass brings the next.
                Action::AllowDowntime(milliseconds) => drop(hosts.allow_downtime(uuid, milliseconds)),
                Action::Abort => drop(hosts.abort(uuid)),
                Action::AskResumption => {
                    let actions = attempt.resumable(now(), hosts.resume_fault());
                    self.carry_out(attempt, actions, now)?;
                }
                Action::GiveBack => return Next::Break(()),
                Action::End(verdict) => {
                    self.end(attempt, verdict, now);
                    return Next::Break(());
                }
            }
        }
        Next::Continue(())
    }

    /// Starts libvirt's call in a thread of its own.
    fn call(&self, attempt: &mut Attempt) -> io::Result<()> {
        let request = attempt.request().clone();
        // One that is resumed is on record, or the hosts tell of it.
        if !request.resume {
            self.journal.record(&Entry::Launch {
                domain: self.domain.clone(),
                uuid: self.uuid.clone(),
                destination: self.hosts.name(Side::Destination).to_owned(),
                transfer: request.transfer.clone(),
                persistent: self.before.persistent,
                autostart: self.before.autostart,
            })?;
        }
        let (hosts, sender, call) = (Arc::clone(&self.hosts), self.sender.clone(), attempt.call());
        // Nobody listens any more when tsmig is on its way out.
        thread::spawn(move || sender.send(Input::Returned(call, hosts.migrate(&request))));
        Ok(())
    }

    fn end(&self, attempt: &Attempt, verdict: Verdict, now: &impl Fn() -> f64) {
        let completed = if verdict == Verdict::Migrated { self.finish(attempt.has_crossed()) } else { None };
        let locate = |error: &HostError| self.hosts.locate(error.clone(), attempt.request(), attempt.has_crossed());
        let located = attempt.unexplained().map(locate);
        (self.tell)(Update::Ended(attempt.ended(now(), verdict, completed, located)));
    }

    /// The domain has arrived: its last statistics, and what is left to do around it.
    fn finish(&self, counted: bool) -> Option<JobStats> {
        let start = Instant::now();
        let completed = loop {
            let completed = self.hosts.completed(&self.uuid);
            if completed.is_some() || !counted || start.elapsed() > STATISTICS_LIMIT {
                break completed;
            }
            thread::sleep(CLOSE_LOOK);
        };
        match self.hosts.tidy(&self.uuid, &self.before) {
            Ok(done) => done.into_iter().for_each(|tidied| (self.tell)(Update::Tidied(tidied))),
            Err(error) => (self.tell)(Update::Untidy(error)),
        }
        completed
    }
}
