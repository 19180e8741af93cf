//! Whether the destination's memory holds the sum of what comes.
//!
//! QEMU takes memory as the guest touches it, so what is resident at the source is what the destination must have; all
//! of it at once if it is locked, preallocated or in huge pages.
//!
//! What the destination has to give is what its kernel calls available. A libvirt before 12.3 does not tell that: then
//! it is what is free or in caches, less what can't be freed (shared memory of guests is among the caches) and what the
//! kernel keeps for itself. What other runs still bring is not free either.

use std::collections::{BTreeMap, HashMap};

use super::facts::Facts;
use crate::libvirt::xml::domain::Backing;
use crate::obstacle::{Obstacle, Room, RoomBasis};
use crate::plan::Note;
use crate::profile::{DomainProfile, Profile};

/// The destination's memory after all have come that find room.
#[derive(Debug, Default)]
pub(super) struct Filling {
    /// The domains that find none, by UUID, each with the obstacle.
    pub(super) crowded: HashMap<String, Obstacle>,
    /// What is worth knowing beside that.
    pub(super) notes: Vec<Note>,
}

/// Lets domains come in this order.
pub(super) fn fill<'a>(
    arrivals: impl Iterator<Item = &'a str>,
    source: &Profile,
    destination: &Profile,
    facts: &Facts,
) -> Filling {
    let host = &facts.destination.name;
    let room = room(destination, facts);
    let mut ordinary = room.as_ref().map_or(0, Room::bytes);
    let mut huge = facts.memory.as_ref().map(|memory| memory.huge.clone()).unwrap_or_default();
    let (mut filling, mut taken) = (Filling::default(), 0);
    for uuid in arrivals {
        let Some(domain) = source.domain(uuid) else { continue };
        let (destination, needed_bytes) = (host.clone(), need(domain, facts));
        let lacks = match backing(facts, uuid) {
            Backing::Huge(page) => {
                let Some((page_bytes, left)) = pool(&mut huge, page) else { continue };
                let obstacle = |left_bytes| Obstacle::NoHugePages { destination, needed_bytes, left_bytes, page_bytes };
                take(left, needed_bytes).err().map(obstacle)
            }
            Backing::Lazy | Backing::Whole => {
                let Some(room) = room.clone() else { continue };
                taken += needed_bytes;
                let obstacle = |left_bytes| Obstacle::NoMemory { destination, needed_bytes, left_bytes, room };
                take(&mut ordinary, needed_bytes).err().map(obstacle)
            }
        };
        filling.crowded.extend(lacks.map(|obstacle| (uuid.to_owned(), obstacle)));
    }
    for promise in &facts.allowance.promised {
        let (source, destination, bytes) = (promise.source.clone(), host.clone(), promise.bytes);
        filling.notes.push(Note::Promised { source, destination, bytes });
    }
    if let Some(room) = room.filter(|_| taken > ordinary && filling.crowded.is_empty()) {
        let destination = host.clone();
        filling.notes.push(Note::MemoryNear { destination, left_bytes: ordinary, room, plan_bytes: taken });
    }
    filling
}

/// Takes as much as is needed; if there is less, that is the error.
fn take(left: &mut u64, need: u64) -> Result<(), u64> {
    *left = left.checked_sub(need).ok_or(*left)?;
    Ok(())
}

/// Memory that each domain takes at the destination, in bytes, by UUID.
pub(super) fn needs(source: &Profile, facts: &Facts) -> HashMap<String, u64> {
    let needs = |domain: &DomainProfile| if domain.state.is_active() { need(domain, facts) } else { 0 };
    source.domains.iter().map(|domain| (domain.uuid.clone(), needs(domain))).collect()
}

fn need(domain: &DomainProfile, facts: &Facts) -> u64 {
    match backing(facts, &domain.uuid) {
        Backing::Lazy => domain.resident_bytes,
        Backing::Whole | Backing::Huge(_) => domain.memory_bytes,
    }
}

fn backing(facts: &Facts, uuid: &str) -> Backing {
    let backing = facts.domains.get(uuid).map(|found| found.hardware.backing).unwrap_or_default();
    match backing {
        // Ordinary pages, though they stand where huge ones do.
        Backing::Huge(Some(size)) if facts.destination.page_sizes.first() == Some(&size) => Backing::Lazy,
        backing => backing,
    }
}

/// Huge pages of a size; `None` if the host did not tell how many are free.
fn pool(huge: &mut BTreeMap<u64, u64>, page: Option<u64>) -> Option<(u64, &mut u64)> {
    // The default size is the smallest on every architecture that libvirt tells the sizes of.
    let page = page.or_else(|| huge.keys().next().copied())?;
    Some((page, huge.get_mut(&page)?))
}

/// `None` if nobody tells.
fn room(destination: &Profile, facts: &Facts) -> Option<Room> {
    let allowance = &facts.allowance;
    let ordinary = |backing| !matches!(backing, Backing::Huge(_));
    let (basis, basis_bytes, taken_bytes, keeps) = match (allowance.guests, &facts.memory) {
        (Some(guests), _) => {
            (RoomBasis::Configured, guests, resident(destination, facts, |backing, _| ordinary(backing)), 0)
        }
        (None, Some(memory)) if memory.by_kernel => (RoomBasis::Available, memory.available, 0, 0),
        (None, Some(memory)) => {
            let shared = resident(destination, facts, |backing, shared| shared && ordinary(backing));
            (RoomBasis::FreeOrCached, memory.available, shared, kernel_keeps(memory.total))
        }
        (None, None) => return None,
    };
    let reserved_bytes = allowance.reserve.unwrap_or(keeps);
    let promised_bytes = allowance.promised.iter().map(|promise| promise.bytes).sum();
    Some(Room { basis, basis_bytes, taken_bytes, reserved_bytes, promised_bytes })
}

/// What is resident of the destination's guests whose memory is `of` that kind: how it is taken, and whether it is shared.
fn resident(destination: &Profile, facts: &Facts, of: impl Fn(Backing, bool) -> bool) -> u64 {
    let counts = |uuid: &str| {
        let found = facts.residents.iter().find(|resident| resident.uuid == uuid);
        found.is_some_and(|resident| of(resident.hardware.backing, resident.hardware.shared_memory))
    };
    destination.domains.iter().filter(|domain| counts(&domain.uuid)).map(|domain| domain.resident_bytes).sum()
}

/// What Linux gives to no process, by the formula of its vm.min_free_kbytes: four times the square root of all memory, both
/// in KiB. It is among what is told to be free.
fn kernel_keeps(total: u64) -> u64 {
    (4.0 * ((total >> 10) as f64).sqrt()) as u64 * 1024
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Allowance, DomainFacts, Promise};
    use super::*;
    use crate::domain::DomainState;
    use crate::libvirt::facts::{Memory, Resident};
    use crate::libvirt::xml::domain::Hardware;
    use crate::plan::{Demands, plan};
    use crate::profile::fixture;

    const MIB: u64 = 1 << 20;

    /// These domains (resident and whole memory in MiB, backing) come in the plan's order; with each place the sentence of
    /// the domain there that has no room.
    fn come(mut facts: Facts, domains: &[(u64, u64, Backing)]) -> (Vec<(usize, String)>, Vec<String>) {
        let names: Vec<_> = (1..=domains.len()).map(|n| format!("n{n}")).collect();
        let named: Vec<_> = names.iter().map(|n| (n.as_str(), n.as_str(), DomainState::Running)).collect();
        let mut source = fixture::host("a", &named);
        for (profile, (resident, whole, backing)) in source.domains.iter_mut().zip(domains) {
            (profile.resident_bytes, profile.memory_bytes) = (resident * MIB, whole * MIB);
            let hardware = Hardware { backing: *backing, ..Hardware::default() };
            facts.domains.insert(profile.uuid.clone(), DomainFacts { hardware, ..DomainFacts::default() });
        }
        let residents: Vec<_> =
            facts.residents.iter().map(|r| (r.name.as_str(), r.uuid.as_str(), DomainState::Running)).collect();
        let mut destination = fixture::host("b", &residents);
        destination.domains.iter_mut().for_each(|domain| domain.resident_bytes = 100 * MIB);
        let plan = plan(&source, &destination, &[], &Demands::default());
        let arrivals = plan.migrations.iter().map(|step| step.uuid.as_str());
        let filling = fill(arrivals, &source, &destination, &facts);
        let order = plan.migrations.iter().filter_map(|s| Some((s.order, filling.crowded.get(&s.uuid)?.to_string())));
        (order.collect(), filling.notes.iter().map(ToString::to_string).collect())
    }

    fn crowded(memory: Memory, domains: &[(u64, u64, Backing)]) -> Vec<(usize, String)> {
        come(Facts { memory: Some(memory), ..Facts::default() }, domains).0
    }

    fn memory(mib: u64) -> Memory {
        Memory { available: mib * MIB, ..Memory::default() }
    }

    #[test]
    fn the_sum_must_fit_and_the_later_in_the_plan_are_named() {
        let domains = [(100, 1000, Backing::Lazy); 3];
        assert!(crowded(memory(300), &domains).is_empty());
        let found = crowded(memory(250), &domains);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 3, "the last one");
        assert!(found[0].1.contains("100.0 MiB of memory") && found[0].1.contains("50.0 MiB left"), "{found:?}");
        assert!(found[0].1.contains("counted: 250.0 MiB free or in caches)"), "{found:?}");
    }

    #[test]
    fn memory_that_is_taken_at_once_counts_whole() {
        assert!(crowded(memory(900), &[(100, 1000, Backing::Lazy)]).is_empty());
        assert_eq!(crowded(memory(900), &[(100, 1000, Backing::Whole)]).len(), 1);
    }

    #[test]
    fn huge_pages_have_their_own_room() {
        let (two_mib, gib) = (2 * MIB, 1 << 30);
        let memory = || Memory { huge: [(two_mib, 64 * MIB), (gib, gib)].into(), ..memory(1 << 20) };
        assert!(crowded(memory(), &[(1, 64, Backing::Huge(Some(two_mib)))]).is_empty());
        assert!(crowded(memory(), &[(1, 64, Backing::Huge(None))]).is_empty());
        let found = crowded(memory(), &[(1, 65, Backing::Huge(None))]);
        assert!(found[0].1.contains("huge pages of 2.0 MiB"), "{found:?}");
        assert_eq!(
            crowded(memory(), &[(1, 512, Backing::Huge(Some(gib))), (1, 600, Backing::Huge(Some(gib)))]).len(),
            1
        );
    }

    #[test]
    fn ordinary_pages_that_a_definition_names_are_no_huge_ones() {
        let mut facts = Facts { memory: Some(memory(50)), ..Facts::default() };
        let named = [(60, 64, Backing::Huge(Some(4096)))];
        assert!(come(facts.clone(), &named).0.is_empty(), "it is not known that these are ordinary");
        facts.destination.page_sizes = [4096, 2 * MIB].into();
        assert!(come(facts, &named).0[0].1.contains("60.0 MiB of memory"));
    }

    #[test]
    fn huge_pages_that_the_host_did_not_tell_of_are_not_taken_to_be_none() {
        let memory = || Memory { huge: [(2 * MIB, 0)].into(), ..memory(1000) };
        assert_eq!(crowded(memory(), &[(1, 64, Backing::Huge(Some(2 * MIB)))]).len(), 1);
        assert!(crowded(memory(), &[(1, 64, Backing::Huge(Some(1 << 30)))]).is_empty());
        assert!(crowded(Memory { huge: BTreeMap::new(), ..memory() }, &[(1, 64, Backing::Huge(None))]).is_empty());
    }

    #[test]
    fn shared_memory_of_the_destination_s_guests_is_not_free_unless_the_kernel_has_judged_that() {
        let resident = |name: &str, inside: &str| Resident {
            name: name.to_owned(),
            uuid: name.to_owned(),
            hardware: Hardware::read(&format!("<domain><memoryBacking>{inside}</memoryBacking><devices/></domain>")),
        };
        let shared = "<source type='memfd'/><access mode='shared'/>";
        let residents = vec![
            resident("private", "<source type='memfd'/>"),
            resident("shared", shared),
            resident("huge", &format!("<hugepages/>{shared}")),
        ];
        let facts = |by_kernel| Facts {
            memory: Some(Memory { by_kernel, ..memory(250) }),
            residents: residents.clone(),
            ..Facts::default()
        };
        let found = come(facts(false), &[(200, 200, Backing::Lazy)]).0;
        assert!(found[0].1.contains("250.0 MiB free or in caches, less 100.0 MiB of shared memory"), "{found:?}");
        assert!(come(facts(true), &[(200, 200, Backing::Lazy)]).0.is_empty());
    }

    #[test]
    fn the_host_keeps_some_by_its_kernel_or_by_the_configuration() {
        let memory = |by_kernel| Memory { total: 16 << 30, by_kernel, ..memory(116) };
        let facts = |by_kernel, reserve: Option<u64>| Facts {
            memory: Some(memory(by_kernel)),
            allowance: Allowance { reserve: reserve.map(|mib| mib * MIB), ..Allowance::default() },
            ..Facts::default()
        };
        let fits = |facts, mib| come(facts, &[(mib, mib, Backing::Lazy)]).0.is_empty();
        assert!(fits(facts(false, None), 100) && !fits(facts(false, None), 101), "16 MiB of 16 GiB");
        assert!(fits(facts(true, None), 116), "the kernel has taken it off");
        assert!(fits(facts(false, Some(0)), 116));
        assert!(fits(facts(true, Some(50)), 66) && !fits(facts(true, Some(50)), 67));
    }

    #[test]
    fn the_configuration_may_say_what_guests_have() {
        let resident = Resident {
            name: "r".to_owned(),
            uuid: "r".to_owned(),
            hardware: Hardware::read("<domain><devices/></domain>"),
        };
        let facts = || Facts {
            memory: Some(memory(1)),
            residents: vec![resident.clone()],
            allowance: Allowance { guests: Some(300 * MIB), ..Allowance::default() },
            ..Facts::default()
        };
        assert!(come(facts(), &[(200, 200, Backing::Lazy)]).0.is_empty());
        let found = come(facts(), &[(201, 201, Backing::Lazy)]).0;
        assert!(found[0].1.contains("300.0 MiB for guests by the configuration, less 100.0 MiB"), "{found:?}");
    }

    #[test]
    fn what_another_run_brings_is_not_free_and_what_cannot_be_known_is_told_when_memory_is_near() {
        let facts = |mib, promised: &[u64]| Facts {
            memory: Some(memory(mib)),
            allowance: Allowance {
                promised: promised
                    .iter()
                    .map(|mib| Promise { source: "host-c".to_owned(), bytes: mib * MIB })
                    .collect(),
                ..Allowance::default()
            },
            ..Facts::default()
        };
        let domains = [(100, 100, Backing::Lazy)];
        let (found, notes) = come(facts(150, &[60]), &domains);
        assert!(found[0].1.contains("less 60.0 MiB that other runs still bring"), "{found:?}");
        assert!(notes[0].contains("another run still brings 60.0 MiB from host-c"), "{notes:?}");
        let (found, notes) = come(facts(150, &[]), &domains);
        assert!(found.is_empty() && notes[0].contains("runs from other machines"), "{notes:?}");
        assert_eq!(come(facts(200, &[]), &domains).1, Vec::<String>::new(), "another like it would fit");
    }
}
