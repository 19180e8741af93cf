//! What the XML of a libvirt network says of where its ports lead.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::{Document, Node};

use super::{child, children};

/// Where the ports of a libvirt network lead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Its forward mode; `isolated` if it has none.
    pub mode: String,
    /// Its bridge: the host's, or one that libvirt makes.
    pub bridge: Option<String>,
    /// The first of the devices that its ports are on, by macvtap.
    pub device: Option<String>,
    pub port: Port,
    /// Groups of ports, by their names.
    pub groups: BTreeMap<String, Port>,
    /// The group of ports that name none.
    pub default_group: Option<String>,
}

/// What a port is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Port {
    /// VLAN tags.
    pub vlan: BTreeSet<u16>,
    /// The type of its virtual port: `openvswitch`...
    pub kind: Option<String>,
}

impl Reach {
    /// Reads the XML of a network; `None` if it can't be read.
    pub(crate) fn read(xml: &str) -> Option<Self> {
        let document = Document::parse(xml).ok()?;
        let network = document.root_element();
        let forward = child(network, "forward");
        let of = |node: Option<Node<'_, '_>>, name| node.and_then(|node| node.attribute(name)).map(str::to_owned);
        let groups = || children(network, "portgroup").filter_map(|group| Some((group.attribute("name")?, group)));
        let default = groups().find(|(_, group)| group.attribute("default") == Some("yes"));
        Some(Self {
            mode: match forward {
                // Without a mode it is NAT.
                Some(forward) => forward.attribute("mode").unwrap_or("nat").to_owned(),
                None => "isolated".to_owned(),
            },
            bridge: of(child(network, "bridge"), "name"),
            device: of(forward.and_then(|forward| child(forward, "interface")), "dev"),
            port: port(network),
            groups: groups().map(|(name, group)| (name.to_owned(), port(group))).collect(),
            default_group: default.map(|(name, _)| name.to_owned()),
        })
    }

    /// Whether its ports are on a network of the host's, rather than on one that libvirt makes.
    pub fn is_bridged(&self) -> bool {
        matches!(self.mode.as_str(), "bridge" | "private" | "vepa" | "passthrough" | "hostdev")
    }

    /// A port of the group, or of none; `None` if there is no such group.
    pub fn port_of(&self, group: Option<&str>) -> Option<Port> {
        let Some(name) = group.or(self.default_group.as_deref()) else { return Some(self.port.clone()) };
        let of_group = self.groups.get(name)?;
        let vlan = if of_group.vlan.is_empty() { &self.port.vlan } else { &of_group.vlan };
        Some(Port { vlan: vlan.clone(), kind: of_group.kind.clone().or_else(|| self.port.kind.clone()) })
    }
}

fn port(node: Node<'_, '_>) -> Port {
    let tags = child(node, "vlan").into_iter().flat_map(|vlan| children(vlan, "tag"));
    Port {
        vlan: tags.filter_map(|tag| tag.attribute("id")?.parse().ok()).collect(),
        kind: child(node, "virtualport").and_then(|port| port.attribute("type")).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_of_its_group_or_of_the_default_one() {
        let xml = "<network><name>lan</name><forward mode='bridge'/><bridge name='ovs0'/>
            <virtualport type='openvswitch'/>
            <portgroup name='a' default='yes'><vlan><tag id='7'/></vlan></portgroup><portgroup name='b'/></network>";
        let reach = Reach::read(xml).unwrap();
        let port = |tags: &[u16]| Port { vlan: tags.iter().copied().collect(), kind: Some("openvswitch".to_owned()) };
        assert_eq!((reach.mode.as_str(), reach.bridge.as_deref()), ("bridge", Some("ovs0")));
        assert_eq!(reach.port_of(None), Some(port(&[7])));
        assert_eq!(reach.port_of(Some("b")), Some(port(&[])));
        assert_eq!(reach.port_of(Some("c")), None);
        assert!(reach.is_bridged());
    }

    #[test]
    fn without_forwarding_a_network_is_isolated() {
        let mode = |forward: &str| Reach::read(&format!("<network>{forward}</network>")).unwrap().mode;
        assert_eq!(mode(""), "isolated");
        assert_eq!(mode("<forward/>"), "nat");
        assert_eq!(mode("<forward mode='open'/>"), "open");
        let reach = Reach::read("<network><forward mode='bridge'><interface dev='eno1'/></forward></network>").unwrap();
        assert_eq!(reach.device.as_deref(), Some("eno1"));
    }
}
