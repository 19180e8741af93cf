//! The thread that asks both hosts what their domains' NICs carry, for the watch over those that arrive: one question a host
//! for all of them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::arrival::Watch;
use crate::failure::Distress;
use crate::libvirt::Hosts;
use crate::topology::Side;

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(500);

/// Watches until nobody can tell of an arrival any more. Hears of domains that have arrived by their UUIDs, and tells of each
/// once whether it is in distress.
pub(super) fn watch(
    hosts: &Arc<dyn Hosts>,
    mut watch: Watch,
    arrivals: &Receiver<String>,
    tell: impl Fn(String, Option<Distress>),
) {
    let start = Instant::now();
    loop {
        let now = || start.elapsed().as_secs_f64();
        match arrivals.recv_timeout(PAUSE) {
            Ok(uuid) => watch.arrived(&uuid, now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for side in [Side::Source, Side::Destination] {
            // A host that does not answer has counted nothing meanwhile.
            if let Ok(domains) = hosts.vitals(side) {
                watch.see(side, now(), &domains);
            }
        }
        watch.verdicts(now()).into_iter().for_each(|(uuid, distress)| tell(uuid, distress));
    }
}
