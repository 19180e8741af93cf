//! The lab checks itself: guests move between its hosts by both techniques and live on, its levers
//! for fault tests work, and nothing is left of it afterwards.
//!
//! These tests need root and take a minute or two, so they run only on demand: `make self-check`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use tsmig_lab::{GuestSpec, Lab, LabSpec, MigrationNetwork, Network, Node, Rate, all_labs, down};

const TRAFFIC: Rate = Rate::mbit(30);
const PATIENCE: Duration = Duration::from_secs(20);

const PRE_COPY: &[&str] = &[];
const POST_COPY: &[&str] = &["--postcopy", "--postcopy-after-precopy"];

/// Moves a guest the way an administrator would, from the client.
fn migrate(lab: &Lab, guest: &str, from: Node, to: Node, how: &[&str]) -> Result<()> {
    let uri = |node| format!("qemu+ssh://{node}/system");
    let (from, to) = (uri(from), uri(to));
    let common = ["virsh", "-c", &from, "migrate", "--live", "--p2p", "--persistent", "--undefinesource"];
    lab.run(Node::Client, &[&common, how, &[guest, &to]].concat()).map(drop)
}

fn assert_nothing_is_left(name: &str) -> Result<()> {
    ensure!(!all_labs()?.contains(&name.to_owned()), "processes or files of {name} are left");
    ensure!(!fs::read_to_string("/proc/mounts")?.contains(name), "mounts of {name} are left");
    Ok(())
}

#[test]
#[ignore = "needs root; takes a minute"]
fn guests_live_through_both_techniques() -> Result<()> {
    let name = "self-check-move";
    let lab = Lab::up(&LabSpec::named(name))?;
    let guests = [
        GuestSpec::new("o1").send(TRAFFIC),
        GuestSpec::new("i1").receive(TRAFFIC),
        GuestSpec::new("d1").dirty("1MB/s".parse()?, 8).transient(),
        GuestSpec::new("p1").paused(),
        GuestSpec::new("off").inactive(),
    ];
    lab.add_guests(&guests)?;
    assert_eq!(lab.state(Node::HostA, "p1")?.as_deref(), Some("paused (user)"));
    assert_eq!(lab.state(Node::HostA, "off")?.as_deref(), Some("shut off (unknown)"));
    assert_eq!(lab.state(Node::HostB, "o1")?, None);
    assert!(lab.run(Node::Client, &["virsh", "-c", "qemu+ssh://host-a-mgmt/system", "list"])?.contains("o1"));
    assert!(!lab.exec(Node::HostA, &["ssh", "host-b-mgmt", "true"])?.status.success());

    let before = SystemTime::now();
    for (guest, how) in guests.iter().take(2).zip([POST_COPY, PRE_COPY]) {
        let pulse = lab.pulse(&guest.name)?;
        migrate(&lab, &guest.name, Node::HostA, Node::HostB, how)?;
        lab.assert_unbroken(&guest.name, &pulse)?;
        lab.wait_for_flow(guest, PATIENCE)?;
        assert_eq!(lab.state(Node::HostA, &guest.name)?, None);
        assert_eq!(lab.state(Node::HostB, &guest.name)?.as_deref(), Some("running (migrated)"));
    }
    let delivered = lab.traffic(before, SystemTime::now())?;
    assert!(delivered["o1"].outbound_bits > 1e6 && delivered["i1"].inbound_bits > 1e6, "{delivered:?}");

    lab.power_off("o1")?;
    let start = SystemTime::now();
    loop {
        let state = lab.state(Node::HostB, "o1")?;
        if state.as_deref() == Some("shut off (shutdown)") {
            break;
        }
        ensure!(start.elapsed()? < PATIENCE, "o1 did not power off: {state:?}");
        thread::sleep(Duration::from_millis(100));
    }
    lab.remove_all_guests()?;
    assert_eq!(lab.state(Node::HostB, "i1")?, None);
    assert!(lab.guests()?.is_empty());
    drop(lab);
    assert_nothing_is_left(name)
}

#[test]
#[ignore = "needs root; takes a minute"]
fn faults_can_be_made_and_mended() -> Result<()> {
    let name = "self-check-faults";
    let lab = Lab::up(&LabSpec::named(name))?;
    let guest = GuestSpec::new("o1").send(TRAFFIC);
    lab.add_guests(std::slice::from_ref(&guest))?;
    let pulse = lab.pulse("o1")?;

    kill(lab.libvirtd_pid(Node::HostA)?, Signal::SIGKILL)?;
    lab.start_daemons()?;
    lab.assert_unbroken("o1", &pulse).context("after the restart of libvirtd")?;

    lab.set_link(Node::HostA, false)?;
    thread::sleep(Duration::from_secs(3));
    assert!(lab.flow("o1", Duration::from_secs(1))?.outbound_bits_per_second < 1.0);
    lab.set_link(Node::HostA, true)?;
    lab.wait_for_flow(&guest, PATIENCE).context("after the link came back")?;

    lab.set_rate(Node::HostA, Rate::mbit(10))?;
    thread::sleep(Duration::from_secs(5));
    let flow = lab.flow("o1", Duration::from_secs(2))?;
    assert!((5e6..11e6).contains(&flow.outbound_bits_per_second), "{flow:?}");

    kill(lab.qemu_pid(Node::HostA, "o1")?, Signal::SIGKILL)?;
    assert!(lab.wait_alive("o1", Duration::from_secs(3)).is_err());
    drop(lab);
    assert_nothing_is_left(name)
}

#[test]
#[ignore = "needs root; takes half a minute"]
fn a_killed_up_can_be_cleaned_up() -> Result<()> {
    let name = "self-check-killed";
    for milliseconds in [20, 50, 100, 200, 400, 800] {
        let mut up =
            Command::new(env!("CARGO_BIN_EXE_tsmig-lab")).args(["--name", name, "up"]).stderr(Stdio::null()).spawn()?;
        thread::sleep(Duration::from_millis(milliseconds));
        up.kill()?;
        up.wait()?;
        down(name)?;
        assert_nothing_is_left(name)?;
        assert!(!Path::new("/var/lib/tsmig-lab").join(name).exists());
    }
    Ok(())
}

/// Bytes that a host has put on a wire since it is up.
fn sent(lab: &Lab, host: Node, nic: &str) -> Result<f64> {
    let counter = lab.run(host, &["cat", &format!("/sys/class/net/{nic}/statistics/tx_bytes")])?;
    Ok(counter.trim().parse()?)
}

/// Three hosts with a wire for migrations: what a guest sends runs where its cards are, and a migration on that wire.
fn each_network_has_its_way(lab: &Lab) -> Result<()> {
    lab.add_guests(&[
        GuestSpec::new("sink").on(Network::Isolated),
        GuestSpec::new("inner").on(Network::Isolated).send(TRAFFIC).with("sink"),
        GuestSpec::new("idle").memory_mib(96).light(),
        GuestSpec::new("o1")
            .host(Node::HostC)
            .send(Rate::mbit(10))
            .also_on(Network::Migration)
            .send(Rate::mbit(80))
            .also_on(Network::Nat)
            .send(Rate::mbit(5)),
    ])?;
    let look = || -> Result<[f64; 8]> {
        let card = |network| lab.carried("o1", network).map(|(sent, _)| sent as f64);
        Ok([
            lab.carried("sink", Network::Isolated)?.1 as f64,
            sent(lab, Node::HostA, "uplink")?,
            sent(lab, Node::HostA, "migration")?,
            card(Network::Lan)?,
            card(Network::Nat)?,
            sent(lab, Node::HostC, "uplink")?,
            card(Network::Migration)?,
            sent(lab, Node::HostC, "migration")?,
        ])
    };
    let (from, before) = (SystemTime::now(), look()?);
    let way = format!("tcp://{}", Node::HostB.address_in(Network::Migration).context("it has one")?);
    migrate(lab, "idle", Node::HostA, Node::HostB, &["--migrateuri", &way])?;
    let (mut bytes, seconds) = (look()?, from.elapsed()?.as_secs_f64());
    bytes.iter_mut().zip(&before).for_each(|(after, before)| *after -= before);
    let [inside, lan, migration, o1_lan, o1_nat, c_lan, o1_migration, c_migration] = bytes;

    // All of the migration, and none of what the guests of the isolated network say to each other.
    assert!(migration > 30e6 && lan < 1e6, "{migration} and {lan} bytes of host-a");
    // What each card of a guest sends is on one wire, and no more than this carries.
    assert!(inside.min(o1_lan).min(o1_nat).min(o1_migration) > 1e6, "every card sends: {bytes:?}");
    let same = |wire: f64, cards: f64| (0.85..1.15).contains(&(wire / cards));
    assert!(same(c_lan, o1_lan + o1_nat) && same(c_migration, o1_migration), "{bytes:?}");
    assert!(c_migration * 8e-6 / seconds < 52.0, "{c_migration} bytes in {seconds} s on a wire of 50 Mbit/s");
    Ok(())
}

/// Two networks on one wire: the host's data to the second address and the guest's to the first get no more than one wire.
fn two_networks_share_a_wire(lab: &Lab) -> Result<()> {
    lab.add_guests(&[GuestSpec::new("o1").send(TRAFFIC)])?;
    let peer = Node::Peer.address_in(Network::Migration).context("it has one")?;
    let from_host = format!("(echo host send 1 0; timeout 4 cat /dev/zero; true) > /dev/tcp/{peer}/5000");
    assert!(lab.run(Node::HostA, &["ip", "route", "get", &peer.to_string()])?.contains("dev migration"));
    lab.run(Node::HostA, &["bash", "-c", &from_host])?;
    let end = SystemTime::now() - Duration::from_secs(1);
    let sent = lab.traffic(end - Duration::from_secs(2), end)?;
    let [host, guest] = ["host", "o1"].map(|name| sent[name].outbound_bits / 2e6);
    assert!(host > 10.0 && guest > 5.0 && host + guest < 102.0, "{host} and {guest} Mbit/s on a wire of 100");
    Ok(())
}

#[test]
#[ignore = "needs root; takes half a minute"]
fn two_labs_are_up_side_by_side() -> Result<()> {
    let names = ["self-check-one", "self-check-two"];
    let own_wire = MigrationNetwork::OwnWire(Rate::mbit(50));
    let specs = [
        LabSpec { hosts: 3, migration: Some(own_wire), inner_networks: true, ..LabSpec::named(names[0]) },
        LabSpec { migration: Some(MigrationNetwork::LanWire), ..LabSpec::named(names[1]) },
    ];
    let checks: [fn(&Lab) -> Result<()>; 2] = [each_network_has_its_way, two_networks_share_a_wire];
    let up = |spec, check: fn(&Lab) -> Result<()>| Lab::up(spec).and_then(|lab| check(&lab).map(|()| lab));
    let (one, two) = thread::scope(|scope| {
        let [one, two] = [0, 1].map(|number| {
            let (spec, check) = (&specs[number], checks[number]);
            scope.spawn(move || up(spec, check))
        });
        (one.join().expect("no panic"), two.join().expect("no panic"))
    });
    let (one, two) = (one?, two?);
    let pulse = two.pulse("o1")?;
    drop(one);
    assert_nothing_is_left(names[0])?;
    two.assert_unbroken("o1", &pulse)?;
    drop(two);
    assert_nothing_is_left(names[1])
}
