//! Which domains move, and which techniques each may use.

use super::{Demands, Rule, StayKind};
use crate::domain::{DomainState, Technique};
use crate::obstacle::Obstacle;
use crate::profile::DomainProfile;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    Moves(Techniques),
    Offline,
    /// It was selected and can't be moved.
    Refused(Obstacle),
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
    OnlyPreCopy(Obstacle),
}

/// What is to become of `domain` by its state, its eligibility and the user's rule.
pub(crate) fn standing(domain: &DomainProfile, rule: &Rule, demands: &Demands) -> Standing {
    if rule.stays {
        return Standing::Stays(rule.stays_because);
    }
    if let Some(obstacle) = &domain.migration.obstacle {
        return Standing::Refused(obstacle.clone());
    }
    let state = domain.state;
    match state {
        DomainState::ShutOff if rule.offline => return Standing::Offline,
        DomainState::ShutOff => return Standing::Stays(StayKind::ShutOff),
        DomainState::ShuttingDown | DomainState::Crashed | DomainState::Unknown => {
            return Standing::Refused(Obstacle::State { state });
        }
        DomainState::Running | DomainState::Paused | DomainState::PmSuspended => {}
    }
    let obstacle = post_copy_obstacle(domain, demands);
    match (rule.technique, obstacle) {
        (Some(technique), Some(obstacle)) if technique.pulls() => Standing::Refused(Obstacle::PostCopyForced {
            by: rule.technique_origin.unwrap_or("--post-copy").to_owned(),
            obstacle: Box::new(obstacle),
        }),
        (Some(Technique::Offline), _) => Standing::Refused(Obstacle::NotAsPlanned { state, offline: true }),
        (Some(technique), _) => {
            let option = if technique.pulls() { "--post-copy" } else { "--pre-copy" };
            Standing::Moves(Techniques::Forced(technique, rule.technique_origin.unwrap_or(option)))
        }
        (None, Some(obstacle)) => Standing::Moves(Techniques::OnlyPreCopy(obstacle)),
        (None, None) => Standing::Moves(Techniques::Either),
    }
}

/// Why `domain` can't go by post-copy; `None` if it can.
pub(super) fn post_copy_obstacle(domain: &DomainProfile, demands: &Demands) -> Option<Obstacle> {
    if !domain.state.can_post_copy() {
        return Some(Obstacle::State { state: domain.state });
    }
    match &domain.post_copy.obstacle {
        Some(Obstacle::NotMigratable) => Some(Obstacle::NotPostCopiable),
        None if demands.post_copy_limit == Some(0) => Some(Obstacle::PostCopyNotAllowed),
        obstacle => obstacle.clone(),
    }
}
