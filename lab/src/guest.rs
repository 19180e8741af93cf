//! A guest that is to be added to a lab.

use serde::{Deserialize, Serialize};

use crate::{node::Node, rate::Rate};

/// What becomes of a guest once it is defined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// It boots and runs.
    #[default]
    Running,
    /// It boots, ticks once, and is then suspended.
    Paused,
    /// It is defined only.
    Inactive,
}

/// A guest to add; see [`Lab::add_guests`](crate::Lab::add_guests).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestSpec {
    /// The domain's name.
    pub name: String,
    /// The host that it is started on.
    pub host: Node,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Rate of its traffic to the peer.
    pub send: Rate,
    /// Rate of its traffic from the peer.
    pub receive: Rate,
    /// Memory to fill at boot with bytes that must cross the wire, in MiB.
    pub fill_mib: u64,
    /// Rate at which it writes to memory, counted in whole pages.
    pub dirty: Rate,
    /// Memory over which those writes go round, in MiB.
    pub working_set_mib: u64,
    /// Whether libvirt forgets the domain when it stops.
    pub transient: bool,
    /// What becomes of it once it is defined.
    pub start: Start,
    /// XML of further devices, such as a disk that the guest does not use.
    #[serde(default)]
    pub devices: String,
    /// XML of further elements of the domain, such as its memory backing.
    #[serde(default)]
    pub elements: String,
}

impl GuestSpec {
    /// A running, persistent guest of 128 MiB on host-a, with no traffic.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            host: Node::HostA,
            memory_mib: 128,
            send: Rate::ZERO,
            receive: Rate::ZERO,
            fill_mib: 0,
            dirty: Rate::ZERO,
            working_set_mib: 16,
            transient: false,
            start: Start::Running,
            devices: String::new(),
            elements: String::new(),
        }
    }

    /// Starts it on that host.
    pub fn host(mut self, host: Node) -> Self {
        self.host = host;
        self
    }

    /// Gives it that much memory, in MiB.
    pub fn memory_mib(mut self, memory: u64) -> Self {
        self.memory_mib = memory;
        self
    }

    /// Makes it send to the peer.
    pub fn send(mut self, rate: Rate) -> Self {
        self.send = rate;
        self
    }

    /// Makes it receive from the peer.
    pub fn receive(mut self, rate: Rate) -> Self {
        self.receive = rate;
        self
    }

    /// Fills that much of its memory, in MiB.
    pub fn fill_mib(mut self, fill: u64) -> Self {
        self.fill_mib = fill;
        self
    }

    /// Makes it write to memory at that rate, over that many MiB.
    pub fn dirty(mut self, rate: Rate, working_set_mib: u64) -> Self {
        self.dirty = rate;
        self.working_set_mib = working_set_mib;
        self
    }

    /// Makes libvirt forget it when it stops.
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Suspends it once it has booted.
    pub fn paused(mut self) -> Self {
        self.start = Start::Paused;
        self
    }

    /// Defines it only.
    pub fn inactive(mut self) -> Self {
        self.start = Start::Inactive;
        self
    }

    /// Gives it one more device, in libvirt's XML.
    pub fn device(mut self, xml: &str) -> Self {
        self.devices += xml;
        self
    }

    /// Gives its domain one more element, in libvirt's XML.
    pub fn element(mut self, xml: &str) -> Self {
        self.elements += xml;
        self
    }
}
