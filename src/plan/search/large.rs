//! The search for many guests: a coarse grid of schedules, then annealing and local improvement, within a fixed number
//! of simulations.
//!
//! The grid needs few guests to be told apart: those that pre-copy can't move at a given concurrency go by
//! post-copy, and of the others those that gain the most by it for what it costs, in several shares.

use fastrand::Rng;

use crate::domain::Technique;
use crate::plan::model::{Launch, Prediction};
use crate::plan::search::local::{anneal, polish, shaken};
use crate::plan::search::orders::{by_relief, levels, orders, patterns};
use crate::plan::search::pareto::Front;
use crate::plan::search::space::Space;

/// Simulations that a search may take, times guests, since a simulation takes time in proportion to them. Chosen:
/// about 0.5 s of work on one core; four times as many as 4 million gained 0.5 % for 16 to 30 guests.
const EFFORT: usize = 3_300_000;

/// From this many guests on, the search takes less time the more there are, since it is the grid that counts for them.
const MANY_GUESTS: usize = 100;

/// The least number of simulations that are made, however many guests there are: less than the grid would be no search.
const LEAST_SIMULATIONS: usize = 120;

/// The grid tries every order if there is room for this many simulations, and one order otherwise.
const MANY_SIMULATIONS: usize = 2_000;

/// Schedules that are annealed. Chosen: with one or with eight the fastest plan of some instances was slower.
const STARTS: usize = 3;

/// Times that each guest's technique is questioned at most, as long as that helps.
const ROUNDS: usize = 4;

/// Shares of the free guests that go by post-copy in the grid, those that gain the most first.
const SHARES: [f64; 5] = [0.0, 0.125, 0.25, 0.5, 1.0];

/// Tries schedules, and leaves the best of them in `front`.
pub(crate) fn climb(space: &Space<'_>, front: &mut Front) {
    let guests = space.choices.len();
    let budget = (EFFORT / guests.max(guests * guests / MANY_GUESTS)).max(LEAST_SIMULATIONS);
    let mut free: Vec<usize> = (0..guests).filter(|&guest| space.is_free(guest)).collect();
    let gain = |guest: usize| space.scene.guests[guest].gain_by_post_copy();
    free.sort_by(|&a, &b| gain(b).total_cmp(&gain(a)).then(a.cmp(&b)));

    let per_level = grid(space, &free, budget, front);
    let rest = budget.saturating_sub(LEAST_SIMULATIONS / 2);
    let mut tries = rest / 4 * 3;
    let mut random = Rng::with_seed(0);
    // From the fastest, and from the best of other levels of concurrency, since no single change leads from one to the
    // next. By chance, but by the same for the same input.
    let starts: Vec<Vec<Launch>> = front.fastest_launches().into_iter().chain(per_level).take(STARTS).collect();
    let each = tries / (2 * starts.len().max(1));
    for launches in starts {
        tries -= anneal(space, launches, each, &mut random, front);
    }
    // The fastest first, since the best depends on how fast that is.
    let starts = [front.fastest_launches(), front.pick().map(|best| best.launches.clone())];
    for launches in starts.into_iter().flatten() {
        polish(space, launches, true, &mut tries, front);
    }
    // What is left goes into the neighbourhood of the best.
    while let Some(best) = front.pick().filter(|best| best.launches.len() <= tries) {
        let (launches, before) = (shaken(space, &best.launches, &mut random), tries);
        polish(space, launches, true, &mut tries, front);
        if tries == before {
            break;
        }
    }
    for _ in 0..ROUNDS {
        let before = front.pick().map(|best| best.launches.clone());
        flip(space, &free, rest / 4 / ROUNDS, front);
        if front.pick().map(|best| &best.launches) == before.as_ref() {
            break;
        }
    }
}

/// Tries shares of post-copies at each level of concurrency; then, for the best of them, other orders and levels
/// that change on the way. The best schedule of each level, the best level first.
fn grid(space: &Space<'_>, free: &[usize], budget: usize, front: &mut Front) -> Vec<Vec<Launch>> {
    let mut per_level: Vec<(f64, Vec<Launch>)> = Vec::new();
    for level in levels(space.most_in_flight) {
        let mut best = (f64::INFINITY, Vec::new());
        for techniques in mixes(space, free, level) {
            let orders = match budget >= MANY_SIMULATIONS {
                true => orders(space, &techniques),
                false => vec![by_relief(space, &techniques)],
            };
            for order in orders {
                let launches = space.launches(&techniques, &order, |_| level);
                let score = Prediction::speed(&front.offer(space.scene, &launches, front.deadline()));
                if score < best.0 {
                    best = (score, launches);
                }
            }
        }
        per_level.push(best);
    }
    refine(space, front);
    per_level.sort_by(|a, b| a.0.total_cmp(&b.0));
    per_level.into_iter().map(|(_, launches)| launches).collect()
}

/// Choices of techniques: pre-copy for all, or for those where it ends beside all the traffic there is, but for a share
/// of the `free` guests.
fn mixes(space: &Space<'_>, free: &[usize], level: usize) -> Vec<Vec<Technique>> {
    let mut mixes: Vec<Vec<Technique>> = Vec::new();
    for base in [space.pre_copy_where_it_ends(level), space.all_pre_copy()] {
        for share in SHARES {
            let mut techniques = base.clone();
            let post_copies = (free.len() as f64 * share).round() as usize;
            free[..post_copies].iter().for_each(|&guest| techniques[guest] = Technique::PostCopy);
            space.open(&mut techniques);
            if !mixes.contains(&techniques) {
                mixes.push(techniques);
            }
        }
    }
    mixes
}

/// Tries the best so far in other orders, and with levels that change on the way.
fn refine(space: &Space<'_>, front: &mut Front) {
    let Some(best) = front.pick() else { return };
    let mut techniques = space.all_pre_copy();
    best.launches.iter().for_each(|launch| techniques[launch.guest] = launch.technique);
    let level = best.launches.iter().map(|launch| launch.concurrency).max().unwrap_or(1);
    for order in orders(space, &techniques) {
        front.offer(space.scene, &space.launches(&techniques, &order, |_| level), front.deadline());
    }
    let Some(best) = front.pick() else { return };
    let order: Vec<usize> = best.launches.iter().map(|launch| launch.guest).collect();
    let post_copies = best.post_copies;
    for pattern in patterns(order.len(), post_copies, space.most_in_flight) {
        front.offer(space.scene, &space.launches(&techniques, &order, |place| pattern[place]), front.deadline());
    }
}

/// Changes the technique of the `free` guests of the best schedule, in up to `tries` groups of neighbours.
fn flip(space: &Space<'_>, free: &[usize], tries: usize, front: &mut Front) {
    for group in free.chunks(free.len().div_ceil(tries.max(1)).max(1)) {
        let Some(best) = front.pick() else { return };
        let mut launches = best.launches.clone();
        let mut chosen = vec![false; space.choices.len()];
        group.iter().for_each(|&guest| chosen[guest] = true);
        for launch in launches.iter_mut().filter(|launch| chosen[launch.guest]) {
            launch.flip();
            space.limit(launch);
        }
        front.offer(space.scene, &launches, front.deadline());
    }
}
