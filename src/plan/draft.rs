//! What a plan is made from beside the user's wishes, and a plan that preflight has not accepted yet.

use std::collections::HashMap;

use super::{Difference, HostRefusal, Plan, Rule};
use crate::domain::Technique;
use crate::profile::Profile;
use crate::topology::Hop;

/// What was found out about the hosts beside their profiles.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    pub blocked: Vec<HostRefusal>,
    /// Memory that each domain takes at the destination, in bytes, by UUID.
    pub memory_bytes: HashMap<String, u64>,
    /// Why domains whose technique is left to the planner go by pre-copy, if they all do.
    pub pre_copy_because: Option<&'static str>,
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
        let rule = self.rules.get(domain).copied().unwrap_or_default();
        match (rule.technique, self.findings.pre_copy_because) {
            (None, origin @ Some(_)) => Rule { technique: Some(Technique::PreCopy), technique_origin: origin, ..rule },
            _ => rule,
        }
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
