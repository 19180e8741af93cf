//! What the checks know of the two hosts: plain data that [`gather`](super::gather) fills.

use std::collections::{BTreeMap, HashMap};

use super::needs::Needs;
use crate::domain::DomainState;
use crate::domain::Fault;

/// What both hosts said.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The source as a host.
    pub source: HostFacts,
    /// The destination as a host.
    pub destination: HostFacts,
    /// The selected domains of the source, by UUID.
    pub domains: HashMap<String, DomainFacts>,
    /// The active domains of the destination.
    pub residents: Vec<Resident>,
    /// What the destination can spare; `None` where it does not tell.
    pub memory: Option<Memory>,
    /// What is known of its memory beside that.
    pub allowance: Allowance,
    /// Whether the destination has a file, by its path; what it does not tell is missing here.
    pub files: BTreeMap<String, bool>,
    /// The destination's libvirt networks that a domain asks for.
    pub networks: BTreeMap<String, Network>,
}

/// A host as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// As the user named it.
    pub name: String,
    /// libvirt's name of its hypervisor: `QEMU`.
    pub hypervisor: String,
    /// The hypervisor's version, as major times 1,000,000 plus minor times 1,000 plus release; 0 where unknown.
    pub version: u32,
    /// Whether the connection may only look.
    pub read_only: bool,
    /// The user that its QEMU runs as, where libvirt says so; 0 is root.
    pub qemu_user: Option<u32>,
}

/// A domain that is to move.
#[derive(Debug, Clone, Default)]
pub struct DomainFacts {
    /// What it needs of a host.
    pub needs: Needs,
    /// Whether the source's libvirt does not answer about it.
    pub hangs: bool,
    /// The error that has stopped it, if one has.
    pub fault: Option<Fault>,
    /// What libvirt is busy with on it.
    pub job: Option<Job>,
    /// How many snapshots it has.
    pub snapshots: u32,
    /// What it has beside its definition, if only that is to move.
    pub belongings: Option<Belongings>,
    /// Why the source's libvirt would not begin to migrate it.
    pub refusal: Option<LibvirtRefusal>,
    /// Why the destination's QEMU can't run its kind of machine, in libvirt's words.
    pub machine: Option<String>,
    /// What the destination's processor lacks for it, in libvirt's words.
    pub processor: Option<String>,
}

/// What a domain that does not run has beside its definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belongings {
    /// Its state, if it runs after all.
    pub active: Option<DomainState>,
    /// Whether its memory is in a managed-save image.
    pub saved: bool,
    /// How many checkpoints it has.
    pub checkpoints: u32,
    /// Whether it has a TPM.
    pub tpm: bool,
    /// Files at the source, other than disks, that keep something of the guest.
    pub files: Vec<KeptFile>,
}

/// A file at the source that keeps something of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// What it is to the guest: `NVRAM`.
    pub what: &'static str,
    /// Its path.
    pub path: String,
    /// Whether the destination has a file of this path; `None` if its libvirt can't tell.
    pub at_destination: Option<bool>,
}

/// A job that runs on a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// It is being migrated.
    Migration,
    /// Anything else, such as a backup.
    Other(&'static str),
}

/// The source's libvirt would not begin a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibvirtRefusal {
    /// Because of storage that is not shared.
    pub unsafe_storage: bool,
    /// libvirt's words.
    pub message: String,
}

/// An active domain of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// What it uses.
    pub needs: Needs,
}

/// Memory of a host, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Free, or held by caches.
    pub available: u64,
    /// Whether that is the kernel's own judgement of what it can give to processes.
    pub by_kernel: bool,
    /// All of it.
    pub total: u64,
    /// Free in huge pages, by the size of a page; sizes that the host did not tell of are missing.
    pub huge: BTreeMap<u64, u64>,
}

/// What is known of the destination's memory otherwise than from its libvirt, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowance {
    /// What its guests may have, all together, by the configuration.
    pub guests: Option<u64>,
    /// What has to stay free for the host itself, by the configuration.
    pub reserve: Option<u64>,
    /// What other runs of this machine still bring.
    pub promised: Vec<Promise>,
}

/// What another run still brings to the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Its source, as its user named it.
    pub source: String,
    /// Memory of the domains that have not arrived, in bytes.
    pub bytes: u64,
}

/// A libvirt network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The host does not know it.
    Missing,
    /// It is defined and stopped.
    Inactive,
    /// Guests can use it.
    Active,
}
