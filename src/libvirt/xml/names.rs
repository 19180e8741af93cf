//! What a domain's definition names of its host: the one reader of it. What is asked of the destination about each, and what
//! is missed there, is `src/preflight/table.rs`.

use std::collections::BTreeSet;

use std::net::IpAddr;

use roxmltree::Node;

use super::{child, children, page_bytes, text};
use crate::topology::Plug;

/// Something of the host that a definition names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub thing: Thing,
    pub part: Part,
}

/// What is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// A file, a block device or a directory.
    File {
        path: String,
        /// What QEMU does with it itself, so that its user must be allowed to.
        used: Use,
    },
    /// A pipe, a socket or a character device: to open it might wait for somebody, or do something.
    Node(String),
    /// A file that is copied if the other is not there.
    Template { path: String, copy: String },
    /// A bridge; Open vSwitch's are no bridges to the kernel.
    Bridge { name: String, of_kernel: bool },
    /// A network device, by macvtap.
    Device(String),
    /// A libvirt network.
    Network {
        name: String,
        /// The group of its ports, if the definition names one.
        portgroup: Option<String>,
    },
    /// An IP address to listen on, and the port if it is a certain one.
    Address { address: String, port: Option<u16> },
    /// Processors that threads are pinned to.
    Processors(BTreeSet<u32>),
    /// NUMA nodes that memory comes from.
    Cells(BTreeSet<u32>),
    /// Pages of this size in bytes, huge ones as a rule.
    Pages(u64),
    /// The user and the group that its QEMU runs as, as the label has them.
    Label(String),
}

impl Thing {
    /// What a NIC is plugged into; `None` if this is no such thing.
    pub fn plug(&self) -> Option<Plug> {
        match self {
            Self::Bridge { name, .. } | Self::Device(name) => Some(Plug::Device(name.clone())),
            Self::Network { name, .. } => Some(Plug::Network(name.clone())),
            _ => None,
        }
    }
}

/// What QEMU does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// It need only be there.
    Nothing,
    Reads,
    Writes,
}

/// The part of a domain that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A disk, with the guest's name for it.
    Disk(String),
    /// The medium in a drive, with the guest's name for the drive.
    Medium(String),
    /// A medium that libvirt drops if it is missing: an optional one, or one that the guest has ejected.
    Dispensable(String),
    /// Firmware, kernel or initial ramdisk: what it is called in the XML.
    Boot(&'static str),
    /// A NIC, by its MAC address in lower case, and whether it has VLAN tags of its own.
    Nic { mac: String, tagged: bool },
    /// Any other, as it is called in a sentence.
    Other(&'static str),
    /// An argument of QEMU's that libvirt does not look at; it may be the name of something that QEMU makes.
    Argument,
}

/// All that a domain names.
pub(super) fn names(domain: Node<'_, '_>, devices: Node<'_, '_>) -> Vec<Named> {
    let mut names = boot_files(domain);
    names.extend(disks(devices));
    names.extend(firmware_files(domain));
    names.extend(arguments(domain));
    names.extend(character_devices(devices));
    names.extend(other_devices(devices));
    names.extend(displays(devices));
    names.extend(placement(domain));
    names.extend(labels(domain));
    // A console stands there twice: as what it is, and as the serial port that it is on.
    let mut once: Vec<Named> = Vec::new();
    for named in names {
        if !once.contains(&named) {
            once.push(named);
        }
    }
    once
}

fn other(thing: Thing, part: &'static str) -> Named {
    Named { thing, part: Part::Other(part) }
}

fn is_path(path: &str) -> bool {
    // libvirt makes what is in its own directories.
    let own = ["/var/lib/libvirt/qemu/", "/run/libvirt/qemu/", "/var/run/libvirt/qemu/"];
    path.starts_with('/') && !own.iter().any(|own| path.starts_with(own))
}

/// The directory in which something is made.
fn directory(path: &str) -> Option<Thing> {
    let (directory, _) = path.rsplit_once('/').filter(|(directory, _)| !directory.is_empty() && is_path(path))?;
    Some(Thing::File { path: directory.to_owned(), used: Use::Nothing })
}

fn boot_files(domain: Node<'_, '_>) -> Vec<Named> {
    let Some(os) = child(domain, "os") else { return Vec::new() };
    let file = |role| {
        let path = text(os, role).filter(|path| path.starts_with('/'))?;
        Some(Named { thing: Thing::File { path, used: Use::Reads }, part: Part::Boot(role) })
    };
    let template = || {
        let nvram = child(os, "nvram")?;
        let copy = match child(nvram, "source") {
            Some(source) => source.attribute("file")?,
            None => nvram.text()?.trim(),
        };
        let (path, copy) = (nvram.attribute("template")?.to_owned(), copy.to_owned());
        Some(Named { thing: Thing::Template { path, copy }, part: Part::Boot("NVRAM template") })
    };
    ["loader", "kernel", "initrd", "dtb"].into_iter().filter_map(file).chain(template()).collect()
}

fn disks(devices: Node<'_, '_>) -> Vec<Named> {
    let files = |disk| {
        let target = child(disk, "target").and_then(|t| t.attribute("dev")).unwrap_or("?").to_owned();
        let part = match disk.attribute("device") {
            Some("cdrom" | "floppy") if is_dispensable(disk) => Part::Dispensable(target),
            Some("cdrom" | "floppy") => Part::Medium(target),
            _ => Part::Disk(target),
        };
        let writable = disk.attribute("device") != Some("cdrom") && child(disk, "readonly").is_none();
        // The disk's own source and those of the images below it.
        let sources = disk.descendants().filter(|n| n.has_tag_name("source"));
        let own = sources.filter(|n| n.ancestors().all(|above| !above.has_tag_name("mirror")));
        let file = |source: Node<'_, '_>| {
            let path = source.attribute("file").or_else(|| source.attribute("dev"))?;
            let top = source.parent() == Some(disk);
            let used = if top && writable { Use::Writes } else { Use::Reads };
            let thing = Thing::File { path: path.to_owned(), used };
            path.starts_with('/').then(|| Named { thing, part: part.clone() })
        };
        own.filter_map(file).collect::<Vec<_>>()
    };
    children(devices, "disk").flat_map(files).collect()
}

/// `requisite` media are needed at the start of a domain only.
fn is_dispensable(disk: Node<'_, '_>) -> bool {
    let of = |name, attribute| child(disk, name).and_then(|node| node.attribute(attribute));
    of("target", "tray") == Some("open") || matches!(of("source", "startupPolicy"), Some("optional" | "requisite"))
}

fn firmware_files(domain: Node<'_, '_>) -> Vec<Named> {
    let entries = children(domain, "sysinfo").flat_map(|info| children(info, "entry"));
    let tables = child(domain, "os").and_then(|os| child(os, "acpi")).into_iter();
    let tables = tables.flat_map(|acpi| children(acpi, "table")).filter_map(|table| table.text());
    let paths = entries.filter_map(|entry| entry.attribute("file")).map(|path| (path, "fw_cfg file"));
    let paths = paths.chain(tables.map(|path| (path.trim(), "ACPI table")));
    paths.map(|(path, part)| other(Thing::File { path: path.to_owned(), used: Use::Reads }, part)).collect()
}

/// Files among the arguments of QEMU's that libvirt hands on.
fn arguments(domain: Node<'_, '_>) -> Vec<Named> {
    let line = children(domain, "commandline").flat_map(|line| children(line, "arg"));
    let line: Vec<_> = line.filter_map(|argument| argument.attribute("value")).collect();
    let mut names = Vec::new();
    for (index, argument) in line.iter().enumerate() {
        let option = index.checked_sub(1).and_then(|before| line.get(before)).copied().unwrap_or_default();
        let file = |path: &str| Thing::File { path: path.to_owned(), used: Use::Reads };
        if matches!(option, "-kernel" | "-initrd" | "-bios" | "-dtb") && is_path(argument) {
            names.push(other(file(argument), "argument of QEMU's"));
        }
        for (key, value) in argument.split(',').filter_map(|word| word.split_once('=')) {
            match key {
                // Another object writes it, as filter-dump does.
                "file" if is_path(value) && (option != "-object" || argument.starts_with("secret")) => {
                    names.push(other(file(value), "argument of QEMU's"));
                }
                "path" | "mem-path" | "host" if is_path(value) => {
                    names.push(Named { thing: Thing::Node(value.to_owned()), part: Part::Argument });
                }
                _ => {}
            }
        }
    }
    names
}

fn character_devices(devices: Node<'_, '_>) -> Vec<Named> {
    let named = |device: Node<'_, '_>| {
        let part = match device.tag_name().name() {
            "serial" | "console" => "console",
            "parallel" => "parallel port",
            "channel" => "channel",
            "redirdev" => "USB redirection",
            "smartcard" => "smartcard",
            _ => return Vec::new(),
        };
        let sources: Vec<_> = children(device, "source").collect();
        let of = |mode: &str, name| {
            sources.iter().filter(|s| s.attribute("mode").unwrap_or(mode) == mode).find_map(|s| s.attribute(name))
        };
        let path = |mode| of(mode, "path").filter(|path| is_path(path));
        let reconnects = sources.iter().any(|source| {
            child(*source, "reconnect").is_some_and(|reconnect| reconnect.attribute("enabled") == Some("yes"))
        });
        let log = child(device, "log").and_then(|log| directory(log.attribute("file")?));
        let thing = match device.attribute("type") {
            Some("file") => path("").and_then(directory),
            Some("dev" | "pipe") => path("").map(|path| Thing::Node(path.to_owned())),
            Some("unix") => match path("connect").filter(|_| of("bind", "path").is_none()) {
                Some(_) if reconnects => None,
                Some(path) => Some(Thing::Node(path.to_owned())),
                None => of("bind", "path").and_then(directory),
            },
            Some("tcp" | "udp") => of("bind", "host").map(|host| {
                let port = of("bind", "service").and_then(|port| port.parse().ok());
                Thing::Address { address: host.to_owned(), port }
            }),
            _ => None,
        };
        thing.into_iter().chain(log).map(|thing| other(thing, part)).collect()
    };
    devices.children().flat_map(named).collect()
}

fn other_devices(devices: Node<'_, '_>) -> Vec<Named> {
    let node = |path: &str| is_path(path).then(|| Thing::Node(path.to_owned()));
    let named = |device: Node<'_, '_>| {
        let (thing, part) = match (device.tag_name().name(), device.attribute("type")) {
            ("rng", _) => {
                let backend =
                    child(device, "backend").filter(|backend| backend.attribute("model") == Some("random"))?;
                (node(backend.text()?.trim())?, "source of random numbers")
            }
            ("filesystem", Some("mount") | None) => {
                let path = source(device, "dir")?.to_owned();
                (Thing::File { path, used: Use::Nothing }, "shared directory")
            }
            ("shmem", _) => (node(child(device, "server")?.attribute("path")?)?, "server of shared memory"),
            ("input", Some("passthrough" | "evdev")) => {
                (node(source(device, "evdev").or_else(|| source(device, "dev"))?)?, "input device")
            }
            ("memory", _) => {
                let path = text(child(device, "source")?, "path")?;
                (Thing::File { path, used: Use::Writes }, "NVDIMM")
            }
            ("interface", Some("vhostuser")) => match source(device, "mode") {
                Some("server") => (directory(source(device, "path")?)?, "vhost-user NIC"),
                _ => (node(source(device, "path")?)?, "vhost-user NIC"),
            },
            _ => return None,
        };
        Some(other(thing, part))
    };
    devices.children().filter_map(named).collect()
}

fn source<'a>(device: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(device, "source")?.attribute(name)
}

fn displays(devices: Node<'_, '_>) -> Vec<Named> {
    let named = |display: Node<'_, '_>| {
        let fixed = display.attribute("autoport") != Some("yes");
        let port =
            display.attribute("port").filter(|_| fixed).and_then(|port| port.parse().ok()).filter(|port| *port > 0);
        let listens: Vec<_> = children(display, "listen").collect();
        let things = listens.into_iter().filter_map(|listen| match listen.attribute("type") {
            Some("address") => Some(Thing::Address { address: listen.attribute("address")?.to_owned(), port }),
            Some("network") => Some(Thing::Network { name: listen.attribute("network")?.to_owned(), portgroup: None }),
            Some("socket") => directory(listen.attribute("socket")?),
            _ => None,
        });
        things.map(|thing| other(thing, "display")).collect::<Vec<_>>()
    };
    children(devices, "graphics").flat_map(named).collect()
}

/// Where its displays and character devices listen, as it runs: addresses with ports.
pub(super) fn listens(devices: Node<'_, '_>) -> Vec<(String, u16)> {
    let displays = children(devices, "graphics").flat_map(|display| {
        let port = display.attribute("port").and_then(|port| port.parse().ok());
        children(display, "listen").filter_map(move |listen| Some((listen.attribute("address")?.to_owned(), port?)))
    });
    let others = character_devices(devices).into_iter().filter_map(|named| match named.thing {
        Thing::Address { address, port } => Some((address, port?)),
        _ => None,
    });
    displays.chain(others).collect()
}

fn placement(domain: Node<'_, '_>) -> Vec<Named> {
    let vcpu = child(domain, "vcpu").and_then(|vcpu| vcpu.attribute("cpuset"));
    let tuning = child(domain, "cputune").into_iter().flat_map(|tuning| tuning.children());
    let pins = tuning.filter(|pin| ["vcpupin", "emulatorpin", "iothreadpin"].contains(&pin.tag_name().name()));
    let pins = vcpu.into_iter().chain(pins.filter_map(|pin| pin.attribute("cpuset")));
    let processors = pins.filter_map(set).map(|set| other(Thing::Processors(set), "pinned threads"));
    let memory = child(domain, "numatune").into_iter().flat_map(|tuning| tuning.children());
    let memory = memory.filter_map(|memory| set(memory.attribute("nodeset")?));
    let cells = memory.map(|set| other(Thing::Cells(set), "memory"));
    let pages = child(domain, "memoryBacking").and_then(|backing| child(backing, "hugepages"));
    let pages = pages.into_iter().flat_map(|pages| children(pages, "page")).filter_map(page_bytes);
    processors.chain(cells).chain(pages.map(|size| other(Thing::Pages(size), "memory"))).collect()
}

/// A set as libvirt writes it: `0-3,^2,8`.
fn set(words: &str) -> Option<BTreeSet<u32>> {
    let mut set = BTreeSet::new();
    for word in words.split(',').map(str::trim) {
        let (without, word) = word.strip_prefix('^').map_or((false, word), |word| (true, word));
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let range = first.parse().ok()?..=last.parse::<u32>().ok()?;
        match without {
            true => set.retain(|number| !range.contains(number)),
            false => set.extend(range),
        }
    }
    Some(set).filter(|set| !set.is_empty())
}

fn labels(domain: Node<'_, '_>) -> Vec<Named> {
    let is_static =
        |label: &Node<'_, '_>| label.attribute("type") == Some("static") && label.attribute("model") == Some("dac");
    let labels = children(domain, "seclabel").filter(is_static).filter_map(|label| text(label, "label"));
    labels.map(|label| other(Thing::Label(label), "QEMU")).collect()
}

/// An address that only some hosts have.
pub fn certain(address: &str) -> Option<IpAddr> {
    address.parse().ok().filter(|address: &IpAddr| !address.is_unspecified() && !address.is_loopback())
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;

    fn named(above: &str, devices: &str) -> Vec<(String, String)> {
        let xml = format!("<domain xmlns:qemu='q'>{above}<devices>{devices}</devices></domain>");
        let document = Document::parse(&xml).unwrap();
        let domain = document.root_element();
        let words = |named: Named| {
            let thing = match named.thing {
                Thing::File { path, used } => format!("{path} {used:?}"),
                Thing::Node(path) => format!("{path} node"),
                other => format!("{other:?}"),
            };
            let part = match named.part {
                Part::Disk(name) | Part::Medium(name) | Part::Nic { mac: name, .. } => name,
                Part::Dispensable(name) => format!("{name}?"),
                Part::Boot(name) | Part::Other(name) => name.to_owned(),
                Part::Argument => "argument?".to_owned(),
            };
            (thing, part)
        };
        names(domain, child(domain, "devices").unwrap()).into_iter().map(words).collect()
    }

    fn assert_named(above: &str, devices: &str, expected: &[(&str, &str)]) {
        let found = named(above, devices);
        let found: Vec<_> = found.iter().map(|(thing, part)| (thing.as_str(), part.as_str())).collect();
        assert_eq!(found, expected, "{above}{devices}");
    }

    #[test]
    fn disks_count_with_the_images_below_them() {
        assert_named(
            "",
            "<disk type='file' device='disk'><source file='/a/top.qcow2'/><target dev='vda'/>
               <backingStore type='file'><source file='/a/base.qcow2'/><backingStore/></backingStore>
               <mirror type='file'><source file='/b/copy.qcow2'/></mirror></disk>
             <disk type='block' device='disk'><source dev='/dev/vg/b'/><target dev='vdb'/><readonly/></disk>
             <disk type='network' device='disk'><source protocol='rbd' name='pool/c'/><target dev='vdc'/></disk>
             <disk type='file' device='cdrom'><source file='/a/cd.iso'/><target dev='sda'/></disk>
             <disk type='file' device='cdrom'><target dev='sdb'/></disk>
             <disk type='file' device='cdrom'><source file='/a/o.iso' startupPolicy='optional'/><target dev='sdc'/></disk>
             <disk type='file' device='cdrom'><source file='/a/r.iso' startupPolicy='requisite'/><target dev='sdd'/></disk>
             <disk type='file' device='cdrom'><source file='/a/m.iso' startupPolicy='mandatory'/><target dev='sde'/></disk>
             <disk type='file' device='cdrom'><source file='/a/e.iso'/><target dev='sdf' tray='open'/></disk>",
            &[
                ("/a/top.qcow2 Writes", "vda"),
                ("/a/base.qcow2 Reads", "vda"),
                ("/dev/vg/b Reads", "vdb"),
                ("/a/cd.iso Reads", "sda"),
                ("/a/o.iso Reads", "sdc?"),
                ("/a/r.iso Reads", "sdd?"),
                ("/a/m.iso Reads", "sde"),
                ("/a/e.iso Reads", "sdf?"),
            ],
        );
    }

    #[test]
    fn files_outside_disks_are_found() {
        assert_named(
            "<os><loader>/o.fd</loader><nvram template='/t.fd'>/n.fd</nvram><acpi><table type='slic'>/s</table></acpi></os>
             <sysinfo type='fwcfg'><entry name='opt/x' file='/c.ign'/><entry name='opt/y'>text</entry></sysinfo>
             <qemu:commandline><qemu:arg value='-fw_cfg'/><qemu:arg value='name=opt/c,file=/d.ign'/>
               <qemu:arg value='-chardev'/><qemu:arg value='socket,id=c,path=/s.sock,server=on'/>
               <qemu:arg value='-bios'/><qemu:arg value='/b.bin'/></qemu:commandline>",
            "<memory model='nvdimm'><source><path>/m</path></source></memory>
             <filesystem type='mount'><source dir='/d'/></filesystem>",
            &[
                ("/o.fd Reads", "loader"),
                ("Template { path: \"/t.fd\", copy: \"/n.fd\" }", "NVRAM template"),
                ("/c.ign Reads", "fw_cfg file"),
                ("/s Reads", "ACPI table"),
                ("/d.ign Reads", "argument of QEMU's"),
                ("/s.sock node", "argument?"),
                ("/b.bin Reads", "argument of QEMU's"),
                ("/m Writes", "NVDIMM"),
                ("/d Nothing", "shared directory"),
            ],
        );
    }

    #[test]
    fn what_would_wait_for_somebody_is_no_file_and_what_is_made_needs_its_directory() {
        assert_named(
            "",
            "<serial type='file'><source path='/log/a'/></serial><console type='file'><source path='/log/a'/></console>
             <serial type='dev'><source path='/dev/ttyS0'/></serial><serial type='pipe'><source path='/p'/></serial>
             <serial type='unix'><source mode='connect' path='/c'/><log file='/logs/b'/></serial>
             <serial type='unix'><source mode='connect' path='/r'><reconnect enabled='yes'/></source></serial>
             <channel type='unix'><source mode='bind' path='/run/x/b'/></channel>
             <channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/g'/></channel>
             <serial type='tcp'><source mode='bind' host='10.0.0.1' service='99'/></serial>
             <serial type='tcp'><source mode='connect' host='10.0.0.2' service='99'/></serial>
             <serial type='pty'><source path='/dev/pts/0'/></serial>
             <rng model='virtio'><backend model='random'>/dev/hwrng</backend></rng>
             <input type='evdev'><source dev='/dev/input/event1'/></input>
             <shmem name='s'><server path='/s'/></shmem>
             <interface type='vhostuser'><source type='unix' path='/v/1' mode='client'/></interface>
             <interface type='vhostuser'><source type='unix' path='/v/2' mode='server'/></interface>",
            &[
                ("/log Nothing", "console"),
                ("/dev/ttyS0 node", "console"),
                ("/p node", "console"),
                ("/c node", "console"),
                ("/logs Nothing", "console"),
                ("/run/x Nothing", "channel"),
                ("Address { address: \"10.0.0.1\", port: Some(99) }", "console"),
                ("/dev/hwrng node", "source of random numbers"),
                ("/dev/input/event1 node", "input device"),
                ("/s node", "server of shared memory"),
                ("/v/1 node", "vhost-user NIC"),
                ("/v Nothing", "vhost-user NIC"),
            ],
        );
    }

    #[test]
    fn displays_listen_on_addresses_networks_and_sockets() {
        assert_named(
            "",
            "<graphics type='vnc' port='5901' autoport='no' listen='10.0.0.1'><listen type='address' address='10.0.0.1'/>
             </graphics>
             <graphics type='vnc' port='5900' autoport='yes'><listen type='address' address='0.0.0.0'/></graphics>
             <graphics type='vnc'><listen type='network' address='10.0.0.9' network='lan'/></graphics>
             <graphics type='vnc'><listen type='socket' socket='/x/y'/></graphics>
             <graphics type='spice'><listen type='none'/></graphics>",
            &[
                ("Address { address: \"10.0.0.1\", port: Some(5901) }", "display"),
                ("Address { address: \"0.0.0.0\", port: None }", "display"),
                ("Network { name: \"lan\", portgroup: None }", "display"),
                ("/x Nothing", "display"),
            ],
        );
    }

    #[test]
    fn placement_and_labels_are_read() {
        assert_named(
            "<vcpu cpuset='0-3,^2'>2</vcpu><cputune><emulatorpin cpuset='7'/></cputune>
             <numatune><memory mode='strict' nodeset='1'/></numatune>
             <memoryBacking><hugepages><page size='1' unit='G'/></hugepages></memoryBacking>
             <seclabel type='static' model='dac'><label>me:us</label></seclabel>
             <seclabel type='dynamic' model='dac'><label>+0:+0</label></seclabel>",
            "",
            &[
                ("Processors({0, 1, 3})", "pinned threads"),
                ("Processors({7})", "pinned threads"),
                ("Cells({1})", "memory"),
                ("Pages(1073741824)", "memory"),
                ("Label(\"me:us\")", "QEMU"),
            ],
        );
        assert_eq!(set("a-b"), None);
    }
}
