//! Guests' heartbeats, read from their consoles.
//!
//! A guest's console is one file, in the directory that all hosts share: wherever the guest runs,
//! its ticks go on at the end of that file. So the file shows whether a guest lived through a
//! migration, and whether at any time it ran on two hosts at once.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tsmig_lab_guest::tick::Tick;

use crate::{lab::Lab, run::wait_for};

/// Enough of a console's end to hold a tick, in bytes, even among other messages.
const TAIL: u64 = 16 * 1024;

/// Until then, a guest that runs ticks again.
const TICK_PATIENCE: Duration = Duration::from_secs(30);

/// What a kernel in trouble writes.
const TROUBLE: [&str; 6] = ["Kernel panic", "BUG:", "Oops", "soft lockup", "is not a head", "tsmig-lab-guest failed"];

/// A guest's heartbeat at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulse {
    /// Number of the last tick.
    pub tick: u64,
    /// The guest's uptime at the last tick, in seconds.
    pub uptime_seconds: f64,
    /// Names the guest's boot.
    pub boot_id: String,
    /// Where on the console the last tick ends, in bytes.
    end: u64,
}

impl Lab {
    /// The last heartbeat of a guest.
    pub fn pulse(&self, guest: &str) -> Result<Pulse> {
        self.last_pulse(guest)?.with_context(|| format!("{guest} has not ticked yet"))
    }

    /// Waits until a guest ticks anew.
    pub fn wait_alive(&self, guest: &str, timeout: Duration) -> Result<Pulse> {
        let before = self.last_pulse(guest)?;
        let result = wait_for(&format!("a heartbeat of {guest}"), timeout, || {
            let now = self.last_pulse(guest)?;
            if now.is_none() && self.console(guest, 0).is_ok_and(|text| complaint(&text).is_some()) {
                bail!("{guest} cannot boot");
            }
            Ok(now.filter(|now| before.as_ref().is_none_or(|before| before != now)))
        });
        result.with_context(|| match self.console(guest, 0) {
            Ok(text) => format!("its console ends with: {}", last_lines(&text, 5)),
            Err(error) => format!("{error:#}"),
        })
    }

    /// Fails unless a guest has lived on since `before`, and still does: the same boot, ticks
    /// without gap or repetition, an uptime that only grows, and no complaint of its kernel.
    pub fn assert_unbroken(&self, guest: &str, before: &Pulse) -> Result<Pulse> {
        let now = self.wait_alive(guest, TICK_PATIENCE)?;
        let text = self.console(guest, before.end)?;
        check_unbroken(before, &text).with_context(|| format!("{guest} did not live on"))?;
        Ok(now)
    }

    fn last_pulse(&self, guest: &str) -> Result<Option<Pulse>> {
        let path = self.dir().console(guest);
        let size = match path.metadata() {
            Ok(metadata) => metadata.len(),
            // The guest has not been started.
            Err(_) => return Ok(None),
        };
        let start = size.saturating_sub(TAIL);
        Ok(last_tick(&self.console(guest, start)?, start))
    }

    /// A guest's console from that byte on.
    fn console(&self, guest: &str, start: u64) -> Result<String> {
        let path = self.dir().console(guest);
        let mut file = File::open(&path).with_context(|| format!("no console of {guest}"))?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.read_to_end(&mut bytes))
            .with_context(|| format!("reading {}", path.display()))?;
        // Firmware and kernel write ASCII; replacing each bad byte by one keeps offsets right.
        Ok(bytes.into_iter().map(|byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect())
    }
}

/// The last whole tick in `text`, which begins at byte `start` of the console.
fn last_tick(text: &str, start: u64) -> Option<Pulse> {
    let mut end = text.len();
    for line in text.split_inclusive('\n').rev() {
        if let Ok(tick) = line.parse::<Tick>() {
            return Some(Pulse {
                tick: tick.number,
                uptime_seconds: tick.uptime_seconds,
                boot_id: tick.boot_id,
                end: start + end as u64,
            });
        }
        end -= line.len();
    }
    None
}

/// Whether the console's text after `before` shows the same guest, alone, going on.
fn check_unbroken(before: &Pulse, text: &str) -> Result<()> {
    if let Some(line) = complaint(text) {
        bail!("its kernel complains: {line}");
    }
    let (mut number, mut uptime) = (before.tick, before.uptime_seconds);
    // What the serial port holds when the guest changes hosts can be lost with the source's QEMU, and spoils one line: in
    // its place there must be a part of it. A tick that is missing without a trace is a gap.
    let mut spoiled = 0;
    for line in text.lines() {
        let Ok(tick) = line.parse::<Tick>() else {
            spoiled += u64::from(is_part_of_tick(line));
            continue;
        };
        ensure!(tick.boot_id == before.boot_id, "it was started anew: boot {} became {}", before.boot_id, tick.boot_id);
        ensure!(
            tick.number > number,
            "tick {} came after tick {number}: it runs twice, or went back in time",
            tick.number
        );
        let missing = tick.number - number - 1;
        ensure!(missing <= spoiled.min(1), "after tick {number} came tick {}, in:\n{text}", tick.number);
        spoiled = 0;
        ensure!(tick.uptime_seconds > uptime, "its uptime went from {uptime} s to {} s", tick.uptime_seconds);
        (number, uptime) = (tick.number, tick.uptime_seconds);
    }
    Ok(())
}

/// Whether a line that is no whole tick is what is left of one.
fn is_part_of_tick(line: &str) -> bool {
    line.contains("tick ") || line.contains(" uptime ") || line.contains(" boot ")
}

/// The first line that tells of a kernel or an init in trouble.
fn complaint(text: &str) -> Option<&str> {
    let bad = |line: &&str| TROUBLE.iter().any(|trouble| line.contains(trouble));
    text.lines().find(bad).map(str::trim)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "SeaBIOS\r\ntick 1 uptime 2.00 boot b .\r\ntick 2 uptime 2.50 boot b .\r\ntick 3 up";

    fn before() -> Pulse {
        last_tick(BEFORE, 100).unwrap()
    }

    #[test]
    fn finds_the_last_whole_tick() {
        let pulse = before();
        assert_eq!((pulse.tick, pulse.uptime_seconds), (2, 2.5));
        assert_eq!(pulse.end, 100 + BEFORE.len() as u64 - "tick 3 up".len() as u64);
        assert_eq!(last_tick("nothing\n", 0), None);
    }

    #[test]
    fn tells_a_life_that_goes_on() {
        let text = "tick 3 uptime 3.00 boot b .\r\nhello\r\ntick 4 uptime 3.50 boot b .\r\ntick 5";
        check_unbroken(&before(), text).unwrap();
        let spoiled = "tick 3 uptime 3.00 boot b .\r\ntick 4 upt b .\r\ntick 5 uptime 4.00 boot b .\r\n";
        check_unbroken(&before(), spoiled).unwrap();
    }

    #[test]
    fn tells_what_breaks_a_life() {
        for (text, reason) in [
            ("tick 1 uptime 1.00 boot c .\n", "started anew"),
            ("tick 2 uptime 2.50 boot b .\n", "runs twice"),
            ("tick 4 uptime 3.50 boot b .\n", "after tick 2"),
            ("tick 3 upt b .\ntick 5 uptime 4.00 boot b .\n", "after tick 2"),
            ("tick 3 upt b .\ntick 4 upt b .\ntick 5 uptime 4.00 boot b .\n", "after tick 2"),
            ("tick 3 uptime 2.40 boot b .\n", "uptime went"),
            ("[ 3.1] BUG: soft lockup\n", "complains"),
        ] {
            let error = check_unbroken(&before(), text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}
