//! Whether a pre-copy gets anywhere: judged pass by pass, and by whether bytes cross at all.
//!
//! What remains to be sent falls during a pass and jumps up at its end, when the pages that the guest wrote meanwhile
//! are counted: a saw tooth, in which two samples compare nothing. So what is compared is what each pass began with, among
//! passes that had the same share of the link. Passes may be as short as the time between two looks, so what was sent between
//! them counts as well: what a look finds of a pass that is half over looks like headway.

use crate::domain::{DOWNTIME_MS, STALL_PASSES, STALL_SECONDS, more_downtime};
use crate::libvirt::JobStats;

/// A pass gains if it begins with less than this part of the smallest so far; Nova's threshold.
pub(crate) const GAIN: f64 = 0.9;

/// A pre-copy is slow if its passes would take so many seconds longer than pulling what is left. Chosen: as long as a stall has to
/// last.
const SLOWER_SECONDS: f64 = STALL_SECONDS;

/// A pass that took fewer seconds does not tell that. Chosen: of guests that only had traffic, passes of up to 1.2 s left more than
/// they began with, and the next was the last.
const TELLING_SECONDS: f64 = 1.5;

/// Seconds without a single byte after which the network counts as broken. The slowest migration that libvirt can be
/// asked for sends 1 MiB/s.
pub const SILENCE_SECONDS: f64 = 10.0;

/// The longest time between two looks that counts as silence, in seconds: what happened while the source did not
/// answer is not known.
const LONGEST_LOOK: f64 = 2.0;

/// A pre-copy that ends, but late.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slow {
    pub(super) pass: u64,
    /// What was left in bytes when the pass began.
    pub(super) remaining: u64,
    /// How much longer it takes from there than pulling that.
    pub(super) seconds: f64,
}

/// What a pre-copy did so far.
#[derive(Debug, Clone, Default)]
pub struct Convergence {
    pass: u64,
    /// The pass that began with the least, what that was, and when it was seen; from the second pass on.
    best: Option<(u64, u64, f64)>,
    stalled: Option<(u64, u64)>,
    /// The last pass, when it began, and with what; from the second on.
    last: Option<(u64, f64, u64)>,
    slow: Option<Slow>,
    /// Among how many the link is shared.
    many: usize,
    /// If it has so little of it, for a while, that it can't be judged: since when, and since which pass.
    held_back: Option<(f64, u64)>,
    /// What had crossed and what was left at the last look, and when that was.
    transferred: u64,
    remaining: u64,
    looked_at: Option<f64>,
    silent_seconds: f64,
}

impl Convergence {
    /// Takes in statistics; returns whether no byte has crossed for [`SILENCE_SECONDS`].
    pub fn look(&mut self, now: f64, job: &JobStats) -> bool {
        let unseen = self.looked_at.is_some_and(|last| now - last > LONGEST_LOOK);
        if unseen || self.silent_seconds > LONGEST_LOOK {
            // How long the pass would have taken is not known.
            self.last = None;
        }
        if job.pass > self.pass {
            let passes = job.pass - self.pass;
            self.pass = job.pass;
            // What one that runs already began its pass with is not known.
            if self.looked_at.is_some() {
                // What was sent beyond what the pass before had left belonged to those since, of which that is the mean.
                let sent = job.transferred.saturating_sub(self.transferred).saturating_sub(self.remaining);
                self.begin_pass(now, (job.remaining + sent) / passes);
            }
        }
        let since = self.looked_at.map_or(0.0, |last| (now - last).min(LONGEST_LOOK));
        self.looked_at = Some(now);
        // Before the first byte, the two hosts set it up: libvirt has its own limit for that.
        if job.transferred == self.transferred && self.transferred > 0 {
            self.silent_seconds += since;
        } else {
            self.silent_seconds = 0.0;
        }
        (self.transferred, self.remaining) = (job.transferred, job.remaining);
        self.silent_seconds > SILENCE_SECONDS
    }

    /// From now on the link is shared among so `many`: what passes left with another share compares no more. One that
    /// is held back is not judged at all; once it has its share again, it goes on where it was.
    pub fn share_again(&mut self, many: usize, held_back: bool) {
        if many != self.many {
            self.many = many;
            (self.best, self.held_back) = (None, None);
        } else if held_back == self.held_back.is_some() {
            return;
        }
        (self.stalled, self.last, self.slow) = (None, None, None);
        let now = self.looked_at.unwrap_or_default();
        if held_back {
            self.held_back = Some((now, self.pass));
        } else if let (Some((since, first)), Some((pass, _, at))) = (self.held_back.take(), self.best.as_mut()) {
            (*pass, *at) = (*pass + self.pass - first, *at + now - since);
        }
    }

    /// The pass and what it began with, in bytes, if passes bring no gain any more.
    pub fn stalled(&self) -> Option<(u64, u64)> {
        self.stalled
    }

    /// Whether passes go on for long, by the last of them.
    pub(super) fn slow(&self) -> Option<Slow> {
        self.slow
    }

    fn begin_pass(&mut self, now: f64, remaining: u64) {
        // The first pass is the whole memory: nothing to compare with.
        if self.pass < 2 || self.held_back.is_some() {
            return;
        }
        let last = self.last.replace((self.pass, now, remaining)).filter(|(pass, ..)| pass + 1 == self.pass);
        self.slow = last.and_then(|(_, began, before)| {
            // Each pass takes this part of the one before it: what is left takes `took * part` once, or that and all that follow.
            let (took, part) = (now - began, remaining as f64 / before.max(1) as f64);
            let seconds = took * part * part / (1.0 - part);
            // Without gain it may be a busy moment: that is a stall, if it goes on.
            let tells = part < GAIN && took >= TELLING_SECONDS;
            (tells && seconds >= SLOWER_SECONDS).then_some(Slow { pass: self.pass, remaining, seconds })
        });
        match self.best {
            Some((_, least, _)) if remaining as f64 >= least as f64 * GAIN => {}
            _ => self.best = Some((self.pass, remaining, now)),
        }
        if let Some((pass, _, at)) = self.best {
            let stalled = self.pass - pass >= u64::from(STALL_PASSES) && now - at >= STALL_SECONDS;
            self.stalled = stalled.then_some((self.pass, remaining));
        }
    }
}

/// The downtime that a pre-copy is allowed: raised by one step in each pass that still brings no gain, so that QEMU tries each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Downtime {
    limit_ms: Option<u64>,
    allowed_ms: u64,
    /// The pass in which it was raised.
    raised_in: u64,
}

/// What a stall comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stall {
    /// So many milliseconds are to be allowed.
    Raise(u64),
    /// What was allowed has had no whole pass yet.
    Wait,
    /// No more may be allowed.
    Final,
}

impl Downtime {
    pub(super) fn up_to(limit_ms: Option<u64>) -> Self {
        Self { limit_ms, allowed_ms: DOWNTIME_MS, raised_in: 0 }
    }

    /// Passes bring no gain, up to this one.
    pub(super) fn stalled(&mut self, pass: u64) -> Stall {
        if pass <= self.raised_in {
            return Stall::Wait;
        }
        let Some(more) = more_downtime(self.allowed_ms, self.limit_ms) else { return Stall::Final };
        (self.allowed_ms, self.raised_in) = (more, pass);
        Stall::Raise(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(pass: u64, transferred: u64, remaining: u64) -> JobStats {
        JobStats { total: 1000, transferred, remaining, pass, ..JobStats::default() }
    }

    /// Passes of three seconds that begin with so much; each is looked at twice a second.
    fn run(passes: &[u64]) -> Convergence {
        let mut convergence = Convergence::default();
        let (mut now, mut transferred) = (0.0, 1);
        for (index, begins_with) in passes.iter().enumerate() {
            for look in 0..6 {
                let sent = begins_with * look / 6;
                assert!(!convergence.look(now, &job(index as u64 + 1, transferred + sent, begins_with - sent)));
                now += 0.5;
            }
            transferred += begins_with;
        }
        convergence
    }

    #[test]
    fn a_saw_tooth_that_shrinks_from_pass_to_pass_converges() {
        assert_eq!(run(&[1000, 500, 300, 200, 120, 80, 50, 30]).stalled(), None);
        // Slowly is enough: a tenth less over any three passes.
        assert_eq!(run(&[1000, 500, 480, 460, 440, 420, 400, 380]).stalled(), None);
    }

    #[test]
    fn passes_that_begin_with_no_less_are_a_stall() {
        assert_eq!(run(&[1000, 400, 410, 390]).stalled(), None, "two passes without gain may be a busy moment");
        assert_eq!(run(&[1000, 400, 410, 390, 405]).stalled(), Some((5, 405)));
    }

    #[test]
    fn a_pass_that_was_half_over_at_the_first_look_is_no_measure_for_others() {
        let mut convergence = Convergence::default();
        for (second, (pass, remaining)) in (0..).zip([(3, 30), (4, 350), (5, 300), (6, 250), (7, 200)]) {
            convergence.look(f64::from(second) * 2.0, &job(pass, pass * 1000, remaining));
        }
        assert_eq!(convergence.stalled(), None);
    }

    #[test]
    fn one_pass_that_gains_is_the_end_of_a_stall() {
        assert_eq!(run(&[1000, 400, 400, 400, 400, 100]).stalled(), None);
    }

    #[test]
    fn what_ends_much_later_than_a_pull_is_slow() {
        // Each pass takes three seconds, whatever it sends.
        let seconds = |passes: &[u64]| run(passes).slow().map(|slow| (slow.pass, slow.remaining, slow.seconds.round()));
        assert_eq!(seconds(&[1000, 400]), None, "how fast it writes is not known from a first pass, which may be long");
        assert_eq!(seconds(&[1000, 400, 340]), Some((3, 340, 14.0)));
        assert_eq!(seconds(&[1000, 400, 300]), Some((3, 300, 7.0)));
        assert_eq!(seconds(&[1000, 400, 280]), None);
        assert_eq!(seconds(&[1000, 400, 800]), None, "a busy moment, or a stall");
        assert_eq!(seconds(&[1000, 400, 340, 100]), None, "it gains again");
        let mut shared = run(&[1000, 400, 340]);
        shared.share_again(2, false);
        assert_eq!(shared.slow(), None, "with another share of the link");
        let of_looks = |looks: &[(f64, u64, u64, u64)]| {
            let mut convergence = Convergence::default();
            for &(now, pass, transferred, remaining) in looks {
                convergence.look(now, &job(pass, transferred, remaining));
            }
            convergence.slow()
        };
        assert_eq!(of_looks(&[(0.0, 1, 100, 900), (1.0, 2, 1000, 400), (2.2, 3, 1400, 350)]), None, "a short pass");
        let unseen = [(0.0, 1, 100, 900), (1.0, 2, 1000, 400), (9.0, 3, 1400, 340)];
        assert_eq!(of_looks(&unseen), None, "nobody saw how long it took");
        let silence = (2..9).map(|second| (f64::from(second), 2, 1000, 400));
        let silent: Vec<_> = unseen[..2].iter().copied().chain(silence).chain([(9.0, 3, 1400, 340)]).collect();
        assert_eq!(of_looks(&silent), None, "nothing crossed for most of it");
    }

    #[test]
    fn each_step_of_the_downtime_has_a_whole_pass() {
        let mut downtime = Downtime::up_to(Some(1000));
        let stalls = [5, 5, 6, 6, 7, 7, 8].map(|pass| downtime.stalled(pass));
        use Stall::{Final, Raise, Wait};
        assert_eq!(stalls, [Raise(600), Wait, Raise(1000), Wait, Final, Final, Final]);
        assert_eq!(Downtime::up_to(None).stalled(5), Final, "nothing changes without a limit");
        assert_eq!(Downtime::up_to(Some(300)).stalled(5), Final);
    }

    #[test]
    fn passes_of_an_instant_are_no_stall_yet() {
        let mut convergence = Convergence::default();
        for pass in 1..20 {
            convergence.look(pass as f64 / 10.0, &job(pass, pass * 10, 10));
        }
        assert_eq!(convergence.stalled(), None);
    }

    #[test]
    fn passes_with_different_shares_of_the_link_are_not_compared() {
        let mut convergence = run(&[1000, 400, 410, 400, 390]);
        assert!(convergence.stalled().is_some());
        // An eighth of the link, for the sake of another: the passes grow, and that says nothing.
        convergence.share_again(2, true);
        let pass = |number: u64| job(number, number * 1000, 800);
        for number in 6..20 {
            convergence.look(number as f64 * 10.0, &pass(number));
        }
        assert_eq!(convergence.stalled(), None);
        convergence.share_again(2, false);
        for number in 20..23 {
            convergence.look(number as f64 * 10.0, &pass(number));
        }
        assert_eq!(convergence.stalled(), None, "it starts anew");
        convergence.look(230.0, &pass(23));
        assert_eq!(convergence.stalled(), Some((23, 1000)), "what it began with, of which some has crossed by then");
    }

    #[test]
    fn who_is_held_back_time_and_again_is_judged_by_the_rest() {
        let mut convergence = Convergence::default();
        convergence.share_again(2, false);
        // Passes of a second, all alike; for one in two another is let past.
        let stalled = (1_u64..40).find(|pass| {
            convergence.share_again(2, pass % 2 == 0);
            for half in 0..2_u64 {
                let sent = (pass * 2 + half) * 50;
                convergence.look((pass * 2 + half) as f64 / 2.0, &job(*pass, sent, 100 - 50 * half));
            }
            convergence.stalled().is_some()
        });
        // From the third pass on, five seconds in which it has its share.
        assert_eq!(stalled, Some(13));
    }

    #[test]
    fn looks_at_passes_that_are_half_over_show_no_headway() {
        let mut convergence = Convergence::default();
        // Passes of 0.6 s that send 100 each, looked at every half a second: what is left then is anything.
        let looks = (0_u64..40).map(|look| look * 5);
        let stalled = looks.into_iter().find(|tenths| {
            let (pass, within) = (tenths / 6 + 1, tenths % 6);
            let sent = (pass - 1) * 100 + within * 100 / 6;
            convergence.look(*tenths as f64 / 10.0, &job(pass, sent, 100 - within * 100 / 6));
            convergence.stalled().is_some()
        });
        // The second pass is seen at a second; five seconds later it is a stall.
        assert_eq!(stalled, Some(60));
    }

    #[test]
    fn silence_is_no_byte_for_long_after_the_first() {
        let mut convergence = Convergence::default();
        let mut silent = |from: u32, to: u32, transferred| {
            (from..to).any(|half| convergence.look(f64::from(half) / 2.0, &job(1, transferred, 900)))
        };
        assert!(!silent(0, 60, 0), "libvirt has its own limit for the start");
        assert!(!silent(60, 79, 5));
        assert!(!silent(79, 98, 6), "one byte is a sign of life");
        assert!(silent(98, 110, 6));
    }

    #[test]
    fn a_source_that_did_not_answer_is_not_a_silent_network() {
        let mut convergence = Convergence::default();
        assert!(!convergence.look(0.0, &job(1, 5, 900)));
        assert!(!convergence.look(60.0, &job(1, 5, 900)));
    }
}
