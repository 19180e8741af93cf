//! What a domain's XML says: its hardware, as the one reader of it tells everybody.

use roxmltree::{Document, Node};

use super::likeness::{likeness, shape};
use super::names::{Named, Part, Thing, listens, names};
use super::{child, children, page_bytes, text};
use crate::manager::{Manager, Mark};

/// A domain's hardware, and what of its host is behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hardware {
    pub machine: Machine,
    /// Whose domain it is, if it has the mark of a manager.
    pub manager: Option<Manager>,
    /// The same text for domains that look alike to QEMU, but for the machine.
    pub likeness: String,
    /// The same text for domains of which a libvirt could make a guest alike.
    pub shape: String,
    /// Its processor, if the host's must be able to show it.
    pub processor: Option<Processor>,
    /// What of its host its definition names.
    pub names: Vec<Named>,
    /// Files, other than disks, that keep something of the guest while it does not run, each with what it is: `NVRAM`.
    pub kept: Vec<(&'static str, String)>,
    pub tpm: bool,
    pub nics: Vec<GuestNic>,
    /// The addresses and ports that it listens on.
    pub listens: Vec<(String, u16)>,
    pub backing: Backing,
    /// Whether its memory is shared with other processes: the kernel counts it among the caches, and can't free it.
    pub shared_memory: bool,
    /// Whether its memory is in a file: it passes every check of libvirt and QEMU for post-copy, and then dies at the
    /// switch-over.
    pub memory_in_file: bool,
    /// How many devices of the host are assigned to it, those aside that are unplugged for a migration.
    pub assigned_devices: usize,
}

/// A kind of machine, as libvirt's domain capabilities distinguish them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    pub emulator: String,
    pub arch: String,
    pub name: String,
    /// `kvm`, `qemu`...
    pub kind: String,
}

/// A processor that a guest was shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Processor {
    /// A model with features: the XML of the element.
    Model(String),
    /// The source's own, as it is.
    Host,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestNic {
    /// Its MAC address in lower case.
    pub mac: String,
    /// The host's name for it, while the guest runs.
    pub device: Option<String>,
    /// What it is plugged into, unless that is something that is not looked at.
    pub plug: Option<Thing>,
    /// Its own VLAN tags, which beat those of its network.
    pub tagged: bool,
    /// Such as `virtio`; empty if the definition names none.
    pub model: String,
}

/// How a domain's memory is taken from the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backing {
    /// Page by page, as the guest touches them.
    #[default]
    Lazy,
    Whole,
    /// All at once, from huge pages of this size in bytes; `None`: of the host's default size.
    Huge(Option<u64>),
}

impl Hardware {
    /// Reads the XML of a domain; one that can't be read has nothing, and is left to libvirt.
    pub fn read(xml: &str) -> Self {
        let Ok(document) = Document::parse(xml) else { return Self::default() };
        let domain = document.root_element();
        let Some(devices) = child(domain, "devices") else { return Self::default() };
        let memory = child(domain, "memoryBacking");
        let nics: Vec<_> = children(devices, "interface").filter_map(nic).collect();
        let plugs = nics.iter().filter_map(|nic| {
            Some(Named { thing: nic.plug.clone()?, part: Part::Nic { mac: nic.mac.clone(), tagged: nic.tagged } })
        });
        Self {
            machine: machine(domain, devices),
            manager: Manager::by(|mark| has_mark(domain, mark)),
            likeness: likeness(domain, devices),
            shape: shape(domain),
            processor: child(domain, "cpu").and_then(|cpu| processor(cpu, xml)),
            names: names(domain, devices).into_iter().chain(plugs).collect(),
            kept: kept_files(domain, devices),
            tpm: child(devices, "tpm").is_some(),
            nics,
            listens: listens(devices),
            backing: memory.map(backing).unwrap_or_default(),
            shared_memory: shares_memory(domain, memory),
            memory_in_file: memory.and_then(|memory| child(memory, "source")?.attribute("type")) == Some("file"),
            assigned_devices: assigned_devices(devices),
        }
    }
}

fn machine(domain: Node<'_, '_>, devices: Node<'_, '_>) -> Machine {
    let os = child(domain, "os").and_then(|os| child(os, "type"));
    let of_os = |name| os.and_then(|os| os.attribute(name)).unwrap_or_default().to_owned();
    Machine {
        emulator: text(devices, "emulator").unwrap_or_default(),
        arch: of_os("arch"),
        name: of_os("machine"),
        kind: domain.attribute("type").unwrap_or_default().to_owned(),
    }
}

fn has_mark(domain: Node<'_, '_>, mark: &Mark) -> bool {
    match mark {
        Mark::Namespace(begin) => child(domain, "metadata").is_some_and(|metadata| {
            metadata.children().any(|owned| owned.tag_name().namespace().is_some_and(|uri| uri.starts_with(begin)))
        }),
        Mark::Product(product) => children(domain, "sysinfo")
            .filter_map(|info| child(info, "system"))
            .flat_map(|system| children(system, "entry"))
            .any(|entry| entry.attribute("name") == Some("product") && entry.text() == Some(product)),
        Mark::None => false,
    }
}

fn processor(cpu: Node<'_, '_>, xml: &str) -> Option<Processor> {
    match cpu.attribute("mode") {
        // libvirt does not compare the hosts then, and a guest that misses a feature may crash.
        Some("host-passthrough" | "maximum") => Some(Processor::Host),
        _ if cpu.attribute("check") == Some("none") => None,
        // A guest that runs has had its host-model replaced by the model that it got.
        Some("custom") => Some(Processor::Model(xml.get(cpu.range())?.to_owned())),
        _ => None,
    }
}

fn kept_files(domain: Node<'_, '_>, devices: Node<'_, '_>) -> Vec<(&'static str, String)> {
    let os = child(domain, "os");
    let of_os = |name| os.and_then(|os| child(os, name));
    let attribute = |node: Node<'_, '_>, name| node.attribute(name).map(str::to_owned);
    // The path as text or, with a type, as a source; a source on the network is the same for both hosts.
    let nvram = of_os("nvram").and_then(|nvram| match child(nvram, "source") {
        Some(source) => attribute(source, "file").or_else(|| attribute(source, "dev")),
        None => nvram.text().map(|path| path.trim().to_owned()),
    });
    let variables = of_os("varstore").and_then(|store| attribute(store, "path"));
    let crash_log = child(devices, "pstore").and_then(|store| text(store, "path"));
    let memory = children(devices, "memory").filter_map(|memory| text(child(memory, "source")?, "path"));
    let one = |what, path: Option<String>| path.map(|path| (what, path));
    let single = [one("NVRAM", nvram), one("NVRAM", variables), one("pstore", crash_log)].into_iter().flatten();
    single.chain(memory.map(|path| ("NVDIMM", path))).filter(|(_, path)| path.starts_with('/')).collect()
}

fn nic(interface: Node<'_, '_>) -> Option<GuestNic> {
    let source = child(interface, "source");
    let of_source = |name| source.and_then(|s| s.attribute(name)).map(str::to_owned);
    let plug = match interface.attribute("type")? {
        // Of a guest that runs, libvirt gives the type of what the network led to, and the network beside it.
        _ if of_source("network").is_some() => {
            of_source("network").map(|name| Thing::Network { name, portgroup: of_source("portgroup") })
        }
        "bridge" => of_source("bridge").map(|name| {
            let virtual_port = child(interface, "virtualport").and_then(|port| port.attribute("type"));
            Thing::Bridge { name, of_kernel: virtual_port != Some("openvswitch") }
        }),
        "direct" => of_source("dev").map(Thing::Device),
        _ => None,
    };
    let mac = child(interface, "mac").and_then(|mac| mac.attribute("address")).unwrap_or_default().to_lowercase();
    let device = child(interface, "target").and_then(|target| target.attribute("dev")).map(str::to_owned);
    let model = child(interface, "model").and_then(|model| model.attribute("type")).unwrap_or_default().to_owned();
    Some(GuestNic { mac, device, plug, tagged: child(interface, "vlan").is_some(), model })
}

fn backing(backing: Node<'_, '_>) -> Backing {
    if let Some(huge) = child(backing, "hugepages") {
        return Backing::Huge(child(huge, "page").and_then(page_bytes));
    }
    let immediate = child(backing, "allocation").is_some_and(|a| a.attribute("mode") == Some("immediate"));
    if immediate || child(backing, "locked").is_some() { Backing::Whole } else { Backing::Lazy }
}

fn shares_memory(domain: Node<'_, '_>, backing: Option<Node<'_, '_>>) -> bool {
    let access = backing.and_then(|backing| child(backing, "access"));
    let cells = child(domain, "cpu").and_then(|cpu| child(cpu, "numa"));
    access.is_some_and(|access| access.attribute("mode") == Some("shared"))
        || cells.is_some_and(|numa| children(numa, "cell").any(|cell| cell.attribute("memAccess") == Some("shared")))
}

fn assigned_devices(devices: Node<'_, '_>) -> usize {
    let nics = children(devices, "interface").filter(|nic| nic.attribute("type") == Some("hostdev"));
    let assigned = children(devices, "hostdev").chain(nics);
    // A teamed device is unplugged for the migration and its virtio partner carries on.
    assigned.filter(|device| child(*device, "teaming").and_then(|t| t.attribute("type")) != Some("transient")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware(above: &str, devices: &str) -> Hardware {
        Hardware::read(&format!("<domain type='kvm'>{above}<devices>{devices}</devices></domain>"))
    }

    #[test]
    fn the_machine_is_read() {
        let hardware = hardware(
            "<os><type arch='x86_64' machine='pc-q35-9.2'>hvm</type><loader readonly='yes'>/usr/share/ovmf.fd</loader></os>",
            "<emulator>/usr/bin/qemu-system-x86_64</emulator>",
        );
        let machine = Machine {
            emulator: "/usr/bin/qemu-system-x86_64".to_owned(),
            arch: "x86_64".to_owned(),
            name: "pc-q35-9.2".to_owned(),
            kind: "kvm".to_owned(),
        };
        assert_eq!(hardware.machine, machine);
    }

    #[test]
    fn the_mark_of_a_manager_is_read() {
        let manager = |above: &str| hardware(above, "").manager;
        let metadata = |element: &str| manager(&format!("<metadata>{element}</metadata>"));
        let nova = |version: &str| {
            metadata(&format!(
                "<n:instance xmlns:n='http://openstack.org/xmlns/libvirt/nova/{version}'><n:name>a</n:name></n:instance>"
            ))
        };
        assert_eq!([nova("1.0"), nova("1.1")], [Some(Manager::OpenstackNova); 2]);
        assert_eq!(metadata("<ovirt-vm:vm xmlns:ovirt-vm='http://ovirt.org/vm/1.0'/>"), Some(Manager::Ovirt));
        assert_eq!(metadata("<ovirt-tune:qos xmlns:ovirt-tune='http://ovirt.org/vm/tune/1.0'/>"), Some(Manager::Ovirt));
        assert_eq!(metadata("<kubevirt xmlns='http://kubevirt.io'><uid/></kubevirt>"), Some(Manager::Kubevirt));
        assert_eq!(
            metadata("<one:vm xmlns:one='http://opennebula.org/xmlns/libvirt/1.0'/>"),
            Some(Manager::Opennebula)
        );
        assert_eq!(metadata("<zs:zstack xmlns:zs='http://zstack.org'/>"), Some(Manager::Zstack));
        let product = |name: &str| {
            manager(&format!("<sysinfo type='smbios'><system><entry name='product'>{name}</entry></system></sysinfo>"))
        };
        assert_eq!(product("CloudStack KVM Hypervisor"), Some(Manager::Cloudstack));
        assert_eq!(product("My own machine"), None);
        // What many tools write, none of which moves domains.
        assert_eq!(metadata("<l:libosinfo xmlns:l='http://libosinfo.org/xmlns/libvirt/domain/1.0'/>"), None);
        assert_eq!(manager(""), None);
    }

    #[test]
    fn what_keeps_something_of_the_guest_is_read() {
        let kept = |os: &str, devices: &str| hardware(&format!("<os>{os}</os>"), devices).kept;
        let file = |what, path: &str| (what, path.to_owned());
        assert_eq!(kept("<nvram template='/t.fd'>/n.fd</nvram>", ""), [file("NVRAM", "/n.fd")]);
        assert_eq!(kept("<nvram type='file'><source file='/n.fd'/></nvram>", ""), [file("NVRAM", "/n.fd")]);
        assert_eq!(kept("<nvram type='block'><source dev='/dev/n'/></nvram>", ""), [file("NVRAM", "/dev/n")]);
        assert_eq!(kept("<nvram type='network'><source protocol='nbd' name='n'/></nvram>", ""), []);
        assert_eq!(kept("<varstore template='/t.json' path='/v.json'/>", ""), [file("NVRAM", "/v.json")]);
        assert_eq!(
            kept(
                "",
                "<pstore backend='acpi-erst'><path>/p.raw</path></pstore>
                 <memory model='nvdimm'><source><path>/m</path></source></memory>
                 <memory model='dimm'><source><pagesize>2048</pagesize></source></memory>"
            ),
            [file("pstore", "/p.raw"), file("NVDIMM", "/m")]
        );
        assert!(hardware("", "<tpm model='tpm-crb'><backend type='emulator'/></tpm>").tpm && !hardware("", "").tpm);
    }

    #[test]
    fn nics_are_plugged_into_bridges_networks_and_devices() {
        let hardware = hardware(
            "",
            "<interface type='bridge'><mac address='52:54:00:AA:00:01'/><source bridge='br0'/></interface>
             <interface type='bridge'><source bridge='ovs'/><virtualport type='openvswitch'/></interface>
             <interface type='network'><source network='lan'/></interface>
             <interface type='bridge'><source network='lan' portid='1' bridge='virbr0'/></interface>
             <interface type='direct'><source dev='eno1' mode='bridge'/></interface>
             <interface type='user'/>",
        );
        assert_eq!(hardware.nics[0].mac, "52:54:00:aa:00:01");
        let plugs: Vec<_> = hardware.nics.into_iter().map(|nic| nic.plug).collect();
        let bridge = |name: &str, of_kernel| Some(Thing::Bridge { name: name.to_owned(), of_kernel });
        let network = || Some(Thing::Network { name: "lan".to_owned(), portgroup: None });
        let device = Some(Thing::Device("eno1".to_owned()));
        assert_eq!(plugs, [bridge("br0", true), bridge("ovs", false), network(), network(), device, None]);
    }

    #[test]
    fn a_processor_is_a_model_or_the_source_s_own() {
        let processor = |cpu: &str| hardware(cpu, "").processor;
        let model = "<cpu mode='custom' match='exact' check='full'><model>qemu64</model></cpu>";
        assert_eq!(processor(model), Some(Processor::Model(model.to_owned())));
        assert_eq!(processor(&model.replace("full", "none")), None);
        assert_eq!(processor("<cpu mode='host-passthrough' check='none' migratable='on'/>"), Some(Processor::Host));
        assert_eq!(processor(""), None);
    }

    #[test]
    fn memory_is_taken_lazily_wholly_or_from_huge_pages() {
        let backing = |inside: &str| hardware(&format!("<memoryBacking>{inside}</memoryBacking>"), "").backing;
        assert_eq!(backing("<source type='memfd'/>"), Backing::Lazy);
        assert_eq!(backing("<locked/>"), Backing::Whole);
        assert_eq!(backing("<allocation mode='immediate'/>"), Backing::Whole);
        let shares = |xml: &str| hardware(xml, "").shared_memory;
        assert!(shares("<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"));
        assert!(shares("<cpu><numa><cell id='0' memAccess='shared'/></numa></cpu>"));
        assert!(!shares("<memoryBacking><source type='memfd'/><access mode='private'/></memoryBacking>"));
        assert_eq!(backing("<hugepages/>"), Backing::Huge(None));
        assert_eq!(backing("<hugepages><page size='2048' unit='KiB'/></hugepages>"), Backing::Huge(Some(2 << 20)));
    }
}
