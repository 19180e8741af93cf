//! An evacuation on a real terminal, and towards a reader that leaves.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use tsmig_lab::{Lab, Node};

use crate::harness::{Guests, Run, Test, assert_states, receiver, sender};
use crate::terminal::Terminal;

pub const TESTS: &[(&str, Test)] = &[("screen_of_an_evacuation_only_goes_forward_and_a_reader_may_leave", screen)];

const TSMIG: &str = env!("CARGO_BIN_EXE_tsmig");

/// The percentage in a domain's line, where it shows one.
fn percent(screen: &str, domain: &str) -> Option<u8> {
    let line = screen.lines().find(|line| line.trim_start().starts_with(domain) && line.contains(" %"))?;
    line.split(" %").next()?.split_whitespace().last()?.parse().ok()
}

/// Evacuates on a terminal so wide, and looks at what it shows all the while.
fn watch(lab: &Lab, columns: u16, (from, to): (&str, &str), names: &[&str]) -> Result<()> {
    let tmux = || {
        let mut command = lab.command(Node::Client, "tmux");
        command.env("LC_ALL", "C.UTF-8");
        command
    };
    let command = format!("{TSMIG} evacuate {from} {to} --window 1s; echo \"-- status $? --\"; exec cat");
    let terminal = Terminal::new(&format!("lab-{columns}"), columns, tmux, &command);
    let (mut highest, mut backwards, mut seen) = (HashMap::new(), Vec::new(), 0);
    let end = terminal.showing(|screen| {
        for &name in names {
            let Some(percent) = percent(screen, name) else { continue };
            let before = highest.insert(name, percent).unwrap_or_default();
            seen += 1;
            if percent < before {
                backwards.push(format!("{name}: {before} % and then {percent} %"));
            }
        }
        screen.contains("-- status ")
    });
    ensure!(end.contains("-- status 0 --") && end.contains("total migration time"), "{end}");
    ensure!(backwards.is_empty(), "{backwards:?}");
    ensure!(seen > 0 && highest.len() == names.len(), "bars were seen of {highest:?}");
    Ok(())
}

fn screen(lab: &Lab) -> Result<()> {
    let names = ["web-1", "backup-1"];
    let guests = Guests::boot(lab, vec![sender("web-1"), receiver("backup-1")])?;
    watch(lab, 80, ("host-a", "host-b"), &names)?;
    watch(lab, 200, ("host-b", "host-a"), &names)?;
    for name in names {
        assert_states(lab, name, Some("running"), None)?;
    }

    let script = format!("set -o pipefail; {TSMIG} evacuate host-a host-b --window 1s | head -1");
    let read = Run::of(lab.command(Node::Client, "bash").args(["-c", &script]).output()?)?;
    ensure!(read.status == 0 && !read.stderr.contains("pipe"), "{} {}", read.status, read.stderr);
    let first = read.stdout.lines().next().context("the first line is read")?;
    ensure!(first.starts_with("host-a -> host-b: 2 domains") && read.stdout.lines().count() == 1, "{}", read.stdout);
    for name in names {
        assert_states(lab, name, None, Some("running"))?;
    }
    guests.assert_alive(lab)
}
