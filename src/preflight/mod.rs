//! What would go wrong, found before anything moves.
//!
//! [`gather()`] asks both hosts for [`facts`]; everything else is pure: each check makes of the facts a list of
//! obstacles, which are worded elsewhere. One of a domain refuses it in the plan; one of a host blocks the whole plan. What can't be known stays open here, and libvirt's own checks decide when the migration
//! begins, with the domain still running at the source.

mod destination;
pub mod facts;
mod gather;
mod memory;
pub(crate) mod offline;
mod places;
mod shell;
mod source;
mod table;

use crate::domain::Technique;
use crate::libvirt::facts::Cluster;
use crate::manager::Manager;
use crate::obstacle::Obstacle;
use crate::plan::{Difference, Draft, Findings, HostRefusal, Note, Plan, Planner, Rule, Step, Versions};
use crate::profile::{Both, Profile};

pub use facts::Facts;
pub use gather::gather;

#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    pub plan: Plan,
    /// Why a saved plan does not hold as it was made; empty if it does.
    pub differences: Vec<Difference>,
}

/// Has the plan made of what can be moved, as far as the profiles and, for live hosts, the facts show.
pub fn assess(profiles: Both, facts: Option<&Facts>, planner: &Planner<'_>) -> Assessment {
    let Both { mut source, destination } = profiles;
    let Some(facts) = facts else {
        places::refuse_collisions(&mut source, &destination);
        let Draft { plan, differences, .. } = planner.draft(&source, &destination, &Findings::default());
        return Assessment { plan, differences };
    };
    let rules = planner.examined(&source);
    mark(&mut source, &destination, facts, &rules);
    let findings = findings(&source, facts);
    let mut draft = planner.draft(&source, &destination, &findings);
    let mut filling = memory::fill(draft.arrivals(), &source, &destination, facts);
    if !filling.crowded.is_empty() {
        for domain in &mut source.domains {
            // In the plan's order the destination's memory has no room for it.
            domain.migration.obstacle = filling.crowded.remove(&domain.uuid).or(domain.migration.obstacle.take());
        }
        draft = planner.draft(&source, &destination, &findings);
        filling = memory::fill(draft.arrivals(), &source, &destination, facts);
    }
    let Draft { plan, differences, .. } = draft;
    let notes = notes(facts, &plan).into_iter().chain(filling.notes).collect();
    Assessment { plan: Plan { notes, ..plan }, differences }
}

/// What the facts say of the hosts beside the profiles.
fn findings(source: &Profile, facts: &Facts) -> Findings {
    Findings {
        blocked: blocked(facts),
        memory_bytes: memory::needs(source, facts),
        // A destination that can't load a guest's device state loses it by post-copy, and leaves it running at the source
        // by pre-copy. Seen from QEMU 10.0.13 to 11.1.2.
        pre_copy_because: versions_differ(facts).then_some("the hosts' different versions of QEMU"),
    }
}

/// Whether both hosts run the same hypervisor, in versions that are known and not the same.
fn versions_differ(facts: &Facts) -> bool {
    let (source, destination) = (&facts.source, &facts.destination);
    let known = source.version > 0 && destination.version > 0;
    known && source.hypervisor == destination.hypervisor && source.version != destination.version
}

/// Marks each domain of `source` that the facts or the profiles show to be stuck there. `rules` has one entry per domain.
fn mark(source: &mut Profile, destination: &Profile, facts: &Facts, rules: &[Rule]) {
    for (index, domain) in
        source.domains.iter_mut().enumerate().filter(|(_, domain)| domain.migration.obstacle.is_none())
    {
        if let Some(found) = facts.domains.get(&domain.uuid) {
            let moves_owned = rules.get(index).is_some_and(|rule| rule.owned);
            let owner = if moves_owned { None } else { owner(facts, &domain.name, &domain.uuid) };
            let owned = |(manager, name)| Obstacle::Owned { manager, name, uuid: domain.uuid.clone() };
            let mut obstacles: Vec<_> = owner.map(owned).into_iter().collect();
            obstacles.extend(source::obstacles(&facts.source.name, &domain.name, found));
            obstacles.extend(destination::obstacles(facts, &domain.uuid, &domain.name, found));
            if let Some(belongings) = &found.belongings {
                let hosts = (&*facts.source.name, &*facts.destination.name);
                obstacles.extend(offline::obstacles(hosts, &domain.name, belongings));
            }
            domain.migration.obstacle = Obstacle::all(obstacles);
        }
    }
    // Last: of a domain that is on its way already, that is the news, and not that the destination has it, too.
    places::refuse_collisions(source, destination);
}

/// The manager that owns a domain, if one does, and what it calls it.
fn owner(facts: &Facts, domain: &str, uuid: &str) -> Option<(Manager, String)> {
    if let Cluster::Of(resources) = &facts.cluster {
        if let Some(resource) = resources.get(domain) {
            return Some((Manager::Pacemaker, resource.clone()));
        }
    }
    Some((facts.domains.get(uuid)?.hardware.manager?, domain.to_owned()))
}

/// What keeps a whole host from taking part.
fn blocked(facts: &Facts) -> Vec<HostRefusal> {
    let (source, destination) = (&facts.source, &facts.destination);
    let refusal = |host: &str, obstacle| HostRefusal { host: host.to_owned(), obstacle };
    let read_only = [source, destination].into_iter().filter(|host| host.read_only);
    let mut found: Vec<_> = read_only.map(|host| refusal(&host.name, Obstacle::ReadOnly)).collect();
    if source.hypervisor != destination.hypervisor {
        let obstacle = Obstacle::OtherHypervisor {
            hypervisor: destination.hypervisor.clone(),
            source: source.name.clone(),
            source_hypervisor: source.hypervisor.clone(),
        };
        found.push(refusal(&destination.name, obstacle));
    }
    if let Some(difference) = destination::difference(facts).filter(|_| facts.strict) {
        found.push(refusal(&destination.name, difference));
    }
    found
}

/// What is worth knowing, and no bar.
fn notes(facts: &Facts, plan: &Plan) -> Vec<Note> {
    let mut notes = Vec::new();
    if versions_differ(facts) {
        let (source, destination) = (&facts.source, &facts.destination);
        let versions = Versions {
            hypervisor: source.hypervisor.clone(),
            source: source.name.clone(),
            source_version: version(source.version),
            destination: destination.name.clone(),
            destination_version: version(destination.version),
        };
        if destination.version < source.version {
            notes.push(Note::OlderDestination(versions.clone()));
        }
        let by_pre_copy = |step: &Step| step.is_forced() && step.technique() == Technique::PreCopy;
        if plan.migrations.iter().any(by_pre_copy) {
            notes.push(Note::DifferentVersions(versions));
        }
    }
    if facts.cluster == Cluster::Unseen && !plan.migrations.is_empty() {
        notes.push(Note::ClusterUnseen { host: facts.source.name.clone() });
    }
    let destination = || facts.destination.name.clone();
    let post_copies = plan.migrations.iter().filter(|step| step.technique() == Technique::PostCopy).count();
    if post_copies > 1 {
        notes.push(Note::FirstPostCopyAlone { destination: destination() });
    }
    if let Some(user) = facts.destination.qemu.map(|(user, _)| user).filter(|user| *user != 0 && post_copies > 0) {
        notes.push(Note::UnprivilegedQemu { destination: destination(), user });
    }
    let difference = destination::difference(facts).filter(|_| !facts.strict);
    notes.extend(difference.map(|difference| Note::HostsDiffer { difference }));
    let found = plan.migrations.iter().filter_map(|step| facts.domains.get(&step.uuid));
    let unknown = found.filter(|found| destination::named(found).any(|named| table::is_unknown(facts, named)));
    if let domains @ 1.. = unknown.count() {
        notes.push(Note::NotKnown { destination: destination(), domains });
    }
    notes.extend(plan.migrations.iter().flat_map(|step| notes_on(step, facts)));
    notes
}

/// What is worth knowing of one domain.
fn notes_on(Step { domain, uuid, .. }: &Step, facts: &Facts) -> Vec<Note> {
    let (source, destination) = (&facts.source.name, &facts.destination.name);
    let Some(found) = facts.domains.get(uuid) else { return Vec::new() };
    let mut notes = match &found.belongings {
        Some(belongings) => offline::assumptions(destination, domain, belongings),
        None => destination::notes(facts, domain, found),
    };
    notes.extend(owner(facts, domain, uuid).map(|(manager, _)| Note::Owned {
        domain: domain.clone(),
        source: source.clone(),
        manager,
    }));
    notes.extend(found.fault.map(|fault| Note::Paused {
        domain: domain.clone(),
        source: source.clone(),
        destination: destination.clone(),
        fault,
    }));
    notes
}

fn version(number: u32) -> String {
    format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000)
}

#[cfg(test)]
mod tests {
    use super::facts::DomainFacts;
    use super::*;
    use crate::domain::{DomainState, Fault};
    use crate::libvirt::facts::{HostFacts, Memory};
    use crate::libvirt::xml::domain::Hardware;
    use crate::plan::{Basis, Demands};
    use crate::profile::fixture;

    fn plan(source: Profile, destination: &Profile, rules: &[Rule], demands: &Demands, facts: Option<&Facts>) -> Plan {
        let profiles = Both { source, destination: destination.clone() };
        assess(profiles, facts, &Planner { rules, basis: Basis::Demands(demands) }).plan
    }

    fn facts() -> Facts {
        let host = |name: &str| HostFacts {
            name: name.to_owned(),
            hypervisor: "QEMU".to_owned(),
            version: 10_000_013,
            ..HostFacts::default()
        };
        Facts { source: host("a"), destination: host("b"), ..Facts::default() }
    }

    fn plan_with(facts: &Facts) -> Plan {
        let domains = [("n1", "u1", DomainState::Running), ("n2", "u2", DomainState::Running)];
        let (source, destination) = (fixture::host("a", &domains), fixture::host("b", &[]));
        plan(source, &destination, &[], &Demands::default(), Some(facts))
    }

    fn said(plan: &Plan) -> Vec<String> {
        plan.notes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_finding_refuses_its_domain_only_and_all_findings_are_told() {
        let mut facts = facts();
        let found = DomainFacts { snapshots: 2, machine: Some("no such machine".to_owned()), ..DomainFacts::default() };
        facts.domains.insert("u1".to_owned(), found);
        let plan = plan_with(&facts);
        assert_eq!(plan.migrations.len(), 1);
        let reason = plan.refused[0].obstacle.to_string();
        assert!(
            reason.contains("2 snapshots") && reason.contains("; ") && reason.contains("no such machine"),
            "{reason}"
        );
        assert!(plan.blocked.is_empty() && plan.notes.is_empty());
    }

    #[test]
    fn a_domain_without_room_is_refused_and_the_plan_made_anew() {
        let mut facts = facts();
        for uuid in ["u1", "u2"] {
            facts.domains.insert(uuid.to_owned(), DomainFacts::default());
        }
        facts.memory = Some(Memory { available: 1, ..Memory::default() });
        let plan = plan_with(&facts);
        assert_eq!((plan.migrations.len(), plan.refused.len()), (1, 1));
        assert_eq!(plan.migrations[0].order, 1);
    }

    #[test]
    fn a_read_only_connection_or_another_hypervisor_blocks_everything() {
        let mut facts = facts();
        facts.source.read_only = true;
        facts.destination.hypervisor = "Xen".to_owned();
        let plan = plan_with(&facts);
        let hosts: Vec<_> = plan.blocked.iter().map(|blocked| blocked.host.as_str()).collect();
        assert_eq!(hosts, ["a", "b"]);
    }

    #[test]
    fn a_plan_with_several_post_copies_says_that_the_first_goes_alone() {
        let notes = |count: usize| {
            let running = |name| (name, name, DomainState::Running);
            let (source, destination) =
                (fixture::host("a", &["n1", "n2"].map(running)[..count]), fixture::host("b", &[]));
            let post_copy = Rule { technique: Some(Technique::PostCopy), ..Rule::default() };
            let plan = plan(source, &destination, &[post_copy; 2][..count], &Demands::default(), Some(&facts()));
            said(&plan)
        };
        assert_eq!(notes(1), Vec::<String>::new());
        assert!(notes(2)[0].contains("the first post-copy goes alone until its guest runs at b"), "{:?}", notes(2));
    }

    #[test]
    fn a_domain_that_an_error_has_paused_is_noted_with_what_to_do() {
        let mut facts = facts();
        let found = DomainFacts { fault: Some(Fault::IoError), ..DomainFacts::default() };
        facts.domains.insert("u1".to_owned(), found);
        let notes = said(&plan_with(&facts));
        assert_eq!(notes.len(), 1, "{notes:?}");
        for words in ["n1 is paused by an I/O error (virsh domblkerror n1) at a and arrives paused", "virsh resume n1"]
        {
            assert!(notes[0].contains(words), "{words}: {}", notes[0]);
        }
    }

    #[test]
    fn a_domain_of_a_manager_moves_only_if_the_user_says_so_now_or_when_the_plan_was_made() {
        let mut facts = facts();
        let hardware = Hardware { manager: Some(Manager::OpenstackNova), ..Hardware::default() };
        facts.domains.insert("u1".to_owned(), DomainFacts { hardware, ..DomainFacts::default() });
        let refused = plan_with(&facts);
        assert_eq!((refused.migrations.len(), refused.refused.len()), (1, 1));
        let reason = refused.refused[0].obstacle.to_string();
        for words in ["it belongs to OpenStack Nova", "`openstack server migrate --live-migration u1`", "--owned"] {
            assert!(reason.contains(words), "{words}: {reason}");
        }
        let running = |name, uuid| (name, uuid, DomainState::Running);
        let (source, destination) = (fixture::host("a", &[running("n1", "u1")]), fixture::host("b", &[]));
        let owned = Rule { owned: true, ..Rule::default() };
        let moved = plan(source.clone(), &destination, &[owned], &Demands::default(), Some(&facts));
        assert_eq!((moved.migrations.len(), moved.refused.len()), (1, 0));
        assert!(said(&moved)[0].contains("n1 belongs to OpenStack Nova and moves nevertheless"), "{:?}", said(&moved));
        let again = |saved: &Plan| {
            let planner = Planner { rules: &[Rule::default()], basis: Basis::Saved(saved) };
            assess(Both { source: source.clone(), destination: destination.clone() }, Some(&facts), &planner)
        };
        assert_eq!(again(&moved).differences, [], "who saved it has said so");
        let unmarked = plan(source.clone(), &destination, &[Rule::default()], &Demands::default(), None);
        assert!(again(&unmarked).differences[0].to_string().contains("OpenStack Nova"));
    }

    #[test]
    fn a_resource_of_a_cluster_is_refused_and_a_cluster_that_can_t_be_asked_is_noted_once() {
        let mut facts = facts();
        for uuid in ["u1", "u2"] {
            facts.domains.insert(uuid.to_owned(), DomainFacts::default());
        }
        facts.cluster = Cluster::Of([("n1".to_owned(), "vm-1".to_owned())].into());
        let plan = plan_with(&facts);
        assert_eq!((plan.migrations[0].domain.as_str(), plan.refused[0].domain.as_str()), ("n2", "n1"));
        let reason = plan.refused[0].obstacle.to_string();
        assert!(reason.contains("belongs to Pacemaker") && reason.contains("--resource vm-1`"), "{reason}");
        facts.cluster = Cluster::Unseen;
        let plan = plan_with(&facts);
        assert_eq!((plan.migrations.len(), said(&plan).len()), (2, 1), "{:?}", said(&plan));
        assert!(said(&plan)[0].contains("crm_mon"), "{:?}", said(&plan));
    }

    #[test]
    fn between_different_versions_only_the_user_chooses_post_copy() {
        let mut facts = facts();
        let domains = [("n1", "u1", DomainState::Running), ("n2", "u2", DomainState::Running)];
        let (mut source, destination) = (fixture::host("a", &domains), fixture::host("b", &[]));
        for domain in &mut source.domains {
            (domain.memory_bytes, domain.resident_bytes) = (1 << 30, 1 << 30);
            domain.outbound_bits_per_second = 3e8;
        }
        let chosen = Rule { technique: Some(Technique::PostCopy), ..Rule::default() };
        let techniques = |rules: &[Rule], facts: &Facts| {
            let plan = plan(source.clone(), &destination, rules, &Demands::default(), Some(facts));
            let post_copy = |domain: &str| {
                let step = plan.migrations.iter().find(|step| step.domain == domain);
                step.is_some_and(|step| step.technique() == Technique::PostCopy)
            };
            (post_copy("n1"), post_copy("n2"), said(&plan).join("\n"))
        };
        let alike = techniques(&[], &facts);
        assert!(alike.0 || alike.1, "it would pay");
        facts.destination.version = 11_001_002;
        let (first, second, notes) = techniques(&[], &facts);
        assert!(!first && !second && notes.contains("QEMU 11.1.2: a domain goes by post-copy only if"), "{notes}");
        assert!(techniques(&[chosen], &facts).0);
        facts.source.version = 0;
        assert_eq!(techniques(&[], &facts).0, alike.0, "a version that is not known says nothing");
    }

    #[test]
    fn an_older_destination_and_an_unprivileged_qemu_are_noted() {
        let mut facts = facts();
        facts.destination.version = 7_002_022;
        facts.destination.qemu = Some((64055, 109));
        let demands = Demands::default();
        let domains = [("n1", "u1", DomainState::Running)];
        let (source, destination) = (fixture::host("a", &domains), fixture::host("b", &[]));
        let post_copy = Rule { technique: Some(Technique::PostCopy), ..Rule::default() };
        let plan = plan(source, &destination, &[post_copy], &demands, Some(&facts));
        let notes = said(&plan);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("QEMU 7.2.22") && notes[0].contains("10.0.13"), "{}", notes[0]);
        assert!(notes[1].contains("vm.unprivileged_userfaultfd=1"), "{}", notes[1]);
    }
}
