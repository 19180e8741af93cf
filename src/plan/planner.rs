//! From what is known of two hosts to a plan of today: a new one, or a saved one, looked at again.

use super::draft::{Draft, Findings, Seen};
use super::{Demands, Plan, Rule, fresh, revalidate};
use crate::profile::Profile;

#[derive(Debug, Clone, Copy)]
pub struct Planner<'a> {
    /// What the user asks of each domain of the source today, in their order.
    pub rules: &'a [Rule],
    /// What the plan is made of beside the rules and the hosts.
    pub basis: Basis<'a>,
}

/// What a plan is made of beside the hosts.
#[derive(Debug, Clone, Copy)]
pub enum Basis<'a> {
    Demands(&'a Demands),
    Saved(&'a Plan),
}

impl Planner<'_> {
    /// The rules by which the hosts are examined. For a saved plan: all that it moves or refuses, offline steps too, unless
    /// today's rules keep it.
    pub fn examined(&self, source: &Profile) -> Vec<Rule> {
        match self.basis {
            Basis::Demands(_) => self.rules.to_vec(),
            Basis::Saved(plan) => revalidate::examined(plan, source, self.rules),
        }
    }

    pub fn draft(&self, source: &Profile, destination: &Profile, findings: &Findings) -> Draft {
        let seen = Seen { source, destination, rules: self.rules, findings };
        match self.basis {
            Basis::Demands(demands) => {
                Draft { plan: fresh::plan(&seen, demands), differences: Vec::new(), movable: Vec::new() }
            }
            Basis::Saved(plan) => revalidate::look_again(plan, &seen),
        }
    }
}
