//! The holder of a node: the process that makes the node's namespaces, lives as long as the node
//! does, and is to the node's daemons what init is to a host's.
//!
//! As their "subreaper" it collects orphans at once. That matters: libvirt waits for a stopped
//! QEMU to be collected, and where the machine's own init takes seconds over that, each migration
//! and each question about QEMU's capabilities would seem to take seconds longer than it does.

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, chdir, sethostname, setsid},
};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP},
    iterator::Signals,
};

use crate::{census, client_view, host_root, node::Node, paths::LabDir, spec::LabSpec};

/// What the holder writes on its standard output once its namespaces can be entered.
pub(crate) const READY: &str = "ready";

/// Tells a holder to start those of its node's daemons that do not run.
pub(crate) const START_DAEMONS: nix::sys::signal::Signal = nix::sys::signal::Signal::SIGHUP;

/// Becomes the holder of a node; does not return while the node lives.
pub(crate) fn hold(lab: &str, node: Node) -> Result<()> {
    let dir = LabDir::new(lab)?;
    let spec = LabSpec::read(&dir)?;
    let mut daemons = daemons(node, &dir)?;

    // A session of its own: Ctrl-C in the user's terminal must not end the lab.
    setsid().context("starting a session")?;
    prctl::set_child_subreaper(true).context("becoming a subreaper")?;
    // Before the namespaces, so that no signal is lost once the lab knows that we are ready.
    let mut signals = Signals::new([SIGCHLD, SIGHUP]).context("handling signals")?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .context("making namespaces; the lab must be run by root")?;
    make_mounts(node, &dir, &spec)?;
    sethostname(node.name()).context("setting the hostname")?;
    chdir("/").context("entering the node's root")?;
    writeln!(io::stdout(), "{READY}").context("reporting that the node is ready")?;

    for signal in signals.forever() {
        match signal {
            SIGHUP => daemons.iter_mut().try_for_each(Daemon::start)?,
            _ => collect_children(&mut daemons)?,
        }
    }
    Ok(())
}

fn make_mounts(node: Node, dir: &LabDir, spec: &LabSpec) -> Result<()> {
    // From here on no mount is seen outside the node.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("making the node's mounts private")?;
    let private = dir.private(node);
    mount(Some(census::mark(dir.name()).as_str()), &private, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .with_context(|| format!("mounting {}", private.display()))?;
    match node {
        Node::Client => client_view::cover(spec, &private, &dir.ssh()),
        Node::Peer | Node::Switch => Ok(()),
        host => host_root::enter(host, dir, spec),
    }
}

/// A program that the node runs as long as it lives.
struct Daemon {
    command: Vec<String>,
    pid: Option<Pid>,
}

fn daemons(node: Node, dir: &LabDir) -> Result<Vec<Daemon>> {
    let text = |path: &Path| path.display().to_string();
    let commands: &[&[&str]] = match node {
        Node::Peer => {
            let own = env::current_exe().context("finding this program's own file")?;
            &[&[&text(&own), "peer-server", &text(&dir.traffic())]]
        }
        Node::Client | Node::Switch => &[],
        _host => &[&["libvirtd", "--listen"], &["/usr/sbin/sshd", "-D", "-e"]],
    };
    let daemon =
        |command: &&[&str]| Daemon { command: command.iter().map(|word| (*word).to_owned()).collect(), pid: None };
    Ok(commands.iter().map(daemon).collect())
}

impl Daemon {
    fn start(&mut self) -> Result<()> {
        if self.pid.is_none() {
            let child = Command::new(&self.command[0])
                .args(&self.command[1..])
                .stdin(Stdio::null())
                // Our standard error is the node's log.
                .stdout(io::stderr())
                .spawn()
                .with_context(|| format!("starting {}", self.command[0]))?;
            self.pid = Some(Pid::from_raw(child.id().try_into().context("a process id")?));
        }
        Ok(())
    }
}

/// Collects all children that have ended: our daemons, and the orphans that they left.
fn collect_children(daemons: &mut [Daemon]) -> Result<()> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(status) => {
                for daemon in daemons.iter_mut().filter(|daemon| daemon.pid == status.pid()) {
                    daemon.pid = None;
                }
            }
            Err(error) => return Err(error).context("collecting children"),
        }
    }
}
