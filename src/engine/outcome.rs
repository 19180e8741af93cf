//! How one domain's migration ended, judged from its driver's verdict and from a last look at both hosts.
//!
//! Pure: those go in, the domain's report comes out.

use crate::domain::{Condition, Places, Presence};
use crate::engine::migration::Verdict;
use crate::engine::migration::attempt::Ended;
use crate::failure::{Failure, LateChange, Names};
use crate::plan::Refusal;
use crate::report::{DomainOutcome, DomainReport};

/// The report of a migration that ended.
pub(crate) fn report(hosts: Names, (domain, uuid): (&str, &str), ended: Ended) -> DomainReport {
    let Ended { cause, persistent, .. } = ended;
    let destination = Some(hosts.destination.clone());
    let (outcome, failure) = match ended.verdict {
        Verdict::Migrated => (DomainOutcome::Migrated, None),
        Verdict::Remains => (DomainOutcome::Remains, Some(Failure::Remains { host: hosts.source, cause })),
        Verdict::NeedsRecovery(state) => {
            (DomainOutcome::NeedsRecovery, Some(Failure::NeedsRecovery { state, cause, hosts }))
        }
        Verdict::Lost(how, places) => {
            (DomainOutcome::Lost, Some(Failure::Lost { how, cause, persistent, hosts, places }))
        }
        Verdict::Gone(how, places) => (DomainOutcome::Gone, Some(Failure::Gone { how, hosts, places })),
    };
    DomainReport {
        destination,
        technique: Some(ended.technique),
        seconds: ended.seconds,
        downtime_seconds: ended.downtime_seconds,
        bytes: ended.bytes,
        passes: ended.passes,
        failure,
        ..DomainReport::new(domain, uuid, outcome)
    }
}

/// The report of a domain that nothing was done with.
pub(crate) fn untouched((domain, uuid): (&str, &str), failure: Failure) -> DomainReport {
    DomainReport { failure: Some(failure), ..DomainReport::new(domain, uuid, DomainOutcome::Remains) }
}

/// A domain that was selected and could not be moved: it is still at the source, and the end state says so.
pub(crate) fn refused(refusal: &Refusal) -> DomainReport {
    let failure = Failure::Refused { obstacle: Box::new(refusal.obstacle.clone()) };
    untouched((&refusal.domain, &refusal.uuid), failure)
}

/// What a last look at both hosts makes of an outcome: the other one that is true by now, if it is, and what has changed if
/// the domain is not at the destination. The source was listed first: a domain that has left it by then is at the
/// destination, or nowhere.
pub(crate) fn last_look(outcome: DomainOutcome, places: &Places) -> Option<(DomainOutcome, Option<LateChange>)> {
    use Condition::{Crashed, Paused, PausedPostCopy, PausedPostCopyFailed, Running, ShutOff, ShutOffMigrated};
    use DomainOutcome::{Gone, Migrated, NeedsRecovery, Remains};
    use Presence::{Absent, Present};

    let Places { source, destination } = places;
    let (outcome, change) = match (outcome, source, destination) {
        (Migrated | Remains | Gone, Present(Running), Present(Running)) => (NeedsRecovery, Some(LateChange::RunsTwice)),
        (Migrated, Present(Running | Paused | Crashed), Absent | Present(ShutOff | ShutOffMigrated)) => {
            (Remains, Some(LateChange::Returned))
        }
        (Gone, Present(Running | Paused | Crashed), Absent | Present(ShutOff | ShutOffMigrated)) => {
            (Remains, Some(LateChange::Revived))
        }
        (Migrated, Absent | Present(ShutOff | ShutOffMigrated), Absent) => (Gone, Some(LateChange::LeftDestination)),
        (Remains | Gone, Absent | Present(ShutOffMigrated), Present(Running | Paused | Crashed))
        | (Gone, Present(ShutOff), Present(Running | Paused | Crashed)) => (Migrated, None),
        (Remains, Absent, Absent | Present(ShutOff | ShutOffMigrated)) => (Gone, Some(LateChange::LeftSource)),
        (Migrated | Remains | Gone, Present(PausedPostCopy | PausedPostCopyFailed), _) => {
            (NeedsRecovery, Some(LateChange::MovedByOthers))
        }
        (Remains, Absent | Present(ShutOffMigrated), _) if destination.is_active() => {
            (NeedsRecovery, Some(LateChange::MovedByOthers))
        }
        (Gone, _, _) if source.is_active() || destination.is_active() => {
            (NeedsRecovery, Some(LateChange::MovedByOthers))
        }
        _ => return None,
    };
    Some((outcome, change))
}

#[cfg(test)]
mod tests {
    use Condition::*;
    use Presence::{Absent, Present};

    use super::*;

    #[test]
    fn what_is_true_at_the_end_counts() {
        let look = |outcome, source, destination| {
            last_look(outcome, &Places { source, destination }).map(|(outcome, _)| outcome)
        };
        assert_eq!(look(DomainOutcome::Migrated, Absent, Present(Running)), None);
        assert_eq!(look(DomainOutcome::Migrated, Absent, Present(ShutOff)), None, "its definition is there");
        assert_eq!(look(DomainOutcome::Migrated, Absent, Absent), Some(DomainOutcome::Gone));
        assert_eq!(look(DomainOutcome::Migrated, Present(Running), Absent), Some(DomainOutcome::Remains));
        let twice = look(DomainOutcome::Migrated, Present(Running), Present(Running));
        assert_eq!(twice, Some(DomainOutcome::NeedsRecovery));
        assert_eq!(look(DomainOutcome::Remains, Present(Running), Absent), None);
        assert_eq!(look(DomainOutcome::Remains, Present(ShutOff), Absent), None, "an inactive one remains, too");
        assert_eq!(look(DomainOutcome::Remains, Absent, Present(Running)), Some(DomainOutcome::Migrated));
        assert_eq!(look(DomainOutcome::Remains, Absent, Absent), Some(DomainOutcome::Gone));
        // One that has crashed is where its emulator is.
        assert_eq!(look(DomainOutcome::Migrated, Present(Crashed), Absent), Some(DomainOutcome::Remains));
        assert_eq!(look(DomainOutcome::Remains, Absent, Present(Crashed)), Some(DomainOutcome::Migrated));
        // What needs a look or is lost is not talked away.
        assert_eq!(look(DomainOutcome::Lost, Absent, Absent), None);
        assert_eq!(look(DomainOutcome::NeedsRecovery, Absent, Present(Running)), None);
    }

    #[test]
    fn what_another_run_moves_is_neither_gone_nor_where_it_was() {
        let look = |outcome, source, destination| {
            last_look(outcome, &Places { source, destination }).map(|(outcome, _)| outcome)
        };
        assert_eq!(look(DomainOutcome::Gone, Absent, Present(Running)), Some(DomainOutcome::Migrated));
        assert_eq!(look(DomainOutcome::Gone, Present(Running), Absent), Some(DomainOutcome::Remains));
        assert_eq!(look(DomainOutcome::Gone, Absent, Absent), None);
        let between = Some(DomainOutcome::NeedsRecovery);
        assert_eq!(look(DomainOutcome::Gone, Present(PausedMigration), Present(PausedMigration)), between);
        assert_eq!(look(DomainOutcome::Remains, Present(PausedPostCopy), Present(RunningPostCopy)), between);
        assert_eq!(look(DomainOutcome::Remains, Present(Running), Present(PausedMigration)), None, "in pre-copy");
    }
}
