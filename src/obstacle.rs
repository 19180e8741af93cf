//! What keeps a domain or a host from taking part: a closed list, for a script by its kind and fields, for people by the
//! sentence beside them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::DomainState;
use crate::manager::Manager;
use crate::sentence;

/// What is in the way. `name` is the domain's; `words` are libvirt's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[schemars(transform = sentence::with_reason)]
#[allow(missing_docs, reason = "a field with nothing said of it is what it is called")]
pub enum Obstacle {
    /// More than one.
    Several {
        #[serde(serialize_with = "sentence::reasons")]
        #[schemars(with = "Vec<Obstacle>")]
        obstacles: Vec<Obstacle>,
    },
    /// A profile that was written by hand says so.
    Stated { words: String },
    /// A profile that was written by hand does not say why.
    NotMigratable,
    /// A profile that was written by hand does not say why.
    NotPostCopiable,
    /// No domain may be in post-copy, by the options or the configuration.
    PostCopyNotAllowed,
    /// Nothing has proven that the destination can load a guest of its kind.
    Unproven {
        name: String,
        source: String,
        destination: String,
        machine: String,
        /// Whether it is known which version of QEMU it runs in.
        known: bool,
    },
    /// The user forces post-copy, which is not possible.
    PostCopyForced {
        /// The option, or the configuration.
        by: String,
        #[serde(serialize_with = "sentence::reason")]
        #[schemars(with = "Obstacle")]
        obstacle: Box<Obstacle>,
    },
    /// Only a running domain can be post-copied.
    NotRunning { state: DomainState },
    /// What is asked for is not possible in its state.
    State { state: DomainState },
    /// In its state it does not move as the plan says: by its definition alone, if `offline`.
    NotAsPlanned { state: DomainState, offline: bool },
    /// Only its definition was to move, and it has been started.
    Started { state: DomainState, source: String },
    /// Its emulator does not answer libvirt.
    Hangs { name: String },
    /// Devices of the host are assigned to it.
    AssignedDevices { count: usize },
    /// Its memory is backed by a file, which post-copy does not survive.
    MemoryInFile,
    /// A manager decides where it runs, and has a way of its own to move it: of Pacemaker, its resource.
    Owned { manager: Manager, name: String, uuid: String },
    /// It is being migrated.
    MigratesAlready { name: String },
    /// libvirt is busy with it.
    Job { name: String, job: String },
    /// libvirt migrates no domain with snapshots.
    Snapshots { name: String, count: u32 },
    /// A disk is not on storage that both hosts share.
    UnsafeStorage { source: String, words: String },
    /// The source's libvirt does not migrate it.
    LibvirtRefuses { source: String, words: String },
    /// The destination can't run its kind of machine.
    NoMachine { source: String, destination: String, words: String },
    /// The destination's processor lacks what it was shown.
    NoProcessor { destination: String, words: String },
    /// The file of a disk is not at the destination.
    NoDisk { destination: String, disk: String, path: String },
    /// The medium in a drive is not at the destination.
    NoMedium { name: String, destination: String, drive: String, path: String },
    /// Firmware, kernel or initial ramdisk is not at the destination.
    NoBootFile { destination: String, file: String, path: String },
    /// Something else in its filesystem that the domain's definition names is not at the destination.
    NoFile { destination: String, part: String, path: String },
    /// The user of the destination's QEMU may not use a file.
    NotAllowed {
        destination: String,
        /// User and group.
        user: String,
        part: String,
        path: String,
        writes: bool,
    },
    /// The destination does not have the address that the domain listens on.
    NoAddress { name: String, destination: String, part: String, address: String },
    /// A guest of the destination listens on the port.
    PortTaken { name: String, destination: String, part: String, port: u16, taken_by: String },
    /// The destination's libvirt does not have a secret, or not its value.
    NoSecret { source: String, destination: String, words: String },
    /// The destination's libvirt can't make a guest of the definition.
    Unfit { destination: String, words: String },
    /// The destination does not have processors that threads are pinned to.
    NoProcessors { name: String, destination: String, numbers: String },
    /// The destination does not have NUMA cells that the memory is to be taken from.
    NoCells { name: String, destination: String, numbers: String },
    /// The destination does not have huge pages of this size.
    NoPageSize { destination: String, page_bytes: u64 },
    /// The destination does not have the user that the domain's QEMU runs as.
    NoUser { source: String, destination: String, user: String },
    /// The libvirt network that a display listens on is not active at the destination.
    NoListenNetwork { source: String, destination: String, network: String },
    /// The libvirt network of a NIC is another at the destination, by the same name.
    NetworkDiffers {
        source: String,
        destination: String,
        network: String,
        mac: String,
        difference: Box<NetworkDifference>,
    },
    /// QEMU runs as another user at the destination.
    OtherUser { destination: String, user: String, source: String, source_user: String },
    /// The destination does not have the bridge of a NIC.
    NoBridge { destination: String, bridge: String, mac: String },
    /// The destination does not have the network device of a NIC.
    NoDevice { destination: String, device: String, mac: String },
    /// The destination does not have the libvirt network of a NIC.
    NoNetwork { source: String, destination: String, network: String, mac: String },
    /// The libvirt network of a NIC is not active at the destination.
    NetworkInactive { destination: String, network: String, mac: String },
    /// Another domain at the destination has the MAC address, in the same network.
    MacTaken { destination: String, mac: String, taken_by: String },
    /// A domain with its UUID is active at the destination.
    UuidTaken { destination: String, state: DomainState },
    /// Another domain at the destination has its name.
    NameTaken { destination: String, other_uuid: String },
    /// The source can't look up the name of the host that memory is to go to.
    NotLookedUp { source: String, name: String },
    /// The source takes the address that memory is to go to for its own.
    OwnAddress { source: String, name: String, address: String },
    /// The source has no route to the address that memory is to go to.
    NoRoute { source: String, address: String },
    /// The device by which memory is to leave the source, or to enter the destination, has no carrier.
    NoCarrier { host: String, device: String, address: String },
    /// Too little memory is left at the destination when the domains before it are there.
    NoMemory { destination: String, needed_bytes: u64, left_bytes: u64, room: Room },
    /// Too few huge pages are left at the destination when the domains before it are there.
    NoHugePages { destination: String, needed_bytes: u64, left_bytes: u64, page_bytes: u64 },
    /// Its memory is in a managed-save image, which would stay.
    ManagedSave { name: String, source: String },
    /// It has checkpoints, which would be deleted.
    Checkpoints { name: String, source: String, destination: String, count: u32 },
    /// It has a TPM, whose state would stay.
    Tpm { name: String, destination: String },
    /// A file that keeps something of it would stay.
    KeptFile {
        name: String,
        source: String,
        destination: String,
        /// What it is to the guest: `NVRAM`.
        file: String,
        path: String,
        /// Whether the destination has one there, which may be older; `None` if its libvirt can't tell.
        at_destination: Option<bool>,
    },
    /// The connection to the host is read-only.
    ReadOnly,
    /// The destination has another hypervisor than the source.
    OtherHypervisor { hypervisor: String, source: String, source_hypervisor: String },
}

/// How two libvirt networks of one name differ: `here` at the source, `there` at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "a field with nothing said of it is what it is called")]
pub enum NetworkDifference {
    /// One leads elsewhere than the other, by their forward modes.
    Kind { here: String, there: String },
    /// Each host has a network of its own.
    OfEachHost { mode: String },
    /// They are on bridges or devices of different names.
    Bridge { here: String, there: String },
    /// Their ports have other VLAN tags.
    Vlan { here: Vec<u16>, there: Vec<u16> },
    /// That at the destination does not have the group of ports.
    NoPortgroup { portgroup: String },
}

impl Obstacle {
    /// One for all of them, if there are any.
    pub fn all(mut obstacles: Vec<Self>) -> Option<Self> {
        if obstacles.len() > 1 { Some(Self::Several { obstacles }) } else { obstacles.pop() }
    }
}

/// Ordinary memory that a host can give: the basis, less the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Room {
    /// What the count begins with.
    pub basis: RoomBasis,
    /// How much that is.
    pub basis_bytes: u64,
    /// What guests there have of it: all of their memory if it is configured, else what they share.
    pub taken_bytes: u64,
    /// What stays for the host itself.
    pub reserved_bytes: u64,
    /// What other runs still bring.
    pub promised_bytes: u64,
}

impl Room {
    /// What is left of the basis.
    pub fn bytes(&self) -> u64 {
        [self.taken_bytes, self.reserved_bytes, self.promised_bytes]
            .into_iter()
            .fold(self.basis_bytes, u64::saturating_sub)
    }
}

/// What the count of a host's memory begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoomBasis {
    /// What guests may have by the configuration.
    Configured,
    /// What the kernel calls available.
    Available,
    /// What is free or in caches.
    FreeOrCached,
}

/// Whether something may be done with a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Form", into = "Form")]
pub struct Eligibility {
    /// Why not; `None` if it may.
    pub obstacle: Option<Obstacle>,
}

impl Eligibility {
    /// It may not be done.
    pub fn no(obstacle: Obstacle) -> Self {
        Self { obstacle: Some(obstacle) }
    }
}

/// As it is in JSON. A profile that is written by hand may have only a reason, or not even that.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Eligibility")]
struct Form {
    /// Whether it may be done.
    eligible: bool,
    /// Why not, in one sentence; `None` if it may.
    reason: Option<String>,
    #[serde(flatten)]
    #[schemars(with = "sentence::Beside<Option<Obstacle>>")]
    obstacle: Option<Obstacle>,
}

impl From<Form> for Eligibility {
    fn from(Form { eligible, reason, obstacle }: Form) -> Self {
        let stated = || reason.filter(|words| !words.is_empty()).map(|words| Obstacle::Stated { words });
        Self { obstacle: (!eligible).then(|| obstacle.or_else(stated).unwrap_or(Obstacle::NotMigratable)) }
    }
}

impl From<Eligibility> for Form {
    fn from(Eligibility { obstacle }: Eligibility) -> Self {
        Self { eligible: obstacle.is_none(), reason: obstacle.as_ref().map(ToString::to_string), obstacle }
    }
}
