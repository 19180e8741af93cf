//! What libvirt's XML of node devices and host interfaces says of a host's NICs.

use roxmltree::{Document, Node};

use super::{child, text};
use crate::libvirt::facts::{Bond, NetDevice};

/// Reads the XML of a node device with the capability `net`; `None` for any other.
pub(crate) fn device(xml: &str) -> Option<NetDevice> {
    let document = Document::parse(xml).ok()?;
    let device = document.root_element();
    let net = device.children().find(|n| n.has_tag_name("capability") && n.attribute("type") == Some("net"))?;
    let link = child(net, "link");
    // In Mbit/s. Without a carrier some drivers give -1, which libvirt hands on as 4294967295.
    let speed = link.and_then(|l| l.attribute("speed")?.parse::<u32>().ok()).filter(|s| *s > 0 && *s < u32::MAX);
    let path = text(device, "path").unwrap_or_default();
    Some(NetDevice {
        name: text(net, "interface")?,
        address: text(net, "address").unwrap_or_default(),
        bits_per_second: speed.map(|speed| f64::from(speed) * 1e6),
        up: link.is_some_and(|l| l.attribute("state") == Some("up")),
        physical: !path.is_empty() && !path.starts_with("/sys/devices/virtual/"),
    })
}

/// Reads the bonds in the XML of a host interface: itself, or what is below its bridge or VLAN.
pub(crate) fn bonds(xml: &str) -> Vec<Bond> {
    let Ok(document) = Document::parse(xml) else { return Vec::new() };
    let bonds = document.descendants().filter(|n| n.has_tag_name("interface") && n.attribute("type") == Some("bond"));
    let bond = |interface: Node<'_, '_>| {
        let bond = child(interface, "bond")?;
        let members = bond.children().filter(|n| n.has_tag_name("interface"));
        Some(Bond {
            name: interface.attribute("name")?.to_owned(),
            mode: bond.attribute("mode").map(str::to_owned),
            members: members.filter_map(|member| member.attribute("name").map(str::to_owned)).collect(),
        })
    };
    bonds.filter_map(bond).collect()
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
    fn a_bond_is_found_below_its_bridge() {
        let xml = "<interface type='bridge' name='br0'>
          <bridge>
            <interface type='bond' name='bond0'>
              <bond mode='active-backup'>
                <miimon freq='100'/>
                <interface type='ethernet' name='eno1'/>
                <interface type='ethernet' name='eno2'/>
              </bond>
            </interface>
          </bridge>
        </interface>";
        let members = vec!["eno1".to_owned(), "eno2".to_owned()];
        let bond = Bond { name: "bond0".to_owned(), mode: Some("active-backup".to_owned()), members };
        assert_eq!(bonds(xml), [bond]);
        assert_eq!(bonds("<interface type='ethernet' name='eno1'/>"), []);
    }
}
