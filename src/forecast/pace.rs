//! How fast memory crosses in a run, against what the model says.

use crate::plan::Position;

use super::flight::Flight;

/// Seconds of the model's time over which what crosses is compared.
pub(super) const COMPARED_SECONDS: f64 = 0.5;

/// A migration that goes by no more than a little blank memory gets at least this part of what the others get. Chosen.
const MUCH: f64 = 0.5;

/// So many comparisons are needed before a run says how fast memory crosses.
const FEWEST_COMPARISONS: usize = 3;

/// Weight of the newest comparison in the pace; the last ten seconds count most.
const NEWEST_WEIGHT: f64 = 0.3;

/// If the newest three comparisons are all this many times slower than the pace, or all faster, the link is not the one that was
/// thought. The pace has moved towards them by the third, so a link counts as another if it carries a third less, or half as much
/// again. Chosen.
const ANOTHER_LINK: f64 = 1.3;

/// How much slower or faster than by the model memory may be taken to cross. Chosen: a tenth of what was said is believed, and a
/// burst is not, unless the capacity of a link was only assumed.
const PACES: (f64, f64) = (0.1, 1.5);
/// See [`PACES`].
const FASTEST_IF_ASSUMED: f64 = 100.0;

/// How fast memory crossed in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    /// As a part of what the model says without any experience.
    pub(crate) pace: f64,
    /// Over how many seconds it was compared.
    pub(crate) seconds: f64,
    /// Capacity of the slower of the two links.
    pub(crate) link_bits_per_second: f64,
}

/// What crossed from one forecast to the next, as a part of what the model says, time after time.
#[derive(Default)]
pub(super) struct Paces(pub(super) Vec<f64>);

impl Paces {
    /// Takes in what was `seen` last; the pace from now on, which was `before`. A single comparison may be odd, as where one has few
    /// pages left or goes by zeros, so the middle of the newest three counts; by how much depends on whether they show
    /// [`ANOTHER_LINK`]. Of a link of which the capacity is only assumed more is believed.
    pub(super) fn take(&mut self, seen: f64, before: f64, is_assumed: bool) -> f64 {
        self.0.push(seen);
        let mut newest: Vec<f64> = self.0.iter().rev().copied().chain([before; 2]).take(3).collect();
        newest.sort_by(f64::total_cmp);
        let seen = newest[1].clamp(PACES.0, if is_assumed { FASTEST_IF_ASSUMED } else { PACES.1 });
        let is_other = newest[2] * ANOTHER_LINK < before || newest[0] > before * ANOTHER_LINK;
        if is_other { seen } else { before + NEWEST_WEIGHT * (seen - before) }
    }

    /// The one in the middle, since less crosses for a moment when few pages are left, or few are not blank; and among how many.
    /// `None` if they are too few.
    pub(super) fn middle(&self) -> Option<(f64, usize)> {
        let mut seen = self.0.clone();
        seen.sort_by(f64::total_cmp);
        let middle = seen.get(seen.len() / 2).filter(|_| seen.len() >= FEWEST_COMPARISONS)?;
        Some((*middle, seen.len()))
    }
}

/// What has crossed of `flights` since it was compared last, as a part of what the model says: by it they are in these positions
/// `now`, and [`COMPARED_SECONDS`] `later` in those. `None` if there is nothing to compare.
pub(super) fn compare<'a>(
    flights: impl Iterator<Item = &'a mut Flight>,
    now: &[(usize, Position)],
    later: &[(usize, Position)],
) -> Option<f64> {
    let (mut compared, mut is_whole) = (Vec::new(), true);
    for flight in flights.filter(|flight| flight.flows()) {
        let of = |positions: &[(usize, Position)]| {
            positions.iter().find(|(domain, _)| *domain == flight.planned.domain).map(|(_, position)| *position)
        };
        let goes_on = of(now).zip(of(later)).filter(|(now, later)| now.leg == later.leg);
        // Of each, so that the time that is compared next is the same for all.
        let since = flight.since_compared();
        if let Some(((now, later), (seen, is_blank))) = goes_on.zip(since) {
            let by_model = (later.transferred_bits - now.transferred_bits) / COMPARED_SECONDS;
            compared.push(Compared { seen, by_model, is_blank });
        } else {
            is_whole = false;
        }
    }
    let sum = |of: fn(&Compared) -> f64| compared.iter().map(of).sum::<f64>();
    let pace = sum(|one| one.seen) / sum(|one| one.by_model);
    // What goes by much blank memory leaves a part of the link to the others, if they may use it; and if all go by some, that takes
    // time of its own in the model.
    let is_held_up = |one: &Compared| one.is_blank && one.seen < MUCH * pace * one.by_model;
    is_whole &= !compared.iter().any(is_held_up) && !compared.iter().all(|one| one.is_blank);
    // While nothing crosses at all, the link is gone, and not slow.
    Some(pace).filter(|pace| is_whole && pace.is_finite() && *pace > 0.0)
}

/// Bits per second of one migration, as seen and by the model, and whether it went by blank memory.
struct Compared {
    seen: f64,
    by_model: f64,
    is_blank: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_no_change_of_pace_and_what_lasts_is() {
        let mut paces = Paces::default();
        let mut pace = 1.0;
        for seen in [1.0, 0.1, 1.0, 1.0, 1.4, 1.0] {
            pace = paces.take(seen, pace, false);
            assert_eq!(pace, 1.0, "{seen}");
        }
        for seen in [0.5; 12] {
            pace = paces.take(seen, pace, false);
        }
        assert!((0.5..0.52).contains(&pace), "{pace}");
        // What is plainly another link is believed at the third.
        let three = |paces: &mut Paces, seen| (0..3).fold(1.0, |pace, _| paces.take(seen, pace, false));
        for seen in [0.2, 0.65] {
            assert_eq!(three(&mut Paces::default(), seen), seen);
        }
        assert!(three(&mut Paces::default(), 0.75) > 0.8);
        assert!((0.65..0.75).contains(&Paces(vec![0.0]).take(0.0, 1.0, false)), "less than a tenth is not believed");
        let (mut assumed, mut known) = (Paces(vec![9.0; 2]), Paces(vec![9.0; 2]));
        assert!(assumed.take(9.0, 1.0, true) == 9.0 && known.take(9.0, 1.0, false) == 1.5);
    }
}
