//! libvirt's numbers for a domain's state, and for the reason of it, in our words.

use virt::sys;

use crate::domain::{Condition, DomainState, Fault};

pub(super) fn domain_state(state: u32) -> DomainState {
    match state {
        sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED => DomainState::Running,
        sys::VIR_DOMAIN_PAUSED => DomainState::Paused,
        sys::VIR_DOMAIN_SHUTDOWN => DomainState::ShuttingDown,
        sys::VIR_DOMAIN_SHUTOFF => DomainState::ShutOff,
        sys::VIR_DOMAIN_CRASHED => DomainState::Crashed,
        sys::VIR_DOMAIN_PMSUSPENDED => DomainState::PmSuspended,
        _ => DomainState::Unknown,
    }
}

/// The error behind a state and its reason, if there is one.
pub(super) fn fault(state: u32, reason: u32) -> Option<Fault> {
    match (domain_state(state), reason) {
        (DomainState::Crashed, _) | (DomainState::Paused, sys::VIR_DOMAIN_PAUSED_CRASHED) => Some(Fault::Crash),
        (DomainState::Paused, sys::VIR_DOMAIN_PAUSED_IOERROR) => Some(Fault::IoError),
        (DomainState::Paused, sys::VIR_DOMAIN_PAUSED_WATCHDOG) => Some(Fault::Watchdog),
        (DomainState::Paused, sys::VIR_DOMAIN_PAUSED_API_ERROR) => Some(Fault::Libvirt),
        _ => None,
    }
}

/// What a state and its reason are to a migration.
pub(super) fn condition(state: u32, reason: u32) -> Condition {
    match (domain_state(state), reason) {
        (DomainState::Running, sys::VIR_DOMAIN_RUNNING_POSTCOPY) => Condition::RunningPostCopy,
        (DomainState::Running, sys::VIR_DOMAIN_RUNNING_POSTCOPY_FAILED) => Condition::RunningPostCopyFailed,
        (DomainState::Running, _) => Condition::Running,
        (DomainState::Paused, sys::VIR_DOMAIN_PAUSED_POSTCOPY) => Condition::PausedPostCopy,
        (DomainState::Paused, sys::VIR_DOMAIN_PAUSED_POSTCOPY_FAILED) => Condition::PausedPostCopyFailed,
        (DomainState::Paused, sys::VIR_DOMAIN_PAUSED_MIGRATION) => Condition::PausedMigration,
        (DomainState::Paused, sys::VIR_DOMAIN_PAUSED_STARTING_UP) => Condition::PausedStartingUp,
        (DomainState::ShutOff, sys::VIR_DOMAIN_SHUTOFF_MIGRATED) => Condition::ShutOffMigrated,
        (DomainState::ShuttingDown, _) => Condition::ShuttingDown,
        (DomainState::ShutOff, _) => Condition::ShutOff,
        (DomainState::Crashed, _) => Condition::Crashed,
        (DomainState::Paused | DomainState::PmSuspended | DomainState::Unknown, _) => Condition::Paused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_stopped_a_guest_is_no_pause_of_its_user() {
        let paused = |reason| fault(sys::VIR_DOMAIN_PAUSED, reason);
        assert_eq!(paused(sys::VIR_DOMAIN_PAUSED_USER), None);
        assert_eq!(paused(sys::VIR_DOMAIN_PAUSED_MIGRATION), None);
        assert_eq!(paused(sys::VIR_DOMAIN_PAUSED_IOERROR), Some(Fault::IoError));
        assert_eq!(paused(sys::VIR_DOMAIN_PAUSED_WATCHDOG), Some(Fault::Watchdog));
        assert_eq!(fault(sys::VIR_DOMAIN_CRASHED, sys::VIR_DOMAIN_CRASHED_PANICKED), Some(Fault::Crash));
        // The reasons of a domain that runs have the same numbers.
        assert_eq!(fault(sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_PAUSED_IOERROR), None);
    }

    #[test]
    fn reasons_tell_the_halves_of_a_post_copy_apart() {
        assert_eq!(condition(sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_POSTCOPY), Condition::PausedPostCopy);
        assert_eq!(condition(sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_USER), Condition::Paused);
        assert_eq!(condition(sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_POSTCOPY), Condition::RunningPostCopy);
        assert_eq!(condition(sys::VIR_DOMAIN_BLOCKED, 0), Condition::Running);
        let crashed = condition(sys::VIR_DOMAIN_CRASHED, sys::VIR_DOMAIN_CRASHED_PANICKED);
        assert!(crashed == Condition::Crashed && crashed.is_active() && DomainState::Crashed.is_active());
        assert_eq!(condition(sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_MIGRATED), Condition::ShutOffMigrated);
    }
}
