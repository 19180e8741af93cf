//! What the two profiles show to be impossible before anything is asked of libvirt.
//!
//! Pure: it marks domains of the source as not migratable, with the reason that the plan then gives.

use crate::domain::Eligibility;
use crate::profile::Profile;

/// Marks each domain of `source` whose place at `destination` is taken: by another domain of the same name, or by
/// one of the same UUID that is active there.
pub fn refuse_collisions(source: &mut Profile, destination: &Profile) {
    let host = &destination.host;
    for domain in source.domains.iter_mut().filter(|domain| domain.migration.eligible) {
        let collision = destination.domains.iter().find_map(|other| match (other.uuid == domain.uuid, other) {
            (true, other) if other.state.is_active() => Some(format!(
                "a domain with its UUID is {} at {host}; find out which of the two is the real one, and stop none \
                 before that",
                other.state
            )),
            (false, other) if other.name == domain.name => Some(format!(
                "{host} has another domain of this name (UUID {}); rename one of the two with virsh domrename",
                other.uuid
            )),
            _ => None,
        });
        if let Some(reason) = collision {
            domain.migration = Eligibility::no(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainState;
    use crate::profile::fixture::host;

    #[test]
    fn only_a_taken_place_is_refused() {
        use DomainState::{Running, ShutOff};
        let mut source =
            host("a", &[("n1", "u1", Running), ("n2", "u2", Running), ("n3", "u3", Running), ("n4", "u4", Running)]);
        let destination = host("b", &[("n1", "other", ShutOff), ("n2", "u2", Running), ("n3", "u3", ShutOff)]);
        refuse_collisions(&mut source, &destination);
        let eligible: Vec<_> = source.domains.iter().map(|domain| domain.migration.eligible).collect();
        assert_eq!(eligible, [false, false, true, true], "its own inactive definition at the destination is no bar");
        assert!(source.domains[0].migration.reason.as_ref().is_some_and(|r| r.contains("other")));
    }
}
