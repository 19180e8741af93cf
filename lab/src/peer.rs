//! The peer: the other end of all guests' traffic, and the record of it.
//!
//! One thread per connection, so that no stalled guest keeps another waiting. The record is one
//! line per [`INTERVAL`], also when nothing ran: a flow that is missing from a line was dead, and
//! a line that is missing is a fault of the lab.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tsmig_lab_guest::{
    flow::{Announcement, Direction, PORT, STALL},
    pacer::Pacer,
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

    fn add(&self, guest: &str, bytes: Bytes) {
        let mut guests = self.lock();
        let sum = guests.entry(guest.to_owned()).or_default();
        sum.from_guest += bytes.from_guest;
        sum.to_guest += bytes.to_guest;
    }
}

/// Serves guests for ever, and writes the record.
pub(crate) fn serve(record: &Path) -> Result<()> {
    let mut record = File::create(record).with_context(|| format!("creating {}", record.display()))?;
    let listener =
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).with_context(|| format!("listening on port {PORT}"))?;
    let meter = Meter::default();
    thread::scope(|scope| {
        let meter = &meter;
        scope.spawn(move || {
            for connection in listener.incoming().flatten() {
                // A connection that ends is nothing to report: the guest makes another.
                scope.spawn(move || drop(serve_guest(connection, meter)));
            }
        });
        write_record(&mut record, meter)
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

fn serve_guest(stream: TcpStream, meter: &Meter) -> Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let announcement: Announcement = line.parse()?;
    match announcement.direction {
        Direction::Send => count_sent(reader, &announcement.guest, meter),
        Direction::Receive => thread::scope(|scope| {
            // Whichever half ends first ends the other: traffic that nobody counts would look like none. The
            // connection may be gone already.
            let end = || drop(stream.shutdown(std::net::Shutdown::Both));
            scope.spawn(move || {
                // A guest that stands still in a post-copy sends no reports for a while, and makes a new connection.
                drop(count_received(reader, &announcement.guest, meter));
                end();
            });
            let result = send(&stream, announcement.bits_per_second);
            end();
            result
        }),
    }
}

fn count_sent(mut reader: impl Read, guest: &str, meter: &Meter) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let bytes = reader.read(&mut buffer)? as u64;
        if bytes == 0 {
            return Ok(());
        }
        meter.add(guest, Bytes { from_guest: bytes, to_guest: 0 });
    }
}

fn send(mut stream: &TcpStream, bits_per_second: u64) -> Result<()> {
    let mut pacer = Pacer::new(bits_per_second as f64 / 8.0);
    // Not zeros, lest a migration find the guest's buffers easy to send.
    let chunk: Vec<u8> = (0..pacer.chunk(1)).map(|index| (index * 31 % 251) as u8).collect();
    loop {
        pacer.wait(chunk.len());
        stream.write_all(&chunk)?;
    }
}

/// Adds up a guest's reports. Its count runs on over its connections, so the first report of a
/// connection only says where this connection starts.
fn count_received(mut reader: impl Read, guest: &str, meter: &Meter) -> io::Result<()> {
    let mut last = None;
    loop {
        let mut report = [0; 8];
        reader.read_exact(&mut report)?;
        let count = u64::from_be_bytes(report);
        let new = count.saturating_sub(last.unwrap_or(count));
        meter.add(guest, Bytes { from_guest: 0, to_guest: new });
        last = Some(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_the_guest_reports() {
        let meter = Meter::default();
        let reports: Vec<u8> = [1000_u64, 1500, 4000].iter().flat_map(|n| n.to_be_bytes()).collect();
        // The stream ends; that is how a connection ends.
        count_received(&reports[..], "i1", &meter).unwrap_err();
        assert_eq!(meter.lock()["i1"], Bytes { from_guest: 0, to_guest: 3000 });
    }
}
