//! Local search from a given schedule: moves one guest in the order, lets one start sooner or later, or changes
//! the technique of one.
//!
//! Polishing takes what helps, and ends in the nearest schedule that no single change improves; annealing finds ways
//! out of such schedules (Kirkpatrick, Gelatt and Vecchi, Science 220, 1983), and needs more simulations.

use fastrand::Rng;

use crate::plan::model::{self, Launch, Prediction};
use crate::plan::search::orders::levels;
use crate::plan::search::pareto::Front;
use crate::plan::search::space::Space;

/// A difference that is none, relative.
const ROUNDING: f64 = 1e-9;

/// Improves `launches` for time, and what comes of that for loss, by at most `tries` changes, which are used up;
/// techniques change only if `flips`.
pub(crate) fn polish(space: &Space<'_>, launches: Vec<Launch>, flips: bool, tries: &mut usize, front: &mut Front) {
    if launches.len() > *tries {
        return;
    }
    let start = model::outcome(space.scene, &launches, f64::INFINITY).fast();
    let launches = improve(space, launches, Prediction::speed, front.allowed(start), flips, tries, front);
    let seconds = model::outcome(space.scene, &launches, f64::INFINITY).fast();
    // Where even the fastest of these techniques is too slow, all of them are.
    if seconds.is_finite() && seconds <= front.deadline() {
        improve(space, launches, Prediction::gentle, front.allowed(seconds), flips, tries, front);
    }
}

/// Improves `launches` by `score` (less is better) until no single change helps, or there are no more `tries`; if
/// those do not suffice to try each change once, nothing is tried. All schedules on the way are offered to `front`;
/// what takes longer than `deadline` does not count as an improvement.
fn improve(
    space: &Space<'_>,
    mut launches: Vec<Launch>,
    score: impl Fn(&Prediction) -> f64,
    deadline: f64,
    flips: bool,
    tries: &mut usize,
    front: &mut Front,
) -> Vec<Launch> {
    let changes = changes(space, launches.len(), flips);
    if changes.len() > *tries {
        // Less than each change once would favour some guests over others.
        return launches;
    }
    let mut best = score(&model::outcome(space.scene, &launches, deadline));
    let mut in_vain = 0;
    for change in changes.iter().cycle().take(*tries) {
        *tries -= 1;
        in_vain += 1;
        if let Some(changed) = apply(space, &launches, *change) {
            let changed_score = score(&front.offer(space.scene, &changed, deadline));
            if changed_score < best * (1.0 - ROUNDING) {
                (launches, best, in_vain) = (changed, changed_score, 0);
            }
        }
        if in_vain == changes.len() {
            break;
        }
    }
    launches
}

/// How much slower a change may make a schedule while it is annealed, relative, in the mean: at first, and in the
/// end. Chosen: on random instances of 7 to 30 guests, thrice or a third of the first did no better.
const HEAT: (f64, f64) = (1e-2, 1e-4);

/// Anneals `launches` for time by `tries` changes by chance, and offers all schedules on the way to `front`. The changes
/// that were tried: none if there are more changes than `tries`.
pub(crate) fn anneal(
    space: &Space<'_>,
    mut launches: Vec<Launch>,
    tries: usize,
    random: &mut Rng,
    front: &mut Front,
) -> usize {
    // There are more changes than launches: with many of those, the list is not worth making.
    let changes = if launches.len() > tries { Vec::new() } else { changes(space, launches.len(), true) };
    if changes.is_empty() || changes.len() > tries {
        return 0;
    }
    let mut speed = model::outcome(space.scene, &launches, f64::INFINITY).speed();
    for step in 0..tries {
        let heat = HEAT.0 * (HEAT.1 / HEAT.0).powf(step as f64 / tries as f64);
        // A slowdown is taken with the probability exp(-slowdown / heat); drawn before, the simulation can end early.
        let slowest = speed * (1.0 - heat * (1.0 - random.f64()).ln());
        let Some(changed) = random.choice(&changes).and_then(|change| apply(space, &launches, *change)) else {
            continue;
        };
        let changed_speed = front.offer(space.scene, &changed, slowest).speed();
        if changed_speed <= slowest {
            (launches, speed) = (changed, changed_speed);
        }
    }
    tries
}

/// Changes of a schedule at a time that lead out of the reach of [`polish`]. Chosen.
const SHAKES: usize = 4;

/// `launches` with a few changes by chance.
pub(crate) fn shaken(space: &Space<'_>, launches: &[Launch], random: &mut Rng) -> Vec<Launch> {
    let changes = changes(space, launches.len(), true);
    let mut shaken = launches.to_vec();
    for _ in 0..SHAKES {
        let change = random.choice(&changes).and_then(|change| apply(space, &shaken, *change));
        shaken = change.unwrap_or(shaken);
    }
    shaken
}

#[derive(Clone, Copy)]
enum Change {
    /// The launch at one place goes to another; concurrency stays with the places.
    Move(usize, usize),
    /// The launch at a place waits until fewer are in flight, or for fewer to end.
    Level(usize, usize),
    /// The guest at a place goes by the other technique.
    Flip(usize),
}

/// Up to this many guests may go from any place to any other, at any level; more move by powers of two, at those levels
/// that matter most, so that there are not too many changes to try.
const FEW: usize = 40;

fn changes(space: &Space<'_>, guests: usize, flips: bool) -> Vec<Change> {
    let few = guests <= FEW;
    let worth_it = levels(space.most_in_flight);
    let levels = (1..guests).flat_map(|place| {
        let highest = (place + 1).min(space.most_in_flight);
        let tried = (1..=highest).filter(|level| few || worth_it.contains(level));
        tried.map(move |level| Change::Level(place, level)).collect::<Vec<_>>()
    });
    let moves = (0..guests).flat_map(|from| {
        // A move by one place is the same from either side.
        let others = (0..guests).filter(move |&to| to != from && to + 1 != from);
        others.filter(move |to| few || to.abs_diff(from).is_power_of_two()).map(move |to| Change::Move(from, to))
    });
    let flips = (0..guests).filter(|_| flips).map(Change::Flip);
    levels.chain(moves).chain(flips).collect()
}

/// `None` if nothing changes, or ranks forbid it.
fn apply(space: &Space<'_>, launches: &[Launch], change: Change) -> Option<Vec<Launch>> {
    let mut changed = launches.to_vec();
    match change {
        Change::Level(place, level) => changed[place].concurrency = level,
        Change::Flip(place) if space.is_free(changed[place].guest) => changed[place].flip(),
        Change::Flip(_) => return None,
        Change::Move(from, to) => {
            let moved = changed.remove(from);
            changed.insert(to, moved);
            if changed.windows(2).any(|pair| space.choices[pair[0].guest].rank > space.choices[pair[1].guest].rank) {
                return None;
            }
            changed.iter_mut().zip(launches).for_each(|(launch, before)| launch.concurrency = before.concurrency);
        }
    }
    changed.iter_mut().for_each(|launch| space.limit(launch));
    (changed != launches).then_some(changed)
}
