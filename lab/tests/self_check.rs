//! The lab checks itself: guests move between its hosts by both techniques and live on, its levers
//! for fault tests work, and nothing is left of it afterwards.
//!
//! These tests need root and take a minute or two, so they run only on demand:
//! `cargo test -p tsmig-lab --test self_check -- --ignored`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use tsmig_lab::{GuestSpec, Lab, LabSpec, Node, Rate, all_labs, down};

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

#[test]
#[ignore = "needs root; takes half a minute"]
fn two_labs_are_up_side_by_side() -> Result<()> {
    let names = ["self-check-one", "self-check-two"];
    let labs = thread::scope(|scope| {
        let labs = names.map(|name| scope.spawn(move || Lab::up(&LabSpec::named(name))));
        labs.map(|lab| lab.join().expect("no panic"))
    });
    let [one, two] = labs;
    let (one, two) = (one?, two?);
    let guest = GuestSpec::new("o1").send(TRAFFIC);
    one.add_guests(std::slice::from_ref(&guest))?;
    two.add_guests(&[guest])?;
    let pulse = two.pulse("o1")?;
    drop(one);
    assert_nothing_is_left(names[0])?;
    two.assert_unbroken("o1", &pulse)?;
    drop(two);
    assert_nothing_is_left(names[1])
}
