//! Which kinds of guests leave, and which of them have come through before.

use std::collections::HashMap;

use super::facts::{DomainFacts, Facts};
use super::version;
use crate::libvirt::xml::domain::Hardware;
use crate::plan::Ground;
use crate::profile::{DomainProfile, Profile};

/// The kinds of guests that leave a source.
#[derive(Debug, Default)]
pub(super) struct Grounds {
    pub(super) grounds: Vec<Ground>,
    /// The place of each domain's among them, by UUID.
    pub(super) ground_of: HashMap<String, usize>,
}

impl Grounds {
    /// Those of the domains that run, if the hypervisor is QEMU: of another it is not known what to look at.
    pub(super) fn of(source: &Profile, facts: &Facts) -> Self {
        let mut found = Self::default();
        let mut places: HashMap<(Option<String>, String), usize> = HashMap::new();
        for domain in source.domains.iter().filter(|d| facts.source.hypervisor == "QEMU" && d.state.is_active()) {
            let Some(known) = facts.domains.get(&domain.uuid) else { continue };
            let key = key(domain, known, facts);
            let next = found.grounds.len();
            let Hardware { machine, likeness, .. } = &known.hardware;
            let place = *places.entry((key.clone(), format!("{} {likeness}", machine.name))).or_insert(next);
            if place == next {
                let proven = key.as_ref().is_some_and(|key| facts.proven.contains(key));
                found.grounds.push(Ground { machine: machine.name.clone(), key, proven });
            }
            found.ground_of.insert(domain.uuid.clone(), place);
        }
        found
    }
}

/// `None` if it is not known which QEMU the domain runs in: it may be an old one, from before an upgrade.
fn key(domain: &DomainProfile, known: &DomainFacts, facts: &Facts) -> Option<String> {
    let running = facts.running.get(&domain.name)?;
    let machine = &known.hardware.machine;
    let by_libvirt = || format!("{} {}", facts.destination.hypervisor, version(facts.destination.version));
    let installed = facts.installed.get(&machine.emulator).cloned().unwrap_or_else(by_libvirt);
    Some(format!("{running} to {installed}; machine {} ({}); {}", machine.name, machine.kind, known.hardware.likeness))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainState;
    use crate::libvirt::facts::HostFacts;
    use crate::profile::fixture;

    fn facts(running: &[(&str, &str)]) -> Facts {
        let host = || HostFacts { hypervisor: "QEMU".to_owned(), version: 10_000_002, ..HostFacts::default() };
        let domain = |uuid: &str| (uuid.to_owned(), DomainFacts::default());
        Facts {
            source: host(),
            destination: host(),
            domains: ["u1", "u2", "u3"].map(domain).into(),
            running: running.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect(),
            ..Facts::default()
        }
    }

    fn grounds(facts: &Facts) -> (Vec<bool>, Vec<usize>) {
        let domains = [
            ("n1", "u1", DomainState::Running),
            ("n2", "u2", DomainState::Running),
            ("n3", "u3", DomainState::Running),
        ];
        let found = Grounds::of(&fixture::host("a", &domains), facts);
        let proven = found.grounds.iter().map(|ground| ground.proven).collect();
        (proven, ["u1", "u2", "u3"].iter().map(|uuid| found.ground_of[*uuid]).collect())
    }

    #[test]
    fn guests_of_one_version_are_of_one_kind_and_proven_together() {
        let mut facts = facts(&[("n1", "10.0.2"), ("n2", "10.0.2"), ("n3", "9.2.0")]);
        assert_eq!(grounds(&facts), (vec![false, false], vec![0, 0, 1]));
        let found = Grounds::of(&fixture::host("a", &[("n1", "u1", DomainState::Running)]), &facts);
        facts.proven.extend(found.grounds[0].key.clone());
        assert_eq!(grounds(&facts), (vec![true, false], vec![0, 0, 1]));
        facts.destination.version = 10_000_003;
        assert_eq!(grounds(&facts).0, [false, false], "a proof lapses with an upgrade of the destination");
    }

    #[test]
    fn guests_of_which_the_version_is_not_known_are_of_a_kind_that_is_never_proven() {
        let mut facts = facts(&[("n3", "10.0.2")]);
        assert_eq!(grounds(&facts), (vec![false; 2], vec![0, 0, 1]));
        facts.proven.insert(String::new());
        assert_eq!(grounds(&facts).0, [false; 2]);
    }

    #[test]
    fn of_another_hypervisor_nothing_is_known() {
        let mut facts = facts(&[]);
        facts.source.hypervisor = "TEST".to_owned();
        let found = Grounds::of(&fixture::host("a", &[("n1", "u1", DomainState::Running)]), &facts);
        assert!(found.grounds.is_empty() && found.ground_of.is_empty());
    }
}
