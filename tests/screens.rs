//! What a person sees while domains move: scripted events drawn on a terminal in memory, looked at as text.
#![allow(clippy::unwrap_used, reason = "a test that unwraps None or Err fails, as it should")]

use std::io;
use std::sync::{Arc, Mutex};

use indicatif::{InMemoryTerm, ProgressDrawTarget, TermLike};
use tsmig::domain::{Phase, Technique};
use tsmig::engine::events::{Event, Timed};
use tsmig::engine::migration::Progress;
use tsmig::failure::{Cause, Failure};
use tsmig::render::Screen;
use tsmig::render::bars::{Bars, Terminal};
use tsmig::render::page::Page;
use tsmig::render::tables;
use tsmig::report::{self, DomainOutcome, DomainReport, Job, Outcome, Report};

/// A migration that ended in these words of libvirt's.
fn failure(error: &str) -> Failure {
    let cause = Cause::Host { host: "host-b".to_owned(), error: error.to_owned() };
    Failure::Remains { host: "host-a".to_owned(), cause }
}

/// A terminal that keeps all that it has shown.
#[derive(Debug)]
struct Recording {
    term: InMemoryTerm,
    shown: Arc<Mutex<Vec<String>>>,
}

impl TermLike for Recording {
    fn width(&self) -> u16 {
        self.term.width()
    }

    fn height(&self) -> u16 {
        self.term.height()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_left(n)
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.term.write_line(s)
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.term.write_str(s)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.term.flush()?;
        self.shown.lock().unwrap().push(self.term.contents());
        Ok(())
    }
}

/// A screen on which events are drawn, and what can be seen on it.
struct Look {
    term: InMemoryTerm,
    shown: Arc<Mutex<Vec<String>>>,
    screen: Screen,
}

impl Look {
    fn new(lines: u16, columns: u16, colors: bool) -> Self {
        let (term, shown) = (InMemoryTerm::new(lines, columns), Arc::default());
        let recording = Recording { term: term.clone(), shown: Arc::clone(&shown) };
        // Without a limit on its rate: no draw is left out.
        let target = ProgressDrawTarget::term_like(Box::new(recording));
        let bars = Bars::on(target, Terminal { lines, columns, colors });
        Self { term, shown, screen: Screen::Bars(Box::new(bars)) }
    }

    fn show(&mut self, event: Event) -> String {
        self.screen.draw(&Timed { elapsed_seconds: 0.0, event });
        self.term.contents()
    }

    fn start(&mut self, domains: &[&str]) {
        self.show(Event::Start {
            job: Job::Evacuate,
            source: "host-a".to_owned(),
            destinations: vec!["host-b".to_owned()],
            domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
            predicted_seconds: Some(39.0),
        });
    }

    fn launch(&mut self, domain: &str, technique: Technique) {
        self.show(Event::Launch { domain: domain.to_owned(), destination: "host-b".to_owned(), technique });
    }

    fn phase(&mut self, domain: &str, phase: Phase) -> String {
        self.show(Event::Phase { domain: domain.to_owned(), phase })
    }

    fn progress(&mut self, domain: &str, percent: u8, pass: u64) -> String {
        let progress = Progress {
            percent,
            pass,
            transferred: 60 << 20,
            remaining: 55 << 20,
            bits_per_second: 47.61e6,
            dirty_bytes_per_second: None,
            eta_seconds: Some(9.69),
        };
        self.show(Event::Progress { domain: domain.to_owned(), progress })
    }

    fn done(&mut self, domain: &str, outcome: DomainOutcome, error: Option<&str>) -> String {
        self.show(Event::Done(Box::new(DomainReport {
            domain: domain.to_owned(),
            uuid: String::new(),
            destination: Some("host-b".to_owned()),
            technique: Some(Technique::PreCopy),
            outcome,
            seconds: 20.3,
            downtime_seconds: Some(0.3),
            bytes: 120 << 20,
            passes: 2,
            failure: error.map(failure),
            paused_by: None,
            notice: None,
        })))
    }
}

/// Four domains of which one is there, one is on its way each way, and one waits.
fn mixed(look: &mut Look) -> String {
    look.start(&["upload-1", "upload-2", "mirror-1", "mirror-2"]);
    look.launch("upload-1", Technique::PostCopy);
    look.launch("upload-2", Technique::PostCopy);
    look.phase("upload-1", Phase::PostCopy);
    look.done("upload-1", DomainOutcome::Migrated, None);
    look.launch("mirror-1", Technique::PreCopy);
    look.phase("upload-2", Phase::PostCopy);
    look.progress("upload-2", 52, 2);
    look.phase("mirror-1", Phase::PreCopy);
    look.progress("mirror-1", 48, 1)
}

#[test]
fn on_80_columns_each_migration_has_a_line_with_what_matters() {
    let seen = mixed(&mut Look::new(24, 80, false));
    assert_eq!(
        seen,
        "\
✓ upload-1: migrated in 20.3 s
upload-2 [=====>    ]  52 %  post-copy: 55.0 MiB left, 9.7 s to go, 47.6 Mbit/s
mirror-1 [====>     ]  48 %  pre-copy: 55.0 MiB left, 9.7 s to go, 47.6 Mbit/s
total    [=====>    ]  50 %  0s of 39.0 s predicted; 1 of 4 moved, 1 waiting"
    );
}

#[test]
fn no_moment_shows_one_domain_with_another_ones_numbers() {
    let mut look = Look::new(7, 80, false);
    let progress = [("db-1", 96), ("db-2", 94), ("db-3", 92), ("db-4", 90), ("db-5", 88)];
    let names = progress.map(|(name, _)| name);
    look.start(&names);
    for (name, percent) in progress {
        look.launch(name, Technique::PreCopy);
        look.phase(name, Phase::PreCopy);
        look.progress(name, percent, 1);
    }
    for name in names {
        look.done(name, DomainOutcome::Migrated, None);
    }
    let shown = std::mem::take(&mut *look.shown.lock().unwrap());
    let mut seen = 0;
    for row in shown.iter().flat_map(|screen| screen.lines()).filter(|line| line.contains('[')) {
        for (name, percent) in progress.iter().filter(|(name, _)| row.starts_with(name)) {
            assert!(row.contains("]   0 %") || row.contains(&format!("]  {percent} %")), "{name}: {row}");
            seen += 1;
        }
    }
    assert!(seen > names.len(), "{shown:?}");
}

#[test]
fn on_200_columns_the_bars_are_longer_and_nothing_else_changes() {
    let seen = mixed(&mut Look::new(50, 200, false));
    assert_eq!(
        seen,
        "\
✓ upload-1: migrated in 20.3 s
upload-2 [===============>              ]  52 %  post-copy: 55.0 MiB left, 9.7 s to go, 47.6 Mbit/s
mirror-1 [==============>               ]  48 %  pre-copy: 55.0 MiB left, 9.7 s to go, 47.6 Mbit/s
total    [===============>              ]  50 %  0s of 39.0 s predicted; 1 of 4 moved, 1 waiting"
    );
}

#[test]
fn a_number_that_has_no_room_is_left_out_rather_than_cut() {
    let mut look = Look::new(24, 60, false);
    let seen = mixed(&mut look);
    assert!(seen.contains("pre-copy: 55.0 MiB left"), "{seen}");
    assert!(!seen.contains("47") && seen.lines().all(|line| line.chars().count() <= 60), "{seen}");
}

#[test]
fn forty_migrations_at_once_fit_a_screen_of_24_lines() {
    let names: Vec<String> = (1..=40).map(|i| format!("guest-{i:02}")).collect();
    let mut look = Look::new(24, 80, false);
    look.start(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut seen = String::new();
    for (i, name) in names.iter().enumerate() {
        look.launch(name, Technique::PreCopy);
        look.phase(name, Phase::PreCopy);
        seen = look.progress(name, i as u8, 1);
    }
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(lines.len(), 22, "{seen}");
    assert!(lines[0].starts_with("guest-01") && lines[19].starts_with("guest-20"), "in launch order: {seen}");
    assert_eq!(lines[20], "others   [==>       ]  29 %  20 more on their way");
    // A slow machine may be in its second second by now.
    assert!(
        lines[21].starts_with("total    [=>        ]  19 %  ")
            && lines[21].ends_with("s of 39.0 s predicted; 0 of 40 moved, 0 waiting"),
        "{seen}"
    );
    for name in &names[..25] {
        seen = look.done(name, DomainOutcome::Migrated, None);
    }
    assert!(seen.lines().count() <= 24 && seen.contains("25 of 40 moved"), "{seen}");
    assert!(seen.contains("guest-40 [") && !seen.contains("others"), "now there is room for all: {seen}");
}

#[test]
fn an_extra_pass_is_named_and_the_percentage_never_goes_back() {
    let mut look = Look::new(24, 80, false);
    look.start(&["db"]);
    look.launch("db", Technique::PreCopy);
    look.phase("db", Phase::PreCopy);
    look.progress("db", 97, 1);
    let seen = look.progress("db", 60, 3);
    assert!(seen.contains(" 97 %  extra pass 3: 55.0 MiB left"), "{seen}");
}

#[test]
fn what_failed_is_told_whole_and_wraps_at_words() {
    let mut look = Look::new(24, 80, false);
    look.start(&["db"]);
    look.launch("db", Technique::PreCopy);
    let error = "operation failed: guest CPU doesn't match specification: missing features: avx512f,avx512dq";
    let seen = look.done("db", DomainOutcome::Remains, Some(error));
    assert!(seen.starts_with("✗ db: it is at host-a as before: host-b: operation failed"), "{seen}");
    let words: String = seen.lines().take(2).map(str::trim).collect::<Vec<_>>().join(" ");
    assert!(words.ends_with("avx512f,avx512dq"), "{seen}");
}

#[test]
fn colour_marks_only_how_a_migration_ended() {
    let painted = |colors| {
        let mut look = Look::new(24, 80, colors);
        mixed(&mut look);
        look.done("mirror-1", DomainOutcome::Remains, Some("operation failed"));
        String::from_utf8(look.term.contents_formatted()).unwrap()
    };
    let colored = painted(true);
    assert!(colored.contains("\u{1b}[32m✓") && colored.contains("\u{1b}[31m✗"), "{colored:?}");
    assert_eq!(colored.matches("\u{1b}[3").count(), 2, "nothing else has a colour: {colored:?}");
    assert!(!painted(false).contains("\u{1b}[3"));
}

#[test]
fn text_of_others_never_reaches_the_terminal_raw() {
    let evil = "db\u{1b}[2J\u{202e}bd\u{9b}31m";
    let error = format!("libvirt says \u{7}{evil}\nhost-a evacuated: 1 of 1 domains");
    let mut look = Look::new(24, 200, true);
    look.start(&[evil]);
    look.launch(evil, Technique::PreCopy);
    let seen = look.progress(evil, 40, 1);
    assert!(seen.contains("db\\u{1b}[2J"), "{seen}");
    let seen = look.done(evil, DomainOutcome::Remains, Some(&error));
    assert!(seen.contains("says \\u{7}db\\u{1b}[2J\\u{202e}bd\\u{9b}31m"), "{seen}");

    let domain = DomainReport {
        domain: evil.to_owned(),
        uuid: String::new(),
        destination: Some("host-b".to_owned()),
        technique: Some(Technique::PreCopy),
        outcome: DomainOutcome::Remains,
        seconds: 1.0,
        downtime_seconds: None,
        bytes: 0,
        passes: 0,
        failure: Some(failure(&error)),
        paused_by: None,
        notice: None,
    };
    let report = Report {
        schema: report::SCHEMA.to_owned(),
        job: Job::Evacuate,
        source: evil.to_owned(),
        destinations: vec!["host-b\u{1b}[31m".to_owned()],
        outcome: Outcome::Failed,
        total_seconds: 1.0,
        predicted_seconds: None,
        domains: vec![domain],
    };
    for colors in [false, true] {
        for width in [None, Some(80)] {
            let text = tables::report_on(&report, &Page { width, colors });
            // Its own colours are whole lines.
            let rest = text.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
            assert!(!rest.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
            // Further in on a narrow page, whose lines are wrapped; at the beginning of a line on none.
            let forged = |line: &str| line.starts_with("    ") && line.trim_start().starts_with("host-a evacuated");
            assert!(rest.lines().any(forged), "{text:?}");
            if !colors {
                assert_eq!(rest, text);
            }
        }
    }
}
