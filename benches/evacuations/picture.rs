//! The results as one self-contained SVG: a bar for each measured total, a mark where it was predicted.

use std::fmt::Write;

use crate::results::{Results, Row};

const ROW: f64 = 22.0;
const LEFT: f64 = 230.0;
const WIDTH: f64 = 560.0;

/// Draws all rows, scenario by scenario, on one scale of seconds.
pub fn draw(results: &Results) -> String {
    let longest = results
        .rows
        .iter()
        .flat_map(|row| [row.total_seconds(), row.predicted_seconds(), row.range().map(|range| range.1)])
        .flatten()
        .fold(1.0_f64, f64::max);
    let scale = WIDTH / longest;
    let mut body = String::new();
    let mut y = 10.0;
    let mut scenario = "";
    for row in &results.rows {
        if row.scenario != scenario {
            scenario = &row.scenario;
            y += ROW;
            text(&mut body, 10.0, y, "bold", scenario);
            y += 8.0;
        }
        y += ROW;
        bar(&mut body, y, scale, row);
    }
    y += ROW * 1.5;
    text(
        &mut body,
        10.0,
        y,
        "normal",
        "bar: measured total migration time, the mean of equal runs; thin line: from the fastest to the slowest; mark: predicted",
    );
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"13\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n",
        LEFT + WIDTH + 150.0,
        y + 15.0
    )
}

fn bar(body: &mut String, y: f64, scale: f64, row: &Row) {
    text(body, 20.0, y, "normal", &row.policy);
    let color = if row.policy.starts_with("tsmig") { "#1f7a4d" } else { "#9aa5b1" };
    // Writing to a String can't fail.
    match row.total_seconds() {
        Some(seconds) => {
            let width = seconds * scale;
            let _ = writeln!(
                body,
                "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"14\" fill=\"{color}\"/>",
                y - 12.0
            );
            let label = format!("{seconds:.1} s, {:.0} Mbit lost", row.lost_bits() / 1e6);
            let (least, most) = row.range().unwrap_or((seconds, seconds));
            let _ = writeln!(
                body,
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y2:.1}\" y2=\"{y2:.1}\" stroke=\"black\"/>",
                LEFT + least * scale,
                LEFT + most * scale,
                y2 = y - 5.0
            );
            text(body, LEFT + width.max(most * scale) + 8.0, y, "normal", &label);
        }
        None => text(body, LEFT + 8.0, y, "normal", "does not finish"),
    }
    if let Some(seconds) = row.predicted_seconds() {
        let x = LEFT + seconds * scale;
        let _ = writeln!(
            body,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"black\" stroke-width=\"2\"/>",
            y - 15.0,
            y + 5.0
        );
    }
}

fn text(body: &mut String, x: f64, y: f64, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\">{words}</text>");
}
