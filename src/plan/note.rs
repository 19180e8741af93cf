//! What is worth knowing before a plan is run, and no bar.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Fault;
use crate::manager::Manager;
use crate::obstacle::{Obstacle, Room};
use crate::sentence;

/// What is worth knowing, of a closed list of kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[schemars(transform = sentence::with_message)]
#[allow(missing_docs, reason = "a field with nothing said of it is what it is called")]
pub enum Note {
    /// The destination's hypervisor is older than the source's.
    OlderDestination {
        hypervisor: String,
        source: String,
        /// Such as `10.0.13`.
        source_version: String,
        destination: String,
        destination_version: String,
    },
    /// Nothing has proven yet that the destination can load some kinds of guests.
    Unproven {
        source: String,
        destination: String,
        /// Their machines.
        machines: Vec<String>,
        /// Domains that go first, by pre-copy, and prove it for post-copies after them.
        provers: Vec<String>,
        /// Whether it is known of any in which version of QEMU it runs.
        known: bool,
        /// What that costs; `None` if the plan does not end.
        more_seconds: Option<f64>,
    },
    /// Kinds of guests go by post-copy unproven, by the user's word.
    Trusted { destination: String, kinds: usize },
    /// QEMU may not post-copy at the destination unless its kernel allows that to every user.
    UnprivilegedQemu {
        destination: String,
        /// The number of the user that QEMU runs as.
        user: u32,
    },
    /// A file of a domain that does not run is taken to be on shared storage.
    TakenAsShared {
        domain: String,
        destination: String,
        /// What it is to the guest: `NVRAM`.
        file: String,
        path: String,
    },
    /// The medium in a drive of a domain is not at the destination, and libvirt drops it.
    MediumDropped { domain: String, destination: String, drive: String, path: String },
    /// An error has paused a domain.
    Paused { domain: String, source: String, destination: String, fault: Fault },
    /// A domain moves although a manager owns it.
    Owned { domain: String, source: String, manager: Manager },
    /// A host is in a Pacemaker cluster that can't be asked for its resources.
    ClusterUnseen { host: String },
    /// The hosts differ in what domains need, which may harm them. `--strict` refuses them.
    Differs {
        domains: Vec<String>,
        #[serde(serialize_with = "sentence::reason")]
        #[schemars(with = "Obstacle")]
        difference: Obstacle,
    },
    /// The hosts differ in what may harm any domain. `--strict` blocks the destination.
    HostsDiffer {
        #[serde(serialize_with = "sentence::reason")]
        #[schemars(with = "Obstacle")]
        difference: Obstacle,
    },
    /// The destination's shell did not tell what only it could: addresses, sockets, character devices, users.
    NotKnown {
        destination: String,
        /// The domains whose definitions name any.
        domains: usize,
    },
    /// It is not known which port of a host migrations cross, so traffic counts as beside them that may not be.
    RouteAssumed {
        host: String,
        /// The ports that it may be.
        ports: Vec<String>,
    },
    /// Domains say nothing of their free memory, and none was seen to move: all that their host backs is taken to cross.
    MemoryAssumed { domains: Vec<String> },
    /// How fast domains dirty their memory could not be measured, and no migration has shown it: it is taken to be what their
    /// traffic explains.
    DirtyRateAssumed { domains: Vec<String> },
    /// The source's libvirt can't connect to the destination's, so it can't drive the migrations.
    NoLogin {
        source: String,
        destination: String,
        /// As the source has to connect.
        uri: String,
        words: String,
    },
    /// The devices that migrations leave and enter the hosts by take packets of different sizes.
    MtuDiffers { source: String, source_device: String, source_mtu: u32, destination: String, destination_mtu: u32 },
    /// The source's packets do not reach a port of the range that migrations take.
    PortsClosed {
        source: String,
        address: String,
        /// Whether something turns them away, and does not just swallow them.
        rejected: bool,
    },
    /// Memory at the destination that another run needs.
    Promised { source: String, destination: String, bytes: u64 },
    /// Little memory is left at the destination when all domains are there.
    MemoryNear {
        destination: String,
        left_bytes: u64,
        room: Room,
        /// What the plan takes of it.
        plan_bytes: u64,
    },
}
