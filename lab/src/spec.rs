//! What a lab is asked to be.

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{networks::MigrationNetwork, node::Node, paths::LabDir, rate::Rate, rootfs::Release};

/// Name of a lab that was given none.
pub const DEFAULT_NAME: &str = "lab";

/// Capacity of a host's uplink, each way, that was given none.
pub const DEFAULT_LINK: Rate = Rate::mbit(100);

/// KVM hosts of a lab that was given no number.
pub(crate) const DEFAULT_HOSTS: usize = 2;

/// How the guests' processors are run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// In software; works everywhere.
    #[default]
    Tcg,
    /// By the machine's KVM.
    Kvm,
}

/// A lab to bring up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabSpec {
    /// Tells labs apart that are up side by side.
    pub name: String,
    /// How many KVM hosts it has: host-a, host-b and so on.
    pub hosts: usize,
    /// Capacity of each host's uplink, each way.
    pub link: Rate,
    /// A second network of the hosts, for migrations.
    pub migration: Option<MigrationNetwork>,
    /// Whether each host's libvirt has an isolated and a NAT network.
    pub inner_networks: bool,
    /// What host-a runs.
    pub release_a: Release,
    /// What the other hosts run.
    pub release_b: Release,
    /// How the guests' processors are run.
    pub accelerator: Accelerator,
}

impl Default for LabSpec {
    fn default() -> Self {
        Self {
            name: DEFAULT_NAME.to_owned(),
            hosts: DEFAULT_HOSTS,
            link: DEFAULT_LINK,
            migration: None,
            inner_networks: false,
            release_a: Release::default(),
            release_b: Release::default(),
            accelerator: Accelerator::default(),
        }
    }
}

impl LabSpec {
    /// A default lab of that name.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The KVM hosts.
    pub fn hosts(&self) -> &'static [Node] {
        &Node::POSSIBLE_HOSTS[..self.hosts.min(Node::POSSIBLE_HOSTS.len())]
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        self.hosts().iter().chain(&Node::OTHERS).copied()
    }

    /// What a host runs.
    pub(crate) fn release(&self, host: Node) -> Release {
        if host == Node::HostA { self.release_a } else { self.release_b }
    }

    /// Fails if no lab can be like that.
    pub(crate) fn check(&self) -> Result<()> {
        let most = Node::POSSIBLE_HOSTS.len();
        ensure!(
            (DEFAULT_HOSTS..=most).contains(&self.hosts),
            "a lab has {DEFAULT_HOSTS} to {most} hosts, not {}",
            self.hosts
        );
        Ok(())
    }

    /// The machine type that QEMU on all hosts knows: that of the older release.
    pub(crate) fn machine(&self) -> &'static str {
        self.release_a.min(self.release_b).machine()
    }

    pub(crate) fn write(&self, dir: &LabDir) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("encoding the lab's description")?;
        fs::write(dir.spec(), text).with_context(|| format!("writing {}", dir.spec().display()))
    }

    pub(crate) fn read(dir: &LabDir) -> Result<Self> {
        let path = dir.spec();
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }
}
