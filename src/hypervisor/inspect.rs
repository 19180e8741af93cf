//! What a host is asked before anything moves. Each question changes nothing, and is answered within a time limit.

use virt::sys;

use super::HostError;
use super::libvirt::Host;
use super::nic_xml;
use crate::link::{Bond, NetDevice};

impl Host {
    /// The host's NICs, and the bonds that its libvirt knows; nothing where its libvirt has no drivers for them.
    ///
    /// # Errors
    /// The host did not answer.
    pub fn net_devices(&self) -> Result<(Vec<NetDevice>, Vec<Bond>), HostError> {
        let devices = self.line.ask_raw(|connection| {
            let devices = connection.list_all_node_devices(sys::VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET)?;
            // One that vanishes meanwhile is no NIC that carries anything.
            Ok(devices.iter().filter_map(|device| nic_xml::device(&device.xml_desc(0).ok()?)).collect())
        })?;
        // Many builds of libvirt come without the interface driver.
        let bonds = self.line.ask_raw(|connection| {
            let interfaces = connection.list_all_interfaces(sys::VIR_CONNECT_LIST_INTERFACES_ACTIVE)?;
            let xml = interfaces.iter().filter_map(|interface| interface.xml_desc(0).ok());
            Ok(xml.flat_map(|xml| nic_xml::bonds(&xml)).collect::<Vec<_>>())
        })?;
        Ok((devices.unwrap_or_default(), bonds.unwrap_or_default()))
    }
}
