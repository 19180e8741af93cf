//! The way back after maintenance: of the domains at a host, those that an earlier run moved there.
//!
//! Pure. Domains are matched by UUID, since a domain may have been renamed meanwhile, and another may have its name.

use crate::domain::{DomainState, Technique};
use crate::plan::{Rule, StayKind};
use crate::profile::Profile;
use crate::report::{DomainOutcome, DomainReport, Report};

pub fn moved(report: &Report) -> impl Iterator<Item = &DomainReport> {
    report.domains.iter().filter(|domain| domain.outcome == DomainOutcome::Migrated)
}

/// A domain that is not at the source any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Absent {
    /// Its name.
    pub domain: String,
    /// Its UUID.
    pub uuid: String,
    /// Where it was.
    pub source: String,
    /// Where else it was looked for.
    pub destination: String,
    /// Its state there; `None` if it is not there either.
    pub state: Option<DomainState>,
}

impl Absent {
    pub(super) fn of(domain: &str, uuid: &str, source: &Profile, destination: &Profile) -> Self {
        Self {
            domain: domain.to_owned(),
            uuid: uuid.to_owned(),
            source: source.host.clone(),
            destination: destination.host.clone(),
            state: destination.domain(uuid).map(|domain| domain.state),
        }
    }
}

/// Lets all domains stay but those that the run of `report` moved. Of those it gives the ones that are not at the source.
pub fn narrow(rules: &mut [Rule], report: &Report, source: &Profile, destination: &Profile) -> Vec<Absent> {
    let moved: Vec<_> = moved(report).collect();
    for (domain, rule) in source.domains.iter().zip(rules) {
        match moved.iter().find(|moved| moved.uuid == domain.uuid) {
            // What came as a definition goes back as one.
            Some(moved) => rule.offline |= moved.technique == Some(Technique::Offline),
            None if !rule.stays => {
                rule.stays = true;
                rule.stays_because = StayKind::NotInReport;
            }
            None => {}
        }
    }
    let absent = moved.iter().filter(|moved| source.domain(&moved.uuid).is_none());
    absent.map(|moved| Absent::of(&moved.domain, &moved.uuid, source, destination)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::{self, Outcome};

    fn host(name: &str, domains: &[(&str, &str)]) -> Profile {
        let running: Vec<_> = domains.iter().map(|(name, uuid)| (*name, *uuid, DomainState::Running)).collect();
        fixture::host(name, &running)
    }

    fn run(domains: &[(&str, Technique, DomainOutcome)]) -> Report {
        let domain = |(uuid, technique, outcome): &(&str, Technique, DomainOutcome)| DomainReport {
            technique: Some(*technique),
            ..DomainReport::new(&format!("was {uuid}"), uuid, *outcome)
        };
        Report {
            schema: report::SCHEMA.to_owned(),
            job: report::Job::Evacuate,
            source: "host-a".to_owned(),
            destinations: vec!["host-b".to_owned()],
            outcome: Outcome::Partial,
            total_seconds: 1.0,
            predicted_seconds: None,
            domains: domains.iter().map(domain).collect(),
        }
    }

    #[test]
    fn exactly_what_the_run_moved_returns_whatever_it_is_called_now() {
        let report = run(&[
            ("u1", Technique::PreCopy, DomainOutcome::Migrated),
            ("u2", Technique::Offline, DomainOutcome::Migrated),
            ("u3", Technique::PreCopy, DomainOutcome::Remains),
        ]);
        let source = host("host-b", &[("renamed", "u1"), ("off", "u2"), ("stayed", "u3"), ("native", "u4")]);
        let mut rules = vec![Rule::default(); 4];
        assert_eq!(narrow(&mut rules, &report, &source, &host("host-a", &[])), Vec::new());
        assert_eq!(rules.iter().map(|rule| rule.stays).collect::<Vec<_>>(), [false, false, true, true]);
        assert_eq!(rules.iter().map(|rule| rule.offline).collect::<Vec<_>>(), [false, true, false, false]);
    }

    #[test]
    fn an_excluded_domain_does_not_return() {
        let report = run(&[("u1", Technique::PreCopy, DomainOutcome::Migrated)]);
        let mut rules = [Rule { stays: true, ..Rule::default() }];
        narrow(&mut rules, &report, &host("host-b", &[("n1", "u1")]), &host("host-a", &[]));
        assert!(rules[0].stays);
    }

    #[test]
    fn what_is_not_there_any_more_is_named_with_its_place() {
        let report = run(&[
            ("u1", Technique::PreCopy, DomainOutcome::Migrated),
            ("u2", Technique::PreCopy, DomainOutcome::Migrated),
        ]);
        let absent = narrow(&mut [], &report, &host("host-b", &[]), &host("host-a", &[("n1", "u1")]));
        let absent: Vec<_> = absent.iter().map(ToString::to_string).collect();
        assert!(absent[0].contains("was u1") && absent[0].contains("running at host-a"), "{absent:?}");
        assert!(absent[1].contains("was u2") && absent[1].contains("removed"), "{absent:?}");
    }
}
