//! What the search may do: the choices for each guest, and the limits that every schedule keeps.

use std::cmp::Ordering;

use crate::domain::Technique;
use crate::plan::Demands;
use crate::plan::eligibility::Techniques;
use crate::plan::model::scene::Scene;
use crate::plan::model::{self, Launch};

/// Most migrations in flight unless the user says otherwise.
///
/// libvirtd serves calls with 20 workers (its `max_workers`); each migration keeps one busy at either host and
/// some must be left for control, so about 15 at once per daemon work.
pub(crate) const MOST_IN_FLIGHT: usize = 15;

/// What the search may do with one guest.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) techniques: Techniques,
    /// Whether it could go by post-copy, whatever is forced.
    pub(crate) can_post_copy: bool,
    /// Lower ranks are launched first.
    pub(crate) rank: i32,
}

/// What the search may do with all of them.
pub(crate) struct Space<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) choices: &'a [Choice],
    /// By guest: its pre-copy could not end even alone.
    pub(crate) hopeless: Vec<bool>,
    /// By guest: post-copy was found not to be worth it.
    pub(crate) not_worth_it: Vec<bool>,
    pub(crate) most_in_flight: usize,
}

impl<'a> Space<'a> {
    /// The space that the user's demands leave.
    pub(crate) fn new(scene: &'a Scene, choices: &'a [Choice], demands: &Demands) -> Self {
        let most = demands.concurrency.unwrap_or(MOST_IN_FLIGHT).min(demands.most_within_cap());
        let most_in_flight = most.clamp(1, choices.len().max(1));
        Self {
            scene,
            choices,
            hopeless: (0..choices.len()).map(|guest| !model::can_converge(scene, guest, scene.link())).collect(),
            not_worth_it: vec![false; choices.len()],
            most_in_flight,
        }
    }

    /// Whether the planner may choose for this guest; an idle one gains nothing by post-copy, and is never put at
    /// its risk.
    pub(crate) fn is_free(&self, guest: usize) -> bool {
        self.choices[guest].techniques == Techniques::Either && !self.not_worth_it[guest] && !self.scene.is_idle(guest)
    }

    /// Pre-copy wherever it is allowed.
    pub(crate) fn all_pre_copy(&self) -> Vec<Technique> {
        let technique = |choice: &Choice| match choice.techniques {
            Techniques::Forced(technique, _) => technique,
            Techniques::Either | Techniques::OnlyPreCopy(_) => Technique::PreCopy,
        };
        self.choices.iter().map(technique).collect()
    }

    /// The schedule in which guests go in `order`, with the concurrency that `level` gives by place.
    pub(crate) fn launches(
        &self,
        techniques: &[Technique],
        order: &[usize],
        level: impl Fn(usize) -> usize,
    ) -> Vec<Launch> {
        let launch = |(place, &guest): (usize, &usize)| {
            let mut launch = Launch { guest, technique: techniques[guest], concurrency: level(place) };
            self.limit(&mut launch);
            launch
        };
        order.iter().enumerate().map(launch).collect()
    }

    /// Lowers the concurrency of `launch` to what is allowed.
    pub(crate) fn limit(&self, launch: &mut Launch) {
        launch.concurrency = launch.concurrency.min(self.most_in_flight);
    }

    /// Changes post-copies to pre-copies where nothing else would prove their ground: the quickest of each.
    pub(crate) fn open(&self, techniques: &mut [Technique]) {
        let gate = &self.scene.gate;
        for ground in 0..gate.grounds {
            let of_ground = || (0..techniques.len()).filter(|&guest| gate.ground(guest) == Some(ground));
            let proves = |&guest: &usize| !techniques[guest].pulls() || gate.is_trusted(guest);
            if of_ground().any(|guest| proves(&guest)) {
                continue;
            }
            let quickest = of_ground().min_by(|&a, &b| self.by_seconds_alone(a, b));
            if let Some(guest) = quickest {
                techniques[guest] = Technique::PreCopy;
            }
        }
    }

    /// `order` with a guest that proves the ground before the first post-copy that waits for that, if ranks allow it:
    /// the quickest, right before it or, if `at_once`, before all others of its rank.
    pub(crate) fn proofs_first(&self, techniques: &[Technique], mut order: Vec<usize>, at_once: bool) -> Vec<usize> {
        let gate = &self.scene.gate;
        for ground in 0..gate.grounds {
            let waits = |guest: usize| techniques[guest].pulls() && !gate.is_trusted(guest);
            let of_ground = |&guest: &usize| gate.ground(guest) == Some(ground);
            let Some(first) = order.iter().position(&of_ground) else { continue };
            if !waits(order[first]) {
                continue;
            }
            let rank = self.choices[order[first]].rank;
            let provers = order.iter().copied().enumerate().skip(first).filter(|(_, guest)| {
                of_ground(guest) && !waits(*guest) && self.choices[*guest].rank == rank && !self.hopeless[*guest]
            });
            let Some((place, prover)) = provers.min_by(|a, b| self.by_seconds_alone(a.1, b.1)) else { continue };
            order.remove(place);
            let of_rank = order.iter().position(|&guest| self.choices[guest].rank == rank).unwrap_or(first);
            order.insert(if at_once { of_rank } else { first }, prover);
        }
        order
    }

    fn by_seconds_alone(&self, one: usize, other: usize) -> Ordering {
        self.scene.seconds_alone(one).total_cmp(&self.scene.seconds_alone(other)).then(one.cmp(&other))
    }

    /// Pre-copy wherever it is allowed, and would end with an equal share for each of `level` of what all the traffic leaves.
    pub(crate) fn pre_copy_where_it_ends(&self, level: usize) -> Vec<Technique> {
        let mut techniques = self.all_pre_copy();
        let share = self.scene.least_left_for(level) / level as f64;
        for guest in (0..techniques.len()).filter(|&guest| self.is_free(guest)) {
            if !model::can_converge(self.scene, guest, share) {
                techniques[guest] = Technique::PostCopy;
            }
        }
        techniques
    }
}
