//! Ctrl-C, SIGTERM and a terminal that goes away, while a command runs.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::render;

/// Exit status of a command that was interrupted.
const INTERRUPTED: i32 = 130;

type Act = Box<dyn Fn() + Send>;

/// Hands signals to what is running.
#[derive(Clone)]
pub(crate) struct Interrupts(Arc<Mutex<Act>>);

impl Interrupts {
    /// From now on signals are handed on; while nothing runs that they could be handed to, they end the program.
    pub(crate) fn catch() -> Result<Self> {
        let mut caught = vec![SIGINT, SIGTERM];
        // What nohup ignores for a program stays ignored.
        if !is_ignored(SIGHUP) {
            caught.push(SIGHUP);
        }
        let mut signals = Signals::new(caught).context("signals can't be handled")?;
        let interrupts = Self(Arc::new(Mutex::new(Box::new(end))));
        let current = Arc::clone(&interrupts.0);
        thread::spawn(move || {
            let mut hung_up = false;
            for signal in signals.forever() {
                // A terminal that goes away is told by the kernel and by the shell: that is one interrupt.
                if signal == SIGHUP && std::mem::replace(&mut hung_up, true) {
                    continue;
                }
                current.lock().unwrap_or_else(PoisonError::into_inner)();
            }
        });
        Ok(interrupts)
    }

    pub(crate) fn hand_to(&self, act: impl Fn() + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(act);
    }

    /// A signal does this while `run` runs.
    pub(super) fn during<T>(&self, act: impl Fn() + Send + 'static, run: impl FnOnce() -> T) -> T {
        self.hand_to(act);
        let result = run();
        self.hand_to(end);
        result
    }
}

fn end() {
    render::exit("tsmig: interrupted with no migration in flight", INTERRUPTED);
}

/// Whether this program ignores a signal, which it inherits.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
