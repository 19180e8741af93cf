//! The search for the best plan: technique, order and concurrency, judged by the contention model.
//!
//! For up to [`EXACT`] guests every choice of techniques is tried, each searched for orders and levels of concurrency
//! in the same way whether it is forced or one of many, so that no forced choice can do better than the free one. For
//! more guests, [`climb`] searches all three together within a fixed number of simulations.

use super::bound::lower_bound;
use super::classify::Techniques;
use super::climb::climb;
use super::front::Front;
use super::improve::polish;
use super::model::{self, Launch};
use super::order::{ALL, orders, patterns};
use super::scene::Scene;
use super::{Alternative, Demands, Technique};

/// Most migrations in flight unless the user says otherwise.
///
/// libvirtd serves calls with 20 workers (its `max_workers`); each migration keeps one busy at either host and
/// some must be left for control, so about 15 at once per daemon work.
pub(super) const MOST_IN_FLIGHT: usize = 15;

/// Up to so many guests every choice of techniques is tried.
const EXACT: usize = 10;

/// A choice of techniques is left aside where its fastest schedule, unpolished, takes this many times longer than
/// the longest that may still be picked. Chosen: polishing gained at most 0.06 on random
/// instances of five to ten guests.
const HOPE: f64 = 1.15;

/// What the search may do with one guest.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// How it may move.
    pub(super) techniques: Techniques,
    /// Lower ranks are launched first.
    pub(super) rank: i32,
}

/// What the search may do with all of them.
pub(super) struct Space<'a> {
    pub(super) scene: &'a Scene,
    pub(super) choices: &'a [Choice],
    /// By guest: its pre-copy could not end even alone.
    pub(super) hopeless: Vec<bool>,
    pub(super) most_in_flight: usize,
    pub(super) most_in_post_copy: usize,
}

/// The result of a search.
pub(super) struct Found {
    /// The best launches in order.
    pub(super) launches: Vec<Launch>,
    /// Seconds that the fastest plan takes that was found; `None` where none ends.
    pub(super) fastest: Option<f64>,
    /// Seconds below which no plan ends.
    pub(super) bound: f64,
}

/// The best launches for the guests of `scene`.
pub(super) fn best(scene: &Scene, choices: &[Choice], demands: &Demands) -> Found {
    let most_in_flight = demands.concurrency.unwrap_or(MOST_IN_FLIGHT).clamp(1, choices.len().max(1));
    let space = Space {
        scene,
        choices,
        hopeless: (0..choices.len()).map(|guest| !model::can_converge(scene, guest, scene.link())).collect(),
        most_in_flight,
        most_in_post_copy: demands.post_copy_limit.unwrap_or(most_in_flight).clamp(1, most_in_flight),
    };
    let mut front = Front::new(demands.objective);
    if choices.len() <= EXACT {
        for techniques in space.all_assignments() {
            space.try_schedules(&techniques, &mut front);
        }
    }
    // Where all choices but not all orders were tried, climbing from one choice to another may still find a better.
    if choices.len() > EXACT || choices.len() > ALL && (0..choices.len()).any(|guest| space.is_free(guest)) {
        climb(&space, &mut front);
    }
    Found {
        fastest: front.fastest(),
        bound: lower_bound(scene, most_in_flight),
        launches: front.pick().map(|best| best.launches.clone()).unwrap_or_default(),
    }
}

impl Space<'_> {
    /// Whether the planner may choose for this guest; an idle one gains nothing by post-copy, and is never put at
    /// its risk.
    pub(super) fn is_free(&self, guest: usize) -> bool {
        self.choices[guest].techniques == Techniques::Either && !self.scene.guests[guest].is_idle()
    }

    /// Pre-copy wherever it is allowed.
    pub(super) fn all_pre_copy(&self) -> Vec<Technique> {
        let technique = |choice: &Choice| match choice.techniques {
            Techniques::Forced(technique, _) => technique,
            Techniques::Either | Techniques::OnlyPreCopy(_) => Technique::PreCopy,
        };
        self.choices.iter().map(technique).collect()
    }

    /// All choices of techniques; of guests that are alike, it only matters how many go by post-copy.
    fn all_assignments(&self) -> Vec<Vec<Technique>> {
        let mut assignments = vec![self.all_pre_copy()];
        let mut classes: Vec<Vec<usize>> = Vec::new();
        for guest in (0..self.choices.len()).filter(|&guest| self.is_free(guest)) {
            let alike = |other: usize| {
                self.scene.guests[guest] == self.scene.guests[other]
                    && self.choices[guest].rank == self.choices[other].rank
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
    /// fastest schedules of the best orders where those were not all that there are.
    fn try_schedules(&self, techniques: &[Technique], front: &mut Front) {
        let guests = techniques.len();
        let post_copies = techniques.iter().filter(|&&technique| technique == Technique::PostCopy).count();
        let patterns = patterns(guests, post_copies, self.most_in_flight);
        let mut starts: Vec<(f64, Vec<Launch>)> = Vec::new();
        for order in orders(self, techniques) {
            let mut fastest = (f64::INFINITY, Vec::new());
            for pattern in &patterns {
                let launches = self.launches(techniques, &order, |place| pattern[place]);
                let seconds = front.offer(self.scene, &launches, HOPE * front.deadline()).fast();
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
                polish(self, launches, false, usize::MAX, front);
            }
        }
    }

    /// The schedule in which guests go in `order`, with the concurrency that `level` gives by place.
    pub(super) fn launches(
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

    /// Lowers the concurrency of `launch` to what is allowed. While a post-copy starts only if fewer than so many
    /// are in flight, no more than that are in post-copy.
    pub(super) fn limit(&self, launch: &mut Launch) {
        let post_copy = launch.technique == Technique::PostCopy;
        let most = if post_copy { self.most_in_post_copy } else { self.most_in_flight };
        launch.concurrency = launch.concurrency.min(most);
    }

    /// Pre-copy wherever it is allowed, and would end with `level` of them sharing what all the traffic leaves.
    pub(super) fn pre_copy_where_it_ends(&self, level: usize) -> Vec<Technique> {
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

/// What people do today, by the same model: all at once by either technique, and a loop of pre-copies; in the
/// order of the names, as a loop over a listing goes.
pub(super) fn alternatives(scene: &Scene, choices: &[Choice], demands: &Demands) -> Vec<Alternative> {
    let all = demands.concurrency.unwrap_or(MOST_IN_FLIGHT);
    [
        ("pre-copy-only", Technique::PreCopy, all),
        ("post-copy-only", Technique::PostCopy, all),
        ("one-by-one-pre-copy", Technique::PreCopy, 1),
    ]
    .into_iter()
    .map(|(policy, technique, concurrency)| {
        let launches: Vec<Launch> = choices
            .iter()
            .enumerate()
            .map(|(guest, choice)| {
                let possible = !matches!(choice.techniques, Techniques::OnlyPreCopy(_));
                Launch { guest, technique: if possible { technique } else { Technique::PreCopy }, concurrency }
            })
            .collect();
        Alternative { policy: policy.to_owned(), predicted: model::outcome(scene, &launches, f64::INFINITY).totals() }
    })
    .collect()
}
