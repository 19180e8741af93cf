//! Reads libvirt's XML: text in, facts out, so that each rule is tested on a literal piece of XML.

pub(super) mod capabilities;
pub mod domain;
mod likeness;
pub(super) mod memory;
pub mod names;
pub(super) mod net_device;
pub mod network;

use roxmltree::Node;

fn child<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> Option<Node<'a, 'input>> {
    children(node, name).next()
}

fn children<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |n| n.has_tag_name(name))
}

fn text(node: Node<'_, '_>, name: &'static str) -> Option<String> {
    child(node, name)?.text().map(|text| text.trim().to_owned())
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
