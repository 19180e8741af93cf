//! Why a domain is not at the destination, where it is, and what to do.

use std::fmt;

use crate::domain::{Condition, DomainState, Phase, Places, Presence, Route};
use crate::engine::recovery::survey::Remark;
use crate::failure::{Between, Cause, Departure, Distress, Failure, LateChange, Loss, Names, Trouble, Whereabouts};
use crate::render::words::cause::found;
use crate::report::{DomainNotice, DomainReport};

impl DomainReport {
    /// Why it is not at the destination, where it is, and what to do, in one sentence; `None` if it is there.
    pub fn error(&self) -> Option<String> {
        self.failure.as_ref().map(|failure| sentence(failure, &self.domain))
    }
}

fn sentence(failure: &Failure, domain: &str) -> String {
    match failure {
        Failure::Refused { obstacle } => obstacle.to_string(),
        Failure::NotLaunched { host, cause: Cause::Interrupted } => {
            format!("it is at {host} as before: interrupted before its turn")
        }
        Failure::NotLaunched { host, cause } => {
            format!("it is at {host} as before: it was not launched, since {cause}")
        }
        Failure::Remains { host, cause } => format!("it is at {host} as before: {cause}"),
        Failure::NeedsRecovery { state, cause, hosts } => format!(
            "{state} ({cause}); do not start, reset or destroy it: look at it on both hosts with `virsh domstate \
             {domain} --reason`, check the network and both libvirts, then run `{}`",
            recover(hosts)
        ),
        Failure::Lost { how, cause, persistent, hosts, places } => {
            format!("{how} ({cause}); {}", after_a_loss(hosts, domain, *persistent, places))
        }
        Failure::Gone { how, hosts, places } => {
            let how = match how {
                Departure::Stopped => "it stopped running while it was migrated",
                Departure::Undefined => "it was undefined before its turn",
            };
            format!("{how}: {}", no_more(hosts, domain, places))
        }
        Failure::LeftOnItsWay { phase, route, hosts } => left_on_its_way(hosts, domain, *route, *phase),
        Failure::Newcomer { host, state, planned: Some(then) } => {
            format!("it is {state} at {host}: {then}; make a new plan to move it")
        }
        Failure::Newcomer { host, state, planned: None } => {
            format!("it was started on {host} after planning and was not moved: it is {state} there; run this again")
        }
        Failure::LastLook { found, hosts, places } => {
            format!("{}, as the last look at both hosts shows", changed(*found, hosts, domain, places))
        }
        Failure::Unanswered { found, cause } => {
            let question = match found {
                Some(found) => format!("{found}; what the source stores of it could not be read"),
                None => "whether it is on its way is not known".to_owned(),
            };
            format!("{question} ({cause}); nothing was done about it: run this again once that host answers")
        }
    }
}

/// The command that finishes what is between two hosts.
fn recover(Names { source, destination }: &Names) -> String {
    format!("tsmig recover {source} {destination}")
}

/// In one clause.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunsTwice => f.write_str("it runs on both hosts; pause one of the two before they both write"),
            Self::EmulatorHangs => f.write_str(
                "its emulator at the source has stopped answering libvirt, and what it waits for, such as storage that is \
                 gone, has to be mended first",
            ),
            Self::NotResumable { fault } => write!(f, "its post-copy failed, and {fault}"),
            Self::NeverRan => f.write_str(
                "its post-copy failed before it ran at the destination, and QEMU can't resume that: all of its memory \
                 is in the paused QEMU at the source",
            ),
            Self::Unwatched => {
                f.write_str("a fault of tsmig's own has ended the watch over it, and where it is now is not known")
            }
            Self::Unclear { places: Places { source, destination } } => {
                write!(f, "it is {source} at the source and {destination} at the destination")?;
                let half = Presence::Present(Condition::RunningPostCopy);
                if *source == Presence::Present(Condition::ShutOff) && *destination == half {
                    f.write_str(", where what had not arrived of its memory does not come any more")?;
                }
                Ok(())
            }
        }
    }
}

/// In one clause.
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Definition => "its definition is on neither host",
            Self::HalfAtDestination => "it was in post-copy and its half at the destination is gone",
            Self::HalfAtSource => "it was in post-copy and its half at the source is gone",
            Self::BothHalves => "it was in post-copy and runs on neither host",
        })
    }
}

fn is_defined(presence: &Presence) -> bool {
    matches!(presence, Presence::Present(_))
}

/// What is left of a domain that is lost, and the commands that start it again. Each was tried with libvirt 11.3: `virsh
/// start` alone fails, since the half that is left counts as running.
fn after_a_loss(hosts: &Names, domain: &str, persistent: bool, places: &Places) -> String {
    let halves = [(&hosts.source, &places.source), (&hosts.destination, &places.destination)];
    let Some(half) = halves.iter().position(|(_, place)| place.is_active()) else {
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
fn no_more(Names { source, destination }: &Names, domain: &str, places: &Places) -> String {
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

fn left_on_its_way(hosts: &Names, domain: &str, route: Route, phase: Option<Phase>) -> String {
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
        recover(hosts)
    )
}

fn changed(change: LateChange, hosts: &Names, domain: &str, places: &Places) -> String {
    let (Names { source: here, destination: there }, Places { source, destination }) = (hosts, places);
    match change {
        LateChange::RunsTwice => {
            format!("it runs at {here} and at {there}; pause one of the two before they both write")
        }
        LateChange::Returned => format!("it had arrived, and is at {here} again"),
        LateChange::Revived => format!("it had ended, and is {source} at {here} again"),
        LateChange::LeftDestination => format!("it had arrived at {there}; {}", no_more(hosts, domain, places)),
        LateChange::LeftSource => format!("it was at {here}; {}", no_more(hosts, domain, places)),
        LateChange::MovedByOthers => format!(
            "it is {source} at {here} and {destination} at {there}: somebody else migrates it; `{}` watches that to its end",
            recover(hosts)
        ),
    }
}

/// In one clause.
impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Places { source, destination } = &self.places;
        let found = match self.kind {
            Between::PreCopy => "it is in pre-copy; it is watched to its end",
            Between::PostCopy => "it is in post-copy; it is watched to its end",
            Between::PostCopyFailed => "its post-copy failed; it is resumed",
            Between::LeftOver => "it has moved and left its definition",
            Between::Twice => "it runs on both hosts",
            Between::Elsewhere => "it goes elsewhere",
            Between::Unfinished => "an earlier run did not see its end",
        };
        write!(f, "{found} ({source} at the source, {destination} at the destination)")
    }
}

/// In one sentence.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BoundElsewhere { domain, destination } => write!(
                f,
                "{domain} was on its way to {destination} in an earlier run and is left alone; `tsmig recover` with that \
                 destination sees to it"
            ),
            Self::MovedByOthers { domain } => write!(
                f,
                "{domain} is being migrated by somebody else, and not to this destination as far as that shows; it is \
                 left alone"
            ),
        }
    }
}

/// In one sentence.
impl fmt::Display for DomainNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { domain, host, fault, before } => {
                let when = if *before { "as it was before" } else { "although it ran before" };
                write!(f, "it is paused at {host} by {fault}, {when}; there, {}", fault.remedy(domain))
            }
            Self::InDistress { domain, source, destination, distress } => write!(
                f,
                "it has arrived at {destination}, but {}. {}",
                found(distress, destination),
                remedy(distress, domain, source, destination)
            ),
        }
    }
}

/// What to do about a guest that has arrived in distress, in whole sentences without the last stop.
pub(super) fn remedy(distress: &Distress, domain: &str, source: &str, destination: &str) -> String {
    match distress {
        Distress::Silent { .. } => format!(
            "Likely causes: its network at {destination} is another one of the same name; spanning tree or port security on a \
             switch; a fault of QEMU. Compare `virsh domiflist {domain}` and where that bridge or network leads on both hosts; \
             `tsmig evacuate {destination} {source} --only {domain}` takes it back"
        ),
        Distress::Stopped { state: DomainState::ShutOff, .. } => format!(
            "See the end of /var/log/libvirt/qemu/{domain}.log on {destination}; `virsh start {domain}` boots it there"
        ),
        Distress::Stopped { fault, .. } => format!("There, {}", fault.remedy(domain)),
    }
}

#[cfg(test)]
mod tests {
    use Condition::*;
    use Presence::{Absent, Present};

    use super::*;

    fn hosts() -> Names {
        Names { source: "host-a".to_owned(), destination: "host-b".to_owned() }
    }

    #[test]
    fn after_a_loss_the_commands_name_the_host_with_the_half_that_is_left() {
        let after =
            |persistent, source, destination| after_a_loss(&hosts(), "o1", persistent, &Places { source, destination });
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
        let advice = |source, destination| no_more(&hosts(), "o1", &Places { source, destination });
        assert!(advice(Present(ShutOff), Absent).contains("shut off at host-a; `virsh start o1` there"));
        assert!(advice(Absent, Present(ShutOff)).contains("shut off at host-b; `virsh start o1` there"));
        for source in [Absent, Present(ShutOffMigrated)] {
            let text = advice(source, Absent);
            assert!(text.contains("third host") && !text.contains("virsh start"), "{text}");
        }
    }

    #[test]
    fn a_domain_between_the_hosts_is_reported_with_the_next_step() {
        let cause = Cause::Host { host: "host-a".to_owned(), error: "the link broke".to_owned() };
        let failure = Failure::NeedsRecovery { state: Trouble::RunsTwice, cause, hosts: hosts() };
        let error = sentence(&failure, "o1");
        for part in ["both hosts", "the link broke", "do not", "domstate o1", "tsmig recover host-a host-b"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
