//! Launch orders, and levels of concurrency along them, that are worth trying for a given choice of techniques.
//!
//! What a migration changes for those after it: its guest's outbound traffic leaves the source's NIC, its inbound
//! traffic comes to the destination's. So the orders sort by relief per bit moved, under several views of what
//! relief is; few guests are tried in every order.

use std::iter;

use crate::domain::Technique;
use crate::plan::search::space::Space;

/// Up to this many guests, every order with every concurrency is tried: 24 orders of 4 guests, 24 ways to start them.
pub(crate) const ALL: usize = 4;

/// Levels of concurrency that are tried for more guests, besides the most that is allowed. Chosen: dense where one
/// more changes the shares much.
const LEVELS: [usize; 5] = [8, 5, 3, 2, 1];

/// The orders to try, each a permutation of the guests; ranks always come first.
pub(crate) fn orders(space: &Space<'_>, techniques: &[Technique]) -> Vec<Vec<usize>> {
    if techniques.len() <= ALL {
        return permutations(space, techniques);
    }
    let mut orders: Vec<Vec<usize>> = Vec::new();
    for view in VIEWS {
        let order = sorted(space, techniques, view);
        for at_once in [false, true] {
            let order = space.proofs_first(techniques, order.clone(), at_once);
            if !orders.contains(&order) {
                orders.push(order);
            }
        }
    }
    orders
}

/// The order that is the best for many guests.
pub(crate) fn by_relief(space: &Space<'_>, techniques: &[Technique]) -> Vec<usize> {
    space.proofs_first(techniques, sorted(space, techniques, VIEWS[0]), true)
}

/// A view of which guest goes first: the least comes first.
type View = fn(Traffic) -> (u8, f64);

#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    post_copy: bool,
    image: f64,
    outbound: f64,
    inbound: f64,
}

impl Traffic {
    /// Outbound traffic that leaves, less inbound traffic that arrives, per bit moved.
    fn relief(self) -> f64 {
        (self.outbound - self.inbound) / self.image
    }
}

/// Chosen: the first is the best for many guests. On random instances of four guests, against every order of them,
/// each of the next five found better plans than those before it alone, and six others hardly any; the last is the
/// order of the balanced measurement.
const VIEWS: [View; 7] = [
    |t| (0, -t.relief()),
    // By relief, except that receivers in post-copy, which hurt all others, come last.
    |t| (u8::from(t.post_copy && t.outbound < t.inbound), -t.relief()),
    // Those that receive least first: the destination's NIC stays free for long.
    |t| (0, t.inbound / t.image),
    // Large ones first: small ones fill the gaps at the end.
    |t| (0, -t.image),
    // Those that send most first: the source's NIC is free soon.
    |t| (0, -t.outbound / t.image),
    // Post-copies between the pre-copies that relieve and those that burden.
    |t| match (t.post_copy, t.outbound >= t.inbound) {
        (false, true) => (0, -t.relief()),
        (true, _) => (1, -t.relief()),
        (false, false) => (2, -t.relief()),
    },
    // Post-copies first: they relieve the source at once.
    |t| (u8::from(!t.post_copy), -t.relief()),
];

fn sorted(space: &Space<'_>, techniques: &[Technique], view: View) -> Vec<usize> {
    let mut keyed: Vec<_> = (0..techniques.len())
        .map(|i| {
            let guest = &space.scene.guests[i];
            let post_copy = techniques[i].pulls();
            let traffic =
                Traffic { post_copy, image: guest.image.max(1.0), outbound: guest.leaving, inbound: guest.arriving };
            // A pre-copy that can't end goes last, where it is in nobody's way.
            let hopeless = !post_copy && space.hopeless[i];
            let (group, value) = view(traffic);
            ((space.choices[i].rank, hopeless, group), value, techniques[i], i)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)).then(a.3.cmp(&b.3)));
    keyed.into_iter().map(|(.., i)| i).collect()
}

/// All orders in which ranks come first and guests that are alike do not change places.
fn permutations(space: &Space<'_>, techniques: &[Technique]) -> Vec<Vec<usize>> {
    let gate = &space.scene.gate;
    let alike = |a: usize, b: usize| {
        let same_ground = gate.ground(a) == gate.ground(b) && gate.is_trusted(a) == gate.is_trusted(b);
        space.scene.guests[a] == space.scene.guests[b] && techniques[a] == techniques[b] && same_ground
    };
    let mut orders = vec![Vec::new()];
    for _ in 0..techniques.len() {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                let rest: Vec<usize> = (0..techniques.len()).filter(|i| !order.contains(i)).collect();
                let lowest = rest.iter().map(|&i| space.choices[i].rank).min();
                let next: Vec<usize> = rest
                    .iter()
                    .copied()
                    .filter(|&i| Some(space.choices[i].rank) == lowest)
                    .filter(|&i| {
                        !rest.iter().any(|&j| j < i && space.choices[j].rank == space.choices[i].rank && alike(i, j))
                    })
                    .collect();
                next.into_iter().map(move |i| [order.as_slice(), &[i]].concat())
            })
            .collect();
    }
    orders
}

/// The levels of concurrency to try if `most` is allowed. Higher ones come first: of plans that are equal by the
/// model the first is kept, and one that waits for less suffers less where the model is off.
pub(crate) fn levels(most: usize) -> Vec<usize> {
    iter::once(most).chain(LEVELS.into_iter().filter(|&level| level < most)).collect()
}

/// Concurrency by place in the launch order, for `guests` with `post_copies` among them and at most `most` in
/// flight: one level throughout, or one for a head and another for the rest. The head is the post-copies (if
/// they go first), or all but the last or the last two, which may fill the time that the fixed costs leave idle.
pub(crate) fn patterns(guests: usize, post_copies: usize, most: usize) -> Vec<Vec<usize>> {
    if guests <= ALL {
        return every_pattern(guests, most);
    }
    let levels = levels(most);
    let mut patterns: Vec<Vec<usize>> = levels.iter().map(|&level| vec![level; guests]).collect();
    let mut heads = vec![post_copies, guests - 2, guests - 1];
    heads.dedup();
    for head in heads.into_iter().filter(|&head| head > 0 && head < guests) {
        for &first in levels.iter().filter(|&&level| level <= 2 || level == most) {
            for &rest in levels.iter().filter(|&&level| level != first) {
                patterns.push((0..guests).map(|place| if place < head { first } else { rest }).collect());
            }
        }
    }
    patterns
}

/// All ways to start `guests`: each at once, or as soon as fewer than some number are in flight.
pub(crate) fn every_pattern(guests: usize, most: usize) -> Vec<Vec<usize>> {
    let mut patterns = vec![Vec::new()];
    for place in 1..=guests {
        patterns = patterns
            .into_iter()
            .flat_map(|pattern: Vec<usize>| {
                (1..=place.min(most)).rev().map(move |c| [pattern.as_slice(), &[c]].concat())
            })
            .collect();
    }
    for pattern in &mut patterns {
        // What starts at once does so by any higher level as well: 1, 2, 3, 4 is said as 4, 4, 4, 4.
        for place in (1..guests).rev() {
            if pattern[place] > place && pattern[place - 1] == place {
                pattern[place - 1] = pattern[place];
            }
        }
    }
    patterns
}
