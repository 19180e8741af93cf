//! Whether the destination's memory holds the sum of what comes.
//!
//! QEMU takes memory as the guest touches it, so what is resident at the source is what the destination must have; all
//! of it at once where it is locked, preallocated or in huge pages.

use std::collections::HashMap;

use super::facts::{Facts, Memory};
use super::needs::Backing;
use crate::profile::Profile;
use crate::units::size;

/// The domains that find no room when they come in this order, by UUID, each with the finding.
pub(super) fn without_room<'a>(
    arrivals: impl Iterator<Item = &'a str>,
    source: &Profile,
    facts: &Facts,
) -> HashMap<String, String> {
    let Some(mut memory) = facts.memory.clone() else { return HashMap::new() };
    let host = &facts.destination.name;
    let mut crowded = HashMap::new();
    for uuid in arrivals {
        let Some(domain) = source.domains.iter().find(|domain| domain.uuid == uuid) else { continue };
        let backing = facts.domains.get(uuid).map(|found| found.needs.backing).unwrap_or_default();
        let need = if backing == Backing::Lazy { domain.resident_bytes } else { domain.memory_bytes };
        let (left, kind) = pool(&mut memory, backing);
        if need <= *left {
            *left -= need;
        } else {
            crowded.insert(
                uuid.to_owned(),
                format!(
                    "it needs {} of {kind} at {host}, which has {} left when the domains before it in the plan are there; \
                     free some there, or exclude some domains",
                    size(need),
                    size(*left)
                ),
            );
        }
    }
    crowded
}

/// Where a guest's memory comes from, and what that is called.
fn pool(memory: &mut Memory, backing: Backing) -> (&mut u64, String) {
    let Backing::Huge(page) = backing else { return (&mut memory.available, "memory".to_owned()) };
    // The default size is the smallest on every architecture that libvirt tells the sizes of.
    let page = page.or_else(|| memory.huge.keys().next().copied()).unwrap_or(0);
    (memory.huge.entry(page).or_default(), format!("huge pages of {}", size(page)))
}

#[cfg(test)]
mod tests {
    use super::super::facts::DomainFacts;
    use super::super::needs::Needs;
    use super::*;
    use crate::plan::{Demands, plan};
    use crate::profile::{DomainState, fixture};

    const MIB: u64 = 1 << 20;

    /// Which of these domains (resident and whole memory in MiB, backing) have no room, in the plan's order.
    fn crowded(memory: Memory, domains: &[(u64, u64, Backing)]) -> Vec<(usize, String)> {
        let names: Vec<_> = (1..=domains.len()).map(|n| format!("n{n}")).collect();
        let named: Vec<_> = names.iter().map(|n| (n.as_str(), n.as_str(), DomainState::Running)).collect();
        let mut source = fixture::host("a", &named);
        let mut facts = Facts { memory: Some(memory), ..Facts::default() };
        for (profile, (resident, whole, backing)) in source.domains.iter_mut().zip(domains) {
            (profile.resident_bytes, profile.memory_bytes) = (resident * MIB, whole * MIB);
            let needs = Needs { backing: *backing, ..Needs::default() };
            facts.domains.insert(profile.uuid.clone(), DomainFacts { needs, ..DomainFacts::default() });
        }
        let plan = plan(&source, &fixture::host("b", &[]), &[], &Demands::default());
        let crowded = without_room(plan.migrations.iter().map(|step| step.uuid.as_str()), &source, &facts);
        let order = plan.migrations.iter().filter_map(|s| Some((s.order, crowded.get(&s.uuid)?.clone())));
        order.collect()
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
    }

    #[test]
    fn memory_that_is_taken_at_once_counts_whole() {
        assert!(crowded(memory(900), &[(100, 1000, Backing::Lazy)]).is_empty());
        assert_eq!(crowded(memory(900), &[(100, 1000, Backing::Whole)]).len(), 1);
    }

    #[test]
    fn huge_pages_have_their_own_room() {
        let (two_mib, gib) = (2 * MIB, 1 << 30);
        let memory = || Memory { available: u64::MAX, huge: [(two_mib, 64 * MIB), (gib, gib)].into() };
        assert!(crowded(memory(), &[(1, 64, Backing::Huge(Some(two_mib)))]).is_empty());
        assert!(crowded(memory(), &[(1, 64, Backing::Huge(None))]).is_empty());
        let found = crowded(memory(), &[(1, 65, Backing::Huge(None))]);
        assert!(found[0].1.contains("huge pages of 2.0 MiB"), "{found:?}");
        assert_eq!(
            crowded(memory(), &[(1, 512, Backing::Huge(Some(gib))), (1, 600, Backing::Huge(Some(gib)))]).len(),
            1
        );
    }
}
