//! What has changed of a host's ports between two looks at them.

use crate::profile::ports::Ports;
use crate::topology::{Binding, HostPorts, Port, RouteOrigin};

/// What has changed of a host's ports since they were looked at.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Migrations cross another port.
    Route { then: String, now: String },
    /// A port is not there any more, or has no carrier.
    Gone { port: String },
    /// A port carries more or less, in bits per second.
    Capacity { port: String, then: f64, now: f64 },
    /// What guests are plugged into leads elsewhere.
    Lead { plug: String, now: Binding },
}

impl Ports {
    /// What has changed since a plan was made with `then`.
    pub fn changes(&self, then: &HostPorts) -> Vec<Change> {
        let mut changes = Vec::new();
        let name = |port: &Port| port.name.clone();
        if (&self.migration_port.name, self.route) != (&then.migration_port.name, then.route) {
            changes.push(Change::Route { then: name(&then.migration_port), now: name(&self.migration_port) });
        }
        let now =
            |name: &str| [&self.migration_port].into_iter().chain(&self.other_ports).find(|port| port.name == name);
        let crossed = [&then.migration_port].into_iter().filter(|_| then.route != RouteOrigin::Assumed);
        // What nobody uses may change.
        let used = |port: &&Port| then.outlets.iter().any(|outlet| outlet.port == Binding::to(&port.name));
        for port in crossed.chain(then.other_ports.iter().filter(used)) {
            match now(&port.name) {
                None => changes.push(Change::Gone { port: name(port) }),
                Some(now) if now.bits_per_second != port.bits_per_second => changes.push(Change::Capacity {
                    port: name(port),
                    then: port.bits_per_second,
                    now: now.bits_per_second,
                }),
                Some(_) => {}
            }
        }
        for outlet in &then.outlets {
            let now = self.outlets.iter().find(|now| now.plug == outlet.plug);
            let now = now.map_or(Binding::Unknown, |now| now.port.clone());
            if now != outlet.port {
                let plug = outlet.plug.name().to_owned();
                changes.push(Change::Lead { plug, now });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::facts::NetDevice;
    use crate::libvirt::server_wiring;
    use crate::profile::ports::Told;

    #[test]
    fn a_port_that_went_down_and_a_bridge_that_vanished_are_changes() {
        let then = {
            let Ports { migration_port, route, other_ports, outlets, address, .. } =
                Ports::of(&server_wiring(), Some("ens5"), &Told::default());
            HostPorts { host: "host-a".to_owned(), migration_port, route, address, other_ports, outlets }
        };
        let changes = |change: fn(&mut Vec<NetDevice>), way| {
            let mut wiring = server_wiring();
            change(&mut wiring.devices);
            let changes = Ports::of(&wiring, Some(way), &Told::default()).changes(&then);
            changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(changes(|_| (), "ens5"), "");
        let down = |devices: &mut Vec<NetDevice>| {
            for device in devices.iter_mut().filter(|device| device.name == "eno2") {
                (device.up, device.bits_per_second) = (false, None);
            }
        };
        assert_eq!(changes(down, "ens5"), "bond0 carries 10 Gbit/s now, and not 20 Gbit/s");
        let gone = |devices: &mut Vec<NetDevice>| devices.retain(|device| device.name != "br42");
        assert_eq!(changes(gone, "ens5"), "br42 is not there any more");
        assert_eq!(changes(|_| (), "br0"), "migrations cross bond0 now, and not ens5");
    }
}
