//! What tsmig asks of the two hosts, and libvirt's answer to it.
//!
//! [`Hosts`] is the seam of the engine: a source and a destination between which domains migrate. Its real side
//! is [`Pair`]; the engine's tests put a scripted pair behind it. Times are never read here: whoever asks
//! knows what time it is.

mod connection;
pub mod facts;
mod failure;
mod ffi;
mod host;
mod pair;
mod probes;
mod request;
pub mod uri;
pub mod xml;

pub use self::connection::Endpoint;
pub(crate) use self::connection::lock;
pub use self::host::Host;
pub use self::pair::Pair;
pub use self::request::{MigrationRequest, Route};
use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{Condition, DomainState, Fault, Presence, Technique};
use crate::topology::Side;
use facts::Belongings;

/// A call that a host did not answer as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host}: {message}")]
pub struct HostError {
    /// The host as the user named it.
    pub host: String,
    /// What tsmig can make of it.
    pub kind: HostErrorKind,
    /// libvirt's words.
    pub message: String,
}

impl HostError {
    /// Whether there was no answer in time, whatever held it up.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self.kind, HostErrorKind::NoConnection | HostErrorKind::NoAnswer | HostErrorKind::Hangs)
    }
}

/// The errors that tsmig treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The host has no such domain.
    NoSuchDomain,
    /// The source's libvirt can't open a connection to the destination's.
    NoPeer,
    /// The source's libvirt hands back that its connection to the destination's ended, without a reason. Over ssh it does
    /// so for many failures at the destination, too.
    PeerLost,
    /// No data gets through to the port on which the destination waits for the domain's memory.
    NoData,
    /// No connection to the host could be opened in time.
    NoConnection,
    /// The host did not answer in time.
    NoAnswer,
    /// The host answers, but did not about this domain in time: its emulator hangs.
    Hangs,
    /// The destination can't post-copy; it was asked before anything moved.
    NoPostCopy,
    /// Somebody else migrates the domain already.
    Taken,
    /// The destination can't take one more just now: another try, later, may do.
    Busy,
    /// Anything else.
    Other,
}

/// Where memory does not get through to, and what to do.
pub(crate) fn no_data(to: &str, source: &str, destination: &str) -> String {
    format!(
        "no data gets through to {to}: open libvirt's ports for memory ({MEMORY_PORTS}) at {destination} for {source}, or \
         give --migration-uri an address that {source} reaches"
    )
}

/// The ports on which an emulator waits for memory, as libvirt chooses them if qemu.conf does not say otherwise.
pub(crate) const MEMORY_PORTS: &str = "49152-49215";

/// One bulk statistics answer of a host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// When it was taken, in seconds on the sampler's clock.
    pub at_seconds: f64,
    /// All domains, inactive ones included.
    pub domains: Vec<DomainSample>,
}

/// One domain in a [`Sample`].
#[derive(Debug, Clone, PartialEq)]
pub struct DomainSample {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Its state.
    pub state: DomainState,
    /// Balloon size in bytes; 0 where it does not run.
    pub memory_bytes: u64,
    /// Resident memory of its emulator in bytes, where known.
    pub resident_bytes: Option<u64>,
    /// Memory that the guest says is free, in bytes, where it says so and has said so lately.
    pub unused_bytes: Option<u64>,
    /// The last measured dirty rate, where there is one.
    pub dirty: Option<DirtyRate>,
    /// Its NICs' counters.
    pub nics: Vec<NicCounters>,
}

/// One measurement of a dirty rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirtyRate {
    /// When it was started, by libvirt's clock: tells one measurement from the next.
    pub started: u64,
    /// What it found, in bytes per second.
    pub bytes_per_second: f64,
}

/// The counters of one NIC, from the guest's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicCounters {
    /// The host's name for it.
    pub name: String,
    /// Bytes received; `None` where libvirt can't tell.
    pub inbound_bytes: Option<u64>,
    /// Bytes sent; `None` where libvirt can't tell.
    pub outbound_bytes: Option<u64>,
}

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

/// Statistics of a migration as its source counts them; bytes unless named otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct JobStats {
    /// Memory to copy in all.
    pub total: u64,
    /// Memory that has crossed the wire, pages sent again included.
    pub transferred: u64,
    /// Memory that has not crossed yet, or has been dirtied since.
    pub remaining: u64,
    /// Memory that has been gone through, pages of zeroes and pages sent again included, where known.
    pub gone_through: Option<u64>,
    /// How often the source has looked which pages were written: once a pass over the memory, or far more often. From 1;
    /// 0 where unknown.
    pub pass: u64,
    /// Dirty rate in bytes per second, where QEMU knows it.
    pub dirty_bytes_per_second: Option<f64>,
    /// How long the guest did not run, in seconds; known when the job is done.
    pub downtime_seconds: Option<f64>,
}

/// A source and a destination: all that the engine asks of them. Calls block; each is safe from any thread.
pub trait Hosts: Send + Sync {
    /// A host's name as the user wrote it.
    fn name(&self, side: Side) -> &str;

    /// Migrates and returns when libvirt says that it ended. The return value is a hint, not a verdict.
    ///
    /// # Errors
    /// libvirt's error, with [`HostErrorKind::NoPeer`] where the source can't reach the destination's libvirt.
    fn migrate(&self, request: &MigrationRequest) -> Result<(), HostError>;

    /// An error of [`Self::migrate`] with the host where it happened, which libvirt does not say. `crossed` is whether any
    /// memory had crossed by then.
    fn locate(&self, error: HostError, request: &MigrationRequest, crossed: bool) -> HostError;

    /// The running migration's statistics, from the source; `None` where it does not migrate.
    ///
    /// # Errors
    /// The source did not answer, or has no such domain.
    fn job(&self, uuid: &str) -> Result<Option<JobStats>, HostError>;

    /// The final statistics of a migration that ended, once; `None` where the source did not send them.
    fn completed(&self, uuid: &str) -> Option<JobStats>;

    /// All domains of one host.
    ///
    /// # Errors
    /// The host did not answer.
    fn list(&self, side: Side) -> Result<Vec<Listed>, HostError>;

    /// Why the destination can't resume a post-copy that failed, as a clause with what to do; `None` where nothing is known
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

    /// What the source stores of the domain, as it is now.
    ///
    /// # Errors
    /// The source did not answer, or has no such domain.
    fn definition(&self, uuid: &str) -> Result<Definition, HostError>;

    /// What a migration of the domain's definition alone would leave behind or delete.
    ///
    /// # Errors
    /// One of the hosts did not answer, or the source has no such domain.
    fn left_behind(&self, uuid: &str) -> Result<Belongings, HostError>;

    /// After a domain has been seen at the destination and not at the source: makes it there what `before` says it
    /// was, and removes the shut-off definition that an unattended completion leaves at the source. Does nothing where
    /// nothing is left to do. A definition is removed only while the domain is seen running (or paused) and persistent
    /// at the destination.
    ///
    /// # Errors
    /// One of the hosts refused; the domain itself is not touched.
    fn tidy(&self, uuid: &str, before: &Definition) -> Result<Vec<Tidied>, HostError>;
}
