//! The coordinator and its attempts against hosts that do anything, in any order: without threads, clocks or libvirt.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::*;

use super::{Coordinator, Effect, Input, Run, Start, Task};
use crate::domain::{Condition, DomainState, Fault, Phase, Presence, Route, Technique, Transfer};
use crate::engine::events::{Event, Notice};
use crate::engine::launch_queue::{Replanned, Schedule, Scheduled};
use crate::engine::migration::attempt::{Action, Attempt, Ended, Instruction, Seen, Update};
use crate::engine::migration::{Course, OnStall, Progress, Verdict};
use crate::failure::{Cause, Distress};
use crate::libvirt::{HostError, HostErrorKind, JobStats, Listed, MigrationRequest};
use crate::plan::Ground;
use crate::report::{DomainOutcome, Job, Report};

fn run() -> Run {
    Run {
        job: Job::Evacuate,
        source: "a".to_owned(),
        destination: "b".to_owned(),
        predicted_seconds: None,
        bandwidth: None,
        link: Some(1e9),
        launch_ahead: false,
        most_in_flight: usize::MAX,
        watches: true,
        post_copy_limit: None,
        grounds: Vec::new(),
        refused: Vec::new(),
        not_in_plan: HashMap::new(),
        earlier: Vec::new(),
        lost_earlier: None,
        migration_uri: None,
        route: Route::PeerToPeer,
    }
}

/// Why a schedule is another.
const REASON: Replanned = Replanned { sooner_seconds: Some(2.0), setup_seconds: None, pace: 1.0 };

fn coordinator(tasks: &[(Technique, usize)]) -> Coordinator {
    of_kinds(tasks, &Kinds::default())
}

/// Kinds of guests: one for each guest, if they are known.
#[derive(Debug, Clone, Default)]
struct Kinds {
    of: Vec<usize>,
    /// By kind: whether the destination can load it.
    loads: Vec<bool>,
    trust: bool,
}

impl Kinds {
    fn loads(&self, uuid: &str) -> bool {
        let index: usize = uuid[1..].parse().unwrap();
        self.of.get(index).is_none_or(|kind| self.loads[*kind])
    }
}

fn of_kinds(tasks: &[(Technique, usize)], kinds: &Kinds) -> Coordinator {
    let task = |(index, (technique, concurrency)): (usize, &(Technique, usize))| {
        let name = format!("d{index}");
        let ground = kinds.of.get(index).copied();
        let trusted = kinds.trust || ground.is_none();
        let start = Start::Launch { forced: false };
        Task { ground, trusted, ..Task::new(&name, &name, Transfer::by(*technique), *concurrency, start) }
    };
    let ground = |kind: usize| Ground { machine: "pc".to_owned(), key: Some(kind.to_string()), proven: false };
    let run = Run { grounds: (0..kinds.loads.len()).map(ground).collect(), ..run() };
    Coordinator::new(run, tasks.iter().enumerate().map(task).collect())
}

/// Where a guest really is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Source,
    /// Its memory follows it.
    PostCopy,
    /// The same, broken.
    Broken,
    Destination,
    Lost,
}

impl Place {
    fn seen(self) -> (Presence, Presence) {
        let present = Presence::Present;
        match self {
            Self::Source => (present(Condition::Running), Presence::Absent),
            Self::PostCopy => (present(Condition::PausedPostCopy), present(Condition::RunningPostCopy)),
            Self::Broken => (present(Condition::PausedPostCopyFailed), present(Condition::RunningPostCopyFailed)),
            Self::Destination => (Presence::Absent, present(Condition::Running)),
            Self::Lost => (present(Condition::PausedPostCopyFailed), Presence::Absent),
        }
    }
}

/// A guest that is migrated, the call of libvirt's that performs it, and those that were let go and are out still.
struct Migrating {
    attempt: Attempt,
    place: Place,
    call: Option<usize>,
    late: Vec<usize>,
    passes: u64,
    sent: u64,
    seen_in_post_copy: bool,
}

/// Hosts that do anything that libvirt may do.
struct World {
    rng: Rng,
    now: f64,
    coordinator: Coordinator,
    tasks: Vec<(Technique, usize)>,
    kinds: Kinds,
    /// Guests that the destination could not load, in post-copy.
    not_loaded: Vec<String>,
    /// The kinds that are remembered to be proven.
    proven: Vec<(String, bool)>,
    migrating: BTreeMap<String, Migrating>,
    places: HashMap<String, Place>,
    /// What the coordinator heard and answered.
    story: Vec<(Input, Duration, String)>,
    interrupted: bool,
    /// Whether the journal failed, and whether that was told.
    unrecorded: (bool, bool),
    /// Whether what waits is ever launched otherwise than planned.
    replans: bool,
    /// In the order in which they were launched first.
    launched: Vec<String>,
    done: Vec<String>,
    /// Those that are watched, and whether one of them was found in distress.
    watched: Vec<String>,
    distressed: bool,
    report: Option<Report>,
}

impl World {
    fn new(seed: u64, tasks: Vec<(Technique, usize)>, kinds: Kinds) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            now: 0.0,
            coordinator: of_kinds(&tasks, &kinds),
            kinds,
            not_loaded: Vec::new(),
            proven: Vec::new(),
            migrating: BTreeMap::new(),
            places: (0..tasks.len()).map(|index| (format!("d{index}"), Place::Source)).collect(),
            tasks,
            story: Vec::new(),
            interrupted: false,
            unrecorded: (false, false),
            replans: true,
            launched: Vec::new(),
            done: Vec::new(),
            watched: Vec::new(),
            distressed: false,
            report: None,
        }
    }

    fn hear(&mut self, input: Input) {
        self.interrupted |= matches!(input, Input::Interrupt);
        self.unrecorded.0 |= matches!(input, Input::Unrecorded(_));
        if let Input::Replace(schedule) = &input {
            self.replace(schedule);
        }
        let now = Duration::from_secs_f64(self.now);
        let effects = self.coordinator.handle(input.clone(), now);
        self.story.push((input, now, format!("{effects:?}")));
        for effect in effects {
            match effect {
                Effect::Launch(launch) => {
                    assert!(!self.interrupted, "{} is launched after an interrupt", launch.domain);
                    assert!(!self.distressed, "{} is launched after a bad arrival", launch.domain);
                    let (technique, concurrency) = self.tasks[launch.domain[1..].parse::<usize>().unwrap()];
                    assert!(self.migrating.len() < concurrency, "more in flight than the schedule allows");
                    let falls_back = launch.transfer.technique == Technique::PreCopy && !self.kinds.of.is_empty();
                    assert!(launch.transfer.technique == technique || falls_back, "{} goes otherwise", launch.domain);
                    if !self.launched.contains(&launch.uuid) {
                        self.launched.push(launch.uuid.clone());
                    }
                    self.launch(launch.uuid, launch.transfer.technique);
                }
                Effect::Instruct(uuid, instruction) => {
                    if let Some(migrating) = self.migrating.get_mut(&uuid) {
                        migrating.attempt.told(instruction);
                    }
                }
                Effect::Tell(Event::Done(report)) => self.done.push(report.uuid),
                Effect::Tell(event) => {
                    self.distressed |= matches!(event, Event::Notice(Notice::ArrivedInDistress { .. }));
                    self.unrecorded.1 |= matches!(event, Event::Notice(Notice::Unrecorded { .. }));
                }
                Effect::Record(_) if self.rng.u8(..) == 0 => self.hear(Input::Unrecorded("no space".to_owned())),
                Effect::Record(_) => {}
                Effect::Watch(uuid) => {
                    assert!(self.done.contains(&uuid) || self.places[&uuid] == Place::Destination);
                    self.watched.push(uuid);
                }
                Effect::Proof { kind, proven, .. } => self.proven.push((kind, proven)),
                Effect::ListSource => self.hear(Input::Begun(Vec::new())),
                Effect::ListBoth => {
                    let lists = (self.list(|place| place.seen().0), self.list(|place| place.seen().1));
                    self.hear(Input::Ended(Ok(lists)));
                }
                Effect::Finish(report) => self.report = Some(report),
            }
        }
    }

    /// What waits is to be launched like this, and nothing else.
    fn replace(&mut self, schedule: &Schedule) {
        for Scheduled { uuid, transfer, concurrency } in &schedule.order {
            let waits = !self.migrating.contains_key(uuid) && !self.done.contains(uuid);
            if let Some(task) =
                uuid[1..].parse().ok().and_then(|index: usize| self.tasks.get_mut(index)).filter(|_| waits)
            {
                *task = (transfer.technique, *concurrency);
            }
        }
    }

    /// Any order of some domains, and of one that is not in the plan.
    fn schedule(&mut self) -> Schedule {
        let number = self.rng.usize(..=self.tasks.len());
        let uuids = self.rng.choose_multiple(0..=self.tasks.len(), number);
        let scheduled = |index| Scheduled {
            uuid: format!("d{index}"),
            transfer: Transfer::by(if self.rng.bool() { Technique::PreCopy } else { Technique::PostCopy }),
            concurrency: self.rng.usize(1..4),
        };
        Schedule { order: uuids.into_iter().map(scheduled).collect(), reason: REASON }
    }

    fn list(&self, side: impl Fn(&Place) -> Presence) -> Vec<Listed> {
        let listed = |(uuid, place): (&String, &Place)| match side(place) {
            Presence::Present(condition) => {
                Some(Listed { domain: uuid.clone(), uuid: uuid.clone(), condition, fault: None, autostart: false })
            }
            _ => None,
        };
        self.places.iter().filter_map(listed).collect()
    }

    fn launch(&mut self, uuid: String, technique: Technique) {
        let post_copy = self.rng.bool() || technique.pulls();
        let request = MigrationRequest {
            uuid: uuid.clone(),
            transfer: Transfer::by(technique),
            post_copy,
            auto_converge: false,
            resume: false,
            persistent: true,
            route: Route::PeerToPeer,
            migration_uri: None,
            bandwidth_mib: None,
        };
        let course = Course {
            technique,
            post_copy,
            on_stall: Some(OnStall::PostCopy),
            switch_early: post_copy && self.rng.bool(),
            timeout_seconds: Some(500.0),
            max_downtime_ms: self.rng.bool().then_some(1000),
        };
        let mut attempt = Attempt::new(request, course, false);
        let call = Some(attempt.call());
        let (place, passes, sent) = (Place::Source, 1, 0);
        self.migrating
            .insert(uuid, Migrating { attempt, place, call, late: Vec::new(), passes, sent, seen_in_post_copy: false });
    }

    /// One thing happens to a guest that is migrated; `fair` is whether calls return and nothing breaks any more.
    fn happen(&mut self, uuid: &str, fair: bool) {
        let Some(migrating) = self.migrating.get_mut(uuid) else { return };
        if let Some(late) = migrating.late.pop() {
            let actions = migrating.attempt.returned(self.now, late, Ok(()));
            assert!(actions.is_empty(), "{actions:?} for a call that was let go");
        }
        let returns = match (migrating.call, migrating.place, fair) {
            (None, ..) => None,
            (Some(call), place, true) => {
                let stays = place == Place::Lost || place == Place::Source && !self.kinds.loads(uuid);
                migrating.place = if stays { place } else { Place::Destination };
                let kind = HostErrorKind::Other;
                let error = HostError { host: "a".to_owned(), kind, message: "load of migration failed".to_owned() };
                Some((call, if stays { Err(error) } else { Ok(()) }))
            }
            (Some(call), Place::Source, false) if self.rng.u8(..) < 40 => {
                let kinds = [
                    HostErrorKind::NoPeer,
                    HostErrorKind::PeerLost,
                    HostErrorKind::NoData,
                    HostErrorKind::NoPostCopy,
                    HostErrorKind::Paused,
                    HostErrorKind::Busy,
                    HostErrorKind::Taken,
                    HostErrorKind::Other,
                ];
                let kind = self.rng.choice(kinds).unwrap();
                let error = HostError { host: "a".to_owned(), kind, message: "no".to_owned() };
                let result = if self.rng.bool() { Err(error) } else { Ok(()) };
                // Neither is a verdict, but what is refused has not moved.
                let unclear = matches!(result, Ok(()) | Err(HostError { kind: HostErrorKind::Other, .. }));
                if unclear && self.kinds.loads(uuid) && self.rng.bool() {
                    migrating.place = Place::Destination;
                }
                Some((call, result))
            }
            (Some(call), Place::PostCopy | Place::Broken, false) if self.rng.u8(..) < 60 => {
                migrating.place =
                    self.rng.choice([Place::Destination, Place::Broken, Place::Lost, Place::PostCopy]).unwrap();
                let error = HostError { host: "a".to_owned(), kind: HostErrorKind::Other, message: "no".to_owned() };
                Some((call, if migrating.place == Place::Destination { Ok(()) } else { Err(error) }))
            }
            _ => None,
        };
        // One that is fair recovers without a call, too.
        if fair && migrating.call.is_none() && matches!(migrating.place, Place::PostCopy) {
            migrating.place = Place::Destination;
        }
        let actions = match returns {
            Some((call, result)) => {
                migrating.call = None;
                migrating.attempt.returned(self.now, call, result)
            }
            None => {
                let mut actions = Vec::new();
                if migrating.attempt.looks_for_wait() && self.rng.bool() {
                    actions = migrating.attempt.awaited(self.now, &Presence::Present(Condition::PausedMigration));
                }
                let seen = migrating.look(&mut self.rng);
                actions.extend(migrating.attempt.observe(self.now, &seen));
                actions
            }
        };
        self.carry_out(uuid, actions);
    }

    fn carry_out(&mut self, uuid: &str, actions: Vec<Action>) {
        for action in actions {
            let Some(migrating) = self.migrating.get_mut(uuid) else { return };
            match action {
                Action::Tell(update) => self.hear(Input::From(uuid.to_owned(), update)),
                Action::TellOf(error, update) => self.hear(Input::From(uuid.to_owned(), update(error))),
                Action::Call => {
                    let call = migrating.attempt.call();
                    migrating.late.extend(migrating.call.replace(call));
                }
                Action::Limit(..) => migrating.attempt.limited(),
                Action::AllowDowntime(_) => assert_eq!(migrating.place, Place::Source, "it is stopped already"),
                Action::StartPostCopy => {
                    if migrating.call.is_some() && migrating.place == Place::Source && self.rng.bool() {
                        migrating.place = Place::PostCopy;
                        if !self.kinds.loads(uuid) {
                            migrating.place = Place::Lost;
                            self.not_loaded.push(uuid.to_owned());
                        }
                    }
                }
                Action::Abort => {
                    assert!(!migrating.seen_in_post_copy, "a post-copy is aborted");
                    if let (Some(call), Place::Source) = (migrating.call, migrating.place) {
                        migrating.call = None;
                        let message = "canceled by client".to_owned();
                        let error = HostError { host: "a".to_owned(), kind: HostErrorKind::Other, message };
                        let actions = migrating.attempt.returned(self.now, call, Err(error));
                        self.carry_out(uuid, actions);
                    }
                }
                Action::AskResumption => {
                    let actions = migrating.attempt.resumable(self.now, Ok(None));
                    self.carry_out(uuid, actions);
                }
                Action::GiveBack => drop(self.migrating.remove(uuid)),
                Action::End(verdict) => {
                    let ended: Ended = migrating.attempt.ended(self.now, verdict, None, None);
                    self.places.insert(uuid.to_owned(), migrating.place);
                    self.migrating.remove(uuid);
                    self.hear(Input::From(uuid.to_owned(), Update::Ended(ended)));
                }
            }
        }
    }

    fn step(&mut self, fair: bool) {
        self.now += self.rng.f64() * 3.0;
        let uuids: Vec<_> = self.migrating.keys().cloned().collect();
        if self.rng.u8(..) < 40 && !self.watched.is_empty() {
            let uuid = self.watched.swap_remove(self.rng.usize(..self.watched.len()));
            let distress = Distress::Stopped { state: DomainState::Paused, fault: Fault::IoError };
            let distress = Some(distress).filter(|_| self.rng.u8(..) < 60);
            self.hear(Input::Watched(uuid, distress));
        }
        match self.rng.choice(uuids) {
            Some(_) if !fair && self.rng.u8(..) < 3 => self.hear(Input::Interrupt),
            Some(_) if self.replans && self.rng.u8(..) < 6 => {
                let schedule = self.schedule();
                self.hear(Input::Replace(schedule));
            }
            Some(uuid) if self.rng.u8(..) < 230 => self.happen(&uuid, fair),
            _ => self.hear(Input::Tick),
        }
    }

    /// Runs `steps` in which anything may happen, and then to the end.
    fn run(mut self, steps: usize) -> Self {
        self.hear(Input::Begin);
        for step in 0..steps + 20_000 {
            if self.report.is_some() {
                return self;
            }
            self.step(step >= steps);
        }
        panic!("it does not end: {:?}", self.story.last());
    }
}

impl Migrating {
    fn look(&mut self, rng: &mut Rng) -> Seen {
        let (source, destination) = self.place.seen();
        self.seen_in_post_copy |= matches!(self.place, Place::PostCopy | Place::Broken | Place::Lost);
        self.passes += u64::from(rng.u8(..) < 40);
        self.sent += if rng.u8(..) < 30 { 0 } else { 1 << 20 };
        let job = JobStats {
            total: 1 << 30,
            transferred: self.sent,
            remaining: rng.u64(1..1 << 28),
            pass: self.passes,
            ..JobStats::default()
        };
        let job = self.call.map(|_| job).filter(|_| !matches!(self.place, Place::Destination | Place::Lost));
        Seen {
            fault: None,
            destination: self.attempt.looks_at_destination(&source).then_some(destination),
            source,
            job: Ok(job),
        }
    }
}

fn tasks() -> impl Strategy<Value = Vec<(Technique, usize)>> {
    let technique = prop_oneof![Just(Technique::PreCopy), Just(Technique::PostCopy), Just(Technique::Hybrid)];
    proptest::collection::vec((technique, 1..4_usize), 1..6)
}

proptest! {
    #[test]
    fn whatever_happens_each_domain_ends_once_and_the_same_again(seed: u64, tasks in tasks(), steps in 0..400_usize) {
        let world = World::new(seed, tasks.clone(), Kinds::default()).run(steps);
        let report = world.report.unwrap();
        // Exactly one outcome for each, and told once at the most.
        let mut reported: Vec<_> = report.domains.iter().map(|domain| domain.uuid.clone()).collect();
        reported.sort();
        prop_assert_eq!(reported, (0..tasks.len()).map(|index| format!("d{index}")).collect::<Vec<_>>());
        let mut done = world.done.clone();
        done.sort();
        done.dedup();
        prop_assert_eq!(done.len(), world.done.len());
        prop_assert_eq!(world.unrecorded.0, world.unrecorded.1, "a failed journal is told");
        // What is said of those that have ended is where they are.
        for domain in report.domains.iter().filter(|domain| world.done.contains(&domain.uuid)) {
            match world.places[&domain.uuid] {
                Place::Destination => prop_assert_eq!(domain.outcome, DomainOutcome::Migrated),
                Place::Lost => prop_assert_ne!(domain.outcome, DomainOutcome::Migrated),
                Place::Source => prop_assert_eq!(domain.outcome, DomainOutcome::Remains),
                Place::PostCopy | Place::Broken => prop_assert_eq!(domain.outcome, DomainOutcome::NeedsRecovery),
            }
        }
        let mut again = coordinator(&tasks);
        for (input, now, effects) in world.story {
            prop_assert_eq!(format!("{:?}", again.handle(input, now)), effects);
        }
    }
}

proptest! {
    #[test]
    fn what_nobody_replaces_is_launched_as_planned(seed: u64, tasks in tasks(), steps in 0..400_usize) {
        let world = World { replans: false, ..World::new(seed, tasks.clone(), Kinds::default()) }.run(steps);
        // An interrupt, or a bad end, may come before the last of them.
        let planned: Vec<_> = (0..world.launched.len()).map(|index| format!("d{index}")).collect();
        prop_assert_eq!(world.launched, planned);
    }
}

fn kinds() -> impl Strategy<Value = (Vec<usize>, Vec<bool>)> {
    (proptest::collection::vec(0..3_usize, 6), proptest::collection::vec(any::<bool>(), 3))
}

proptest! {
    #[test]
    fn no_guest_is_lost_to_a_destination_that_nothing_has_proven(
        seed: u64,
        tasks in tasks(),
        (of, loads) in kinds(),
        trust: bool,
        steps in 0..400_usize,
    ) {
        let kinds = Kinds { of, loads, trust };
        let world = World::new(seed, tasks.clone(), kinds.clone()).run(steps);
        let kind = |uuid: &String| kinds.of[uuid[1..].parse::<usize>().unwrap()];
        let mut lost: Vec<_> = world.not_loaded.iter().map(kind).collect();
        lost.sort_unstable();
        lost.dedup();
        prop_assert_eq!(lost.len(), world.not_loaded.len(), "one of a kind at the most");
        prop_assert!(trust || lost.is_empty(), "{:?} were lost without a word of the user's", world.not_loaded);
        for (kind, proven) in &world.proven {
            prop_assert!(kinds.loads[kind.parse::<usize>().unwrap()] || !proven, "{} is remembered", kind);
        }
        let reported = world.report.unwrap().domains.len();
        prop_assert_eq!(reported, tasks.len());
    }
}

#[test]
fn after_a_loss_nothing_is_launched_and_what_has_not_switched_is_cancelled() {
    let mut coordinator = coordinator(&[(Technique::PostCopy, 2), (Technique::PreCopy, 2), (Technique::PreCopy, 2)]);
    let now = Duration::from_secs(1);
    coordinator.handle(Input::Begin, now);
    let launched = |effects: &[Effect]| effects.iter().filter(|e| matches!(e, Effect::Launch(_))).count();
    assert_eq!(launched(&coordinator.handle(Input::Begun(Vec::new()), now)), 2);
    let (source, destination) = Place::Lost.seen();
    let places = crate::domain::Places { source, destination };
    let verdict = Verdict::Lost(crate::failure::Loss::BothHalves, places);
    let ended = Ended { verdict, ..Ended::not_wanted(Technique::PostCopy, Cause::Unreported) };
    let effects = coordinator.handle(Input::From("d0".to_owned(), Update::Ended(ended)), now);
    assert_eq!(launched(&effects), 0, "{effects:?}");
    let ended = Ended { verdict: Verdict::Migrated, ..Ended::not_wanted(Technique::PreCopy, Cause::Unreported) };
    let effects = coordinator.handle(Input::From("d1".to_owned(), Update::Ended(ended)), now);
    assert!(launched(&effects) == 0 && effects.contains(&Effect::Watch("d1".to_owned())), "{effects:?}");
    let effects = coordinator.handle(Input::Watched("d1".to_owned(), None), now);
    assert!(launched(&effects) == 0 && effects.contains(&Effect::ListBoth), "{effects:?}");
}

#[test]
fn a_recovery_switches_nothing_while_a_post_copy_is_broken_or_after_one_has_failed() {
    let task = |(name, technique)| Task::new(name, name, Transfer::by(technique), 2, Start::Launch { forced: false });
    let tasks = [("d0", Technique::PostCopy), ("d1", Technique::Hybrid)].map(task);
    let mut coordinator = Coordinator::new(Run { job: Job::Recover, ..run() }, tasks.into());
    let mut hear = |input| coordinator.handle(input, Duration::from_secs(1));
    let told = |effects: &[Effect], may_switch| {
        effects.contains(&Effect::Instruct("d1".to_owned(), Instruction::MaySwitch(may_switch)))
    };
    hear(Input::Begin);
    assert!(told(&hear(Input::Begun(Vec::new())), true));
    let phase = |phase| Input::From("d0".to_owned(), Update::Phase(phase));
    assert!(told(&hear(phase(Phase::Recovering)), false));
    assert!(told(&hear(phase(Phase::PostCopy)), true), "it is mended");
    let (source, destination) = Place::Lost.seen();
    let verdict = Verdict::Lost(crate::failure::Loss::BothHalves, crate::domain::Places { source, destination });
    let ended = Ended { verdict, ..Ended::not_wanted(Technique::PostCopy, Cause::Unreported) };
    let effects = hear(Input::From("d0".to_owned(), Update::Ended(ended)));
    assert!(told(&effects, false) && !is_cancelled(&effects, "d1"), "{effects:?}");
}

/// What comes of a wish of d1's to be switched since it is slow, after d0 of its kind has come through or has not.
fn slow_after(d0_arrived: bool, tasks: &[(Technique, usize)]) -> (Coordinator, Vec<Effect>) {
    let kinds = Kinds { of: vec![0; tasks.len()], loads: vec![true], trust: false };
    let mut coordinator = of_kinds(tasks, &kinds);
    let now = Duration::from_secs(1);
    coordinator.handle(Input::Begin, now);
    coordinator.handle(Input::Begun(Vec::new()), now);
    let ended = Ended::not_wanted(Technique::PreCopy, Cause::Unreported);
    let verdict = if d0_arrived { Verdict::Migrated } else { ended.verdict.clone() };
    coordinator.handle(Input::From("d0".to_owned(), Update::Ended(Ended { verdict, ..ended })), now);
    let cause = Cause::Slower { pass: 3, remaining_bytes: 1 << 24, seconds: 14.0 };
    let effects = coordinator.handle(Input::From("d1".to_owned(), Update::Switching(cause)), now);
    (coordinator, effects)
}

fn is_cancelled(effects: &[Effect], uuid: &str) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Instruct(of, Instruction::Abort(_)) if of == uuid))
}

#[test]
fn a_slow_pre_copy_is_switched_on_proven_ground_only_and_cancelled_nowhere() {
    for proven in [true, false] {
        let (_, effects) = slow_after(proven, &[(Technique::PreCopy, 2); 2]);
        let may_switch = Effect::Instruct("d1".to_owned(), Instruction::MaySwitch(true));
        assert_eq!(effects.contains(&may_switch), proven, "{effects:?}");
        let is_told = |effect: &Effect| format!("{effect:?}").contains("Switching");
        assert_eq!(effects.iter().any(is_told), proven, "{effects:?}");
        assert!(!is_cancelled(&effects, "d1"), "{effects:?}");
    }
}

#[test]
fn what_was_to_switch_for_the_sake_of_time_goes_on_by_pre_copy_after_a_loss() {
    let (pre, post) = ((Technique::PreCopy, 3), (Technique::PostCopy, 3));
    let (mut coordinator, effects) = slow_after(true, &[pre, pre, post]);
    assert!(effects.contains(&Effect::Instruct("d1".to_owned(), Instruction::MaySwitch(true))), "{effects:?}");
    let (source, destination) = Place::Lost.seen();
    let verdict = Verdict::Lost(crate::failure::Loss::BothHalves, crate::domain::Places { source, destination });
    let ended = Ended { verdict, ..Ended::not_wanted(Technique::PostCopy, Cause::Unreported) };
    let effects = coordinator.handle(Input::From("d2".to_owned(), Update::Ended(ended)), Duration::from_secs(2));
    assert!(effects.contains(&Effect::Instruct("d1".to_owned(), Instruction::MaySwitch(false))), "{effects:?}");
    assert!(!is_cancelled(&effects, "d1"), "{effects:?}");
}

#[test]
fn no_more_are_launched_ahead_than_may_be_in_flight() {
    let launched = |most_in_flight: usize| {
        let task = |index| {
            let name = format!("d{index}");
            Task::new(&name, &name, Transfer::by(Technique::PreCopy), 1, Start::Launch { forced: false })
        };
        let run = Run { launch_ahead: true, most_in_flight, ..run() };
        let mut coordinator = Coordinator::new(run, (0..4).map(task).collect());
        let now = Duration::from_secs(1);
        coordinator.handle(Input::Begin, now);
        let mut launched = 0;
        let mut hear = |input| {
            let effects = coordinator.handle(input, now);
            launched += effects.iter().filter(|effect| matches!(effect, Effect::Launch(_))).count();
        };
        hear(Input::Begun(Vec::new()));
        for uuid in ["d0", "d1", "d2"] {
            let nearly = Progress {
                pass: 2,
                transferred: 1 << 30,
                remaining: 1 << 10,
                bits_per_second: 1e8,
                eta_seconds: Some(0.1),
                ..Progress::default()
            };
            hear(Input::From(uuid.to_owned(), Update::Progress(nearly)));
        }
        launched
    };
    assert_eq!([1, 2, 3, usize::MAX].map(launched), [1, 2, 3, 4]);
}

#[test]
fn a_replaced_order_and_technique_are_what_is_launched() {
    let mut coordinator = coordinator(&[(Technique::PreCopy, 1); 4]);
    let now = Duration::from_secs(1);
    let launched = |effects: &[Effect]| -> Vec<(String, Technique)> {
        let launch = |effect: &Effect| match effect {
            Effect::Launch(launch) => Some((launch.uuid.clone(), launch.transfer.technique)),
            _ => None,
        };
        effects.iter().filter_map(launch).collect()
    };
    coordinator.handle(Input::Begin, now);
    assert_eq!(launched(&coordinator.handle(Input::Begun(Vec::new()), now)), [("d0".to_owned(), Technique::PreCopy)]);
    // One is in flight already, and one is none of the run's.
    let scheduled =
        |uuid: &str| Scheduled { uuid: uuid.to_owned(), transfer: Transfer::by(Technique::PostCopy), concurrency: 2 };
    let schedule = Schedule { order: ["d3", "d0", "other", "d2"].map(scheduled).into(), reason: REASON };
    let effects = coordinator.handle(Input::Replace(schedule), now);
    let told = Notice::Replanned { domains: vec!["d3".to_owned(), "d2".to_owned()], concurrency: 2, reason: REASON };
    assert!(effects.contains(&Effect::Tell(Event::Notice(told))), "{effects:?}");
    let mut interrupted = self::coordinator(&[(Technique::PreCopy, 1); 2]);
    interrupted.handle(Input::Begin, now);
    interrupted.handle(Input::Begun(Vec::new()), now);
    interrupted.handle(Input::Interrupt, now);
    let late = Schedule { order: ["d1"].map(scheduled).into(), reason: REASON };
    assert_eq!(interrupted.handle(Input::Replace(late), now), [], "nothing more is launched");
    assert_eq!(launched(&effects), [("d3".to_owned(), Technique::PostCopy)]);
    let mut end = |uuid: &str| {
        let ended = Ended { verdict: Verdict::Migrated, ..Ended::not_wanted(Technique::PreCopy, Cause::Unreported) };
        launched(&coordinator.handle(Input::From(uuid.to_owned(), Update::Ended(ended)), now))
    };
    assert_eq!(end("d3"), [("d2".to_owned(), Technique::PostCopy)]);
    assert_eq!(end("d0"), [], "what was not named comes behind, as it was");
    assert_eq!(end("d2"), [("d1".to_owned(), Technique::PreCopy)]);
}
