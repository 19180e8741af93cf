//! The heartbeat: see [`tsmig_lab_guest::tick`] for its format.

use std::{convert::Infallible, fs, thread};

use anyhow::{Context, Result};
use tsmig_lab_guest::tick::{INTERVAL, Tick};

use crate::console;

/// Ticks for ever.
pub(crate) fn beat() -> Result<Infallible> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the boot id")?;
    for number in 1.. {
        let tick = Tick { number, uptime_seconds: uptime_seconds()?, boot_id: boot_id.trim().to_owned() };
        console::line(&tick.to_string());
        thread::sleep(INTERVAL);
    }
    unreachable!("the numbers outlast the guest");
}

fn uptime_seconds() -> Result<f64> {
    let uptime = fs::read_to_string("/proc/uptime").context("reading /proc/uptime")?;
    let first = uptime.split(' ').next().unwrap_or_default();
    first.parse().context("parsing /proc/uptime")
}
