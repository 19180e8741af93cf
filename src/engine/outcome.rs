//! The words for how one domain's migration ended: its outcome, where it is, why, and what to do next.
//!
//! Pure: a driver's verdict and a last look at both hosts go in, the domain's report comes out.

use crate::domain::{Condition, Fault, Presence, Technique};
use crate::engine::migration::attempt::Ended;
use crate::engine::migration::{Phase, Places, Verdict};
use crate::failure::Cause;
use crate::libvirt::Route;
use crate::plan::{Refusal, StayKind};
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
    let source = names.source;
    let cause = ended.cause;
    let (outcome, error) = match ended.verdict {
        Verdict::Migrated => (DomainOutcome::Migrated, None),
        Verdict::Remains => (DomainOutcome::Remains, Some(format!("it is at {source} as before: {cause}"))),
        Verdict::NeedsRecovery(state) => (
            DomainOutcome::NeedsRecovery,
            Some(format!(
                "{state} ({cause}); do not start, reset or destroy it: look at it on both hosts with `virsh domstate \
                 {domain} --reason`, check the network and both libvirts, then run `{}`",
                names.recover()
            )),
        ),
        Verdict::Lost(how, places) => {
            let after = after_a_loss(names, domain, ended.persistent, &places);
            (DomainOutcome::Lost, Some(format!("{how} ({cause}); {after}")))
        }
        Verdict::Gone(state, places) => {
            (DomainOutcome::Gone, Some(format!("{state}: {}", no_more(names, domain, &places))))
        }
    };
    DomainReport {
        technique: Some(ended.technique),
        seconds: ended.seconds,
        downtime_seconds: ended.downtime_seconds,
        bytes: ended.bytes,
        passes: ended.passes,
        error,
        ..DomainReport::new(domain, uuid, outcome)
    }
}

fn is_active(presence: &Presence) -> bool {
    matches!(presence, Presence::Present(condition) if condition.is_active())
}

fn is_defined(presence: &Presence) -> bool {
    matches!(presence, Presence::Present(_))
}

/// What is left of a domain that is lost, and the commands that start it again. Each was tried with libvirt 11.3: `virsh
/// start` alone fails, since the half that is left counts as running.
fn after_a_loss(names: Names<'_>, domain: &str, persistent: bool, places: &Places) -> String {
    let halves = [(names.source, &places.source), (names.destination, &places.destination)];
    let Some(half) = halves.iter().position(|(_, place)| is_active(place)) else {
        return match halves.iter().find(|(_, place)| is_defined(place)) {
            Some((host, _)) => {
                format!(
                    "what was in its memory is lost, its disk is as it left it; `virsh start {domain}` on {host} boots it"
                )
            }
            None => "neither host has its definition any more".to_owned(),
        };
    };
    let ((host, place), (other, left)) = (halves[half], halves[1 - half]);
    let mut text = format!(
        "what was in its memory is lost, its disk is as it left it, and what is left of it is {place} at {host} (`virsh \
         domstate {domain} --reason`), which no command brings back; to boot it again, run on {host}: "
    );
    text += &match persistent {
        true => format!("`virsh destroy {domain}`, then `virsh start {domain}`"),
        false => format!(
            "`virsh dumpxml --security-info {domain} > {domain}.xml`, `virsh destroy {domain}`, then `virsh create \
             {domain}.xml`"
        ),
    };
    if is_defined(left) {
        text += &format!(
            "; then remove its second definition, on {other}: `virsh undefine {domain} --keep-nvram --keep-tpm` (if libvirt \
             there can't acquire the state change lock, restart libvirtd first)"
        );
    }
    text
}

/// Where a domain that runs on neither host may be started, if it may: what is absent from both may run on a third host.
fn no_more(names: Names<'_>, domain: &str, places: &Places) -> String {
    let Names { source, destination } = names;
    let shut_off = |place: &Presence| *place == Presence::Present(Condition::ShutOff);
    match (shut_off(&places.source), shut_off(&places.destination)) {
        (true, true) => {
            format!(
                "it is shut off at {source} and at {destination}; `virsh start {domain}` on one of the two starts it"
            )
        }
        (true, false) => format!("it is shut off at {source}; `virsh start {domain}` there starts it"),
        (false, true) => format!("it is shut off at {destination}; `virsh start {domain}` there starts it"),
        (false, false) => format!(
            "it is {} at {source} and {} at {destination}; it has ended, or somebody moved it to a third host: look for it \
             there before you start it",
            places.source, places.destination
        ),
    }
}

/// The report of a domain that nothing was done with.
pub(crate) fn untouched((domain, uuid): (&str, &str), technique: Option<Technique>, error: String) -> DomainReport {
    DomainReport { technique, error: Some(error), ..DomainReport::new(domain, uuid, DomainOutcome::Remains) }
}

/// A domain that was selected and could not be moved: it is still at the source, and the end state says so.
pub(crate) fn refused(refusal: &Refusal) -> DomainReport {
    untouched((&refusal.domain, &refusal.uuid), None, refusal.obstacle.to_string())
}

/// A domain that came to the source after planning; `planned` is why the plan does not move one that it knew.
pub(crate) fn newcomer(Names { source, .. }: Names<'_>, state: Condition, planned: Option<StayKind>) -> String {
    match planned {
        Some(reason) => format!("it is {state} at {source}: {reason}; make a new plan to move it"),
        None => {
            format!("it was started on {source} after planning and was not moved: it is {state} there; run this again")
        }
    }
}

/// A domain that was never launched; `halted` is why nothing more was, if not because of an interrupt.
pub(crate) fn not_launched(Names { source, .. }: Names<'_>, halted: Option<&Cause>) -> String {
    let why = halted
        .map_or("interrupted before its turn".to_owned(), |reason| format!("it was not launched, since {reason}"));
    format!("it is at {source} as before: {why}")
}

/// A domain that was on its way when tsmig was told to leave.
pub(crate) fn left_on_its_way(names: Names<'_>, domain: &str, route: Route, phase: Option<Phase>) -> String {
    let fate = match route {
        Route::PeerToPeer => "libvirt goes on with it",
        Route::ClientManaged => "without this client it goes on only if it was in post-copy",
    };
    let phase = match phase {
        Some(Phase::PostCopy) => "post-copy: it runs at the destination and needs the source",
        Some(Phase::Recovering) => "a post-copy that failed: do not reset or destroy it on either host",
        Some(Phase::Checking) => "its last steps",
        Some(Phase::Starting | Phase::PreCopy) | None => "pre-copy: it runs at the source",
    };
    format!(
        "when tsmig left, it was in {phase}; {fate}; `{}` sees it to its end, `virsh domstate {domain} --reason` on both \
         hosts shows where it is",
        names.recover()
    )
}

/// What is to be said of a domain that is paused at a host by an error, before the run began or since.
pub(crate) fn paused(host: &str, domain: &str, fault: Fault, before: bool) -> String {
    let when = if before { "as it was before" } else { "although it ran before" };
    format!("it is paused at {host} by {fault}, {when}; there, {}", fault.remedy(domain))
}

/// What a last look at both hosts makes of an outcome: the other one that is true by now, if it is. The source was listed
/// first: a domain that has left it by then is at the destination, or nowhere.
pub(crate) fn last_look(
    names: Names<'_>,
    domain: &str,
    outcome: DomainOutcome,
    source: &Presence,
    destination: &Presence,
) -> Option<(DomainOutcome, Option<String>)> {
    use Condition::{Crashed, Paused, PausedPostCopy, PausedPostCopyFailed, Running, ShutOff, ShutOffMigrated};
    use DomainOutcome::{Gone, Migrated, NeedsRecovery, Remains};
    use Presence::{Absent, Present};

    let Names { source: here, destination: there } = names;
    let said = |text: String| Some(text + ", as the last look at both hosts shows");
    let nowhere = || {
        let places = Places { source: source.clone(), destination: destination.clone() };
        no_more(names, domain, &places)
    };
    let between = || {
        let state = format!("it is {source} at {here} and {destination} at {there}: somebody else migrates it");
        Some((NeedsRecovery, said(format!("{state}; `{}` watches that to its end", names.recover()))))
    };
    match (outcome, source, destination) {
        (Migrated | Remains | Gone, Present(Running), Present(Running)) => Some((
            NeedsRecovery,
            said(format!("it runs at {here} and at {there}; pause one of the two before they both write")),
        )),
        (Migrated, Present(Running | Paused | Crashed), Absent | Present(ShutOff | ShutOffMigrated)) => {
            Some((Remains, said(format!("it had arrived, and is at {here} again"))))
        }
        (Gone, Present(Running | Paused | Crashed), Absent | Present(ShutOff | ShutOffMigrated)) => {
            Some((Remains, said(format!("it had ended, and is {source} at {here} again"))))
        }
        (Migrated, Absent | Present(ShutOff | ShutOffMigrated), Absent) => {
            Some((Gone, said(format!("it had arrived at {there}; {}", nowhere()))))
        }
        (Remains | Gone, Absent | Present(ShutOffMigrated), Present(Running | Paused | Crashed))
        | (Gone, Present(ShutOff), Present(Running | Paused | Crashed)) => Some((Migrated, None)),
        (Remains, Absent, Absent | Present(ShutOff | ShutOffMigrated)) => {
            Some((Gone, said(format!("it was at {here}; {}", nowhere()))))
        }
        (Migrated | Remains | Gone, Present(PausedPostCopy | PausedPostCopyFailed), _) => between(),
        (Remains, Absent | Present(ShutOffMigrated), _) if is_active(destination) => between(),
        (Gone, _, _) if is_active(source) || is_active(destination) => between(),
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
            last_look(NAMES, "o1", outcome, &source, &destination).map(|(outcome, _)| outcome)
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
    fn after_a_loss_the_commands_name_the_host_with_the_half_that_is_left() {
        let after =
            |persistent, source, destination| after_a_loss(NAMES, "o1", persistent, &Places { source, destination });
        let half = || Present(PausedPostCopyFailed);
        let text = after(true, half(), Absent);
        assert!(text.ends_with("run on host-a: `virsh destroy o1`, then `virsh start o1`"), "{text}");
        let text = after(true, half(), Present(ShutOff));
        assert!(text.contains("; then remove its second definition, on host-b: `virsh undefine o1 --keep"), "{text}");
        let text = after(true, Present(ShutOff), Present(RunningPostCopyFailed));
        assert!(
            text.contains("run on host-b: `virsh destroy o1`") && text.contains("on host-a: `virsh undef"),
            "{text}"
        );
        let text = after(false, half(), Absent);
        assert!(
            text.contains("`virsh dumpxml --security-info o1 > o1.xml`") && !text.contains("virsh start"),
            "{text}"
        );
    }

    #[test]
    fn only_what_is_shut_off_somewhere_is_said_to_be_started() {
        let advice = |source, destination| no_more(NAMES, "o1", &Places { source, destination });
        assert!(advice(Present(ShutOff), Absent).contains("shut off at host-a; `virsh start o1` there"));
        assert!(advice(Absent, Present(ShutOff)).contains("shut off at host-b; `virsh start o1` there"));
        for source in [Absent, Present(ShutOffMigrated)] {
            let text = advice(source, Absent);
            assert!(text.contains("third host") && !text.contains("virsh start"), "{text}");
        }
    }

    #[test]
    fn what_another_run_moves_is_neither_gone_nor_where_it_was() {
        let look = |outcome, source: Presence, destination: Presence| {
            last_look(NAMES, "o1", outcome, &source, &destination).map(|(outcome, _)| outcome)
        };
        assert_eq!(look(DomainOutcome::Gone, Absent, Present(Running)), Some(DomainOutcome::Migrated));
        assert_eq!(look(DomainOutcome::Gone, Present(Running), Absent), Some(DomainOutcome::Remains));
        assert_eq!(look(DomainOutcome::Gone, Absent, Absent), None);
        let between = Some(DomainOutcome::NeedsRecovery);
        assert_eq!(look(DomainOutcome::Gone, Present(PausedMigration), Present(PausedMigration)), between);
        assert_eq!(look(DomainOutcome::Remains, Present(PausedPostCopy), Present(RunningPostCopy)), between);
        assert_eq!(look(DomainOutcome::Remains, Present(Running), Present(PausedMigration)), None, "in pre-copy");
    }

    #[test]
    fn a_domain_between_the_hosts_is_reported_with_the_next_step() {
        let ended = Ended {
            verdict: Verdict::NeedsRecovery("it is here and there".to_owned()),
            technique: Technique::PostCopy,
            cause: Cause::Host { host: "host-a".to_owned(), error: "the link broke".to_owned() },
            persistent: true,
            foreign: false,
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
