//! What an earlier run left between the hosts.

use std::sync::Arc;

use crate::scripted::{Script, Scripted};
use crate::support::{journal, options, outcomes};
use tsmig::domain::{Condition, Presence};
use tsmig::engine::Evacuation;
use tsmig::engine::recovery::survey::{Scope, survey};
use tsmig::libvirt::Hosts;
use tsmig::report::DomainOutcome;
use tsmig::topology::Side;

#[test]
fn what_is_found_between_the_hosts_is_seen_to_its_end() {
    let hosts = Arc::new(Scripted::new(&[("moved", Script::Arrives), ("here", Script::Arrives)]));
    hosts.with("moved", |domain| {
        domain.source = Presence::Present(Condition::ShutOffMigrated);
        domain.destination = Presence::Present(Condition::Running);
    });
    let recover = || {
        let found = survey(&*hosts, &[], "id of host-b", Scope::Everything).unwrap();
        let recovery = Evacuation::recovery(("host-a", "host-b"), found, hosts.clone(), journal(), options());
        recovery.run(&mut |_| {})
    };
    let first = recover();
    assert_eq!(first.domains.iter().map(|d| d.domain.as_str()).collect::<Vec<_>>(), ["moved"]);
    assert_eq!(outcomes(&first), [DomainOutcome::Migrated]);
    assert_eq!(hosts.presence(Side::Source, "moved"), Presence::Absent);
    assert_eq!(recover().domains, [], "the second time there is nothing to do");
    assert!(hosts.with("here", |domain| domain.requests.is_empty()));
}

#[test]
fn a_definition_that_cannot_be_read_is_told_and_nothing_is_done() {
    let hosts = Arc::new(Scripted::new(&[("moved", Script::Unreadable)]));
    hosts.with("moved", |domain| {
        domain.source = Presence::Present(Condition::ShutOffMigrated);
        domain.destination = Presence::Present(Condition::Running);
    });
    let found = survey(&*hosts, &[], "id of host-b", Scope::Everything).unwrap();
    let recovery = Evacuation::recovery(("host-a", "host-b"), found, hosts.clone(), journal(), options());
    let report = recovery.run(&mut |_| {});
    assert_eq!(outcomes(&report), [DomainOutcome::NeedsRecovery]);
    assert_eq!(report.outcome.exit_status(), 4);
    let error = report.domains[0].error().unwrap();
    assert!(error.contains("host-a: no answer within 10 s") && error.contains("run this again"), "{error}");
    assert_eq!(hosts.presence(Side::Source, "moved"), Presence::Present(Condition::ShutOffMigrated));
}
