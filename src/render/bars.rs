//! Bars on a terminal: one for each migration in flight, and one for the whole evacuation below them.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::summary;
use crate::event::{Event, Timed};
use crate::migration::{Phase, Progress};
use crate::plan::Technique;
use crate::report::DomainOutcome;
use crate::units::{Rate, size, span};

/// Width of a domain's name on its bar; a longer one is cut.
const NAME_WIDTH: usize = 16;

/// Draws events as bars.
#[derive(Default)]
pub struct Bars {
    screen: MultiProgress,
    total: Option<ProgressBar>,
    by_domain: HashMap<String, Bar>,
    /// Percent of each domain that has been launched; 100 where it has ended.
    percents: HashMap<String, u8>,
    domains: usize,
}

struct Bar {
    bar: ProgressBar,
    technique: Technique,
}

impl Bars {
    pub(super) fn draw(&mut self, timed: &Timed) {
        match &timed.event {
            Event::Start { domains, predicted_seconds, .. } => self.start(domains.len(), *predicted_seconds),
            Event::Launch { domain, technique } => self.launch(domain, *technique),
            Event::Phase { domain, phase } => self.phase(domain, *phase),
            Event::Progress { domain, progress } => self.progress(domain, progress),
            Event::Notice { message } => self.line(message),
            Event::Done(report) => {
                if let Some(Bar { bar, .. }) = self.by_domain.remove(&report.domain) {
                    bar.finish_and_clear();
                }
                self.percents.insert(report.domain.clone(), 100);
                let end = match (&report.outcome, &report.error) {
                    (DomainOutcome::Migrated, _) => format!("migrated in {}", span(report.seconds)),
                    (_, error) => error.clone().unwrap_or_default(),
                };
                let sign = if report.outcome == DomainOutcome::Migrated { "✓" } else { "✗" };
                self.line(&format!("{sign} {:NAME_WIDTH$} {end}", report.domain));
                self.advance();
            }
            Event::Report(_) => {
                if let Some(total) = self.total.take() {
                    total.finish_and_clear();
                }
                self.line(&summary(&timed.event).unwrap_or_default());
            }
        }
    }

    fn start(&mut self, domains: usize, predicted_seconds: Option<f64>) {
        self.domains = domains;
        let total = self.screen.add(ProgressBar::new(100));
        total.set_style(style("{prefix:16!} [{bar:20}] {percent:>3} %  {elapsed} {msg}"));
        total.set_prefix("total");
        if let Some(seconds) = predicted_seconds {
            total.set_message(format!("of {} predicted", span(seconds)));
        }
        total.enable_steady_tick(std::time::Duration::from_secs(1));
        self.total = Some(total);
    }

    fn launch(&mut self, domain: &str, technique: Technique) {
        let bar = ProgressBar::new(100);
        let bar = match &self.total {
            Some(total) => self.screen.insert_before(total, bar),
            None => self.screen.add(bar),
        };
        bar.set_style(style("{prefix:16!} [{bar:20}] {percent:>3} %  {wide_msg}"));
        bar.set_prefix(domain.to_owned());
        bar.set_message(format!("{technique}: starting"));
        self.by_domain.insert(domain.to_owned(), Bar { bar, technique });
    }

    fn phase(&self, domain: &str, phase: Phase) {
        let Some(Bar { bar, technique }) = self.by_domain.get(domain) else { return };
        bar.set_message(match phase {
            Phase::Starting => format!("{technique}: starting"),
            Phase::PreCopy if *technique == Technique::PostCopy => "post-copy: switching".to_owned(),
            Phase::PreCopy => "pre-copy".to_owned(),
            Phase::PostCopy => "post-copy: runs at the destination".to_owned(),
            Phase::Checking => "checking both hosts".to_owned(),
        });
    }

    fn progress(&mut self, domain: &str, progress: &Progress) {
        self.percents.insert(domain.to_owned(), progress.percent);
        if let Some(Bar { bar, technique }) = self.by_domain.get(domain) {
            bar.set_position(progress.percent.into());
            bar.set_message(format!("{technique}{}", details(progress)));
        }
        self.advance();
    }

    fn advance(&self) {
        if let Some(total) = &self.total {
            let sum: u64 = self.percents.values().map(|percent| u64::from(*percent)).sum();
            total.set_position(sum / self.domains.max(1) as u64);
        }
    }

    fn line(&self, text: &str) {
        // Where the terminal has gone away there is nobody to tell.
        let _ = self.screen.println(text);
    }
}

/// Short enough for a bar on 80 columns.
fn details(progress: &Progress) -> String {
    let pass = if progress.pass > 1 { format!(" pass {}", progress.pass) } else { String::new() };
    let rate = Rate::from_bits_per_second(progress.bits_per_second);
    let eta = progress.eta_seconds.map(|eta| format!(" {}", span(eta))).unwrap_or_default();
    format!("{pass} {} left {rate}/s{eta}", size(progress.remaining))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).map_or_else(|_| ProgressStyle::default_bar(), |s| s.progress_chars("=> "))
}
