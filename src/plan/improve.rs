//! Local search from a given schedule: moves one guest in the order, lets one start sooner or later, or changes
//! the technique of one.

use super::front::Front;
use super::model::{self, Launch, Outcome};
use super::space::Space;

/// A difference that is none, relative.
const ROUNDING: f64 = 1e-9;

/// Improves `launches` for time, and what comes of that for loss, with up to `tries` changes each; techniques
/// change only if `flips`.
pub(super) fn polish(space: &Space<'_>, launches: Vec<Launch>, flips: bool, tries: usize, front: &mut Front) {
    let start = model::outcome(space.scene, &launches, f64::INFINITY).fast();
    let launches = improve(space, launches, Outcome::fast, front.allowed(start), flips, tries, front);
    let seconds = model::outcome(space.scene, &launches, f64::INFINITY).fast();
    // Where even the fastest of these techniques is too slow, all of them are.
    if seconds <= front.deadline() {
        improve(space, launches, Outcome::gentle, front.allowed(seconds), flips, tries, front);
    }
}

/// Improves `launches` by `score` (less is better) until no single change helps, or after so many `tries`; where
/// those do not suffice to try each change once, nothing is tried. All schedules on the way are offered to `front`;
/// what takes longer than `deadline` is no improvement.
fn improve(
    space: &Space<'_>,
    mut launches: Vec<Launch>,
    score: impl Fn(&Outcome) -> f64,
    deadline: f64,
    flips: bool,
    tries: usize,
    front: &mut Front,
) -> Vec<Launch> {
    if launches.len().saturating_mul(launches.len()) > tries {
        // Less than each change once would favour some guests over others.
        return launches;
    }
    let changes = changes(space, launches.len(), flips);
    let mut best = score(&model::outcome(space.scene, &launches, deadline));
    let mut in_vain = 0;
    for change in changes.iter().cycle().take(tries) {
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

#[derive(Clone, Copy)]
enum Change {
    /// The launch at one place goes to another; concurrency stays with the places.
    Move(usize, usize),
    /// The launch at a place waits until fewer are in flight, or for fewer to end.
    Level(usize, usize),
    /// The guest at a place goes by the other technique.
    Flip(usize),
}

fn changes(space: &Space<'_>, guests: usize, flips: bool) -> Vec<Change> {
    let levels = (1..guests).flat_map(|place| {
        let highest = (place + 1).min(space.most_in_flight);
        (1..=highest).map(move |level| Change::Level(place, level))
    });
    let moves = (0..guests).flat_map(|from| {
        // A move by one place is the same from either side.
        (0..guests).filter(move |&to| to != from && to + 1 != from).map(move |to| Change::Move(from, to))
    });
    let flips = (0..guests).filter(|_| flips).map(Change::Flip);
    levels.chain(moves).chain(flips).collect()
}

/// `None` where nothing changes, or ranks forbid it.
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
