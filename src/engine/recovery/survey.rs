//! What earlier runs, or other tools, have left between two hosts, and what can be done about it.
//!
//! Each domain is judged by its state on both hosts; the journal says of which ones it is known that they were on their
//! way, and how they were before. What is found is then seen to its end by the same drivers that migrate.

use crate::domain::{Condition, Presence, Technique, Transfer};
use crate::engine::outcome;
use crate::engine::recovery::journal::Unfinished;
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
    /// What it was found to be, in one clause.
    pub state: String,
}

/// What both hosts say of a domain that is not just there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    PreCopy,
    PostCopy,
    PostCopyFailed,
    /// It runs at the destination, and its definition stayed at the source.
    LeftOver,
    /// It runs on both hosts.
    Twice,
    /// It is on its way to some other host.
    Elsewhere,
    /// The journal has no end of it.
    Unfinished,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// To be seen to their end.
    pub findings: Vec<Finding>,
    /// What a host did not tell enough of to do anything about it.
    pub unanswered: Vec<DomainReport>,
    /// What the user should know and nothing is done about, one sentence each.
    pub remarks: Vec<String>,
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
    for entry in foreign {
        survey.remarks.push(format!(
            "{} was on its way to {} in an earlier run and is left alone; `tsmig recover` with that destination sees \
             to it",
            entry.domain, entry.destination
        ));
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
        if let Some(error) = job.as_ref().err().filter(|error| known.is_none() && error.is_silence()) {
            let question = format!("whether it is on its way is not known ({error})");
            survey.unanswered.push(unanswered(domain, uuid, &question));
            continue;
        }
        let job = job.ok().flatten();
        let Some(kind) = kind(source, destination, job.is_some(), known.is_some()) else { continue };
        if kind == Kind::Elsewhere {
            survey.remarks.push(format!(
                "{domain} is being migrated by somebody else, and not to this destination as far as that shows; it is \
                 left alone"
            ));
            continue;
        }
        let state = format!("{} ({})", words(kind), places(source, destination));
        let before = match known {
            Some(entry) => entry.before.clone(),
            // What stayed at the source tells how it was.
            None => match hosts.definition(uuid) {
                Ok(definition) => definition,
                Err(error) if error.kind == HostErrorKind::NoSuchDomain => Definition::default(),
                Err(error) => {
                    let question = format!("{state}; what the source stores of it could not be read ({error})");
                    survey.unanswered.push(unanswered(domain, uuid, &question));
                    continue;
                }
            },
        };
        let transfer = match (kind, known) {
            (Kind::PostCopy | Kind::PostCopyFailed, _) => Transfer::by(Technique::PostCopy),
            (_, Some(entry)) => entry.transfer.clone(),
            (_, None) => Transfer::by(Technique::PreCopy),
        };
        survey.findings.push(Finding { domain: domain.clone(), uuid: uuid.clone(), transfer, before, state });
    }
    Ok(survey)
}

/// A domain that nothing is done about, since a question about it has no answer.
fn unanswered(domain: &str, uuid: &str, question: &str) -> DomainReport {
    let error = format!("{question}; nothing was done about it: run this again once that host answers");
    DomainReport { outcome: DomainOutcome::NeedsRecovery, ..outcome::untouched((domain, uuid), None, error) }
}

/// What it means; `migrates` is whether the source says that it is sending the domain, `known` whether the journal has
/// it open towards this destination.
fn kind(source: Option<Condition>, destination: Option<Condition>, migrates: bool, known: bool) -> Option<Kind> {
    use Condition::{
        Crashed, Paused, PausedMigration, PausedPostCopy, PausedPostCopyFailed, PausedStartingUp, Running,
        RunningPostCopy, RunningPostCopyFailed, ShutOffMigrated,
    };
    let arrives = matches!(
        destination,
        Some(PausedStartingUp | PausedMigration | Running | Paused | Crashed | RunningPostCopy | RunningPostCopyFailed)
    );
    Some(match (source, destination) {
        (Some(PausedPostCopy | PausedPostCopyFailed), _) if !known && !arrives => Kind::Elsewhere,
        (Some(PausedPostCopyFailed), _) => Kind::PostCopyFailed,
        (Some(PausedPostCopy), _) => Kind::PostCopy,
        (Some(_), _) if migrates => {
            if known || arrives {
                Kind::PreCopy
            } else {
                Kind::Elsewhere
            }
        }
        (Some(ShutOffMigrated), Some(Running | Paused | Crashed)) => Kind::LeftOver,
        (Some(Running), Some(Running)) => Kind::Twice,
        _ if known => Kind::Unfinished,
        _ => return None,
    })
}

fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::PreCopy => "it is in pre-copy; it is watched to its end",
        Kind::PostCopy => "it is in post-copy; it is watched to its end",
        Kind::PostCopyFailed => "its post-copy failed; it is resumed",
        Kind::LeftOver => "it has moved and left its definition",
        Kind::Twice => "it runs on both hosts",
        Kind::Elsewhere => "it goes elsewhere",
        Kind::Unfinished => "an earlier run did not see its end",
    }
}

fn places(source: Option<Condition>, destination: Option<Condition>) -> String {
    let place = |condition: Option<Condition>| condition.map_or(Presence::Absent, Presence::Present);
    format!("{} at the source, {} at the destination", place(source), place(destination))
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
        assert_eq!(found(Running, PausedMigration, true), Some(Kind::PreCopy));
        assert_eq!(found(PausedPostCopy, RunningPostCopy, true), Some(Kind::PostCopy));
        assert_eq!(found(PausedPostCopyFailed, RunningPostCopyFailed, true), Some(Kind::PostCopyFailed));
        assert_eq!(found(ShutOffMigrated, Running, false), Some(Kind::LeftOver));
        assert_eq!(found(ShutOffMigrated, Crashed, false), Some(Kind::LeftOver));
        assert_eq!(found(Running, Running, false), Some(Kind::Twice));
    }

    #[test]
    fn a_migration_to_another_host_is_left_alone() {
        assert_eq!(kind(Some(Running), None, true, false), Some(Kind::Elsewhere));
        assert_eq!(kind(Some(PausedPostCopyFailed), None, true, false), Some(Kind::Elsewhere));
        assert_eq!(kind(Some(Running), None, true, true), Some(Kind::PreCopy), "unless the journal says it is ours");
        assert_eq!(kind(Some(PausedPostCopyFailed), None, true, true), Some(Kind::PostCopyFailed), "and lost");
    }

    #[test]
    fn what_the_journal_has_open_is_looked_after() {
        for (source, destination) in [(Some(Running), None), (None, Some(Running)), (Some(ShutOff), Some(Running))] {
            assert_eq!(kind(source, destination, false, true), Some(Kind::Unfinished));
        }
    }
}
