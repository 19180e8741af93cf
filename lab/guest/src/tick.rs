//! The heartbeat that a guest writes on its console, one line each [`INTERVAL`].
//!
//! Ticks are numbered without gaps from 1, and name the boot: whoever reads the console can tell
//! a guest that lives on from one that was started anew, and a guest that runs twice (two hosts
//! writing the same numbers) from one that moved.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Context, Error, Result, bail};

/// Time between two ticks, by the guest's clock.
pub const INTERVAL: Duration = Duration::from_millis(500);

/// One heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// 1 for the first one after boot, then one more each time.
    pub number: u64,
    /// The guest kernel's uptime, in seconds.
    pub uptime_seconds: f64,
    /// The guest kernel's boot id.
    pub boot_id: String,
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tick {} uptime {:.2} boot {} .", self.number, self.uptime_seconds, self.boot_id)
    }
}

impl FromStr for Tick {
    type Err = Error;

    /// Reads one line. The closing dot tells a whole line from one that is still being written.
    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let ["tick", number, "uptime", uptime, "boot", boot_id, "."] = words[..] else {
            bail!("not a heartbeat: {line:?}");
        };
        Ok(Self {
            number: number.parse().context("number of a heartbeat")?,
            uptime_seconds: uptime.parse().context("uptime of a heartbeat")?,
            boot_id: boot_id.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_console() {
        let tick = Tick { number: 7, uptime_seconds: 3.25, boot_id: "b00f".into() };
        assert_eq!(format!("{tick}\r").parse::<Tick>().unwrap(), tick);
    }

    #[test]
    fn half_a_line_is_no_tick() {
        assert!("tick 7 uptime 3.25 boot b00".parse::<Tick>().is_err());
        assert!("[    1.2] virtio_net: hello".parse::<Tick>().is_err());
    }
}
