//! The journal of a pair of hosts, and what an earlier run left between them: taken at the start of a run.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::connect::{is_remote, named};
use super::context::Context;
use super::examine::{Live, promise};
use super::interrupts::Interrupts;
use crate::domain::Route;
use crate::engine::events::Event;
use crate::engine::recovery::journal::{self, Journal, Unfinished};
use crate::engine::recovery::survey::{Scope, Survey, survey};
use crate::engine::{Evacuation, Options, Timeout};
use crate::experience::proofs::Proofs;
use crate::experience::record::Hosts;
use crate::experience::store::Store;
use crate::libvirt::{Endpoint, Host, Pair};
use crate::plan::Plan;
use crate::render::feed::Feed;
use crate::report::Report;
use crate::topology::Side;

/// A pair of hosts that this run alone is at work on.
pub(crate) struct Claim<'a> {
    context: Context<'a>,
    pub(crate) interrupts: Interrupts,
    pub(crate) hosts: Arc<Pair>,
    pub(crate) journal: Arc<Journal>,
    unfinished: Vec<Unfinished>,
    /// Where it is kept what runs have shown.
    pub(crate) experience: Store,
    /// What tells the hosts from others.
    pub(crate) identities: Hosts,
    proofs: Arc<Proofs>,
}

impl<'a> Claim<'a> {
    /// Takes the journal of the source. Where another run has it, or it can't be written,
    /// nothing is moved.
    pub(crate) fn take(
        context: Context<'a>,
        interrupts: Interrupts,
        (source, destination): (Host, Host),
    ) -> Result<Self> {
        let name = |host: &Host| anyhow::Ok(named(host, host.machine_uuid()?));
        let identities = Hosts { source: name(&source)?, destination: name(&destination)? };
        let Hosts { source: from, destination: to } = &identities;
        let directory = journal::directory();
        let (journal, unfinished) = Journal::open(&directory, &from.id, &from.name)?;
        let destinations = [(to.name.clone(), to.id.clone())].into();
        journal.begin(&from.name, destinations).context("the journal can't be written")?;
        let (hosts, journal) = (Arc::new(Pair::new(source, destination)), Arc::new(journal));
        let experience = Store::within(&directory);
        let proofs = Arc::new(Proofs::new(experience.clone(), identities.clone()));
        Ok(Self { context, interrupts, hosts, journal, unfinished, experience, identities, proofs })
    }

    pub(crate) fn endpoints(&self) -> [&Endpoint; 2] {
        [Side::Source, Side::Destination].map(|side| self.hosts.side(side).endpoint())
    }

    /// The hosts for a plan that is to be run.
    pub(crate) fn live(&self) -> Live<'_> {
        let (from, to) = (self.hosts.side(Side::Source), self.hosts.side(Side::Destination));
        Live { from, to, journal: Some(&self.journal) }
    }

    /// Tells other runs of this machine what a plan brings.
    pub(crate) fn announce(&self, plan: &Plan) -> Result<()> {
        promise(&self.journal, plan.migrations.iter().map(|step| (&step.uuid, &step.destination, step.memory_bytes)))
    }

    pub(crate) fn survey(&self, scope: Scope) -> Result<Survey> {
        let survey = survey(&*self.hosts, &self.unfinished, &self.identities.destination.id, scope)?;
        survey.remarks.iter().for_each(|remark| self.context.say(&remark.to_string()));
        Ok(survey)
    }

    pub(crate) fn options(&self, migration_uri: Option<&str>) -> Options {
        let [_, destination] = self.endpoints();
        let configured = || self.context.config.migration_uri(&destination.name);
        Options {
            migration_uri: migration_uri.map(str::to_owned).or_else(configured),
            route: if is_remote(&destination.uri) { Route::PeerToPeer } else { Route::ClientManaged },
            timeout: Timeout::Auto,
            timeouts: HashMap::new(),
            on_stall: None,
            replan: false,
            watch_arrivals: false,
            proofs: Some(Arc::clone(&self.proofs)),
            hooks: Arc::default(),
        }
    }

    /// Finishes what was found. The report is drawn if `draws_report` says that it is the last word.
    pub(crate) fn finish(&self, found: Survey, options: Options, draws_report: impl Fn(&Report) -> bool) -> Report {
        let [source, destination] = self.endpoints().map(|endpoint| &endpoint.name);
        let (hosts, journal) = (Arc::clone(&self.hosts), Arc::clone(&self.journal));
        let recovery = Evacuation::recovery((source, destination), found, hosts, journal, options);
        let control = recovery.control();
        let mut feed = Feed::to(self.context.screen());
        self.interrupts.during(
            move || control.interrupt(),
            || {
                recovery.run(&mut |timed| match &timed.event {
                    Event::Report(report) if !draws_report(report) => {}
                    _ => feed.tell(timed),
                })
            },
        )
    }
}
