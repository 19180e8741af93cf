//! Builds the networks of a lab: switches, cables, and what each node has at its end.
//!
//! All devices are made inside the nodes' namespaces. None is ever in the machine's own, so names
//! need not differ between labs.

use std::{fmt::Write, net::Ipv4Addr, process::Command};

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::{
    lab::Lab,
    networks::{MigrationNetwork, Network, OUTSIDE, PREFIX, Wire},
    node::Node,
    rate::Rate,
    run::{capture, feed},
    spec::LabSpec,
};

/// Bytes that may pass at once through a shaped link, at the least. The kernel hands over up to
/// 64 KiB in one piece.
const MIN_BURST: u64 = 64 * 1024;

/// How long a packet may wait for its turn; one that would have to wait longer is dropped.
const LATENCY: &str = "50ms";

impl Lab {
    /// Builds the switches, connects all nodes to them, gives them their addresses, and shapes the hosts' cables.
    pub(crate) fn build_network(&self) -> Result<()> {
        let wires = self.spec().wires();
        let mut switch = String::new();
        for wire in &wires {
            let bridge = wire.switch;
            writeln!(switch, "link add {bridge} type bridge\nlink set {bridge} up")?;
            for node in wire.nodes(self.spec()) {
                let (holder, port, nic) = (self.holder(node), wire.port(node), wire.nic(node));
                writeln!(switch, "link add {port} type veth peer name {nic} netns {holder}")?;
                writeln!(switch, "link set {port} master {bridge} up")?;
            }
        }
        self.ip(Node::Switch, &switch)?;
        for node in self.spec().nodes().filter(|&node| node != Node::Switch) {
            self.ip(node, &node_commands(self.spec(), &wires, node)?)?;
        }
        for wire in &wires {
            self.hosts().iter().try_for_each(|&host| self.shape(host, wire, wire.rate))?;
        }
        Ok(())
    }

    /// Shapes a host's uplink to that rate, each way; may be changed at any time.
    pub fn set_rate(&self, host: Node, rate: Rate) -> Result<()> {
        self.shape(host, &self.spec().wires()[0], rate)
    }

    fn shape(&self, host: Node, wire: &Wire, rate: Rate) -> Result<()> {
        // Each end limits what it transmits.
        for (node, device) in [(host, wire.nic(host).to_owned()), (Node::Switch, wire.port(host))] {
            let burst = MIN_BURST.max(rate.bytes_per_second() / 250);
            capture(in_network_of(self.holder(node), "tc").args([
                "qdisc",
                "replace",
                "dev",
                &device,
                "root",
                "tbf",
                "rate",
                &format!("{}bit", rate.bits_per_second()),
                "burst",
                &burst.to_string(),
                "latency",
                LATENCY,
            ]))
            .with_context(|| format!("shaping {device} of {node}"))?;
        }
        Ok(())
    }

    /// Pulls a host's cable, or plugs it back in.
    pub fn set_link(&self, host: Node, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.ip(Node::Switch, &format!("link set {host} {state}\n"))
    }

    /// Runs `ip` commands in the network of a node.
    fn ip(&self, node: Node, commands: &str) -> Result<()> {
        let mut ip = in_network_of(self.holder(node), "ip");
        feed(ip.args(["-batch", "-"]), commands).with_context(|| format!("setting up the network of {node}"))?;
        Ok(())
    }
}

fn node_commands(lab: &LabSpec, wires: &[Wire], node: Node) -> Result<String> {
    let mut commands = String::from("link set lo up\n");
    for wire in wires.iter().filter(|wire| wire.nodes(lab).any(|other| other == node)) {
        let address = address_of(node, wire.network)?;
        let nic = wire.nic(node);
        let bridge = lab.bridge(wire.network).filter(|_| node.is_host());
        if let Some(bridge) = bridge {
            // Left to itself a bridge takes the lowest address of its ports. That may be a tap's, and the tap of the
            // same guest on another host has the same: the hosts would not reach each other.
            writeln!(commands, "link add {bridge} address {} type bridge", mac(address))?;
            writeln!(commands, "link set {nic} master {bridge} up")?;
        }
        let device = bridge.unwrap_or(nic);
        writeln!(commands, "link set {device} up\naddr add {address}/{PREFIX} dev {device}")?;
    }
    if lab.migration == Some(MigrationNetwork::LanWire) {
        add_to_lan_wire(&mut commands, node)?;
    }
    if lab.inner_networks {
        let peer = address_of(Node::Peer, Network::Lan)?;
        match node {
            Node::Peer => writeln!(commands, "addr add {OUTSIDE}/32 dev eth0")?,
            host if host.is_host() => writeln!(commands, "route add default via {peer}")?,
            _ => {}
        }
    }
    Ok(commands)
}

/// A device can be in a bridge or have macvlans, not both, and no guest is reached behind a macvlan. So they are on the
/// bridge.
fn add_to_lan_wire(commands: &mut String, node: Node) -> Result<()> {
    let address = address_of(node, Network::Migration)?;
    match node {
        Node::Peer => writeln!(commands, "addr add {address}/{PREFIX} dev eth0")?,
        host if host.is_host() => {
            let mac = mac(address);
            writeln!(commands, "link add link br0 name migration address {mac} type macvlan mode bridge")?;
            writeln!(commands, "link set migration up\naddr add {address}/{PREFIX} dev migration")?;
        }
        _ => {}
    }
    Ok(())
}

fn address_of(node: Node, network: Network) -> Result<Ipv4Addr> {
    node.address_in(network).with_context(|| format!("{node} has no address"))
}

/// A MAC address that no other device of the lab has.
fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The machine's own program, in the network namespace of a process.
fn in_network_of(pid: Pid, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg("--target").arg(pid.to_string()).args(["--net", "--", program]);
    command
}
