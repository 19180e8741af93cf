//! The peer: the other end of the guests' traffic, and the record of it.
//!
//! The record is one line per [`INTERVAL`], also when nothing ran: a flow that is missing from a line was dead, and
//! a line that is missing is a fault of the lab.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tsmig_lab_guest::{
    flow::{Direction, PORT},
    serve,
};

/// Time between two lines of the record.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// One line of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// End of the interval, in seconds since 1970.
    pub(crate) time: f64,
    /// Length of the interval, in seconds.
    pub(crate) seconds: f64,
    /// What ran, for each guest that had any traffic.
    pub(crate) guests: BTreeMap<String, Bytes>,
}

/// What a guest exchanged with the peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bytes {
    /// Bytes that the peer got from the guest.
    pub(crate) from_guest: u64,
    /// Bytes that the guest got from the peer, as reported by the guest.
    pub(crate) to_guest: u64,
}

/// What ran since the last line.
#[derive(Default)]
struct Meter(Mutex<BTreeMap<String, Bytes>>);

impl Meter {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        // Counters cannot be left half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, guest: &str, direction: Direction, bytes: u64) {
        let mut guests = self.lock();
        let sum = guests.entry(guest.to_owned()).or_default();
        match direction {
            Direction::Send => sum.from_guest += bytes,
            Direction::Receive => sum.to_guest += bytes,
        }
    }
}

/// Serves guests for ever, and writes the record.
pub(crate) fn serve(record: &Path) -> Result<()> {
    let mut record = File::create(record).with_context(|| format!("creating {}", record.display()))?;
    let listener =
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).with_context(|| format!("listening on port {PORT}"))?;
    let meter = Meter::default();
    thread::scope(|scope| {
        scope.spawn(|| serve::serve(&listener, &|guest, direction, bytes| meter.add(guest, direction, bytes)));
        write_record(&mut record, &meter)
    })
}

fn write_record(record: &mut File, meter: &Meter) -> Result<()> {
    let mut last = Instant::now();
    loop {
        thread::sleep((last + INTERVAL).saturating_duration_since(Instant::now()));
        let guests = std::mem::take(&mut *meter.lock());
        let time = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let now = Instant::now();
        let line = Line { time: time.as_secs_f64(), seconds: (now - last).as_secs_f64(), guests };
        last = now;
        let mut text = serde_json::to_string(&line).context("encoding the record")?;
        text.push('\n');
        record.write_all(text.as_bytes()).context("writing the record")?;
    }
}
