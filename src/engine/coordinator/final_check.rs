//! The end of a run: both hosts were listed again, and the report says what is true then.

use std::collections::HashSet;

use super::{Coordinator, Effect, Stage, Task};
use crate::domain::{Condition, Fault, Places, Presence};
use crate::engine::events::Notice;
use crate::engine::outcome;
use crate::failure::{Cause, Failure};
use crate::libvirt::{HostError, Listed};
use crate::report::{self, DomainNotice, DomainOutcome, DomainReport, Job, Outcome, Report};

impl Coordinator {
    /// Ends the run with migrations on their way.
    pub(super) fn finish_at_once(&mut self) {
        let report = self.report(Vec::new(), true);
        self.effects.push_back(Effect::Finish(report));
    }

    /// Corrects what is not true any more by the last look at both hosts, and ends the run.
    pub(super) fn finish(&mut self, lists: Result<(Vec<Listed>, Vec<Listed>), HostError>) {
        let newcomers = match lists {
            Ok((source, destination)) => {
                self.correct(&source, &destination);
                self.tell_what_starts(&source);
                self.newcomers(&source)
            }
            Err(error) => {
                self.notice(Notice::EndUnchecked { error: error.to_string() });
                Vec::new()
            }
        };
        let report = self.report(newcomers, false);
        self.effects.push_back(Effect::Finish(report));
    }

    fn correct(&mut self, source: &[Listed], destination: &[Listed]) {
        let hosts = self.run.names();
        for Task { domain, uuid, stage, fault: on_its_way, .. } in self.tasks.values_mut() {
            let Stage::Ended(report) = stage else { continue };
            let places = Places { source: place(source, uuid), destination: place(destination, uuid) };
            if let Some((outcome, found)) = outcome::last_look(report.outcome, &places) {
                let (hosts, places) = (hosts.clone(), places.clone());
                report.outcome = outcome;
                report.failure = found.map(|found| Failure::LastLook { found, hosts, places });
            }
            // At the destination libvirt calls a domain paused by its user that an error has paused at the source.
            let before = self.faults.get(uuid).copied();
            let since = |list: &[Listed]| before.or(*on_its_way).or(fault(list, uuid));
            let paused = |host: &String, fault| {
                let (domain, host) = (domain.clone(), host.clone());
                DomainNotice::Paused { domain, host, fault, before: before.is_some() }
            };
            match report.outcome {
                DomainOutcome::Migrated if places.destination != Presence::Present(Condition::Running) => {
                    if let Some(fault) = since(destination) {
                        report.paused_by = Some(fault).filter(|_| before.is_none());
                        report.notice = Some(paused(&hosts.destination, fault));
                    }
                }
                DomainOutcome::Remains if places.source != Presence::Present(Condition::Running) => {
                    report.notice = since(source).map(|fault| paused(&hosts.source, fault));
                }
                _ => {}
            }
        }
    }

    /// Tells what may start at the source again, without anybody who asks for it.
    fn tell_what_starts(&mut self, source: &[Listed]) {
        let concerns = |listed: &&Listed| {
            let Listed { domain, uuid, autostart, .. } = listed;
            *autostart && (self.empties || self.tasks.contains_key(uuid) || (self.wanted)(domain, uuid))
        };
        let mut domains: Vec<_> = source.iter().filter(concerns).map(|listed| listed.domain.clone()).collect();
        domains.sort();
        if !domains.is_empty() {
            self.notice(Notice::Autostart { host: self.run.source.clone(), domains });
        }
    }

    /// Domains that are active at the source although the rules want them moved, and that the plan did not know, or knew as
    /// inactive.
    fn newcomers(&self, source: &[Listed]) -> Vec<DomainReport> {
        let reported = self.tasks.keys().chain(self.run.earlier.iter().map(|report| &report.uuid));
        let reported: HashSet<_> = reported.chain(self.run.refused.iter().map(|refusal| &refusal.uuid)).collect();
        let refused = |name: &String| self.run.refused.iter().any(|refusal| refusal.domain == *name);
        let is_new = |listed: &&Listed| {
            let Listed { domain, uuid, condition, .. } = listed;
            condition.is_active() && !reported.contains(uuid) && !refused(domain) && (self.wanted)(domain, uuid)
        };
        let newcomers = source.iter().filter(is_new).map(|Listed { domain, uuid, condition, .. }| {
            let (host, planned) = (self.run.source.clone(), self.run.not_in_plan.get(uuid).copied());
            outcome::untouched((domain, uuid), Failure::Newcomer { host, state: *condition, planned })
        });
        newcomers.collect()
    }

    /// What is to be said of a domain, by how far it is.
    fn report_of(&self, task: &Task) -> DomainReport {
        let (outcome, failure) = match &task.stage {
            Stage::Ended(report) => return (**report).clone(),
            Stage::Waiting => {
                let cause = self.halted.clone().unwrap_or(Cause::Interrupted);
                (DomainOutcome::Remains, Failure::NotLaunched { host: self.run.source.clone(), cause })
            }
            Stage::InFlight(flight) => {
                let (phase, route) = (flight.phase, flight.route);
                (DomainOutcome::NeedsRecovery, Failure::LeftOnItsWay { phase, route, hosts: self.run.names() })
            }
        };
        DomainReport {
            destination: Some(self.run.destination.clone()),
            technique: Some(task.transfer.technique),
            failure: Some(failure),
            ..DomainReport::new(&task.domain, &task.uuid, outcome)
        }
    }

    /// What is to be said of every domain; `left` is whether the user had the run leave with migrations on their way.
    fn report(&self, newcomers: Vec<DomainReport>, left: bool) -> Report {
        let planned = self.tasks.values().map(|task| self.report_of(task));
        let refused = self.run.refused.iter().map(outcome::refused);
        let domains: Vec<_> = self.run.earlier.iter().cloned().chain(planned).chain(refused).chain(newcomers).collect();
        let outcome = match Outcome::of(&domains, self.interrupts > 0) {
            // Left on the user's word: that is the news, and the status; what is on its way is named.
            _ if left => Outcome::Interrupted,
            // A recovery that finds a domain at the source has not failed.
            Outcome::Failed if self.run.job == Job::Recover => Outcome::Partial,
            outcome => outcome,
        };
        Report {
            schema: report::SCHEMA.to_owned(),
            job: self.run.job,
            source: self.run.source.clone(),
            destinations: vec![self.run.destination.clone()],
            outcome,
            total_seconds: self.ended_at.filter(|_| self.in_flight() == 0).unwrap_or(self.now).as_secs_f64(),
            predicted_seconds: self.run.predicted_seconds,
            domains,
        }
    }
}

fn fault(list: &[Listed], uuid: &str) -> Option<Fault> {
    Listed::of(list, uuid)?.fault
}

fn place(list: &[Listed], uuid: &str) -> Presence {
    Listed::of(list, uuid).map_or(Presence::Absent, |listed| Presence::Present(listed.condition))
}
