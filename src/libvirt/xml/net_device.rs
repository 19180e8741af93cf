//! What libvirt's XML of node devices and host interfaces says of a host's network devices.

use roxmltree::{Document, Node};

use super::{child, children, text};
use crate::libvirt::facts::{DeviceKind, NetDevice};

/// Reads the XML of a node device with the capability `net`; `None` for any other.
pub(crate) fn device(xml: &str) -> Option<NetDevice> {
    let document = Document::parse(xml).ok()?;
    let device = document.root_element();
    let net = device.children().find(|n| n.has_tag_name("capability") && n.attribute("type") == Some("net"))?;
    let path = text(device, "path").unwrap_or_default();
    let link = child(net, "link");
    let physical = !path.is_empty() && !path.starts_with("/sys/devices/virtual/");
    Some(NetDevice {
        name: text(net, "interface")?,
        address: text(net, "address").unwrap_or_default(),
        bits_per_second: link.and_then(speed),
        up: link.is_some_and(is_up),
        physical,
        kind: if physical { DeviceKind::Nic } else { DeviceKind::Other },
        ..NetDevice::default()
    })
}

/// The devices in the XML of a host interface: itself, and what is below it.
pub(crate) fn interfaces(xml: &str) -> Vec<NetDevice> {
    let Ok(document) = Document::parse(xml) else { return Vec::new() };
    let nodes = document.descendants().filter(|n| n.has_tag_name("interface"));
    nodes.filter_map(interface).collect()
}

fn interface(interface: Node<'_, '_>) -> Option<NetDevice> {
    let name = |node: Node<'_, '_>| node.attribute("name").map(str::to_owned);
    let kind = interface.attribute("type")?;
    let inside = interface.children().find(|inside| inside.has_tag_name(kind));
    let members = inside.into_iter().flat_map(|inside| children(inside, "interface")).filter_map(name).collect();
    let link = child(interface, "link");
    let of_bond = |name: &str| inside.and_then(|bond| bond.attribute(name)).map(str::to_owned);
    let kind = match kind {
        "bridge" => DeviceKind::Bridge,
        // libvirt does not tell the hash.
        "bond" => DeviceKind::Bond { mode: of_bond("mode"), hash: None },
        "vlan" => DeviceKind::Stacked,
        // libvirt names the guests' taps so.
        _ if name(interface)?.starts_with("vnet") => DeviceKind::Tap,
        // A member of something is a NIC, whatever is behind it; one alone may be anything: a bridge of Open vSwitch looks so.
        _ if interface.parent().is_some_and(|parent| parent.is_element()) => DeviceKind::Nic,
        _ => DeviceKind::Other,
    };
    let is_made = matches!(kind, DeviceKind::Bridge | DeviceKind::Bond { .. } | DeviceKind::Stacked);
    Some(NetDevice {
        name: name(interface)?,
        address: child(interface, "mac").and_then(|mac| mac.attribute("address")).unwrap_or_default().to_owned(),
        bits_per_second: link.and_then(speed),
        // Of what is made of others libvirt tells no carrier.
        up: link.map_or(is_made, is_up),
        kind,
        below: members,
        mtu: child(interface, "mtu").and_then(|mtu| mtu.attribute("size")?.parse().ok()),
        ..NetDevice::default()
    })
}

/// In bits per second. Libvirt has it in Mbit/s; without a carrier some drivers give -1, which it hands on as 4294967295.
fn speed(link: Node<'_, '_>) -> Option<f64> {
    let speed = link.attribute("speed")?.parse::<u32>().ok();
    speed.filter(|speed| *speed > 0 && *speed < u32::MAX).map(|speed| f64::from(speed) * 1e6)
}

fn is_up(link: Node<'_, '_>) -> bool {
    link.attribute("state") == Some("up")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libvirt 9.0 prints a server's NIC.
    const PHYSICAL: &str = "<device>
      <name>net_eno1_ac_1f_6b_00_00_01</name>
      <path>/sys/devices/pci0000:00/0000:00:1c.0/0000:02:00.0/net/eno1</path>
      <parent>pci_0000_02_00_0</parent>
      <capability type='net'>
        <interface>eno1</interface>
        <address>ac:1f:6b:00:00:01</address>
        <link speed='1000' state='up'/>
        <feature name='rx'/>
        <capability type='80203'/>
      </capability>
    </device>";

    /// As libvirt 11.3 prints one end of a veth pair.
    const VIRTUAL: &str = "<device>
      <name>net_uplink_52_00_de_d9_b5_52</name>
      <path>/sys/devices/virtual/net/uplink</path>
      <parent>computer</parent>
      <capability type='net'>
        <interface>uplink</interface>
        <address>52:00:de:d9:b5:52</address>
        <link speed='10000' state='up'/>
        <capability type='80203'/>
      </capability>
    </device>";

    #[test]
    fn a_physical_nic_has_its_speed() {
        let nic = device(PHYSICAL).expect("a NIC");
        assert_eq!((nic.name.as_str(), nic.bits_per_second, nic.up, nic.physical), ("eno1", Some(1e9), true, true));
    }

    #[test]
    fn a_virtual_one_is_told_apart() {
        assert_eq!(device(VIRTUAL).map(|nic| nic.physical), Some(false));
    }

    #[test]
    fn without_a_carrier_there_is_no_speed() {
        for link in ["<link state='down'/>", "<link speed='4294967295' state='down'/>", "<link speed='0' state='up'/>"]
        {
            let xml = PHYSICAL.replace("<link speed='1000' state='up'/>", link);
            assert_eq!(device(&xml).and_then(|nic| nic.bits_per_second), None, "{link}");
        }
        assert_eq!(device("<device><capability type='pci'/></device>"), None);
    }

    #[test]
    fn a_bridge_tells_what_is_below_it() {
        let xml = "<interface type='bridge' name='br0'>
          <bridge>
            <interface type='bond' name='bond0'>
              <bond mode='active-backup'>
                <miimon freq='100'/>
                <interface type='ethernet' name='eno1'><link speed='1000' state='up'/></interface>
                <interface type='ethernet' name='eno2'/>
              </bond>
            </interface>
          </bridge>
        </interface>";
        let found = interfaces(xml);
        let kinds: Vec<_> = found.iter().map(|device| (&*device.name, &device.kind, device.below.join(" "))).collect();
        let bond = DeviceKind::Bond { mode: Some("active-backup".to_owned()), hash: None };
        let expected = [
            ("br0", &DeviceKind::Bridge, "bond0".to_owned()),
            ("bond0", &bond, "eno1 eno2".to_owned()),
            ("eno1", &DeviceKind::Nic, String::new()),
            ("eno2", &DeviceKind::Nic, String::new()),
        ];
        assert_eq!(kinds, expected);
        assert_eq!((found[2].bits_per_second, found[3].up), (Some(1e9), false));
        assert!(found[0].up && found[1].up);
        assert_eq!(interfaces("<interface type='ethernet' name='ovsbr0'/>")[0].kind, DeviceKind::Other);
    }

    #[test]
    fn a_vlan_is_on_its_parent() {
        let xml = "<interface type='vlan' name='bond0.42'><vlan tag='42'><interface name='bond0'/></vlan></interface>";
        let found = interfaces(xml);
        assert_eq!((&found[0].kind, &*found[0].below[0]), (&DeviceKind::Stacked, "bond0"));
        assert_eq!(found.len(), 1, "what has no type is described elsewhere");
    }
}
