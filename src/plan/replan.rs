//! A better schedule for what is still to be launched, from how far an evacuation is.

use super::eligibility::Techniques;
use super::model::{self, Launch};
use super::search::orders::{levels, orders};
use super::search::space::{Choice, MOST_IN_FLIGHT, Space};
use super::{Demands, Move, Objective, Plan, Situation, most_within};
use crate::domain::Technique;
use crate::profile::Profile;

/// What of a plan may change while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leeway {
    /// The most migrations in flight.
    pub most_in_flight: usize,
    /// Whether the order may change, too.
    pub reorders: bool,
    /// Whether as little traffic has to be lost as without a change.
    pub keeps_losses: bool,
}

impl Plan {
    /// The most migrations that may ever be in flight, those that are launched ahead of an end included.
    pub(crate) fn most_in_flight(&self) -> usize {
        let within_cap = most_within(self.bandwidth_bits_per_second);
        // The user's own limit is the plan's.
        if self.launch_ahead { MOST_IN_FLIGHT.min(within_cap).max(self.concurrency) } else { self.concurrency }
    }
}

impl Leeway {
    /// That of a plan. An order that the user gave is kept, and so is one in which some prove the ground for others. `None` where an
    /// offline step comes before a live one: no schedule can say that.
    pub fn of(plan: &Plan, order_is_given: bool) -> Option<Self> {
        let is_open = |ground: usize| plan.grounds.get(ground).is_some_and(|ground| !ground.proven);
        let proves = plan.migrations.iter().any(|step| step.ground.is_some_and(is_open));
        let is_offline = plan.migrations.iter().map(|step| step.technique() == Technique::Offline);
        // A schedule names what moves live, and the others come behind.
        is_offline.is_sorted().then(|| Self {
            most_in_flight: plan.most_in_flight(),
            reorders: !order_is_given && !proves,
            keeps_losses: plan.objective == Objective::Impact,
        })
    }
}

impl Situation {
    /// The same `moves` by the same techniques, in the order and with the concurrency by which all is predicted to end the soonest of
    /// those that were tried, and how many seconds sooner than as they are: infinitely if it would not end. `None` if none is
    /// better.
    ///
    /// # Panics
    /// An index in `moves` is beyond the source's domains.
    pub fn sooner(
        &self,
        (source, destination): (&Profile, &Profile),
        moves: &[Move],
        bandwidth_bits_per_second: Option<f64>,
        leeway: Leeway,
    ) -> Option<(Vec<Move>, f64)> {
        let (scene, given) = self.stage(source, destination, moves, bandwidth_bits_per_second, &self.gate());
        let techniques: Vec<Technique> = moves.iter().map(|next| next.technique).collect();
        let choice = |technique| Choice { techniques: Techniques::Forced(technique, ""), can_post_copy: true, rank: 0 };
        let choices: Vec<Choice> = techniques.iter().copied().map(choice).collect();
        let mut space = Space::new(&scene, &choices, &Demands::default());
        space.most_in_flight = leeway.most_in_flight;
        let as_given: Vec<usize> = (0..moves.len()).collect();
        let others = if leeway.reorders { orders(&space, &techniques) } else { Vec::new() };
        // One or two more than now, too.
        let beside = (1..=2).map(|more| self.in_flight.len() + more).filter(|level| *level < leeway.most_in_flight);
        let mut tried: Vec<usize> = levels(leeway.most_in_flight);
        tried.extend(beside);
        let as_it_is = model::outcome(&scene, &given, f64::INFINITY);
        let before = as_it_is.fast();
        let most_lost = if leeway.keeps_losses { as_it_is.gentle() } else { f64::INFINITY };
        let (mut soonest, mut best) = (before, None::<Vec<Launch>>);
        for order in std::iter::once(&as_given).chain(&others) {
            for &level in &tried {
                let launches = space.launches(&techniques, order, |_| level);
                let outcome = model::outcome(&scene, &launches, soonest);
                if outcome.fast() < soonest && outcome.gentle() <= most_lost {
                    (soonest, best) = (outcome.fast(), Some(launches));
                }
            }
        }
        let again = |launch: &Launch| Move { concurrency: launch.concurrency, ..moves[launch.guest] };
        best.map(|launches| (launches.iter().map(again).collect(), before - soonest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainState;
    use crate::plan::{LEAST_BANDWIDTH, plan};
    use crate::profile::fixture;

    fn planned(demands: &Demands) -> Plan {
        let guests = ["a", "b", "c"].map(|name| (name, name, DomainState::Running));
        plan(&fixture::host("from", &guests), &fixture::host("to", &[]), &[], demands)
    }

    #[test]
    fn no_more_may_change_than_the_user_allows() {
        let free = planned(&Demands::default());
        let all = Leeway { most_in_flight: MOST_IN_FLIGHT, reorders: true, keeps_losses: false };
        assert_eq!(Leeway::of(&free, false), Some(all));
        assert_eq!(Leeway::of(&free, true), Some(Leeway { reorders: false, ..all }));
        let gentle = planned(&Demands { objective: Objective::Impact, ..Demands::default() });
        assert_eq!(Leeway::of(&gentle, false), Some(Leeway { keeps_losses: true, ..all }));
        let two = planned(&Demands { concurrency: Some(2), ..Demands::default() });
        assert!(Leeway::of(&two, false).is_some_and(|leeway| leeway.most_in_flight <= 2));
        // Each takes 1 MiB/s at least.
        let capped = planned(&Demands { bandwidth_bits_per_second: Some(2.5 * LEAST_BANDWIDTH), ..Demands::default() });
        assert!(Leeway::of(&capped, false).is_some_and(|leeway| leeway.most_in_flight <= 2));
        let mut offline_first = free.clone();
        offline_first.migrations[0].transfer.technique = Technique::Offline;
        assert_eq!(Leeway::of(&offline_first, false), None, "a schedule would put it behind the others");
    }
}
