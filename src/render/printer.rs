//! One thread prints everything, in the order in which it was said, so that nobody else ever waits for a reader: a pipe
//! that is full, a pager, a terminal that was stopped. What is not printed yet waits in a queue.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

type Job = Box<dyn FnOnce() + Send>;

/// The thread that prints, and what waits for it.
#[derive(Clone)]
pub struct Printer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The thread is at work on one that is in the queue no more.
    printing: bool,
    /// How many were printed.
    printed: usize,
    /// Nobody waits for a reader any more.
    left: bool,
}

/// The one of this program.
pub(super) static PRINTER: LazyLock<Printer> = LazyLock::new(Printer::default);

impl Default for Printer {
    /// One with a thread of its own.
    fn default() -> Self {
        let shared = Arc::<Shared>::default();
        let printer = Self(Arc::clone(&shared));
        thread::spawn(move || shared.print());
        printer
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self) {
        let mut state = self.lock();
        loop {
            let Some(job) = state.jobs.pop_front() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.printing = true;
            drop(state);
            // A fault in drawing must not keep everything else from being printed.
            let _ = panic::catch_unwind(AssertUnwindSafe(job));
            state = self.lock();
            state.printing = false;
            state.printed += 1;
            self.changed.notify_all();
        }
    }
}

impl Printer {
    /// Prints something when its turn comes.
    pub fn post(&self, job: impl FnOnce() + Send + 'static) {
        self.0.lock().jobs.push_back(Box::new(job));
        self.0.changed.notify_all();
    }

    /// How many wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().jobs.len()
    }

    /// Waits until all is printed, for as long as something is read every `patience`, and nobody says that it is to
    /// leave; returns how many were not printed.
    pub fn finish(&self, patience: Duration) -> usize {
        let mut state = self.0.lock();
        loop {
            let (printed, unprinted) = (state.printed, state.jobs.len() + usize::from(state.printing));
            if unprinted == 0 || state.left {
                return unprinted;
            }
            let stands_still = |state: &mut State| state.printed == printed && !state.left;
            let wait = self.0.changed.wait_timeout_while(state, patience, stands_still);
            let (later, timeout) = wait.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return later.jobs.len() + usize::from(later.printing);
            }
            state = later;
        }
    }

    /// Whoever waits in [`Printer::finish`] need not wait any longer.
    pub(super) fn leave(&self) {
        self.0.lock().left = true;
        self.0.changed.notify_all();
    }
}
