//! The hosts that a plan is made for, and what they and other runs say before it is made.

use anyhow::{Context, Result};

use super::connect::{identities, identity};
use crate::config::Config;
use crate::engine::recovery::journal::{self, Arrival, Entry, Journal};
use crate::experience::proofs;
use crate::experience::store::Store;
use crate::libvirt::Host;
use crate::libvirt::facts::HostFacts;
use crate::plan::Rule;
use crate::preflight::facts::{Allowance, Known};
use crate::preflight::way::Passage;
use crate::preflight::{self, Facts};
use crate::profile::Both;

#[derive(Clone, Copy)]
pub(crate) struct Live<'a> {
    pub(crate) from: &'a Host,
    pub(crate) to: &'a Host,
    /// The journal of the run, if it is to move anything.
    pub(crate) journal: Option<&'a Journal>,
}

impl Live<'_> {
    /// What both hosts say, and what is known of the destination's memory beside that.
    pub(super) fn facts(
        self,
        config: &Config,
        profiles: &Both,
        (known, passage): ([Known; 2], Passage),
        rules: &[Rule],
    ) -> Result<Facts> {
        if let Some(journal) = self.journal {
            // Before it looks at others: of two runs that plan at the same time one sees the other at least.
            let moving =
                profiles.source.domains.iter().zip(rules).filter(|(d, rule)| !rule.stays && d.state.is_active());
            let destination = &self.to.endpoint().name;
            promise(journal, moving.map(|(domain, _)| (&domain.uuid, destination, domain.resident_bytes)))?;
        }
        let facts = preflight::gather([self.from, self.to], profiles, known, rules)?;
        let mut facts = Facts { passage, ..facts };
        let identity = |host: &Host, facts: &HostFacts| identity(host, facts.machine_uuid.clone());
        let (source_id, destination_id) = (identity(self.from, &facts.source), identity(self.to, &facts.destination));
        let hosts = identities([(self.from, &facts.source), (self.to, &facts.destination)]);
        facts.proven = proofs::known(&Store::within(&journal::directory()).read().records, &hosts);
        let name = &self.to.endpoint().name;
        facts.allowance = Allowance {
            guests: config.guest_memory(name),
            reserve: config.memory_reserve(name),
            promised: journal::promises(&journal::directory(), &source_id, &destination_id),
        };
        Ok(facts)
    }
}

/// Tells other runs of this machine which domains come, by UUID: each with where to, and how much memory it takes, in bytes.
pub(super) fn promise<'a>(
    journal: &Journal,
    domains: impl Iterator<Item = (&'a String, &'a String, u64)>,
) -> Result<()> {
    let arrival = |(uuid, destination, memory_bytes): (&String, &String, _)| {
        (uuid.clone(), Arrival { destination: destination.clone(), memory_bytes })
    };
    journal.record(&Entry::Plan { arrivals: domains.map(arrival).collect() }).context("the journal can't be written")
}
