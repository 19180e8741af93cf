//! `/init` of the lab's guests: sets the guest up, then ticks, talks to the peer and writes to
//! memory until it is powered off.
//!
//! It runs as process 1 of a kernel with nothing else in its initramfs, so it must never return:
//! whatever fails is written on the console, where the lab reads it.

use std::{
    convert::Infallible,
    fs,
    net::{Ipv4Addr, TcpListener},
    thread,
};

use anyhow::{Context, Result};
use tsmig_lab_guest::{
    config::{GuestConfig, NicConfig},
    flow::{Announcement, Direction, PORT},
    serve::serve,
};

mod console;
mod heartbeat;
mod memory;
mod network;
mod orders;
mod system;
mod traffic;

fn main() {
    let Err(error) = run();
    console::line(&format!("tsmig-lab-guest failed: {error:#}"));
    // Returning would make the kernel panic over the message.
    loop {
        thread::park();
    }
}

fn run() -> Result<Infallible> {
    system::mount()?;
    let line = fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
    let config = GuestConfig::from_command_line(&line)?;
    system::load_modules()?;
    network::configure(&config.nics)?;

    // Before the first tick: a guest that ticks is as large as it was asked to be.
    let _filled = memory::fill(config.fill)?;
    // What a program leaves that has ended: free, and not zeros.
    drop(memory::fill(config.freed)?);
    if config.dirty > 0 {
        let working_set = memory::fill(config.working_set)?;
        thread::spawn(move || memory::keep_dirty(config.dirty, working_set));
    }
    let other_end = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("listening for other guests")?;
    thread::spawn(move || serve(&other_end, &|_, _, _| {}));
    for nic in &config.nics {
        start_traffic(&config, nic);
    }
    thread::spawn(orders::listen);
    heartbeat::beat()
}

fn start_traffic(config: &GuestConfig, nic: &NicConfig) {
    for (direction, bits_per_second) in [(Direction::Send, nic.send), (Direction::Receive, nic.receive)] {
        if let Some(peer) = nic.peer.filter(|_| bits_per_second > 0) {
            let (guest, burst_ms) = (config.name.clone(), config.burst_ms);
            let announcement = Announcement { guest, direction, bits_per_second, burst_ms };
            thread::spawn(move || traffic::keep_up(peer, &announcement));
        }
    }
}
