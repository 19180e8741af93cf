//! A pass of pre-copy before a post-copy, where that costs little.
//!
//! A guest that pulls its memory is slowed, and is lost if the link breaks for good. If its memory has been copied once while it
//! ran at the source, it pulls only what it wrote to meanwhile. What it sends stays at the source for so long, and what it wrote to
//! crosses twice: so a guest that mostly sends rarely goes so, one that only writes too much for a pre-copy often does.

use crate::domain::Technique;
use crate::plan::eligibility::Techniques;
use crate::plan::model::{self, Launch};
use crate::plan::search::pareto::same_loss;
use crate::plan::search::space::Space;
use crate::plan::worth::{is_worthless, simulations};

/// A pass is made only if at most this part of the memory is left to be pulled. Chosen: beyond it, most memory crosses twice.
const MOST_PULLED: f64 = 0.5;

/// More simulations than a group takes: one with the pass, and six ways to go by pre-copy instead. So all groups together take no more
/// than [`simulations`] allows.
const PER_GROUP: usize = 8;

/// Makes each post-copy that the planner chose a hybrid, if no more is lost, the evacuation ends by `deadline` (in seconds) and the
/// post-copy is still worth its risk. Very many are judged in groups.
pub(crate) fn with_passes(space: &Space<'_>, mut launches: Vec<Launch>, deadline: f64) -> Vec<Launch> {
    let chosen = |launch: &Launch| {
        launch.technique == Technique::PostCopy && space.choices[launch.guest].techniques == Techniques::Either
    };
    let places: Vec<usize> = (0..launches.len()).filter(|&place| chosen(&launches[place])).collect();
    let groups = (simulations(launches.len()) / PER_GROUP).max(1);
    let mut outcome = model::outcome(space.scene, &launches, f64::INFINITY);
    let most_lost = same_loss(outcome.lost);
    for places in places.chunks(places.len().div_ceil(groups).max(1)) {
        let mut changed = launches.clone();
        let group: Vec<usize> = places.iter().map(|&place| launches[place].guest).collect();
        places.iter().for_each(|&place| changed[place].technique = Technique::Hybrid);
        let after = model::outcome(space.scene, &changed, deadline);
        let images: f64 = group.iter().map(|&guest| space.scene.guests[guest].image).sum();
        let pulls_less = after.pulled <= outcome.pulled - (1.0 - MOST_PULLED) * images;
        if after.unfinished == 0
            && after.lost <= most_lost
            && pulls_less
            && !is_worthless(space, &changed, &group, &after)
        {
            (launches, outcome) = (changed, after);
        }
    }
    launches
}
