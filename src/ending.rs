//! How the end of one domain's migration is put: its outcome, where it is, why, and what to do next.
//!
//! Pure: a driver's verdict and a last look at both hosts go in, the domain's report comes out.

use crate::drive::Ended;
use crate::hypervisor::{Condition, Presence, Tidied};
use crate::migration::Verdict;
use crate::plan::{Refusal, Technique};
use crate::report::{DomainOutcome, DomainReport};

/// The two hosts by the names that the user gave them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) source: &'a str,
    pub(crate) destination: &'a str,
}

impl Names<'_> {
    /// The command that finishes what is between the two.
    pub(crate) fn recover(self) -> String {
        format!("tsmig recover {} {}", self.source, self.destination)
    }
}

/// The report of a migration that ended.
pub(crate) fn report(names: Names<'_>, (domain, uuid): (&str, &str), ended: Ended) -> DomainReport {
    let Names { source, destination } = names;
    let cause = ended.cause.unwrap_or_else(|| "libvirt reported no error".to_owned());
    let look = format!("look at it on both hosts with `virsh domstate {domain} --reason`");
    let (outcome, error) = match ended.verdict {
        Verdict::Migrated => (DomainOutcome::Migrated, None),
        Verdict::Remains => (DomainOutcome::Remains, Some(format!("it is at {source} as before: {cause}"))),
        Verdict::NeedsRecovery(state) => (
            DomainOutcome::NeedsRecovery,
            Some(format!(
                "{state} ({cause}); do not start, reset or destroy it: {look}, see to the network and both libvirts, \
                 then run `{}`",
                names.recover()
            )),
        ),
        Verdict::Lost(state) => {
            (DomainOutcome::Lost, Some(format!("{state} ({cause}); {look}, then start it from its disk")))
        }
        Verdict::Gone(state) => (
            DomainOutcome::Gone,
            Some(format!(
                "{state}; it was running neither at {source} nor at {destination}; start it where it is to be"
            )),
        ),
    };
    DomainReport {
        domain: domain.to_owned(),
        uuid: uuid.to_owned(),
        technique: Some(ended.technique),
        outcome,
        seconds: ended.seconds,
        downtime_seconds: ended.downtime_seconds,
        bytes: ended.bytes,
        passes: ended.passes,
        error,
    }
}

/// The report of a domain that nothing was done with.
pub(crate) fn untouched((domain, uuid): (&str, &str), technique: Option<Technique>, error: String) -> DomainReport {
    DomainReport {
        domain: domain.to_owned(),
        uuid: uuid.to_owned(),
        technique,
        outcome: DomainOutcome::Remains,
        seconds: 0.0,
        downtime_seconds: None,
        bytes: 0,
        passes: 0,
        error: Some(error),
    }
}

/// A domain that was selected and could not be moved: it is still at the source, and the end state says so.
pub(crate) fn refused(refusal: &Refusal) -> DomainReport {
    untouched((&refusal.domain, &refusal.uuid), None, refusal.reason.clone())
}

/// What was put right, as a clause after the domain's name.
pub(crate) fn tidied(names: Names<'_>, tidied: Tidied) -> String {
    match tidied {
        Tidied::DefinedAtDestination => format!("its definition is stored at {} again", names.destination),
        Tidied::UndefinedAtSource => format!("its shut-off definition at {} is removed", names.source),
    }
}

/// What a last look at both hosts makes of an outcome: the other one that is true by now, if it is.
pub(crate) fn last_look(
    names: Names<'_>,
    outcome: DomainOutcome,
    source: &Presence,
    destination: &Presence,
) -> Option<(DomainOutcome, Option<String>)> {
    use Condition::{Crashed, Paused, Running, ShutOff, ShutOffMigrated};
    use DomainOutcome::{Gone, Migrated, NeedsRecovery, Remains};
    use Presence::{Absent, Present};

    let said = |text: String| Some(text + ", as the last look at both hosts shows");
    match (outcome, source, destination) {
        (Migrated | Remains, Present(Running), Present(Running)) => Some((
            NeedsRecovery,
            said(format!(
                "it runs at {} and at {}; pause one of the two before they both write",
                names.source, names.destination
            )),
        )),
        (Migrated, Present(Running | Paused | Crashed), Absent | Present(ShutOff | ShutOffMigrated)) => {
            Some((Remains, said(format!("it had arrived, and is at {} again", names.source))))
        }
        (Migrated, Absent | Present(ShutOff | ShutOffMigrated), Absent) => {
            Some((Gone, said(format!("it had arrived at {}, and has ended there since", names.destination))))
        }
        (Remains, Absent | Present(ShutOffMigrated), Present(Running | Paused | Crashed)) => Some((Migrated, None)),
        (Remains, Absent, Absent | Present(ShutOff | ShutOffMigrated)) => {
            Some((Gone, said(format!("it was at {} as before, and has ended there since", names.source))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use Condition::*;
    use Presence::{Absent, Present};

    use super::*;

    const NAMES: Names<'_> = Names { source: "host-a", destination: "host-b" };

    #[test]
    fn what_is_true_at_the_end_counts() {
        let look = |outcome, source: Presence, destination: Presence| {
            last_look(NAMES, outcome, &source, &destination).map(|(outcome, _)| outcome)
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
        // What needs a look or is lost is not talked away.
        assert_eq!(look(DomainOutcome::Lost, Absent, Absent), None);
        assert_eq!(look(DomainOutcome::NeedsRecovery, Absent, Present(Running)), None);
    }

    #[test]
    fn a_domain_between_the_hosts_is_reported_with_the_next_step() {
        let ended = Ended {
            verdict: Verdict::NeedsRecovery("it is here and there".to_owned()),
            technique: Technique::PostCopy,
            cause: Some("the link broke".to_owned()),
            seconds: 1.0,
            downtime_seconds: None,
            bytes: 1,
            passes: 1,
        };
        let error = report(NAMES, ("o1", "u1"), ended).error.unwrap();
        for part in ["here and there", "the link broke", "do not", "domstate o1", "tsmig recover host-a host-b"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
