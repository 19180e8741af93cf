//! Domains that have arrived and are watched for a while.

use std::sync::Arc;

use crate::scripted::{Script, Scripted};
use crate::support::{await_phase, journal, notices, options, outcomes, plan, run, run_with, says, start};
use tsmig::domain::{Fault, Phase, Technique};
use tsmig::engine::events::{Event, Timed};
use tsmig::engine::{Evacuation, Options};
use tsmig::plan::Plan;
use tsmig::profile::Steady;
use tsmig::report::{DomainOutcome, Outcome};

/// Two pre-copies one after the other, of guests that receive 8 Mbit/s.
fn two() -> Plan {
    let mut plan = plan(&[("first", Technique::PreCopy, 1), ("second", Technique::PreCopy, 1)]);
    let steady = Steady { outbound_bits_per_second: 0.0, inbound_bits_per_second: 8e6 };
    plan.migrations.iter_mut().for_each(|step| step.steady = vec![steady]);
    plan
}

fn hosts(second: Script, dead_network: bool) -> Arc<Scripted> {
    let hosts = Scripted::new(&[("first", Script::Arrives), ("second", second)]);
    Arc::new(Scripted { dead_network, ..hosts })
}

#[test]
fn a_guest_to_which_nothing_gets_through_keeps_the_others_where_they_are() {
    let (events, report) = run(&two(), &hosts(Script::Copies, true));
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated, DomainOutcome::Remains]);
    assert_eq!((report.outcome, report.outcome.exit_status()), (Outcome::Partial, 3));
    let told = notices(&events).concat();
    for words in ["first has arrived at host-b", "vnet1", "8 Mbit/s", "nothing more", "--watch-arrivals=false"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let notice = report.domains[0].notice.as_ref().unwrap().to_string();
    for words in ["virsh domiflist first", "`tsmig evacuate host-b host-a --only first`"] {
        assert!(notice.contains(words) && told.contains(words), "{words}: {notice}");
    }
    let error = report.domains[1].error().unwrap();
    assert!(error.starts_with("it is at host-a as before: first has arrived at host-b, but nothing gets"), "{error}");
}

#[test]
fn others_are_launched_while_one_is_watched_and_the_time_is_that_of_the_last_arrival() {
    let (mut events, mut ended) = (Vec::new(), 0.0);
    let evacuation = Evacuation::new(&two(), Vec::new(), hosts(Script::Arrives, true), journal(), options());
    let report = evacuation.run(&mut |timed: &Timed| {
        ended = if matches!(timed.event, Event::Done(_)) { timed.elapsed_seconds } else { ended };
        events.push(timed.event.clone());
    });
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated; 2]);
    let place = |wanted: &dyn Fn(&Event) -> bool| events.iter().position(wanted).unwrap();
    let launched = place(&|event| matches!(event, Event::Launch { domain, .. } if domain == "second"));
    assert!(launched < place(&|event| says(event, "nothing gets through")));
    assert!(report.domains.iter().all(|domain| domain.notice.is_some()), "each is told");
    assert_eq!(report.outcome.exit_status(), 3);
    assert!((report.total_seconds - ended).abs() < 0.01, "{} s, not {ended} s", report.total_seconds);
}

#[test]
fn where_data_gets_through_or_nobody_watches_all_move() {
    let (events, report) = run(&two(), &hosts(Script::Arrives, false));
    assert_eq!((report.outcome, notices(&events)), (Outcome::Evacuated, vec![]));
    let unwatched = Options { watch_arrivals: false, ..options() };
    let (events, report) = run_with(unwatched, &two(), &hosts(Script::Arrives, true));
    assert_eq!((report.outcome, notices(&events)), (Outcome::Evacuated, vec![]));
}

#[test]
fn an_error_that_stops_a_guest_at_the_destination_keeps_the_others_where_they_are() {
    let hosts = hosts(Script::Copies, false);
    hosts.with("first", |domain| (domain.script, domain.fault) = (Script::FailsOnItsWay, Some(Fault::IoError)));
    let (events, report) = run(&two(), &hosts);
    let told = notices(&events).concat();
    assert!(told.contains("first has arrived at host-b, but an I/O error has stopped it there"), "{told}");
    assert_eq!(outcomes(&report), [DomainOutcome::Migrated, DomainOutcome::Remains]);
    assert_eq!(report.outcome.exit_status(), 3);
}

#[test]
fn an_interrupt_ends_the_watch() {
    let hosts = hosts(Script::Copies, true);
    let (events, interrupt, thread) = start(two(), &hosts);
    await_phase(&events, "second", Phase::PreCopy);
    interrupt();
    let report = thread.join().unwrap();
    assert_eq!(report.outcome, Outcome::Interrupted);
    assert_eq!(report.domains[0].notice, None);
}
