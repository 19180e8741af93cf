//! Whose turn it is: the plan's order, and those that a busy destination has turned away.
//!
//! Pure; times are since the start of the run.

use std::collections::VecDeque;
use std::time::Duration;

/// How often one is tried that is turned away although nothing else is in flight, and the pauses before that. With
/// others in flight it waits until one of them has ended, however long that takes.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(20)];

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// This one, now.
    Now(usize),
    /// The next one in that time.
    In(Duration),
    /// Nothing until one of those in flight has ended, or nothing at all.
    AfterOthers,
}

/// Those that wait.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: VecDeque<usize>,
    /// With how many in flight each may start at the most, itself included.
    concurrency: Vec<usize>,
    /// How often each was turned away with nothing else in flight.
    turned_away: Vec<usize>,
    /// Nothing is launched before one of those in flight has ended.
    full: bool,
    not_before: Duration,
}

impl Queue {
    pub(crate) fn new(concurrency: impl Iterator<Item = usize>) -> Self {
        let concurrency: Vec<_> = concurrency.collect();
        Self {
            waiting: (0..concurrency.len()).collect(),
            turned_away: vec![0; concurrency.len()],
            concurrency,
            full: false,
            not_before: Duration::ZERO,
        }
    }

    /// Whose turn is next.
    pub(crate) fn front(&self) -> Option<usize> {
        self.waiting.front().copied()
    }

    /// Takes the next, if it is its turn.
    pub(crate) fn next(&mut self, now: Duration, in_flight: usize) -> Turn {
        match self.waiting.front() {
            Some(&index) if in_flight < self.concurrency[index].max(1) && (!self.full || in_flight == 0) => {
                if now < self.not_before {
                    return Turn::In(self.not_before - now);
                }
                self.waiting.pop_front();
                self.full = false;
                Turn::Now(index)
            }
            _ => Turn::AfterOthers,
        }
    }

    /// The destination was busy: it queues up again behind the others. False where it was tried often enough.
    pub(crate) fn again(&mut self, index: usize, now: Duration, in_flight: usize) -> bool {
        if in_flight == 0 {
            let Some(pause) = PAUSES.get(self.turned_away[index]) else { return false };
            self.turned_away[index] += 1;
            self.not_before = now + *pause;
        }
        self.full = in_flight > 0;
        self.waiting.push_back(index);
        true
    }

    /// One in flight has ended.
    pub(crate) fn freed(&mut self) {
        self.full = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    #[test]
    fn one_that_is_turned_away_waits_for_an_end_behind_the_others() {
        let mut queue = Queue::new([3, 3, 3].into_iter());
        assert_eq!(queue.next(START, 0), Turn::Now(0));
        assert_eq!(queue.next(START, 1), Turn::Now(1));
        assert!(queue.again(1, START, 1));
        assert_eq!(queue.next(START, 1), Turn::AfterOthers, "the next would be turned away as well");
        queue.freed();
        assert_eq!(queue.next(START, 0), Turn::Now(2));
        assert_eq!(queue.next(START, 1), Turn::Now(1));
        assert_eq!(queue.next(START, 1), Turn::AfterOthers);
    }

    #[test]
    fn one_that_is_turned_away_alone_is_tried_again_for_a_while() {
        let mut queue = Queue::new([1].into_iter());
        let mut now = START;
        for tries in 1.. {
            assert_eq!(queue.next(now, 0), Turn::Now(0));
            if !queue.again(0, now, 0) {
                assert_eq!(tries, PAUSES.len() + 1);
                break;
            }
            let Turn::In(pause) = queue.next(now, 0) else { panic!("it has to wait") };
            now += pause;
        }
        assert_eq!(now, Duration::from_secs(37));
    }
}
