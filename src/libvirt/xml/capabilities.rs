//! What a host's capabilities say of it.

use std::collections::BTreeSet;

use roxmltree::Document;

use super::{child, children, text};

/// What tsmig asks of a host's capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// libvirt's identity of the machine, if it has one.
    pub(crate) machine_uuid: Option<String>,
    pub(crate) processor: Option<String>,
    /// The sizes of the pages that the host knows, in KiB. The smallest, which comes first, is of ordinary ones.
    pub(crate) page_sizes: Vec<u32>,
    /// The numbers of its NUMA cells.
    pub(crate) cells: BTreeSet<u32>,
    /// The numbers of its processors.
    pub(crate) processors: BTreeSet<u32>,
    /// The user and the group in the default label of the host's guests (`+64055:+109`); 0 is root.
    pub(crate) qemu: Option<(u32, u32)>,
}

impl Capabilities {
    /// Reads the XML of a host's capabilities; one that can't be read says nothing.
    pub(crate) fn read(xml: &str) -> Self {
        let Ok(document) = Document::parse(xml) else { return Self::default() };
        let Some(host) = child(document.root_element(), "host") else { return Self::default() };
        let cpu = child(host, "cpu");
        let pages = cpu.into_iter().flat_map(|cpu| children(cpu, "pages"));
        let mut sizes: Vec<u32> = pages.filter_map(|page| page.attribute("size")?.parse().ok()).collect();
        sizes.sort_unstable();
        let user = || {
            let dac = children(host, "secmodel").find(|model| text(*model, "model").as_deref() == Some("dac"))?;
            let label = text(dac, "baselabel")?;
            let (user, group) = label.split_once(':')?;
            Some((user.strip_prefix('+')?.parse().ok()?, group.strip_prefix('+')?.parse().ok()?))
        };
        let ids = |tag: &'static str| {
            let tagged = host.descendants().filter(move |n| n.has_tag_name(tag));
            tagged.filter_map(|node| node.attribute("id")?.parse().ok()).collect()
        };
        Self {
            machine_uuid: text(host, "uuid"),
            processor: cpu.and_then(|cpu| xml.get(cpu.range())).map(str::to_owned),
            page_sizes: sizes,
            cells: ids("cell"),
            processors: ids("cpu"),
            qemu: user(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPABILITIES: &str = "<capabilities><host>
      <cpu><arch>x86_64</arch><model>EPYC</model>
        <pages unit='KiB' size='4'/><pages unit='KiB' size='2048'/><pages unit='KiB' size='1048576'/></cpu>
      <topology><cells num='2'><cell id='0'><cpus num='2'><cpu id='0'/><cpu id='3'/></cpus></cell><cell id='1'/></cells></topology>
      <secmodel><model>apparmor</model><doi>0</doi></secmodel>
      <secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+109</baselabel></secmodel>
    </host></capabilities>";

    #[test]
    fn capabilities_tell_the_user_the_processor_and_the_page_sizes() {
        let capabilities = Capabilities::read(CAPABILITIES);
        assert_eq!(capabilities.qemu, Some((64055, 109)));
        assert_eq!(capabilities.page_sizes, [4, 2048, 1_048_576]);
        assert_eq!((capabilities.cells, capabilities.processors), ([0, 1].into(), [0, 3].into()));
        let processor = capabilities.processor.expect("a processor");
        assert!(processor.starts_with("<cpu>") && processor.ends_with("</cpu>"), "{processor}");
        let nothing = Capabilities::read("<capabilities/>");
        assert_eq!((nothing.qemu, nothing.page_sizes), (None, vec![]));
    }
}
