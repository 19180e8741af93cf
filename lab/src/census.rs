//! Finds the processes of a lab, with no record that could be lost or go stale.
//!
//! Each node mounts a filesystem whose source is the lab's mark (`tsmig-lab:NAME`) in a mount
//! namespace of its own. So a process belongs to a lab if its mount namespace carries the mark:
//! that holds for daemons, for what they start and for what a user runs in a node, it survives a
//! crash of whatever brought the lab up, and no reused pid or reboot can make it untrue.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::run::wait_for;

const MARK: &str = "tsmig-lab:";

/// Until then, all processes of a lab have ended after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(20);

/// The mount source that marks the namespaces of a lab.
pub(crate) fn mark(lab: &str) -> String {
    format!("{MARK}{lab}")
}

/// Whether that process runs in a node of that lab.
pub(crate) fn belongs(pid: Pid, lab: &str) -> bool {
    marks_of(pid).contains(&mark(lab))
}

/// Names of the labs that have processes.
pub(crate) fn labs() -> Result<BTreeSet<String>> {
    let marks = pids()?.into_iter().flat_map(marks_of);
    Ok(marks.filter_map(|mark| Some(mark.strip_prefix(MARK)?.to_owned())).collect())
}

/// Kills the processes of a lab, and waits until its namespaces have none.
pub(crate) fn kill_all(lab: &str) -> Result<()> {
    wait_for("the lab's processes to end", PATIENCE, || {
        let processes = processes(lab)?;
        for &pid in &processes {
            match kill(pid, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("killing process {pid}")),
            }
        }
        Ok(processes.is_empty().then_some(()))
    })
}

/// All processes in the mount namespaces of a lab.
///
/// The mark itself is not enough: a process in a chroot below the mark cannot see it.
fn processes(lab: &str) -> Result<Vec<Pid>> {
    let all = pids()?;
    let namespaces: BTreeSet<PathBuf> =
        all.iter().filter(|&&pid| belongs(pid, lab)).filter_map(|&pid| mount_namespace(pid)).collect();
    let inside = |pid: &Pid| mount_namespace(*pid).is_some_and(|ns| namespaces.contains(&ns));
    Ok(all.into_iter().filter(inside).collect())
}

fn mount_namespace(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

/// The marks in a process's mount table; none if the process is gone.
fn marks_of(pid: Pid) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    marks_in(&table)
}

fn marks_in(table: &str) -> Vec<String> {
    table
        .lines()
        .filter_map(|line| line.split_once(" - ")?.1.split(' ').nth(1))
        .filter(|source| source.starts_with(MARK))
        .map(str::to_owned)
        .collect()
}

fn pids() -> Result<Vec<Pid>> {
    let entries = fs::read_dir("/proc").context("reading /proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_marks_in_a_mount_table() {
        let table = "\
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
66 63 0:40 / / rw,relatime - overlay tsmig-lab:one rw,lowerdir=/x
67 66 0:41 / /tsmig-lab:two rw,relatime - tmpfs none rw
";
        assert_eq!(marks_in(table), ["tsmig-lab:one"]);
    }
}
