//! Plans, options and runs for the tests.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::scripted::Scripted;
use tsmig::domain::{Phase, Route, Technique, Transfer};
use tsmig::engine::events::{Event, Timed};
use tsmig::engine::recovery::journal::Journal;
use tsmig::engine::{Evacuation, Options, Timeout};
use tsmig::plan::{self, Activity, Objective, Plan, Reason, Step, StepPrediction, Totals};
use tsmig::report::{DomainOutcome, Report};
use tsmig::topology::{CapacityOrigin, HostPorts, Port, RouteOrigin};

pub(crate) fn plan(steps: &[(&str, Technique, usize)]) -> Plan {
    let step = |(index, (domain, technique, concurrency)): (usize, &(&str, Technique, usize))| Step {
        domain: (*domain).to_owned(),
        uuid: (*domain).to_owned(),
        order: index + 1,
        concurrency: *concurrency,
        destination: "host-b".to_owned(),
        path: Vec::new(),
        ground: None,
        transfer: Transfer::by(*technique),
        outbound_bits_per_second: 0.0,
        inbound_bits_per_second: 0.0,
        steady: Vec::new(),
        earlier_migrations: 0,
        memory_bytes: 0,
        activity: Activity::default(),
        reason: Reason::Chosen { otherwise: None },
        predicted: StepPrediction {
            bytes: Some(100),
            start_seconds: Some(0.0),
            end_seconds: Some(1.0),
            downtime_seconds: None,
        },
    };
    let host = |name: &str| HostPorts {
        host: name.to_owned(),
        migration_port: Port::unnamed(1e9, CapacityOrigin::Option),
        route: RouteOrigin::default(),
        address: None,
        other_ports: Vec::new(),
        outlets: Vec::new(),
    };
    Plan {
        schema: plan::SCHEMA.to_owned(),
        source: "host-a".to_owned(),
        destinations: vec!["host-b".to_owned()],
        objective: Objective::Time,
        hosts: ["host-a", "host-b"].map(host).into(),
        bandwidth_bits_per_second: None,
        concurrency: steps.iter().map(|step| step.2).max().unwrap_or(1),
        launch_ahead: false,
        post_copy_limit: None,
        trust_destination: false,
        grounds: Vec::new(),
        proof: None,
        migrations: steps.iter().enumerate().map(step).collect(),
        refused: Vec::new(),
        blocked: vec![],
        notes: vec![],
        stays: Vec::new(),
        predicted: Totals { total_seconds: Some(1.0), lost_bits: Some(0.0), low: None, high: None },
        fastest_seconds: None,
        bound_seconds: None,
        window: None,
        alternatives: Vec::new(),
    }
}

pub(crate) fn options() -> Options {
    Options {
        migration_uri: None,
        route: Route::PeerToPeer,
        timeout: Timeout::Auto,
        on_stall: None,
        replan: false,
        watch_arrivals: true,
        timeouts: HashMap::new(),
        proofs: None,
        hooks: Arc::default(),
    }
}

/// A journal of its own for each run, in a directory that nobody reads again.
pub(crate) fn journal() -> Arc<Journal> {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("journals").join(std::process::id().to_string());
    Arc::new(Journal::open(&directory, &format!("run-{run}"), "host-a").unwrap().0)
}

pub(crate) fn run(plan: &Plan, hosts: &Arc<Scripted>) -> (Vec<Event>, Report) {
    run_with(options(), plan, hosts)
}

pub(crate) fn run_with(options: Options, plan: &Plan, hosts: &Arc<Scripted>) -> (Vec<Event>, Report) {
    let mut events = Vec::new();
    let report = Evacuation::new(plan, Vec::new(), hosts.clone(), journal(), options)
        .run(&mut |timed: &Timed| events.push(timed.event.clone()));
    (events, report)
}

/// Runs in the background; the events arrive as they happen.
pub(crate) fn start(
    plan: Plan,
    hosts: &Arc<Scripted>,
) -> (Receiver<Event>, impl Fn() + use<>, thread::JoinHandle<Report>) {
    start_with(options(), plan, hosts)
}

/// The same, otherwise than by [`options`].
pub(crate) fn start_with(
    options: Options,
    plan: Plan,
    hosts: &Arc<Scripted>,
) -> (Receiver<Event>, impl Fn() + use<>, thread::JoinHandle<Report>) {
    let (sender, events) = channel();
    let (interrupters, interrupter) = channel();
    let hosts = hosts.clone();
    let thread = thread::spawn(move || {
        let evacuation = Evacuation::new(&plan, Vec::new(), hosts, journal(), options);
        interrupters.send(evacuation.control()).unwrap();
        evacuation.run(&mut |timed: &Timed| drop(sender.send(timed.event.clone())))
    });
    let interrupter = interrupter.recv().unwrap();
    (events, move || interrupter.interrupt(), thread)
}

/// Whether an event tells that this domain has reached this phase.
pub(crate) fn reaches(wanted: &str, phase: Phase) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Phase { domain, phase: p } if domain == wanted && *p == phase)
}

pub(crate) fn await_phase(events: &Receiver<Event>, wanted: &str, phase: Phase) {
    await_all(events, &[&reaches(wanted, phase)]);
}

/// Waits for one event of each kind, in whatever order they come.
pub(crate) fn await_all(events: &Receiver<Event>, wanted: &[&dyn Fn(&Event) -> bool]) {
    let mut open = wanted.to_vec();
    while !open.is_empty() {
        let event = events.recv().unwrap();
        open.retain(|is_wanted| !is_wanted(&event));
    }
}

pub(crate) fn outcomes(report: &Report) -> Vec<DomainOutcome> {
    report.domains.iter().map(|domain| domain.outcome).collect()
}

/// The notices, in words.
pub(crate) fn notices(events: &[Event]) -> Vec<String> {
    let notice = |event: &Event| if let Event::Notice(notice) = event { Some(notice.to_string()) } else { None };
    events.iter().filter_map(notice).collect()
}

/// Whether an event is a notice with these words in it.
pub(crate) fn says(event: &Event, text: &str) -> bool {
    matches!(event, Event::Notice(notice) if notice.to_string().contains(text))
}
