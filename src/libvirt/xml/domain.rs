//! What a domain's XML says: its hardware, as the one reader of it tells everybody.

use roxmltree::{Document, Node};

use super::{child, children, text};
use crate::manager::{Manager, Mark};

/// A domain's hardware, and what of its host is behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hardware {
    pub machine: Machine,
    /// Whose domain it is, if it has the mark of a manager.
    pub manager: Option<Manager>,
    /// Its processor, if the host's must be able to show it.
    pub processor: Option<Processor>,
    /// Files and block devices that its QEMU opens.
    pub files: Vec<HostFile>,
    /// Files, other than disks, that keep something of the guest while it does not run, each with what it is: `NVRAM`.
    pub kept: Vec<(&'static str, String)>,
    pub tpm: bool,
    pub nics: Vec<GuestNic>,
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
pub struct HostFile {
    /// Its path, the same on both hosts.
    pub path: String,
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A disk, with the guest's name for it.
    Disk(String),
    /// The medium in a drive, with the guest's name for the drive.
    Medium(String),
    /// A medium that libvirt drops if it is missing: an optional one, or one that the guest has ejected.
    Dispensable(String),
    /// Firmware, kernel or initial ramdisk: what it is called in the XML.
    Boot(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestNic {
    /// Its MAC address in lower case.
    pub mac: String,
    pub plug: Plug,
}

/// What a NIC is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plug {
    /// A bridge of the host; Open vSwitch's are no bridges to the kernel.
    Bridge {
        name: String,
        /// Whether the kernel's own bridge code is behind it.
        of_kernel: bool,
    },
    Network(String),
    /// A device of the host, by macvtap.
    Device(String),
    /// Something else, which is not looked at.
    Other,
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
        Self {
            machine: machine(domain, devices),
            manager: Manager::by(|mark| has_mark(domain, mark)),
            processor: child(domain, "cpu").and_then(|cpu| processor(cpu, xml)),
            files: boot_files(domain).into_iter().chain(disks(devices)).collect(),
            kept: kept_files(domain, devices),
            tpm: child(devices, "tpm").is_some(),
            nics: children(devices, "interface").filter_map(nic).collect(),
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

fn boot_files(domain: Node<'_, '_>) -> Vec<HostFile> {
    let Some(os) = child(domain, "os") else { return Vec::new() };
    let file =
        |role| Some(HostFile { path: text(os, role).filter(|path| path.starts_with('/'))?, role: Role::Boot(role) });
    ["loader", "kernel", "initrd", "dtb"].into_iter().filter_map(file).collect()
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

fn disks(devices: Node<'_, '_>) -> Vec<HostFile> {
    let files = |disk| {
        let target = child(disk, "target").and_then(|t| t.attribute("dev")).unwrap_or("?").to_owned();
        let role = match disk.attribute("device") {
            Some("cdrom" | "floppy") if is_dispensable(disk) => Role::Dispensable(target),
            Some("cdrom" | "floppy") => Role::Medium(target),
            _ => Role::Disk(target),
        };
        // The disk's own source and those of the images below it.
        let sources = disk.descendants().filter(|n| n.has_tag_name("source"));
        let own = sources.filter(|n| n.ancestors().all(|above| !above.has_tag_name("mirror")));
        let paths = own.filter_map(|source| source.attribute("file").or_else(|| source.attribute("dev")));
        let file = |path: &str| HostFile { path: path.to_owned(), role: role.clone() };
        paths.filter(|path| path.starts_with('/')).map(file).collect::<Vec<_>>()
    };
    children(devices, "disk").flat_map(files).collect()
}

/// `requisite` media are needed at the start of a domain only.
fn is_dispensable(disk: Node<'_, '_>) -> bool {
    let of = |name, attribute| child(disk, name).and_then(|node| node.attribute(attribute));
    of("target", "tray") == Some("open") || matches!(of("source", "startupPolicy"), Some("optional" | "requisite"))
}

fn nic(interface: Node<'_, '_>) -> Option<GuestNic> {
    let source = child(interface, "source");
    let of_source = |name| source.and_then(|s| s.attribute(name)).map(str::to_owned);
    let plug = match interface.attribute("type")? {
        // Of a guest that runs, libvirt gives the type of what the network led to, and the network beside it.
        _ if of_source("network").is_some() => of_source("network").map(Plug::Network),
        "bridge" => of_source("bridge").map(|name| {
            let virtual_port = child(interface, "virtualport").and_then(|port| port.attribute("type"));
            Plug::Bridge { name, of_kernel: virtual_port != Some("openvswitch") }
        }),
        "direct" => of_source("dev").map(Plug::Device),
        _ => None,
    };
    let mac = child(interface, "mac").and_then(|mac| mac.attribute("address")).unwrap_or_default().to_lowercase();
    Some(GuestNic { mac, plug: plug.unwrap_or(Plug::Other) })
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

fn page_bytes(page: Node<'_, '_>) -> Option<u64> {
    let size: u64 = page.attribute("size")?.parse().ok()?;
    // libvirt prints KiB; the others are what a user may have written.
    Some(match page.attribute("unit").unwrap_or("KiB") {
        "b" | "bytes" => size,
        "M" | "MiB" => size << 20,
        "G" | "GiB" => size << 30,
        _ => size << 10,
    })
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
        assert_eq!(hardware.files, [HostFile { path: "/usr/share/ovmf.fd".to_owned(), role: Role::Boot("loader") }]);
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
    fn disks_count_with_the_images_below_them() {
        let hardware = hardware(
            "",
            "<disk type='file' device='disk'><source file='/a/top.qcow2'/><target dev='vda'/>
               <backingStore type='file'><source file='/a/base.qcow2'/><backingStore/></backingStore>
               <mirror type='file'><source file='/b/copy.qcow2'/></mirror></disk>
             <disk type='block' device='disk'><source dev='/dev/vg/b'/><target dev='vdb'/></disk>
             <disk type='network' device='disk'><source protocol='rbd' name='pool/c'/><target dev='vdc'/></disk>
             <disk type='file' device='cdrom'><source file='/a/cd.iso'/><target dev='sda'/></disk>
             <disk type='file' device='cdrom'><target dev='sdb'/></disk>
             <disk type='file' device='cdrom'><source file='/a/o.iso' startupPolicy='optional'/><target dev='sdc'/></disk>
             <disk type='file' device='cdrom'><source file='/a/r.iso' startupPolicy='requisite'/><target dev='sdd'/></disk>
             <disk type='file' device='cdrom'><source file='/a/m.iso' startupPolicy='mandatory'/><target dev='sde'/></disk>
             <disk type='file' device='cdrom'><source file='/a/e.iso'/><target dev='sdf' tray='open'/></disk>",
        );
        let found: Vec<_> = hardware.files.iter().map(|file| (file.path.as_str(), &file.role)).collect();
        let disk = |name: &str| Role::Disk(name.to_owned());
        assert_eq!(
            found,
            [
                ("/a/top.qcow2", &disk("vda")),
                ("/a/base.qcow2", &disk("vda")),
                ("/dev/vg/b", &disk("vdb")),
                ("/a/cd.iso", &Role::Medium("sda".to_owned())),
                ("/a/o.iso", &Role::Dispensable("sdc".to_owned())),
                ("/a/r.iso", &Role::Dispensable("sdd".to_owned())),
                ("/a/m.iso", &Role::Medium("sde".to_owned())),
                ("/a/e.iso", &Role::Dispensable("sdf".to_owned())),
            ]
        );
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
        let bridge = |name: &str, of_kernel| Plug::Bridge { name: name.to_owned(), of_kernel };
        let (network, device) = (|| Plug::Network("lan".to_owned()), Plug::Device("eno1".to_owned()));
        assert_eq!(plugs, [bridge("br0", true), bridge("ovs", false), network(), network(), device, Plug::Other]);
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
