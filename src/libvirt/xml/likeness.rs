//! What a domain's XML says of what QEMU saves of its devices: the same text for domains whose state a QEMU loads alike.

use std::collections::BTreeSet;

use roxmltree::Node;

use super::child;

/// Attributes by which devices of one kind differ in their state: models, buses, and what a driver offers the guest.
const TELLING: [&str; 20] = [
    "model",
    "type",
    "bus",
    "device",
    "name",
    "queues",
    "iommu",
    "ats",
    "packed",
    "page_per_vq",
    "rx_queue_size",
    "tx_queue_size",
    "csum",
    "gso",
    "tso4",
    "tso6",
    "ecn",
    "ufo",
    "mrg_rxbuf",
    "heads",
];

/// Elements of a device that say what it is, not what of its host is behind it.
const PARTS: [&str; 6] = ["model", "driver", "target", "host", "guest", "acceleration"];

/// Devices of which the type is the guest's side; of the others, it is the host's.
const TYPED: [&str; 3] = ["controller", "input", "hub"];

/// Types that are alike to the guest, by the device: what is behind it offers the guest nothing of its own.
const ALIKE: [(&str, &[&str]); 2] = [
    ("interface", &["bridge", "network", "direct", "ethernet"]),
    ("disk", &["file", "block", "network", "volume", "dir", "nvme"]),
];

/// Elements that are no device of the guest's.
const NONE: [&str; 3] = ["emulator", "graphics", "audio"];

/// The processor, each kind of device once, and the system that the definition says is installed.
pub(super) fn likeness(domain: Node<'_, '_>, devices: Node<'_, '_>) -> String {
    let of_guest = devices.children().filter(|n| n.is_element() && !NONE.contains(&n.tag_name().name()));
    let kinds: BTreeSet<String> = of_guest.map(kind).collect();
    let processor = child(domain, "cpu").map_or_else(|| "default".to_owned(), processor);
    let kinds: Vec<_> = kinds.into_iter().collect();
    let system = domain.descendants().find(|n| n.tag_name().name() == "os" && n.attribute("id").is_some());
    let system = system.and_then(|os| os.attribute("id")).map_or_else(String::new, |id| format!("; system {id}"));
    let mut features = String::new();
    child(domain, "features").into_iter().for_each(|node| write(node, &mut features));
    format!("processor {processor}; features {features}; devices {}{system}", kinds.join(", "))
}

/// Elements that two domains of one making differ in.
const OWN: [&str; 14] = [
    "name",
    "uuid",
    "title",
    "description",
    "metadata",
    "memory",
    "currentMemory",
    "mac",
    "alias",
    "address",
    "seclabel",
    "nvram",
    "resource",
    "backingStore",
];

/// The same of attributes: what of the host is behind a device. Secrets and volumes are not among them.
const PLACES: [&str; 11] =
    ["id", "file", "dev", "path", "bridge", "network", "portid", "interfaceid", "tty", "port", "websocket"];

/// All of a definition that decides whether a libvirt could make a guest of it.
pub(super) fn shape(domain: Node<'_, '_>) -> String {
    let mut shape = String::new();
    write(domain, &mut shape);
    shape
}

fn write(node: Node<'_, '_>, shape: &mut String) {
    shape.push('<');
    shape.push_str(node.tag_name().name());
    for attribute in node.attributes().filter(|attribute| !PLACES.contains(&attribute.name())) {
        shape.extend([" ", attribute.name(), "=", attribute.value()]);
    }
    shape.push('>');
    for below in node.children() {
        match below.text().filter(|_| below.is_text()).map(str::trim) {
            Some(text) if !text.starts_with('/') => shape.push_str(text),
            Some(_) => {}
            None if below.is_element() && !OWN.contains(&below.tag_name().name()) => write(below, shape),
            None => {}
        }
    }
    shape.push_str("</>");
}

fn kind(device: Node<'_, '_>) -> String {
    let parts = device.descendants().filter(|n| {
        *n == device || PARTS.contains(&n.tag_name().name()) && n.parent().is_some_and(|above| is_part(above, device))
    });
    let words = parts.flat_map(|part| {
        let tag = part.tag_name().name();
        let device = device.tag_name().name();
        let is_typed = TYPED.contains(&device) || device == "filesystem";
        let alike = ALIKE.iter().find(|(name, _)| *name == device).map(|(_, types)| types);
        let offers = move |kind: &str| alike.is_some_and(|types| !types.contains(&kind));
        let of_host = !is_typed && (tag == "driver" || tag == device);
        let telling = move |name: &str, value: &str| {
            TELLING.contains(&name) && (name != "type" || !of_host || tag == device && offers(value))
        };
        let attributes = part.attributes().filter(move |a| telling(a.name(), a.value()));
        let first = if tag == device { tag.to_owned() } else { String::new() };
        [first].into_iter().chain(attributes.map(|a| format!("{}={}", a.name(), a.value())))
    });
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether `node` is the device, or within its driver.
fn is_part(node: Node<'_, '_>, device: Node<'_, '_>) -> bool {
    node == device || node.has_tag_name("driver")
}

fn processor(cpu: Node<'_, '_>) -> String {
    let model = child(cpu, "model").and_then(|model| model.text()).map(str::trim);
    let features = cpu.children().filter(|n| n.has_tag_name("feature"));
    let features: BTreeSet<_> = features
        .filter_map(|feature| Some(format!("{}={}", feature.attribute("name")?, feature.attribute("policy")?)))
        .collect();
    let words = cpu.attribute("mode").into_iter().chain(model).map(str::to_owned).chain(features);
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::domain::Hardware;

    fn likeness(above: &str, devices: &str) -> String {
        Hardware::read(&format!("<domain type='kvm'>{above}<devices>{devices}</devices></domain>")).likeness
    }

    const NIC: &str = "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>
        <target dev='vnet0'/><model type='virtio'/><driver name='vhost' queues='2'><host csum='off'/></driver></interface>";

    #[test]
    fn what_differs_between_any_two_domains_does_not_count() {
        let other = NIC.replace(":01", ":02").replace("vnet0", "vnet7").replace("br0", "br1");
        assert_eq!(likeness("", NIC), likeness("<name>b</name><memory>1</memory>", &format!("{other}{NIC}")));
    }

    #[test]
    fn domains_of_one_making_have_one_shape_unless_their_secrets_or_models_differ() {
        let shape = |name: &str, devices: &str| {
            let above = format!("<name>{name}</name><uuid>{name}</uuid><memory>{}</memory>", name.len());
            Hardware::read(&format!(
                "<domain type='kvm' id='{}'>{above}<devices>{devices}</devices></domain>",
                name.len()
            ))
            .shape
        };
        let disk = |file: &str, secret: &str| {
            format!(
                "<disk type='file'><source file='{file}'><encryption format='luks'><secret uuid='{secret}'/></encryption></source></disk>"
            )
        };
        let nic = |mac: &str, tap: &str| {
            format!(
                "<interface type='bridge'><mac address='{mac}'/><source bridge='br0'/><target dev='{tap}'/><model type='virtio'/></interface>"
            )
        };
        let one = shape("a", &(disk("/a", "s1") + &nic("52:54:00:00:00:01", "vnet0")));
        assert_eq!(one, shape("other", &(disk("/b", "s1") + &nic("52:54:00:00:00:02", "vnet1"))));
        assert_ne!(one, shape("a", &(disk("/a", "s2") + &nic("52:54:00:00:00:01", "vnet0"))));
        let e1000 = nic("52:54:00:00:00:01", "vnet0").replace("virtio", "e1000");
        assert_ne!(one, shape("a", &(disk("/a", "s1") + &e1000)));
        assert_ne!(
            one,
            shape("a", &(disk("/a", "s1") + &nic("52:54:00:00:00:01", "vnet0") + "<graphics type='spice'/>"))
        );
    }

    #[test]
    fn models_and_what_a_driver_offers_count() {
        let disk = "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/a'/><target dev='vda' bus='virtio'/></disk>";
        for other in [
            NIC.replace("'virtio'", "'e1000'"),
            NIC.replace("csum='off'", "csum='on'"),
            NIC.replace("'bridge'>", "'vhostuser'>"),
            NIC.replace("queues='2'", "queues='4'"),
            format!("{NIC}{disk}"),
            String::new(),
        ] {
            assert_ne!(likeness("", NIC), likeness("", &other), "{other}");
        }
        assert_ne!(likeness("", disk), likeness("", &disk.replace("bus='virtio'", "bus='scsi'")));
        assert_eq!(likeness("", disk), likeness("", &disk.replace("'raw'", "'qcow2'").replace("vda", "vdb")));
    }

    #[test]
    fn processors_and_installed_systems_count() {
        let cpu = |inner: &str| format!("<cpu mode='custom'><model>EPYC</model>{inner}</cpu>");
        let (plain, more) = (cpu(""), cpu("<feature policy='require' name='avx'/>"));
        assert_ne!(likeness(&plain, NIC), likeness(&more, NIC));
        let os = |id: &str| {
            format!(
                "<metadata><l:libosinfo xmlns:l='http://libosinfo.org/xmlns/libvirt/domain/1.0'><l:os id='{id}'/></l:libosinfo></metadata>"
            )
        };
        assert_ne!(
            likeness(&os("http://debian.org/debian/12"), NIC),
            likeness(&os("http://debian.org/debian/13"), NIC)
        );
    }
}
