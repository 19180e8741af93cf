//! Watches the guests' traffic on both hosts while domains move: one bulk request a second to each host, on
//! connections of its own, which no migration has to wait for.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::libvirt::{Endpoint, Host, Sample};
use crate::profile::rates::SamplingWindow;
use crate::topology::Side;

/// Time between two readings.
const PAUSE: Duration = Duration::from_secs(1);

/// What a host's guests sent and received together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    pub side: Side,
    pub from: Instant,
    pub to: Instant,
    pub outbound_bits_per_second: f64,
    pub inbound_bits_per_second: f64,
}

/// Watches both hosts until nobody listens any more. A host that does not answer has no readings meanwhile.
pub fn watch(source: Endpoint, destination: Endpoint) -> Receiver<Reading> {
    let (sender, readings) = mpsc::channel();
    for (side, endpoint) in [(Side::Source, source), (Side::Destination, destination)] {
        let sender = sender.clone();
        thread::spawn(move || {
            // Where a second connection is refused, the history is without this host's guests.
            if let Ok(host) = Host::open(endpoint) {
                while let Ok(()) = read(&host, side, &sender) {}
            }
        });
    }
    readings
}

/// Reads until the host does not answer; an error says that nobody listens any more.
fn read(host: &Host, side: Side, sender: &Sender<Reading>) -> Result<(), mpsc::SendError<Reading>> {
    let clock = Instant::now();
    let mut last: Option<(Instant, Sample)> = None;
    while let Ok(domains) = host.traffic() {
        let to = Instant::now();
        let sample = Sample { at_seconds: (to - clock).as_secs_f64(), domains };
        if let Some((from, before)) = last.replace((to, sample.clone())) {
            let (outbound_bits_per_second, inbound_bits_per_second) = passed(before, sample);
            sender.send(Reading { side, from, to, outbound_bits_per_second, inbound_bits_per_second })?;
        }
        thread::sleep(PAUSE);
    }
    thread::sleep(PAUSE);
    Ok(())
}

/// What all guests sent and received between two samples, in bits per second.
fn passed(before: Sample, after: Sample) -> (f64, f64) {
    let mut window = SamplingWindow::default();
    window.add(before);
    window.add(after);
    let nics = window.last().iter().flat_map(|domain| window.nics(domain));
    nics.fold((0.0, 0.0), |(sent, received), nic| {
        (sent + nic.outbound_bits_per_second, received + nic.inbound_bits_per_second)
    })
}
