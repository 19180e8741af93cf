//! The command line of `tsmig-lab`.

use std::{
    ffi::OsString,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::{
    Accelerator, DEFAULT_NAME, GuestSpec, Lab, LabSpec, MigrationNetwork, Network, Nic, Node, Rate, Release, Start,
    all_labs, deps, down, hold, peer,
    run::note,
    spec::{DEFAULT_HOSTS, DEFAULT_LINK},
};

mod demo;
mod interrupt;
mod status;

/// A lab of libvirt hosts on one machine.
#[derive(Debug, Parser)]
#[command(name = "tsmig-lab", version)]
struct Cli {
    /// Tells labs apart that are up side by side
    #[arg(long, global = true, default_value = DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Debug, Subcommand)]
enum Cmd {
    /// Install the Debian packages that the lab needs (`up` does it too)
    InstallDeps,
    /// Bring the lab up
    Up(UpArgs),
    /// Take the lab down; also cleans up after a crash
    Down {
        /// Take all labs down
        #[arg(long)]
        all: bool,
    },
    /// Add or remove a guest
    #[command(subcommand)]
    Guest(GuestCmd),
    /// Run a program in a node
    Exec {
        /// Where to run it
        node: Node,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Show the guests, where they run, and their heartbeats and traffic
    Status,
    /// Show the guests' traffic, once a second
    Traffic {
        /// Stop after that many seconds
        #[arg(long)]
        seconds: Option<u64>,
    },
    /// Bring up a lab with four guests, evacuate host-a with tsmig, check the guests, take it down
    Demo {
        #[command(flatten)]
        up: UpArgs,
        /// The tsmig to run [default: the one beside this program]
        #[arg(long)]
        tsmig: Option<PathBuf>,
        /// Leave the lab up
        #[arg(long)]
        keep: bool,
    },
    #[command(hide = true)]
    Hold { lab: String, node: Node },
    #[command(hide = true)]
    PeerServer { record: PathBuf },
}

#[derive(Debug, Args)]
struct UpArgs {
    /// KVM hosts, two to four: host-a, host-b and so on
    #[arg(long, default_value_t = DEFAULT_HOSTS)]
    hosts: usize,
    /// Capacity of each host's uplink, each way
    #[arg(long, default_value_t = DEFAULT_LINK)]
    link: Rate,
    /// A second network of the hosts, for migrations, on a wire of its own: capacity of each host's NIC, each way
    #[arg(long, value_name = "RATE")]
    migration_rate: Option<Rate>,
    /// A second network of the hosts, for migrations, on the wire of the first
    #[arg(long, conflicts_with = "migration_rate")]
    migration_on_link: bool,
    /// An isolated and a NAT network in each host's libvirt
    #[arg(long)]
    inner_networks: bool,
    /// Debian release of host-a
    #[arg(long, default_value_t)]
    release_a: Release,
    /// Debian release of the other hosts
    #[arg(long, default_value_t)]
    release_b: Release,
    /// How the guests' processors are run
    #[arg(long, value_enum, default_value_t)]
    accel: Accelerator,
}

impl UpArgs {
    fn spec(self, name: &str) -> LabSpec {
        let on_link = self.migration_on_link.then_some(MigrationNetwork::LanWire);
        LabSpec {
            name: name.to_owned(),
            hosts: self.hosts,
            link: self.link,
            migration: self.migration_rate.map(MigrationNetwork::OwnWire).or(on_link),
            inner_networks: self.inner_networks,
            release_a: self.release_a,
            release_b: self.release_b,
            accelerator: self.accel,
        }
    }
}

#[derive(Debug, Subcommand)]
enum GuestCmd {
    /// Boot a guest, and wait for its heartbeat and its traffic
    Add(AddArgs),
    /// Stop and undefine a guest, wherever it runs
    Remove {
        /// The guest's name
        guest: String,
    },
    /// Make a guest power itself off
    PowerOff {
        /// The guest's name
        guest: String,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The guest's name
    guest: String,
    /// The host to start it on
    #[arg(long, default_value = "host-a")]
    host: Node,
    /// Memory, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    memory: u64,
    /// Network of its card; given several times, it has several cards
    #[arg(long, default_value = "lan")]
    network: Vec<Network>,
    /// Rate of its traffic to the peer, as in 30Mbit; given several times, over one card each, in their order
    #[arg(long, value_name = "RATE")]
    send: Vec<Rate>,
    /// Rate of its traffic from the peer, likewise
    #[arg(long, value_name = "RATE")]
    receive: Vec<Rate>,
    /// The guest that is the other end of its traffic instead of the peer, over its last card
    #[arg(long, value_name = "GUEST")]
    with: Option<String>,
    /// Memory to fill at boot, in MiB; a guest of 128 MiB has room for about 50
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    fill: u64,
    /// Rate at which it writes to memory, counted in whole pages, as in 8MB/s
    #[arg(long, value_name = "RATE", default_value_t)]
    dirty: Rate,
    /// Memory over which those writes go round, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 16)]
    working_set: u64,
    /// Let libvirt forget the domain when it stops
    #[arg(long)]
    transient: bool,
    /// Only define it
    #[arg(long, conflicts_with_all = ["transient", "paused"])]
    inactive: bool,
    /// Suspend it once it has booted
    #[arg(long)]
    paused: bool,
}

impl AddArgs {
    fn spec(self) -> Result<GuestSpec> {
        let cards = self.network.len();
        ensure!(self.send.len().max(self.receive.len()) <= cards, "more rates than cards; give a --network for each");
        let rate = |rates: &[Rate], number: usize| rates.get(number).copied().unwrap_or_default();
        let nics = self.network.iter().enumerate().map(|(number, &network)| Nic {
            network,
            send: rate(&self.send, number),
            receive: rate(&self.receive, number),
            other_end: self.with.clone().filter(|_| number + 1 == cards),
        });
        Ok(GuestSpec {
            host: self.host,
            memory_mib: self.memory,
            nics: nics.collect(),
            fill_mib: self.fill,
            dirty: self.dirty,
            working_set_mib: self.working_set,
            transient: self.transient,
            start: match (self.inactive, self.paused) {
                (true, _) => Start::Inactive,
                (_, true) => Start::Paused,
                _ => Start::Running,
            },
            ..GuestSpec::new(&self.guest)
        })
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            interrupt::wait_if_caught();
            note(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let name = cli.name;
    match cli.command {
        Cmd::InstallDeps => deps::ensure(),
        Cmd::Up(up) => {
            interrupt::takes_down(&name)?;
            drop(Lab::up(&up.spec(&name))?.keep());
            Ok(())
        }
        Cmd::Down { all: true } => all_labs()?.iter().try_for_each(|name| down(name)),
        Cmd::Down { all: false } => down(&name),
        Cmd::Guest(GuestCmd::Add(add)) => Lab::open(&name)?.add_guests(&[add.spec()?]),
        Cmd::Guest(GuestCmd::Remove { guest }) => Lab::open(&name)?.remove_guest(&guest),
        Cmd::Guest(GuestCmd::PowerOff { guest }) => Lab::open(&name)?.power_off(&guest),
        Cmd::Exec { node, command } => exec(&Lab::open(&name)?, node, &command),
        Cmd::Status => {
            let table = status::table(&Lab::open(&name)?)?;
            writeln!(io::stdout(), "{table}").context("writing the table")
        }
        Cmd::Traffic { seconds } => show_traffic(&Lab::open(&name)?, seconds.unwrap_or(u64::MAX)),
        Cmd::Demo { up, tsmig, keep } => demo::run(&up.spec(&name), tsmig, keep),
        Cmd::Hold { lab, node } => hold::hold(&lab, node),
        Cmd::PeerServer { record } => peer::serve(&record),
    }
}

/// Becomes the program, so that its terminal and its exit status are the user's.
fn exec(lab: &Lab, node: Node, command: &[OsString]) -> Result<()> {
    ensure!(lab.spec().nodes().any(|other| other == node), "the lab has no {node}");
    let (program, arguments) = command.split_first().context("no program to run")?;
    let error = lab.command(node, program).args(arguments).exec();
    Err(error).context("starting nsenter")
}

fn show_traffic(lab: &Lab, seconds: u64) -> Result<()> {
    const STEP: Duration = Duration::from_secs(1);
    let guests = lab.guests()?;
    ensure!(!guests.is_empty(), "the lab has no guests");
    for _ in 0..seconds {
        thread::sleep(STEP);
        let mut line = String::new();
        for guest in &guests {
            let flow = lab.flow(&guest.name, STEP)?;
            line += &format!("{}  {}    ", guest.name, status::flow_cell(&flow));
        }
        writeln!(io::stdout(), "{}", line.trim_end()).context("writing the traffic")?;
    }
    Ok(())
}
