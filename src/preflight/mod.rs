//! What would go wrong, found before anything moves.
//!
//! [`gather()`] asks both hosts for [`facts`]; everything else is pure: each check makes of the facts a list of
//! obstacles, which are worded elsewhere. One of a domain refuses it in the plan; one of a host blocks the whole plan. What can't be known stays open here, and libvirt's own checks decide when the migration
//! begins, with the domain still running at the source.

mod destination;
pub mod facts;
mod gather;
mod grounds;
mod memory;
pub(crate) mod offline;
mod places;
mod question;
mod shell;
mod source;
mod table;
pub mod way;

use std::collections::BTreeSet;

use crate::domain::DomainState;
use crate::libvirt::facts::Cluster;
use crate::manager::Manager;
use crate::obstacle::Obstacle;
use crate::plan::{Difference, Draft, Findings, HostRefusal, Note, Plan, Planner, ProofCost, Rule, Step};
use crate::profile::{Both, DomainProfile, Profile};
use crate::topology::{HostPorts, RouteOrigin, UPLINK};

pub use facts::Facts;
pub use gather::gather;
use grounds::Grounds;

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
    let notes = notes(&source, facts, &plan).into_iter().chain(filling.notes).collect();
    Assessment { plan: Plan { notes, ..plan }, differences }
}

/// What the facts say of the hosts beside the profiles.
fn findings(source: &Profile, facts: &Facts) -> Findings {
    let grounds = Grounds::of(source, facts);
    Findings {
        blocked: blocked(facts),
        memory_bytes: memory::needs(source, facts),
        ground_of: grounds.ground_of,
        grounds: grounds.grounds,
    }
}

/// Whether both hosts run the same hypervisor, and the destination an older version.
fn is_older(facts: &Facts) -> bool {
    let (source, destination) = (&facts.source, &facts.destination);
    source.hypervisor == destination.hypervisor && (1..source.version).contains(&destination.version)
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
    let lost = facts.passage.obstacles(&source.name, &destination.name).into_iter();
    found.extend(lost.map(|obstacle| refusal(&source.name, obstacle)));
    if let Some(difference) = destination::difference(facts).filter(|_| facts.strict) {
        found.push(refusal(&destination.name, difference));
    }
    found
}

/// What is worth knowing, and no bar.
fn notes(source: &Profile, facts: &Facts, plan: &Plan) -> Vec<Note> {
    let mut notes = Vec::new();
    if is_older(facts) {
        let (source, destination) = (&facts.source, &facts.destination);
        notes.push(Note::OlderDestination {
            hypervisor: source.hypervisor.clone(),
            source: source.name.clone(),
            source_version: version(source.version),
            destination: destination.name.clone(),
            destination_version: version(destination.version),
        });
    }
    if facts.cluster == Cluster::Unseen && !plan.migrations.is_empty() {
        notes.push(Note::ClusterUnseen { host: facts.source.name.clone() });
    }
    let destination = || facts.destination.name.clone();
    let post_copies = plan.migrations.iter().filter(|step| step.technique().pulls()).count();
    notes.extend(plan.proof.clone().map(|ProofCost { machines, provers, known, seconds }| Note::Unproven {
        source: facts.source.name.clone(),
        destination: destination(),
        machines,
        provers,
        known,
        more_seconds: seconds,
    }));
    if let kinds @ 1.. = trusted_kinds(plan) {
        notes.push(Note::Trusted { destination: destination(), kinds });
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
    notes.extend(plan.hosts.iter().filter_map(route_assumed));
    let silent =
        |domain: &DomainProfile| domain.filled_bytes.or(domain.unused_bytes).is_none() && domain.learned.is_none();
    notes.extend(assumed(source, plan, silent, |domains| Note::MemoryAssumed { domains }));
    let unmeasured = |domain: &DomainProfile| {
        let is_seen = domain.rewritten.is_some_and(|seen| !seen.is_most)
            || domain.learned.is_some_and(|seen| seen.writes.is_some());
        domain.dirty_rate_unknown && !is_seen
    };
    notes.extend(assumed(source, plan, unmeasured, |domains| Note::DirtyRateAssumed { domains }));
    if !plan.migrations.is_empty() {
        notes.extend(facts.passage.notes(&facts.source.name, &facts.destination.name));
    }
    notes.extend(together(plan.migrations.iter().flat_map(|step| notes_on(step, facts))));
    notes
}

/// That it is not known which port of a host migrations cross, if that may make a difference: some guests use another one.
fn route_assumed(ports: &HostPorts) -> Option<Note> {
    let known = [&ports.migration_port].into_iter().filter(|port| port.name != UPLINK);
    let names: BTreeSet<_> = known.chain(&ports.other_ports).map(|port| port.name.clone()).collect();
    let least = if ports.migration_port.name == UPLINK { 1 } else { 2 };
    let unsure = ports.route == RouteOrigin::Assumed && names.len() >= least;
    unsure.then(|| Note::RouteAssumed { host: ports.host.clone(), ports: names.into_iter().collect() })
}

/// What is not known of some domains that run, and so is assumed.
fn assumed(
    source: &Profile,
    plan: &Plan,
    is_unknown: impl Fn(&DomainProfile) -> bool,
    note: impl FnOnce(Vec<String>) -> Note,
) -> Option<Note> {
    let unknown = |step: &&Step| {
        let found = source.domain(&step.uuid).filter(|domain| domain.state == DomainState::Running);
        found.is_some_and(&is_unknown)
    };
    let domains: Vec<_> = plan.migrations.iter().filter(unknown).map(|step| step.domain.clone()).collect();
    (!domains.is_empty()).then(|| note(domains))
}

/// A difference that several domains meet is told once: by the network, not by the NIC.
fn together(notes: impl Iterator<Item = Note>) -> Vec<Note> {
    let mut told: Vec<Note> = Vec::new();
    for mut note in notes {
        if let Note::Differs { domains, difference } = &mut note {
            if let Obstacle::NetworkDiffers { mac, .. } = difference {
                mac.clear();
            }
            let same = told.iter_mut().find_map(|other| match other {
                Note::Differs { domains, difference: other } if other == difference => Some(domains),
                _ => None,
            });
            if let Some(all) = same {
                all.extend(domains.iter().filter(|domain| !all.contains(domain)).cloned().collect::<Vec<_>>());
                continue;
            }
        }
        told.push(note);
    }
    told
}

/// How many kinds of guests go by post-copy on ground that nothing has proven before the first of them.
fn trusted_kinds(plan: &Plan) -> usize {
    let mut proven: Vec<bool> = plan.grounds.iter().map(|ground| ground.proven).collect();
    let mut kinds = 0;
    for step in &plan.migrations {
        let Some(proven) = step.ground.and_then(|ground| proven.get_mut(ground)) else { continue };
        kinds += usize::from(!*proven && step.technique().pulls());
        *proven = true;
    }
    kinds
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
    use crate::domain::{DomainState, Fault, Technique};
    use crate::libvirt::facts::{HostFacts, Memory};
    use crate::libvirt::xml::domain::Hardware;
    use crate::obstacle::NetworkDifference;
    use crate::plan::{Basis, Demands};
    use crate::profile::fixture;
    use crate::profile::learned::{Learned, Teacher, Writes};

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
    fn who_does_not_say_how_much_memory_is_free_is_named_unless_it_was_looked_at_or_seen_to_move() {
        let running = |name: &'static str| (name, name, DomainState::Running);
        let off = ("off", "off", DomainState::ShutOff);
        let domains = [running("says"), running("silent"), running("known"), running("seen"), off];
        let mut source = fixture::host("a", &domains);
        source.domains[1..].iter_mut().for_each(|domain| domain.unused_bytes = None);
        let learned = Learned { crossing_bytes: 1, writes: None, migrations: 1, of: Teacher::Itself };
        source.domains[2].learned = Some(learned);
        source.domains[3].filled_bytes = Some(1);
        let plan = plan(source, &fixture::host("b", &[]), &[], &Demands::default(), Some(&facts()));
        assert_eq!(plan.notes, [Note::MemoryAssumed { domains: vec!["silent".to_owned()] }]);
    }

    #[test]
    fn whose_writes_were_not_measured_is_named_unless_migrations_have_shown_them() {
        let running = |name: &'static str| (name, name, DomainState::Running);
        let mut source = fixture::host("a", &["measured", "unknown", "moved", "known"].map(running));
        source.domains[1..].iter_mut().for_each(|domain| domain.dirty_rate_unknown = true);
        let writes = Writes { bytes_per_second: 0.0, most_bytes: 0, open_after_seconds: None };
        for (domain, writes) in source.domains[2..].iter_mut().zip([None, Some(writes)]) {
            domain.learned = Some(Learned { crossing_bytes: 1, writes, migrations: 1, of: Teacher::Itself });
        }
        let plan = plan(source, &fixture::host("b", &[]), &[], &Demands::default(), Some(&facts()));
        assert_eq!(plan.notes, [Note::DirtyRateAssumed { domains: vec!["moved".to_owned(), "unknown".to_owned()] }]);
    }

    #[test]
    fn a_network_that_differs_is_told_once_for_all_that_are_in_it() {
        let differs = |domain: &str, network: &str, mac: &str| Note::Differs {
            domains: vec![domain.to_owned()],
            difference: Obstacle::NetworkDiffers {
                source: "a".to_owned(),
                destination: "b".to_owned(),
                network: network.to_owned(),
                mac: mac.to_owned(),
                difference: Box::new(NetworkDifference::OfEachHost { mode: "nat".to_owned() }),
            },
        };
        let notes = [
            differs("n1", "lan", "m1"),
            differs("n2", "lan", "m2"),
            differs("n2", "lan", "m3"),
            differs("n2", "dmz", "m4"),
        ];
        let told: Vec<_> = together(notes.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("n1, n2: a NIC is in the libvirt network lan, "), "{}", told[0]);
        let many = (0..9).map(|index| differs(&format!("n{index}"), "lan", "m"));
        assert!(together(many)[0].to_string().starts_with("n0, n1, n2, n3, n4, n5 and 3 others: "));
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

    /// Three guests of one kind on a link of 1 Gbit/s, of which two send much.
    fn senders() -> (Profile, Profile, Facts) {
        let running = |name| (name, name, DomainState::Running);
        let (mut source, destination) = (fixture::host("a", &["n1", "n2", "n3"].map(running)), fixture::host("b", &[]));
        for (domain, sends) in source.domains.iter_mut().zip([3e8, 3e8, 0.0]) {
            (domain.memory_bytes, domain.resident_bytes) = (1 << 30, 1 << 30);
            domain.outbound_bits_per_second = sends;
        }
        let mut facts = facts();
        for name in ["n1", "n2", "n3"] {
            facts.domains.insert(name.to_owned(), DomainFacts::default());
            facts.running.insert(name.to_owned(), "10.0.13".to_owned());
        }
        (source, destination, facts)
    }

    fn by_post_copy(plan: &Plan) -> Vec<&str> {
        let steps = plan.migrations.iter().filter(|step| step.technique() == Technique::PostCopy);
        steps.map(|step| step.domain.as_str()).collect()
    }

    #[test]
    fn post_copies_come_after_a_guest_of_their_kind_and_the_price_is_told() {
        let (source, destination, mut facts) = senders();
        let planned = |facts: &Facts| plan(source.clone(), &destination, &[], &Demands::default(), Some(facts));
        let unproven = planned(&facts);
        assert_eq!(unproven.migrations[0].technique(), Technique::PreCopy);
        assert!(!by_post_copy(&unproven).is_empty() && unproven.grounds.len() == 1);
        let notes = said(&unproven).join("\n");
        let cost = unproven.proof.clone().and_then(|proof| proof.seconds).expect("it costs something");
        assert!(
            notes.contains("proving b for") && notes.contains(&format!("costs {}", crate::units::span(cost))),
            "{notes}"
        );
        assert!(notes.contains("tsmig rehearse a b DOMAIN") && notes.contains("--trust-destination"), "{notes}");
        assert!(unproven.migrations[0].to_string().contains("which proves post-copy for others"));
        // On proven ground it is as if there was no such rule.
        facts.proven.extend(unproven.grounds[0].key.clone());
        let proven = planned(&facts);
        let free = crate::plan::plan(&source, &destination, &[], &Demands::default());
        assert_eq!((&proven.migrations[0].reason, proven.proof.clone()), (&free.migrations[0].reason, None));
        assert_eq!(proven.predicted, free.predicted);
        let total = |plan: &Plan| plan.predicted.total_seconds.expect("it ends");
        assert!((total(&unproven) - total(&free) - cost).abs() < 1e-9);
    }

    #[test]
    fn a_guest_of_a_kind_of_its_own_goes_by_post_copy_only_where_the_user_says_so() {
        let (source, destination, mut facts) = senders();
        facts.running.clear();
        let planned =
            |demands: &Demands, rules: &[Rule]| plan(source.clone(), &destination, rules, demands, Some(&facts));
        let careful = planned(&Demands::default(), &[]);
        assert_eq!(by_post_copy(&careful), [""; 0]);
        let reasons: Vec<_> = careful.migrations.iter().map(ToString::to_string).collect();
        assert!(
            reasons.iter().any(|reason| reason.contains("the version of QEMU that it runs in is not known")),
            "{reasons:?}"
        );
        let trusting = planned(&Demands { trust_destination: true, ..Demands::default() }, &[]);
        assert!(!by_post_copy(&trusting).is_empty());
        assert!(
            said(&trusting)
                .join("")
                .contains("goes alone until it runs at b. If that can't load it, this one guest is lost")
        );
        let forced = Rule { technique: Some(Technique::PostCopy), ..Rule::default() };
        assert_eq!(by_post_copy(&planned(&Demands::default(), &[forced])), ["n1"], "--post-copy is a word, too");
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
