//! The table of guests.

use std::{thread, time::Duration};

use anyhow::Result;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use crate::{Flow, Lab, lab::join};

/// The span over which traffic is averaged.
const WINDOW: Duration = Duration::from_secs(2);

/// A guest that has not ticked within this time does not live.
const TICK_PATIENCE: Duration = Duration::from_secs(3);

/// One row per guest: where it is known and in which state, and whether it lives.
pub(super) fn table(lab: &Lab) -> Result<Table> {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let hosts = lab.hosts().iter().map(|host| host.name());
    table.set_header(["guest"].into_iter().chain(hosts).chain(["boot", "heartbeat", "uptime", "traffic out/in"]));
    let guests = lab.guests()?;
    let rows = thread::scope(|scope| {
        let threads: Vec<_> = guests.iter().map(|guest| scope.spawn(|| row(lab, &guest.name))).collect();
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    table.add_rows(rows);
    Ok(table)
}

fn row(lab: &Lab, guest: &str) -> Result<Vec<String>> {
    let mut row = vec![guest.to_owned()];
    for &host in lab.hosts() {
        row.push(lab.state(host, guest)?.unwrap_or_default());
    }
    let alive = lab.wait_alive(guest, TICK_PATIENCE).is_ok();
    match lab.pulse(guest) {
        Ok(pulse) => row.extend([
            pulse.boot_id.chars().take(8).collect(),
            if alive { "alive" } else { "silent" }.to_owned(),
            format!("{:.1} s", pulse.uptime_seconds),
        ]),
        Err(_) => row.extend([String::new(), "none".to_owned(), String::new()]),
    }
    row.push(flow_cell(&lab.flow(guest, WINDOW)?));
    Ok(row)
}

/// Both directions of a flow, in Mbit/s.
pub(super) fn flow_cell(flow: &Flow) -> String {
    let (out, inbound) = (flow.outbound_bits_per_second / 1e6, flow.inbound_bits_per_second / 1e6);
    format!("{out:.1}/{inbound:.1} Mbit/s")
}
