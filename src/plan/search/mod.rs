//! The search for the best plan: technique, order and concurrency, judged by the contention model.
//!
//! For up to [`EXACT`] guests every choice of techniques is tried, each searched for orders and levels of concurrency
//! in the same way whether it is forced or one of many, so that no forced choice can do better than the free one, but
//! for hybrids, which are only made of the post-copies of the best plan. For more guests, [`climb`] searches all three together
//! within a fixed number of simulations.

mod hybrid;
mod large;
mod local;
pub(super) mod orders;
mod pareto;
pub(super) mod space;

use super::model::{self, Launch};
use super::worth::{simulations, without_the_worthless};
use super::{Alternative, Demands};
use crate::domain::Technique;
use crate::plan::model::bound::lower_bound;
use crate::plan::model::scene::{Guest, Scene};
use crate::plan::search::hybrid::with_passes;
use crate::plan::search::large::climb;
use crate::plan::search::local::polish;
use crate::plan::search::orders::{ALL, orders, patterns};
use crate::plan::search::pareto::Front;
use crate::plan::search::space::{Choice, MOST_IN_FLIGHT, Space};

/// Up to this many guests, every choice of techniques is tried.
const EXACT: usize = 10;

/// A choice of techniques is left aside if its fastest schedule, unpolished, takes this many times longer than
/// the longest that may still be picked. Chosen: polishing gained at most 0.06 on random
/// instances of five to ten guests.
const HOPE: f64 = 1.15;

pub(super) struct Found {
    pub(super) launches: Vec<Launch>,
    /// Seconds that the fastest plan takes that was found; `None` if none ends.
    pub(super) fastest: Option<f64>,
    /// Seconds below which no plan ends.
    pub(super) bound: f64,
}

/// The best launches for the guests of `scene`, of those in which every post-copy is worth it; as hybrids where that costs little.
pub(super) fn best(scene: &Scene, choices: &[Choice], demands: &Demands) -> Found {
    let mut space = Space::new(scene, choices, demands);
    let mut front = Front::new(demands.objective);
    if choices.len() <= EXACT {
        try_all(&space, &mut front);
    } else {
        climb(&space, &mut front);
    }
    let mut fastest = front.fastest();
    while let Some(launches) = front.pick().and_then(|best| without_the_worthless(&mut space, &best.launches)) {
        front = Front::new(demands.objective);
        if choices.len() <= EXACT {
            try_all(&space, &mut front);
        } else {
            front.offer(scene, &launches, f64::INFINITY);
            polish(&space, launches, true, &mut simulations(choices.len()), &mut front);
        }
        fastest = fastest.into_iter().chain(front.fastest()).min_by(f64::total_cmp);
    }
    let best = front.pick().map(|best| best.launches.clone()).unwrap_or_default();
    let mut launches = with_passes(&space, best, front.deadline());
    // Beside a hybrid another may gain too little.
    while let Some(fewer) = without_the_worthless(&mut space, &launches) {
        launches = fewer;
    }
    // A hybrid can let the next launch begin sooner, so the plan can get faster.
    fastest = fastest.map(|fastest| fastest.min(model::outcome(scene, &launches, f64::INFINITY).fast()));
    Found { fastest, bound: lower_bound(scene, space.most_in_flight), launches }
}

fn try_all(space: &Space<'_>, front: &mut Front) {
    for techniques in all_assignments(space).into_iter().filter(|techniques| space.scene.gate.can_open(techniques)) {
        try_schedules(space, &techniques, front);
    }
    // If all choices but not all orders were tried, climbing from one choice to another may still find a better.
    if space.choices.len() > ALL && (0..space.choices.len()).any(|guest| space.is_free(guest)) {
        climb(space, front);
    }
}

/// All choices of techniques; of guests that are alike, it only matters how many go by post-copy.
fn all_assignments(space: &Space<'_>) -> Vec<Vec<Technique>> {
    let mut assignments = vec![space.all_pre_copy()];
    let mut classes: Vec<Vec<usize>> = Vec::new();
    for guest in (0..space.choices.len()).filter(|&guest| space.is_free(guest)) {
        let alike = |other: usize| {
            space.scene.guests[guest] == space.scene.guests[other]
                && space.scene.gate.ground(guest) == space.scene.gate.ground(other)
                && space.choices[guest].rank == space.choices[other].rank
        };
        match classes.iter_mut().find(|class| alike(class[0])) {
            Some(class) => class.push(guest),
            None => classes.push(vec![guest]),
        }
    }
    for class in classes {
        assignments = assignments
            .into_iter()
            .flat_map(|techniques| {
                (0..=class.len()).map({
                    let class = &class;
                    move |post_copies| {
                        let mut techniques = techniques.clone();
                        class[..post_copies].iter().for_each(|&guest| techniques[guest] = Technique::PostCopy);
                        techniques
                    }
                })
            })
            .collect();
    }
    assignments
}

/// Tries `techniques` in all orders and with all patterns of concurrency that are worth it, and polishes the
/// fastest schedules of the best orders if those were not all that there are.
fn try_schedules(space: &Space<'_>, techniques: &[Technique], front: &mut Front) {
    let guests = techniques.len();
    let post_copies = techniques.iter().filter(|technique| technique.pulls()).count();
    let patterns = patterns(guests, post_copies, space.most_in_flight);
    let mut starts: Vec<(f64, Vec<Launch>)> = Vec::new();
    for order in orders(space, techniques) {
        let mut fastest = (f64::INFINITY, Vec::new());
        for pattern in &patterns {
            let launches = space.launches(techniques, &order, |place| pattern[place]);
            let seconds = front.offer(space.scene, &launches, HOPE * front.deadline()).fast();
            if seconds < fastest.0 {
                fastest = (seconds, launches);
            }
        }
        if fastest.0.is_finite() {
            starts.push(fastest);
        }
    }
    if guests > ALL {
        starts.sort_by(|a, b| a.0.total_cmp(&b.0));
        // One for the most guests, and twice as many for each guest less, which halves the number of choices.
        for (_, launches) in starts.into_iter().take(1 << EXACT.saturating_sub(guests)) {
            let mut unlimited = usize::MAX;
            polish(space, launches, false, &mut unlimited, front);
        }
    }
}

/// What people do today, by the same model and within the same limits: all at once by either technique, if it is
/// possible, or with senders by post-copy and receivers by pre-copy; and a loop of pre-copies. Those that send more than
/// they receive go first, so the order does not depend on names.
pub(super) fn alternatives(scene: &Scene, choices: &[Choice], demands: &Demands) -> Vec<Alternative> {
    let all = demands.concurrency.unwrap_or(MOST_IN_FLIGHT).min(demands.most_within_cap());
    let net = |guest: &Guest| guest.outbound - guest.inbound;
    let mut order: Vec<usize> = (0..choices.len()).collect();
    order.sort_by(|&a, &b| {
        let (first, second) = (&scene.guests[a], &scene.guests[b]);
        (net(second).total_cmp(&net(first)))
            .then(first.image.total_cmp(&second.image))
            .then(first.outbound.total_cmp(&second.outbound))
            .then(first.writes().total_cmp(&second.writes()))
            .then(choices[a].can_post_copy.cmp(&choices[b].can_post_copy))
    });
    type PostCopies = fn(f64) -> bool;
    let policies: [(&str, PostCopies, usize); 4] = [
        ("pre-copy-only", |_| false, all),
        ("post-copy-only", |_| true, all),
        ("senders-post-copy", |net| net > 0.0, all),
        ("one-by-one-pre-copy", |_| false, 1),
    ];
    policies
        .into_iter()
        .map(|(policy, post_copies, concurrency)| {
            let launch = |&guest: &usize| match choices[guest].can_post_copy && post_copies(net(&scene.guests[guest])) {
                true => Launch { guest, technique: Technique::PostCopy, concurrency },
                false => Launch { guest, technique: Technique::PreCopy, concurrency },
            };
            let launches: Vec<Launch> = order.iter().map(launch).collect();
            let predicted = model::outcome(scene, &launches, f64::INFINITY).totals(scene);
            Alternative { policy: policy.to_owned(), predicted }
        })
        .collect()
}
