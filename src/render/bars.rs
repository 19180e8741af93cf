//! Bars on a terminal: one for each migration in flight, as many as the screen has room for, and below them one for the
//! whole evacuation. What has ended scrolls away above.

use std::time::Duration;

use console::{Style, Term};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::escape::{escape, escape_line};
use super::tables::outcome_line;
use crate::domain::{Phase, Technique};
use crate::engine::events::{Event, Timed};
use crate::engine::migration::Progress;
use crate::report::{DomainOutcome, DomainReport};
use crate::units::{rate, size, span};

/// Lines of the screen that are not rows: the total, a summary of what has no row, and two for what was there before.
const OTHER_LINES: u16 = 4;
/// From this many columns on, names and bars are longer.
const WIDE: u16 = 120;

/// Draws events as bars.
pub struct Bars {
    screen: MultiProgress,
    terminal: Terminal,
    style: ProgressStyle,
    /// Columns that a row has for words.
    room: usize,
    total: ProgressBar,
    /// In launch order; the first of them have rows.
    in_flight: Vec<Flight>,
    /// The row of all that have none of their own.
    others: Option<ProgressBar>,
    domains: usize,
    moved: usize,
    ended: usize,
    predicted: String,
    /// When it is forecast to end, in words.
    forecast: String,
}

/// What the bars are drawn on.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Lines.
    pub lines: u16,
    /// Columns.
    pub columns: u16,
    /// Whether colours are shown.
    pub colors: bool,
}

impl Terminal {
    fn of_stderr() -> Self {
        let (lines, columns) = Term::stderr().size();
        Self { lines, columns, colors: console::colors_enabled_stderr() }
    }
}

struct Flight {
    domain: String,
    technique: Technique,
    phase: Phase,
    progress: Progress,
    /// Its own until it ends: a row that is handed on can be drawn with one domain's name and another's numbers.
    row: Option<ProgressBar>,
}

impl Default for Bars {
    fn default() -> Self {
        Self::on(ProgressDrawTarget::stderr(), Terminal::of_stderr())
    }
}

impl Bars {
    /// Bars on a terminal.
    pub fn on(target: ProgressDrawTarget, terminal: Terminal) -> Self {
        Self {
            screen: MultiProgress::with_draw_target(target),
            terminal,
            style: ProgressStyle::default_bar(),
            room: 0,
            total: ProgressBar::hidden(),
            in_flight: Vec::new(),
            others: None,
            domains: 0,
            moved: 0,
            ended: 0,
            predicted: String::new(),
            forecast: String::new(),
        }
    }

    pub(super) fn draw(&mut self, timed: &Timed) {
        match &timed.event {
            Event::Start { domains, predicted_seconds, .. } => self.start(domains, *predicted_seconds),
            Event::Launch { domain, technique, .. } => self.launch(domain, *technique),
            Event::Adopt { domain, technique, found, .. } => {
                self.line(&format!("{domain}: {found}"));
                self.launch(domain, *technique);
            }
            Event::Phase { domain, phase } => self.with(domain, |flight| flight.phase = *phase),
            Event::Progress { domain, progress } => self.with(domain, |flight| {
                // A migration that is tried again begins anew; its bar waits for it.
                let percent = progress.percent.max(flight.progress.percent);
                flight.progress = Progress { percent, ..*progress };
            }),
            Event::Forecast { remaining_seconds } => {
                self.forecast =
                    remaining_seconds.map(|rest| format!(", about {} to go", span(rest))).unwrap_or_default();
            }
            Event::Done(report) => self.done(report),
            Event::Report(report) => {
                let rows = self.in_flight.drain(..).filter_map(|flight| flight.row);
                rows.chain(self.others.take()).for_each(|row| row.finish_and_clear());
                self.total.finish_and_clear();
                self.line(&outcome_line(report));
                return;
            }
            Event::Notice(notice) => self.line(&notice.to_string()),
        }
        self.update();
    }

    fn start(&mut self, domains: &[String], predicted_seconds: Option<f64>) {
        let wide = self.terminal.columns >= WIDE;
        let longest = domains.iter().map(|domain| console::measure_text_width(&escape_line(domain))).max().unwrap_or(0);
        let name = longest.clamp(5, if wide { 32 } else { 16 });
        let bar = if wide { 30 } else { 10 };
        self.style = style(&format!("{{prefix:{name}!}} [{{bar:{bar}}}] {{percent:>3}} %  {{wide_msg}}"));
        self.room = usize::from(self.terminal.columns).saturating_sub(name + bar + 11);
        self.domains = domains.len();
        self.predicted = predicted_seconds.map(|s| format!(" of {} predicted", span(s))).unwrap_or_default();
        self.total = self.screen.add(ProgressBar::new(100));
        self.total
            .set_style(style(&format!("{{prefix:{name}!}} [{{bar:{bar}}}] {{percent:>3}} %  {{elapsed}}{{wide_msg}}")));
        self.total.set_prefix("total");
        self.total.enable_steady_tick(Duration::from_secs(1));
    }

    fn launch(&mut self, domain: &str, technique: Technique) {
        self.land(domain);
        self.in_flight.push(Flight {
            domain: domain.to_owned(),
            technique,
            phase: Phase::Starting,
            progress: Progress::default(),
            row: None,
        });
    }

    /// Takes a domain off the screen.
    fn land(&mut self, domain: &str) {
        let Some(place) = self.in_flight.iter().position(|flight| flight.domain == domain) else { return };
        if let Some(row) = self.in_flight.remove(place).row {
            clear(&self.screen, &row);
        }
    }

    fn with(&mut self, domain: &str, change: impl FnOnce(&mut Flight)) {
        if let Some(flight) = self.in_flight.iter_mut().find(|flight| flight.domain == domain) {
            change(flight);
        }
    }

    fn done(&mut self, report: &DomainReport) {
        self.land(&report.domain);
        self.ended += 1;
        let (sign, color, end) = match (report.outcome, report.error()) {
            (DomainOutcome::Migrated, _) => {
                self.moved += 1;
                ("✓", Style::new().green(), format!("migrated in {}", span(report.seconds)))
            }
            (_, error) => ("✗", Style::new().red(), error.unwrap_or_default()),
        };
        let sign = color.force_styling(self.terminal.colors).apply_to(sign);
        self.painted_line(&format!("{sign} {}", escape(&format!("{}: {end}", report.domain))));
    }

    /// Brings the bars in line with what is in flight.
    fn update(&mut self) {
        let percent = |flights: &[Flight]| flights.iter().map(|f| u64::from(f.progress.percent)).sum::<u64>();
        let sum = percent(&self.in_flight) + 100 * self.ended as u64;
        let room = usize::from(self.terminal.lines.saturating_sub(OTHER_LINES)).max(1);
        let rows = room.min(self.in_flight.len());
        let (shown, rest) = self.in_flight.split_at_mut(rows);
        for flight in shown {
            let words = flight.words(self.room);
            let below = self.others.as_ref().unwrap_or(&self.total);
            let row = flight.row.get_or_insert_with(|| {
                let name = escape_line(&flight.domain).into_owned();
                self.screen.insert_before(below, row(name, &self.style))
            });
            row.set_position(flight.progress.percent.into());
            row.set_message(words);
        }
        if !rest.is_empty() {
            let row = self
                .others
                .get_or_insert_with(|| self.screen.insert_before(&self.total, row("others".to_owned(), &self.style)));
            row.set_position(percent(rest) / rest.len() as u64);
            row.set_message(format!("{} more on their way", rest.len()));
        } else if let Some(row) = self.others.take() {
            clear(&self.screen, &row);
        }
        self.total.set_position(sum / self.domains.max(1) as u64);
        let waiting = self.domains.saturating_sub(self.ended + self.in_flight.len());
        let (predicted, forecast) = (&self.predicted, &self.forecast);
        self.total
            .set_message(format!("{predicted}{forecast}; {} of {} moved, {waiting} waiting", self.moved, self.domains));
    }

    fn line(&self, text: &str) {
        self.painted_line(&escape(text));
    }

    /// A line of which nothing is text of others any more.
    fn painted_line(&self, text: &str) {
        let options = textwrap::Options::new(self.terminal.columns.into()).subsequent_indent("    ");
        // Where the terminal has gone away there is nobody to tell.
        let _ = self.screen.println(textwrap::fill(text, options));
    }
}

/// A row that is drawn from its first numbers on.
fn row(name: String, style: &ProgressStyle) -> ProgressBar {
    ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::hidden()).with_style(style.clone()).with_prefix(name)
}

fn clear(screen: &MultiProgress, row: &ProgressBar) {
    row.finish_and_clear();
    screen.remove(row);
}

impl Flight {
    /// What it is doing, with as many numbers as there is room for.
    fn words(&self, room: usize) -> String {
        let Progress { pass, remaining, bits_per_second, eta_seconds, .. } = self.progress;
        let mut words = match self.phase {
            // Nothing has been measured yet.
            Phase::PreCopy | Phase::PostCopy if pass == 0 => return self.technique.to_string(),
            Phase::Starting => return format!("{}: setting up", self.technique),
            Phase::Checking => return "checking both hosts".to_owned(),
            Phase::Recovering => return "post-copy failed: being resumed".to_owned(),
            Phase::PreCopy if self.technique == Technique::PostCopy => return "post-copy: switching over".to_owned(),
            Phase::PreCopy if self.technique == Technique::Hybrid && pass > 1 => {
                return "hybrid: switching over".to_owned();
            }
            Phase::PreCopy if pass > 1 => format!("extra pass {pass}: {} left", size(remaining)),
            Phase::PreCopy => format!("pre-copy: {} left", size(remaining)),
            Phase::PostCopy => format!("post-copy: {} left", size(remaining)),
        };
        for number in eta_seconds.map(|eta| format!("{} to go", span(eta))).into_iter().chain([rate(bits_per_second)]) {
            if words.len() + 2 + number.len() <= room {
                words += &format!(", {number}");
            }
        }
        words
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).map_or_else(|_| ProgressStyle::default_bar(), |s| s.progress_chars("=> "))
}
