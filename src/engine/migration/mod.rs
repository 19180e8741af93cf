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
mod tests {
    use super::*;
    use crate::failure::Loss;
    use Condition::*;
    use Presence::{Absent, Present, Unknown};

    fn job(transferred: u64, remaining: u64, pass: u64) -> JobStats {
        JobStats { total: 1000, transferred, remaining, pass, ..JobStats::default() }
    }

    fn course(technique: Technique) -> Course {
        Course {
            technique,
            post_copy: true,
            on_stall: Some(OnStall::PostCopy),
            switch_early: true,
            timeout_seconds: None,
            max_downtime_ms: None,
        }
    }

    /// What is seen while libvirt's call runs.
    fn during<'a>(source: &'a Presence, job: Option<&'a JobStats>) -> Sight<'a> {
        Sight { calling: true, source, destination: None, job }
    }

    /// What is seen when no call runs.
    fn after<'a>(source: &'a Presence, destination: &'a Presence) -> Sight<'a> {
        Sight { calling: false, source, destination: Some(destination), job: None }
    }

    #[test]
    fn post_copy_is_asked_for_until_it_is_seen() {
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        migration.allow_switch(true);
        let running = Present(Running);
        let mut look = |now, source: &Presence, job: Option<&JobStats>| {
            let action = migration.observe(now, &during(source, job), false);
            (action, migration.phase())
        };
        assert_eq!(look(0.1, &running, None).0, None, "there is no job to switch yet");
        assert_eq!(look(0.2, &running, Some(&job(0, 1000, 1))).0, Some(Action::StartPostCopy));
        assert_eq!(look(0.3, &running, Some(&job(1, 999, 1))).0, Some(Action::StartPostCopy));
        assert_eq!(look(0.4, &Present(PausedPostCopy), Some(&job(2, 998, 2))), (None, Phase::PostCopy));
    }

    #[test]
    fn a_switch_waits_until_it_is_allowed_and_is_not_asked_for_once_it_is_forbidden() {
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        let running = Present(Running);
        let mut look = |may_switch: bool, now: u32| {
            migration.allow_switch(may_switch);
            let job = job(now.into(), 900, 1);
            migration.observe(now.into(), &during(&running, Some(&job)), false)
        };
        assert_eq!(look(false, 1), None);
        assert_eq!(look(true, 2), Some(Action::StartPostCopy));
        assert_eq!(look(false, 3), None);
        migration.want_abort(Cause::Interrupted);
        let job = job(4, 900, 1);
        assert_eq!(migration.observe(4.0, &during(&running, Some(&job)), false), Some(Action::Abort));
    }

    #[test]
    fn a_post_copy_whose_memory_still_crosses_is_not_lost() {
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        let (half, absent) = (Present(PausedPostCopy), Absent);
        // Somebody else's, to a third host.
        for second in 1..10_u32 {
            let job = job(second.into(), 900, 1);
            let sight = Sight { job: Some(&job), ..after(&half, &absent) };
            assert_eq!(migration.observe(second.into(), &sight, true), None);
        }
    }

    #[test]
    fn pre_copy_that_converges_is_never_switched() {
        let mut migration = Migration::new(course(Technique::PreCopy), 0.0);
        assert_eq!(migration.observe(1.0, &during(&Present(Running), Some(&job(1, 999, 1))), false), None);
        assert_eq!(migration.phase(), Phase::PreCopy);
    }

    /// A guest that writes as fast as the link carries: each pass begins with the same.
    fn action_on_a_stall(on_stall: Option<OnStall>, post_copy: bool) -> Option<Action> {
        let course = Course { post_copy, on_stall, switch_early: false, ..course(Technique::PreCopy) };
        let mut migration = Migration::new(course, 0.0);
        migration.allow_switch(true);
        (1..=8_u32).find_map(|pass| {
            let job = job(u64::from(pass) * 400, 400, pass.into());
            migration.observe(f64::from(pass) * 2.0, &during(&Present(Running), Some(&job)), false)
        })
    }

    #[test]
    fn a_stalled_pre_copy_is_dealt_with_as_asked() {
        assert_eq!(action_on_a_stall(Some(OnStall::PostCopy), true), Some(Action::StartPostCopy));
        assert_eq!(action_on_a_stall(Some(OnStall::PostCopy), false), Some(Action::Abort));
        assert_eq!(action_on_a_stall(Some(OnStall::Abort), true), Some(Action::Abort));
        assert_eq!(action_on_a_stall(Some(OnStall::AutoConverge), true), None, "QEMU does it");
        assert_eq!(action_on_a_stall(None, true), None);
    }

    /// A guest whose third pass begins with little less than its second; what is done in it.
    fn action_on_slow_passes(course: Course, may_switch: bool) -> (Option<Action>, bool) {
        let mut migration = Migration::new(course, 0.0);
        // The passes begin with 1000, 400 and 340.
        let look = |migration: &mut Migration, now, pass: u64, remaining| {
            let job = job([1000, 1400, 1740][pass as usize - 1] - remaining, remaining, pass);
            migration.observe(now, &during(&Present(Running), Some(&job)), false)
        };
        look(&mut migration, 0.5, 1, 500);
        // The second pass is looked at all the time.
        for half in 0..=6_u32 {
            look(&mut migration, 1.0 + f64::from(half) * 0.5, 2, 400 - u64::from(half));
        }
        look(&mut migration, 4.2, 3, 340);
        let asked = migration.slower().is_some();
        // By the time that it is allowed, the link is shared otherwise.
        migration.share_again(2, false);
        migration.allow_switch(may_switch);
        (look(&mut migration, 4.5, 3, 330), asked)
    }

    #[test]
    fn a_slow_pre_copy_is_switched_once_it_may_be() {
        let asked = course(Technique::PreCopy);
        assert_eq!(action_on_slow_passes(asked, true), (Some(Action::StartPostCopy), true));
        assert_eq!(action_on_slow_passes(asked, false), (None, true));
        let plain = Course { switch_early: false, ..asked };
        assert_eq!(action_on_slow_passes(plain, true), (None, false));
    }

    #[test]
    fn more_downtime_comes_before_anything_else_is_done_about_a_stall() {
        for (on_stall, last) in [
            (OnStall::PostCopy, Some(Action::StartPostCopy)),
            (OnStall::Abort, Some(Action::Abort)),
            (OnStall::AutoConverge, None),
        ] {
            let asked = Course {
                max_downtime_ms: Some(1000),
                on_stall: Some(on_stall),
                switch_early: false,
                ..course(Technique::PreCopy)
            };
            let mut migration = Migration::new(asked, 0.0);
            migration.allow_switch(true);
            let mut actions = Vec::new();
            for half in 2..=18_u32 {
                let pass = u64::from(half / 2);
                let job = job(u64::from(half) * 200, 400, pass);
                let action = migration.observe(f64::from(half), &during(&Present(Running), Some(&job)), false);
                actions.extend(action.map(|action| (pass, action)));
            }
            let allowed = [(5, Action::AllowDowntime(600)), (6, Action::AllowDowntime(1000))];
            assert_eq!(actions[..2], allowed, "{on_stall:?}");
            assert_eq!(actions.get(2), last.map(|action| (7, action)).as_ref(), "{on_stall:?}");
        }
    }

    #[test]
    fn a_migration_that_is_not_wanted_any_more_is_allowed_no_more_downtime() {
        let asked = Course { max_downtime_ms: Some(1000), ..course(Technique::PreCopy) };
        let mut migration = Migration::new(asked, 0.0);
        for pass in 1..=8_u32 {
            migration.want_abort(Cause::Interrupted);
            let job = job(u64::from(pass) * 400, 400, pass.into());
            let action = migration.observe(f64::from(pass) * 2.0, &during(&Present(Running), Some(&job)), false);
            assert_eq!(action, Some(Action::Abort));
        }
    }

    #[test]
    fn a_silent_network_is_no_place_to_switch_over() {
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        migration.allow_switch(true);
        let job = job(5, 995, 1);
        let actions: Vec<_> = (0..30)
            .filter_map(|half| migration.observe(f64::from(half) / 2.0, &during(&Present(Running), Some(&job)), false))
            .collect();
        assert_eq!(actions.last(), Some(&Action::Abort));
        assert_eq!(migration.cause(), Some(&Cause::Silent));
    }

    #[test]
    fn nothing_aborts_a_post_copy() {
        let late = Course { timeout_seconds: Some(5.0), ..course(Technique::PostCopy) };
        let mut migration = Migration::new(late, 0.0);
        let source = Present(PausedPostCopy);
        migration.allow_switch(true);
        migration.observe(1.0, &during(&source, Some(&job(1, 999, 1))), false);
        migration.want_abort(Cause::Interrupted);
        // Late, silent, unwanted; also when the source does not answer, or says that it runs.
        for (now, source) in [(100.0, source), (200.0, Unknown("gone".into())), (300.0, Present(Running))] {
            let job = job(1, 999, 1);
            assert_eq!(migration.observe(now, &during(&source, Some(&job)), false), None);
            let stays = Present(PausedMigration);
            let sight = Sight { calling: false, destination: Some(&stays), ..during(&source, Some(&job)) };
            assert!(!matches!(migration.observe(now, &sight, true), Some(Action::Abort | Action::StartPostCopy)));
        }
    }

    #[test]
    fn a_timeout_or_a_wish_aborts_at_the_source() {
        let in_time = Course { timeout_seconds: Some(5.0), ..course(Technique::PreCopy) };
        let mut late = Migration::new(in_time, 10.0);
        let running = Present(Running);
        assert_eq!(late.observe(14.9, &during(&running, Some(&job(1, 999, 1))), false), None);
        assert_eq!(late.observe(15.1, &during(&running, Some(&job(2, 998, 1))), false), Some(Action::Abort));
        assert_eq!(late.cause(), Some(&Cause::TimedOut { limit_seconds: 5.0 }));
        let mut unwanted = Migration::new(course(Technique::PostCopy), 0.0);
        unwanted.want_abort(Cause::Interrupted);
        assert_eq!(unwanted.observe(0.1, &during(&running, Some(&job(0, 1000, 1))), false), Some(Action::Abort));
    }

    #[test]
    fn a_failed_post_copy_is_resumed_less_and_less_often_and_then_left_alone() {
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        let (source, destination) = (Present(PausedPostCopyFailed), Present(RunningPostCopyFailed));
        let mut resumed = Vec::new();
        for second in 0_u32..2000 {
            match migration.observe(second.into(), &after(&source, &destination), true) {
                Some(Action::Resume) => resumed.push(second),
                Some(Action::End(verdict)) => {
                    assert!(matches!(verdict, Verdict::NeedsRecovery(_)));
                    break;
                }
                other => assert_eq!(other, None),
            }
        }
        assert_eq!(resumed[..6], [3, 8, 18, 33, 48, 63]);
        assert!(resumed.last().is_some_and(|last| (550..=600).contains(last)));
        // Nobody resumes towards a host that does not answer.
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        let silent = Unknown("no answer".into());
        assert_eq!(migration.observe(1.0, &after(&source, &silent), true), None);
    }

    #[test]
    fn a_call_that_does_not_return_is_waited_for_only_while_it_may_help() {
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        let (moving, broken) = (Present(PausedPostCopy), Present(PausedPostCopyFailed));
        for second in 0_u32..1000 {
            let job = job(second.into(), 900, 2);
            assert_eq!(migration.observe(second.into(), &during(&moving, Some(&job)), false), None);
        }
        // TCP takes a while to notice.
        for second in 1000_u32..1100 {
            assert_eq!(migration.observe(second.into(), &during(&moving, None), false), None);
        }
        assert_eq!(acts_during(&mut migration, 1100, &broken, None), Some((1161, Action::LetGo)));
    }

    /// The first second from `start` on with an action, if libvirt's call stays out and the domain is seen so.
    fn acts_during(
        migration: &mut Migration,
        start: u32,
        source: &Presence,
        job: Option<&JobStats>,
    ) -> Option<(u32, Action)> {
        (start..start + 3000).find_map(|second| {
            migration.observe(second.into(), &during(source, job), false).map(|action| (second, action))
        })
    }

    #[test]
    fn a_post_copy_of_which_nothing_crosses_is_given_up_though_a_call_is_out() {
        // The destination hangs, and the network holds.
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        let (moving, half, job) = (Present(PausedPostCopy), Present(RunningPostCopy), job(1, 999, 2));
        assert_eq!(acts_during(&mut migration, 0, &moving, Some(&job)), Some((1201, Action::LetGo)));
        let sight = Sight { job: Some(&job), ..after(&moving, &half) };
        let end = migration.observe(1202.0, &sight, false);
        assert!(matches!(end, Some(Action::End(Verdict::NeedsRecovery(_)))), "{end:?}");
    }

    #[test]
    fn a_source_that_does_not_answer_about_a_domain_is_waited_for_as_what_it_said_last() {
        let silent = Unknown("no answer".into());
        for (last, limit) in [(Running, 600), (PausedPostCopy, 1200), (PausedPostCopyFailed, 60), (ShutOff, 60)] {
            let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
            assert_eq!(migration.observe(0.0, &during(&Present(last), None), false), None);
            let since = if last == Running { 1 } else { 0 };
            let let_go = Some((since + limit + 1, Action::LetGo));
            assert_eq!(acts_during(&mut migration, 1, &silent, None), let_go, "{last}");
        }
    }

    #[test]
    fn a_cancellation_without_effect_is_not_asked_for_ever() {
        // The switch-over has begun and the destination does not take the guest over, or libvirt sets it up and hangs.
        for source in [Present(PausedMigration), Present(Running)] {
            let (waits, job) = (Present(PausedMigration), job(0, 1000, 1));
            let let_go = || {
                let mut migration = Migration::new(course(Technique::PreCopy), 0.0);
                migration.want_abort(Cause::Interrupted);
                let acts = |second: u32| migration.observe(second.into(), &during(&source, Some(&job)), false);
                let actions: Vec<_> = (0..=601).map(acts).collect();
                let (last, asked) = actions.split_last().unwrap();
                assert!(asked.iter().all(|action| *action == Some(Action::Abort)), "{asked:?}");
                assert_eq!(*last, Some(Action::LetGo));
                migration
            };
            let sight = Sight { job: Some(&job), ..after(&source, &waits) };
            let mut migration = let_go();
            let ends = [602.0, 603.0].map(|now| migration.observe(now, &sight, false));
            assert!(matches!(ends, [Some(Action::Abort), Some(Action::End(Verdict::NeedsRecovery(_)))]), "{ends:?}");
            // The cancellation has its effect after all.
            let (mut migration, runs) = (let_go(), Present(Running));
            assert_eq!(migration.observe(602.0, &sight, false), Some(Action::Abort));
            let ends = [603.0, 604.0].map(|now| migration.observe(now, &after(&runs, &Absent), false));
            assert_eq!(ends, [None, Some(Action::End(Verdict::Remains))]);
        }
    }

    #[test]
    fn a_time_limit_holds_for_a_migration_that_tells_nothing_of_itself() {
        let limited = Course { timeout_seconds: Some(30.0), ..course(Technique::PreCopy) };
        let mut migration = Migration::new(limited, 0.0);
        assert_eq!(acts_during(&mut migration, 0, &Present(Running), None), Some((31, Action::Abort)));
    }

    #[test]
    fn what_ends_on_both_hosts_after_its_call_was_let_go_is_lost() {
        let gone = Present(ShutOff);
        let let_go = || {
            let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
            migration.observe(0.0, &during(&Present(PausedPostCopy), None), false);
            assert!(acts_during(&mut migration, 1, &gone, None).is_some());
            migration
        };
        let mut migration = let_go();
        let end = [100.0, 101.0].map(|now| migration.observe(now, &after(&gone, &gone), false));
        assert!(matches!(end[1], Some(Action::End(Verdict::Lost(Loss::BothHalves, _)))), "{end:?}");
        // A later call has returned without an error: then it arrived, and has ended since.
        let mut migration = let_go();
        migration.observe(100.0, &during(&Present(PausedPostCopy), None), false);
        let end = [101.0, 102.0].map(|now| migration.observe(now, &after(&gone, &gone), false));
        assert!(matches!(end[1], Some(Action::End(Verdict::Gone(..)))), "{end:?}");
    }

    #[test]
    fn a_source_that_has_sent_all_waits_for_a_destination_that_does_not_say_so() {
        let sent = Present(ShutOffMigrated);
        for destination in [Unknown("no answer".into()), Present(RunningPostCopy)] {
            let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
            // It sent for long, and nothing crossed at last.
            migration.observe(0.0, &during(&Present(PausedPostCopy), None), false);
            migration.observe(500.0, &during(&Present(PausedPostCopy), None), false);
            for second in 501_u32..1100 {
                assert_eq!(migration.observe(second.into(), &after(&sent, &destination), true), None, "{second}");
            }
            let ends = [1100.0, 1101.0].map(|now| migration.observe(now, &after(&sent, &Present(Running)), true));
            assert_eq!(ends[1], Some(Action::End(Verdict::Migrated)));
        }
    }

    #[test]
    fn nor_once_the_domain_has_left_the_source() {
        let mut migration = Migration::new(course(Technique::PostCopy), 0.0);
        // Its emulator at the source was killed, and the one at the destination does not answer.
        let (moving, gone, half) = (Present(PausedPostCopy), Present(ShutOff), Present(RunningPostCopy));
        migration.observe(0.0, &during(&moving, Some(&job(1, 999, 1))), false);
        assert_eq!(acts_during(&mut migration, 1, &gone, None), Some((62, Action::LetGo)));
        let mut looks = (63_u32..1000).map(|second| migration.observe(second.into(), &after(&gone, &half), true));
        let places = Places { source: gone.clone(), destination: half.clone() };
        let unclear = Verdict::NeedsRecovery(Trouble::Unclear { places });
        assert_eq!(looks.position(|action| action == Some(Action::End(unclear.clone()))), Some(121 - 63));
    }

    #[test]
    fn a_verdict_needs_a_second_look() {
        let mut migration = Migration::new(course(Technique::PreCopy), 0.0);
        let (running, absent, paused) = (Present(Running), Absent, Present(PausedMigration));
        // The source was looked at before the switch-over, the destination after it.
        assert_eq!(migration.observe(1.0, &after(&running, &running), false), None);
        assert_eq!(migration.observe(1.1, &after(&paused, &running), false), None);
        assert_eq!(migration.observe(1.2, &after(&running, &absent), false), None);
        assert_eq!(migration.observe(1.3, &after(&running, &absent), false), Some(Action::End(Verdict::Remains)));
        // But for one that has left.
        assert_eq!(migration.observe(1.4, &after(&absent, &running), false), Some(Action::End(Verdict::Migrated)));
    }

    #[test]
    fn a_domain_that_runs_on_at_the_source_needs_no_answer_of_the_destination() {
        let mut migration = Migration::new(course(Technique::PreCopy), 0.0);
        let (running, silent) = (Present(Running), Unknown("no answer".into()));
        assert_eq!(migration.observe(1.0, &after(&running, &silent), true), None);
        assert_eq!(migration.observe(9.0, &after(&running, &silent), true), Some(Action::End(Verdict::Remains)));
        // But one that was in post-copy does.
        let mut switched = Migration::new(course(Technique::PostCopy), 0.0);
        switched.observe(1.0, &during(&Present(PausedPostCopy), None), false);
        assert_eq!(switched.observe(9.0, &after(&running, &silent), true), None);
    }
}
