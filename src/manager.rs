//! The managers that own domains of a libvirt: how each shows, and its own way to move a guest. A new one is a variant and
//! its row in [`MANAGERS`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Software that decides where its domains run, and that does not learn of a migration by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is what it is called")]
pub enum Manager {
    OpenstackNova,
    Ovirt,
    Kubevirt,
    Opennebula,
    Cloudstack,
    Zstack,
    Pacemaker,
}

/// What a domain's XML has of its manager.
pub(crate) enum Mark {
    /// An element of `<metadata>` in a namespace that begins so: its version follows.
    Namespace(&'static str),
    /// The product that the guest sees by SMBIOS.
    Product(&'static str),
    /// Nothing.
    None,
}

pub(crate) struct Row {
    pub(crate) manager: Manager,
    /// As people call it.
    pub(crate) name: &'static str,
    pub(crate) mark: Mark,
    /// What follows "move it by"; `{name}` and `{uuid}` are the domain's, of Pacemaker the resource's.
    way: &'static str,
}

const MANAGERS: [Row; 7] = [
    Row {
        manager: Manager::OpenstackNova,
        name: "OpenStack Nova",
        // NOVA_NS in nova/virt/libvirt/config.py: 1.0, later 1.1. The UUID of the domain is that of the server.
        mark: Mark::Namespace("http://openstack.org/xmlns/libvirt/nova/"),
        way: "`openstack server migrate --live-migration {uuid}`",
    },
    Row {
        manager: Manager::Ovirt,
        name: "oVirt (RHV)",
        // OVIRT_VM_URI and OVIRT_TUNE_URI in the engine's LibvirtVmXmlBuilder: vm/1.0 and vm/tune/1.0.
        mark: Mark::Namespace("http://ovirt.org/vm/"),
        way: "the maintenance mode of its host (Compute, Hosts, Management, Maintenance)",
    },
    Row {
        manager: Manager::Kubevirt,
        name: "KubeVirt (Harvester)",
        // KubeVirtMetadata in pkg/virt-launcher/virtwrap/api/schema.go.
        mark: Mark::Namespace("http://kubevirt.io"),
        way: "`virtctl migrate VM --namespace NAMESPACE` ({name} is NAMESPACE_VM)",
    },
    Row {
        manager: Manager::Opennebula,
        name: "OpenNebula",
        // Written in src/vmm/LibVirtDriverKVM.cc.
        mark: Mark::Namespace("http://opennebula.org/xmlns/libvirt/"),
        way: "`onevm migrate --live ID HOST` (ID is the number in {name})",
    },
    Row {
        manager: Manager::Cloudstack,
        name: "CloudStack",
        // It writes no metadata. Its agent's LibvirtVMDef gives every guest this product.
        mark: Mark::Product("CloudStack KVM Hypervisor"),
        way: "`cmk prepare hostformaintenance id=HOST`",
    },
    Row {
        manager: Manager::Zstack,
        name: "ZStack",
        // ZS_XML_NAMESPACE in kvmagent/plugins/vm_plugin.py.
        mark: Mark::Namespace("http://zstack.org"),
        way: "`zstack-cli ChangeHostState uuid=HOST stateEvent=maintain`",
    },
    Row {
        manager: Manager::Pacemaker,
        name: "Pacemaker",
        // Its agent VirtualDomain names a domain, and leaves no mark in it.
        mark: Mark::None,
        way: "`crm_resource --move --resource {name}`",
    },
];

impl Manager {
    /// Whose mark an XML has, by a question that tells whether it has one.
    pub(crate) fn by(has: impl Fn(&Mark) -> bool) -> Option<Self> {
        MANAGERS.iter().find(|row| has(&row.mark)).map(|row| row.manager)
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    /// Its own way to move what is called so, as it follows "by".
    pub(crate) fn way(self, name: &str, uuid: &str) -> String {
        self.row().way.replace("{name}", name).replace("{uuid}", uuid)
    }

    fn row(self) -> &'static Row {
        &MANAGERS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_row() {
        assert!(MANAGERS.iter().all(|row| row.manager.row().name == row.name));
    }
}
