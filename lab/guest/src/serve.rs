//! The other end of guests' traffic: the lab's peer, and each guest for the others.
//!
//! One thread per connection, so that no stalled guest keeps another waiting.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::Result;

use crate::{
    flow::{Announcement, Direction, STALL},
    pacer::Pacer,
};

/// Told of bytes that got through: of which guest, which way, and how many.
pub type Meter<'a> = &'a (dyn Fn(&str, Direction, u64) + Sync);

/// Serves guests for ever.
pub fn serve(listener: &TcpListener, meter: Meter<'_>) {
    thread::scope(|scope| {
        for connection in listener.incoming().flatten() {
            // A connection that ends is nothing to report: the guest makes another.
            scope.spawn(move || drop(serve_guest(connection, meter)));
        }
    });
}

fn serve_guest(stream: TcpStream, meter: Meter<'_>) -> Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Announcement { guest, direction, bits_per_second, burst_ms } = line.parse()?;
    let count = |bytes| meter(&guest, direction, bytes);
    match direction {
        Direction::Send => count_sent(reader, count),
        Direction::Receive => thread::scope(|scope| {
            // Whichever half ends first ends the other: traffic that nobody counts would look like none. The
            // connection may be gone already.
            let end = || drop(stream.shutdown(Shutdown::Both));
            scope.spawn(move || {
                // A guest that stands still in a post-copy sends no reports for a while, and makes a new connection.
                drop(count_received(reader, count));
                end();
            });
            let result = send(&stream, bits_per_second, burst_ms);
            end();
            result
        }),
    }
}

fn count_sent(mut reader: impl Read, count: impl Fn(u64)) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let bytes = reader.read(&mut buffer)? as u64;
        if bytes == 0 {
            return Ok(());
        }
        count(bytes);
    }
}

fn send(mut stream: &TcpStream, bits_per_second: u64, burst_ms: u64) -> Result<()> {
    let mut pacer = Pacer::new(bits_per_second as f64 / 8.0).in_bursts(Duration::from_millis(burst_ms));
    // Not zeros, lest a migration find the guest's buffers easy to send.
    let chunk: Vec<u8> = (0..pacer.chunk(1)).map(|index| (index * 31 % 251) as u8).collect();
    loop {
        pacer.wait(chunk.len());
        stream.write_all(&chunk)?;
    }
}

/// Adds up a guest's reports. Its count runs on over its connections, so the first report of a
/// connection only says where this connection starts.
fn count_received(mut reader: impl Read, count: impl Fn(u64)) -> io::Result<()> {
    let mut last = None;
    loop {
        let mut report = [0; 8];
        reader.read_exact(&mut report)?;
        let total = u64::from_be_bytes(report);
        count(total.saturating_sub(last.unwrap_or(total)));
        last = Some(total);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn counts_what_the_guest_reports() {
        let reports: Vec<u8> = [1000_u64, 1500, 4000].iter().flat_map(|n| n.to_be_bytes()).collect();
        let sum = Cell::new(0);
        // The stream ends; that is how a connection ends.
        count_received(&reports[..], |bytes| sum.set(sum.get() + bytes)).unwrap_err();
        assert_eq!(sum.get(), 3000);
    }
}
