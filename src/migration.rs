//! One migration, without the doing: what phase it is in, what to do next, how far it is, how it ended.
//!
//! Pure: observations and the time go in, actions and a verdict come out. The switch to post-copy is the point of
//! no return: [`Phase::PostCopy`] has no edge to an abort, since from then on neither host alone has the guest.

use serde::{Deserialize, Serialize};

use crate::hypervisor::{Condition, JobStats, Presence};
use crate::plan::Technique;

/// What a running migration is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The two libvirts set it up.
    Starting,
    /// Memory is copied while the guest runs at the source.
    PreCopy,
    /// The guest runs at the destination, the rest of its memory follows.
    PostCopy,
    /// libvirt's call has returned; where the domain is, is being checked.
    Checking,
}

/// What to do about a running migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask for the switch to post-copy.
    StartPostCopy,
    /// Cancel it; the guest runs on at the source.
    Abort,
}

/// How a migration ended for the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is at the destination and nowhere else.
    Migrated,
    /// It is at the source as before.
    Remains,
    /// It is half here and half there, or can't be seen; it must not be touched without a look.
    NeedsRecovery(String),
    /// It can't have survived.
    Lost(String),
    /// It ended by itself meanwhile.
    Gone(String),
}

/// How far a migration is. Bytes unless named otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// From 0 to 99 while it runs; it never goes back.
    pub percent: u8,
    /// Pass over the memory, from 1.
    pub pass: u64,
    /// What has crossed the wire, pages sent again included.
    #[serde(rename = "transferred_bytes")]
    pub transferred: u64,
    /// What has not crossed yet, or was dirtied since.
    #[serde(rename = "remaining_bytes")]
    pub remaining: u64,
    /// Mean rate over the last seconds, in bits per second.
    pub bits_per_second: f64,
    /// How fast the guest dirties its memory, in bytes per second, where known.
    pub dirty_bytes_per_second: Option<f64>,
    /// Seconds until what remains has crossed at the present rate; `None` where that is not known.
    pub eta_seconds: Option<f64>,
}

/// Weight of the newest reading in the mean rate; at two readings a second the mean spans about three seconds.
const RATE_WEIGHT: f64 = 0.3;

/// A migration that runs. Times are seconds on any clock that goes forward.
#[derive(Debug, Clone)]
pub struct Migration {
    technique: Technique,
    started: f64,
    timeout_seconds: Option<f64>,
    phase: Phase,
    abort_wanted: bool,
    progress: Progress,
    rate_known_at: Option<f64>,
}

impl Migration {
    /// A migration that starts now. `timeout_seconds` limits the time that it may spend at the source.
    pub fn new(technique: Technique, timeout_seconds: Option<f64>, now: f64) -> Self {
        Self {
            technique,
            started: now,
            timeout_seconds,
            phase: Phase::Starting,
            abort_wanted: false,
            progress: Progress::default(),
            rate_known_at: None,
        }
    }

    /// Its phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether the next observation should come soon: a switch to post-copy is pending.
    pub fn is_urgent(&self) -> bool {
        self.technique == Technique::PostCopy && matches!(self.phase, Phase::Starting | Phase::PreCopy)
    }

    /// Whether it ran out of time at the source.
    pub fn timed_out(&self, now: f64) -> bool {
        self.timeout_seconds.is_some_and(|limit| now - self.started > limit)
            && matches!(self.phase, Phase::Starting | Phase::PreCopy)
    }

    /// From now on it is to be cancelled, as long as that is possible.
    pub fn want_abort(&mut self) {
        self.abort_wanted = true;
    }

    /// What the source says of the domain and its job, while libvirt's call has not returned.
    pub fn observe(&mut self, now: f64, source: &Presence, job: Option<&JobStats>) -> Option<Action> {
        if matches!(source, Presence::Present(Condition::PausedPostCopy | Condition::PausedPostCopyFailed)) {
            self.phase = Phase::PostCopy;
        }
        if let Some(job) = job {
            if self.phase == Phase::Starting {
                self.phase = Phase::PreCopy;
            }
            self.measure(now, job);
        }
        match self.phase {
            Phase::PostCopy | Phase::Checking => None,
            Phase::Starting | Phase::PreCopy if self.abort_wanted || self.timed_out(now) => Some(Action::Abort),
            // Asked again until the source is seen in post-copy: success of the request is not the switch, and a
            // request that comes too early fails without harm.
            Phase::Starting | Phase::PreCopy => {
                (self.technique == Technique::PostCopy && job.is_some()).then_some(Action::StartPostCopy)
            }
        }
    }

    /// libvirt's call has returned. Returns whether the migration had been seen in post-copy.
    pub fn returned(&mut self) -> bool {
        let post_copy = self.phase == Phase::PostCopy;
        self.phase = Phase::Checking;
        post_copy
    }

    fn measure(&mut self, now: f64, job: &JobStats) {
        let progress = &mut self.progress;
        if let Some(before) = self.rate_known_at
            && now > before
        {
            let bits = job.transferred.saturating_sub(progress.transferred) as f64 * 8.0;
            let rate = bits / (now - before);
            let known = progress.bits_per_second > 0.0;
            let weight = if known { RATE_WEIGHT } else { 1.0 };
            progress.bits_per_second += weight * (rate - progress.bits_per_second);
        }
        self.rate_known_at = Some(now);
        progress.transferred = progress.transferred.max(job.transferred);
        progress.remaining = job.remaining;
        progress.pass = progress.pass.max(job.pass).max(1);
        progress.dirty_bytes_per_second = job.dirty_bytes_per_second;
        if job.total > 0 {
            // What remains grows when a pass ends and the dirtied pages are counted: the percentage holds there.
            let done = 1.0 - job.remaining.min(job.total) as f64 / job.total as f64;
            progress.percent = progress.percent.max(((done * 100.0) as u8).min(99));
        }
        progress.eta_seconds = (progress.bits_per_second > 0.0)
            .then(|| progress.remaining as f64 * 8.0 / progress.bits_per_second)
            .filter(|_| job.total > 0);
    }
}

/// Judges where a domain ended from its state on both hosts; `None` while that is still moving.
///
/// `post_copy` says whether the migration had been seen in post-copy, `failed` whether libvirt's call returned an
/// error: neither is a verdict, but they tell what it means when the domain is on no host any more.
pub fn verdict(
    technique: Technique,
    post_copy: bool,
    failed: bool,
    source: &Presence,
    destination: &Presence,
) -> Option<Verdict> {
    use Condition::{Paused, PausedPostCopy, PausedPostCopyFailed, Running, ShutOff, ShutOffMigrated};
    use Presence::{Absent, Present, Unknown};

    if technique == Technique::Offline {
        return match (source, destination) {
            (Unknown(_), _) | (_, Unknown(_)) => None,
            (Absent, Present(_)) => Some(Verdict::Migrated),
            (Present(_), _) => Some(Verdict::Remains),
            (Absent, Absent) => Some(Verdict::Lost("its definition is on neither host".to_owned())),
        };
    }
    match (source, destination) {
        (Absent | Present(ShutOff | ShutOffMigrated), Present(Running | Paused)) => Some(Verdict::Migrated),
        (Present(Running), Present(Running)) => Some(Verdict::NeedsRecovery(
            "it runs on both hosts; pause one of the two before they both write".to_owned(),
        )),
        (Present(Running | Paused), Absent | Present(ShutOff | ShutOffMigrated)) => Some(Verdict::Remains),
        (Present(PausedPostCopy | PausedPostCopyFailed), Absent | Present(ShutOff | ShutOffMigrated)) => {
            Some(Verdict::Lost("it was in post-copy and its destination half is gone".to_owned()))
        }
        (Absent | Present(ShutOff | ShutOffMigrated), Absent | Present(ShutOff | ShutOffMigrated)) => {
            Some(if post_copy && failed {
                Verdict::Lost("it was in post-copy and runs on neither host".to_owned())
            } else {
                Verdict::Gone("it stopped running while it was migrated".to_owned())
            })
        }
        // A switch-over or a post-copy on its way, a broken one that may still mend, a host that does not answer.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Condition::*;
    use Presence::{Absent, Present, Unknown};

    fn job(transferred: u64, remaining: u64, pass: u64) -> JobStats {
        JobStats { total: 1000, transferred, remaining, pass, ..JobStats::default() }
    }

    #[test]
    fn post_copy_is_asked_for_until_it_is_seen() {
        let mut migration = Migration::new(Technique::PostCopy, None, 0.0);
        let running = Present(Running);
        assert_eq!(migration.observe(0.1, &running, None), None, "there is no job to switch yet");
        assert_eq!(migration.observe(0.2, &running, Some(&job(0, 1000, 1))), Some(Action::StartPostCopy));
        assert_eq!(migration.observe(0.3, &running, Some(&job(1, 999, 1))), Some(Action::StartPostCopy));
        assert_eq!(migration.observe(0.4, &Present(PausedPostCopy), Some(&job(2, 998, 2))), None);
        assert_eq!(migration.phase(), Phase::PostCopy);
    }

    #[test]
    fn pre_copy_is_never_switched() {
        let mut migration = Migration::new(Technique::PreCopy, None, 0.0);
        assert_eq!(migration.observe(1.0, &Present(Running), Some(&job(1, 999, 1))), None);
        assert_eq!(migration.phase(), Phase::PreCopy);
    }

    #[test]
    fn nothing_aborts_a_post_copy() {
        let mut migration = Migration::new(Technique::PostCopy, Some(5.0), 0.0);
        migration.observe(1.0, &Present(PausedPostCopy), Some(&job(1, 999, 1)));
        migration.want_abort();
        assert_eq!(migration.observe(100.0, &Present(PausedPostCopy), Some(&job(2, 998, 1))), None);
        assert!(!migration.timed_out(100.0));
    }

    #[test]
    fn a_timeout_or_a_wish_aborts_at_the_source() {
        let mut late = Migration::new(Technique::PreCopy, Some(5.0), 10.0);
        assert_eq!(late.observe(14.9, &Present(Running), Some(&job(1, 999, 1))), None);
        assert_eq!(late.observe(15.1, &Present(Running), Some(&job(2, 998, 1))), Some(Action::Abort));
        let mut unwanted = Migration::new(Technique::PostCopy, None, 0.0);
        unwanted.want_abort();
        assert_eq!(unwanted.observe(0.1, &Present(Running), Some(&job(0, 1000, 1))), Some(Action::Abort));
    }

    #[test]
    fn the_percentage_never_goes_back_and_never_says_done() {
        let mut migration = Migration::new(Technique::PreCopy, None, 0.0);
        let mut last = 0;
        for (second, remaining) in [900, 500, 100, 0, 700, 300, 0].into_iter().enumerate() {
            migration.observe(second as f64, &Present(Running), Some(&job(second as u64, remaining, 1)));
            assert!(migration.progress().percent >= last);
            last = migration.progress().percent;
        }
        assert_eq!(last, 99);
    }

    #[test]
    fn the_rate_is_what_crossed_and_the_eta_what_remains_of_it() {
        let mut migration = Migration::new(Technique::PreCopy, None, 0.0);
        migration.observe(1.0, &Present(Running), Some(&job(0, 1000, 1)));
        assert_eq!(migration.progress().eta_seconds, None, "one reading is no rate");
        migration.observe(2.0, &Present(Running), Some(&job(100, 900, 1)));
        assert_eq!(migration.progress().bits_per_second, 800.0);
        assert_eq!(migration.progress().eta_seconds, Some(9.0));
    }

    #[test]
    fn the_verdict_comes_from_both_hosts() {
        let judge = |source: &Presence, destination: &Presence, post_copy, failed| {
            verdict(Technique::PostCopy, post_copy, failed, source, destination)
        };
        // An error is no verdict, and neither is success.
        assert_eq!(judge(&Absent, &Present(Running), true, true), Some(Verdict::Migrated));
        assert_eq!(judge(&Present(ShutOffMigrated), &Present(Running), true, true), Some(Verdict::Migrated));
        assert_eq!(judge(&Present(Running), &Absent, false, false), Some(Verdict::Remains));
        // A definition that was there before does not hide that the guest still runs at the source.
        assert_eq!(judge(&Present(Running), &Present(ShutOff), false, true), Some(Verdict::Remains));
        // Still moving.
        assert_eq!(judge(&Present(PausedPostCopy), &Present(RunningPostCopy), true, true), None);
        assert_eq!(judge(&Present(PausedPostCopyFailed), &Present(RunningPostCopyFailed), true, true), None);
        assert_eq!(judge(&Present(Running), &Present(PausedMigration), false, true), None);
        assert_eq!(judge(&Present(Running), &Unknown("no answer".into()), false, true), None);
        // Nowhere.
        assert!(matches!(judge(&Present(PausedPostCopyFailed), &Absent, true, true), Some(Verdict::Lost(_))));
        assert!(matches!(judge(&Absent, &Absent, true, true), Some(Verdict::Lost(_))));
        assert!(matches!(judge(&Absent, &Absent, false, true), Some(Verdict::Gone(_))));
        assert!(matches!(judge(&Present(Running), &Present(Running), false, true), Some(Verdict::NeedsRecovery(_))));
    }

    #[test]
    fn a_paused_domain_may_arrive_paused() {
        let judged = verdict(Technique::PreCopy, false, false, &Absent, &Present(Paused));
        assert_eq!(judged, Some(Verdict::Migrated));
    }

    #[test]
    fn an_offline_migration_moves_the_definition() {
        let judge =
            |source: &Presence, destination: &Presence| verdict(Technique::Offline, false, false, source, destination);
        assert_eq!(judge(&Absent, &Present(ShutOff)), Some(Verdict::Migrated));
        assert_eq!(judge(&Present(ShutOff), &Absent), Some(Verdict::Remains));
    }
}
