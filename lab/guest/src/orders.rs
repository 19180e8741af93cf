//! Orders from the lab: a port that makes the guest power itself off.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
};

use anyhow::Result;
use nix::sys::reboot::{RebootMode, reboot};
use tsmig_lab_guest::{ORDER_PORT, POWER_OFF};

use crate::{console, network};

/// Serves one connection after another, each with one line.
pub(crate) fn listen() {
    let listener = match TcpListener::bind((Ipv4Addr::UNSPECIFIED, ORDER_PORT)) {
        Ok(listener) => listener,
        Err(error) => return console::line(&format!("no orders taken: {error}")),
    };
    for connection in listener.incoming().flatten() {
        let mut order = String::new();
        if BufReader::new(connection).read_line(&mut order).is_ok() && order.trim() == POWER_OFF {
            console::line("powering off");
            let Err(error) = power_off();
            console::line(&format!("cannot power off: {error:#}"));
        }
    }
}

fn power_off() -> Result<Infallible> {
    // A kernel that takes its network card away from under running traffic sometimes hangs.
    network::take_down()?;
    Ok(reboot(RebootMode::RB_POWER_OFF)?)
}
