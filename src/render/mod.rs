//! What people and programs see. Results go to standard output, everything on the way to standard error.
//!
//! [`Screen`] decides once how events are drawn: bars on a terminal, plain lines elsewhere, JSON lines for
//! programs, nothing with `--quiet`. One thread draws and prints, and nobody else waits for it: see [`printer`].

pub mod bars;
pub mod escape;
pub mod feed;
pub(crate) mod html;
mod lines;
pub mod page;
pub mod printer;
pub mod tables;
mod words;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::mpsc;
use std::time::Duration;

use crate::engine::events::Timed;
use escape::escape;
use printer::PRINTER;

/// How long the end of the program waits for a reader that reads nothing. Other runs wait for this one meanwhile, and a
/// playbook for its status.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for one last sentence.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

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
    /// Bars on a terminal, and lines elsewhere.
    pub fn on_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Bars(Box::default()) } else { Self::Lines(lines::Lines::default()) }
    }

    /// Draws one event.
    pub fn draw(&mut self, timed: &Timed) {
        match self {
            Self::Json => {
                // A reader that has gone away must not stop an evacuation.
                if let Ok(line) = serde_json::to_string(timed) {
                    let _ = write_line(io::stdout(), &line);
                }
            }
            Self::Bars(bars) => bars.draw(timed),
            Self::Lines(lines) => lines.draw(timed),
            Self::Silent => {}
        }
    }
}

/// Prints a line on standard output, and waits until somebody has read it: for a result, while nothing else is to be
/// done.
///
/// # Errors
/// The system's, a closed pipe among them.
pub fn print_line(text: &str) -> io::Result<()> {
    let (sender, printed) = mpsc::channel();
    let text = text.to_owned();
    // The other end waits.
    PRINTER.post(move || drop(sender.send(write_line(io::stdout(), &text))));
    printed.recv().unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into()))
}

/// Prints a line on standard output when its turn comes: for a result while domains move, or have moved.
pub fn post_line(text: String) {
    // A reader that has gone away must not stop an evacuation.
    PRINTER.post(move || drop(write_line(io::stdout(), &text)));
}

/// Says something on standard error when its turn comes.
pub fn say(text: &str) {
    let text = escape(text).into_owned();
    // There is nowhere left to report an error to.
    PRINTER.post(move || drop(write_line(io::stderr(), &text)));
}

/// Has something drawn on standard error when its turn comes.
pub(crate) fn draw(job: impl FnOnce() + Send + 'static) {
    PRINTER.post(job);
}

/// The last thing that a program does: waits until all that was said is printed, for as long as somebody reads.
pub fn finish() {
    let unprinted = PRINTER.finish(PATIENCE);
    if unprinted > 0 {
        let text = format!("tsmig: the rest of the output, {unprinted} messages, was not read and is left out");
        let (sender, said) = mpsc::channel();
        // Standard error may be what nobody reads.
        std::thread::spawn(move || sender.send(write_line(io::stderr(), &text)));
        let _ = said.recv_timeout(LAST_PATIENCE);
    }
}

/// Ends the program's wait for its readers.
pub fn leave() {
    PRINTER.leave();
}

/// Says something and ends the program.
pub fn exit(text: &str, status: i32) -> ! {
    say(text);
    PRINTER.finish(LAST_PATIENCE);
    std::process::exit(status)
}

fn write_line(mut stream: impl Write, text: &str) -> io::Result<()> {
    // In one piece, so that other programs' lines are not mixed into it.
    stream.write_all(format!("{text}\n").as_bytes())?;
    stream.flush()
}
