//! The way between the hosts: which connection carries a migration, and what is said if none does.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use crate::scripted::{Script, Scripted};
use crate::support::{notices, outcomes, plan, run, says, start};
use tsmig::domain::{Route, Technique};
use tsmig::engine::events::Event;
use tsmig::report::{DomainOutcome, Outcome};

#[test]
fn without_a_way_between_the_daemons_the_client_manages_and_says_so_once() {
    let mut hosts = Scripted::new(&[("a", Script::Arrives), ("b", Script::Arrives), ("c", Script::Arrives)]);
    hosts.peers = false;
    let hosts = Arc::new(hosts);
    let (events, report) = run(&plan(&["a", "b", "c"].map(|name| (name, Technique::PreCopy, 2))), &hosts);
    assert_eq!(report.outcome, Outcome::Evacuated);
    assert_eq!(notices(&events).len(), 1);
    let routes = hosts.with("c", |domain| domain.requests.iter().map(|r| r.route).collect::<Vec<_>>());
    assert_eq!(routes, [Route::ClientManaged], "the later ones do not try in vain");
}

fn routes(hosts: &Scripted, domain: &str) -> Vec<Route> {
    hosts.with(domain, |domain| domain.requests.iter().map(|request| request.route).collect())
}

#[test]
fn an_error_that_hides_the_true_one_is_not_taken_for_an_unreachable_destination() {
    let hosts = Arc::new(Scripted::new(&[("bad", Script::RefusedWithoutAReason), ("good", Script::Arrives)]));
    let (events, report) = run(&plan(&["bad", "good"].map(|name| (name, Technique::PreCopy, 1))), &hosts);
    let error = report.domains[0].error().unwrap();
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
fn where_no_data_gets_through_that_is_said_once_and_the_others_wait() {
    let scripts = [("a", Script::Mute), ("b", Script::MuteThenRefused), ("c", Script::Arrives)];
    let hosts = Arc::new(Scripted::new(&scripts));
    let (events, _, thread) = start(plan(&["a", "b", "c"].map(|name| (name, Technique::PreCopy, 2))), &hosts);
    let said = |event: &Event| says(event, "no data gets through");
    // The hosts of this test answer nothing more until it is said.
    let heard = iter::from_fn(|| events.recv_timeout(Duration::from_secs(40)).ok()).any(|event| said(&event));
    assert!(heard, "it is said while the source does not answer");
    let wake = |name: &str| hosts.with(name, |domain| domain.wake.take().unwrap().send(()).unwrap());
    wake("b");
    events.iter().find(|e| matches!(e, Event::Done(report) if report.domain == "b")).unwrap();
    wake("a");
    let report = thread.join().unwrap();
    assert_eq!(outcomes(&report), [DomainOutcome::Remains; 3]);
    assert!(hosts.with("c", |domain| domain.requests.is_empty()), "its turn had come");
    for name in ["a", "c"] {
        let domain = report.domains.iter().find(|domain| domain.domain == name).unwrap();
        assert!(domain.error().unwrap().contains("no data gets through to host-b:49152"), "{domain:?}");
    }
    assert_eq!(events.iter().filter(said).count(), 1, "the run ends for that");
}
