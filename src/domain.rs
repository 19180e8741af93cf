//! The words for a domain: how it is moved, what state it is in, what may be done with it.

use std::fmt;
use std::ops::Not;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a domain's memory is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Technique {
    /// It runs at the source until its memory is copied: contends with its outbound traffic at the source NIC.
    PreCopy,
    /// It runs at the destination and pulls its memory: contends with its inbound traffic at the destination NIC.
    PostCopy,
    /// Its memory is copied once while it runs at the source; then it runs at the destination, and pulls what it wrote to meanwhile.
    Hybrid,
    /// It does not run: only its definition moves.
    Offline,
}

impl Technique {
    /// Whether it runs at the destination before all of its memory is there.
    pub fn pulls(self) -> bool {
        matches!(self, Self::PostCopy | Self::Hybrid)
    }
}

impl fmt::Display for Technique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PreCopy => "pre-copy",
            Self::PostCopy => "post-copy",
            Self::Hybrid => "hybrid",
            Self::Offline => "offline",
        })
    }
}

/// What a running migration is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The two libvirts set it up.
    Starting,
    /// Memory is copied while the guest runs at the source.
    PreCopy,
    /// The guest runs at the destination, the rest of its memory follows.
    PostCopy,
    /// The post-copy broke and is being resumed; the guest waits at the destination for memory of the source.
    Recovering,
    /// libvirt's call has returned; where the domain is, is being checked.
    Checking,
}

/// How a domain crosses from one host to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    /// How its memory is moved.
    pub technique: Technique,
    /// What carries it.
    pub transport: Transport,
    /// What crosses; nothing if only its definition moves.
    pub streams: Vec<Stream>,
    /// The downtime in milliseconds to which a pre-copy that makes no headway may be raised; `None`: QEMU's own limit stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_downtime_ms: Option<u64>,
}

/// The downtime in milliseconds that QEMU allows a pre-copy unless told otherwise: its `downtime-limit`.
pub(crate) const DOWNTIME_MS: u64 = 300;

/// A pre-copy that sends again what was dirtied is about to end when it needs at most this many seconds with the
/// link to itself. From then on it gets as much of the link as it needs.
pub(crate) const LAST_SECONDS: f64 = 1.0;

/// Passes without gain after which a pre-copy counts as stalled. One pass may be long because the guest had a busy
/// moment; each further pass costs the whole rewritten memory once more.
pub(crate) const STALL_PASSES: u32 = 3;

/// Seconds without gain that it takes as well: passes over little memory last a fraction of a second, and three of
/// those are within one burst of writes.
pub(crate) const STALL_SECONDS: f64 = 5.0;

/// What is left at least to a pre-copy beside one that is about to end, as a part of its equal share.
pub(crate) const HELD_BACK: f64 = 0.125;

/// What a pre-copy is allowed next that made no headway with `allowed_ms`: twice that, as Proxmox VE does, up to the limit;
/// `None` if that is reached.
pub(crate) fn more_downtime(allowed_ms: u64, limit_ms: Option<u64>) -> Option<u64> {
    limit_ms.filter(|limit| allowed_ms < *limit).map(|limit| limit.min(allowed_ms.saturating_mul(2)))
}

/// What carries the memory of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transport {
    /// Whether it is encrypted.
    pub tls: bool,
    /// How many connections share it.
    #[schemars(range(min = 1))]
    pub channels: u32,
}

impl Transport {
    /// One TCP connection, not encrypted: libvirt's own choice.
    pub const PLAIN: Self = Self { tls: false, channels: 1 };
}

/// Something of a domain that crosses from one host to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Its memory, and the state of its devices.
    Memory,
}

impl Transfer {
    /// By a technique, over libvirt's own transport.
    pub fn by(technique: Technique) -> Self {
        let streams = if technique == Technique::Offline { vec![] } else { vec![Stream::Memory] };
        Self { technique, transport: Transport::PLAIN, streams, max_downtime_ms: None }
    }
}

/// How the two libvirts work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// The source's libvirt drives the migration and survives the client.
    PeerToPeer,
    /// The client talks to both: for a source that can't reach the destination's libvirt.
    ClientManaged,
}

/// A domain's state in libvirt's terms; `blocked` counts as running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DomainState {
    /// It runs.
    Running,
    /// Its processors are stopped, its memory is kept.
    Paused,
    /// The guest is on its way to power off.
    #[serde(rename = "in shutdown")]
    ShuttingDown,
    /// Defined, not running.
    #[serde(rename = "shut off")]
    ShutOff,
    /// It crashed and is kept.
    Crashed,
    /// The guest suspended itself.
    PmSuspended,
    /// libvirt does not know.
    #[serde(rename = "no state")]
    Unknown,
}

impl DomainState {
    /// Whether there is a process with memory to migrate.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::ShutOff)
    }

    /// Whether libvirt post-copies a domain in this state. It says that "post-copy migration is not supported with non-live
    /// or paused migration".
    pub fn can_post_copy(self) -> bool {
        matches!(self, Self::Running)
    }
}

impl fmt::Display for DomainState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::ShuttingDown => "in shutdown",
            Self::ShutOff => "shut off",
            Self::Crashed => "crashed",
            Self::PmSuspended => "pmsuspended",
            Self::Unknown => "no state",
        })
    }
}

/// A domain when a plan was made that does not move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It was not there.
    Absent,
    /// It could not be moved.
    Refused,
    /// It was shut off.
    ShutOff,
    /// The configuration kept it.
    Kept,
    /// It stayed for another reason.
    Stayed,
}

/// An error that has stopped a guest whose emulator is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Its storage failed.
    IoError,
    /// Its watchdog found that it hangs.
    Watchdog,
    /// It crashed.
    Crash,
    /// libvirt could not let it go on after an operation of its own.
    Libvirt,
}

impl Fault {
    /// What to do about it, as a clause.
    pub(crate) fn remedy(self, domain: &str) -> String {
        match self {
            Self::IoError => format!("mend its storage, then `virsh resume {domain}`"),
            Self::Watchdog | Self::Crash => {
                format!("boot it again with `virsh reset {domain}` and `virsh resume {domain}`")
            }
            Self::Libvirt => format!("see libvirt's log, then `virsh resume {domain}`"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoError => "an I/O error",
            Self::Watchdog => "its watchdog",
            Self::Crash => "a crash",
            Self::Libvirt => "a failed operation of libvirt",
        })
    }
}

/// Where a domain is on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "state", rename_all = "kebab-case")]
pub enum Presence {
    /// The host does not know it.
    Absent,
    /// The host knows it.
    Present(Condition),
    /// The host did not answer, but in these words.
    Unknown(String),
}

impl Presence {
    /// Whether it has a running emulator there.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Present(condition) if condition.is_active())
    }

    /// Whether the host says that it has none.
    pub fn is_inactive(&self) -> bool {
        !matches!(self, Self::Unknown(_)) && !self.is_active()
    }
}

/// How much of its memory a guest writes to, by two looks at some of its pages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rewritten {
    /// How much of it had changed, in bytes.
    pub bytes: u64,
    /// Whether it is that much at the most: too few of the pages had changed to say more.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub is_most: bool,
    /// How long after the first look, in seconds.
    pub seconds: f64,
}

/// Where a domain was seen on both hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// At the source.
    pub source: Presence,
    /// At the destination.
    pub destination: Presence,
}

/// A domain's state and reason, as far as a migration cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It runs, on its own.
    Running,
    /// It runs at the destination while its memory still arrives.
    RunningPostCopy,
    /// It runs at the destination, its memory's stream is broken.
    RunningPostCopyFailed,
    /// Paused by its user, or for a reason that has nothing to do with migration.
    Paused,
    /// Its emulator is being started, at the destination before it can take memory in.
    PausedStartingUp,
    /// Paused for the switch-over: the source at the end of pre-copy, the destination while memory arrives.
    PausedMigration,
    /// The source's half of a running post-copy.
    PausedPostCopy,
    /// The source's half of a broken post-copy.
    PausedPostCopyFailed,
    /// The guest has crashed, and its emulator is kept.
    Crashed,
    /// Defined, not running, and it left by migration.
    ShutOffMigrated,
    /// It is about to end; its emulator still runs.
    ShuttingDown,
    /// Defined, not running.
    ShutOff,
}

impl Condition {
    /// Whether it has a running emulator on that host.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::ShutOff | Self::ShutOffMigrated)
    }

    /// The same as [`DomainState::can_post_copy`].
    pub fn can_post_copy(self) -> bool {
        matches!(self, Self::Running)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::RunningPostCopy => "running (post-copy)",
            Self::RunningPostCopyFailed => "running (post-copy failed)",
            Self::Paused => "paused",
            Self::PausedStartingUp => "paused (starting up)",
            Self::PausedMigration => "paused (migrating)",
            Self::PausedPostCopy => "paused (post-copy)",
            Self::PausedPostCopyFailed => "paused (post-copy failed)",
            Self::Crashed => "crashed",
            Self::ShuttingDown => "shutting down",
            Self::ShutOffMigrated => "shut off (migrated)",
            Self::ShutOff => "shut off",
        })
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Present(condition) => condition.fmt(f),
            Self::Unknown(why) => write!(f, "unknown ({why})"),
        }
    }
}
