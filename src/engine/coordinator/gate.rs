//! Which migrations may switch to post-copy, and when.
//!
//! A destination that can't load a guest's device state loses the guest in post-copy, and says so only then. So the
//! first post-copy goes alone until its guest runs at the destination: no other is launched, and none switches. A
//! post-copy that breaks stops both until it is mended, and one that is lost or can't be mended ends both for good.

use super::Coordinator;
use crate::domain::{Phase, Technique};
use crate::engine::events::Notice;
use crate::engine::migration::Verdict;
use crate::engine::migration::attempt::Instruction;
use crate::failure::{Cause, PostCopyEnd};

impl Coordinator {
    /// Whether a post-copy in flight is broken.
    pub(super) fn is_broken(&self) -> bool {
        self.count(Phase::Recovering) > 0
    }

    /// Whether a task has to wait until the post-copy before it has shown that the destination can load a guest.
    pub(super) fn waits_for_proof(&self, uuid: &str) -> bool {
        let goes_by_post_copy = self.tasks.get(uuid).is_some_and(|task| task.transfer.technique == Technique::PostCopy);
        let waits = goes_by_post_copy && self.post_copy_works && !self.proven && !self.run.adopts();
        waits && self.flights().any(|(_, flight)| flight.technique == Technique::PostCopy)
    }

    /// Those in flight that are to be switched to post-copy, with whether they were told that they may.
    fn unswitched(&self) -> Vec<(String, bool)> {
        let flights = self.flights();
        let unswitched = flights.filter(|(_, flight)| flight.technique == Technique::PostCopy && !flight.switched);
        unswitched.map(|(task, flight)| (task.uuid.clone(), flight.may_switch)).collect()
    }

    /// Tells each driver whether it may switch, if that has changed. Nothing holds back what a recovery adopts.
    pub(super) fn allow_switches(&mut self) {
        let waiting = self.unswitched();
        let first = if self.proven || self.flights().any(|(_, flight)| flight.switched) {
            None
        } else {
            // One that was allowed to may be on its way already.
            waiting.iter().find(|(_, may_switch)| *may_switch).or(waiting.first()).map(|(uuid, _)| uuid.clone())
        };
        let all = self.run.adopts() || self.proven && self.halted.is_none() && !self.is_broken();
        for (uuid, allowed) in waiting {
            let may_switch = all || first.as_ref() == Some(&uuid) && self.halted.is_none();
            if may_switch != allowed {
                if let Some(flight) = self.flight_mut(&uuid) {
                    flight.may_switch = may_switch;
                }
                self.instruct(&uuid, Instruction::MaySwitch(may_switch));
            }
        }
    }

    /// Launches nothing more, and cancels what was to go by post-copy and has not switched.
    pub(super) fn stop_post_copy(&mut self, domain: String, end: PostCopyEnd) {
        if self.halted.is_some() || self.run.adopts() {
            return;
        }
        let cause = Cause::PostCopyEnded { domain: domain.clone(), end };
        for (uuid, _) in self.unswitched() {
            self.instruct(&uuid, Instruction::Abort(cause.clone()));
        }
        self.halted = Some(cause);
        let (source, destination) = (self.run.source.clone(), self.run.destination.clone());
        self.notice(Notice::PostCopyStopped { domain, end, source, destination });
    }
}

/// How a migration ended, if no other may go by post-copy after it; `switched` is whether it was in post-copy.
pub(super) fn ends_post_copy(switched: bool, verdict: &Verdict) -> Option<PostCopyEnd> {
    match verdict {
        Verdict::Lost(..) => Some(PostCopyEnd::Lost),
        Verdict::NeedsRecovery(_) if switched => Some(PostCopyEnd::Failed),
        _ => None,
    }
}
