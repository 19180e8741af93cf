//! The demonstration: four busy guests are evacuated, and each is shown to have lived through it.

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::PoisonError,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::{interrupt, status};
use crate::{GuestSpec, Lab, LabSpec, Node, Pulse, Rate, run::note};

const SOURCE: Node = Node::HostA;
const DESTINATION: Node = Node::HostB;

/// Each guest's traffic, one way.
const TRAFFIC: Rate = Rate::mbit(30);

/// What each guest fills of its 128 MiB, so that about 115 MiB cross the wire.
const FILL_MIB: u64 = 48;

/// Until then, flows that have just begun run at their full rate.
const SETTLE: Duration = Duration::from_secs(2);

/// Until then, a guest's traffic has picked up again.
const FLOW_PATIENCE: Duration = Duration::from_secs(20);

/// Brings the lab up, runs tsmig, and checks the guests.
pub(super) fn run(spec: &LabSpec, tsmig: Option<PathBuf>, keep: bool) -> Result<()> {
    let tsmig = match tsmig {
        Some(path) => path,
        None => env::current_exe().context("finding this program's own file")?.with_file_name("tsmig"),
    };
    ensure!(
        tsmig.is_file(),
        "there is no tsmig at {}; run `cargo build` with the same profile, or name it with --tsmig",
        tsmig.display()
    );
    let tsmig = tsmig.canonicalize().context("finding tsmig")?;

    interrupt::takes_down(&spec.name)?;
    note("bringing up the hosts");
    let lab = Lab::up(spec)?;
    let result = demonstrate(&lab, &tsmig);
    if keep {
        note(&format!("the lab stays up; `tsmig-lab down --name {}` takes it down", spec.name));
        drop(lab.keep());
    }
    result
}

fn demonstrate(lab: &Lab, tsmig: &Path) -> Result<()> {
    let guest = |name| GuestSpec::new(name).fill_mib(FILL_MIB);
    let guests = [
        guest("send-1").send(TRAFFIC),
        guest("send-2").send(TRAFFIC),
        guest("recv-1").receive(TRAFFIC),
        guest("recv-2").receive(TRAFFIC),
    ];
    note("booting two guests that send and two that receive");
    lab.add_guests(&guests)?;
    thread::sleep(SETTLE);
    show(lab, "Before the evacuation:")?;
    let pulses = guests.iter().map(|guest| lab.pulse(&guest.name)).collect::<Result<Vec<_>>>()?;

    note(&format!("running: {} evacuate {SOURCE} {DESTINATION}", tsmig.display()));
    let status = {
        let _program = interrupt::PROGRAM.lock().unwrap_or_else(PoisonError::into_inner);
        lab.command(Node::Client, tsmig)
            .args(["evacuate", SOURCE.name(), DESTINATION.name()])
            .status()
            .context("running tsmig")?
    };

    let mut failures = Vec::new();
    if !status.success() {
        failures.push(format!("tsmig ended with {status}"));
    }
    for (guest, before) in guests.iter().zip(&pulses) {
        if let Err(error) = check(lab, guest, before) {
            failures.push(format!("{}: {error:#}", guest.name));
        }
    }
    show(lab, "After the evacuation:")?;
    if failures.is_empty() {
        writeln!(
            io::stdout(),
            "OK: all {} guests run on {DESTINATION}, none was interrupted, and their traffic goes on.",
            guests.len()
        )?;
        return Ok(());
    }
    bail!("FAILED:\n  {}", failures.join("\n  "))
}

/// Whether a guest lives on at the destination, and only there.
fn check(lab: &Lab, guest: &GuestSpec, before: &Pulse) -> Result<()> {
    let name = &guest.name;
    let there = lab.state(DESTINATION, name)?.unwrap_or_else(|| "unknown".to_owned());
    ensure!(there.starts_with("running"), "on {DESTINATION} it is {there}");
    if let Some(state) = lab.state(SOURCE, name)? {
        bail!("{SOURCE} still has it: {state}");
    }
    lab.assert_unbroken(name, before)?;
    lab.wait_for_flow(guest, FLOW_PATIENCE)
}

fn show(lab: &Lab, title: &str) -> Result<()> {
    let table = status::table(lab)?;
    writeln!(io::stdout(), "\n{title}\n{table}\n").context("writing the table")
}
