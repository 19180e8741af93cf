//! A report as one page for the browser: inline SVG and CSS, no script, nothing fetched, light and dark, for paper too.
//!
//! The pictures share one axis of time. Places along it are in percent, so that the page fits any width and text keeps
//! its size.

mod axis;
mod timeline;
mod traffic;

use std::fmt::Write;

use super::tables::{outcome, outcome_line};
use crate::files::saved_report::SavedReport;
use crate::history::DomainHistory;
use crate::report::{DomainReport, Outcome, Report};
use crate::units::{size, span};
use axis::Axis;

pub fn page(saved: &SavedReport) -> String {
    let SavedReport { report, history } = saved;
    let title = format!("{} → {}", escape(&report.source), escape(&report.destinations.join(", ")));
    let mut body = head(report, history.as_ref().map(|history| history.started.as_str()));
    match history {
        Some(history) => {
            let axis = Axis::new(report, history);
            timeline::draw(&mut body, &axis, report, history);
            for change in &history.changes {
                let (at, message) = (span(change.at_seconds), escape(&change.message));
                add(&mut body, format_args!("<p class=\"muted\">After {at}: {message}.</p>\n"));
            }
            traffic::draw(&mut body, &axis, report, history);
        }
        None => body += "<p class=\"muted\">This report does not say how the evacuation went: it has no history.</p>\n",
    }
    table(&mut body, report, history.as_ref().map_or(&[], |history| &history.domains));
    let style = include_str!("style.css");
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\
         <footer class=\"muted\">tsmig {version}. Times are seconds since the start of the evacuation; rates are bits \
         per second; memory that was sent again counts again.</footer>\n</main>\n</body>\n</html>\n"
    )
}

/// What happened, in words and figures.
fn head(report: &Report, started: Option<&str>) -> String {
    let class = if report.outcome == Outcome::Evacuated { "good" } else { "bad" };
    let mut text = format!(
        "<h1>{} → {}</h1>\n<p class=\"{class}\">{}</p>\n",
        escape(&report.source),
        escape(&report.destinations.join(", ")),
        escape(&outcome_line(report)),
    );
    if let Some(started) = started {
        add(&mut text, format_args!("<p class=\"muted\">started {}</p>\n", escape(started)));
    }
    for domain in &report.domains {
        if let Some(error) = domain.error() {
            let (domain, error) = (escape(&domain.domain), escape(&error));
            add(&mut text, format_args!("<p><span class=\"bad\">{domain}</span>: {error}</p>\n"));
        }
    }
    let copied = report.domains.iter().map(|domain| domain.bytes).fold(0, u64::saturating_add);
    let downtime = report.domains.iter().filter_map(|domain| domain.downtime_seconds).reduce(f64::max);
    text += "<dl>\n";
    let mut figure = |name: &str, value: String, note: String| {
        add(&mut text, format_args!("<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>\n"));
    };
    figure("total time", span(report.total_seconds), against(report.total_seconds, report.predicted_seconds));
    figure("copied", size(copied), String::new());
    figure("longest downtime", downtime.map_or_else(|| "not known".to_owned(), span), String::new());
    text + "</dl>\n"
}

fn against(measured: f64, predicted: Option<f64>) -> String {
    match predicted {
        Some(predicted) if predicted > 0.0 => {
            format!("{} predicted, {:+.0} %", span(predicted), (measured / predicted - 1.0) * 100.0)
        }
        Some(predicted) => format!("{} predicted", span(predicted)),
        None => "no end predicted".to_owned(),
    }
}

fn table(body: &mut String, report: &Report, histories: &[DomainHistory]) {
    *body += "<h2>Domains</h2>\n<div class=\"table\"><table>\n<tr><th>domain<th>technique<th class=\"number\">from, to\
              <th class=\"number\">predicted<th class=\"number\">time<th class=\"number\">downtime<th class=\"number\">copied\
              <th class=\"number\">passes<th>outcome</tr>\n";
    for domain in &report.domains {
        let history = histories.iter().find(|history| history.domain == domain.domain);
        let times = |pick: fn(&DomainHistory) -> (Option<f64>, Option<f64>)| match history.map(pick) {
            Some((Some(from), Some(to))) => format!("{}, {}", span(from), span(to)),
            _ => "-".to_owned(),
        };
        let class = if domain.failure.is_some() { "bad" } else { "good" };
        add(body, format_args!("<tr><td>{}<td>{}", escape(&domain.domain), technique(domain)));
        for number in [
            times(|history| (history.launched_seconds, history.ended_seconds)),
            times(|history| (history.predicted_start_seconds, history.predicted_end_seconds)),
            span(domain.seconds),
            domain.downtime_seconds.map_or_else(|| "-".to_owned(), span),
            size(domain.bytes),
            domain.passes.to_string(),
        ] {
            add(body, format_args!("<td class=\"number\">{number}"));
        }
        add(body, format_args!("<td class=\"{class}\">{}</tr>\n", outcome(domain.outcome)));
    }
    *body += "</table></div>\n";
}

fn technique(domain: &DomainReport) -> String {
    domain.technique.map_or_else(|| "-".to_owned(), |technique| technique.to_string())
}

/// The begin of a part, with what its drawings mean.
fn heading(body: &mut String, title: &str, legend: &[(&str, &str)]) {
    add(body, format_args!("<h2>{title}</h2>\n<ul class=\"legend\">"));
    for (drawing, meaning) in legend {
        add(body, format_args!("<li><svg viewBox=\"0 0 18 12\" aria-hidden=\"true\">{drawing}</svg>{meaning}"));
    }
    *body += "</ul>\n";
}

/// Appends; writing to a String can't fail.
fn add(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

/// Text that a file or a host has given, for a page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::history::Change;

    #[test]
    fn what_was_changed_while_it_ran_is_told_with_its_time() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/reports/balanced.json");
        let mut saved: SavedReport = crate::files::load(&path).expect("a shipped report");
        let history = saved.history.as_mut().expect("a history");
        history.changes.push(Change { at_seconds: 12.0, message: "a < b is launched first".to_owned() });
        assert!(page(&saved).contains("<p class=\"muted\">After 12.0 s: a &lt; b is launched first.</p>"));
    }
}
