//! One migration of a schedule, as the model and the search see it.

use crate::domain::Technique;

/// One migration to simulate; it starts by the rules of [`Step::concurrency`](super::Step::concurrency) and of
/// [`Gate`](super::gate::Gate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Launch {
    pub(super) guest: usize,
    /// Any but [`Technique::Offline`].
    pub(super) technique: Technique,
    /// It starts as soon as fewer than this many are in flight.
    pub(super) concurrency: usize,
}

impl Launch {
    pub(super) fn flip(&mut self) {
        self.technique = match self.technique {
            Technique::PostCopy | Technique::Hybrid => Technique::PreCopy,
            _ => Technique::PostCopy,
        };
    }
}
