//! The lab's network: one switch, one cable per node, and the hosts' cables shaped to a rate.
//!
//! All devices are made inside the nodes' namespaces. None is ever in the machine's own, so names
//! need not differ between labs.

use std::{fmt::Write, process::Command};

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::{
    lab::Lab,
    node::{Node, PREFIX},
    rate::Rate,
    run::{capture, feed},
};

/// A host's bridge: its own address is on it, and its uplink and its guests' cards are its ports.
pub(crate) const BRIDGE: &str = "br0";

/// Bytes that may pass at once through a shaped link, at the least. The kernel hands over up to
/// 64 KiB in one piece.
const MIN_BURST: u64 = 64 * 1024;

/// How long a packet may wait for its turn; one that would have to wait longer is dropped.
const LATENCY: &str = "50ms";

impl Lab {
    /// Builds the switch, connects all nodes to it and gives them their addresses.
    pub(crate) fn build_network(&self) -> Result<()> {
        let others = || Node::ALL.into_iter().filter(|&node| node != Node::Switch);
        let mut switch = format!("link add {BRIDGE} type bridge\nlink set {BRIDGE} up\n");
        for node in others() {
            let (holder, uplink) = (self.holder(node), node.uplink());
            writeln!(switch, "link add {node} type veth peer name {uplink} netns {holder}")?;
            writeln!(switch, "link set {node} master {BRIDGE} up")?;
        }
        self.ip(Node::Switch, &switch)?;
        for node in others() {
            self.ip(node, &node_commands(node)?)?;
        }
        Ok(())
    }

    /// Shapes a host's uplink to that rate, each way; may be changed at any time.
    pub fn set_rate(&self, host: Node, rate: Rate) -> Result<()> {
        // Each end limits what it transmits.
        for (node, device) in [(host, host.uplink()), (Node::Switch, host.name())] {
            let burst = MIN_BURST.max(rate.bytes_per_second() / 250);
            capture(in_network_of(self.holder(node), "tc").args([
                "qdisc",
                "replace",
                "dev",
                device,
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

fn node_commands(node: Node) -> Result<String> {
    let address = node.address().context("the node has no address")?;
    let uplink = node.uplink();
    let mut commands = String::from("link set lo up\n");
    if node.is_host() {
        // Left to itself a bridge takes the lowest address of its ports. That may be a tap's, and the tap of the same
        // guest on the other host has the same: the two hosts would not reach each other.
        let last = address.octets()[3];
        writeln!(commands, "link add {BRIDGE} address 02:00:0a:0a:00:{last:02x} type bridge")?;
        writeln!(commands, "link set {uplink} master {BRIDGE} up")?;
        writeln!(commands, "link set {BRIDGE} up")?;
        writeln!(commands, "addr add {address}/{PREFIX} dev {BRIDGE}")?;
    } else {
        writeln!(commands, "link set {uplink} up")?;
        writeln!(commands, "addr add {address}/{PREFIX} dev {uplink}")?;
    }
    Ok(commands)
}

/// The machine's own program, in the network namespace of a process.
fn in_network_of(pid: Pid, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg("--target").arg(pid.to_string()).args(["--net", "--", program]);
    command
}
