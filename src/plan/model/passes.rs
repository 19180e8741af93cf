//! What follows a pass of a pre-copy: the guest is stopped for the rest, another pass, or passes without end.

use crate::domain::{DOWNTIME_MS, STALL_PASSES, STALL_SECONDS, more_downtime};
use crate::plan::model::scene::{Guest, Scene};

/// Pre-copy stops the guest for the rest as soon as that takes no longer than this many seconds: QEMU's
/// `downtime-limit`, which libvirt leaves at its default.
pub(super) const DOWNTIME_LIMIT: f64 = DOWNTIME_MS as f64 / 1000.0;

/// A pass that leaves more than this part of what it sent makes no headway. Chosen: at 0.98 a migration would
/// need a hundred passes where a good one needs three, and QEMU's own estimates are not that exact.
const NO_HEADWAY: f64 = 0.98;

/// What a pre-copy does after a pass.
pub(super) enum Next {
    /// The guest is stopped for what is left.
    Stop,
    /// So many bits are sent while it runs: those of one pass, or of all that follow.
    Pass {
        bits: f64,
        /// What the guest is stopped for after all that follow.
        stop_bits: Option<f64>,
    },
    /// Passes go on without headway until rates change.
    Stalled,
}

/// Seconds of passes without headway, each of so many `bits`, at `rate`, until the engine takes them for a stall.
pub(super) fn stall_seconds(bits: f64, rate: f64) -> f64 {
    (f64::from(STALL_PASSES) * bits / rate).max(STALL_SECONDS)
}

/// What follows a pass after which `next` bits are left, at `rate`; `share` is the migration's equal part of the link. `is_last`
/// is whether no more passes were to follow.
pub(super) fn after_pass(guest: &Guest, next: f64, is_last: bool, share: f64, rate: f64) -> Next {
    // A saved plan may say less than QEMU allows by itself.
    let allowed = guest.max_downtime_ms.filter(|_| is_last).map_or(0.0, |limit| limit as f64 / 1000.0);
    if next <= allowed.max(DOWNTIME_LIMIT) * rate {
        return Next::Stop;
    }
    let all = |(bits, stop)| Next::Pass { bits, stop_bits: Some(stop) };
    if guest.dirtied(next / rate) >= NO_HEADWAY * next {
        more_downtime_ends(guest, next, rate).map_or(Next::Stalled, all)
    } else if rate > share {
        passes_to_the_end(guest, next, rate).map_or(Next::Stalled, all)
    } else {
        // At its own share it goes pass by pass, since that may change.
        Next::Pass { bits: next, stop_bits: None }
    }
}

/// Whether a pre-copy of `guest` ends when it gets `wire` bits per second of the link.
pub(in crate::plan) fn can_converge(scene: &Scene, guest: usize, wire: f64) -> bool {
    let guest = &scene.guests[guest];
    let rate = scene.goodput(wire, 1);
    if rate <= 0.0 {
        return false;
    }
    passes_to_the_end(guest, guest.image, rate).is_some()
}

/// What a pre-copy sends at `rate`, from a pass of `next` bits on, until it may stop, and what it then stops for, in bits; `None` if
/// it never may.
fn passes_to_the_end(guest: &Guest, mut next: f64, rate: f64) -> Option<(f64, f64)> {
    let mut sent = 0.0;
    loop {
        let after = guest.dirtied(next / rate);
        sent += next;
        if after <= DOWNTIME_LIMIT * rate {
            return Some((sent, after));
        }
        if after >= NO_HEADWAY * next {
            return more_downtime_ends(guest, after, rate).map(|(more, stop)| (sent + more, stop));
        }
        next = after;
    }
}

/// What a pre-copy without headway sends, from a pass of `next` bits on, until it is allowed a downtime that lets it end, and
/// what it then stops for, in bits; `None` if no downtime does that it may be allowed.
fn more_downtime_ends(guest: &Guest, mut next: f64, rate: f64) -> Option<(f64, f64)> {
    let limit = guest.max_downtime_ms;
    let (mut passes, mut sent, mut allowed) = (0, 0.0, DOWNTIME_MS);
    more_downtime(allowed, limit)?;
    while next > allowed as f64 / 1000.0 * rate {
        if passes >= STALL_PASSES && sent / rate >= STALL_SECONDS {
            allowed = more_downtime(allowed, limit)?;
        }
        passes += 1;
        sent += next;
        next = guest.dirtied(next / rate);
    }
    Some((sent, next))
}
