//! The end of an evacuation: both hosts are listed again, and the report says what is true then.

use std::collections::HashSet;

use super::{Evacuation, Task};
use crate::domain::{Condition, Fault, Presence};
use crate::engine::events::Timed;
use crate::engine::migration::Phase;
use crate::engine::outcome::{self, Names};
use crate::libvirt::{Listed, Route};
use crate::report::{self, DomainOutcome, DomainReport, Outcome, Report};
use crate::topology::Side;

impl Evacuation {
    /// Lists both hosts, and corrects what is not true any more.
    pub(super) fn look_again(&mut self, tell: &mut dyn FnMut(&Timed)) {
        let lists = self.hosts.list(Side::Source).and_then(|s| Ok((s, self.hosts.list(Side::Destination)?)));
        let (source, destination) = match lists {
            Ok(lists) => lists,
            Err(error) => {
                return self.notice(tell, format!("the end state could not be checked on both hosts: {error}"));
            }
        };
        for index in 0..self.tasks.len() {
            let Task { domain, uuid, .. } = &self.tasks[index];
            let (here, there) = (place(&source, uuid), place(&destination, uuid));
            let on_its_way = self.states[index].fault;
            let Some(report) = &mut self.states[index].report else { continue };
            let names = Names { source: &self.source, destination: &self.destination };
            if let Some((outcome, error)) = outcome::last_look(names, domain, report.outcome, &here, &there) {
                (report.outcome, report.error) = (outcome, error);
            }
            // At the destination libvirt calls a domain paused by its user that an error has paused at the source.
            let before = self.faults.get(uuid).copied();
            let since = |list: &[Listed]| before.or(on_its_way).or(fault(list, uuid));
            match report.outcome {
                DomainOutcome::Migrated if there != Presence::Present(Condition::Running) => {
                    if let Some(fault) = since(&destination) {
                        report.paused_by = Some(fault).filter(|_| before.is_none());
                        report.notice = Some(outcome::paused(names.destination, domain, fault, before.is_some()));
                    }
                }
                DomainOutcome::Remains if here != Presence::Present(Condition::Running) => {
                    report.notice = since(&source).map(|f| outcome::paused(names.source, domain, f, before.is_some()));
                }
                _ => {}
            }
        }
        self.newcomers = self.find_newcomers(&source);
    }

    /// Domains that are active at the source although the rules want them moved, and that the plan did not know, or knew as
    /// inactive.
    fn find_newcomers(&self, source: &[Listed]) -> Vec<DomainReport> {
        let reported = self.tasks.iter().map(|task| &task.uuid);
        let reported = reported.chain(self.earlier.iter().map(|report| &report.uuid));
        let reported: HashSet<_> = reported.chain(self.refused.iter().map(|refusal| &refusal.uuid)).collect();
        let refused = |name: &String| self.refused.iter().any(|refusal| refusal.domain == *name);
        let is_new = |listed: &&Listed| {
            let Listed { domain, uuid, condition, .. } = listed;
            condition.is_active() && !reported.contains(uuid) && !refused(domain) && (self.wanted)(domain, uuid)
        };
        let newcomers = source.iter().filter(is_new).map(|listed| {
            let (domain, uuid, source) = (&listed.domain, &listed.uuid, &self.source);
            let state = listed.condition;
            let error = match self.not_in_plan.get(uuid) {
                Some(reason) => format!("it is {state} at {source}: {reason}; make a new plan to move it"),
                None => format!(
                    "it was started on {source} after planning and was not moved: it is {state} there; run this again"
                ),
            };
            outcome::untouched((domain, uuid), None, error)
        });
        newcomers.collect()
    }

    /// A domain that has no report yet: never launched, or still on its way when tsmig was told to leave.
    fn unreported(&self, index: usize) -> DomainReport {
        let Task { domain, uuid, technique, .. } = &self.tasks[index];
        if self.states[index].driver.is_none() {
            let why = self.halted.as_ref().map_or("interrupted before its turn".to_owned(), |reason| {
                format!("it was not launched, since {reason}")
            });
            return outcome::untouched(
                (domain, uuid),
                Some(*technique),
                format!("it is at {} as before: {why}", self.source),
            );
        }
        let fate = match self.states[index].route {
            Route::PeerToPeer => "libvirt goes on with it",
            Route::ClientManaged => "without this client it goes on only if it was in post-copy",
        };
        let phase = match self.states[index].phase {
            Some(Phase::PostCopy) => "post-copy: it runs at the destination and needs the source",
            Some(Phase::Recovering) => "a post-copy that failed: do not reset or destroy it on either host",
            Some(Phase::Checking) => "its last steps",
            Some(Phase::Starting | Phase::PreCopy) | None => "pre-copy: it runs at the source",
        };
        DomainReport {
            outcome: DomainOutcome::NeedsRecovery,
            ..outcome::untouched(
                (domain, uuid),
                Some(*technique),
                format!(
                    "when tsmig left, it was in {phase}; {fate}; `{}` sees it to its end, `virsh domstate {domain} \
                     --reason` on both hosts shows where it is",
                    self.names().recover()
                ),
            )
        }
    }

    /// What is to be said of every domain.
    pub(super) fn report(&self) -> Report {
        let planned = (0..self.tasks.len())
            .map(|index| self.states[index].report.clone().unwrap_or_else(|| self.unreported(index)));
        let refused = self.refused.iter().map(outcome::refused);
        let newcomers = self.newcomers.iter().cloned();
        let domains: Vec<_> = self.earlier.iter().cloned().chain(planned).chain(refused).chain(newcomers).collect();
        let outcome = match Outcome::of(&domains, self.interrupts > 0) {
            // Left on the user's word: that is the news, and the status; what is on its way is named.
            _ if self.left() => Outcome::Interrupted,
            // A recovery that finds a domain at the source has not failed.
            Outcome::Failed if self.adopts() => Outcome::Partial,
            outcome => outcome,
        };
        Report {
            schema: report::SCHEMA.to_owned(),
            job: self.job,
            source: self.source.clone(),
            destination: self.destination.clone(),
            outcome,
            total_seconds: self.start.elapsed().as_secs_f64(),
            predicted_seconds: self.predicted_seconds,
            domains,
        }
    }
}

fn fault(list: &[Listed], uuid: &str) -> Option<Fault> {
    list.iter().find(|listed| listed.uuid == uuid)?.fault
}

fn place(list: &[Listed], uuid: &str) -> Presence {
    let found = list.iter().find(|listed| listed.uuid == uuid);
    found.map_or(Presence::Absent, |listed| Presence::Present(listed.condition))
}
