//! What the user should know while a run goes on.

use std::fmt;

use crate::engine::Replanned;
use crate::engine::events::Notice;
use crate::engine::migration::convergence::SILENCE_SECONDS;
use crate::failure::Cause;
use crate::libvirt::{Tidied, no_data};
use crate::render::words::cause::found;
use crate::render::words::failure::remedy;
use crate::units::span;

/// In one sentence.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::LostEarlier { domain } => {
                write!(f, "{domain} was lost in an earlier run: until it is started again, all go by pre-copy")
            }
            Notice::Interrupted { in_post_copy } => write!(
                f,
                "interrupted: nothing more is launched, pre-copies are cancelled, {in_post_copy} in post-copy must finish; \
                 interrupt again to leave at once"
            ),
            Notice::Halted { cause, source, destination } => {
                write!(f, "{cause}: nothing more is launched, pre-copies are cancelled; ")?;
                if matches!(cause, Cause::AllSilent { .. }) {
                    write!(f, "check the network between {source} and {destination}, ")?;
                }
                f.write_str("then run this again")
            }
            Notice::PostCopyStopped { domain, end, source, destination } => write!(
                f,
                "{}: nothing more is launched or switched to post-copy; what is in flight goes on. With `--technique pre-copy` a \
                 guest that {destination} can't take stays at {source}",
                Cause::PostCopyEnded { domain: domain.clone(), end: *end }
            ),
            Notice::ArrivedInDistress { domain, distress, source, destination } => write!(
                f,
                "{domain} has arrived at {destination}, but {}: nothing more is launched, pre-copies are cancelled. {}; \
                 `--watch-arrivals=false` moves the others regardless",
                found(distress, destination),
                remedy(distress, domain, source, destination)
            ),
            Notice::NoDataYet { to, source, destination } => {
                write!(f, "{}; nothing more is launched until data crosses", no_data(to, source, destination))
            }
            Notice::NoPostCopy { destination, error } => write!(
                f,
                "{destination} can't post-copy, so all go by pre-copy ({error}); most likely its QEMU may not use userfaultfd: \
                 `sysctl -w vm.unprivileged_userfaultfd=1` there allows it"
            ),
            Notice::Unproven { domain, destination } => {
                write!(f, "{domain}: it goes by pre-copy, since no guest like it has come through to {destination}")
            }
            Notice::NoPeer { source, destination, error } => write!(
                f,
                "{source} can't reach the libvirt of {destination} by itself, so this client manages the migrations and must \
                 stay until they end ({error})"
            ),
            Notice::PeerLost { domain, source, destination, error } => write!(
                f,
                "{domain}: the libvirt of {source} lost its connection to that of {destination} twice, without a reason, so \
                 this client manages this one migration and must stay until it ends ({error})"
            ),
            Notice::Silent { domain, destination } => write!(
                f,
                "{domain}: no data for {SILENCE_SECONDS} s while others progress, so it is cancelled. Check its QEMU on \
                 {destination}"
            ),
            Notice::Busy { domain, host, error } => write!(f, "{domain}: {host} is busy ({error}); it is tried again"),
            Notice::Replanned { domains, concurrency, reason } => {
                let Replanned { sooner_seconds, setup_seconds, pace } = reason;
                let gain = sooner_seconds.map_or_else(
                    || "else it is not expected to end".to_owned(),
                    |seconds| format!("it is expected to end {} sooner by that", span(seconds)),
                );
                let setup = setup_seconds.map_or_else(String::new, |seconds| {
                    format!(", and a migration takes {} to be set up", span(seconds))
                });
                write!(
                    f,
                    "{} otherwise than planned, up to {concurrency} at once ({}): {gain}. Memory crosses at {:.0} % of what was \
                     counted on{setup}",
                    if domains.len() == 1 { "the one that waits is launched" } else { "those that wait are launched" },
                    domains.join(", "),
                    100.0 * pace,
                )
            }
            Notice::AllowingDowntime { domain, milliseconds } => {
                let downtime = span(*milliseconds as f64 / 1000.0);
                write!(f, "{domain}: pre-copy makes no headway; a downtime of {downtime} is allowed now")
            }
            Notice::Switching { domain, cause } => write!(f, "{domain}: {cause}; it is switched to post-copy"),
            Notice::Resuming { domain, error } => {
                let cause = error.as_ref().map_or_else(String::new, |error| format!(" ({error})"));
                write!(
                    f,
                    "{domain}: its post-copy failed{cause} and is resumed until it gets through; do not reset or destroy it on \
                     either host"
                )
            }
            Notice::Tidied { domain, tidied: Tidied::DefinedAtDestination, destination, .. } => {
                write!(f, "{domain}: its definition is stored at {destination} again")
            }
            Notice::Tidied { domain, tidied: Tidied::UndefinedAtSource, source, .. } => {
                write!(f, "{domain}: its shut-off definition at {source} is removed")
            }
            Notice::Untidy { domain, destination, error } => write!(f, "{domain} is at {destination}, but: {error}"),
            Notice::Unrecorded { error } => write!(f, "warning: the journal can't be written any more: {error}"),
            Notice::MovedByOthers { domain, destination } => {
                write!(f, "{domain} was moved by somebody else and is at {destination}")
            }
            Notice::Autostart { host, domains } => write!(
                f,
                "{host} starts {} when it boots (autostart); `virsh autostart --disable NAME` there prevents that",
                domains.join(", ")
            ),
            Notice::EndUnchecked { error } => write!(f, "the end state could not be checked on both hosts: {error}"),
            Notice::HookFailed { domain, failure } => write!(f, "{domain}: {failure}"),
            Notice::Missed { progress, others: 0 } => {
                write!(f, "the output was not read in time: {progress} progress events were left out")
            }
            Notice::Missed { progress, others } => write!(
                f,
                "the output was not read in time: {progress} progress events were left out, and {others} others, which the \
                 report does not need"
            ),
        }
    }
}
