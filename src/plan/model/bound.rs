//! A lower bound: no plan ends sooner by the model, whatever its techniques, order and concurrency.
//!
//! All memory crosses once, no faster than the links and the traffic that is certainly there allow. After x bits
//! at most so much of the traffic can have left the source, and at least so much must have arrived at the
//! destination: two knapsacks, relaxed to fractions of a guest. `docs/model.md` derives it.

use crate::plan::model::scene::Scene;
use crate::plan::model::{FINISH, SWITCH};

/// Weights of the source's side against the destination's. The scarcer side limits, so every mean of the two is a
/// bound as well; a mean sees that one set of moved guests must serve both.
const WEIGHTS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// Steps of the integral over the bits that have crossed. Chosen: eight times as many raise it by at most 0.3 %.
const STEPS: usize = 256;

/// Bits that an empty guest counts as, so that traffic per bit is a number; too few to take any time.
const LEAST_IMAGE: f64 = 1e-12;

/// One guest as the bound sees it, in bits and bits per second.
struct Item {
    image: f64,
    /// What it takes of the source's NIC at least, as long as it is there.
    outbound: f64,
    /// What it takes of the destination's NIC at least, once it is there.
    inbound: f64,
}

/// Seconds that the evacuation takes at least with `most_in_flight` migrations at once; infinite if nothing can
/// cross.
pub(crate) fn lower_bound(scene: &Scene, most_in_flight: usize) -> f64 {
    if scene.guests.is_empty() {
        return 0.0;
    }
    let least = scene.least_shares(most_in_flight);
    let items: Vec<Item> = scene
        .guests
        .iter()
        .map(|g| Item {
            image: g.image.max(LEAST_IMAGE),
            outbound: g.leaving.min(least.0),
            inbound: g.arriving.min(least.1),
        })
        .collect();
    let (staying, resident) = scene.least_background(least);
    let leaving: f64 = items.iter().map(|i| i.outbound).sum();
    // What the source's side leaves with nobody moved, and what the destination's side does.
    let free = (scene.source_capacity - staying - leaving, scene.destination_capacity - resident);
    let views = WEIGHTS.map(|weight| WeightedBound::new(&items, weight, free, most_in_flight));

    let width = items.iter().map(|i| i.image).sum::<f64>() / STEPS as f64;
    let transfer: f64 = (0..STEPS)
        .map(|step| {
            let wire = views.iter().map(|view| view.rates[step]).fold(scene.link(), f64::min);
            width / scene.goodput(wire.max(0.0), most_in_flight)
        })
        .sum();
    // Some pre-copy may send before, and some post-copy after another's switch-over: that time is not lost for sure.
    let first = scene.guests.iter().map(|guest| guest.setup).fold(f64::INFINITY, f64::min);
    let together = first + transfer + FINISH;
    let rest = SWITCH + FINISH;
    // Every migration holds its place among those in flight for the fixed time and its bits at full rate.
    let alone = scene.guests.iter().enumerate().map(|(guest, g)| g.setup + rest + scene.seconds_alone(guest));
    let (all, longest) = alone.fold((0.0, 0.0_f64), |(all, longest), alone| (all + alone, longest.max(alone)));
    together.max(longest).max(all / most_in_flight.min(items.len()) as f64)
}

struct WeightedBound {
    /// An upper bound of the wire's rate while each step's bits cross, in bits per second.
    rates: Vec<f64>,
}

impl WeightedBound {
    fn new(items: &[Item], weight: f64, free: (f64, f64), most_in_flight: usize) -> Self {
        // What it is worth to have moved a guest: its outbound traffic has left, its inbound traffic has arrived.
        let worth = |i: &Item| weight * i.outbound - (1.0 - weight) * i.inbound;
        let mut order: Vec<&Item> = items.iter().collect();
        order.sort_by(|a, b| (worth(b) * a.image).total_cmp(&(worth(a) * b.image)));
        let free = weight * free.0 + (1.0 - weight) * free.1;
        let total: f64 = items.iter().map(|i| i.image).sum();

        let (mut moved, mut value) = (0.0, 0.0);
        let mut slots: Vec<f64> = Vec::with_capacity(items.len());
        let mut next = order.into_iter().peekable();
        let rates = (0..STEPS)
            .map(|step| {
                // The relaxed knapsack is concave, so its tangent at the middle of the step is above it throughout.
                let from = total * step as f64 / STEPS as f64;
                let to = total * (step + 1) as f64 / STEPS as f64;
                let middle = (from + to) / 2.0;
                while let Some(item) = next.next_if(|item| moved + item.image < middle) {
                    moved += item.image;
                    value += worth(item);
                }
                let slope = next.peek().map_or(0.0, |item| worth(item) / item.image);
                let most = value + slope * (if slope > 0.0 { to } else { from } - moved);
                // Besides, each guest in flight may have left although not all of it has crossed, and need not
                // have arrived although much of it has.
                slots.clear();
                slots.extend(items.iter().map(|i| {
                    weight * i.outbound - (worth(i) - slope * i.image).max(0.0) + (-slope).max(0.0) * i.image
                }));
                free + most + sum_of_largest(&mut slots, most_in_flight)
            })
            .collect();
        Self { rates }
    }
}

/// The sum of the `number` largest of `values` that are positive.
fn sum_of_largest(values: &mut [f64], number: usize) -> f64 {
    if number < values.len() {
        values.select_nth_unstable_by(number, |a, b| b.total_cmp(a));
    }
    values.iter().take(number).map(|value| value.max(0.0)).sum()
}
