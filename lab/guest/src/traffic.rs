//! The guest's traffic: see [`tsmig_lab_guest::flow`] for what runs on a connection.

use std::{
    io::{Read, Write},
    net::{SocketAddrV4, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tsmig_lab_guest::{
    flow::{Announcement, Direction, REPORT_INTERVAL, STALL},
    pacer::Pacer,
};

use crate::console;

/// Memory that an application goes round in with its data, in bytes: what it sends it writes first, and what it
/// receives it does not put in the same place every time.
const BUFFERS: usize = 512 << 10;

/// Pause before the next attempt to connect.
const RETRY: Duration = Duration::from_millis(200);

/// Keeps one flow going for ever, over as many connections as it takes.
pub(crate) fn keep_up(peer: SocketAddrV4, announcement: &Announcement) {
    // Over all connections, so that the peer can tell what is new.
    let mut received = 0;
    loop {
        let result = connect(peer, announcement).and_then(|stream| match announcement.direction {
            Direction::Send => send(stream, announcement),
            Direction::Receive => receive(stream, &mut received),
        });
        if let Err(error) = result {
            console::line(&format!("flow {:?}: {error}; connecting again", announcement.direction));
        }
        thread::sleep(RETRY);
    }
}

fn connect(peer: SocketAddrV4, announcement: &Announcement) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&peer.into(), STALL)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    stream.write_all(format!("{announcement}\n").as_bytes())?;
    Ok(stream)
}

fn send(mut stream: TcpStream, announcement: &Announcement) -> Result<()> {
    let bursts = Duration::from_millis(announcement.burst_ms);
    let mut pacer = Pacer::new(announcement.bits_per_second as f64 / 8.0).in_bursts(bursts);
    let size = pacer.chunk(1);
    let mut buffers = vec![0; BUFFERS.max(size)];
    loop {
        for chunk in buffers.chunks_mut(size) {
            pacer.wait(chunk.len());
            fastrand::fill(chunk);
            stream.write_all(chunk)?;
        }
    }
}

fn receive(mut stream: TcpStream, received: &mut u64) -> Result<()> {
    let mut buffers = vec![0; BUFFERS];
    let mut place = 0;
    let mut reported = Instant::now();
    loop {
        let bytes = stream.read(&mut buffers[place..])?;
        place = (place + bytes) % BUFFERS;
        ensure!(bytes > 0, "the peer closed the connection");
        *received += bytes as u64;
        if reported.elapsed() >= REPORT_INTERVAL {
            stream.write_all(&received.to_be_bytes())?;
            reported = Instant::now();
        }
    }
}
