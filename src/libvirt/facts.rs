//! What a host's libvirt says of the host and of its domains, beside the statistics: plain data, judged elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

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

/// A network device of a host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetDevice {
    pub name: String,
    /// Its hardware address at present; the members of a bond share one.
    pub address: String,
    /// What it negotiated, in bits per second; `None` if the driver does not tell, or there is no carrier. A virtual one says
    /// some number.
    pub bits_per_second: Option<f64>,
    /// Whether it has a carrier.
    pub up: bool,
    /// Whether it is a piece of hardware.
    pub physical: bool,
    pub kind: DeviceKind,
    /// The devices that its traffic goes through: a bridge's or a bond's members, the parent of a VLAN, the bridge of a tap.
    pub below: Vec<String>,
    /// The most bytes that a packet may have.
    pub mtu: Option<u32>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
}

/// What kind of network device one is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// A NIC, or the host's end of a virtual cable.
    #[default]
    Nic,
    /// A bridge of the kernel's.
    Bridge,
    Bond {
        /// The bonding driver's mode, if it is known: `active-backup`, `802.3ad`...
        mode: Option<String>,
        /// Its `xmit_hash_policy`, if it is known: `layer2`, `layer3+4`...
        hash: Option<String>,
    },
    /// A VLAN or a macvlan on another device.
    Stacked,
    /// A guest's end.
    Tap,
    /// Anything else, such as a bridge of Open vSwitch or a tunnel.
    Other,
}

/// The network devices of a host, and how they and its networks are connected.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wiring {
    pub devices: Vec<NetDevice>,
    /// The networks of libvirt's that are active, by name.
    pub networks: Vec<(String, Reach)>,
    /// The device that packets to nowhere in particular leave by, if the host's shell told it.
    pub default_route: Option<String>,
    /// TCP ports on which something listens, if that is known.
    pub taken: Option<BTreeSet<u16>>,
    /// Whether its shell told of the devices, so that there are no others.
    pub complete: bool,
    /// The name or address that libvirt has migrations to the host take instead of its name (`migration_host`); `None` in it
    /// if there is none, and around it if that is not known.
    pub migration_host: Option<Option<String>>,
    /// The way to another host, if it was asked for and the host's shell told it.
    pub way: Option<Way>,
}

impl Wiring {
    /// The device that has an address.
    pub fn owner(&self, address: IpAddr) -> Option<&str> {
        self.devices.iter().find(|device| device.addresses.contains(&address)).map(|device| &*device.name)
    }
}

/// The way that a host's packets to another one take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// The other host's addresses, in the order in which they are tried; none if it can't be looked up.
    pub to: Vec<IpAddr>,
    /// The device that packets to the first leave by, if that is known.
    pub device: Option<String>,
    /// Whether there is no route to it.
    pub unreachable: bool,
}

/// What the source finds at the destination's doors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doors {
    /// Why the source itself can't connect to the destination's libvirt, in its words; `Some(None)` if it can.
    pub login: Option<Option<String>>,
    /// Whether packets reach a port of the range that migrations take.
    pub ports: Option<Reached>,
}

/// What becomes of a connection to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It is answered, if only by a refusal: as the destination refuses where nobody listens, and some firewalls do.
    Answered,
    /// It is turned away on the way.
    Rejected,
    /// Nobody answers.
    Dropped,
}
