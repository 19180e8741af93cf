//! A guest that is to be added to a lab.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{networks::Network, node::Node, rate::Rate};

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

/// A card of a guest, and the traffic over it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// The network that it is in; a guest has no two in one.
    pub network: Network,
    /// Rate of the traffic that it sends.
    pub send: Rate,
    /// Rate of the traffic that it receives.
    pub receive: Rate,
    /// The guest at the other end of that traffic; none if that is the peer.
    pub other_end: Option<String>,
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
    /// Its cards.
    pub nics: Vec<Nic>,
    /// Memory to fill at boot with bytes that must cross the wire, in MiB.
    pub fill_mib: u64,
    /// Memory to fill after that and free again, in MiB: free, and not zeros.
    #[serde(default)]
    pub freed_mib: u64,
    /// Period of the bursts in which its traffic runs: at twice its rate for one half, at none for the other. In
    /// milliseconds; 0 if it is steady.
    #[serde(default)]
    pub burst_ms: u64,
    /// Whether its kernel empties what memory it frees, which then hardly crosses: 53 MiB of 96 did, 79 do otherwise.
    #[serde(default)]
    pub light: bool,
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
    /// A running, persistent guest of 128 MiB on host-a, with one card, in the LAN, and no traffic.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            host: Node::HostA,
            memory_mib: 128,
            nics: vec![Nic::default()],
            fill_mib: 0,
            freed_mib: 0,
            burst_ms: 0,
            light: false,
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

    /// Makes it send, over the card that it got last.
    pub fn send(self, rate: Rate) -> Self {
        self.last_nic(|nic| nic.send = rate)
    }

    /// Makes it receive, over the card that it got last.
    pub fn receive(self, rate: Rate) -> Self {
        self.last_nic(|nic| nic.receive = rate)
    }

    /// Puts the card that it got last into that network, instead of the LAN.
    pub fn on(self, network: Network) -> Self {
        self.last_nic(|nic| nic.network = network)
    }

    /// Gives it one more card, in that network.
    pub fn also_on(mut self, network: Network) -> Self {
        self.nics.push(Nic { network, ..Nic::default() });
        self
    }

    /// Makes that guest, instead of the peer, the other end of its traffic over the card that it got last.
    pub fn with(self, guest: &str) -> Self {
        self.last_nic(|nic| nic.other_end = Some(guest.to_owned()))
    }

    /// Rate of all its traffic to the peer.
    pub fn sends(&self) -> Rate {
        Rate(self.with_peer().map(|nic| nic.send.bits_per_second()).sum())
    }

    /// Rate of all its traffic from the peer.
    pub fn receives(&self) -> Rate {
        Rate(self.with_peer().map(|nic| nic.receive.bits_per_second()).sum())
    }

    fn with_peer(&self) -> impl Iterator<Item = &Nic> {
        self.nics.iter().filter(|nic| nic.other_end.is_none())
    }

    fn last_nic(mut self, change: impl FnOnce(&mut Nic)) -> Self {
        if let Some(nic) = self.nics.last_mut() {
            change(nic);
        }
        self
    }

    /// Fills that much of its memory, in MiB.
    pub fn fill_mib(mut self, fill: u64) -> Self {
        self.fill_mib = fill;
        self
    }

    /// Makes it use that much more memory, in MiB, and free it again.
    pub fn freed_mib(mut self, freed: u64) -> Self {
        self.freed_mib = freed;
        self
    }

    /// Makes its traffic run in bursts of that period.
    pub fn bursts(mut self, period: Duration) -> Self {
        self.burst_ms = period.as_millis() as u64;
        self
    }

    /// Lets less of its memory cross the wire.
    pub fn light(mut self) -> Self {
        self.light = true;
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
