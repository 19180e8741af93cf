//! What crossed the NICs, in intervals of equal length. When there are too many they are joined in pairs, so that an
//! evacuation of any length is kept in the same space.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::topology::Side;

/// Length of an interval at first, in seconds.
const INTERVAL_SECONDS: f64 = 1.0;
/// The most intervals that are kept. Chosen: as many as a screen's width can show.
const LIMIT: usize = 600;

/// What crossed the NICs in one interval, in bits per second; `None` if a host was not seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficInterval {
    /// When it begins, in seconds since the start.
    pub from_seconds: f64,
    /// When it ends.
    pub to_seconds: f64,
    /// What the source's guests sent.
    pub source_outbound_bits_per_second: Option<f64>,
    /// What the source's guests received.
    pub source_inbound_bits_per_second: Option<f64>,
    /// What the destination's guests sent.
    pub destination_outbound_bits_per_second: Option<f64>,
    /// What the destination's guests received.
    pub destination_inbound_bits_per_second: Option<f64>,
    /// Memory of domains that still ran at the source.
    pub pre_copy_bits_per_second: f64,
    /// Memory of domains that ran at the destination.
    pub post_copy_bits_per_second: f64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Channel {
    SourceOutbound,
    SourceInbound,
    DestinationOutbound,
    DestinationInbound,
    PreCopy,
    PostCopy,
}

impl Channel {
    pub(super) fn of_guests(side: Side) -> [Self; 2] {
        match side {
            Side::Source => [Self::SourceOutbound, Self::SourceInbound],
            Side::Destination => [Self::DestinationOutbound, Self::DestinationInbound],
        }
    }
}

/// One channel in one interval.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    bits: f64,
    /// How much of the interval was seen.
    seconds: f64,
}

impl Flow {
    fn rate(self) -> Option<f64> {
        (self.seconds > 0.0).then(|| (self.bits / self.seconds).round())
    }
}

/// The intervals from 0 on.
#[derive(Debug)]
pub(super) struct Series {
    seconds: f64,
    intervals: Vec<[Flow; 6]>,
}

impl Default for Series {
    fn default() -> Self {
        Self { seconds: INTERVAL_SECONDS, intervals: Vec::new() }
    }
}

impl Series {
    /// Adds what crossed between two times, evenly.
    pub(super) fn add(&mut self, channel: Channel, from: f64, to: f64, bits: f64) {
        if !(from >= 0.0 && to > from && to.is_finite()) {
            return;
        }
        while to >= self.seconds * LIMIT as f64 {
            self.join();
        }
        let (first, last) = ((from / self.seconds) as usize, (to / self.seconds) as usize);
        if self.intervals.len() <= last {
            self.intervals.resize(last + 1, [Flow::default(); 6]);
        }
        for index in first..=last {
            let start = index as f64 * self.seconds;
            let seconds = to.min(start + self.seconds) - from.max(start);
            let flow = &mut self.intervals[index][channel as usize];
            flow.bits += bits * seconds / (to - from);
            flow.seconds += seconds;
        }
    }

    fn join(&mut self) {
        self.seconds *= 2.0;
        let pair = |pair: &[[Flow; 6]]| {
            let mut sum = pair[0];
            for other in &pair[1..] {
                for (flow, more) in sum.iter_mut().zip(other) {
                    flow.bits += more.bits;
                    flow.seconds += more.seconds;
                }
            }
            sum
        };
        self.intervals = self.intervals.chunks(2).map(pair).collect();
    }

    /// The rates of all intervals up to the end.
    pub(super) fn intervals(&self, end_seconds: f64) -> Vec<TrafficInterval> {
        let interval = |(index, flows): (usize, &[Flow; 6])| {
            let from_seconds = index as f64 * self.seconds;
            let to_seconds = (from_seconds + self.seconds).min(end_seconds);
            let rate = |channel: Channel| flows[channel as usize].rate();
            // Migrations are all known: if none was seen there was none.
            let memory = |channel: Channel| (flows[channel as usize].bits / (to_seconds - from_seconds)).round();
            TrafficInterval {
                from_seconds,
                to_seconds,
                source_outbound_bits_per_second: rate(Channel::SourceOutbound),
                source_inbound_bits_per_second: rate(Channel::SourceInbound),
                destination_outbound_bits_per_second: rate(Channel::DestinationOutbound),
                destination_inbound_bits_per_second: rate(Channel::DestinationInbound),
                pre_copy_bits_per_second: memory(Channel::PreCopy),
                post_copy_bits_per_second: memory(Channel::PostCopy),
            }
        };
        // A sliver at the end would give a rate of almost nothing over almost no time.
        let whole = |index: usize| end_seconds - index as f64 * self.seconds > 0.2 * self.seconds;
        self.intervals.iter().enumerate().take_while(|(index, _)| whole(*index)).map(interval).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crossed_is_spread_over_the_time_in_which_it_did() {
        let mut series = Series::default();
        series.add(Channel::PreCopy, 0.5, 2.5, 2000.0);
        series.add(Channel::SourceOutbound, 1.0, 1.5, 300.0);
        let intervals = series.intervals(3.0);
        let memory: Vec<_> = intervals.iter().map(|i| i.pre_copy_bits_per_second).collect();
        assert_eq!(memory, [500.0, 1000.0, 500.0]);
        let guests: Vec<_> = intervals.iter().map(|i| i.source_outbound_bits_per_second).collect();
        assert_eq!(guests, [None, Some(600.0), None], "a rate of what was seen, and none where nothing was");
    }

    #[test]
    fn a_long_evacuation_takes_no_more_space_and_loses_nothing() {
        let mut series = Series::default();
        for second in 0..100_000 {
            series.add(Channel::PostCopy, f64::from(second), f64::from(second) + 1.0, 800.0);
        }
        let intervals = series.intervals(100_000.0);
        assert!(intervals.len() <= LIMIT && intervals.len() > LIMIT / 3, "{}", intervals.len());
        assert!(intervals.iter().all(|i| i.post_copy_bits_per_second == 800.0));
        assert_eq!(intervals.last().unwrap().to_seconds, 100_000.0);
    }

    #[test]
    fn times_that_make_no_sense_are_left_out() {
        let mut series = Series::default();
        for (from, to) in [(2.0, 1.0), (-1.0, 1.0), (0.0, f64::INFINITY), (f64::NAN, 1.0), (1.0, 1.0)] {
            series.add(Channel::PreCopy, from, to, 100.0);
        }
        assert!(series.intervals(10.0).is_empty());
    }
}
