//! How a flow between a guest and the peer opens, and what runs on it.
//!
//! The guest connects, announces itself in one line, and then either sends data at its rate (the
//! peer counts) or receives data at the rate that it asked for (and reports its count of received
//! bytes back, eight bytes at a time: what matters is what the guest got, not what was sent).

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Context, Error, Result, bail};

/// TCP port of the peer.
pub const PORT: u16 = 5000;

/// Without progress for this long, either side gives a connection up and the guest makes another.
pub const STALL: Duration = Duration::from_secs(5);

/// How often a receiving guest reports its count.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(50);

/// Which way the data runs, from the guest's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the guest to the peer: outbound for the guest's host.
    Send,
    /// From the peer to the guest: inbound for the guest's host.
    Receive,
}

/// The first line on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Name of the guest.
    pub guest: String,
    /// Which way the data runs.
    pub direction: Direction,
    /// Rate of the data, in bits per second.
    pub bits_per_second: u64,
    /// Period of the bursts in which it runs, in milliseconds; 0 if it is steady.
    pub burst_ms: u64,
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Send => "send",
            Direction::Receive => "receive",
        };
        write!(f, "{} {direction} {} {}", self.guest, self.bits_per_second, self.burst_ms)
    }
}

impl FromStr for Announcement {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [guest, direction, rate, burst] = words[..] else {
            bail!("not an announcement: {line:?}");
        };
        Ok(Self {
            guest: guest.to_owned(),
            direction: match direction {
                "send" => Direction::Send,
                "receive" => Direction::Receive,
                _ => bail!("no such direction: {direction:?}"),
            },
            bits_per_second: rate.parse().context("rate of an announcement")?,
            burst_ms: burst.parse().context("bursts of an announcement")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_wire() {
        let announcement = Announcement {
            guest: "i1".into(),
            direction: Direction::Receive,
            bits_per_second: 30_000_000,
            burst_ms: 2000,
        };
        let line = format!("{announcement}\n");
        assert_eq!(line.parse::<Announcement>().unwrap(), announcement);
    }
}
