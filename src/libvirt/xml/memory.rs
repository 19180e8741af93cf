//! Where in a guest's physical address space its memory is.

use std::ops::Range;

use roxmltree::{Document, Node};

use super::{child, children};

const GIB: u64 = 1 << 30;

/// From here on QEMU may put memory elsewhere, which depends on the processor (7.1 and later), and on room that is kept for devices.
const ELSEWHERE: u64 = 900 * GIB;

/// A guest's memory, as far as its addresses are known for certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryMap {
    /// All that it was given, in bytes.
    pub(crate) bytes: u64,
    /// Addresses behind which there is nothing but memory: nearly all of it.
    pub(crate) ranges: Vec<Range<u64>>,
}

impl MemoryMap {
    /// Reads the XML of a domain that runs. `None` of one whose addresses are not known, or that keeps its memory from its host, or
    /// where each look at it has its AppArmor profile compiled anew (`AppArmorSetSavedStateLabel` in libvirt).
    ///
    /// What is between the parts is devices, which may notice that they are read. The parts are those of QEMU's two machines for PCs
    /// from 2.0 on (`hw/i386/pc_piix.c`, `pc_q35.c`).
    pub(crate) fn read(xml: &str) -> Option<Self> {
        let document = Document::parse(xml).ok()?;
        let domain = document.root_element();
        let system = child(child(domain, "os")?, "type")?;
        let devices = child(domain, "devices")?;
        // Options that libvirt does not know of may move all of it.
        let is_as_told = domain.children().all(|element| element.tag_name().namespace().is_none());
        let is_plain =
            matches!(domain.attribute("type"), Some("kvm" | "qemu")) && system.attribute("arch") == Some("x86_64");
        let is_all = children(devices, "memory").next().is_none();
        let is_open = child(domain, "launchSecurity").is_none();
        let is_cheap = children(domain, "seclabel").all(|label| label.attribute("model") != Some("apparmor"));
        if !(is_as_told && is_plain && is_all && is_open && is_cheap) {
            return None;
        }
        let memory = bytes(child(domain, "memory")?)?;
        let most = child(domain, "maxMemory").and_then(bytes).unwrap_or(0).max(memory);
        let holes = children(devices, "controller").filter_map(|controller| bytes(child(controller, "pcihole64")?));
        if holes.fold(most, u64::saturating_add) >= ELSEWHERE {
            return None;
        }
        let below = below(system.attribute("machine")?, memory)?;
        // The first MiB has the BIOS and the display in it.
        let ranges = [1 << 20..below, 4 * GIB..4 * GIB + (memory - below)];
        Some(Self { bytes: memory, ranges: ranges.into_iter().filter(|range| !range.is_empty()).collect() })
    }
}

/// How much of a machine's memory is below the devices, which end at 4 GiB.
fn below(machine: &str, memory: u64) -> Option<u64> {
    let is = |kind: &str, old: &str| machine.starts_with(kind) && !machine.starts_with(old);
    let (room, most) = if machine == "q35" || is("pc-q35-", "pc-q35-1.") {
        (11 * GIB / 4, 2 * GIB)
    } else if machine == "pc" || is("pc-i440fx-", "pc-i440fx-1.") {
        (7 * GIB / 2, 3 * GIB)
    } else {
        return None;
    };
    Some(if memory < room { memory } else { most })
}

/// The text of an element, in bytes; libvirt prints KiB.
fn bytes(element: Node<'_, '_>) -> Option<u64> {
    let number: u64 = element.text()?.trim().parse().ok()?;
    if element.attribute("unit") == Some("KiB") { number.checked_mul(1024) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(kind: &str, mib: u64, machine: &str, device: &str, more: &str) -> Option<Vec<(u64, u64)>> {
        let xml = format!(
            "<domain type='{kind}'><memory unit='KiB'>{}</memory><os><type arch='x86_64' machine='{machine}'>hvm</type></os>\
             <devices>{device}</devices>{more}</domain>",
            mib << 10
        );
        MemoryMap::read(&xml).map(|map| map.ranges.iter().map(|range| (range.start >> 20, range.end >> 20)).collect())
    }

    #[test]
    fn only_what_is_certain_to_be_memory_is_looked_at() {
        let q35 = |mib| map("kvm", mib, "pc-q35-7.2", "", "");
        assert_eq!(q35(512), Some(vec![(1, 512)]));
        assert_eq!(q35(2815), Some(vec![(1, 2815)]));
        assert_eq!(q35(2816), Some(vec![(1, 2048), (4096, 4096 + 768)]));
        assert_eq!(q35(900 << 10), None);
        assert_eq!(q35(1), Some(vec![]));
        let pc = |mib| map("qemu", mib, "pc-i440fx-9.0", "", "");
        assert_eq!(pc(3583), Some(vec![(1, 3583)]));
        assert_eq!(pc(8 << 10), Some(vec![(1, 3072), (4096, 4096 + 5120)]));
        for machine in ["microvm", "pc-q35-1.7", "pc-i440fx-1.4", "virt"] {
            assert_eq!(map("kvm", 64, machine, "", ""), None, "{machine}");
        }
        assert_eq!(map("xen", 64, "pc", "", ""), None);
        let hole = "<controller type='pci'><pcihole64 unit='KiB'>1073741824</pcihole64></controller>";
        for device in ["<memory model='dimm'/>", hole] {
            assert_eq!(map("kvm", 64, "q35", device, ""), None, "{device}");
        }
        let apparmor = "<seclabel type='dynamic' model='apparmor' relabel='yes'/>";
        let selinux = "<seclabel type='dynamic' model='selinux' relabel='yes'/>";
        let most = "<maxMemory slots='16' unit='KiB'>1073741824</maxMemory>";
        let options = "<commandline xmlns='http://libvirt.org/schemas/domain/qemu/1.0'/>";
        for more in ["<launchSecurity type='sev'/>", apparmor, most, options] {
            assert_eq!(map("kvm", 64, "q35", "", more), None, "{more}");
        }
        assert_eq!(map("kvm", 64, "q35", "", selinux), Some(vec![(1, 64)]));
        assert_eq!(MemoryMap::read("<domain/>"), None);
    }
}
