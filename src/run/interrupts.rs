//! Ctrl-C and SIGTERM while a command runs.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::evacuate::Interrupter;
use crate::render::say;

/// Exit status of a command that was interrupted.
const INTERRUPTED: i32 = 130;

/// Hands signals to what is running.
#[derive(Default)]
pub(super) struct Interrupts(Arc<Mutex<Option<Interrupter>>>);

impl Interrupts {
    /// From now on signals are handed on; while nothing runs that they could be handed to, they end the program.
    pub(super) fn catch() -> Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals can't be handled")?;
        let interrupts = Self::default();
        let current = Arc::clone(&interrupts.0);
        thread::spawn(move || {
            for _ in signals.forever() {
                match &*current.lock().unwrap_or_else(PoisonError::into_inner) {
                    Some(interrupter) => interrupter.interrupt(),
                    None => {
                        say("tsmig: interrupted with no migration in flight");
                        process::exit(INTERRUPTED);
                    }
                }
            }
        });
        Ok(interrupts)
    }

    /// Hands signals to `interrupter` while `run` runs.
    pub(super) fn during<T>(&self, interrupter: Interrupter, run: impl FnOnce() -> T) -> T {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(interrupter);
        let result = run();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        result
    }
}
