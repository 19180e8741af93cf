//! Which kinds of guests leave, and which of them have come through before.

use std::collections::{BTreeSet, HashMap};

use super::facts::{DomainFacts, Facts};
use super::version;
use crate::libvirt::xml::domain::Hardware;
use crate::plan::{Ground, IN_USE};
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
            let kind = kind(domain, known, facts);
            let key = kind.as_ref().map(|kind| key(kind, &known.models_in_use));
            let next = found.grounds.len();
            let Hardware { machine, likeness, .. } = &known.hardware;
            let place = *places.entry((key.clone(), format!("{} {likeness}", machine.name))).or_insert(next);
            if place == next {
                let came_through =
                    kind.is_some_and(|kind| provers(&kind, known).any(|key| facts.proven.contains(&key)));
                let proven = came_through || gives_back(domain, facts);
                found.grounds.push(Ground { machine: machine.name.clone(), key, proven });
            }
            found.ground_of.insert(domain.uuid.clone(), place);
        }
        found
    }
}

/// Whether a destination that can't load the guest gives it back to the source, so that nothing has to be proven: QEMU does
/// from 10.2 on (its state `postcopy-device`), and libvirt has to know that. Seen 7 of 7 times from QEMU 11.1.2 and libvirt
/// 12.8; which libvirt before that copes is not known.
fn gives_back(domain: &DomainProfile, facts: &Facts) -> bool {
    let version = |text: &str| {
        let number = text.strip_prefix("QEMU emulator version ")?.split(' ').next()?;
        let mut parts = number.split('.').map(str::parse::<u32>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    let running = facts.running.get(&domain.name).and_then(|text| version(text));
    running.is_some_and(|running| running >= (10, 2)) && facts.source.libvirt >= 12_008_000
}

/// All that guests of one kind have alike but for their drivers. `None` if it is not known which QEMU the domain runs in: it
/// may be an old one, from before an upgrade.
fn kind(domain: &DomainProfile, known: &DomainFacts, facts: &Facts) -> Option<String> {
    let running = facts.running.get(&domain.name)?;
    let machine = &known.hardware.machine;
    let by_libvirt = || format!("{} {}", facts.destination.hypervisor, version(facts.destination.version));
    let installed = facts.installed.get(&machine.emulator).cloned().unwrap_or_else(by_libvirt);
    Some(format!("{running} to {installed}; machine {} ({}); {}", machine.name, machine.kind, known.hardware.likeness))
}

/// The key of guests of a kind that use NICs of these models. A guest whose drivers do not run proves nothing for those in
/// which they do: seen with a guest without a system, which came through where one of the same definition that sent 30 Mbit/s
/// was lost, since the destination lacked what its driver used.
fn key(kind: &str, models_in_use: &BTreeSet<String>) -> String {
    let models: Vec<_> = models_in_use.iter().map(String::as_str).collect();
    format!("{kind}{IN_USE}{}", if models.is_empty() { "no NIC".to_owned() } else { models.join(", ") })
}

/// The keys of guests that prove the ground for one: those that use at least what it uses.
fn provers<'a>(kind: &'a str, known: &'a DomainFacts) -> impl Iterator<Item = String> + 'a {
    let idle = known.hardware.nics.iter().map(|nic| &nic.model).filter(|model| !known.models_in_use.contains(*model));
    // More models than this no guest has.
    let idle: Vec<_> = idle.collect::<BTreeSet<_>>().into_iter().take(8).collect();
    (0..1_u32 << idle.len()).map(move |more| {
        let added =
            idle.iter().enumerate().filter(|(bit, _)| more & (1 << bit) != 0).map(|(_, model)| (*model).clone());
        key(kind, &known.models_in_use.iter().cloned().chain(added).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainState;
    use crate::libvirt::facts::HostFacts;
    use crate::libvirt::xml::domain::GuestNic;
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

    fn nic(model: &str) -> GuestNic {
        let (mac, model) = (String::new(), model.to_owned());
        GuestNic { mac, device: None, plug: None, tagged: false, model }
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
    fn a_guest_whose_drivers_do_not_run_proves_nothing_for_others() {
        let mut facts = facts(&[("n1", "10.0.2"), ("n2", "10.0.2"), ("n3", "10.0.2")]);
        for domain in facts.domains.values_mut() {
            domain.hardware.nics = vec![nic("virtio"), nic("virtio"), nic("e1000")];
        }
        facts.domains.get_mut("u2").unwrap().models_in_use = ["virtio".to_owned()].into();
        assert_eq!(grounds(&facts), (vec![false; 2], vec![0, 1, 0]));
        let key_of = |facts: &Facts, place: usize| {
            let domains = [("n1", "u1", DomainState::Running), ("n2", "u2", DomainState::Running)];
            Grounds::of(&fixture::host("a", &domains), facts).grounds[place].key.clone()
        };
        facts.proven = key_of(&facts, 0).into_iter().collect();
        assert_eq!(grounds(&facts).0, [true, false], "one without drivers has come through");
        facts.proven = key_of(&facts, 1).into_iter().collect();
        assert_eq!(grounds(&facts).0, [true, true], "what uses more proves it for what uses less");
    }

    #[test]
    fn a_guest_that_its_qemu_gives_back_needs_no_proof() {
        let of = |running: &str, libvirt| {
            let mut facts = facts(&[("n1", running), ("n2", running), ("n3", running)]);
            facts.source.libvirt = libvirt;
            grounds(&facts).0
        };
        let forky = "QEMU emulator version 11.1.2 (Debian 1:11.1.2+ds-1)";
        assert_eq!(of(forky, 12_008_000), [true]);
        assert_eq!(of("QEMU emulator version 10.2.0", 12_008_000), [true]);
        assert_eq!(of("QEMU emulator version 10.0.13 (Debian)", 12_008_000), [false], "the guest runs in an older one");
        assert_eq!(of(forky, 11_003_000), [false], "libvirt may not know what QEMU says");
        assert_eq!(of("another emulator", 12_008_000), [false]);
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
