//! What a plan is made from beside the user's wishes, and a plan that preflight has not accepted yet.

use std::collections::HashMap;

use super::gate::Gate;
use super::{Difference, Ground, HostRefusal, Plan, Rule};
use crate::domain::Technique;
use crate::obstacle::Obstacle;
use crate::profile::Profile;
use crate::topology::{Hop, HostPorts};

/// What was found out about the hosts beside their profiles.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    pub blocked: Vec<HostRefusal>,
    /// Memory that each domain takes at the destination, in bytes, by UUID.
    pub memory_bytes: HashMap<String, u64>,
    /// The kinds of guests that the source has.
    pub grounds: Vec<Ground>,
    /// Which of them each domain is, by UUID.
    pub ground_of: HashMap<String, usize>,
}

/// A plan for today's hosts, and what a saved one has lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The plan for today. A saved plan's predictions are new, and what can't be done any more is left out or refused.
    pub plan: Plan,
    /// Why a saved plan does not hold as it was made; empty if it does.
    pub differences: Vec<Difference>,
    /// UUIDs of domains that a saved plan refuses and that nothing keeps any more, unless they find no room.
    pub movable: Vec<String>,
}

#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) source: &'a Profile,
    pub(super) destination: &'a Profile,
    /// One entry per domain of the source, in order.
    pub(super) rules: &'a [Rule],
    pub(super) findings: &'a Findings,
}

impl Draft {
    /// UUIDs of the domains that need memory at the destination, in the order in which they arrive.
    pub fn arrivals(&self) -> impl Iterator<Item = &str> {
        let live = self.plan.migrations.iter().filter(|step| step.technique() != Technique::Offline);
        live.map(|step| step.uuid.as_str()).chain(self.movable.iter().map(String::as_str))
    }
}

impl Seen<'_> {
    /// The rule for a domain of the source, by its index.
    pub(super) fn rule(&self, domain: usize) -> Rule {
        self.rules.get(domain).copied().unwrap_or_default()
    }

    /// The kind of a domain of the source, by its index, as its place among the grounds.
    pub(super) fn ground(&self, domain: usize) -> Option<usize> {
        self.findings.ground_of.get(&self.source.domains[domain].uuid).copied()
    }

    /// When post-copies of the source's domains may be launched. Those that the user forces are trusted.
    pub(super) fn gate(&self, trust: bool, limit: Option<usize>) -> Gate {
        let grounds = &self.findings.grounds;
        if grounds.iter().all(|ground| ground.proven) {
            return Gate { limit, ..Gate::default() };
        }
        let domains = 0..self.source.domains.len();
        let unproven = |domain| self.ground(domain).filter(|ground| !grounds[*ground].proven);
        Gate {
            unproven: domains.clone().map(unproven).collect(),
            grounds: grounds.len(),
            unprovable: (0..grounds.len()).filter(|ground| grounds[*ground].key.is_none()).collect(),
            trusted: domains.map(|domain| trust || self.rule(domain).technique.is_some_and(Technique::pulls)).collect(),
            limit,
        }
    }

    /// Why a domain, by its index, does not go by post-copy: nothing has proven its ground, or will in time.
    pub(super) fn unproven(&self, domain: usize, ground: usize) -> Obstacle {
        let Ground { machine, key, .. } = self.findings.grounds[ground].clone();
        Obstacle::Unproven {
            name: self.source.domains[domain].name.clone(),
            source: self.source.host.clone(),
            destination: self.destination.host.clone(),
            machine,
            known: key.is_some(),
        }
    }

    /// Both hosts with their ports, and with what the source's guests are plugged into.
    pub(super) fn hosts(&self) -> Vec<HostPorts> {
        [self.source, self.destination].map(|host| host.ports(&self.source.domains)).into()
    }

    /// The ports that a migration crosses.
    pub(super) fn path(&self) -> Vec<Hop> {
        vec![self.source.hop(), self.destination.hop()]
    }

    /// Memory that a domain takes at the destination, in bytes, if that was found out.
    pub(super) fn memory_bytes(&self, domain: &str) -> Option<u64> {
        self.findings.memory_bytes.get(domain).copied()
    }
}
