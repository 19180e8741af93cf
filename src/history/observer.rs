//! What a run shows for the next one, from its events. Pure.

use indexmap::IndexMap;

use crate::domain::{Phase, Technique};
use crate::engine::events::{Event, Timed};
use crate::engine::migration::Progress;
use crate::experience::record::{Dirtied, Hosts, Migrated, Record, Shown};
use crate::forecast::Pace;
use crate::profile::Profile;
use crate::report::{DomainOutcome, DomainReport};
use crate::setups::{Setups, first_byte_at};

/// No more passes of a migration are kept.
const PASSES: usize = 8;

/// Listens to a run.
pub(crate) struct Observer {
    hosts: Hosts,
    source: Profile,
    in_flight: IndexMap<String, Flight>,
    seen: Vec<Record>,
    setups: Setups,
}

/// A migration in flight.
struct Flight {
    technique: Technique,
    launched_at: f64,
    /// When its first byte crossed.
    begun_at: Option<f64>,
    /// Of each pass that has ended: when, and bytes that had crossed by then.
    ends: Vec<(u64, f64, u64)>,
    /// The pass that was begun last, and bytes that will have crossed by its end.
    begun: Option<(u64, u64)>,
    last: Option<(f64, Progress)>,
    /// Whether it is in post-copy, which makes no passes.
    pulls: bool,
}

impl Observer {
    /// Of a run from a host with this profile.
    pub(crate) fn new(hosts: Hosts, source: Profile) -> Self {
        Self { hosts, source, in_flight: IndexMap::new(), seen: Vec::new(), setups: Setups::default() }
    }

    pub(crate) fn hear(&mut self, timed: &Timed) {
        self.setups.hear(timed);
        let now = timed.elapsed_seconds;
        match &timed.event {
            Event::Launch { domain, technique, .. } => {
                let flight = Flight {
                    technique: *technique,
                    launched_at: now,
                    begun_at: None,
                    ends: Vec::new(),
                    begun: None,
                    last: None,
                    pulls: false,
                };
                self.in_flight.insert(domain.clone(), flight);
            }
            Event::Phase { domain, phase: Phase::PostCopy } => {
                self.in_flight.get_mut(domain).into_iter().for_each(|flight| flight.pulls = true);
            }
            Event::Progress { domain, progress } => {
                self.in_flight.get_mut(domain).into_iter().for_each(|flight| flight.progress(now, progress));
            }
            Event::Done(report) => {
                if let Some(flight) = self.in_flight.shift_remove(&report.domain) {
                    let migrated = self.migrated(&flight, report).filter(|_| report.outcome == DomainOutcome::Migrated);
                    self.seen.extend(migrated.map(|migrated| self.hosts.record(Shown::Migration(migrated))));
                }
            }
            _ => {}
        }
    }

    /// All that was seen, with how fast memory crossed.
    pub(crate) fn finish(mut self, pace: Option<Pace>) -> Vec<Record> {
        let run =
            pace.zip(self.setups.seconds()).map(|(Pace { pace, seconds, link_bits_per_second }, (setup, apart))| {
                self.hosts.record(Shown::Run {
                    pace,
                    seconds,
                    setup_seconds: setup,
                    setups_apart_seconds: apart,
                    link_bits_per_second,
                })
            });
        self.seen.extend(run);
        self.seen
    }

    fn migrated(&self, flight: &Flight, report: &DomainReport) -> Option<Migrated> {
        let domain = self.source.domain(&report.uuid)?;
        let technique = report.technique.unwrap_or(flight.technique);
        // Of one that somebody else has moved nothing was seen.
        let (first_pass, dirtied) = flight.passes(technique, report.bytes).filter(|(crossed, _)| *crossed > 0)?;
        Some(Migrated {
            domain: domain.name.clone(),
            uuid: domain.uuid.clone(),
            technique,
            memory: domain.memory_bytes,
            resident: domain.backed_bytes(),
            crossed: first_pass,
            traffic_bits_per_second: domain.outbound_bits_per_second + domain.inbound_bits_per_second,
            dirtied,
        })
    }
}

impl Flight {
    fn progress(&mut self, now: f64, progress: &Progress) {
        if progress.transferred > 0 {
            self.begun_at.get_or_insert(first_byte_at(now, progress).max(self.launched_at));
        }
        if self.pulls && self.last.is_some() {
            return;
        }
        if let Some((at, last)) = self.last.filter(|(_, last)| progress.pass > last.pass && last.pass > 0) {
            // Somewhere between the two: no later than what was left of it had crossed.
            let crossed = progress.transferred.min(last.transferred.saturating_add(last.remaining));
            let span = progress.transferred.saturating_sub(last.transferred) as f64;
            let part = if span > 0.0 { (crossed - last.transferred) as f64 / span } else { 1.0 };
            self.ends.push((last.pass, at + part * (now - at), crossed));
            self.begun = Some((progress.pass, progress.transferred.saturating_add(progress.remaining)));
        }
        self.last = Some((now, *progress));
    }

    /// What the first pass sent, and what each of the others was to send, as far as they were seen; of a post-copy, all.
    /// `None` if nothing was seen.
    fn passes(&self, technique: Technique, all: u64) -> Option<(u64, Vec<Dirtied>)> {
        let (_, last_seen) = self.last?;
        // Launched as a pre-copy or a hybrid, or turned into a pre-copy because post-copy was not possible.
        let makes_passes = [technique, self.technique].iter().any(|technique| *technique != Technique::PostCopy);
        let first = self.ends.first().filter(|(pass, _, _)| *pass == 1 && makes_passes);
        let Some(&(_, first_end, first_pass)) = first else { return Some((all, Vec::new())) };
        let begun = self.begun_at.unwrap_or(self.launched_at);
        let mut dirtied = Vec::new();
        let mut before = (1, begun, first_end, first_pass);
        // The end of the last pass is that of the migration, or would have been, if the guest pulled the rest.
        let would_have =
            self.begun.filter(|(pass, _)| *pass == last_seen.pass).map(|(pass, crossed)| (pass, f64::NAN, crossed));
        let last = if technique == Technique::PreCopy { Some((last_seen.pass, f64::NAN, all)) } else { would_have };
        let ends = self.ends[1..].iter().copied().chain(last);
        for (pass, end, crossed) in ends.take(PASSES) {
            let (earlier, from, to, sent) = before;
            if pass == earlier + 1 && crossed >= sent {
                dirtied.push(Dirtied { seconds: to - from, bytes: crossed - sent });
            }
            before = (pass, to, end, crossed);
        }
        Some((first_pass, dirtied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainState;
    use crate::experience::store::tests::hosts;
    use crate::profile::fixture;

    const MIB: u64 = 1 << 20;

    fn observed(technique: Technique, progress: &[(f64, u64, u64, u64)], all: u64) -> Migrated {
        let mut observer = Observer::new(hosts("a", "b"), fixture::host("a", &[("x", "x", DomainState::Running)]));
        let mut hear = |elapsed_seconds, event| observer.hear(&Timed { elapsed_seconds, event });
        hear(1.0, Event::Launch { domain: "x".to_owned(), destination: "b".to_owned(), technique });
        for &(at, pass, transferred, remaining) in progress {
            let (transferred, remaining) = (transferred * MIB, remaining * MIB);
            let progress = Progress {
                pass,
                transferred,
                remaining,
                bits_per_second: 8.0 * MIB as f64 * 10.0,
                ..Progress::default()
            };
            hear(at, Event::Progress { domain: "x".to_owned(), progress });
        }
        let report = DomainReport::new("x", "x", DomainOutcome::Migrated);
        let report = DomainReport { technique: Some(technique), bytes: all * MIB, ..report };
        hear(20.0, Event::Done(Box::new(report)));
        let pace = Pace { pace: 0.9, seconds: 10.0, link_bits_per_second: 1e8 };
        match observer.finish(Some(pace)).as_slice() {
            [
                Record { shown: Shown::Migration(migrated), .. },
                Record { shown: Shown::Run { setup_seconds, .. }, .. },
            ] => {
                assert!((setup_seconds - 0.5).abs() < 1e-9, "{setup_seconds}");
                migrated.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pre_copy_shows_its_first_pass_and_what_each_pass_left() {
        // At 10 MiB/s: a first pass of 100 MiB from 1.5 s on, one of 20 MiB, and 4 MiB at the end.
        let seen = [(2.0, 1, 5, 95), (11.0, 1, 95, 5), (12.0, 2, 105, 15), (13.0, 2, 115, 5), (14.0, 3, 122, 2)];
        let migrated = observed(Technique::PreCopy, &seen, 124);
        assert_eq!(migrated.crossed, 100 * MIB);
        let bytes: Vec<_> = migrated.dirtied.iter().map(|pass| pass.bytes / MIB).collect();
        assert_eq!(bytes, [20, 4]);
        let seconds: Vec<_> = migrated.dirtied.iter().map(|pass| pass.seconds).collect();
        assert!((seconds[0] - 10.0).abs() < 0.01 && (seconds[1] - 2.2).abs() < 0.2, "{seconds:?}");
    }

    #[test]
    fn a_pre_copy_that_was_switched_shows_what_the_passes_before_that_left() {
        let mut observer = Observer::new(hosts("a", "b"), fixture::host("a", &[("x", "x", DomainState::Running)]));
        let mut hear = |elapsed_seconds, event| observer.hear(&Timed { elapsed_seconds, event });
        let domain = || "x".to_owned();
        let technique = Technique::PreCopy;
        hear(1.0, Event::Launch { domain: domain(), destination: "b".to_owned(), technique });
        let seen = [(2.0, 1, 5, 95), (11.0, 1, 95, 5), (12.0, 2, 105, 15), (13.0, 2, 115, 5), (14.0, 3, 121, 16)];
        let mut progress = |at, pass, transferred: u64, remaining: u64| {
            let (transferred, remaining) = (transferred * MIB, remaining * MIB);
            let progress = Progress { pass, transferred, remaining, bits_per_second: 8e7, ..Progress::default() };
            hear(at, Event::Progress { domain: domain(), progress });
        };
        seen.into_iter().for_each(|(at, pass, transferred, remaining)| progress(at, pass, transferred, remaining));
        observer
            .hear(&Timed { elapsed_seconds: 14.1, event: Event::Phase { domain: domain(), phase: Phase::PostCopy } });
        // What is counted when it is switched tells of no pass.
        let pulled = Progress { pass: 4, transferred: 130 * MIB, remaining: 12 * MIB, ..Progress::default() };
        observer.hear(&Timed { elapsed_seconds: 15.0, event: Event::Progress { domain: domain(), progress: pulled } });
        let report = DomainReport::new("x", "x", DomainOutcome::Migrated);
        let report = DomainReport { technique: Some(Technique::PostCopy), bytes: 142 * MIB, ..report };
        observer.hear(&Timed { elapsed_seconds: 17.0, event: Event::Done(Box::new(report)) });
        let [Record { shown: Shown::Migration(migrated), .. }] = &observer.finish(None)[..] else {
            panic!("no record")
        };
        let bytes: Vec<_> = migrated.dirtied.iter().map(|pass| pass.bytes / MIB).collect();
        assert_eq!((migrated.crossed / MIB, bytes), (100, vec![20, 17]));
    }

    #[test]
    fn of_a_post_copy_all_crosses_once() {
        let migrated = observed(Technique::PostCopy, &[(2.0, 1, 5, 95), (3.0, 2, 6, 80)], 90);
        assert_eq!((migrated.crossed, migrated.dirtied.len()), (90 * MIB, 0));
    }
}
