//! Bringing a lab up, entering its nodes, and taking it down.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fmt::Write,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::kill,
    unistd::Pid,
};
use tsmig_lab_guest::flow;

use crate::{
    census, deps,
    hold::{READY, START_DAEMONS},
    initramfs, kernel,
    networks::{MigrationNetwork, Network},
    node::Node,
    paths::{LABS, LabDir, guest_binary, lab_binary},
    rootfs,
    run::{capture, wait_for},
    spec::LabSpec,
    ssh,
};

/// The kernel and the initramfs, in the directory that all hosts share.
pub(crate) const BOOT: &str = "boot";

/// A host's search path, for the daemons and for whatever is run in it.
const HOST_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Until then, a daemon answers.
const PATIENCE: Duration = Duration::from_secs(60);

const SSH_PORT: u16 = 22;
const LIBVIRT_PORT: u16 = 16509;

/// A lab that is up. Dropping it takes it down, unless it was [kept](Self::keep) or
/// [opened](Self::open).
#[derive(Debug)]
pub struct Lab {
    dir: LabDir,
    spec: LabSpec,
    /// One process in each node's namespaces.
    holders: BTreeMap<Node, i32>,
    /// The holders that this process started and has to collect.
    children: Vec<Child>,
    down_on_drop: bool,
}

impl Lab {
    /// Brings a lab up: makes what is not cached yet, starts the nodes, connects them, and waits
    /// until all hosts answer. What a crashed lab of that name left is cleared away.
    pub fn up(spec: &LabSpec) -> Result<Self> {
        spec.check()?;
        let dir = LabDir::new(&spec.name)?;
        let init = guest_binary()?;
        deps::ensure()?;
        let _claim = claim(&dir)?;
        let kernel = make_caches(spec)?;
        let mut lab =
            Self { dir, spec: spec.clone(), holders: BTreeMap::new(), children: Vec::new(), down_on_drop: true };
        lab.write_files(&kernel, &init)?;
        lab.start_holders()?;
        lab.build_network()?;
        lab.start_daemons()?;
        let holders = serde_json::to_string(&lab.holders).context("encoding the holders")?;
        fs::write(lab.dir.holders(), holders).context("recording the holders")?;
        Ok(lab)
    }

    /// The lab of that name, which must be up.
    pub fn open(name: &str) -> Result<Self> {
        let dir = LabDir::new(name)?;
        let Ok(text) = fs::read_to_string(dir.holders()) else {
            bail!("no lab named {name} is up; run `tsmig-lab up --name {name}`");
        };
        let holders: BTreeMap<Node, i32> =
            serde_json::from_str(&text).context("the record of the lab's holders is damaged")?;
        let lives = |pid: &i32| census::belongs(Pid::from_raw(*pid), name);
        if !holders.values().all(lives) {
            bail!("the lab named {name} has died; run `tsmig-lab down --name {name}`");
        }
        let spec = LabSpec::read(&dir)?;
        Ok(Self { dir, spec, holders, children: Vec::new(), down_on_drop: false })
    }

    /// Leaves the lab up when this value is dropped.
    pub fn keep(mut self) -> Self {
        self.down_on_drop = false;
        self
    }

    /// What the lab was asked to be.
    pub fn spec(&self) -> &LabSpec {
        &self.spec
    }

    /// Its KVM hosts.
    pub fn hosts(&self) -> &'static [Node] {
        self.spec.hosts()
    }

    /// A directory of this machine that all hosts see at `/srv/shared`.
    pub fn shared_dir(&self) -> PathBuf {
        self.dir.shared()
    }

    /// A command that will run `program` in a node, as root. The child that it spawns is the program
    /// itself, so killing it works.
    ///
    /// A host has an environment of its own; on the other nodes a program gets this process's
    /// environment and working directory. `Command::current_dir` has no effect.
    pub fn command(&self, node: Node, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.holder(node).to_string();
        command.args(["--target", &target, "--mount", "--uts", "--net"]);
        if node.is_host() {
            command.args(["--root", "--wd"]).env_clear().env("PATH", HOST_PATH).env("HOME", "/root");
            command.env("LANG", "C.UTF-8").envs(env::var_os("TERM").map(|term| ("TERM", term)));
            command.arg("--");
        } else {
            let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
            command.args(["--", "env", "--chdir"]).arg(here);
            command.env("XDG_CONFIG_HOME", self.dir.configuration()).env("XDG_STATE_HOME", self.dir.state());
        }
        command.arg(program);
        command
    }

    /// Runs a program in a node to its end; its exit status is in the output.
    pub fn exec(&self, node: Node, command: &[&str]) -> Result<Output> {
        let [program, arguments @ ..] = command else {
            bail!("no program to run in {node}");
        };
        self.command(node, program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running {program} in {node}"))
    }

    /// Runs a program in a node, which must succeed; returns its standard output.
    pub fn run(&self, node: Node, command: &[&str]) -> Result<String> {
        let [program, arguments @ ..] = command else {
            bail!("no program to run in {node}");
        };
        capture(self.command(node, program).args(arguments)).with_context(|| format!("running {program} in {node}"))
    }

    /// The process id, on this machine, of a host's libvirtd.
    pub fn libvirtd_pid(&self, host: Node) -> Result<Pid> {
        self.pid_in(host, "run/libvirtd.pid")
    }

    /// The process id, on this machine, of the QEMU that runs a guest on a host.
    pub fn qemu_pid(&self, host: Node, guest: &str) -> Result<Pid> {
        self.pid_in(host, &format!("run/libvirt/qemu/{guest}.pid"))
    }

    /// Starts the daemons of all nodes that do not run (all of them at first; later those that
    /// died or were killed), and waits until they answer.
    pub fn start_daemons(&self) -> Result<()> {
        thread::scope(|scope| {
            let nodes = self.hosts().iter().chain(&[Node::Peer]);
            let threads: Vec<_> = nodes.map(|&node| scope.spawn(move || self.start_daemons_of(node))).collect();
            threads.into_iter().try_for_each(join)
        })
    }

    fn start_daemons_of(&self, node: Node) -> Result<()> {
        wait_for(&format!("the daemons of {node}"), PATIENCE, || {
            // Each time anew: a daemon that was just killed may not be quite dead at first.
            kill(self.holder(node), START_DAEMONS).with_context(|| format!("waking {node}"))?;
            Ok(self.answers(node)?.then_some(()))
        })
        .with_context(|| self.log_of(node))
    }

    /// Whether all daemons of a node answer.
    fn answers(&self, node: Node) -> Result<bool> {
        let ports: &[u16] = if node.is_host() { &[SSH_PORT, LIBVIRT_PORT] } else { &[flow::PORT] };
        for port in ports {
            // From within: the node's cable may be unplugged.
            let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
            if !self.exec(node, &["bash", "-c", &connect])?.status.success() {
                return Ok(false);
            }
        }
        // libvirt examines QEMU when first asked about it: now, rather than during a measurement.
        Ok(!node.is_host() || self.virsh(node, &["domcapabilities", "--virttype", "qemu"]).is_ok())
    }

    /// Runs virsh on a host, against its own libvirtd.
    pub(crate) fn virsh(&self, host: Node, arguments: &[&str]) -> Result<String> {
        let mut virsh = self.command(host, "virsh");
        capture(virsh.args(["--quiet", "--connect", "qemu:///system"]).args(arguments))
    }

    /// The process that holds a node's namespaces.
    pub(crate) fn holder(&self, node: Node) -> Pid {
        // Nodes are entered only once all are held.
        let holder = self.holders.get(&node);
        Pid::from_raw(*holder.unwrap_or_else(|| panic!("the lab named {} has no {node}", self.dir.name())))
    }

    pub(crate) fn dir(&self) -> &LabDir {
        &self.dir
    }

    fn pid_in(&self, host: Node, file: &str) -> Result<Pid> {
        let path = format!("/proc/{}/root/{file}", self.holder(host));
        let text = fs::read_to_string(&path).with_context(|| format!("no /{file} on {host}"))?;
        let pid = text.trim().parse().with_context(|| format!("/{file} on {host} holds no pid"))?;
        Ok(Pid::from_raw(pid))
    }

    fn write_files(&self, kernel: &Path, init: &Path) -> Result<()> {
        self.spec.write(&self.dir)?;
        ssh::write(&self.dir.ssh())?;
        self.write_configuration()?;
        let boot = self.dir.shared().join(BOOT);
        let consoles = self.dir.shared().join("console");
        for path in self.spec.nodes().map(|node| self.dir.private(node)).chain([boot.clone(), consoles]) {
            fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        }
        fs::copy(kernel.join(kernel::KERNEL), boot.join(kernel::KERNEL)).context("copying the guests' kernel")?;
        initramfs::write(&boot.join(initramfs::NAME), init, kernel)
    }

    /// What an administrator of these hosts would have configured: no program can tell that the links are shaped.
    fn write_configuration(&self) -> Result<()> {
        let directory = self.dir.configuration().join("tsmig");
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let link = match self.spec.migration {
            Some(MigrationNetwork::OwnWire(rate)) => rate,
            _ => self.spec.link,
        };
        let mut text = String::new();
        for &host in self.hosts() {
            writeln!(text, "[hosts.{host}]\nlink = \"{link}\"")?;
            if let Some(address) = host.address_in(Network::Migration).filter(|_| self.spec.migration.is_some()) {
                writeln!(text, "migration_uri = \"tcp://{address}\"")?;
            }
        }
        fs::write(directory.join("config.toml"), text).context("writing the client's configuration")
    }

    /// Starts all holders, then waits for all.
    fn start_holders(&mut self) -> Result<()> {
        let binary = lab_binary()?;
        for node in self.spec.nodes() {
            let log = File::create(self.dir.log(node)).with_context(|| format!("log of {node}"))?;
            let child = Command::new(&binary)
                .args(["hold", self.dir.name(), node.name()])
                .env_clear()
                .envs([("PATH", HOST_PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(log)
                .spawn()
                .with_context(|| format!("starting {}", binary.display()))?;
            self.holders.insert(node, child.id().try_into().context("a process id")?);
            self.children.push(child);
        }
        for (node, child) in self.spec.nodes().zip(&mut self.children) {
            let mut line = String::new();
            if let Some(stdout) = child.stdout.take() {
                BufReader::new(stdout).read_line(&mut line).context("hearing from a holder")?;
            }
            if line.trim() != READY {
                bail!("{node} did not start: {}", self.log_of(node));
            }
        }
        Ok(())
    }

    /// What a node's daemons have to say.
    fn log_of(&self, node: Node) -> String {
        let path = self.dir.log(node);
        let text = fs::read_to_string(&path).unwrap_or_default();
        format!("the log of {node} says: {}", text.trim())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.down_on_drop {
            if let Err(error) = down(self.dir.name()) {
                crate::run::note(&format!("{error:#}"));
            }
            for child in &mut self.children {
                // It was killed; all that is left is to collect it.
                let _ = child.wait();
            }
        }
    }
}

/// Takes down the lab of that name, or whatever is left of it.
pub fn down(name: &str) -> Result<()> {
    let dir = LabDir::new(name)?;
    census::kill_all(name).with_context(|| format!("taking the lab named {name} down"))?;
    match fs::remove_dir_all(dir.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.path().display()))
        }
        _ => Ok(()),
    }
}

/// Names of all labs that are up or have left something.
pub fn all_labs() -> Result<Vec<String>> {
    let mut names = census::labs()?;
    for entry in fs::read_dir(LABS).into_iter().flatten().flatten() {
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names.into_iter().collect())
}

/// Makes the caches that a lab needs, side by side; returns the directory of the guests' kernel.
fn make_caches(spec: &LabSpec) -> Result<PathBuf> {
    thread::scope(|scope| {
        let kernel = scope.spawn(kernel::ensure);
        spec.hosts().iter().try_for_each(|&host| rootfs::ensure(spec.release(host)).map(drop))?;
        join(kernel)
    })
}

/// Makes an empty directory for a lab; while the claim lives, nobody else brings that lab up.
fn claim(dir: &LabDir) -> Result<Flock<File>> {
    let (name, path) = (dir.name(), dir.path());
    fs::create_dir_all(LABS).with_context(|| format!("creating {LABS}; the lab must be run by root"))?;
    let _all = lock(Path::new(LABS), FlockArg::LockExclusive)?;
    if path.exists() {
        lock(path, FlockArg::LockExclusiveNonblock)
            .with_context(|| format!("another process is at work on the lab named {name}"))?;
    }
    if census::labs()?.contains(name) {
        bail!("the lab named {name} is up already; run `tsmig-lab down --name {name}` first");
    }
    down(name)?;
    fs::create_dir(path).with_context(|| format!("creating {}", path.display()))?;
    lock(path, FlockArg::LockExclusiveNonblock)
}

/// Locks a directory until the result is dropped.
pub(crate) fn lock(path: &Path, how: FlockArg) -> Result<Flock<File>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Flock::lock(file, how).map_err(|(_, errno)| anyhow!(errno)).with_context(|| format!("locking {}", path.display()))
}

/// A scoped thread's result.
pub(crate) fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
