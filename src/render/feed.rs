//! The engine's events on their way to the [`Screen`], which draws them on the printing thread: the engine never waits
//! for whoever reads. What a reader does not take in time is left out from a bound on, and that is said.

use std::sync::{Arc, Mutex, PoisonError};

use super::Screen;
use super::printer::{PRINTER, Printer};
use crate::engine::events::{Event, Notice, Timed};

/// From this many that wait on, progress is left out: some minutes of a handful of migrations, below a megabyte.
const ROOM: usize = 2048;
/// From this many on, everything is left out but the report.
const LAST_ROOM: usize = 8 * ROOM;

/// The way of events to a screen.
pub struct Feed {
    printer: Printer,
    screen: Option<Arc<Mutex<Screen>>>,
    /// What was left out since the last event that was not.
    missed_progress: usize,
    missed_others: usize,
}

impl Feed {
    /// To this screen, on the thread that prints everything else.
    pub fn to(screen: Screen) -> Self {
        Self::by(PRINTER.clone(), screen)
    }

    /// To this screen, on that thread.
    pub fn by(printer: Printer, screen: Screen) -> Self {
        Self { printer, screen: Some(Arc::new(Mutex::new(screen))), missed_progress: 0, missed_others: 0 }
    }

    /// Has an event drawn; never waits.
    pub fn tell(&mut self, timed: &Timed) {
        let waiting = self.printer.waiting();
        match timed.event {
            Event::Progress { .. } if waiting >= ROOM => return self.missed_progress += 1,
            Event::Progress { .. } | Event::Report(_) => {}
            _ if waiting >= LAST_ROOM => return self.missed_others += 1,
            _ => {}
        }
        if self.missed_progress + self.missed_others > 0 {
            let notice = Notice::Missed { progress: self.missed_progress, others: self.missed_others };
            (self.missed_progress, self.missed_others) = (0, 0);
            self.post(Timed { elapsed_seconds: timed.elapsed_seconds, event: Event::Notice(notice) });
        }
        self.post(timed.clone());
    }

    fn post(&self, timed: Timed) {
        let Some(screen) = self.screen.clone() else { return };
        self.printer.post(move || screen.lock().unwrap_or_else(PoisonError::into_inner).draw(&timed));
    }
}

/// Bars wait for the terminal even to be put away, so that is left to the printing thread as well.
impl Drop for Feed {
    fn drop(&mut self) {
        let screen = self.screen.take();
        self.printer.post(move || drop(screen));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use indicatif::{InMemoryTerm, ProgressDrawTarget};

    use super::*;
    use crate::engine::migration::Progress;
    use crate::render::bars::{Bars, Terminal};

    #[test]
    fn what_waits_for_a_reader_is_bounded_and_what_is_left_out_is_said() {
        let printer = Printer::default();
        let (reads, reader) = channel::<()>();
        let (stands, stopped) = channel();
        printer.post(move || {
            stands.send(()).unwrap();
            let _ = reader.recv();
        });
        stopped.recv().unwrap();
        let term = InMemoryTerm::new(24, 120);
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        let bars = Bars::on(target, Terminal { lines: 24, columns: 120, colors: false });
        let mut feed = Feed::by(printer.clone(), Screen::Bars(Box::new(bars)));
        let mut tell = |event| feed.tell(&Timed { elapsed_seconds: 0.0, event });
        let domain = "db".to_owned();
        for _ in 0..ROOM + 7 {
            tell(Event::Progress { domain: domain.clone(), progress: Progress::default() });
        }
        tell(Event::Notice(Notice::Unrecorded { error: "no space".to_owned() }));
        assert_eq!(printer.waiting(), ROOM + 2);
        for _ in 0..LAST_ROOM {
            tell(Event::Phase { domain: domain.clone(), phase: crate::domain::Phase::PreCopy });
        }
        assert_eq!(printer.waiting(), LAST_ROOM);
        drop(reads);
        assert_eq!(printer.finish(Duration::MAX), 0);
        let shown = term.contents();
        assert!(shown.contains("not read in time: 7 progress events were left out\nwarning: the journal"), "{shown}");
        tell(Event::Notice(Notice::Unrecorded { error: "later".to_owned() }));
        printer.finish(Duration::MAX);
        let shown = term.contents();
        assert!(shown.contains(&format!("left out, and {} others", ROOM + 2)), "{shown}");
    }
}
