//! Asks both hosts for the [`Facts`]. Nothing is changed, and each question has a time limit of its own. Several questions are
//! asked at the same time, and what domains need alike is asked once. The hosts' shells answer meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::zip;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use super::destination;
use super::facts::{DomainFacts, Facts, Known};
use super::question::Question;
use super::shell::Shell;
use super::table;
use crate::domain::DomainState;
use crate::libvirt::facts::{Belongings, Cluster, HostFacts, Memory, Network, Resident, Unfit};
use crate::libvirt::xml::domain::{Machine, Processor};
use crate::libvirt::{Host, HostError, HostErrorKind, lock};
use crate::plan::Rule;
use crate::profile::sampler::Equipment;
use crate::profile::{Both, DomainProfile};

/// What is to be known of the hosts before the domains of the source that `rules` select move.
pub fn gather(
    [source, destination]: [&Host; 2],
    profiles: &Both,
    [here, there]: [Known; 2],
    rules: &[Rule],
) -> Result<Facts, HostError> {
    let with_snapshots = source.with_snapshots()?;
    let mut facts = Facts { source: here.facts, destination: there.facts, ..Facts::default() };
    let residents = profiles.destination.domains.iter().filter(|domain| domain.state.is_active());
    facts.residents = residents
        .map(|DomainProfile { name, uuid, .. }| Resident {
            name: name.clone(),
            uuid: uuid.clone(),
            hardware: there.inventory.get(uuid).map(|found| found.hardware.clone()).unwrap_or_default(),
        })
        .collect();
    let leaves = |(domain, rule): &(&DomainProfile, &Rule)| {
        !rule.stays && domain.migration.obstacle.is_none() && (rule.offline || domain.state != DomainState::ShutOff)
    };
    let domains = profiles.source.domains.iter().zip(rules).filter(leaves).map(|(domain, _)| domain);
    // Its hardware is known: it neither was gone nor hung.
    let mut found: Vec<_> = domains
        .filter_map(|domain| {
            let Equipment { hardware, models_in_use } = here.inventory.get(&domain.uuid)?.clone();
            let belongings = is_offline(domain).then(Belongings::default);
            Some((domain, DomainFacts { hardware, models_in_use, belongings, ..DomainFacts::default() }))
        })
        .collect();

    let of = |found: &DomainFacts| {
        let user = table::qemu_user(&facts, found);
        destination::named(found).flat_map(move |named| table::questions(named, user.as_deref())).collect::<Vec<_>>()
    };
    let questions: BTreeSet<Question> = found.iter().flat_map(|(_, found)| of(found)).collect();
    let (shown, is_slow) = (Shown::default(), AtomicBool::new(false));
    let emulators = found.iter().map(|(_, found)| found.hardware.machine.emulator.clone());
    let emulators = emulators.filter(|path| !path.is_empty()).collect();
    let (rest, shells, running, installed) = thread::scope(|scope| {
        let running = scope.spawn(|| source.running_versions());
        let installed = scope.spawn(|| destination.installed_versions(&emulators));
        let by_shell = |question: &&Question| !matches!(question, Question::File(_) | Question::Network(_));
        let asked: BTreeSet<_> = questions.iter().filter(by_shell).cloned().collect();
        let addresses: BTreeSet<_> = asked.get(&Question::Addresses).cloned().into_iter().collect();
        let shells = [(source, addresses), (destination, asked)].map(|(host, asked)| {
            scope.spawn(move || if asked.is_empty() { Ok(None) } else { host.shell(&Shell::script(&asked)) })
        });
        let items = items(&found, &questions, &with_snapshots, &facts);
        let rest = Host::side_by_side([source, destination], &items, |hosts, item| ask(hosts, item, &shown));
        // Last: where libvirt starts QEMU for each answer, all that it is asked of QEMU waits. A connection that may only look
        // is not told the definition that would move.
        let shapes: Vec<_> = shapes(&found).into_iter().filter(|_| !facts.source.read_only).collect();
        let rest = rest.and_then(|rest| {
            let unfit = Host::side_by_side([source, destination], &shapes, |hosts, (_, domains)| {
                unfit(hosts, domains, &is_slow)
            })?;
            let shapes = shapes.into_iter().map(|(shape, _)| shape.to_owned());
            Ok((rest, zip(shapes, unfit).collect::<BTreeMap<_, _>>()))
        });
        (rest, shells.map(joined), joined(running), joined(installed))
    });
    (facts.running, facts.installed) = (running?, installed?);
    let [source_shell, destination_shell] = shells;
    facts.source_shell = source_shell?.map(|said| Shell::read(&said));
    facts.destination_shell = destination_shell?.map(|said| Shell::read(&said));
    let (rest, unfit) = rest?;
    facts.cluster = shown.cluster.into_inner().unwrap_or_else(PoisonError::into_inner);
    facts.memory = shown.memory.into_inner().unwrap_or_else(PoisonError::into_inner);
    facts.files = known(shown.files);
    facts.networks = known(shown.networks);
    facts.source_networks = known(shown.source_networks);
    let (machines, processors) = (known(shown.machines), known(shown.processors));
    // The domains are the items that give something, and have their order.
    for ((domain, found), rest) in found.iter_mut().zip(rest.into_iter().flatten()) {
        let hardware = std::mem::take(&mut found.hardware);
        let models_in_use = std::mem::take(&mut found.models_in_use);
        *found = match rest {
            DomainFacts { hangs: true, .. } => rest,
            // A definition alone is not run there yet, and what it needs can be set right before it is.
            rest if is_offline(domain) => DomainFacts { hardware, ..rest },
            rest => DomainFacts {
                machine: machines.get(&hardware.machine).cloned(),
                processor: hardware
                    .processor
                    .clone()
                    .and_then(|processor| processors.get(&(hardware.machine.clone(), processor)).cloned()),
                unfit: unfit.get(&hardware.shape).cloned().flatten(),
                hardware,
                models_in_use,
                ..rest
            },
        };
    }
    facts.domains = found.into_iter().map(|(domain, found)| (domain.uuid.clone(), found)).collect();
    Ok(facts)
}

fn is_offline(domain: &DomainProfile) -> bool {
    domain.state == DomainState::ShutOff
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// What libvirt is asked.
enum Item<'a> {
    Cluster,
    Memory(&'a HostFacts),
    Processor(&'a Machine, &'a Processor),
    Machine(&'a Machine),
    Question(&'a Question),
    Domain { domain: &'a DomainProfile, has_snapshots: bool, read_only: bool },
}

fn items<'a>(
    found: &'a [(&DomainProfile, DomainFacts)],
    questions: &'a BTreeSet<Question>,
    with_snapshots: &BTreeSet<String>,
    facts: &'a Facts,
) -> Vec<Item<'a>> {
    let live = || found.iter().filter(|(domain, _)| !is_offline(domain)).map(|(_, found)| &found.hardware);
    let machines: BTreeSet<_> = live().map(|hardware| &hardware.machine).collect();
    let processors = live().filter_map(|hardware| Some((&hardware.machine, hardware.processor.as_ref()?)));
    let processors: BTreeSet<_> = processors.collect();
    let domain = |(domain, _): &(&'a DomainProfile, _)| Item::Domain {
        domain,
        has_snapshots: with_snapshots.contains(&domain.uuid),
        read_only: facts.source.read_only,
    };
    let machines = machines.into_iter().map(Item::Machine);
    let processors = processors.into_iter().map(|(machine, processor)| Item::Processor(machine, processor));
    let hosts = [Item::Cluster, Item::Memory(&facts.destination)].into_iter();
    let once = hosts.chain(machines).chain(processors).chain(questions.iter().map(Item::Question));
    once.chain(found.iter().map(domain)).collect()
}

/// The domains that are to run at the destination, by the shape of their definitions.
fn shapes<'a>(found: &'a [(&DomainProfile, DomainFacts)]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut shapes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (domain, found) in found.iter().filter(|(domain, _)| !is_offline(domain)) {
        shapes.entry(&found.hardware.shape).or_default().push(&domain.uuid);
    }
    shapes
}

#[derive(Default)]
struct Shown {
    cluster: Mutex<Cluster>,
    memory: Mutex<Option<Memory>>,
    files: Answers<String, bool>,
    networks: Answers<String, Network>,
    source_networks: Answers<String, Network>,
    machines: Answers<Machine, String>,
    processors: Answers<(Machine, Processor), String>,
}

/// Answers to questions of one kind, with those that the host can't tell.
type Answers<K, V> = Mutex<BTreeMap<K, Option<V>>>;

/// The answer, which is asked for if it is not known. Two threads may ask at the same time: the hosts do not mind.
fn answer<K: Ord + Clone, V: Clone>(
    answers: &Answers<K, V>,
    key: &K,
    ask: impl FnOnce() -> Result<Option<V>, HostError>,
) -> Result<Option<V>, HostError> {
    let known = lock(answers).get(key).cloned();
    known.map_or_else(|| ask().inspect(|answer| drop(lock(answers).insert(key.clone(), answer.clone()))), Ok)
}

/// Those that the host could tell.
fn known<K: Ord, V>(answers: Answers<K, V>) -> BTreeMap<K, V> {
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.into_iter().filter_map(|(key, answer)| Some((key, answer?))).collect()
}

/// Asks what libvirt answers. Of a domain it gives what there is beside its hardware.
fn ask(hosts: [&Host; 2], item: &Item<'_>, shown: &Shown) -> Result<Option<DomainFacts>, HostError> {
    let [source, destination] = hosts;
    match item {
        Item::Cluster => *lock(&shown.cluster) = source.cluster()?,
        Item::Memory(described) => *lock(&shown.memory) = destination.memory(described)?,
        Item::Machine(machine) => {
            answer(&shown.machines, machine, || destination.machine_obstacle(machine))?;
        }
        Item::Processor(machine, processor) => {
            let key = ((*machine).clone(), (*processor).clone());
            answer(&shown.processors, &key, || destination.processor_obstacle(source, machine, processor))?;
        }
        Item::Question(question) => inquire(hosts, question, shown)?,
        Item::Domain { domain, has_snapshots, read_only } => {
            return match self::domain(hosts, domain, *has_snapshots, *read_only) {
                Err(error) if error.kind == HostErrorKind::Hangs => {
                    Ok(Some(DomainFacts { hangs: true, ..DomainFacts::default() }))
                }
                found => found.map(Some),
            };
        }
    }
    Ok(None)
}

/// Why the destination can't make a guest of a definition that these domains have alike. `is_slow` remembers that it takes too
/// long to say.
fn unfit(
    [source, destination]: [&Host; 2],
    domains: &[&str],
    is_slow: &AtomicBool,
) -> Result<Option<Unfit>, HostError> {
    for uuid in domains.iter().take_while(|_| !is_slow.load(Ordering::Relaxed)) {
        match destination.unfit(source, uuid) {
            // The next one may not hang.
            Err(error) if error.kind == HostErrorKind::Hangs => {}
            // A libvirt that starts QEMU for each answer, as its cache does not hold (19 s were seen), is left alone.
            Err(error) if error.kind == HostErrorKind::NoAnswer => is_slow.store(true, Ordering::Relaxed),
            answer => return answer,
        }
    }
    Ok(None)
}

/// What is to be known of a domain beside its hardware.
fn domain(
    [source, destination]: [&Host; 2],
    domain: &DomainProfile,
    has_snapshots: bool,
    read_only: bool,
) -> Result<DomainFacts, HostError> {
    let (uuid, offline) = (&domain.uuid, is_offline(domain));
    let belongings = if offline { source.belongings(destination, uuid)? } else { None };
    let job = source.occupation(uuid)?;
    let snapshots = if has_snapshots { source.snapshots(uuid)? } else { 0 };
    let fault = if domain.state == DomainState::Paused { source.fault(uuid)? } else { None };
    // It would wait for the job.
    let begins = job.is_none() && !read_only;
    let refusal = if begins { source.rehearse(destination, uuid, offline)? } else { None };
    Ok(DomainFacts { belongings, job, snapshots, fault, refusal, ..DomainFacts::default() })
}

fn inquire([source, destination]: [&Host; 2], question: &Question, shown: &Shown) -> Result<(), HostError> {
    let file = |path: &String| answer(&shown.files, path, || destination.has_file(path)).map(drop);
    match question {
        Question::File(path) => file(path),
        Question::Network(name) => {
            answer(&shown.source_networks, name, || source.network(name))?;
            match answer(&shown.networks, name, || destination.network(name))? {
                Some(Network::Active(Some(reach))) => table::reach_path(&reach).iter().try_for_each(file),
                _ => Ok(()),
            }
        }
        Question::Node(_) | Question::Access { .. } | Question::User(_) | Question::Addresses => Ok(()),
    }
}
