//! What a domain's XML says about how it can be migrated.
//!
//! Pure text in, facts out, so that each rule is tested on a literal piece of XML.

use roxmltree::{Document, Node};

use crate::domain::Eligibility;

/// The facts of one domain that its statistics do not carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct XmlFacts {
    /// Whether it can be migrated at all while it runs.
    pub(crate) migration: Eligibility,
    /// Whether its memory can be post-copied.
    pub(crate) post_copy: Eligibility,
}

impl XmlFacts {
    /// Reads the live XML of a domain. XML that can't be read says nothing against a migration: libvirt decides.
    pub(crate) fn read(xml: &str) -> Self {
        let Ok(document) = Document::parse(xml) else { return Self::default() };
        let domain = document.root_element();
        Self { migration: migration(domain), post_copy: post_copy(domain) }
    }
}

fn migration(domain: Node<'_, '_>) -> Eligibility {
    let assigned = named(domain, "hostdev")
        .filter(|device| device.parent().is_some_and(|parent| parent.has_tag_name("devices")))
        .chain(named(domain, "interface").filter(|nic| nic.attribute("type") == Some("hostdev")))
        // A teamed device is unplugged for the migration and its virtio partner carries on.
        .filter(|device| child(*device, "teaming").is_none_or(|t| t.attribute("type") != Some("transient")))
        .count();
    match assigned {
        0 => Eligibility::default(),
        n => Eligibility::no(format!(
            "it has {n} assigned host device{}, which can't be migrated live; detach {} or shut the domain down",
            if n == 1 { "" } else { "s" },
            if n == 1 { "it" } else { "them" },
        )),
    }
}

fn post_copy(domain: Node<'_, '_>) -> Eligibility {
    let file_backed = child(domain, "memoryBacking")
        .and_then(|backing| child(backing, "source"))
        .is_some_and(|source| source.attribute("type") == Some("file"));
    if file_backed {
        // It passes every check of libvirt and QEMU and then dies at the switch-over.
        return Eligibility::no("its memory is backed by a file, which post-copy does not survive");
    }
    Eligibility::default()
}

fn named<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.descendants().filter(move |n| n.has_tag_name(name))
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> Option<Node<'a, 'input>> {
    node.children().find(|n| n.has_tag_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(inside: &str) -> XmlFacts {
        XmlFacts::read(&format!("<domain type='kvm'>{inside}</domain>"))
    }

    #[test]
    fn an_ordinary_domain_goes_either_way() {
        let facts = facts(
            "<memoryBacking><source type='memfd'/></memoryBacking>
             <devices><interface type='bridge'><source bridge='br0'/></interface></devices>",
        );
        assert_eq!(facts, XmlFacts::default());
    }

    #[test]
    fn a_host_device_blocks_the_migration() {
        let facts = facts("<devices><hostdev mode='subsystem' type='pci'/><interface type='hostdev'/></devices>");
        assert!(!facts.migration.eligible);
        assert!(facts.migration.reason.is_some_and(|r| r.contains("2 assigned host devices")));
    }

    #[test]
    fn a_teamed_host_device_does_not() {
        let facts = facts(
            "<devices><interface type='hostdev'><teaming type='transient' persistent='n0'/></interface></devices>",
        );
        assert!(facts.migration.eligible);
    }

    #[test]
    fn file_backed_memory_is_never_post_copied() {
        let facts = facts("<memoryBacking><source type='file'/></memoryBacking>");
        assert!(facts.migration.eligible);
        assert!(!facts.post_copy.eligible);
    }

    #[test]
    fn unreadable_xml_is_left_to_libvirt() {
        assert_eq!(XmlFacts::read("<domain"), XmlFacts::default());
    }
}
