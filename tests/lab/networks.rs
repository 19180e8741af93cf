//! Evacuations of hosts with several networks.

use std::time::Instant;

use anyhow::{Result, ensure};
use tsmig_lab::{GuestSpec, Lab, MigrationNetwork, Network, Node, Rate};

use crate::harness::{Guests, Test, assert_states, receiver, run, sender, with_networks};

pub const TESTS: &[(&str, Test)] = &[("networks_migrations_take_a_wire_of_their_own", own_wire)];

/// Bytes that host-a has put on a wire since it is up.
fn sent(lab: &Lab, nic: &str) -> Result<f64> {
    let counter = lab.run(Node::HostA, &["cat", &format!("/sys/class/net/{nic}/statistics/tx_bytes")])?;
    Ok(counter.trim().parse()?)
}

fn own_wire(lab: &Lab) -> Result<()> {
    let lab = &with_networks(lab, MigrationNetwork::OwnWire(Rate::mbit(200)))?;
    let small = |guest: GuestSpec| guest.memory_mib(96);
    let guests = [sender("o1"), sender("o2").also_on(Network::Nat), receiver("i1"), receiver("i2")];
    let guests = Guests::boot(lab, guests.map(small).to_vec())?;
    let (from, before) = (Instant::now(), [sent(lab, "uplink")?, sent(lab, "migration")?]);
    let run = run(lab, &["evacuate", "host-a", "host-b", "--output", "json"])?;
    let [lan, migration] = [sent(lab, "uplink")? - before[0], sent(lab, "migration")? - before[1]];
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    for name in ["o1", "o2", "i1", "i2"] {
        run.expect(0, name, "migrated")?;
        assert_states(lab, name, None, Some("running"))?;
    }
    // More than 40 MiB of each guest are not zeros; o1 and o2 send 60 Mbit/s, and headers come to it.
    let traffic = from.elapsed().as_secs_f64() * 60e6 / 8.0;
    ensure!(migration > 4.0 * 40e6, "{migration} bytes crossed the wire of the migrations");
    ensure!(lan < 1.2 * traffic, "{lan} bytes crossed that of the guests, of which {traffic} can be theirs");
    guests.assert_alive(lab)
}
