//! What keeps a domain at the source: jobs, snapshots, and whatever else its libvirt has against a migration.

use super::facts::DomainFacts;
use crate::libvirt::facts::Occupation;
use crate::profile::mobility::hangs;

/// The findings about a domain of `host`.
pub(super) fn findings(host: &str, domain: &str, found: &DomainFacts) -> Vec<String> {
    let mut findings = Vec::new();
    if found.hangs {
        findings.push(hangs(domain));
    }
    match found.job {
        Some(Occupation::Migration) => findings.push(format!(
            "it is being migrated already; wait until that has ended (virsh domjobinfo {domain}), or let `tsmig recover` see it to \
             its end, and run tsmig again"
        )),
        Some(Occupation::Other(kind)) => findings.push(format!(
            "a {kind} job runs on it; wait for its end (virsh domjobinfo {domain}) or cancel it (virsh domjobabort \
             {domain})"
        )),
        None => {}
    }
    if found.snapshots > 0 {
        let (count, them) = if found.snapshots == 1 { ("a snapshot", "it") } else { ("snapshots", "them") };
        let count = if found.snapshots == 1 { count.to_owned() } else { format!("{} {count}", found.snapshots) };
        findings.push(format!(
            "it has {count}, and libvirt migrates no domain with any; delete {them} (virsh snapshot-list {domain}, virsh \
             snapshot-delete)"
        ));
    }
    // libvirt names the first obstacle, which may be one of the above.
    if let Some(refusal) = found.refusal.as_ref().filter(|_| findings.is_empty()) {
        let words = &refusal.message;
        findings.push(if refusal.unsafe_storage {
            format!(
                "a disk of it is not on storage that both hosts share, says the libvirt of {host} ({words}); move the disk \
                 to shared storage, or exclude the domain"
            )
        } else {
            format!("the libvirt of {host} does not migrate it: {words}; mend that, or exclude the domain")
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::facts::LibvirtRefusal;

    fn of(found: DomainFacts) -> Vec<String> {
        findings("host-a", "web", &found)
    }

    #[test]
    fn a_free_domain_has_none() {
        assert!(of(DomainFacts::default()).is_empty());
    }

    #[test]
    fn jobs_and_snapshots_are_named_with_the_command_that_ends_them() {
        let backup = of(DomainFacts { job: Some(Occupation::Other("backup")), snapshots: 1, ..DomainFacts::default() });
        assert!(backup[0].contains("a backup job") && backup[0].contains("virsh domjobabort web"), "{backup:?}");
        assert!(backup[1].contains("it has a snapshot,"), "{backup:?}");
        assert!(
            of(DomainFacts { job: Some(Occupation::Migration), ..DomainFacts::default() })[0]
                .contains("migrated already")
        );
    }

    #[test]
    fn one_that_hangs_is_named_with_what_to_look_for() {
        let found = of(DomainFacts { hangs: true, ..DomainFacts::default() });
        assert!(found[0].contains("virsh domcontrol web") && found[0].contains("storage"), "{found:?}");
    }

    #[test]
    fn libvirt_s_own_refusal_counts_where_nothing_else_explains_it() {
        let refusal = |unsafe_storage| LibvirtRefusal { unsafe_storage, message: "its words".to_owned() };
        let found = of(DomainFacts { refusal: Some(refusal(true)), ..DomainFacts::default() });
        assert!(found[0].contains("shared storage") && found[0].contains("its words"), "{found:?}");
        let found = of(DomainFacts { refusal: Some(refusal(false)), ..DomainFacts::default() });
        assert!(found[0].contains("does not migrate it: its words"), "{found:?}");
        let found = of(DomainFacts { refusal: Some(refusal(false)), snapshots: 3, ..DomainFacts::default() });
        assert_eq!(found.len(), 1);
    }
}
