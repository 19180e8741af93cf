//! Asks both hosts for the [`Facts`]. Nothing is changed, and each question has a time limit of its own. Several domains are
//! asked about at the same time, and what they need alike is asked once. The hosts' shells answer meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::destination;
use super::facts::{DomainFacts, Facts};
use super::question::Question;
use super::shell::Shell;
use super::table;
use crate::domain::DomainState;
use crate::libvirt::facts::{Network, Unfit};
use crate::libvirt::xml::domain::{Machine, Processor};
use crate::libvirt::{Host, HostError, HostErrorKind, lock};
use crate::plan::Rule;
use crate::profile::{DomainProfile, Profile};

/// What is to be known of the hosts before the domains of `profile` that `rules` select move.
pub fn gather(source: &Host, destination: &Host, profile: &Profile, rules: &[Rule]) -> Result<Facts, HostError> {
    let mut facts = Facts { source: source.describe()?, destination: destination.describe()?, ..Facts::default() };
    facts.cluster = source.cluster()?;
    facts.memory = destination.memory()?;
    facts.residents = destination.residents()?;
    let leaves = |(domain, rule): &(&DomainProfile, &Rule)| {
        !rule.stays && domain.migration.obstacle.is_none() && (rule.offline || domain.state != DomainState::ShutOff)
    };
    let leaving: Vec<_> = profile.domains.iter().zip(rules).filter(leaves).map(|(domain, _)| domain).collect();
    let read = Host::side_by_side([source, destination], &leaving, |[source, destination], domain| {
        or_hanging(first(source, destination, domain))
    })?;
    // One that is gone needs nothing, and its migration will say so.
    let mut found: Vec<_> = leaving.into_iter().zip(read).filter_map(|(domain, read)| Some((domain, read?))).collect();

    let of = |found: &DomainFacts| {
        let user = table::qemu_user(&facts, found);
        destination::named(found).flat_map(move |named| table::questions(named, user.as_deref())).collect::<Vec<_>>()
    };
    let questions: BTreeSet<Question> = found.iter().flat_map(|(_, found)| of(found)).collect();
    let shown = Shown::default();
    let read_only = facts.source.read_only;
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
        let rest = Host::side_by_side([source, destination], &found, |[source, destination], (domain, found)| {
            match found.hangs {
                true => Ok(None),
                false => or_hanging(second(source, destination, domain, found, read_only, &shown).map(Some)),
            }
        });
        let rest = rest.and_then(|rest| {
            let questions: Vec<_> = questions.iter().collect();
            Host::side_by_side([source, destination], &questions, |[source, destination], question| {
                ask(source, destination, question, &shown)
            })?;
            Ok(rest)
        });
        let shells = shells.map(|shell| shell.join().unwrap_or_else(|panic| resume_unwind(panic)));
        let running = running.join().unwrap_or_else(|panic| resume_unwind(panic));
        let installed = installed.join().unwrap_or_else(|panic| resume_unwind(panic));
        (rest, shells, running, installed)
    });
    for ((_, found), rest) in found.iter_mut().zip(rest?) {
        if let Some(rest) = rest {
            *found = rest;
        }
    }
    (facts.running, facts.installed) = (running?, installed?);
    let [source_shell, destination_shell] = shells;
    facts.source_shell = source_shell?.map(|said| Shell::read(&said));
    facts.destination_shell = destination_shell?.map(|said| Shell::read(&said));
    facts.domains = found.into_iter().map(|(domain, found)| (domain.uuid.clone(), found)).collect();
    facts.files = known(shown.files);
    facts.networks = known(shown.networks);
    facts.source_networks = known(shown.source_networks);
    Ok(facts)
}

#[derive(Default)]
struct Shown {
    files: Answers<String, bool>,
    networks: Answers<String, Network>,
    source_networks: Answers<String, Network>,
    machines: Answers<Machine, String>,
    processors: Answers<(Machine, Processor), String>,
    unfit: Answers<String, Unfit>,
    /// Whether the destination takes too long to say whether it could make a guest of a definition.
    is_slow: AtomicBool,
}

/// A domain that hangs is known to do so.
fn or_hanging(gathered: Result<Option<DomainFacts>, HostError>) -> Result<Option<DomainFacts>, HostError> {
    match gathered {
        Err(error) if error.kind == HostErrorKind::Hangs => {
            Ok(Some(DomainFacts { hangs: true, ..DomainFacts::default() }))
        }
        gathered => gathered,
    }
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

/// What tells which questions a domain needs; `None` if it is gone.
fn first(source: &Host, destination: &Host, domain: &DomainProfile) -> Result<Option<DomainFacts>, HostError> {
    let Some(hardware) = source.hardware(&domain.uuid)? else { return Ok(None) };
    let offline = domain.state == DomainState::ShutOff;
    let belongings = if offline { source.belongings(destination, &domain.uuid)? } else { None };
    Ok(Some(DomainFacts { hardware, belongings, ..DomainFacts::default() }))
}

/// The rest of what is to be known of a domain.
fn second(
    source: &Host,
    destination: &Host,
    domain: &DomainProfile,
    found: &DomainFacts,
    read_only: bool,
    shown: &Shown,
) -> Result<DomainFacts, HostError> {
    let uuid = &domain.uuid;
    let (job, snapshots) = source.occupation(uuid)?;
    let fault = if domain.state == DomainState::Paused { source.fault(uuid)? } else { None };
    let mut found = DomainFacts { job, snapshots, fault, ..found.clone() };
    let offline = domain.state == DomainState::ShutOff;
    // It would wait for the job.
    if job.is_none() && !read_only {
        found.refusal = source.rehearse(destination, uuid, offline)?;
    }
    // A definition alone is not run there yet, and what it needs can be set right before it is.
    if !offline {
        let machine = &found.hardware.machine;
        let no_machine = answer(&shown.machines, machine, || destination.machine_obstacle(machine))?;
        if let Some(processor) = &found.hardware.processor {
            found.processor = answer(&shown.processors, &(machine.clone(), processor.clone()), || {
                destination.processor_obstacle(source, machine, processor)
            })?;
        }
        found.machine = no_machine;
        // A connection that may only look is not told the definition that would move.
        if !read_only && !shown.is_slow.load(Ordering::Relaxed) {
            // Of domains of one shape, one is asked about.
            let unfit = answer(&shown.unfit, &found.hardware.shape, || destination.unfit(source, uuid));
            found.unfit = match unfit {
                // A libvirt that starts QEMU for each answer, as its cache does not hold (19 s were seen), is left alone.
                Err(error) if error.kind == HostErrorKind::NoAnswer => {
                    shown.is_slow.store(true, Ordering::Relaxed);
                    None
                }
                answer => answer?,
            };
        }
    }
    Ok(found)
}

/// Asks what libvirt answers.
fn ask(source: &Host, destination: &Host, question: &Question, shown: &Shown) -> Result<(), HostError> {
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
