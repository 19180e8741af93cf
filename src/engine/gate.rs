//! Which migrations may switch to post-copy, and when.
//!
//! A destination that can't load a guest's device state loses the guest in post-copy, and says so only then. So the
//! first post-copy goes alone until its guest runs at the destination: no other is launched, and none switches. A
//! post-copy that breaks stops both until it is mended, and one that is lost or can't be mended ends both for good.

use super::Evacuation;
use crate::domain::Technique;
use crate::engine::driver::Input;
use crate::engine::events::Timed;
use crate::engine::migration::{Phase, Verdict};

impl Evacuation {
    /// Whether a post-copy in flight is broken.
    pub(super) fn is_broken(&self) -> bool {
        self.count(Phase::Recovering) > 0
    }

    /// Those in flight that go by post-copy, or are to be switched to it.
    fn post_copies(&self) -> impl Iterator<Item = usize> {
        let goes = |&index: &usize| {
            let state = &self.states[index];
            state.driver.is_some() && state.technique == Technique::PostCopy
        };
        (0..self.states.len()).filter(goes)
    }

    /// Whether a task has to wait until the post-copy before it has shown that the destination can load a guest.
    pub(super) fn waits_for_proof(&self, index: usize) -> bool {
        let post_copy = self.tasks[index].technique == Technique::PostCopy && self.post_copy_works;
        post_copy && !self.proven && !self.adopts() && self.post_copies().next().is_some()
    }

    /// Tells each driver whether it may switch, if that has changed. Nothing holds back what a recovery adopts.
    pub(super) fn allow_switches(&mut self) {
        let waiting: Vec<_> = self.post_copies().filter(|&index| !self.states[index].switched).collect();
        let first = if self.proven || self.post_copies().any(|index| self.states[index].switched) {
            None
        } else {
            // One that was allowed to may be on its way already.
            waiting.iter().copied().find(|&index| self.states[index].may_switch).or(waiting.first().copied())
        };
        let all = self.adopts() || self.proven && self.halted.is_none() && !self.is_broken();
        for index in waiting {
            let may_switch = all || first == Some(index) && self.halted.is_none();
            let state = &mut self.states[index];
            let changed = std::mem::replace(&mut state.may_switch, may_switch) != may_switch;
            if let Some(driver) = state.driver.as_ref().filter(|_| changed) {
                // A driver that has just ended switches nothing.
                let _ = driver.send(Input::MaySwitch(may_switch));
            }
        }
    }

    /// Why no other may go by post-copy after this end of one, in one clause; `None` if others may.
    pub(super) fn ends_post_copy(&self, index: usize, verdict: &Verdict) -> Option<String> {
        let domain = &self.tasks[index].domain;
        match verdict {
            Verdict::Lost(..) => Some(format!("{domain} was lost")),
            Verdict::NeedsRecovery(_) if self.states[index].switched => {
                Some(format!("the post-copy of {domain} failed"))
            }
            _ => None,
        }
    }

    /// Launches nothing more, and cancels what was to go by post-copy and has not switched.
    pub(super) fn stop_post_copy(&mut self, reason: String, tell: &mut dyn FnMut(&Timed)) {
        if self.halted.is_some() || self.adopts() {
            return;
        }
        let waiting: Vec<_> = self.post_copies().filter(|&index| !self.states[index].switched).collect();
        waiting.into_iter().for_each(|index| self.cancel(index, &reason));
        let message = format!(
            "{reason}: nothing more is launched or switched to post-copy; what is in flight goes on. With \
             `--technique pre-copy` a guest that {} can't take stays at {}",
            self.destination, self.source
        );
        self.halted = Some(reason);
        self.notice(tell, message);
    }

    /// Cancels one migration.
    pub(super) fn cancel(&self, index: usize, reason: &str) {
        if let Some(driver) = &self.states[index].driver {
            // A driver that has just ended needs to know nothing more.
            let _ = driver.send(Input::Abort(reason.to_owned()));
        }
    }
}
