//! What a host's libvirt says of the host and of its domains, beside the statistics: plain data, judged elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::xml::domain::Hardware;
use super::xml::network::Reach;
use crate::domain::DomainState;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    pub name: String,
    /// libvirt's identity of the machine, if it has one.
    pub machine_uuid: Option<String>,
    /// libvirt's name of its hypervisor: `QEMU`.
    pub hypervisor: String,
    /// The hypervisor's version, as major times 1,000,000 plus minor times 1,000 plus release; 0 if unknown.
    pub version: u32,
    /// The version of its libvirt, in the same form; 0 if unknown.
    pub libvirt: u32,
    /// Whether the connection may only look.
    pub read_only: bool,
    /// The user and the group that its QEMU runs as, if libvirt says so; 0 is root.
    pub qemu: Option<(u32, u32)>,
    /// The numbers of its processors; none if libvirt does not say.
    pub processors: BTreeSet<u32>,
    /// The numbers of its NUMA cells; none if libvirt does not say.
    pub cells: BTreeSet<u32>,
    /// The sizes of its pages, in bytes: ordinary ones are the smallest. None if libvirt does not say.
    pub page_sizes: BTreeSet<u64>,
}

/// What a host's Pacemaker runs of its domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// The resources by the names of their domains; none without a cluster.
    Of(BTreeMap<String, String>),
    /// There is one, and it can't be asked.
    Unseen,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::Of(BTreeMap::new())
    }
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
    pub path: String,
    /// Whether the destination has a file of this path; `None` if its libvirt can't tell.
    pub at_destination: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupation {
    Migration,
    /// Anything else, such as a backup.
    Other(&'static str),
}

/// The source's libvirt would not begin a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibvirtRefusal {
    pub unsafe_storage: bool,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    pub name: String,
    pub uuid: String,
    pub hardware: Hardware,
}

/// Memory of a host, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Free, or held by caches.
    pub available: u64,
    /// Whether that is the kernel's own judgement of what it can give to processes.
    pub by_kernel: bool,
    pub total: u64,
    /// Free in huge pages, by the size of a page; sizes that the host did not tell of are missing.
    pub huge: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// The host does not know it.
    Missing,
    /// It is defined and stopped.
    Inactive,
    /// Guests can use it; where its ports lead, if that can be read.
    Active(Option<Reach>),
}

/// The destination's libvirt can't make a guest of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// Whether a secret is missing, or its value.
    pub secret: bool,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NetDevice {
    pub name: String,
    /// Its hardware address at present; the members of a bond share one.
    pub address: String,
    /// What it negotiated, in bits per second; `None` if the driver does not tell, or there is no carrier.
    pub bits_per_second: Option<f64>,
    /// Whether it has a carrier.
    pub up: bool,
    pub physical: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bond {
    pub name: String,
    /// The bonding driver's mode, if it is known: `active-backup`, `802.3ad`...
    pub mode: Option<String>,
    pub members: Vec<String>,
}
