//! The engine against a scripted pair of hosts: what the real lab can't do at will, or not fast. The claims that
//! tsmig makes about real guests are tested on the lab.
#![allow(clippy::unwrap_used, reason = "a test that unwraps None or Err fails, as it should")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use indicatif::{InMemoryTerm, ProgressDrawTarget};
use tsmig::domain::Technique;
use tsmig::domain::{Condition, Fault, Presence};
use tsmig::engine::events::{Event, Timed};
use tsmig::engine::migration::Phase;
use tsmig::engine::recovery::journal::Journal;
use tsmig::engine::recovery::survey::{Scope, survey};
use tsmig::engine::{Evacuation, Interrupter, Options, Timeout};
use tsmig::libvirt::{Definition, HostError, HostErrorKind, Hosts, JobStats, Listed, MigrationRequest, Route, Tidied};
use tsmig::plan::{self, Objective, Plan, Step, StepPrediction, Totals};
use tsmig::render::Screen;
use tsmig::render::bars::{Bars, Terminal};
use tsmig::render::feed::Feed;
use tsmig::render::printer::Printer;
use tsmig::report::{DomainOutcome, DomainReport, Outcome, Report};
use tsmig::topology::Side;
use tsmig::topology::{Link, LinkOrigin};

/// How a scripted domain behaves when it is migrated.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Script {
    /// It arrives.
    Arrives,
    /// It arrives, and an error has paused it meanwhile.
    FailsOnItsWay,
    /// libvirt refuses it and it stays.
    Refused,
    /// The destination refuses it, which the source's libvirt says by the second try only.
    RefusedWithoutAReason,
    /// The source's libvirt loses its connection to the destination's each time.
    LosesItsPeer,
    /// The destination waits for its memory in vain, until the test lets libvirt give up.
    Mute,
    /// The same, and then the destination refuses it.
    MuteThenRefused,
    /// The destination has no port for it as long as another is in flight.
    NeedsThePort,
    /// Its post-copy breaks twice, and gets through at the second resumption.
    Breaks,
    /// It copies until it is aborted, or switched to post-copy, from where it arrives when the test says so.
    Copies,
    /// As that, with hardly anything left to copy.
    HasNearlyArrived,
    /// As [`Script::Copies`]; in post-copy it runs at the destination only when the test says so.
    LoadsSlowly,
    /// As [`Script::Copies`]; the destination can't load it in post-copy.
    CannotBeLoaded,
    /// It copies the same again in each pass.
    Stalls,
    /// It is in a last pass.
    NearlyConverged,
    /// It is not at the source any more when its turn comes.
    HasLeft,
    /// Its definition can't be read.
    Unreadable,
}

struct Domain {
    script: Script,
    source: Presence,
    destination: Presence,
    /// The error that has paused it, where it is paused.
    fault: Option<Fault>,
    post_copy_requests: usize,
    looks: u64,
    wake: Option<Sender<()>>,
    requests: Vec<MigrationRequest>,
    /// What an offline migration would leave behind.
    left_behind: Vec<String>,
}

/// Two hosts that follow a script.
struct Scripted {
    domains: Mutex<HashMap<String, Domain>>,
    /// Whether the source can reach the destination's libvirt.
    peers: bool,
    /// Whether the destination can post-copy.
    post_copies: bool,
    in_flight: Mutex<Vec<String>>,
    /// How many others were in flight at each launch, in launch order.
    company: Mutex<Vec<usize>>,
    /// The bandwidth limits that were set, with whose they are, in MiB/s.
    limits: Mutex<Vec<(String, u64)>>,
}

impl Scripted {
    fn new(domains: &[(&str, Script)]) -> Self {
        let domain = |script| Domain {
            script,
            source: Presence::Present(Condition::Running),
            destination: Presence::Absent,
            fault: None,
            post_copy_requests: 0,
            looks: 0,
            wake: None,
            requests: Vec::new(),
            left_behind: Vec::new(),
        };
        Self {
            domains: Mutex::new(domains.iter().map(|(name, script)| ((*name).to_owned(), domain(*script))).collect()),
            peers: true,
            post_copies: true,
            in_flight: Mutex::default(),
            company: Mutex::default(),
            limits: Mutex::default(),
        }
    }

    fn with<T>(&self, uuid: &str, act: impl FnOnce(&mut Domain) -> T) -> T {
        act(self.domains.lock().unwrap().get_mut(uuid).unwrap())
    }

    fn arrive(&self, uuid: &str) {
        self.with(uuid, |domain| {
            let paused =
                domain.script == Script::FailsOnItsWay || domain.source == Presence::Present(Condition::Paused);
            let condition = if paused { Condition::Paused } else { Condition::Running };
            domain.source = Presence::Absent;
            domain.destination = Presence::Present(condition);
        });
    }

    /// Ends a domain's post-copy.
    fn finish(&self, uuid: &str) {
        self.arrive(uuid);
        self.with(uuid, |domain| domain.wake.take().unwrap().send(()).unwrap());
    }
}

fn error(kind: HostErrorKind, message: &str) -> HostError {
    HostError { host: "host-a".to_owned(), kind, message: message.to_owned() }
}

impl Hosts for Scripted {
    fn migrate(&self, request: &MigrationRequest) -> Result<(), HostError> {
        let uuid = &request.uuid;
        let others = {
            let mut in_flight = self.in_flight.lock().unwrap();
            self.company.lock().unwrap().push(in_flight.len());
            in_flight.push(uuid.clone());
            in_flight.len() - 1
        };
        let (wake, woken) = channel();
        let script = self.with(uuid, |domain| {
            domain.requests.push(request.clone());
            domain.wake = Some(wake);
            domain.script
        });
        let result = match script {
            _ if request.route == Route::PeerToPeer && !self.peers => {
                // libvirt opens the job before it connects.
                woken.recv().unwrap();
                Err(error(HostErrorKind::NoPeer, "Failed to connect to remote libvirt URI"))
            }
            Script::RefusedWithoutAReason if self.with(uuid, |domain| domain.requests.len()) == 2 => {
                Err(error(HostErrorKind::Other, "Secret not found"))
            }
            Script::LosesItsPeer | Script::RefusedWithoutAReason if request.route == Route::PeerToPeer => {
                Err(error(HostErrorKind::PeerLost, "End of file while reading data"))
            }
            Script::LosesItsPeer | Script::RefusedWithoutAReason => {
                self.arrive(uuid);
                Ok(())
            }
            Script::Mute | Script::MuteThenRefused => {
                self.with(uuid, |domain| domain.destination = Presence::Present(Condition::PausedMigration));
                woken.recv().unwrap();
                self.with(uuid, |domain| domain.destination = Presence::Absent);
                match script {
                    Script::Mute => Err(error(HostErrorKind::NoData, "no data gets through to host-b:49152")),
                    _ => Err(error(HostErrorKind::Other, "Secret not found")),
                }
            }
            Script::Refused => Err(error(HostErrorKind::Other, "Cannot access storage file '/disk'")),
            Script::NeedsThePort if others > 0 => {
                Err(error(HostErrorKind::Busy, "Unable to find an unused port in range 'migration' (49152-49152)"))
            }
            Script::NeedsThePort => {
                woken.recv().unwrap();
                self.arrive(uuid);
                Ok(())
            }
            _ if request.post_copy && !self.post_copies => {
                Err(error(HostErrorKind::NoPostCopy, "Postcopy is not supported"))
            }
            Script::Breaks => {
                let attempt = self.with(uuid, |domain| domain.requests.len());
                if attempt < 3 {
                    if attempt == 1 {
                        woken.recv().unwrap();
                    }
                    self.with(uuid, |domain| {
                        domain.source = Presence::Present(Condition::PausedPostCopyFailed);
                        domain.destination = Presence::Present(Condition::RunningPostCopyFailed);
                    });
                    Err(error(HostErrorKind::Other, "job 'migration out' failed in post-copy phase"))
                } else {
                    self.arrive(uuid);
                    Ok(())
                }
            }
            Script::Arrives | Script::FailsOnItsWay => {
                self.arrive(uuid);
                Ok(())
            }
            Script::Copies
            | Script::HasNearlyArrived
            | Script::LoadsSlowly
            | Script::CannotBeLoaded
            | Script::Stalls
            | Script::NearlyConverged
            | Script::HasLeft
            | Script::Unreadable => {
                woken.recv().unwrap();
                match self.with(uuid, |domain| domain.source.clone()) {
                    Presence::Absent => Ok(()),
                    Presence::Present(Condition::PausedPostCopyFailed) => {
                        Err(error(HostErrorKind::Other, "QEMU unexpectedly closed the monitor"))
                    }
                    _ => Err(error(HostErrorKind::Other, "operation aborted: canceled by client")),
                }
            }
        };
        self.with(uuid, |domain| domain.wake = None);
        self.in_flight.lock().unwrap().retain(|other| other != uuid);
        result
    }

    fn locate(&self, error: HostError, _: &MigrationRequest, crossed: bool) -> HostError {
        HostError { host: if crossed { "between host-a and host-b" } else { "host-b" }.to_owned(), ..error }
    }

    fn job(&self, uuid: &str) -> Result<Option<JobStats>, HostError> {
        let job = JobStats { total: 100, transferred: 10, remaining: 90, pass: 1, ..JobStats::default() };
        Ok(self.with(uuid, |domain| match (&domain.wake, domain.requests.last()?.route) {
            (None, _) => None,
            (Some(wake), Route::PeerToPeer) if !self.peers => {
                // Looked at again after it failed, it does not listen any more.
                let _ = wake.send(());
                Some(JobStats::default())
            }
            (Some(_), _) if matches!(domain.script, Script::Mute | Script::MuteThenRefused) => {
                Some(JobStats::default())
            }
            (Some(_), _) if domain.script == Script::HasNearlyArrived => {
                domain.looks += 1;
                Some(JobStats { transferred: 10 * domain.looks, remaining: 1, ..job })
            }
            (Some(_), _) if domain.script == Script::NearlyConverged => {
                domain.looks += 1;
                Some(JobStats { transferred: 10 * domain.looks, remaining: 1, pass: 2, ..job })
            }
            (Some(_), _) if domain.script == Script::Stalls => {
                domain.looks += 1;
                Some(JobStats { transferred: 10 * domain.looks, pass: domain.looks, ..job })
            }
            (Some(_), _) => Some(job),
        }))
    }

    fn completed(&self, _: &str) -> Option<JobStats> {
        Some(JobStats { transferred: 100, pass: 2, downtime_seconds: Some(0.25), ..JobStats::default() })
    }

    fn list(&self, side: Side) -> Result<Vec<Listed>, HostError> {
        let domains = self.domains.lock().unwrap();
        let listed = |(name, domain): (&String, &Domain)| {
            let place = if side == Side::Source { &domain.source } else { &domain.destination };
            let Presence::Present(condition) = place else { return None };
            let fault = domain.fault.filter(|_| *condition == Condition::Paused);
            Some(Listed { domain: name.clone(), uuid: name.clone(), condition: *condition, fault })
        };
        Ok(domains.iter().filter_map(listed).collect())
    }

    fn resume_fault(&self) -> Result<Option<String>, HostError> {
        Ok(None)
    }

    fn presence(&self, side: Side, uuid: &str) -> Presence {
        self.with(uuid, |domain| match side {
            Side::Source => domain.source.clone(),
            Side::Destination => domain.destination.clone(),
        })
    }

    fn fault(&self, uuid: &str) -> Option<Fault> {
        self.with(uuid, |domain| domain.fault.filter(|_| domain.source == Presence::Present(Condition::Paused)))
    }

    fn start_post_copy(&self, uuid: &str) -> Result<(), HostError> {
        self.with(uuid, |domain| {
            domain.post_copy_requests += 1;
            match domain.post_copy_requests {
                // As measured: too early, then accepted without effect, then done.
                1 => Err(error(HostErrorKind::Other, "Enable postcopy before the start of migration")),
                2 => Ok(()),
                _ if domain.script == Script::CannotBeLoaded => {
                    domain.source = Presence::Present(Condition::PausedPostCopyFailed);
                    domain.destination = Presence::Absent;
                    if let Some(wake) = domain.wake.take() {
                        wake.send(()).unwrap();
                    }
                    Ok(())
                }
                _ => {
                    let loads = domain.script == Script::LoadsSlowly;
                    let arrives = if loads { Condition::PausedMigration } else { Condition::RunningPostCopy };
                    domain.source = Presence::Present(Condition::PausedPostCopy);
                    domain.destination = Presence::Present(arrives);
                    Ok(())
                }
            }
        })
    }

    fn abort(&self, uuid: &str) -> Result<(), HostError> {
        self.with(uuid, |domain| {
            assert_eq!(domain.source, Presence::Present(Condition::Running), "nothing else may be aborted");
            if let Some(wake) = domain.wake.take() {
                wake.send(()).unwrap();
            }
            Ok(())
        })
    }

    fn limit_bandwidth(&self, uuid: &str, _: Technique, mib: u64) -> Result<(), HostError> {
        self.limits.lock().unwrap().push((uuid.to_owned(), mib));
        Ok(())
    }

    fn definition(&self, uuid: &str) -> Result<Definition, HostError> {
        if self.with(uuid, |domain| domain.script == Script::HasLeft) {
            return Err(error(HostErrorKind::NoSuchDomain, "no domain with matching uuid"));
        }
        if self.with(uuid, |domain| domain.script == Script::Unreadable) {
            return Err(error(HostErrorKind::NoAnswer, "no answer within 10 s"));
        }
        Ok(Definition { persistent: uuid != "transient", memory_bytes: 1 << 30, ..Definition::default() })
    }

    fn left_behind(&self, uuid: &str) -> Result<Vec<String>, HostError> {
        Ok(self.with(uuid, |domain| domain.left_behind.clone()))
    }

    fn tidy(&self, uuid: &str, before: &Definition) -> Result<Vec<Tidied>, HostError> {
        let left_over = before.persistent && self.presence(Side::Source, uuid) != Presence::Absent;
        self.with(uuid, |domain| {
            let arrived = matches!(domain.destination, Presence::Present(Condition::Running | Condition::Paused));
            assert!(arrived, "a definition may go only when the domain is safe elsewhere");
            domain.source = Presence::Absent;
        });
        Ok(left_over.then_some(Tidied::UndefinedAtSource).into_iter().collect())
    }
}

fn plan(steps: &[(&str, Technique, usize)]) -> Plan {
    let step = |(index, (domain, technique, concurrency)): (usize, &(&str, Technique, usize))| Step {
        domain: (*domain).to_owned(),
        uuid: (*domain).to_owned(),
        order: index + 1,
        concurrency: *concurrency,
        technique: *technique,
        forced: false,
        outbound_bits_per_second: 0.0,
        inbound_bits_per_second: 0.0,
        memory_bytes: 0,
        reason: String::new(),
        predicted: StepPrediction {
            bytes: Some(100),
            start_seconds: Some(0.0),
            end_seconds: Some(1.0),
            downtime_seconds: None,
        },
    };
    let link = Link::new(1e9, LinkOrigin::Option);
    Plan {
        schema: plan::SCHEMA.to_owned(),
        source: "host-a".to_owned(),
        destination: "host-b".to_owned(),
        objective: Objective::Time,
        source_link: link.clone(),
        destination_link: link,
        bandwidth_bits_per_second: None,
        concurrency: steps.iter().map(|step| step.2).max().unwrap_or(1),
        launch_ahead: false,
        migrations: steps.iter().enumerate().map(step).collect(),
        refused: Vec::new(),
        blocked: vec![],
        notes: vec![],
        stays: Vec::new(),
        predicted: Totals { total_seconds: Some(1.0), lost_bits: Some(0.0) },
        fastest_seconds: None,
        bound_seconds: None,
        window: None,
        alternatives: Vec::new(),
    }
}

fn options() -> Options {
    Options {
        migration_uri: None,
        route: Route::PeerToPeer,
        timeout: Timeout::Auto,
        on_stall: None,
        timeouts: HashMap::new(),
        hooks: Arc::default(),
    }
}

/// A journal of its own for each run, in a directory that nobody reads again.
fn journal() -> Arc<Journal> {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("journals").join(std::process::id().to_string());
    Arc::new(Journal::open(&directory, &format!("run-{run}"), "host-a").unwrap().0)
}

fn run(plan: &Plan, hosts: &Arc<Scripted>) -> (Vec<Event>, Report) {
    run_with(options(), plan, hosts)
}

fn run_with(options: Options, plan: &Plan, hosts: &Arc<Scripted>) -> (Vec<Event>, Report) {
    let mut events = Vec::new();
    let report = Evacuation::new(plan, Vec::new(), hosts.clone(), journal(), options)
        .run(&mut |timed: &Timed| events.push(timed.event.clone()));
    (events, report)
}

/// Runs in the background; the events arrive as they happen.
fn start(plan: Plan, hosts: &Arc<Scripted>) -> (Receiver<Event>, impl Fn() + use<>, thread::JoinHandle<Report>) {
    let (sender, events) = channel();
    let (interrupters, interrupter) = channel();
    let hosts = hosts.clone();
    let thread = thread::spawn(move || {
        let evacuation = Evacuation::new(&plan, Vec::new(), hosts, journal(), options());
        interrupters.send(evacuation.interrupter()).unwrap();
        evacuation.run(&mut |timed: &Timed| drop(sender.send(timed.event.clone())))
    });
    let interrupter = interrupter.recv().unwrap();
    (events, move || interrupter.interrupt(), thread)
}

/// Whether an event tells that this domain has reached this phase.
fn reaches(wanted: &str, phase: Phase) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Phase { domain, phase: p } if domain == wanted && *p == phase)
}

fn await_phase(events: &Receiver<Event>, wanted: &str, phase: Phase) {
    await_all(events, &[&reaches(wanted, phase)]);
}

/// Waits for one event of each kind, in whatever order they come.
fn await_all(events: &Receiver<Event>, wanted: &[&dyn Fn(&Event) -> bool]) {
    let mut open = wanted.to_vec();
    while !open.is_empty() {
        let event = events.recv().unwrap();
        open.retain(|is_wanted| !is_wanted(&event));
    }
}

fn outcomes(report: &Report) -> Vec<DomainOutcome> {
    report.domains.iter().map(|domain| domain.outcome).collect()
}

#[test]
fn a_timeout_for_one_domain_cancels_that_one_alone() {
    let hosts = Arc::new(Scripted::new(&[("db", Script::Copies), ("web", Script::Arrives)]));
    let steps = [("db", Technique::PreCopy, 2), ("web", Technique::PreCopy, 2)];
    let timeout = Timeout::Fixed(Duration::from_secs(1));
    let options = Options { timeouts: HashMap::from([("db".to_owned(), timeout)]), ..options() };
    let (_, report) = run_with(options, &plan(&steps), &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::Remains, DomainOutcome::Migrated]);
    let error = report.domains[0].error.as_deref().unwrap();
    assert!(error.ends_with("did not finish within 1 s and was cancelled"), "{error}");
}

#[test]
fn migrations_start_in_order_and_no_more_at_once_than_each_step_allows() {
    let names = ["p1", "p2", "q1", "q2"];
    // None arrives before it is told to, so that one launched too early finds others in flight.
    let hosts = Arc::new(Scripted::new(&names.map(|name| (name, Script::Copies))));
    let steps = [("p1", 2), ("p2", 2), ("q1", 1), ("q2", 1)].map(|(n, c)| (n, Technique::PreCopy, c));
    let (events, _, thread) = start(plan(&steps), &hosts);
    let mut launches = Vec::new();
    let mut wait_for = |awaited: &[&str]| {
        let mut awaited = awaited.to_vec();
        let all = events.iter().find(|event| {
            match event {
                Event::Launch { domain, .. } => launches.push(domain.clone()),
                Event::Progress { domain, .. } => awaited.retain(|name| name != domain),
                _ => {}
            }
            awaited.is_empty()
        });
        assert!(all.is_some(), "{awaited:?} are never on their way");
    };
    wait_for(&["p1", "p2"]);
    hosts.finish("p1");
    hosts.finish("p2");
    for name in ["q1", "q2"] {
        wait_for(&[name]);
        hosts.finish(name);
    }
    let report = thread.join().unwrap();
    assert_eq!(launches, names);
    assert_eq!(*hosts.company.lock().unwrap(), [0, 1, 0, 0], "others in flight at each launch");
    assert_eq!(report.outcome, Outcome::Evacuated);
    assert_eq!(report.domains[0].downtime_seconds, Some(0.25));
    assert!(matches!(events.iter().last(), Some(Event::Report(_))));
}

#[test]
fn the_next_is_launched_when_one_has_nearly_arrived() {
    let hosts = Arc::new(Scripted::new(&[("p1", Script::HasNearlyArrived), ("p2", Script::Arrives)]));
    let steps = [("p1", Technique::PreCopy, 1), ("p2", Technique::PreCopy, 1)];
    let ahead = Plan { launch_ahead: true, ..plan(&steps) };
    let (events, _, thread) = start(ahead, &hosts);
    events.iter().find(|e| matches!(e, Event::Done(report) if report.domain == "p2")).unwrap();
    hosts.finish("p1");
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated, DomainOutcome::Migrated]);
    assert_eq!(*hosts.company.lock().unwrap(), [0, 1]);
}

#[test]
fn a_failed_migration_is_named_and_leaves_its_siblings_alone() {
    let hosts = Arc::new(Scripted::new(&[("good", Script::Arrives), ("bad", Script::Refused)]));
    let (_, report) = run(&plan(&[("bad", Technique::PreCopy, 2), ("good", Technique::PreCopy, 2)]), &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::Remains, DomainOutcome::Migrated]);
    assert_eq!(report.outcome.exit_status(), 3);
    let error = report.domains[0].error.as_deref().unwrap();
    assert_eq!(error, "it is at host-a as before: host-b: Cannot access storage file '/disk'");
}

#[test]
fn a_refused_domain_is_in_the_report_and_in_the_status() {
    let hosts = Arc::new(Scripted::new(&[("good", Script::Arrives)]));
    let mut plan = plan(&[("good", Technique::PreCopy, 1)]);
    plan.refused.push(plan::Refusal {
        domain: "gpu".to_owned(),
        uuid: "gpu".to_owned(),
        forced: None,
        reason: "an assigned host device".to_owned(),
    });
    let (_, report) = run(&plan, &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated, DomainOutcome::Remains]);
    assert_eq!(report.outcome.exit_status(), 3);
    assert_eq!(report.domains[1].error.as_deref(), Some("an assigned host device"));
}

#[test]
fn a_definition_that_would_leave_something_behind_is_looked_at_again_and_stays() {
    let hosts = Arc::new(Scripted::new(&[("saved", Script::Arrives), ("free", Script::Arrives)]));
    hosts.with("saved", |domain| domain.left_behind.push("it has a managed-save image".to_owned()));
    let (_, report) = run(&plan(&["saved", "free"].map(|name| (name, Technique::Offline, 1))), &hosts);
    assert_eq!(outcomes(&report)[0], DomainOutcome::Remains);
    assert!(report.domains[0].error.as_deref().unwrap().contains("managed-save image"));
    let asked = |name| hosts.with(name, |domain| domain.requests.len());
    assert_eq!((asked("saved"), asked("free")), (0, 1), "libvirt is not even asked");
}

#[test]
fn post_copy_is_enabled_requested_until_it_runs_and_awaited() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::Copies)]));
    let (events, _, thread) = start(plan(&[("o1", Technique::PostCopy, 1)]), &hosts);
    await_phase(&events, "o1", Phase::PostCopy);
    hosts.finish("o1");
    let report = thread.join().unwrap();
    assert_eq!(report.outcome, Outcome::Evacuated);
    hosts.with("o1", |domain| {
        assert_eq!(domain.post_copy_requests, 3);
        assert_eq!(domain.requests[0].technique, Technique::PostCopy);
    });
}

#[test]
fn a_transient_domain_stays_transient() {
    let hosts = Arc::new(Scripted::new(&[("transient", Script::Arrives), ("stored", Script::Arrives)]));
    run(&plan(&[("transient", Technique::PreCopy, 1), ("stored", Technique::PreCopy, 1)]), &hosts);
    assert!(!hosts.with("transient", |domain| domain.requests[0].persistent));
    assert!(hosts.with("stored", |domain| domain.requests[0].persistent));
}

#[test]
fn without_a_way_between_the_daemons_the_client_manages_and_says_so_once() {
    let mut hosts = Scripted::new(&[("a", Script::Arrives), ("b", Script::Arrives), ("c", Script::Arrives)]);
    hosts.peers = false;
    let hosts = Arc::new(hosts);
    let (events, report) = run(&plan(&["a", "b", "c"].map(|name| (name, Technique::PreCopy, 2))), &hosts);
    assert_eq!(report.outcome, Outcome::Evacuated);
    let notices = events.iter().filter(|event| matches!(event, Event::Notice { .. })).count();
    assert_eq!(notices, 1);
    let routes = hosts.with("c", |domain| domain.requests.iter().map(|r| r.route).collect::<Vec<_>>());
    assert_eq!(routes, [Route::ClientManaged], "the later ones do not try in vain");
}

fn routes(hosts: &Scripted, domain: &str) -> Vec<Route> {
    hosts.with(domain, |domain| domain.requests.iter().map(|request| request.route).collect())
}

fn notices(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|e| if let Event::Notice { message } = e { Some(message.as_str()) } else { None })
        .collect()
}

#[test]
fn an_error_that_hides_the_true_one_is_not_taken_for_an_unreachable_destination() {
    let hosts = Arc::new(Scripted::new(&[("bad", Script::RefusedWithoutAReason), ("good", Script::Arrives)]));
    let (events, report) = run(&plan(&["bad", "good"].map(|name| (name, Technique::PreCopy, 1))), &hosts);
    let error = report.domains[0].error.as_deref().unwrap();
    assert_eq!(error, "it is at host-a as before: host-b: Secret not found");
    assert_eq!(routes(&hosts, "bad"), [Route::PeerToPeer; 2]);
    assert_eq!(routes(&hosts, "good"), [Route::PeerToPeer]);
    assert_eq!(notices(&events), [""; 0]);
}

#[test]
fn a_connection_that_is_lost_without_a_reason_says_nothing_of_later_migrations() {
    let hosts = Arc::new(Scripted::new(&[("lost", Script::LosesItsPeer), ("good", Script::Arrives)]));
    let (events, report) = run(&plan(&["lost", "good"].map(|name| (name, Technique::PreCopy, 1))), &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated; 2]);
    assert_eq!(routes(&hosts, "lost"), [Route::PeerToPeer, Route::PeerToPeer, Route::ClientManaged]);
    assert_eq!(routes(&hosts, "good"), [Route::PeerToPeer]);
    let notices = notices(&events);
    assert!(notices.len() == 1 && notices[0].starts_with("lost: ") && notices[0].contains("this one"), "{notices:?}");
}

#[test]
fn a_domain_that_an_error_pauses_is_named_and_only_one_that_ran_before_counts() {
    let hosts = Arc::new(Scripted::new(&[("old", Script::Arrives), ("new", Script::FailsOnItsWay)]));
    hosts.with("old", |domain| domain.source = Presence::Present(Condition::Paused));
    for name in ["old", "new"] {
        hosts.with(name, |domain| domain.fault = Some(Fault::IoError));
    }
    let steps = |names: &[&'static str]| names.iter().map(|name| (*name, Technique::PreCopy, 1)).collect::<Vec<_>>();
    let (_, report) = run(&plan(&steps(&["old"])), &hosts);
    assert_eq!((report.outcome.exit_status(), report.domains[0].paused_by), (0, None));
    let notice = report.domains[0].notice.as_deref().unwrap();
    assert!(notice.contains("paused at host-b by an I/O error, as it was before"), "{notice}");
    let (_, report) = run(&plan(&steps(&["new"])), &hosts);
    assert_eq!((report.outcome.exit_status(), report.domains[0].paused_by), (3, Some(Fault::IoError)));
    let notice = report.domains[0].notice.as_deref().unwrap();
    assert!(notice.contains("although it ran before") && notice.contains("virsh resume new"), "{notice}");
}

#[test]
fn where_no_data_gets_through_that_is_said_once_and_the_others_wait() {
    let scripts = [("a", Script::Mute), ("b", Script::MuteThenRefused), ("c", Script::Arrives)];
    let hosts = Arc::new(Scripted::new(&scripts));
    let (events, _, thread) = start(plan(&["a", "b", "c"].map(|name| (name, Technique::PreCopy, 2))), &hosts);
    let said = |event: &Event| matches!(event, Event::Notice { message } if message.contains("no data gets through"));
    events.iter().find(said).unwrap();
    let wake = |name: &str| hosts.with(name, |domain| domain.wake.take().unwrap().send(()).unwrap());
    wake("b");
    events.iter().find(|e| matches!(e, Event::Done(report) if report.domain == "b")).unwrap();
    wake("a");
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Remains; 3]);
    assert!(hosts.with("c", |domain| domain.requests.is_empty()), "its turn had come");
    for name in ["a", "c"] {
        let domain = report.domains.iter().find(|domain| domain.domain == name).unwrap();
        assert!(domain.error.as_ref().unwrap().contains("no data gets through to host-b:49152"), "{domain:?}");
    }
    assert_eq!(events.iter().filter(said).count(), 1, "the run ends for that");
}

#[test]
fn the_first_interrupt_cancels_pre_copies_and_lets_post_copies_finish() {
    let hosts =
        Arc::new(Scripted::new(&[("post", Script::Copies), ("pre", Script::Copies), ("never", Script::Copies)]));
    let steps = [("post", Technique::PostCopy, 2), ("pre", Technique::PreCopy, 2), ("never", Technique::PreCopy, 2)];
    let (events, interrupt, thread) = start(plan(&steps), &hosts);
    await_phase(&events, "post", Phase::PostCopy);
    interrupt();
    let done = events.iter().find_map(|event| if let Event::Done(report) = event { Some(report) } else { None });
    assert_eq!(done.unwrap().domain, "pre");
    hosts.finish("post");
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated, DomainOutcome::Remains, DomainOutcome::Remains]);
    assert_eq!(report.outcome.exit_status(), 130);
    assert!(hosts.with("never", |domain| domain.requests.is_empty()));
}

#[test]
fn the_second_interrupt_leaves_at_once_and_names_what_is_on_its_way() {
    let hosts = Arc::new(Scripted::new(&[("post", Script::Copies)]));
    let (events, interrupt, thread) = start(plan(&[("post", Technique::PostCopy, 1)]), &hosts);
    await_phase(&events, "post", Phase::PostCopy);
    interrupt();
    interrupt();
    let report = thread.join().unwrap();
    assert_eq!(report.outcome.exit_status(), 130);
    let error = report.domains[0].error.as_deref().unwrap();
    assert!(error.contains("post-copy") && error.contains("virsh domstate post"), "{error}");
}

#[test]
fn a_post_copy_that_breaks_is_resumed_until_it_gets_through() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::Breaks)]));
    let (events, _, thread) = start(plan(&[("o1", Technique::PostCopy, 1)]), &hosts);
    await_phase(&events, "o1", Phase::PostCopy);
    hosts.with("o1", |domain| domain.wake.take().unwrap().send(()).unwrap());
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated]);
    let resumed = hosts.with("o1", |domain| domain.requests.iter().map(|r| r.resume).collect::<Vec<_>>());
    assert_eq!(resumed, [false, true, true]);
    assert_eq!(report.domains[0].technique, Some(Technique::PostCopy));
}

#[test]
fn a_destination_that_cannot_post_copy_gets_pre_copies_and_is_told_about_once() {
    let mut hosts = Scripted::new(&[("o1", Script::Arrives), ("o2", Script::Arrives)]);
    hosts.post_copies = false;
    let hosts = Arc::new(hosts);
    let (events, report) = run(&plan(&["o1", "o2"].map(|name| (name, Technique::PostCopy, 1))), &hosts);
    assert_eq!(report.outcome, Outcome::Evacuated);
    let hints: Vec<_> = events
        .iter()
        .filter_map(|event| if let Event::Notice { message } = event { Some(message.as_str()) } else { None })
        .collect();
    assert!(hints.len() == 1 && hints[0].contains("vm.unprivileged_userfaultfd=1"), "{hints:?}");
    let asked = |name| hosts.with(name, |domain| domain.requests.iter().map(|r| r.post_copy).collect::<Vec<_>>());
    assert_eq!((asked("o1"), asked("o2")), (vec![true, false], vec![false]));
    assert_eq!(report.domains[0].technique, Some(Technique::PreCopy));
}

#[test]
fn a_migration_that_finds_no_port_is_launched_again_when_another_has_ended() {
    let hosts = Arc::new(Scripted::new(&[("a", Script::NeedsThePort), ("b", Script::NeedsThePort)]));
    let steps = ["a", "b"].map(|name| (name, Technique::PreCopy, 2));
    let (events, _, thread) = start(plan(&steps), &hosts);
    let turned_away = |event: &Event| matches!(event, Event::Notice { message } if message.contains("busy"));
    events.iter().find(turned_away).unwrap();
    let wake = |name: &str| hosts.with(name, |domain| domain.wake.take().unwrap().send(()).unwrap());
    let first = hosts.in_flight.lock().unwrap()[0].clone();
    let second = if first == "a" { "b" } else { "a" };
    wake(&first);
    await_phase(&events, second, Phase::PreCopy);
    wake(second);
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated; 2]);
    assert_eq!(hosts.with(second, |domain| domain.requests.len()), 2, "not asked again while that was in vain");
}

#[test]
fn what_is_found_between_the_hosts_is_seen_to_its_end() {
    let hosts = Arc::new(Scripted::new(&[("moved", Script::Arrives), ("here", Script::Arrives)]));
    hosts.with("moved", |domain| {
        domain.source = Presence::Present(Condition::ShutOffMigrated);
        domain.destination = Presence::Present(Condition::Running);
    });
    let recover = || {
        let found = survey(&*hosts, &[], "id of host-b", Scope::Everything).unwrap().findings;
        let recovery = Evacuation::recovery("host-a", "host-b", &found, hosts.clone(), journal(), options());
        recovery.run(&mut |_| {})
    };
    let first = recover();
    assert_eq!(first.domains.iter().map(|d| d.domain.as_str()).collect::<Vec<_>>(), ["moved"]);
    assert_eq!(outcomes(&first), [DomainOutcome::Migrated]);
    assert_eq!(hosts.presence(Side::Source, "moved"), Presence::Absent);
    assert_eq!(recover().domains, [], "the second time there is nothing to do");
    assert!(hosts.with("here", |domain| domain.requests.is_empty()));
}

/// The domains that were launched by now, as far as that has not been heard.
fn launched(events: &Receiver<Event>) -> Vec<String> {
    let launch = |event| if let Event::Launch { domain, .. } = event { Some(domain) } else { None };
    events.try_iter().filter_map(launch).collect()
}

#[test]
fn the_first_post_copy_goes_alone_until_its_guest_runs_at_the_destination() {
    let hosts = Arc::new(Scripted::new(&[("p1", Script::LoadsSlowly), ("p2", Script::Copies)]));
    let steps = ["p1", "p2"].map(|name| (name, Technique::PostCopy, 2));
    let (events, _, thread) = start(plan(&steps), &hosts);
    await_phase(&events, "p1", Phase::PostCopy);
    assert_eq!(launched(&events), [""; 0], "p2 waits, though two may be in flight");
    assert!(hosts.with("p2", |domain| domain.requests.is_empty()));
    hosts.with("p1", |domain| domain.destination = Presence::Present(Condition::RunningPostCopy));
    await_phase(&events, "p2", Phase::PostCopy);
    hosts.finish("p1");
    hosts.finish("p2");
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated; 2]);
}

#[test]
fn a_stalled_pre_copy_switches_only_once_the_first_post_copy_runs_at_the_destination() {
    let hosts = Arc::new(Scripted::new(&[("stalls", Script::Stalls), ("post", Script::LoadsSlowly)]));
    let steps = [("stalls", Technique::PreCopy, 2), ("post", Technique::PostCopy, 2)];
    let (events, _, thread) = start(plan(&steps), &hosts);
    let stalled = |event: &Event| matches!(event, Event::Notice { message } if message.contains("does not converge"));
    await_all(&events, &[&reaches("post", Phase::PostCopy), &stalled]);
    // Several looks later it still has not been asked to switch.
    let looks = hosts.with("stalls", |domain| domain.looks);
    while hosts.with("stalls", |domain| domain.looks) < looks + 3 {
        thread::yield_now();
    }
    assert_eq!(hosts.with("stalls", |domain| domain.post_copy_requests), 0);
    hosts.with("post", |domain| domain.destination = Presence::Present(Condition::RunningPostCopy));
    await_phase(&events, "stalls", Phase::PostCopy);
    hosts.finish("stalls");
    hosts.finish("post");
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated; 2]);
}

#[test]
fn a_destination_that_cannot_load_a_guest_loses_one_and_pre_copies_go_on() {
    let hosts = Arc::new(Scripted::new(&[
        ("pre", Script::Copies),
        ("lost", Script::CannotBeLoaded),
        ("never", Script::CannotBeLoaded),
    ]));
    let steps = [("pre", Technique::PreCopy, 3), ("lost", Technique::PostCopy, 3), ("never", Technique::PostCopy, 3)];
    let (events, _, thread) = start(plan(&steps), &hosts);
    let lost = events.iter().find_map(|event| if let Event::Done(report) = event { Some(report) } else { None });
    assert_eq!(lost.unwrap().outcome, DomainOutcome::Lost);
    hosts.finish("pre");
    let report = thread.join().unwrap();
    let (migrated, lost, remains) = (DomainOutcome::Migrated, DomainOutcome::Lost, DomainOutcome::Remains);
    assert_eq!(outcomes(&report), [migrated, lost, remains]);
    assert_eq!(report.outcome.exit_status(), 4);
    assert!(hosts.with("never", |domain| domain.requests.is_empty()));
    let error = report.domains[1].error.as_deref().unwrap();
    for words in ["host-a", "`virsh destroy lost`, then `virsh start lost`", "memory is lost"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let error = report.domains[2].error.as_deref().unwrap();
    assert!(error.contains("lost was lost"), "{error}");
}

#[test]
fn a_post_copy_that_has_not_switched_is_cancelled_when_another_is_lost() {
    let hosts = Arc::new(Scripted::new(&[
        ("first", Script::Copies),
        ("lost", Script::Copies),
        ("waits", Script::Stalls),
        ("never", Script::Copies),
    ]));
    let steps = [
        ("first", Technique::PostCopy, 3),
        ("lost", Technique::PostCopy, 3),
        ("waits", Technique::PreCopy, 3),
        ("never", Technique::PostCopy, 3),
    ];
    let (events, _, thread) = start(plan(&steps), &hosts);
    await_all(&events, &[&reaches("lost", Phase::PostCopy), &reaches("waits", Phase::PreCopy)]);
    hosts.with("lost", |domain| {
        domain.source = Presence::Present(Condition::PausedPostCopyFailed);
        domain.destination = Presence::Present(Condition::ShutOff);
        domain.wake.take().unwrap().send(()).unwrap();
    });
    // It stalls after the loss, and is cancelled instead of switched.
    let done = |event| if let Event::Done(report) = event { Some(report.domain) } else { None };
    assert_eq!(events.iter().filter_map(done).take(2).collect::<Vec<_>>(), ["lost", "waits"]);
    hosts.finish("first");
    let report = thread.join().unwrap();
    assert_eq!(
        outcomes(&report),
        [DomainOutcome::Migrated, DomainOutcome::Lost, DomainOutcome::Remains, DomainOutcome::Remains]
    );
    assert_eq!(hosts.with("waits", |domain| domain.post_copy_requests), 0);
    assert!(hosts.with("never", |domain| domain.requests.is_empty()));
    let error = report.domains[1].error.as_deref().unwrap();
    assert!(error.contains("on host-b: `virsh undefine lost --keep-nvram --keep-tpm`"), "{error}");
}

#[test]
fn after_a_loss_in_an_earlier_run_all_go_by_pre_copy() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::Arrives), ("was-lost", Script::Arrives)]));
    let earlier = run(&plan(&[("was-lost", Technique::PostCopy, 1)]), &hosts).1.domains;
    let earlier = earlier.into_iter().map(|report| DomainReport { outcome: DomainOutcome::Lost, ..report }).collect();
    let plan = plan(&[("o1", Technique::PostCopy, 1)]);
    let evacuation = Evacuation::new(&plan, earlier, hosts.clone(), journal(), options());
    let report = evacuation.run(&mut |_| {});
    assert_eq!(outcomes(&report), [DomainOutcome::Lost, DomainOutcome::Migrated]);
    assert_eq!(hosts.with("o1", |domain| domain.requests[0].technique), Technique::PreCopy);
}

#[test]
fn a_domain_that_somebody_else_has_moved_is_looked_for_at_the_destination() {
    let hosts =
        Arc::new(Scripted::new(&[("moved", Script::HasLeft), ("moves", Script::HasLeft), ("off", Script::HasLeft)]));
    hosts.arrive("moved");
    for (name, destination) in [("moves", Presence::Present(Condition::PausedMigration)), ("off", Presence::Absent)] {
        hosts.with(name, |domain| (domain.source, domain.destination) = (Presence::Absent, destination));
    }
    let steps = ["moved", "moves", "off"].map(|name| (name, Technique::PreCopy, 3));
    let (events, _, thread) = start(plan(&steps), &hosts);
    await_phase(&events, "moves", Phase::Checking);
    hosts.arrive("moves");
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated, DomainOutcome::Migrated, DomainOutcome::Gone]);
    assert_eq!(report.outcome.exit_status(), 3);
    let told = events.iter().filter(
        |event| matches!(event, Event::Notice { message } if message.contains("was moved by somebody else and is at host-b")),
    );
    assert_eq!(told.count(), 2);
    let error = report.domains[2].error.as_deref().unwrap();
    assert!(error.contains("third host") && !error.contains("virsh start"), "{error}");
}

#[test]
fn a_domain_that_started_at_the_source_meanwhile_is_in_the_report_and_the_status() {
    let hosts =
        Arc::new(Scripted::new(&[("web", Script::Arrives), ("late", Script::Arrives), ("kept", Script::Arrives)]));
    let mut plan = plan(&[("web", Technique::PreCopy, 1)]);
    // Shut off when planned; the other was excluded.
    for (name, kind) in [("late", plan::StayKind::ShutOff), ("kept", plan::StayKind::NotSelected)] {
        let (domain, uuid, reason) = (name.to_owned(), name.to_owned(), kind.to_string());
        plan.stays.push(plan::Stay { domain, uuid, kind: Some(kind), reason });
    }
    let evacuation = Evacuation::new(&plan, Vec::new(), hosts.clone(), journal(), options());
    let report = evacuation.wanting(|name, _| name != "kept").run(&mut |_| {});
    let names: Vec<_> = report.domains.iter().map(|domain| domain.domain.as_str()).collect();
    assert_eq!(names, ["web", "late"]);
    assert_eq!(report.outcome.exit_status(), 3);
    let error = report.domains[1].error.as_deref().unwrap();
    assert!(error.contains("started on host-a after planning and was not moved"), "{error}");
}

#[test]
fn domains_that_all_ended_are_no_success() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::HasLeft)]));
    hosts.with("o1", |domain| domain.source = Presence::Present(Condition::ShutOff));
    let (_, report) = run(&plan(&[("o1", Technique::PreCopy, 1)]), &hosts);
    assert_eq!(outcomes(&report), [DomainOutcome::Gone]);
    assert_eq!((report.outcome, report.outcome.exit_status()), (Outcome::Partial, 3));
    let error = report.domains[0].error.as_deref().unwrap();
    assert!(error.contains("shut off at host-a; `virsh start o1` there starts it"), "{error}");
}

#[test]
fn a_pre_copy_that_was_switched_gets_the_share_of_a_post_copy() {
    let hosts = Arc::new(Scripted::new(&[("stalls", Script::Stalls), ("other", Script::Copies)]));
    let steps = ["stalls", "other"].map(|name| (name, Technique::PreCopy, 2));
    let (events, _, thread) = start(plan(&steps), &hosts);
    await_phase(&events, "stalls", Phase::PostCopy);
    let set = || hosts.limits.lock().unwrap().iter().filter(|(name, _)| name == "stalls").count();
    let before = set();
    // Others are held back for its sake now, but for a guest that waits for its memory.
    hosts.with("other", |domain| domain.script = Script::NearlyConverged);
    while set() == before {
        thread::yield_now();
    }
    let limit = hosts.limits.lock().unwrap().iter().rev().find(|(name, _)| name == "stalls").map(|(_, mib)| *mib);
    assert!(limit >= Some(59), "half of 119 MiB/s: {limit:?}");
    hosts.finish("stalls");
    hosts.finish("other");
    assert_eq!(outcomes(&thread.join().unwrap()), [DomainOutcome::Migrated; 2]);
}

#[test]
fn one_that_a_busy_destination_turned_away_is_not_left_open_in_the_journal() {
    let directory =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("journals").join(format!("busy-{}", std::process::id()));
    let open = || Journal::open(&directory, "id", "host-a").unwrap();
    let hosts = Arc::new(Scripted::new(&[("a", Script::NeedsThePort), ("b", Script::NeedsThePort)]));
    let steps = ["a", "b"].map(|name| (name, Technique::PreCopy, 2));
    let (sender, events) = channel();
    let evacuation = Evacuation::new(&plan(&steps), Vec::new(), hosts.clone(), Arc::new(open().0), options());
    let interrupter = evacuation.interrupter();
    let thread = thread::spawn(move || evacuation.run(&mut |timed: &Timed| drop(sender.send(timed.event.clone()))));
    let turned_away = |event: &Event| matches!(event, Event::Notice { message } if message.contains("busy"));
    events.iter().find(turned_away).unwrap();
    interrupter.interrupt();
    assert_eq!(thread.join().unwrap().outcome, Outcome::Interrupted);
    assert_eq!(open().1, []);
}

#[test]
fn a_definition_that_cannot_be_read_is_told_and_nothing_is_done() {
    let hosts = Arc::new(Scripted::new(&[("moved", Script::Unreadable)]));
    hosts.with("moved", |domain| {
        domain.source = Presence::Present(Condition::ShutOffMigrated);
        domain.destination = Presence::Present(Condition::Running);
    });
    let found = survey(&*hosts, &[], "id of host-b", Scope::Everything).unwrap();
    let recovery = Evacuation::recovery("host-a", "host-b", &found.findings, hosts.clone(), journal(), options());
    let report = recovery.beside(found.unanswered).run(&mut |_| {});
    assert_eq!(outcomes(&report), [DomainOutcome::NeedsRecovery]);
    assert_eq!(report.outcome.exit_status(), 4);
    let error = report.domains[0].error.as_deref().unwrap();
    assert!(error.contains("host-a: no answer within 10 s") && error.contains("run this again"), "{error}");
    assert_eq!(hosts.presence(Side::Source, "moved"), Presence::Present(Condition::ShutOffMigrated));
}

#[test]
fn an_interrupt_before_the_first_launch_launches_nothing() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::Arrives)]));
    let evacuation =
        Evacuation::new(&plan(&[("o1", Technique::PreCopy, 1)]), Vec::new(), hosts.clone(), journal(), options());
    evacuation.interrupter().interrupt();
    let report = evacuation.run(&mut |timed| assert!(!matches!(timed.event, Event::Launch { .. }), "{timed:?}"));
    assert_eq!((report.outcome, outcomes(&report)), (Outcome::Interrupted, vec![DomainOutcome::Remains]));
    assert!(hosts.with("o1", |domain| domain.requests.is_empty()));
}

#[test]
fn a_reader_that_does_not_read_holds_up_neither_migrations_nor_interrupts() {
    let hosts = Arc::new(Scripted::new(&[("o1", Script::Arrives), ("o2", Script::Copies)]));
    let steps = [("o1", Technique::PreCopy, 1), ("o2", Technique::PreCopy, 1)];
    let printer = Printer::default();
    let (reads, reader) = channel::<()>();
    printer.post(move || {
        let _ = reader.recv();
    });
    let term = InMemoryTerm::new(24, 120);
    let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
    let bars = Bars::on(target, Terminal { lines: 24, columns: 120, colors: false });
    let mut feed = Feed::by(printer.clone(), Screen::Bars(Box::new(bars)));
    let evacuation = Evacuation::new(&plan(&steps), Vec::new(), hosts, journal(), options());
    let mut interrupter = Some(evacuation.interrupter());
    let report = evacuation.run(&mut |timed: &Timed| {
        feed.tell(timed);
        if matches!(&timed.event, Event::Progress { domain, .. } if domain == "o2") {
            interrupter.take().iter().for_each(Interrupter::interrupt);
        }
    });
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated, DomainOutcome::Remains]);
    assert_eq!(term.contents(), "", "nothing was read yet");
    assert!(printer.finish(Duration::from_millis(50)) > 0, "and the end does not wait for ever");
    drop(reads);
    printer.finish(Duration::MAX);
    assert!(term.contents().contains("host-a interrupted: 1 of 2 domains at host-b"), "{}", term.contents());
}
