//! The guests' traffic, read from the peer's record.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use crate::{
    lab::Lab,
    peer::{INTERVAL, Line},
    run::wait_for,
};

/// A guest's mean traffic over a window of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Flow {
    /// From the guest to the peer.
    pub outbound_bits_per_second: f64,
    /// From the peer to the guest.
    pub inbound_bits_per_second: f64,
}

/// What got through between a guest and the peer in a span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Delivered {
    /// From the guest to the peer, in bits.
    pub outbound_bits: f64,
    /// From the peer to the guest, in bits.
    pub inbound_bits: f64,
}

impl Lab {
    /// A guest's mean traffic over the last `window` that the peer has recorded.
    pub fn flow(&self, guest: &str, window: Duration) -> Result<Flow> {
        let lines = self.record()?;
        let to = lines.last().map_or(0.0, |line| line.time);
        let delivered = delivered(&lines, to - window.as_secs_f64(), to);
        let delivered = delivered.get(guest).copied().unwrap_or_default();
        Ok(Flow {
            outbound_bits_per_second: delivered.outbound_bits / window.as_secs_f64(),
            inbound_bits_per_second: delivered.inbound_bits / window.as_secs_f64(),
        })
    }

    /// What got through for each guest between two instants; guests without traffic are missing.
    ///
    /// Waits, at most a moment, until the peer has recorded all of that span.
    pub fn traffic(&self, from: SystemTime, to: SystemTime) -> Result<BTreeMap<String, Delivered>> {
        let seconds = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH).context("a time before 1970").map(|time| time.as_secs_f64())
        };
        let (from, to) = (seconds(from)?, seconds(to)?);
        let lines = wait_for("the peer's record", INTERVAL * 10, || {
            let lines = self.record()?;
            Ok(lines.last().is_some_and(|line| line.time >= to).then_some(lines))
        })?;
        Ok(delivered(&lines, from, to))
    }

    /// The peer's record so far.
    fn record(&self) -> Result<Vec<Line>> {
        let path = self.dir().traffic();
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        // The last line may be in the making.
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

/// Sums the record over a span, both ends in seconds since 1970. Of an interval that the span only
/// covers in part, that part is counted.
fn delivered(lines: &[Line], from: f64, to: f64) -> BTreeMap<String, Delivered> {
    let mut sums = BTreeMap::<String, Delivered>::new();
    for line in lines {
        let covered = line.time.min(to) - (line.time - line.seconds).max(from);
        let share = (covered / line.seconds).max(0.0);
        for (guest, bytes) in line.guests.iter().filter(|_| share > 0.0) {
            let sum = sums.entry(guest.clone()).or_default();
            sum.outbound_bits += share * 8.0 * bytes.from_guest as f64;
            sum.inbound_bits += share * 8.0 * bytes.to_guest as f64;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Bytes;

    #[test]
    fn counts_parts_of_intervals() {
        let line = |time| Line {
            time,
            seconds: 0.5,
            guests: [("o1".to_owned(), Bytes { from_guest: 1000, to_guest: 10 })].into(),
        };
        let lines = [line(10.0), line(10.5), line(11.0)];
        // Half of the second interval, and all of the third.
        let sums = delivered(&lines, 10.25, 12.0);
        assert_eq!(sums["o1"], Delivered { outbound_bits: 12_000.0, inbound_bits: 120.0 });
        assert!(delivered(&lines, 11.0, 12.0).is_empty());
    }
}
