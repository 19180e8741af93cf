//! Whose turn it is: the plan's order, and those that a busy destination has turned away.
//!
//! Pure; times are since the start of the run.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::Transfer;

/// How often one is tried that is turned away although nothing else is in flight, and the pauses before that. With
/// others in flight it waits until one of them has ended, however long that takes.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(20)];

/// A new order for domains that wait, and why. Those that it does not name come behind, as they were.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// In their new order.
    pub order: Vec<Scheduled>,
    /// What was seen that the plan did not know.
    pub reason: Replanned,
}

/// Why what waits is launched otherwise than planned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Replanned {
    /// How much sooner all is expected to end by it, in seconds; `None` if it was not expected to end.
    pub sooner_seconds: Option<f64>,
    /// Seconds from a launch to its first byte, as seen in this run; `None` if that was not seen yet.
    pub setup_seconds: Option<f64>,
    /// How fast memory crosses, as a part of what the plan counts on.
    pub pace: f64,
}

/// One domain of a [`Schedule`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The domain's UUID.
    pub uuid: String,
    /// How it crosses.
    pub transfer: Transfer,
    /// It starts as soon as fewer than this many are in flight.
    pub concurrency: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Now(Waiting),
    /// The next one at that time.
    At(Duration),
    /// Nothing until one of those in flight has ended, or nothing at all.
    AfterOthers,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) uuid: String,
    /// With how many in flight it may start at the most, itself included.
    concurrency: usize,
    /// How often it was turned away with nothing else in flight.
    turned_away: usize,
}

#[derive(Debug)]
pub(crate) struct LaunchQueue {
    waiting: VecDeque<Waiting>,
    /// Nothing is launched before one of those in flight has ended.
    full: bool,
    not_before: Duration,
}

impl LaunchQueue {
    /// Domains by their UUIDs, each with how many may be in flight at the most when it starts, itself included.
    pub(crate) fn new(domains: impl Iterator<Item = (String, usize)>) -> Self {
        let waiting = domains.map(|(uuid, concurrency)| Waiting { uuid, concurrency, turned_away: 0 });
        Self { waiting: waiting.collect(), full: false, not_before: Duration::ZERO }
    }

    pub(crate) fn front(&self) -> Option<&str> {
        self.waiting.front().map(|waiting| waiting.uuid.as_str())
    }

    /// Takes the next, if it is its turn.
    pub(crate) fn next(&mut self, now: Duration, in_flight: usize) -> Turn {
        let fits = |next: &Waiting| in_flight < next.concurrency.max(1) && (!self.full || in_flight == 0);
        if !self.waiting.front().is_some_and(fits) {
            return Turn::AfterOthers;
        }
        if now < self.not_before {
            return Turn::At(self.not_before);
        }
        self.full = false;
        self.waiting.pop_front().map_or(Turn::AfterOthers, Turn::Now)
    }

    /// The destination was busy: it queues up again behind the others. False if it was tried often enough.
    pub(crate) fn again(&mut self, mut one: Waiting, now: Duration, in_flight: usize) -> bool {
        if in_flight == 0 {
            let Some(pause) = PAUSES.get(one.turned_away) else { return false };
            one.turned_away += 1;
            self.not_before = now + *pause;
        }
        self.full = in_flight > 0;
        self.waiting.push_back(one);
        true
    }

    /// Those that wait come in a new order.
    pub(crate) fn replace(&mut self, schedule: &Schedule) {
        let mut others = mem::take(&mut self.waiting);
        for Scheduled { uuid, concurrency, .. } in &schedule.order {
            let place = others.iter().position(|waiting| waiting.uuid == *uuid);
            let named = place.and_then(|place| others.remove(place));
            self.waiting.extend(named.map(|waiting| Waiting { concurrency: *concurrency, ..waiting }));
        }
        self.waiting.append(&mut others);
    }

    pub(crate) fn freed(&mut self) {
        self.full = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    fn queue(domains: &[&str]) -> LaunchQueue {
        LaunchQueue::new(domains.iter().map(|uuid| ((*uuid).to_owned(), domains.len())))
    }

    fn next(queue: &mut LaunchQueue, in_flight: usize) -> Waiting {
        let Turn::Now(next) = queue.next(START, in_flight) else { panic!("{queue:?}") };
        next
    }

    #[test]
    fn one_that_is_turned_away_waits_for_an_end_behind_the_others() {
        let mut queue = queue(&["a", "b", "c"]);
        assert_eq!(next(&mut queue, 0).uuid, "a");
        let turned_away = next(&mut queue, 1);
        assert_eq!(turned_away.uuid, "b");
        assert!(queue.again(turned_away, START, 1));
        assert_eq!(queue.next(START, 1), Turn::AfterOthers, "the next would be turned away as well");
        queue.freed();
        assert_eq!(next(&mut queue, 0).uuid, "c");
        assert_eq!(next(&mut queue, 1).uuid, "b");
        assert_eq!(queue.next(START, 1), Turn::AfterOthers);
    }

    #[test]
    fn one_that_is_turned_away_alone_is_tried_again_for_a_while() {
        let mut queue = queue(&["a"]);
        let mut now = START;
        for tries in 1.. {
            let Turn::Now(one) = queue.next(now, 0) else { panic!("it has to be its turn") };
            if !queue.again(one, now, 0) {
                assert_eq!(tries, PAUSES.len() + 1);
                break;
            }
            let Turn::At(time) = queue.next(now, 0) else { panic!("it has to wait") };
            now = time;
        }
        assert_eq!(now, Duration::from_secs(37));
    }
}
