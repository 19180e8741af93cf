//! Which migrations may switch to post-copy, and when.
//!
//! A destination that can't load a guest's device state loses the guest in post-copy, and says so only then; in a pre-copy
//! the guest stays. So a guest goes by post-copy once another of its kind has come through. Where the user says that the
//! destination is to be trusted, the first of each kind goes alone until it runs there: no other whose kind is not proven
//! is launched by post-copy or switches. A post-copy that breaks stops both until it is mended, and one that is lost or
//! can't be mended ends both for good.

use super::task::{Flight, Task};
use super::{Coordinator, Effect};
use crate::domain::{Phase, Technique, Transfer};
use crate::engine::events::Notice;
use crate::engine::launch_queue::Waiting;
use crate::engine::migration::Verdict;
use crate::engine::migration::attempt::Instruction;
use crate::failure::{Cause, PostCopyEnd};

/// Whether one may go by post-copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    Open,
    /// Not yet.
    Waits,
    /// Never: nothing proves that the destination can load it.
    Shut,
}

impl Coordinator {
    /// Whether a post-copy in flight is broken.
    pub(super) fn is_broken(&self) -> bool {
        self.count(Phase::Recovering) > 0
    }

    /// Whether a task can be launched as it is to move, as far as post-copies of others matter.
    pub(super) fn passage(&self, uuid: &str) -> Passage {
        let Some(task) = self.tasks.get(uuid) else { return Passage::Open };
        if !task.transfer.technique.pulls() || !self.post_copy_works || self.run.adopts() {
            return Passage::Open;
        }
        if self.run.post_copy_limit.is_some_and(|limit| self.in_post_copy() >= limit) {
            return Passage::Waits;
        }
        match self.is_proven(task) {
            true => Passage::Open,
            false if task.trusted && !self.is_loading() => Passage::Open,
            false if task.trusted || self.may_be_proven(task.ground) => Passage::Waits,
            false => Passage::Shut,
        }
    }

    /// Whether one guest of a kind can prove anything for another.
    fn is_provable(&self, ground: Option<usize>) -> bool {
        ground.and_then(|ground| self.run.grounds.get(ground)).is_none_or(|ground| ground.key.is_some())
    }

    /// Whether a guest of the kind of a task has come through.
    fn is_proven(&self, task: &Task) -> bool {
        self.proven.contains(&task.ground) && self.is_provable(task.ground)
    }

    /// Those in flight by post-copy, switched or not.
    fn in_post_copy(&self) -> usize {
        self.flights().filter(|(_, flight)| flight.technique.pulls()).count()
    }

    /// Whether a guest is in flight by post-copy whose kind is not proven.
    fn is_loading(&self) -> bool {
        self.flights().any(|(task, flight)| self.is_unproven(task, flight))
    }

    fn is_unproven(&self, task: &Task, flight: &Flight) -> bool {
        flight.technique.pulls() && !flight.loaded && !self.is_proven(task)
    }

    /// Whether a guest of that kind is in flight that does not wait for a proof itself.
    fn may_be_proven(&self, ground: Option<usize>) -> bool {
        self.is_provable(ground)
            && self.flights().any(|(task, flight)| {
                let waits = flight.technique.pulls() && !flight.switched && !task.trusted;
                task.ground == ground && !waits
            })
    }

    /// What was to prove its ground has not come through, and nothing else will.
    pub(super) fn launch_by_pre_copy(&mut self, waiting: &Waiting) {
        let Some(task) = self.tasks.get_mut(&waiting.uuid) else { return };
        task.transfer = Transfer { technique: Technique::PreCopy, ..task.transfer.clone() };
        let (domain, destination) = (task.domain.clone(), self.run.destination.clone());
        self.notice(Notice::Unproven { domain, destination });
    }

    /// A guest runs at the destination.
    pub(super) fn prove(&mut self, uuid: &str) {
        let Some(ground) = self.tasks.get(uuid).map(|task| task.ground) else { return };
        if self.proven.insert(ground) {
            self.remember(uuid, true);
        }
    }

    /// A guest was lost in post-copy.
    pub(super) fn disprove(&mut self, uuid: &str) {
        let Some(ground) = self.tasks.get(uuid).map(|task| task.ground) else { return };
        self.proven.remove(&ground);
        self.remember(uuid, false);
    }

    fn remember(&mut self, uuid: &str, proven: bool) {
        let Some(task) = self.tasks.get(uuid) else { return };
        let ground = task.ground.and_then(|ground| self.run.grounds.get(ground));
        if let Some(kind) = ground.and_then(|ground| ground.key.clone()) {
            self.effects.push_back(Effect::Proof { domain: task.domain.clone(), kind, proven });
        }
    }

    /// Those in flight that are to be switched to post-copy.
    fn unswitched(&self) -> Vec<String> {
        let flights = self.flights();
        let unswitched = flights.filter(|(_, flight)| flight.technique.pulls() && !flight.switched);
        unswitched.map(|(task, _)| task.uuid.clone()).collect()
    }

    /// Tells each driver whether it may switch, if that has changed. A recovery needs no proof, but switches nothing while a post-copy
    /// is broken, or after one was lost or has failed for good.
    pub(super) fn allow_switches(&mut self) {
        for uuid in self.unswitched() {
            let passage = self.passage_of_switch(&uuid);
            let Some(flight) = self.flight_mut(&uuid) else { continue };
            if flight.early && passage != Passage::Open {
                self.keep_to_pre_copy(&uuid);
            } else if passage == Passage::Shut {
                // A pre-copy that does not converge.
                flight.technique = Technique::PreCopy;
                self.instruct(&uuid, Instruction::Abort(Cause::Unproven));
            } else if std::mem::replace(&mut flight.may_switch, passage == Passage::Open) != (passage == Passage::Open)
            {
                self.instruct(&uuid, Instruction::MaySwitch(passage == Passage::Open));
            }
        }
    }

    /// Whether one in flight may switch.
    pub(super) fn passage_of_switch(&self, uuid: &str) -> Passage {
        let Some((task, flight)) = self.tasks.get(uuid).and_then(|task| Some((task, task.flight()?))) else {
            return Passage::Waits;
        };
        if self.run.adopts() {
            return if self.is_broken() || self.post_copy_ended { Passage::Waits } else { Passage::Open };
        }
        if self.halted.is_some() || self.is_broken() || self.is_full(flight) {
            return Passage::Waits;
        }
        // One that was allowed to may be on its way already.
        let mut others = self.flights().filter(|(other, flight)| other.uuid != uuid && self.is_unproven(other, flight));
        let mut before = self.flights().take_while(|(other, _)| other.uuid != uuid);
        let is_next = |(other, flight): (&Task, &Flight)| other.trusted && self.is_unproven(other, flight);
        match self.is_proven(task) {
            true => Passage::Open,
            false if !task.trusted && self.may_be_proven(task.ground) => Passage::Waits,
            false if !task.trusted => Passage::Shut,
            false if flight.may_switch => Passage::Open,
            false if others.any(|(_, other)| other.switched || other.may_switch) => Passage::Waits,
            false if before.any(is_next) => Passage::Waits,
            false => Passage::Open,
        }
    }

    /// Whether one in flight by pre-copy may be switched although nothing is wrong with that: on proven ground, and at once.
    pub(super) fn may_switch_early(&self, uuid: &str) -> bool {
        let task = self.tasks.get(uuid).filter(|task| self.is_proven(task));
        let by_pre_copy = task.and_then(Task::flight).is_some_and(|flight| flight.technique == Technique::PreCopy);
        by_pre_copy && self.interrupts == 0 && self.passage_of_switch(uuid) == Passage::Open
    }

    /// One that was to switch for the sake of time may not any more, and nothing is wrong with its pre-copy.
    fn keep_to_pre_copy(&mut self, uuid: &str) {
        let Some(flight) = self.flight_mut(uuid) else { return };
        (flight.technique, flight.early) = (Technique::PreCopy, false);
        if std::mem::replace(&mut flight.may_switch, false) {
            self.instruct(uuid, Instruction::MaySwitch(false));
        }
    }

    /// Whether as many are in post-copy, or may switch, as are allowed to, without this one.
    fn is_full(&self, flight: &Flight) -> bool {
        let counts = |other: &Flight| other.technique.pulls() && (other.switched || other.may_switch);
        let others = self.flights().filter(|(_, other)| counts(other)).count();
        !flight.may_switch && self.run.post_copy_limit.is_some_and(|limit| others >= limit)
    }

    /// Launches nothing more, and cancels those that were to go by post-copy and have not switched. A recovery cancels nothing, since
    /// a migration may be somebody else's: those go on by pre-copy.
    pub(super) fn stop_post_copy(&mut self, domain: String, end: PostCopyEnd) {
        if self.halted.is_some() || std::mem::replace(&mut self.post_copy_ended, true) {
            return;
        }
        if !self.run.adopts() {
            let cause = Cause::PostCopyEnded { domain: domain.clone(), end };
            for uuid in self.unswitched() {
                match self.flight_mut(&uuid).is_some_and(|flight| flight.early) {
                    true => self.keep_to_pre_copy(&uuid),
                    false => self.instruct(&uuid, Instruction::Abort(cause.clone())),
                }
            }
            self.halted = Some(cause);
        }
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
