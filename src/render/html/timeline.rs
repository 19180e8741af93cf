//! One row for each domain: how long it waited, its passes, its switch-over, its post-copy; below, what was predicted.

use super::axis::Axis;
use super::{add, escape, heading, technique};
use crate::domain::Phase;
use crate::history::{DomainHistory, History};
use crate::report::{DomainOutcome, DomainReport, Report};
use crate::units::span;

/// Height of a row, where its bar begins and how high it is, and where the prediction is.
const ROW: u32 = 34;
const TOP: u32 = 6;
const BAR: u32 = 15;
const PREDICTED: u32 = 26;
/// Marks of passes are at least so far apart, in percent of the width.
const APART: f64 = 1.5;

const LEGEND: [(&str, &str); 7] = [
    ("<line class=\"waiting\" x1=\"0\" x2=\"18\" y1=\"6\" y2=\"6\"/>", "waits"),
    ("<rect class=\"setup\" width=\"18\" height=\"12\"/>", "libvirt sets it up"),
    ("<rect class=\"first\" width=\"18\" height=\"12\"/>", "pre-copy, first pass"),
    (
        "<rect class=\"further\" width=\"18\" height=\"12\"/><line class=\"pass\" x1=\"9\" x2=\"9\" y1=\"0\" y2=\"12\"/>",
        "extra passes: what was written meanwhile",
    ),
    ("<line class=\"switch\" x1=\"9\" x2=\"9\" y1=\"0\" y2=\"12\"/>", "switch: the guest stands still"),
    ("<rect class=\"post\" width=\"18\" height=\"12\"/>", "post-copy: it runs at the destination"),
    ("<rect class=\"predicted\" x=\"1\" y=\"4\" width=\"16\" height=\"4\"/>", "predicted"),
];

struct Stretch {
    class: &'static str,
    name: String,
    from: f64,
    to: f64,
}

pub(super) fn draw(body: &mut String, axis: &Axis, report: &Report, history: &History) {
    heading(body, "Each domain over time", &LEGEND);
    for domain in &history.domains {
        let end = report.domains.iter().find(|end| end.domain == domain.domain);
        row(body, axis, domain, end);
    }
    axis.row(body);
}

fn row(body: &mut String, axis: &Axis, history: &DomainHistory, end: Option<&DomainReport>) {
    let words = words(history, end);
    let name = escape(&history.domain);
    add(body, format_args!("<div class=\"row domain\"><div class=\"name\">{name}<small>{words}</small></div>"));
    add(body, format_args!("<svg class=\"track\" height=\"{ROW}\" role=\"img\" aria-label=\"{name}: {words}\">"));
    axis.grid(body, ROW);
    let launched = history.launched_seconds;
    if let Some(launched) = launched.filter(|launched| axis.place(*launched) > 0.5) {
        let (y, x) = (TOP + BAR / 2, axis.place(launched));
        add(body, format_args!("<line class=\"waiting\" x1=\"0\" x2=\"{x:.2}%\" y1=\"{y}\" y2=\"{y}\"/>"));
    }
    for Stretch { class, name, from, to } in stretches(history) {
        let title = format!("{name}: {} to {}", span(from), span(to));
        rectangle(body, axis, class, (from, to), (TOP, BAR), &title);
    }
    passes(body, axis, history);
    if let Some(at) = switch(history, end) {
        let downtime = end.and_then(|end| end.downtime_seconds).unwrap_or_default();
        let title = format!("switch: {} without a running processor", span(downtime));
        rectangle(body, axis, "switch", ((at - downtime).max(0.0), at), (TOP - 3, BAR + 6), &title);
        line(body, "switch", axis.place(at), (TOP - 3, TOP + BAR + 3), &title);
    }
    if let (Some(from), Some(to)) = (history.predicted_start_seconds, history.predicted_end_seconds) {
        let title = format!("predicted: {} to {}", span(from), span(to));
        rectangle(body, axis, "predicted", (from, to), (PREDICTED, 4), &title);
    }
    *body += "</svg></div>\n";
}

/// Marks where passes begin, as far as they can be told apart.
fn passes(body: &mut String, axis: &Axis, history: &DomainHistory) {
    let mut marked = f64::NEG_INFINITY;
    for pass in &history.passes {
        let x = axis.place(pass.at_seconds);
        if x - marked < APART {
            continue;
        }
        marked = x;
        let title = format!("pass {} from {}", pass.pass, span(pass.at_seconds));
        line(body, "pass", x, (TOP, TOP + BAR), &title);
    }
}

fn line(body: &mut String, class: &str, x: f64, (top, bottom): (u32, u32), title: &str) {
    add(
        body,
        format_args!(
            "<line class=\"{class}\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"{top}\" y2=\"{bottom}\"><title>{title}\
             </title></line>"
        ),
    );
}

fn rectangle(body: &mut String, axis: &Axis, class: &str, times: (f64, f64), place: (u32, u32), title: &str) {
    let (x, width) = (axis.place(times.0), (axis.place(times.1) - axis.place(times.0)).max(0.0));
    let (y, height) = place;
    add(
        body,
        format_args!(
            "<rect class=\"{class}\" x=\"{x:.2}%\" y=\"{y}\" width=\"{width:.2}%\" height=\"{height}\"><title>{title}\
             </title></rect>"
        ),
    );
}

fn words(history: &DomainHistory, end: Option<&DomainReport>) -> String {
    let (Some(end), Some(_)) = (end, history.launched_seconds) else { return "never launched".to_owned() };
    let predicted = match (history.predicted_start_seconds, history.predicted_end_seconds) {
        (Some(from), Some(to)) => format!("{} predicted", span(to - from)),
        _ => "no end predicted".to_owned(),
    };
    let unmoved = if end.outcome == DomainOutcome::Migrated { "" } else { ", NOT MOVED" };
    format!("{}, {} ({predicted}){unmoved}", technique(end), span(end.seconds))
}

/// When its guest stood still: at the end of what was copied while it ran at the source.
fn switch(history: &DomainHistory, end: Option<&DomainReport>) -> Option<f64> {
    if end.is_none_or(|end| end.outcome != DomainOutcome::Migrated || end.downtime_seconds.is_none()) {
        return None;
    }
    let start = |wanted| history.phases.iter().find(|start| start.phase == wanted).map(|start| start.at_seconds);
    start(Phase::PostCopy).or_else(|| start(Phase::Checking))
}

/// The bar: the phases that were seen, pre-copy divided by its passes.
fn stretches(history: &DomainHistory) -> Vec<Stretch> {
    let last = history.ended_seconds.or(history.phases.last().map(|start| start.at_seconds)).unwrap_or_default();
    let mut stretches = Vec::new();
    for (i, start) in history.phases.iter().enumerate() {
        let (from, to) = (start.at_seconds, history.phases.get(i + 1).map_or(last, |next| next.at_seconds));
        let mut add = |class, name: String, from, to| stretches.push(Stretch { class, name, from, to });
        match start.phase {
            Phase::PreCopy => {
                let second = history.passes.first().map_or(to, |pass| pass.at_seconds).clamp(from, to.max(from));
                add("first", "pre-copy, first pass".to_owned(), from, second);
                if second < to {
                    let passes = history.passes.last().map_or(1, |pass| pass.pass);
                    add("further", format!("pre-copy, up to pass {passes}"), second, to);
                }
            }
            Phase::PostCopy => add("post", "post-copy".to_owned(), from, to),
            Phase::Recovering => add("setup", "post-copy failed, being resumed".to_owned(), from, to),
            Phase::Starting => add("setup", "setting up".to_owned(), from, to),
            Phase::Checking => add("setup", "checking both hosts".to_owned(), from, to),
        }
    }
    stretches
}
