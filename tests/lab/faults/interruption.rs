//! tsmig itself that is interrupted, killed, or started twice.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;
use std::thread;

use anyhow::{Result, ensure};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::termios::tcgetattr;
use tsmig_lab::{Lab, Node};

use super::{SLOW, assert_moved, begin, guest, heavy, read_until};
use crate::harness::{Guests, Test, run, start};

pub const TESTS: &[(&str, Test)] = &[
    ("fault_interrupted_once_in_post_copy_lets_it_finish", once),
    ("fault_ctrl_c_on_a_terminal_stops_pre_copies_and_leaves_the_terminal_as_it_was", terminal),
    ("fault_interrupted_twice_leaves_at_once_and_recover_finishes", twice),
    ("fault_killed_and_run_again_adopts_and_finishes", killed),
    ("fault_two_runs_on_one_source_exclude_each_other", two_runs),
];

fn once(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1"), guest("o2")])?;
    let options = ["--technique", "post-copy", "--concurrency", "1", "--bandwidth", SLOW];
    let mut running = start(lab, &[&["evacuate", "host-a", "host-b"], options.as_slice()].concat())?;
    let first = running.wait_for(&[("event", "launch")])?["domain"].as_str().unwrap_or_default().to_owned();
    running.wait_for_phase(&first, "post-copy")?;
    running.signal(Signal::SIGTERM)?;
    let run = running.end()?;
    let second = if first == "o1" { "o2" } else { "o1" };
    run.expect(130, &first, "migrated")?;
    let error = run.expect(130, second, "remains")?;
    ensure!(error.contains("interrupted before its turn"), "{error}");
    assert_moved(lab, &guests, &first)?;
    super::assert_stayed(lab, &guests, second)
}

fn terminal(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1")])?;
    let pty = openpty(None, None)?;
    let before = tcgetattr(&pty.slave)?;
    let options = ["evacuate", "host-a", "host-b", "--technique", "pre-copy", "--bandwidth", SLOW, "--window", "3s"];
    // Ctrl-C is for the programs whose terminal it is.
    let mut command = lab.command(Node::Client, "setsid");
    command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_tsmig")]).args(options);
    command.stdin(Stdio::from(pty.slave.try_clone()?)).stdout(Stdio::from(pty.slave.try_clone()?));
    let mut child = command.stderr(Stdio::from(pty.slave.try_clone()?)).spawn()?;
    drop(command);
    let (mut master, slave) = (File::from(pty.master), pty.slave);
    let mut shown = read_until(&mut master, "pre-copy: ");
    master.write_all(b"\x03")?;
    let rest = thread::spawn(move || read_until(&mut master, ""));
    let status = child.wait()?;
    let after = tcgetattr(&slave)?;
    drop(slave);
    shown += &rest.join().unwrap();
    ensure!(after == before, "its modes are as before");
    ensure!(shown.contains("interrupted: nothing more is launched"), "{shown:?}");
    ensure!(status.code() == Some(130), "{status} {shown}");
    let last = |what: &str| shown.rfind(what);
    ensure!(last("\x1b[?25l").is_none() || last("\x1b[?25h") > last("\x1b[?25l"), "its cursor is there: {shown:?}");
    super::assert_stayed(lab, &guests, "o1")
}

fn twice(lab: &Lab) -> Result<()> {
    let (guests, running) = begin(lab, "post-copy", "post-copy")?;
    running.signal(Signal::SIGINT)?;
    running.signal(Signal::SIGTERM)?;
    let error = running.end()?.expect(130, "o1", "needs-recovery")?;
    for part in ["post-copy", "runs at the destination", "tsmig recover host-a host-b"] {
        ensure!(error.contains(part), "{part}: {error}");
    }
    run(lab, &["recover", "host-a", "host-b", "--output", "json"])?.expect(0, "o1", "migrated")?;
    assert_moved(lab, &guests, "o1")
}

fn killed(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![heavy("o1"), heavy("o2"), heavy("o3")])?;
    let options = ["evacuate", "host-a", "host-b", "--post-copy", "o1", "--pre-copy", "o[23]", "--concurrency", "2"];
    let mut running =
        start(lab, &[options.as_slice(), &["--bandwidth", "80Mbit", "--first", "o1", "--last", "o3"]].concat())?;
    running.wait_for_phase("o1", "post-copy")?;
    running.wait_for_progress("o2")?;
    running.kill()?;
    let again = run(lab, &[options.as_slice(), &["--output", "json"]].concat())?;
    for name in ["o1", "o2", "o3"] {
        again.expect(0, name, "migrated")?;
        assert_moved(lab, &guests, name)?;
    }
    let adopted = again.events()?.iter().filter(|event| event["event"] == "adopt").count();
    ensure!(adopted == 2, "{}", again.stdout);
    let third = run(lab, &["evacuate", "host-a", "host-b"])?;
    ensure!(third.status == 0 && third.stderr.contains("no domain to move"), "{} {}", third.stdout, third.stderr);
    let journals = lab.run(Node::Client, &["sh", "-c", "cat $XDG_STATE_HOME/tsmig/*.jsonl"])?;
    ensure!(!journals.contains("\"launch\""), "what has ended is not kept: {journals}");
    Ok(())
}

fn two_runs(lab: &Lab) -> Result<()> {
    let (guests, running) = begin(lab, "pre-copy", "pre-copy")?;
    for command in ["evacuate", "recover"] {
        let other = run(lab, &[command, "qemu+tcp://host-a/system", "host-b"])?;
        ensure!(other.status == 1, "{} {}", other.stdout, other.stderr);
        ensure!(other.stderr.contains("another tsmig is at work") && other.stderr.contains("pid"), "{}", other.stderr);
    }
    running.end()?.expect(0, "o1", "migrated")?;
    assert_moved(lab, &guests, "o1")
}
