//! What people and programs see. Results go to standard output, everything on the way to standard error.
//!
//! [`Screen`] decides once how events are drawn: bars on a terminal, plain lines elsewhere, JSON lines for
//! programs, nothing with `--quiet`. One thread draws.

pub mod bars;
pub mod html;
mod lines;
pub mod page;
pub mod tables;

use std::io::{self, IsTerminal, Write};

use crate::cli::{Format, OutputArgs};
use crate::event::{Event, Timed};

/// Draws events.
pub enum Screen {
    /// One JSON object a line on standard output.
    Json,
    /// Bars on standard error.
    Bars(Box<bars::Bars>),
    /// Lines on standard error.
    Lines(lines::Lines),
    /// Nothing.
    Silent,
}

impl Screen {
    /// The screen that the options and the terminal ask for.
    pub fn new(output: &OutputArgs) -> Self {
        match output.output {
            Format::Json => Self::Json,
            Format::Text if output.quiet => Self::Silent,
            Format::Text if io::stderr().is_terminal() => Self::Bars(Box::default()),
            Format::Text => Self::Lines(lines::Lines::default()),
        }
    }

    /// Draws one event.
    pub fn draw(&mut self, timed: &Timed) {
        match self {
            Self::Json => {
                // A reader that has gone away must not stop an evacuation.
                if let Ok(line) = serde_json::to_string(timed) {
                    let _ = print_line(&line);
                }
            }
            Self::Bars(bars) => bars.draw(timed),
            Self::Lines(lines) => lines.draw(timed),
            Self::Silent => {}
        }
    }
}

/// Prints a line on standard output.
///
/// # Errors
/// The system's, a closed pipe among them.
pub fn print_line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Says something on standard error.
pub fn say(text: &str) {
    // There is nowhere left to report that to.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// How the end of an evacuation is put in one line.
fn summary(event: &Event) -> Option<String> {
    let Event::Report(report) = event else { return None };
    Some(tables::outcome_line(report))
}
