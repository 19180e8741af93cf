//! Ctrl-C, and a polite kill, leave no lab half up.

use std::{
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{down, run::note};

/// Held while a program of the user's runs in the lab: it has got the signal as well, and ends by
/// itself before its lab is taken away.
pub(super) static PROGRAM: Mutex<()> = Mutex::new(());

/// The exit status of what was interrupted.
const INTERRUPTED: i32 = 130;

static CAUGHT: AtomicBool = AtomicBool::new(false);

/// From now on, a signal takes that lab down and ends this process.
pub(super) fn takes_down(lab: &str) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("handling signals")?;
    let lab = lab.to_owned();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            CAUGHT.store(true, Ordering::SeqCst);
            let _program = PROGRAM.lock().unwrap_or_else(PoisonError::into_inner);
            note("interrupted; taking the lab down");
            if let Err(error) = down(&lab) {
                note(&format!("{error:#}"));
            }
            process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

/// Never returns if a signal came: what fails then is of no interest, and this process is about to
/// end.
pub(super) fn wait_if_caught() {
    while CAUGHT.load(Ordering::SeqCst) {
        thread::park();
    }
}
