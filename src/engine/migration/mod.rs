//! State machine of one migration, no I/O: what phase it is in, what to do next, how far it is ([`Progress`]), how it ended
//! ([`Verdict`]).
//!
//! Pure: what was seen on the hosts and the time go in, actions come out. The switch to post-copy is the point of no
//! return: once it was seen, no edge leads to an abort, since neither host alone has the guest.

pub(crate) mod attempt;
mod call;
pub mod convergence;
mod passes;
mod progress;
mod verdict;

use serde::{Deserialize, Serialize};

use crate::domain::{Condition, LAST_SECONDS, Phase, Places, Presence, Technique};
use crate::engine::bandwidth::LAST_PASS;
use crate::engine::migration::convergence::{Convergence, Downtime, Slow, Stall};
use crate::failure::{Cause, Trouble};
use crate::libvirt::JobStats;

use call::{Call, Wait};
use passes::Passes;
use progress::Gauge;
pub use progress::Progress;
pub use verdict::{Verdict, verdict};

/// What to do about a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask for the switch to post-copy.
    StartPostCopy,
    /// Allow a downtime of so many milliseconds.
    AllowDowntime(u64),
    /// Cancel it; the guest runs on at the source.
    Abort,
    /// Go on with a post-copy that failed.
    Resume,
    /// Wait no more for libvirt's call: it does not return, and what it was to perform is broken.
    LetGo,
    /// Nothing more: it has ended like this.
    End(Verdict),
}

/// What is done about a pre-copy that does not converge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnStall {
    /// Switch it to post-copy; cancel it if the domain can't be post-copied.
    PostCopy,
    /// Let QEMU slow the guest down, from the start and as much as it takes.
    AutoConverge,
    /// Cancel it and leave the domain running at the source.
    Abort,
}

/// What is asked of a migration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Course {
    /// How it is to move.
    pub technique: Technique,
    /// Whether a switch to post-copy is possible.
    pub post_copy: bool,
    /// What is done if pre-copy does not converge; `None`: nothing.
    pub on_stall: Option<OnStall>,
    /// Whether a pre-copy that is only slow is switched, too.
    pub switch_early: bool,
    /// Limit to the time at the source, in seconds.
    pub timeout_seconds: Option<f64>,
    /// The most downtime that it may be allowed if pre-copy does not converge, before anything else is done, in milliseconds.
    pub max_downtime_ms: Option<u64>,
}

/// What was seen at one time.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Whether a call of libvirt's that performs the migration has not returned yet.
    pub calling: bool,
    /// The domain at the source.
    pub source: &'a Presence,
    /// The domain at the destination; `None` if it was not looked at, which is enough during the call.
    pub destination: Option<&'a Presence>,
    /// The migration's statistics, if the source says that it runs.
    pub job: Option<&'a JobStats>,
}

/// For how long a domain's place may stay unclear without a sign of progress, in seconds: a broken link was seen to
/// mend after 37 s.
const UNCLEAR_SECONDS: f64 = 120.0;

/// The same if the domain runs at the source as before, and only the destination is not clear: it may need a
/// moment to remove what had arrived, or not answer at all.
const UNCLEAR_AT_DESTINATION_SECONDS: f64 = 5.0;

/// For how long a post-copy without a call is watched that does not move, and resumed in vain if it failed, in seconds, before it
/// is left to `tsmig recover`: long enough to plug a cable back in or to restart a daemon.
const RESUME_SECONDS: f64 = 600.0;

/// Seconds before each resumption, and before all later ones. Not at once: the destination's libvirtd 11.3 was seen to
/// end with a segmentation fault if one came a tenth of a second after the failure.
const RESUME_PAUSES: [f64; 4] = [3.0, 5.0, 10.0, 15.0];

/// Resumptions after which a post-copy is given up whose guest has not run at the destination. Measured with QEMU 10.0:
/// a stream that breaks in the middle of the devices' state ends the destination's loading (`loadvm failed: -22`), and
/// no resumption was taken.
const HOPELESS_RESUMES: usize = 5;

/// A migration that runs. Times are seconds on any clock that goes forward.
#[derive(Debug, Clone)]
pub struct Migration {
    course: Course,
    started: f64,
    phase: Phase,
    /// Whether it may switch to post-copy now, if it is to.
    may_switch: bool,
    /// Once the switch was seen, for good.
    post_copied: bool,
    cause: Option<Cause>,
    /// Why it had better be switched, though nothing is wrong.
    slower: Option<Cause>,
    passes: Passes,
    gauge: Gauge,
    convergence: Convergence,
    downtime: Downtime,
    /// When there was the last sign that it moves on: bytes that crossed, or a call that was at work and may be waited for.
    moved_at: f64,
    call: Call,
    /// How often it was resumed, and since when it has been broken without a byte.
    resumes: usize,
    broken_since: Option<f64>,
    /// A verdict that the next look has to confirm: the two hosts are not looked at in the same instant.
    likely: Option<Verdict>,
}

impl Migration {
    /// A migration that starts now, or is watched from now on.
    pub fn new(course: Course, now: f64) -> Self {
        Self {
            course,
            started: now,
            phase: Phase::Starting,
            may_switch: false,
            post_copied: false,
            cause: None,
            slower: None,
            passes: Passes::default(),
            gauge: Gauge::default(),
            convergence: Convergence::default(),
            downtime: Downtime::up_to(course.max_downtime_ms),
            moved_at: now,
            call: Call::default(),
            resumes: 0,
            broken_since: None,
            likely: None,
        }
    }

    /// The same migration from its beginning, without post-copy: the destination can't.
    pub fn without_post_copy(&mut self) {
        let without = Course { technique: Technique::PreCopy, post_copy: false, switch_early: false, ..self.course };
        (self.course, self.slower) = (without, None);
        self.phase = Phase::Starting;
        self.downtime = Downtime::up_to(self.course.max_downtime_ms);
    }

    /// Its phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.gauge.progress()
    }

    /// How many passes over the memory it took, by the statistics of the job when it was done.
    pub fn passes(&self, completed: &JobStats) -> u64 {
        { self.passes }.count(completed).pass
    }

    /// How it moved in the end.
    pub fn technique(&self) -> Technique {
        match self.course.technique {
            Technique::PreCopy if self.post_copied => Technique::PostCopy,
            planned => planned,
        }
    }

    /// Why it was cancelled, or switched although pre-copy was planned.
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// Why it had better be switched although its passes gain, as of the last of them.
    pub fn slower(&self) -> Option<&Cause> {
        self.slower.as_ref()
    }

    /// For how long its post-copy has been broken without a byte that crossed, in seconds.
    pub fn quiet_seconds(&self, now: f64) -> f64 {
        self.broken_since.map_or(0.0, |since| now - since)
    }

    /// Whether it was seen in post-copy.
    pub fn post_copied(&self) -> bool {
        self.post_copied
    }

    /// Whether the next look should come soon: a switch to post-copy is pending, or the last pass of a pre-copy, for
    /// which others are held back.
    pub fn is_urgent(&self) -> bool {
        let Progress { pass, eta_seconds, .. } = self.progress();
        let last_pass = self.phase == Phase::PreCopy
            && (2..=LAST_PASS).contains(&pass)
            && eta_seconds.is_some_and(|seconds| seconds <= LAST_SECONDS);
        last_pass || self.may_switch && self.switches() && matches!(self.phase, Phase::Starting | Phase::PreCopy)
    }

    /// Allows the switch to post-copy, or forbids it until further notice; forbidden from the start.
    pub fn allow_switch(&mut self, may_switch: bool) {
        self.may_switch = may_switch;
    }

    /// Whether it is to be switched to post-copy, as soon as it may.
    pub fn switches(&self) -> bool {
        let stalled = matches!(self.cause, Some(Cause::Stalled { .. }))
            && self.course.on_stall == Some(OnStall::PostCopy)
            && self.course.post_copy;
        // What was allowed for that holds, though a pass gains again meanwhile.
        let slower = self.slower.is_some() || self.course.switch_early && self.may_switch;
        let planned = match self.course.technique {
            Technique::PostCopy => true,
            Technique::Hybrid => self.progress().pass > 1,
            Technique::PreCopy | Technique::Offline => false,
        };
        planned || stalled || slower
    }

    /// From now on it is to be cancelled, as long as that is possible.
    pub fn want_abort(&mut self, cause: Cause) {
        if !matches!(self.cause, Some(Cause::TimedOut { .. } | Cause::Silent)) {
            self.cause = Some(cause);
        }
    }

    /// It shares the link among this `many` now; `held_back` if it gets little, for a while, for the sake of another.
    pub fn share_again(&mut self, many: usize, held_back: bool) {
        self.convergence.share_again(many, held_back);
    }

    /// Takes in what was seen, and says what to do. `failed` is whether the last call of libvirt's returned an error:
    /// no verdict, but it tells what it means when the domain is on no host any more.
    pub fn observe(&mut self, now: f64, sight: &Sight<'_>, failed: bool) -> Option<Action> {
        let counted = sight.job.map(|job| self.passes.count(job));
        let sight = &Sight { job: counted.as_ref(), ..*sight };
        self.see(now, sight);
        let broken = *sight.source == Presence::Present(Condition::PausedPostCopyFailed);
        let technique = self.course.technique;
        let can_cancel = !self.post_copied && technique != Technique::Offline;
        let in_vain = can_cancel && self.call.is_cancelled_in_vain(now);
        if sight.calling {
            let wait = self.call.is_out(now, technique, sight.source, self.moved_at);
            if in_vain || wait == Wait::Over {
                self.call.let_go();
                return Some(Action::LetGo);
            }
            if wait == Wait::Ordinary {
                self.moved_at = now;
            }
        } else if self.call.is_not_out() {
            self.moved_at = now;
        }
        if sight.calling || (sight.job.is_some() && !self.post_copied) {
            // It may still go on; or the cancellation has its effect just now.
            let unclear = sight.destination.filter(|_| in_vain).map(|place| unclear_at(sight.source, place));
            return match unclear {
                Some(_) if unclear == self.likely => unclear.map(Action::End),
                unclear => {
                    self.likely = unclear;
                    self.steer(now, sight)
                }
            };
        }
        self.settle(now, sight, broken, failed || self.call.was_let_go())
    }

    /// Phase and progress.
    fn see(&mut self, now: f64, sight: &Sight<'_>) {
        if sight.job.is_some_and(|job| self.gauge.read(now, job)) {
            self.moved_at = now;
            self.broken_since = None;
        }
        self.phase = match (sight.source, sight.job) {
            (Presence::Present(Condition::PausedPostCopyFailed), _) => Phase::Recovering,
            (Presence::Present(Condition::PausedPostCopy), _) => Phase::PostCopy,
            _ if !sight.calling && (self.post_copied || sight.job.is_none()) => Phase::Checking,
            (_, Some(_)) if !self.post_copied => Phase::PreCopy,
            _ => self.phase,
        };
        self.post_copied |= matches!(self.phase, Phase::PostCopy | Phase::Recovering);
    }

    /// What to do while it runs.
    fn steer(&mut self, now: f64, sight: &Sight<'_>) -> Option<Action> {
        let job = sight.job;
        if self.post_copied {
            return None;
        }
        let out_of_time = self.course.timeout_seconds.filter(|limit| now - self.started > *limit);
        let timed_out = out_of_time.map(|limit_seconds| Cause::TimedOut { limit_seconds });
        let (mut more_downtime, mut silent, mut stalled) = (None, false, None);
        if let Some(job) = job {
            silent = self.convergence.look(now, job);
            if self.course.switch_early && !self.may_switch {
                let slow = self.convergence.slow().filter(|_| self.cause.is_none());
                self.slower = slow.map(|Slow { pass, remaining, seconds }| Cause::Slower {
                    pass,
                    remaining_bytes: remaining,
                    seconds,
                });
            }
            let makes_no_headway = self.convergence.stalled().filter(|_| self.course.technique == Technique::PreCopy);
            let stall = makes_no_headway.map(|(pass, _)| self.downtime.stalled(pass));
            if let Some(Stall::Raise(milliseconds)) = stall {
                more_downtime = Some(Action::AllowDowntime(milliseconds));
            }
            let acts = makes_no_headway.filter(|_| stall == Some(Stall::Final) && self.acts_on_a_stall());
            stalled = acts.map(|(pass, remaining_bytes)| Cause::Stalled { pass, remaining_bytes });
        }
        self.cause = match self.cause.take() {
            // A wish outlives everything. A fault of the network comes before what would go by the network.
            Some(cause) if !matches!(cause, Cause::Stalled { .. }) => Some(cause),
            _ if silent => Some(Cause::Silent),
            cause => timed_out.or(cause).or(stalled),
        };
        let action = match self.cause {
            // Asked again until the source is seen in post-copy: success of the request is not the switch, and a
            // request that comes too early fails without harm.
            None | Some(Cause::Stalled { .. }) if self.switches() => {
                // One that was paused meanwhile ends by itself.
                let runs = matches!(sight.source, Presence::Present(condition) if condition.can_post_copy());
                (self.may_switch && job.is_some() && runs).then_some(Action::StartPostCopy)
            }
            Some(_) => Some(Action::Abort),
            None => more_downtime,
        };
        self.call.is_cancelled(now, action == Some(Action::Abort));
        action
    }

    fn acts_on_a_stall(&self) -> bool {
        matches!(self.course.on_stall, Some(OnStall::PostCopy | OnStall::Abort))
    }

    /// What to do while no call is at work: wait until it is clear where the domain is, mend what is broken.
    fn settle(&mut self, now: f64, sight: &Sight<'_>, broken: bool, failed: bool) -> Option<Action> {
        let source = sight.source;
        let destination = sight.destination?;
        // Its memory crosses still: to whatever host that is, both halves are needed.
        let crosses = *source == Presence::Present(Condition::PausedPostCopy) && sight.job.is_some();
        let verdict =
            verdict(self.course.technique, self.post_copied, failed, source, destination).filter(|_| !crosses);
        // The source is looked at first: what has left it by then does not come back.
        let arrived = verdict == Some(Verdict::Migrated) && *source == Presence::Absent;
        if verdict.is_some() && (arrived || verdict == self.likely) {
            return verdict.map(Action::End);
        }
        self.likely = verdict;
        if self.likely.is_some() {
            return None;
        }
        let unclear = now - self.moved_at;
        if broken && *destination == Presence::Present(Condition::PausedMigration) && self.resumes >= HOPELESS_RESUMES {
            return Some(Action::End(Verdict::NeedsRecovery(Trouble::NeverRan)));
        }
        if broken && matches!(destination, Presence::Present(_)) {
            let since = *self.broken_since.get_or_insert(now);
            if now - since > RESUME_SECONDS {
                return Some(Action::End(unclear_at(source, destination)));
            }
            let pause = RESUME_PAUSES[self.resumes.min(RESUME_PAUSES.len() - 1)];
            // libvirt calls a post-copy failed also when only its own call failed, and QEMU goes on.
            if unclear < pause {
                return None;
            }
            self.moved_at = now;
            self.resumes += 1;
            return Some(Action::Resume);
        }
        if !broken && self.phase == Phase::PostCopy {
            self.broken_since = None;
        }
        let at_source = matches!(source, Presence::Present(Condition::Running | Condition::Paused));
        if at_source && !self.post_copied && unclear > UNCLEAR_AT_DESTINATION_SECONDS {
            return Some(Action::End(Verdict::Remains));
        }
        // Nothing mends it any more where one half is gone; a source that has sent all may wait for a destination's daemon.
        let half_is_gone = source.is_inactive()
            && *source != Presence::Present(Condition::ShutOffMigrated)
            && matches!(destination, Presence::Present(_));
        let limit = if self.post_copied && !half_is_gone { RESUME_SECONDS } else { UNCLEAR_SECONDS };
        (unclear > limit).then(|| Action::End(unclear_at(source, destination)))
    }
}

fn unclear_at(source: &Presence, destination: &Presence) -> Verdict {
    let places = Places { source: source.clone(), destination: destination.clone() };
    Verdict::NeedsRecovery(Trouble::Unclear { places })
}

#[cfg(test)]
mod tests;
