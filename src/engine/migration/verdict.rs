//! How a migration ended: judged from the domain's state on both hosts, never from what libvirt's call returned.

use crate::domain::{Condition, Places, Presence, Technique};
use crate::failure::{Departure, Loss, Trouble};

/// How a migration ended for the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is at the destination and nowhere else.
    Migrated,
    /// It is at the source as before.
    Remains,
    /// It is half here and half there, or can't be seen; it must not be touched without a look.
    NeedsRecovery(Trouble),
    /// It can't have survived.
    Lost(Loss, Places),
    /// It runs on neither host, and no migration of it is under way between them.
    Gone(Departure, Places),
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
    use Condition::{
        Crashed, Paused, PausedPostCopy, PausedPostCopyFailed, Running, RunningPostCopyFailed, ShutOff, ShutOffMigrated,
    };
    use Presence::{Absent, Present, Unknown};

    let places = || Places { source: source.clone(), destination: destination.clone() };
    let lost = |how| Some(Verdict::Lost(how, places()));
    if technique == Technique::Offline {
        return match (source, destination) {
            (Unknown(_), _) | (_, Unknown(_)) => None,
            (Absent, Present(_)) => Some(Verdict::Migrated),
            (Present(_), _) => Some(Verdict::Remains),
            (Absent, Absent) => lost(Loss::Definition),
        };
    }
    match (source, destination) {
        (Absent | Present(ShutOff | ShutOffMigrated), Present(Running | Paused | Crashed)) => Some(Verdict::Migrated),
        (Present(Running), Present(Running)) => Some(Verdict::NeedsRecovery(Trouble::RunsTwice)),
        (Present(Running | Paused | Crashed), Absent | Present(ShutOff | ShutOffMigrated)) => Some(Verdict::Remains),
        (Present(PausedPostCopy | PausedPostCopyFailed), Absent | Present(ShutOff | ShutOffMigrated)) => {
            lost(Loss::HalfAtDestination)
        }
        (Absent | Present(ShutOff), Present(RunningPostCopyFailed)) => lost(Loss::HalfAtSource),
        (Absent | Present(ShutOff | ShutOffMigrated), Absent | Present(ShutOff | ShutOffMigrated)) => {
            if post_copy && failed { lost(Loss::BothHalves) } else { Some(Verdict::Gone(Departure::Stopped, places())) }
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

    #[test]
    fn the_verdict_comes_from_both_hosts() {
        let judge = |source: &Presence, destination: &Presence, post_copy, failed| {
            verdict(Technique::PostCopy, post_copy, failed, source, destination)
        };
        // Neither an error nor a success of the call proves anything.
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
        assert!(matches!(judge(&Present(PausedPostCopyFailed), &Absent, true, true), Some(Verdict::Lost(..))));
        assert!(matches!(judge(&Absent, &Absent, true, true), Some(Verdict::Lost(..))));
        assert!(matches!(judge(&Absent, &Present(RunningPostCopyFailed), true, true), Some(Verdict::Lost(..))));
        // A finished source has this for a moment before the destination knows that all has arrived.
        assert_eq!(judge(&Present(ShutOffMigrated), &Present(RunningPostCopy), true, true), None);
        assert!(matches!(judge(&Absent, &Absent, false, true), Some(Verdict::Gone(..))));
        assert_eq!(judge(&Present(ShuttingDown), &Absent, false, true), None, "its emulator still runs");
        assert!(matches!(judge(&Present(Running), &Present(Running), false, true), Some(Verdict::NeedsRecovery(_))));
    }

    #[test]
    fn a_domain_that_crashed_is_where_its_emulator_is() {
        let judge =
            |source: &Presence, destination: &Presence| verdict(Technique::PreCopy, false, true, source, destination);
        assert_eq!(judge(&Present(Crashed), &Absent), Some(Verdict::Remains));
        assert_eq!(judge(&Absent, &Present(Crashed)), Some(Verdict::Migrated));
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
