//! Whether a post-copy is worth its risk: a guest in post-copy is on both hosts, and is lost if the link breaks for good.
//!
//! The model errs, so a plan that is a little faster by the model may not be faster at all. Post-copies that gain less
//! than the model may err by are changed to pre-copies.

use super::model::{self, Launch, Prediction};
use crate::domain::Technique;
use crate::plan::search::space::Space;

/// What a post-copy gains at least, as a part of the time that the guest's memory takes on the empty link. The largest
/// error of the model in `docs/bench` is 10.7 %; two predictions are compared, so their difference is off by 15 % if their
/// errors are independent.
const LEAST_GAIN: f64 = 0.15;

/// Simulations of one round, times guests. Chosen: an eighth of what a search takes.
const EFFORT: usize = 500_000;

/// From this many guests on, a round takes less time the more there are, as a search does.
const MANY_GUESTS: usize = 100;

/// Ways to fit a pre-copy into the plan that are tried in place of a post-copy.
const WAYS: usize = 6;

/// Simulations that a round may take.
pub(super) fn simulations(guests: usize) -> usize {
    EFFORT / guests.max(guests * guests / MANY_GUESTS).max(1)
}

/// `launches` with each post-copy changed to pre-copy that the evacuation gains too little by, those that gain the least
/// first; their guests keep to pre-copy in `space` from now on. `None` if each is worth it.
///
/// Very many post-copies are judged in groups, so that the number of simulations stays within [`EFFORT`].
pub(super) fn without_the_worthless(space: &mut Space<'_>, launches: &[Launch]) -> Option<Vec<Launch>> {
    let free = |launch: &&Launch| launch.technique.pulls() && space.is_free(launch.guest);
    let mut guests: Vec<usize> = launches.iter().filter(free).map(|launch| launch.guest).collect();
    guests.sort_by(|&a, &b| {
        let gain = |guest: usize| space.scene.guests[guest].gain_by_post_copy();
        gain(a).total_cmp(&gain(b)).then(a.cmp(&b))
    });
    // Each group is simulated twice: alone, and together with those before it.
    let groups = (simulations(launches.len()) / (2 * WAYS)).max(2);
    let mut launches = launches.to_vec();
    let mut outcome = model::outcome(space.scene, &launches, f64::INFINITY);
    let mut judged: Vec<(f64, &[usize])> = guests
        .chunks(guests.len().div_ceil(groups).max(1))
        .map(|group| (slowdown(&outcome, &by_pre_copy(space, &launches, group).1) / price(space, group), group))
        .collect();
    judged.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut changed = false;
    for (_, group) in judged {
        let (without, after) = by_pre_copy(space, &launches, group);
        if slowdown(&outcome, &after) < price(space, group) {
            (launches, outcome, changed) = (without, after, true);
            group.iter().for_each(|&guest| space.not_worth_it[guest] = true);
        }
    }
    changed.then_some(launches)
}

/// Whether the evacuation gains too little by the post-copies of `group` in `launches`, which come to `outcome`.
pub(super) fn is_worthless(space: &Space<'_>, launches: &[Launch], group: &[usize], outcome: &Prediction) -> bool {
    slowdown(outcome, &by_pre_copy(space, launches, group).1) < price(space, group)
}

/// Seconds that the post-copies of `group` have to gain.
fn price(space: &Space<'_>, group: &[usize]) -> f64 {
    LEAST_GAIN * group.iter().map(|&guest| space.scene.seconds_alone(guest)).sum::<f64>()
}

/// Seconds that the second takes longer; infinite if it leaves more without an end.
fn slowdown(before: &Prediction, after: &Prediction) -> f64 {
    if after.unfinished > before.unfinished { f64::INFINITY } else { after.seconds - before.seconds }
}

/// The fastest way to let the guests of `group` go by pre-copy while the rest stays as it is: at their places, before all
/// others of their rank, or behind them; at the present concurrency, or one at a time.
fn by_pre_copy(space: &Space<'_>, launches: &[Launch], group: &[usize]) -> (Vec<Launch>, Prediction) {
    let mut chosen = vec![false; space.choices.len()];
    group.iter().for_each(|&guest| chosen[guest] = true);
    let way = |place: i8, alone: bool| {
        let mut changed = launches.to_vec();
        changed.sort_by_key(|launch| (space.choices[launch.guest].rank, if chosen[launch.guest] { place } else { 0 }));
        let mut behind = false;
        for (launch, before) in changed.iter_mut().zip(launches) {
            let is_chosen = chosen[launch.guest];
            launch.concurrency = if alone && (is_chosen || behind) { 1 } else { before.concurrency };
            if is_chosen {
                launch.technique = Technique::PreCopy;
            }
            space.limit(launch);
            behind = is_chosen;
        }
        let outcome = model::outcome(space.scene, &changed, f64::INFINITY);
        (changed, outcome)
    };
    let mut best = way(0, false);
    for (place, alone) in [(0, true), (-1, false), (-1, true), (1, false), (1, true)] {
        let other = way(place, alone);
        if other.1.speed() < best.1.speed() {
            best = other;
        }
    }
    best
}
