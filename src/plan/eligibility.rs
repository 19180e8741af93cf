//! Which domains move, and which techniques each may use.

use super::{Demands, Rule, StayKind};
use crate::domain::{DomainState, Technique};
use crate::profile::DomainProfile;

/// What is to become of a domain.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// Its memory moves.
    Moves(Techniques),
    /// Its definition moves.
    Offline,
    /// It was selected and can't be moved, for this reason.
    Refused(String),
    /// It is to stay, for this reason.
    Stays(StayKind),
}

/// The techniques that a domain may use; never none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Techniques {
    /// Either: the planner chooses.
    Either,
    /// The user chose; with where that was said.
    Forced(Technique, &'static str),
    /// Post-copy is not possible, for this reason.
    OnlyPreCopy(String),
}

/// What is to become of `domain` by its state, its eligibility and the user's rule.
pub(crate) fn standing(domain: &DomainProfile, rule: &Rule, demands: &Demands) -> Standing {
    if rule.stays {
        return Standing::Stays(rule.stays_because);
    }
    if !domain.migration.eligible {
        return Standing::Refused(because(domain.migration.reason.as_deref(), "it can't be migrated"));
    }
    match domain.state {
        DomainState::ShutOff if rule.offline => return Standing::Offline,
        DomainState::ShutOff => return Standing::Stays(StayKind::ShutOff),
        DomainState::ShuttingDown => {
            return Standing::Refused("it is shutting down: try again once it is off or runs".to_owned());
        }
        DomainState::Crashed => {
            return Standing::Refused("it has crashed: restart it or turn it off first".to_owned());
        }
        DomainState::Unknown => return Standing::Refused("libvirt does not know its state".to_owned()),
        DomainState::Running | DomainState::Paused | DomainState::PmSuspended => {}
    }
    let obstacle = post_copy_obstacle(domain, demands);
    match (rule.technique, obstacle) {
        (Some(Technique::PostCopy), Some(obstacle)) => Standing::Refused(format!(
            "post-copy is forced by {} but not possible: {obstacle}",
            rule.technique_origin.unwrap_or("--post-copy")
        )),
        (Some(Technique::PostCopy), None) => {
            Standing::Moves(Techniques::Forced(Technique::PostCopy, rule.technique_origin.unwrap_or("--post-copy")))
        }
        (Some(Technique::PreCopy), _) => {
            Standing::Moves(Techniques::Forced(Technique::PreCopy, rule.technique_origin.unwrap_or("--pre-copy")))
        }
        (Some(Technique::Offline), _) => {
            Standing::Refused(format!("it is {}: only a domain that is shut off moves offline", domain.state))
        }
        (None, Some(obstacle)) => Standing::Moves(Techniques::OnlyPreCopy(obstacle)),
        (None, None) => Standing::Moves(Techniques::Either),
    }
}

/// Why `domain` can't go by post-copy, as a clause; `None` if it can.
pub(super) fn post_copy_obstacle(domain: &DomainProfile, demands: &Demands) -> Option<String> {
    if !domain.state.can_post_copy() {
        return Some(format!("it is {}", domain.state));
    }
    if !domain.post_copy.eligible {
        return Some(because(domain.post_copy.reason.as_deref(), "it does not support post-copy"));
    }
    (demands.post_copy_limit == Some(0)).then(|| "at most 0 domains may be in post-copy".to_owned())
}

fn because(reason: Option<&str>, otherwise: &str) -> String {
    reason.filter(|reason| !reason.is_empty()).unwrap_or(otherwise).to_owned()
}
