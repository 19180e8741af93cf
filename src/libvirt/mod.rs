//! What tsmig asks of the two hosts, and libvirt's answer to it.
//!
//! [`Hosts`] is the seam of the engine: a source and a destination between which domains migrate. Its real side
//! is `Pair`; the engine's tests put a scripted pair behind it. Times are never read here: whoever asks
//! knows what time it is.

mod connection;
mod doors;
mod error;
pub(crate) mod facts;
mod ffi;
mod host;
mod pacemaker;
mod pages;
mod pair;
mod probes;
mod request;
mod session;
mod shell;
mod state;
mod statistics;
pub(crate) mod uri;
mod versions;
mod wiring;
pub(crate) mod xml;

use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use self::connection::{Endpoint, lock};
pub(crate) use self::error::no_data;
pub use self::error::{HostError, HostErrorKind};
pub use self::facts::Belongings;
pub(crate) use self::host::Host;
pub(crate) use self::pages::{Seen, Turns};
pub(crate) use self::pair::Pair;
pub use self::request::MigrationRequest;
pub(crate) use self::shell::quoted;
pub(crate) use self::statistics::{DirtyRate, DomainSample, Sample, Unused};
pub use self::statistics::{JobStats, NicCounters, Vitals};
pub(crate) use self::wiring::server;
#[cfg(test)]
pub(crate) use self::wiring::tests::server_wiring;
use crate::domain::{Condition, Fault, Presence, Technique};
use crate::topology::Side;

/// What a host stores of a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// Whether it has a stored definition.
    pub persistent: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// The most memory that it may have, in bytes.
    pub memory_bytes: u64,
    /// Whether its memory is in a file, which post-copy does not survive.
    pub memory_in_file: bool,
}

/// One line of a host's list of domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The domain's name.
    pub domain: String,
    /// Its UUID.
    pub uuid: String,
    /// Its state.
    pub condition: Condition,
    /// The error that has stopped it, if one has.
    pub fault: Option<Fault>,
    /// Whether it starts with the host.
    pub autostart: bool,
}

impl Listed {
    /// The line of a domain, by its UUID.
    pub fn of<'a>(list: &'a [Self], uuid: &str) -> Option<&'a Self> {
        list.iter().find(|listed| listed.uuid == uuid)
    }
}

/// Something that was put right around a domain that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tidied {
    /// It was transient at the destination and has its definition there again.
    DefinedAtDestination,
    /// The shut-off definition that it left at the source was removed.
    UndefinedAtSource,
}

/// A source and a destination: all that the engine asks of them. Calls block; each is safe from any thread.
pub trait Hosts: Send + Sync {
    /// A host's name as the user wrote it.
    fn name(&self, side: Side) -> &str;

    /// Migrates and returns when libvirt says that it ended. The return value is a hint, not a verdict.
    ///
    /// # Errors
    /// libvirt's error, with [`HostErrorKind::NoPeer`] if the source can't reach the destination's libvirt.
    fn migrate(&self, request: &MigrationRequest) -> Result<(), HostError>;

    /// An error of [`Self::migrate`] with the host where it happened, which libvirt does not say. `crossed` is whether any
    /// memory had crossed by then.
    fn locate(&self, error: HostError, request: &MigrationRequest, crossed: bool) -> HostError;

    /// The running migration's statistics, from the source; `None` if it does not migrate.
    ///
    /// # Errors
    /// The source did not answer, or has no such domain.
    fn job(&self, uuid: &str) -> Result<Option<JobStats>, HostError>;

    /// The final statistics of a migration that ended, once; `None` if the source did not send them.
    fn completed(&self, uuid: &str) -> Option<JobStats>;

    /// All domains of one host.
    ///
    /// # Errors
    /// The host did not answer.
    fn list(&self, side: Side) -> Result<Vec<Listed>, HostError>;

    /// All domains of one host with what their NICs have carried, in one question that no emulator and no job can hold up.
    ///
    /// # Errors
    /// The host did not answer.
    fn vitals(&self, side: Side) -> Result<Vec<Vitals>, HostError>;

    /// Why the destination can't resume a post-copy that failed, as a clause with what to do; `None` if nothing is known
    /// against it.
    ///
    /// # Errors
    /// The destination did not answer.
    fn resume_fault(&self) -> Result<Option<String>, HostError>;

    /// Where the domain is on one host.
    fn presence(&self, side: Side, uuid: &str) -> Presence;

    /// The error that has stopped a domain at the source, if one has and the source answers.
    fn fault(&self, uuid: &str) -> Option<Fault>;

    /// Asks a running migration to switch to post-copy. Success is a request taken, not a switch made.
    ///
    /// # Errors
    /// It is too early (ask again), or there is no migration.
    fn start_post_copy(&self, uuid: &str) -> Result<(), HostError>;

    /// Cancels a running pre-copy; the domain runs on at the source.
    ///
    /// # Errors
    /// There is no job, or it can't be cancelled any more.
    fn abort(&self, uuid: &str) -> Result<(), HostError>;

    /// Sets the bandwidth limit of a running migration in the phase that the technique is named after, in MiB/s.
    ///
    /// # Errors
    /// There is no job, or libvirt refuses.
    fn limit_bandwidth(&self, uuid: &str, technique: Technique, mib_per_second: u64) -> Result<(), HostError>;

    /// Sets how long a running migration may stop the guest for the last pages, in milliseconds. The domain does not keep it:
    /// after a migration that failed libvirt puts the limit back, and at the destination it is the default.
    ///
    /// # Errors
    /// The source did not answer, or libvirt refuses.
    fn allow_downtime(&self, uuid: &str, milliseconds: u64) -> Result<(), HostError>;

    /// What the source stores of the domain, as it is now.
    ///
    /// # Errors
    /// The source did not answer, or has no such domain.
    fn definition(&self, uuid: &str) -> Result<Definition, HostError>;

    /// What a migration of the domain's definition alone would leave behind or delete.
    ///
    /// # Errors
    /// One of the hosts did not answer.
    fn left_behind(&self, uuid: &str) -> Result<Option<Belongings>, HostError>;

    /// After a domain has been seen at the destination and not at the source: makes it there what `before` says it
    /// was, and removes the shut-off definition that an unattended completion leaves at the source. Does nothing if
    /// nothing is left to do. A definition is removed only while the domain is seen running (or paused) and persistent
    /// at the destination.
    ///
    /// # Errors
    /// One of the hosts refused; the domain itself is not touched.
    fn tidy(&self, uuid: &str, before: &Definition) -> Result<Vec<Tidied>, HostError>;
}
