//! The words for what the engine tells by typed values.

use crate::engine::events::{Notice, PostCopyEnd};
use crate::engine::migration::convergence::SILENCE_SECONDS;
use crate::libvirt::{Tidied, no_data};

/// A notice in one sentence.
pub fn notice(notice: &Notice) -> String {
    match notice {
        Notice::LostEarlier { domain } => {
            format!("{domain} was lost in an earlier run: until it is started again, all go by pre-copy")
        }
        Notice::Interrupted { in_post_copy } => format!(
            "interrupted: nothing more is launched, pre-copies are cancelled, {in_post_copy} in post-copy must finish; \
             interrupt again to leave at once"
        ),
        Notice::Halted { reason, advice } => {
            format!("{reason}: nothing more is launched, pre-copies are cancelled; {advice}")
        }
        Notice::PostCopyStopped { domain, end, source, destination } => format!(
            "{}: nothing more is launched or switched to post-copy; what is in flight goes on. With `--technique pre-copy` a \
             guest that {destination} can't take stays at {source}",
            match end {
                PostCopyEnd::Lost => format!("{domain} was lost"),
                PostCopyEnd::Failed => format!("the post-copy of {domain} failed"),
            }
        ),
        Notice::NoDataYet { to, source, destination } => {
            format!("{}; nothing more is launched until data crosses", no_data(to, source, destination))
        }
        Notice::NoPostCopy { destination, error } => format!(
            "{destination} can't post-copy, so all go by pre-copy ({error}); most likely its QEMU may not use userfaultfd: \
             `sysctl -w vm.unprivileged_userfaultfd=1` there allows it"
        ),
        Notice::NoPeer { source, destination, error } => format!(
            "{source} can't reach the libvirt of {destination} by itself, so this client manages the migrations and must \
             stay until they end ({error})"
        ),
        Notice::PeerLost { domain, source, destination, error } => format!(
            "{domain}: the libvirt of {source} lost its connection to that of {destination} twice, without a reason, so \
             this client manages this one migration and must stay until it ends ({error})"
        ),
        Notice::Silent { domain, destination } => format!(
            "{domain}: no data for {SILENCE_SECONDS} s while others progress, so it is cancelled. Check its QEMU on \
             {destination}"
        ),
        Notice::Busy { domain, host, error } => format!("{domain}: {host} is busy ({error}); it is tried again"),
        Notice::Switching { domain, cause } => format!("{domain}: {cause}; it is switched to post-copy"),
        Notice::Resuming { domain, error } => {
            let cause = error.as_ref().map_or_else(String::new, |error| format!(" ({error})"));
            format!(
                "{domain}: its post-copy failed{cause} and is resumed until it gets through; do not reset or destroy it on \
                 either host"
            )
        }
        Notice::Tidied { domain, tidied: Tidied::DefinedAtDestination, destination, .. } => {
            format!("{domain}: its definition is stored at {destination} again")
        }
        Notice::Tidied { domain, tidied: Tidied::UndefinedAtSource, source, .. } => {
            format!("{domain}: its shut-off definition at {source} is removed")
        }
        Notice::Untidy { domain, destination, error } => format!("{domain} is at {destination}, but: {error}"),
        Notice::Unrecorded { error } => format!("warning: the journal can't be written any more: {error}"),
        Notice::MovedByOthers { domain, destination } => {
            format!("{domain} was moved by somebody else and is at {destination}")
        }
        Notice::EndUnchecked { error } => format!("the end state could not be checked on both hosts: {error}"),
        Notice::HookFailed { domain, problem } => format!("{domain}: {problem}"),
        Notice::Missed { progress, others: 0 } => {
            format!("the output was not read in time: {progress} progress events were left out")
        }
        Notice::Missed { progress, others } => format!(
            "the output was not read in time: {progress} progress events were left out, and {others} others, which the \
             report does not need"
        ),
    }
}
