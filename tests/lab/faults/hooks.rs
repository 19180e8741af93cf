//! Interrupts while a hook runs.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use tsmig_lab::{Lab, Node};

use super::readers::signal;
use super::{assert_moved, assert_stayed, guest};
use crate::harness::{Guests, Test, saved};

pub const TESTS: &[(&str, Test)] = &[("fault_interrupted_in_hooks_ends_them_and_the_report_is_whole", interrupted)];

/// Notes that it ran; where it is told to, it stays, with a child.
const HOOK: &str = r#"#!/bin/sh
echo "$TSMIG_HOOK $TSMIG_DOMAIN $TSMIG_OUTCOME" >> "$1/log"
test "$TSMIG_HOOK" = "$(cat "$1/slow" 2>/dev/null)" || exit 0
sleep 1000 &
echo $! > "$1/child.new" && mv "$1/child.new" "$1/child"
wait
"#;

/// A configuration in which every hook is a program that notes that it ran.
pub struct Hooked {
    directory: PathBuf,
    pub config: String,
}

impl Hooked {
    pub fn new(lab: &Lab) -> Result<Self> {
        let directory = lab.shared_dir().join("slow-hooks");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory)?;
        let (program, config) = (directory.join("hook"), directory.join("config.toml"));
        fs::write(&program, HOOK)?;
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        let hook = |name| format!("{name} = [{program:?}, {directory:?}]\n");
        let hooks = ["before-run", "after-run", "before-domain", "after-domain"].map(hook).concat();
        fs::write(&config, format!("[hooks]\n{hooks}"))?;
        Ok(Self { directory, config: config.to_string_lossy().into_owned() })
    }

    /// What ran, a line each.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.directory.join("log"))?)
    }

    /// Starts an evacuation of which this hook does not end, and waits until that hook runs; returns what it started.
    fn stay_in(&self, lab: &Lab, hook: &str) -> Result<(Child, u32)> {
        fs::write(self.directory.join("slow"), hook)?;
        fs::write(self.directory.join("log"), "")?;
        let child = self.directory.join("child");
        let _ = fs::remove_file(&child);
        let tsmig = self.start(lab, "2s")?;
        let start = Instant::now();
        loop {
            if let Ok(pid) = fs::read_to_string(&child) {
                return Ok((tsmig, pid.trim().parse()?));
            }
            ensure!(start.elapsed() < Duration::from_secs(120), "the {hook} hook never ran");
        }
    }

    fn start(&self, lab: &Lab, window: &str) -> Result<Child> {
        let mut command = lab.command(Node::Client, env!("CARGO_BIN_EXE_tsmig"));
        command.args(["--config", &self.config, "evacuate", "host-a", "host-b", "--window", window]);
        command.args(["--report", &self.report().to_string_lossy()]);
        Ok(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
    }

    fn report(&self) -> PathBuf {
        self.directory.join("report.json")
    }
}

/// Waits until tsmig says something.
fn await_words(child: &mut Child, words: &str) -> Result<()> {
    for line in BufReader::new(child.stderr.as_mut().context("piped")?).lines() {
        if line?.contains(words) {
            return Ok(());
        }
    }
    bail!("it never said {words:?}")
}

fn is_alive(pid: u32) -> bool {
    // Until somebody collects it, one that is dead is a zombie.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn await_death(pid: u32) -> Result<()> {
    let start = Instant::now();
    while is_alive(pid) {
        ensure!(start.elapsed() < Duration::from_secs(20), "what the hook started runs on");
    }
    Ok(())
}

fn interrupted(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1")])?;
    let hooked = Hooked::new(lab)?;
    let mut profiling = hooked.start(lab, "1h")?;
    await_words(&mut profiling, "profiling")?;
    signal(&profiling, Signal::SIGTERM)?;
    ensure!(profiling.wait()?.code() == Some(130) && !hooked.report().exists(), "a report that is none");

    for (hook, log) in [
        ("before-run", "before-run  \nafter-run  interrupted\n"),
        ("before-domain", "before-run  \nbefore-domain o1 \nafter-domain o1 remains\nafter-run  interrupted\n"),
    ] {
        let (mut tsmig, child) = hooked.stay_in(lab, hook)?;
        signal(&tsmig, Signal::SIGINT)?;
        ensure!(tsmig.wait()?.code() == Some(130), "interrupted in {hook}");
        await_death(child)?;
        ensure!(hooked.log()? == log, "{}", hooked.log()?);
        let report = saved(&hooked.report(), "report.json")?;
        ensure!(report["outcome"] == "interrupted" && report["domains"][0]["outcome"] == "remains", "{report}");
        ensure!(report["domains"][0]["error"].as_str().is_some_and(|error| error.contains("interrupted")), "{report}");
        assert_stayed(lab, &guests, "o1")?;
        fs::remove_file(hooked.report())?;
    }

    let (mut tsmig, child) = hooked.stay_in(lab, "after-run")?;
    signal(&tsmig, Signal::SIGINT)?;
    await_words(&mut tsmig, "the after-run hook still runs; interrupt again to end it")?;
    ensure!(is_alive(child), "the first one is a question");
    signal(&tsmig, Signal::SIGINT)?;
    ensure!(tsmig.wait()?.code() == Some(0), "the run itself has succeeded");
    await_death(child)?;
    ensure!(saved(&hooked.report(), "report.json")?["outcome"] == "evacuated");
    assert_moved(lab, &guests, "o1")
}
