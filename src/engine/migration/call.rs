//! How long libvirt's call is waited for that performs a migration: it may never return.

use super::RESUME_SECONDS;
use crate::domain::{Condition, Presence, Technique};

/// How long it is waited for while the post-copy that it performs is broken, or when the domain has left the source, in seconds:
/// one was seen to stay out for more than an hour, since the destination's emulator did not answer.
const STUCK_SECONDS: f64 = 60.0;

/// The same while nothing of its post-copy crosses: longer than Linux's TCP tries to get through, 925 s (`tcp_retries2`), after
/// which the post-copy fails and is resumed.
const STANDSTILL_SECONDS: f64 = 1200.0;

/// For how long a cancellation is asked for in vain, in seconds. libvirt cancels nothing while it connects to a port that is
/// silent, 127 s for each address of the host (`tcp_syn_retries` of Linux), or while the destination's QEMU zeroes huge pages.
const CANCEL_SECONDS: f64 = 600.0;

/// What is known of the call.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    /// Whether it was out when it was looked at last.
    out: bool,
    /// Whether the last one was let go.
    let_go: bool,
    /// For how many seconds without a byte it is waited for in what is seen, and since when that is seen.
    patience: Option<(f64, f64)>,
    /// Since when it is asked to be cancelled.
    cancelled_since: Option<f64>,
}

/// How it is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// For as long as it takes.
    Ordinary,
    /// For a while.
    Limited,
    /// No more.
    Over,
}

impl Call {
    /// It is out, the domain is seen like this at the source, and the last byte crossed at `moved_at`.
    pub(super) fn is_out(&mut self, now: f64, technique: Technique, source: &Presence, moved_at: f64) -> Wait {
        let limit = match source {
            // A look without an answer changes nothing.
            Presence::Unknown(_) => Some(self.patience.map_or(RESUME_SECONDS, |(limit, _)| limit)),
            Presence::Present(Condition::PausedPostCopy) => Some(STANDSTILL_SECONDS),
            Presence::Present(Condition::PausedPostCopyFailed) => Some(STUCK_SECONDS),
            _ if technique == Technique::Offline => None,
            source => source.is_inactive().then_some(STUCK_SECONDS),
        };
        let same = self.patience.filter(|(before, _)| Some(*before) == limit);
        self.patience = same.or(limit.map(|limit| (limit, now)));
        self.out = true;
        match self.patience {
            None => Wait::Ordinary,
            Some((limit, since)) if now - since.max(moved_at) <= limit => Wait::Limited,
            Some(_) => Wait::Over,
        }
    }

    /// None is out; whether the last one has returned since the last look.
    pub(super) fn is_not_out(&mut self) -> bool {
        let returned = self.out;
        if returned {
            (self.out, self.let_go, self.patience) = (false, false, None);
        }
        returned
    }

    /// It is waited for no more.
    pub(super) fn let_go(&mut self) {
        (self.out, self.let_go, self.patience) = (false, true, None);
    }

    /// Whether the last one was let go, so that what it returned is not known.
    pub(super) fn was_let_go(&self) -> bool {
        self.let_go
    }

    /// Whether it is asked to be cancelled now.
    pub(super) fn is_cancelled(&mut self, now: f64, cancelled: bool) {
        self.cancelled_since = self.cancelled_since.or(Some(now)).filter(|_| cancelled);
    }

    /// Whether that was asked for too long.
    pub(super) fn is_cancelled_in_vain(&self, now: f64) -> bool {
        self.cancelled_since.is_some_and(|since| now - since > CANCEL_SECONDS)
    }
}
