//! Domains that have arrived and are watched for a while. The others go on meanwhile, and the run waits for the last of them
//! only at its end. One that is in distress ends the launching: the next would most likely fare alike.

use std::time::Duration;

use super::{Coordinator, Effect, Stage};
use crate::domain::Technique;
use crate::engine::arrival::WATCH_SECONDS;
use crate::engine::events::Notice;
use crate::failure::{Cause, Distress};
use crate::report::{DomainNotice, DomainOutcome};

/// How long the watch over a domain is waited for: beside its own time that of a host which answers no question, 10 s.
const PATIENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);

impl Coordinator {
    /// Has a domain watched that has ended, if it runs at the destination. Of one that an error had stopped before, or stopped
    /// at the source, the last look tells.
    pub(super) fn watch(&mut self, uuid: &str) {
        let Some(task) = self.tasks.get(uuid).filter(|_| self.run.watches && self.interrupts == 0) else { return };
        let has_arrived = task.report().is_some_and(|report| report.outcome == DomainOutcome::Migrated);
        let had_stopped = task.fault.is_some() || self.faults.contains_key(uuid);
        if has_arrived && !had_stopped && task.transfer.technique != Technique::Offline {
            self.watched.insert(uuid.to_owned(), self.now + PATIENCE);
            self.effects.push_back(Effect::Watch(uuid.to_owned()));
        }
    }

    /// Until when a watch is open; `None` if none is. The user's interrupt ends all.
    pub(super) fn watch_ends_at(&mut self) -> Option<Duration> {
        let now = self.now;
        let interrupted = self.interrupts > 0;
        self.watched.retain(|_, ends| *ends > now && !interrupted);
        self.watched.values().min().copied()
    }

    pub(super) fn watched(&mut self, uuid: &str, distress: Option<Distress>) {
        let (Some(_), Some(distress)) = (self.watched.remove(uuid), distress) else { return };
        let (source, destination) = (self.run.source.clone(), self.run.destination.clone());
        let Some(task) = self.tasks.get_mut(uuid) else { return };
        let domain = task.domain.clone();
        let stopped = matches!(distress, Distress::Stopped { .. });
        if let Stage::Ended(report) = &mut task.stage {
            let (domain, source, destination) = (domain.clone(), source.clone(), destination.clone());
            report.notice = Some(DomainNotice::InDistress { domain, source, destination, distress: distress.clone() });
        }
        if stopped {
            self.disprove(uuid);
        }
        if self.halted.is_none() {
            let (domain, host) = (domain.clone(), destination.clone());
            let cause = Cause::ArrivedInDistress { domain, host, distress: distress.clone() };
            self.abort_all(&cause);
            self.halted = Some(cause);
        }
        self.notice(Notice::ArrivedInDistress { domain, distress, source, destination });
    }
}
