//! The axis of time that all pictures of a page share, and round steps for any axis.

use super::add;
use crate::history::History;
use crate::report::Report;
use crate::units::span;

/// The latest time that a page draws, a year; what is not a number is drawn there.
const LATEST: f64 = 366.0 * 86400.0;

/// From 0 to the last thing that happened or was predicted.
pub(super) struct Axis {
    end: f64,
    step: f64,
}

impl Axis {
    pub(super) fn new(report: &Report, history: &History) -> Self {
        let domains = history.domains.iter();
        let ends = domains.flat_map(|domain| [domain.ended_seconds, domain.predicted_end_seconds]).flatten();
        let last = ends.chain([report.total_seconds]).filter(|end| end.is_finite()).fold(0.1, f64::max).min(LATEST);
        Self { end: last * 1.01, step: round_step(last / 5.0) }
    }

    pub(super) fn place(&self, seconds: f64) -> f64 {
        (seconds / self.end * 100.0).clamp(0.0, 100.0)
    }

    fn marks(&self) -> impl Iterator<Item = f64> {
        let step = self.step;
        (0..=(self.end / step) as u32).map(move |i| f64::from(i) * step)
    }

    /// Lines at the marked times, in a picture of that height.
    pub(super) fn grid(&self, body: &mut String, height: u32) {
        for mark in self.marks() {
            let x = self.place(mark);
            add(body, format_args!("<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"{height}\"/>"));
        }
    }

    /// The row that says which times are marked.
    pub(super) fn row(&self, body: &mut String) {
        *body += "<div class=\"row axis\"><div></div><svg class=\"track\" height=\"20\" aria-hidden=\"true\">";
        for (i, mark) in self.marks().enumerate() {
            let x = self.place(mark);
            // The outer ones stay within the picture.
            let anchor = match x {
                x if x < 4.0 => "start",
                x if x > 92.0 => "end",
                _ => "middle",
            };
            let label = short(mark, self.step);
            // A narrow page shows every other one.
            let class = if i % 2 == 0 { "even" } else { "odd" };
            add(
                body,
                format_args!("<text class=\"{class}\" x=\"{x:.2}%\" y=\"15\" text-anchor=\"{anchor}\">{label}</text>"),
            );
        }
        *body += "</svg></div>\n";
    }
}

/// A marked time without what is nothing in it.
fn short(seconds: f64, step: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        _ if seconds == 0.0 => "0".to_owned(),
        _ if step < 1.0 => span(seconds),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// The next round number: 1, 2 or 5 times a power of ten; of minutes and hours for longer times.
fn round_step(least: f64) -> f64 {
    const LONG: [f64; 9] = [15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0];
    if least > 10.0 {
        let hours = (least / 3600.0).ceil() * 3600.0;
        return LONG.into_iter().find(|step| *step >= least).unwrap_or(hours);
    }
    let power = 10_f64.powf(least.max(0.01).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= least).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_are_round_times() {
        for (least, step) in [(0.7, 1.0), (1.3, 2.0), (8.2, 10.0), (11.0, 15.0), (70.0, 120.0), (9000.0, 10800.0)] {
            assert_eq!(round_step(least), step, "{least}");
        }
        for (seconds, label) in [(0.0, "0"), (20.0, "20 s"), (60.0, "1 min"), (90.0, "1 min 30 s"), (7200.0, "2 h")] {
            assert_eq!(short(seconds, 10.0), label);
        }
    }
}
