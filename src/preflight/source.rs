//! What keeps a domain at the source: jobs, snapshots, and whatever else its libvirt has against a migration.

use super::facts::DomainFacts;
use crate::libvirt::facts::Occupation;
use crate::obstacle::Obstacle;

/// What keeps a domain of `host` there.
pub(super) fn obstacles(host: &str, domain: &str, found: &DomainFacts) -> Vec<Obstacle> {
    let name = || domain.to_owned();
    let mut obstacles = Vec::new();
    if found.hangs {
        obstacles.push(Obstacle::Hangs { name: name() });
    }
    obstacles.extend(found.job.map(|job| match job {
        Occupation::Migration => Obstacle::MigratesAlready { name: name() },
        Occupation::Other(job) => Obstacle::Job { name: name(), job: job.to_owned() },
    }));
    if let count @ 1.. = found.snapshots {
        obstacles.push(Obstacle::Snapshots { name: name(), count });
    }
    // libvirt names the first obstacle, which may be one of the above.
    if let Some(refusal) = found.refusal.as_ref().filter(|_| obstacles.is_empty()) {
        let (source, words) = (host.to_owned(), refusal.message.clone());
        obstacles.push(match refusal.unsafe_storage {
            true => Obstacle::UnsafeStorage { source, words },
            false => Obstacle::LibvirtRefuses { source, words },
        });
    }
    obstacles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::facts::LibvirtRefusal;

    fn of(found: DomainFacts) -> Vec<String> {
        obstacles("host-a", "web", &found).iter().map(ToString::to_string).collect()
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
