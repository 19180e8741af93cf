//! Whoever reads tsmig's output reads nothing any more, or goes away with the terminal.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tsmig_lab::{Lab, Node};

use super::hooks::Hooked;
use super::{SLOW, assert_moved, assert_stayed, guest, read_until};
use crate::harness::{Guests, Test, saved};

pub const TESTS: &[(&str, Test)] = &[
    ("fault_reader_that_reads_nothing_holds_up_neither_migrations_nor_signals", nothing_read),
    ("fault_terminal_that_goes_away_ends_a_run_as_a_signal_does", terminal_gone),
    ("fault_hangup_that_is_ignored_ends_nothing", ignored),
];

const TSMIG: &str = env!("CARGO_BIN_EXE_tsmig");
/// What a pipe of Linux's takes while nobody reads.
const PIPE: usize = 65536;
const EVACUATE: [&str; 6] = ["evacuate", "host-a", "host-b", "--technique", "pre-copy", "--window=2s"];

/// Starts an evacuation whose standard output is a pipe that is full already.
fn into_a_full_pipe(lab: &Lab, options: &[&str]) -> Result<Child> {
    let script = format!("head -c {PIPE} /dev/zero && exec \"$@\"");
    let mut command = lab.command(Node::Client, "sh");
    command.args(["-c", &script, "sh", TSMIG]).args(EVACUATE).args(["--output", "json"]).args(options);
    Ok(command.stdout(Stdio::piped()).spawn()?)
}

/// Waits until a domain has, or has no more, a migration at the source.
pub fn await_job(lab: &Lab, domain: &str, wanted: bool) -> Result<()> {
    let start = Instant::now();
    loop {
        let job = lab.run(Node::HostA, &["virsh", "domjobinfo", domain]);
        if job.is_ok_and(|job| job.contains("Memory processed") == wanted) {
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_secs(120), "{domain} migrates: it never came to be {wanted}");
    }
}

pub fn signal(child: &Child, signal: Signal) -> Result<()> {
    Ok(kill(Pid::from_raw(child.id().try_into()?), signal)?)
}

fn nothing_read(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1"), guest("o2")])?;
    let mut stopped = into_a_full_pipe(lab, &["--bandwidth", SLOW, "--concurrency", "1", "--first", "o1"])?;
    await_job(lab, "o1", true)?;
    signal(&stopped, Signal::SIGINT)?;
    await_job(lab, "o1", false)?;
    // Nobody reads the report: the next signal ends the wait for that.
    signal(&stopped, Signal::SIGTERM)?;
    ensure!(stopped.wait()?.code() == Some(130), "it ends by the signals");
    assert_stayed(lab, &guests, "o1")?;

    let mut evacuated = into_a_full_pipe(lab, &["--concurrency", "1"])?;
    let start = Instant::now();
    let moved = |name| Ok::<_, anyhow::Error>(lab.state(Node::HostB, name)?.is_some_and(|s| s.starts_with("running")));
    while !(moved("o1")? && moved("o2")?) {
        ensure!(start.elapsed() < Duration::from_secs(120), "with nobody to read, nothing more is launched");
    }
    let mut late = Vec::new();
    evacuated.stdout.take().context("piped")?.read_to_end(&mut late)?;
    ensure!(evacuated.wait()?.code() == Some(0));
    let events = String::from_utf8(late.split_off(PIPE))?;
    let report: Value = serde_json::from_str(events.lines().last().unwrap_or_default())?;
    ensure!(report["event"] == "report" && report["outcome"] == "evacuated", "a late reader gets all of it: {events}");
    for name in ["o1", "o2"] {
        assert_moved(lab, &guests, name)?;
    }
    Ok(())
}

fn terminal_gone(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1"), guest("o2")])?;
    let hooked = Hooked::new(lab)?;
    let report = lab.shared_dir().join("report.json");
    let pty = openpty(None, None)?;
    // One that tsmig does not inherit.
    let mut master = File::from(pty.master.try_clone()?);
    drop(pty.master);
    // A harness that nohup started ignores the signal, and tsmig would, too.
    let mut command = lab.command(Node::Client, "env");
    command.args(["--default-signal=HUP", "setsid", "--ctty", "--wait", TSMIG, "--config", &hooked.config]);
    command.args(EVACUATE);
    command.args(["--bandwidth", SLOW, "--concurrency", "1", "--report", &report.to_string_lossy()]);
    command.stdin(Stdio::from(pty.slave.try_clone()?)).stdout(Stdio::from(pty.slave.try_clone()?));
    let mut child = command.stderr(Stdio::from(pty.slave)).spawn()?;
    drop(command);
    read_until(&mut master, "pre-copy: ");
    drop(master);
    let ended = child.wait()?;
    ensure!(ended.code() == Some(130), "it ends in order, not with {ended}");
    let report = saved(&report, "report.json")?;
    ensure!(report["outcome"] == "interrupted", "{report}");
    ensure!(report["domains"].as_array().is_some_and(|domains| domains.len() == 2), "{report}");
    let log = hooked.log()?;
    ensure!(log.contains("after-domain") && log.ends_with("after-run  interrupted\n"), "{log}");
    assert_stayed(lab, &guests, "o1")?;
    assert_stayed(lab, &guests, "o2")
}

fn ignored(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1")])?;
    let mut command = lab.command(Node::Client, "nohup");
    command.arg(TSMIG).args(EVACUATE).args(["--bandwidth", SLOW]).stdout(Stdio::null());
    let mut child = command.spawn()?;
    await_job(lab, "o1", true)?;
    signal(&child, Signal::SIGHUP)?;
    ensure!(child.wait()?.code() == Some(0));
    assert_moved(lab, &guests, "o1")
}
