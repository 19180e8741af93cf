//! How far one migration in flight is, as the engine's events tell: which leg of the model it is in, and what it has left.

use crate::domain::{Phase, Technique};
use crate::engine::migration::Progress;
use crate::plan::{Leg, Move, Position, image_bits};
use crate::profile::DomainProfile;

/// Where a migration has gone by so much more memory than crossed, some was blank. Chosen: what is sent has headers.
const BLANK: f64 = 1.25;

/// After so many seconds a post-copy that has not switched over is taken to go by pre-copy. Chosen: a switch takes about one.
const SWITCHES_WITHIN_SECONDS: f64 = 5.0;

/// A migration in flight as it was last seen. Bytes unless named otherwise.
#[derive(Clone, Copy)]
pub(super) struct Flight {
    /// Its place in the schedule, if a busy destination turns it away.
    pub(super) planned: Move,
    technique: Technique,
    pub(super) launched_at: f64,
    pub(super) leg: Leg,
    leg_since: f64,
    pub(super) progress: Progress,
    progress_at: f64,
    /// Since when it has had this part of the link.
    part_since: f64,
    /// When it was compared last with what the model says of this part, what had crossed then, and what remained.
    compared: Option<(f64, u64, u64)>,
    /// All that the first pass goes through, as far as it was seen.
    whole: u64,
    /// What had crossed by the end of the first pass.
    pub(super) first_pass: Option<u64>,
}

impl Flight {
    pub(super) fn launched(planned: Move, technique: Technique, now: f64) -> Self {
        Self {
            planned,
            technique,
            launched_at: now,
            leg: Leg::Setup,
            leg_since: now,
            progress: Progress::default(),
            progress_at: now,
            part_since: now,
            compared: None,
            whole: 0,
            first_pass: None,
        }
    }

    pub(super) fn phase(&mut self, phase: Phase, now: f64) {
        let leg = match phase {
            Phase::Starting => Leg::Setup,
            // Until it is switched over.
            Phase::PreCopy if self.technique == Technique::PostCopy => Leg::Switch,
            Phase::PreCopy => Leg::Pass,
            Phase::PostCopy | Phase::Recovering => Leg::Pull,
            Phase::Checking => Leg::Finish,
        };
        if leg == Leg::Setup {
            // What runs before a domain has ended.
            self.launched_at = now;
        }
        self.enter(leg, now);
    }

    fn enter(&mut self, leg: Leg, now: f64) {
        (self.leg, self.leg_since) = (leg, now);
        self.gets_another_part(now);
    }

    /// Others go by the link, or less of them: what crossed until now is not compared any more.
    pub(super) fn gets_another_part(&mut self, now: f64) {
        (self.part_since, self.compared) = (now, None);
    }

    pub(super) fn progress(&mut self, progress: &Progress, now: f64) {
        // It was to go by post-copy, and what it needs for that is not there.
        let stays = progress.pass > 1 || now - self.leg_since > SWITCHES_WITHIN_SECONDS;
        if self.leg == Leg::Switch && stays {
            self.technique = Technique::PreCopy;
            self.enter(Leg::Pass, now);
        }
        if self.technique == Technique::Hybrid && self.leg == Leg::Pass && progress.pass > 2 {
            self.technique = Technique::PreCopy;
        }
        if progress.pass <= 1 {
            self.whole = self.whole.max(progress.transferred.saturating_add(progress.remaining));
        } else if self.leg == Leg::Pass && progress.pass > self.progress.pass {
            self.first_pass.get_or_insert(progress.transferred);
            self.enter(Leg::Pass, now);
        }
        (self.progress, self.progress_at) = (*progress, now);
    }

    /// Bits per second that have crossed since it was asked last, by the same part of the link, and whether it went by blank memory
    /// meanwhile. A mean rate would lag behind.
    pub(super) fn since_compared(&mut self) -> Option<(f64, bool)> {
        if self.progress_at < self.part_since {
            return None;
        }
        let now = (self.progress_at, self.progress.transferred, self.progress.remaining);
        let (then, crossed, remained) = self.compared.replace(now)?;
        let crossed = now.1.saturating_sub(crossed);
        let is_blank = remained.saturating_sub(now.2) as f64 > BLANK * crossed as f64;
        (now.0 > then).then(|| (crossed as f64 * 8.0 / (now.0 - then), is_blank))
    }

    /// Whether memory was seen to cross.
    pub(super) fn flows(&self) -> bool {
        self.progress.transferred > 0
    }

    pub(super) fn position(&self, domain: &DomainProfile, now: f64) -> Position {
        // What was seen is up to half a second old.
        let since = self.progress.bits_per_second * (now - self.progress_at);
        Position {
            technique: self.technique,
            leg: self.leg,
            seconds: now - self.launched_at,
            leg_seconds: now - self.leg_since,
            remaining_bits: (self.left(domain) - since).max(0.0),
            transferred_bits: self.progress.transferred as f64 * 8.0 + since,
            downtime_seconds: 0.0,
            stop_bits: None,
        }
    }

    /// Bits that the leg has still to send. QEMU counts pages of zeros, too, until it has come by them: how many are left is
    /// taken from the profile at first, and more and more from those that it has come by. Zeros lie together, so that those say
    /// less than what crossed when the domain itself moved earlier.
    fn left(&self, domain: &DomainProfile) -> f64 {
        let bits = |bytes: u64| bytes as f64 * 8.0;
        let Progress { pass, transferred, remaining, .. } = self.progress;
        // A post-copy at once makes no passes.
        if pass > 1 && self.technique != Technique::PostCopy {
            return bits(remaining);
        }
        let (image, whole) = (image_bits(domain), bits(self.whole));
        let come_by = whole - bits(remaining);
        if transferred == 0 || come_by <= 0.0 {
            return image;
        }
        let share = come_by / whole;
        let seen = bits(remaining) * bits(transferred) / come_by;
        let (weight, expected) = if domain.is_fullness_known() {
            (share * share, (image - bits(transferred)).max(0.0))
        } else {
            (share, bits(remaining) * image / whole)
        };
        (weight * seen + (1.0 - weight) * expected).min(bits(remaining))
    }
}
