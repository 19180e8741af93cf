//! What the checks know of the two hosts: plain data that [`gather`](super::gather) fills.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use super::shell::Shell;
use super::way::Passage;
use crate::domain::Fault;
use crate::libvirt::facts::{
    Belongings, Cluster, HostFacts, LibvirtRefusal, Memory, Network, Occupation, Resident, Unfit,
};
use crate::libvirt::xml::domain::Hardware;
use crate::profile::sampler::Inventory;

#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub source: HostFacts,
    pub destination: HostFacts,
    /// What a cluster has of the source's domains.
    pub cluster: Cluster,
    /// The selected domains of the source, by UUID.
    pub domains: HashMap<String, DomainFacts>,
    /// The version of QEMU that domains of the source run in, by name, as far as it is known.
    pub running: HashMap<String, String>,
    /// The version of each emulator at the destination, by path, as far as it is known.
    pub installed: HashMap<String, String>,
    /// The kinds of guests that have come through from this source to this destination.
    pub proven: HashSet<String>,
    /// The active domains of the destination.
    pub residents: Vec<Resident>,
    /// What the destination can spare; `None` if it does not tell.
    pub memory: Option<Memory>,
    /// What is known of its memory beside that.
    pub allowance: Allowance,
    /// Whether the destination has a file, by its path; what it does not tell is missing here.
    pub files: BTreeMap<String, bool>,
    /// The destination's libvirt networks that a domain asks for.
    pub networks: BTreeMap<String, Network>,
    /// The same networks at the source.
    pub source_networks: BTreeMap<String, Network>,
    /// What the hosts' shells say, if anything was asked and they answered.
    pub source_shell: Option<Shell>,
    pub destination_shell: Option<Shell>,
    /// The way that memory takes.
    pub passage: Passage,
    /// Whether the user takes a difference between the hosts for an obstacle.
    pub strict: bool,
}

impl Facts {
    /// What the destination's shell says.
    pub(super) fn shell(&self) -> &Shell {
        static SILENT: LazyLock<Shell> = LazyLock::new(Shell::default);
        self.destination_shell.as_ref().unwrap_or(&SILENT)
    }
}

/// What is known of a host at the end of the window, beside its profile.
#[derive(Debug)]
pub struct Known {
    pub facts: HostFacts,
    pub inventory: Inventory,
}

#[derive(Debug, Clone, Default)]
pub struct DomainFacts {
    /// Its hardware, which the destination has to have room and parts for.
    pub hardware: Hardware,
    /// The models of those NICs by which its guest has sent something since it came to the source.
    pub models_in_use: BTreeSet<String>,
    /// Whether the source's libvirt does not answer about it.
    pub hangs: bool,
    /// The error that has stopped it, if one has.
    pub fault: Option<Fault>,
    pub job: Option<Occupation>,
    pub snapshots: u32,
    /// What it has beside its definition, if only that is to move.
    pub belongings: Option<Belongings>,
    /// Why the source's libvirt would not begin to migrate it.
    pub refusal: Option<LibvirtRefusal>,
    /// Why the destination's QEMU can't run its kind of machine, in libvirt's words.
    pub machine: Option<String>,
    /// What the destination's processor lacks for it, in libvirt's words.
    pub processor: Option<String>,
    /// Why the destination's libvirt can't make a guest of its definition.
    pub unfit: Option<Unfit>,
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
