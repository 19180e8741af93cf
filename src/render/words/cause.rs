//! Why a migration was not begun, was cancelled or failed.

use std::fmt;
use std::time::Duration;

use crate::domain::DomainState;
use crate::engine::migration::convergence::SILENCE_SECONDS;
use crate::failure::{Cause, Distress, HookFailure, HookProblem, PostCopyEnd};
use crate::units::{rate, size, span};

/// In one clause.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreported => f.write_str("libvirt reported no error"),
            Self::Host { host, error } => write!(f, "{host}: {error}"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::TimedOut { limit_seconds } => {
                write!(f, "it did not finish within {} s and was cancelled", limit_seconds.round())
            }
            Self::Stalled { pass, remaining_bytes } => write!(
                f,
                "pre-copy does not converge: pass {pass} began with {} left, which is no less than passes before it",
                size(*remaining_bytes)
            ),
            Self::Slower { pass, remaining_bytes, seconds } => write!(
                f,
                "pre-copy would take {} longer than post-copy: pass {pass} began with {} left, and passes shrink slowly",
                span(*seconds),
                size(*remaining_bytes)
            ),
            Self::Silent => write!(f, "no byte has crossed for {SILENCE_SECONDS} s, so it was cancelled"),
            Self::AllSilent { domain } => write!(f, "no byte of {domain} has crossed for {SILENCE_SECONDS} s"),
            Self::NoData { error } => f.write_str(error),
            Self::PostCopyEnded { domain, end: PostCopyEnd::Lost } => write!(f, "{domain} was lost"),
            Self::PostCopyEnded { domain, end: PostCopyEnd::Failed } => write!(f, "the post-copy of {domain} failed"),
            Self::ArrivedInDistress { domain, host, distress } => {
                write!(f, "{domain} has arrived at {host}, but {}", found(distress, host))
            }
            Self::Unproven => f.write_str(
                "pre-copy does not converge, and no guest like it has come through, so it was not switched to post-copy \
                 (--trust-destination would, --on-stall auto-converge slows it down)",
            ),
            Self::Unrecorded { error } => write!(f, "the journal can't be written: {error}"),
            Self::HookFailed(failure) => failure.fmt(f),
            Self::LeftBehind { obstacle } => obstacle.fmt(f),
        }
    }
}

/// What is wrong with a guest that has arrived at a host, in one clause.
pub(super) fn found(distress: &Distress, host: &str) -> String {
    match distress {
        Distress::Silent { nic, outbound_bits_per_second, inbound_bits_per_second } => {
            let traffic = [("sent", *outbound_bits_per_second), ("received", *inbound_bits_per_second)];
            let (did, at_the_least) = if traffic[0].1 > traffic[1].1 { traffic[0] } else { traffic[1] };
            format!("nothing gets through its NIC {nic} there, which {did} at least {} before", rate(at_the_least))
        }
        Distress::Stopped { state: DomainState::ShutOff, .. } => format!("it crashed at {host}"),
        Distress::Stopped { fault, .. } => format!("{fault} has stopped it there"),
    }
}

/// In one clause.
impl fmt::Display for HookFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hook, program, problem, output } = self;
        if *problem == HookProblem::NotBegun {
            return write!(f, "interrupted before the {hook} hook {program} ran");
        }
        write!(f, "the {hook} hook {program} failed: ")?;
        match problem {
            HookProblem::NotBegun => {}
            HookProblem::Interrupted => f.write_str("it was interrupted and killed")?,
            HookProblem::TimedOut { limit_seconds } => {
                // It may be read from a file, where any number stands.
                let limit = Duration::try_from_secs_f64(*limit_seconds).unwrap_or(Duration::MAX);
                write!(f, "it took more than {} and was killed", humantime::format_duration(limit))?;
            }
            HookProblem::Ended { status: words } | HookProblem::System { error: words } => f.write_str(words)?,
        }
        output.iter().try_for_each(|line| write!(f, ": {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_no_time_is_put_into_words_all_the_same() {
        for limit_seconds in [-1.0, 1e300, f64::NAN] {
            let problem = HookProblem::TimedOut { limit_seconds };
            let (hook, program) = ("before-domain".to_owned(), "/bin/hook".to_owned());
            let said = HookFailure { hook, program, problem, output: None }.to_string();
            assert!(said.contains("it took more than") && said.ends_with("and was killed"), "{said}");
        }
    }
}
