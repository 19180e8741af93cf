//! What the two profiles show to be impossible before anything is asked of libvirt.
//!
//! Pure: it marks domains of the source as not migratable, with the obstacle that the plan then gives.

use crate::obstacle::Obstacle;
use crate::profile::Profile;

/// Marks each domain of `source` whose place at `destination` is taken: by another domain of the same name, or by
/// one of the same UUID that is active there.
pub fn refuse_collisions(source: &mut Profile, destination: &Profile) {
    for domain in source.domains.iter_mut().filter(|domain| domain.migration.obstacle.is_none()) {
        domain.migration.obstacle = destination.domains.iter().find_map(|other| {
            let destination = destination.host.clone();
            match other.uuid == domain.uuid {
                true => other.state.is_active().then_some(Obstacle::UuidTaken { destination, state: other.state }),
                false => (other.name == domain.name)
                    .then(|| Obstacle::NameTaken { destination, other_uuid: other.uuid.clone() }),
            }
        });
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
        let eligible: Vec<_> = source.domains.iter().map(|domain| domain.migration.obstacle.is_none()).collect();
        assert_eq!(eligible, [false, false, true, true], "its own inactive definition at the destination is no bar");
        assert!(source.domains[0].migration.obstacle.as_ref().is_some_and(|o| o.to_string().contains("other")));
    }
}
