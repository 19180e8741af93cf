//! The journal of a pair of hosts, and what an earlier run left between them: taken at the start of a run.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::connect::is_remote;
use super::interrupts::Interrupts;
use super::live::identity;
use crate::cli::OutputArgs;
use crate::config::Config;
use crate::engine::events::Event;
use crate::engine::recovery::journal::{self, Journal, Unfinished};
use crate::engine::recovery::survey::{Scope, Survey, survey};
use crate::engine::{Evacuation, Options, Timeout};
use crate::libvirt::Route;
use crate::libvirt::{Host, Pair};
use crate::render::feed::Feed;
use crate::render::say;
use crate::report::Report;
use crate::topology::Side;

/// A pair of hosts that this run alone is at work on.
pub(super) struct Claim {
    pub(super) hosts: Arc<Pair>,
    pub(super) journal: Arc<Journal>,
    unfinished: Vec<Unfinished>,
    destination_id: String,
}

impl Claim {
    /// Takes the journal of the source. Where another run has it, or it can't be written, nothing is moved.
    pub(super) fn take(source: Host, destination: Host) -> Result<Self> {
        let (source_id, destination_id) = (identity(&source)?, identity(&destination)?);
        let (names, directory) = ([&source, &destination].map(|h| h.endpoint().name.clone()), journal::directory());
        let (journal, unfinished) = Journal::open(&directory, &source_id, &names[0])?;
        journal.begin(&names[0], &names[1], &destination_id).context("the journal can't be written")?;
        Ok(Self {
            hosts: Arc::new(Pair::new(source, destination)),
            journal: Arc::new(journal),
            unfinished,
            destination_id,
        })
    }

    /// What is to be finished.
    pub(super) fn survey(&self, output: &OutputArgs, scope: Scope) -> Result<Survey> {
        let survey = survey(&*self.hosts, &self.unfinished, &self.destination_id, scope)?;
        if !output.quiet {
            survey.remarks.iter().for_each(|remark| say(remark));
        }
        Ok(survey)
    }

    /// How the memory goes.
    pub(super) fn options(&self, config: &Config, migration_uri: Option<&str>) -> Options {
        let destination = self.hosts.side(Side::Destination).endpoint();
        Options {
            migration_uri: migration_uri.map(str::to_owned).or_else(|| config.migration_uri(&destination.name)),
            route: if is_remote(&destination.uri) { Route::PeerToPeer } else { Route::ClientManaged },
            timeout: Timeout::Auto,
            timeouts: HashMap::new(),
            on_stall: None,
            hooks: Arc::default(),
        }
    }

    /// Finishes what was found. The report is drawn where `draws_report` says that it is the last word.
    pub(super) fn finish(
        &self,
        survey: Survey,
        options: Options,
        interrupts: &Interrupts,
        feed: &mut Feed,
        draws_report: impl Fn(&Report) -> bool,
    ) -> Report {
        let name = |side| &self.hosts.side(side).endpoint().name;
        let (hosts, journal) = (Arc::clone(&self.hosts), Arc::clone(&self.journal));
        let recovery =
            Evacuation::recovery((name(Side::Source), name(Side::Destination)), survey, hosts, journal, options);
        let interrupter = recovery.interrupter();
        interrupts.during(
            move || interrupter.interrupt(),
            || {
                recovery.run(&mut |timed| match &timed.event {
                    Event::Report(report) if !draws_report(report) => {}
                    _ => feed.tell(timed),
                })
            },
        )
    }
}
