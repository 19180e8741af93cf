//! What earlier runs, or other tools, have left between two hosts, and what can be done about it.
//!
//! Each domain is judged by its state on both hosts; the journal says of which ones it is known that they were on their
//! way, and how they were before. What is found is then seen to its end by the same drivers that migrate.

use crate::domain::{Condition, Places, Presence, Technique, Transfer};
use crate::engine::outcome;
use crate::engine::recovery::journal::Unfinished;
use crate::failure::{Between, Cause, Failure, Whereabouts};
use crate::libvirt::{Definition, HostError, HostErrorKind, Hosts, Listed};
use crate::report::{DomainOutcome, DomainReport};
use crate::topology::Side;

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that is found, whoever began it.
    Everything,
    /// What the journal knows; what somebody else has begun is left to them.
    Journal,
}

/// A domain that is to be seen to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The domain.
    pub domain: String,
    /// Its UUID.
    pub uuid: String,
    /// How it crosses.
    pub transfer: Transfer,
    /// How it was before it moved.
    pub before: Definition,
    /// What it was found to be.
    pub found: Whereabouts,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// To be seen to their end.
    pub findings: Vec<Finding>,
    /// What a host did not tell enough of to do anything about it.
    pub unanswered: Vec<DomainReport>,
    /// What the user should know and nothing is done about.
    pub remarks: Vec<Remark>,
}

/// What the user should know of a domain that is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// An earlier run was to move it to another destination.
    BoundElsewhere {
        /// The domain.
        domain: String,
        /// That destination.
        destination: String,
    },
    /// Somebody else migrates it, and not to this destination as far as that shows.
    MovedByOthers {
        /// The domain.
        domain: String,
    },
}

/// Looks at every domain of both hosts. `unfinished` is what the journal has open, `destination` the identity of the
/// destination by which the journal knows it.
///
/// # Errors
/// One of the hosts did not answer.
pub fn survey(
    hosts: &dyn Hosts,
    unfinished: &[Unfinished],
    destination: &str,
    scope: Scope,
) -> Result<Survey, HostError> {
    let (here, there) = (hosts.list(Side::Source)?, hosts.list(Side::Destination)?);
    let (known, foreign): (Vec<_>, Vec<_>) = unfinished.iter().partition(|entry| entry.destination_id == destination);
    let mut survey = Survey::default();
    for Unfinished { domain, destination, .. } in foreign {
        let (domain, destination) = (domain.clone(), destination.clone());
        survey.remarks.push(Remark::BoundElsewhere { domain, destination });
    }
    let place = |list: &[Listed], uuid: &str| Listed::of(list, uuid).map(|listed| listed.condition);
    let gone = known.iter().filter(|entry| place(&here, &entry.uuid).is_none());
    let candidates =
        here.iter().map(|listed| (&listed.domain, &listed.uuid)).chain(gone.map(|entry| (&entry.domain, &entry.uuid)));
    for (domain, uuid) in candidates {
        let known = known.iter().find(|entry| entry.uuid == *uuid);
        if scope == Scope::Journal && known.is_none() {
            continue;
        }
        let (source, destination) = (place(&here, uuid), place(&there, uuid));
        let job = match source {
            Some(condition) if condition.is_active() => hosts.job(uuid),
            _ => Ok(None),
        };
        let job = match job {
            Err(error) if known.is_none() && error.is_silence() => {
                survey.unanswered.push(unanswered(domain, uuid, None, error));
                continue;
            }
            job => job.ok().flatten(),
        };
        let Some(kind) = kind(source, destination, job.is_some(), known.is_some()) else { continue };
        if kind == Between::Elsewhere {
            survey.remarks.push(Remark::MovedByOthers { domain: domain.clone() });
            continue;
        }
        let found =
            Whereabouts { kind, places: Places { source: presence(source), destination: presence(destination) } };
        let before = match known {
            Some(entry) => entry.before.clone(),
            // What stayed at the source tells how it was.
            None => match hosts.definition(uuid) {
                Ok(definition) => definition,
                Err(error) if error.kind == HostErrorKind::NoSuchDomain => Definition::default(),
                Err(error) => {
                    survey.unanswered.push(unanswered(domain, uuid, Some(found), error));
                    continue;
                }
            },
        };
        let transfer = match (kind, known) {
            (Between::PostCopy | Between::PostCopyFailed, _) => Transfer::by(Technique::PostCopy),
            (_, Some(entry)) => entry.transfer.clone(),
            (_, None) => Transfer::by(Technique::PreCopy),
        };
        survey.findings.push(Finding { domain: domain.clone(), uuid: uuid.clone(), transfer, before, found });
    }
    Ok(survey)
}

/// A domain that nothing is done about, since a question about it has no answer.
fn unanswered(domain: &str, uuid: &str, found: Option<Whereabouts>, error: HostError) -> DomainReport {
    let failure = Failure::Unanswered { found, cause: Cause::from(error) };
    DomainReport { outcome: DomainOutcome::NeedsRecovery, ..outcome::untouched((domain, uuid), failure) }
}

/// What it means; `migrates` is whether the source says that it is sending the domain, `known` whether the journal has
/// it open towards this destination.
fn kind(source: Option<Condition>, destination: Option<Condition>, migrates: bool, known: bool) -> Option<Between> {
    use Condition::{
        Crashed, Paused, PausedMigration, PausedPostCopy, PausedPostCopyFailed, PausedStartingUp, Running,
        RunningPostCopy, RunningPostCopyFailed, ShutOffMigrated,
    };
    let arrives = matches!(
        destination,
        Some(PausedStartingUp | PausedMigration | Running | Paused | Crashed | RunningPostCopy | RunningPostCopyFailed)
    );
    Some(match (source, destination) {
        (Some(PausedPostCopy | PausedPostCopyFailed), _) if !known && !arrives => Between::Elsewhere,
        (Some(PausedPostCopyFailed), _) => Between::PostCopyFailed,
        (Some(PausedPostCopy), _) => Between::PostCopy,
        (Some(_), _) if migrates => {
            if known || arrives {
                Between::PreCopy
            } else {
                Between::Elsewhere
            }
        }
        (Some(ShutOffMigrated), Some(Running | Paused | Crashed)) => Between::LeftOver,
        (Some(Running), Some(Running)) => Between::Twice,
        _ if known => Between::Unfinished,
        _ => return None,
    })
}

fn presence(condition: Option<Condition>) -> Presence {
    condition.map_or(Presence::Absent, Presence::Present)
}

#[cfg(test)]
mod tests {
    use Condition::*;

    use super::*;

    #[test]
    fn only_what_is_not_just_there_is_found() {
        let found = |source, destination| kind(source, destination, false, false);
        assert_eq!(found(Some(Running), None), None);
        assert_eq!(found(Some(Paused), None), None);
        assert_eq!(found(Some(ShutOff), Some(Running)), None, "that may be how its owner wants it");
        assert_eq!(found(Some(Running), Some(ShutOff)), None);
        assert_eq!(found(None, Some(Running)), None);
    }

    #[test]
    fn what_is_between_the_hosts_is_found_without_a_journal() {
        let found = |source, destination, migrates| kind(Some(source), Some(destination), migrates, false);
        assert_eq!(found(Running, PausedMigration, true), Some(Between::PreCopy));
        assert_eq!(found(PausedPostCopy, RunningPostCopy, true), Some(Between::PostCopy));
        assert_eq!(found(PausedPostCopyFailed, RunningPostCopyFailed, true), Some(Between::PostCopyFailed));
        assert_eq!(found(ShutOffMigrated, Running, false), Some(Between::LeftOver));
        assert_eq!(found(ShutOffMigrated, Crashed, false), Some(Between::LeftOver));
        assert_eq!(found(Running, Running, false), Some(Between::Twice));
    }

    #[test]
    fn a_migration_to_another_host_is_left_alone() {
        assert_eq!(kind(Some(Running), None, true, false), Some(Between::Elsewhere));
        assert_eq!(kind(Some(PausedPostCopyFailed), None, true, false), Some(Between::Elsewhere));
        assert_eq!(kind(Some(Running), None, true, true), Some(Between::PreCopy), "unless the journal says it is ours");
        assert_eq!(kind(Some(PausedPostCopyFailed), None, true, true), Some(Between::PostCopyFailed), "and lost");
    }

    #[test]
    fn what_the_journal_has_open_is_looked_after() {
        for (source, destination) in [(Some(Running), None), (None, Some(Running)), (Some(ShutOff), Some(Running))] {
            assert_eq!(kind(source, destination, false, true), Some(Between::Unfinished));
        }
    }
}
