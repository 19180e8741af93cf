//! The domains of a host that are resources of a Pacemaker cluster. Neither libvirt nor the domain's XML knows of that.

use std::collections::BTreeMap;
use std::path::Path;

use roxmltree::Document;

use super::HostError;
use super::facts::Cluster;
use super::host::Host;

/// The cluster's configuration, on each of its nodes.
const CIB: &str = "/var/lib/pacemaker/cib/cib.xml";

/// Prints what `cibadmin` returned, the domain's name in each file that a resource names, and the resources of the agent
/// `VirtualDomain` as XML. The agent itself takes the name from that file.
const SCRIPT: &str = r#"
PATH=$PATH:/usr/sbin
cib=$(cibadmin --query --local --xpath "//primitive[@type='VirtualDomain']" 2>/dev/null)
echo $?
printf '%s\n' "$cib" | grep -o 'value="/[^"]*"' | while IFS='"' read -r _ path _; do
    if [ -f "$path" ]; then
        name=$(head -c 65536 "$path" | sed -n '/<name>/{s/.*<name>\(.*\)<\/name>.*/\1/p;q;}')
        printf '%s\t%s\n' "$path" "$name"
    fi
done
echo
printf '%s\n' "$cib""#;

/// What `cibadmin` returns if there is no such resource: of Pacemaker 2, and of 1.1.
const NONE: [&str; 2] = ["105", "6"];

impl Host {
    /// Which of the host's domains are resources of a cluster.
    pub fn cluster(&self) -> Result<Cluster, HostError> {
        match self.has_file(CIB)? {
            Some(true) => Ok(self.shell(SCRIPT)?.and_then(|answer| read(&answer)).map_or(Cluster::Unseen, Cluster::Of)),
            _ => Ok(Cluster::default()),
        }
    }
}

/// The resources by the names of their domains; `None` if the cluster did not tell.
fn read(answer: &str) -> Option<BTreeMap<String, String>> {
    let (status, rest) = answer.split_once('\n')?;
    if NONE.contains(&status) {
        return Some(BTreeMap::new());
    }
    let (names, xml) = rest.split_once("\n\n").or_else(|| Some(("", rest.strip_prefix('\n')?)))?;
    let names: BTreeMap<_, _> = names.lines().filter_map(|line| line.split_once('\t')).collect();
    let document = Document::parse(xml.trim()).ok()?;
    let resource = |primitive: roxmltree::Node<'_, '_>| {
        let mut pairs = primitive.descendants().filter(|node| node.has_tag_name("nvpair"));
        let path = pairs.find(|pair| pair.attribute("name") == Some("config"))?.attribute("value")?;
        let named = names.get(path).copied().filter(|name| !name.is_empty());
        // One that can't be read here is called like its domain, as libvirt's own files are.
        let name = named.or_else(|| Path::new(path).file_stem()?.to_str())?;
        Some((name.to_owned(), primitive.attribute("id")?.to_owned()))
    };
    Some(document.descendants().filter(|node| node.has_tag_name("primitive")).filter_map(resource).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(answer: &str) -> Option<Vec<(String, String)>> {
        read(answer).map(|found| found.into_iter().collect())
    }

    fn primitive(id: &str, config: &str) -> String {
        format!(
            "<primitive id=\"{id}\" class=\"ocf\" provider=\"heartbeat\" type=\"VirtualDomain\"><instance_attributes>\
             <nvpair id=\"{id}-h\" name=\"hypervisor\" value=\"qemu:///system\"/>\
             <nvpair id=\"{id}-c\" name=\"config\" value=\"{config}\"/></instance_attributes></primitive>"
        )
    }

    #[test]
    fn a_resource_is_its_domain_s_by_the_name_in_its_file_or_by_the_file_s_own() {
        let (one, two) = (primitive("vm-web", "/shared/vm7.xml"), primitive("vm-db", "/etc/libvirt/qemu/db.xml"));
        let pair = |domain: &str, resource: &str| (domain.to_owned(), resource.to_owned());
        let answer = format!("0\n/shared/vm7.xml\tweb\n\n<xpath-query>{one}{two}</xpath-query>\n");
        assert_eq!(resources(&answer), Some(vec![pair("db", "vm-db"), pair("web", "vm-web")]));
        assert_eq!(resources(&format!("0\n\n{two}\n")), Some(vec![pair("db", "vm-db")]), "one is not wrapped");
    }

    #[test]
    fn a_cluster_without_domains_has_none_and_one_that_does_not_answer_is_unseen() {
        assert_eq!(resources("105\n\n\n"), Some(Vec::new()));
        // Not connected; not installed.
        assert_eq!((resources("102\n\n\n"), resources("127\n\n\n")), (None, None));
    }
}
