//! What is worth knowing before a plan is run.

use std::fmt;

use crate::domain::Fault;
use crate::plan::Note;
use crate::units::{size, span};

/// How many domains are named of those that one note is about. Chosen: about a line of a terminal.
const NAMED: usize = 6;

/// The first of them by name, and how many there are beside.
fn named(domains: &[String]) -> String {
    let (first, others) = domains.split_at(domains.len().min(NAMED));
    let first = first.join(", ");
    match others.len() {
        0 => first,
        1 => format!("{first} and 1 other"),
        count => format!("{first} and {count} others"),
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OlderDestination { hypervisor, source, source_version, destination, destination_version } => write!(
                f,
                "{destination} runs {hypervisor} {destination_version}, older than the {source_version} of {source}: its own \
                 developers test migration from old to new only"
            ),
            Self::Unproven { source, destination, machines, provers, known, more_seconds } => {
                let machines = machines.join(" and ");
                let costs = more_seconds.map_or_else(|| " may not end".to_owned(), |s| format!(" costs {}", span(s)));
                match provers.is_empty() {
                    true => write!(
                        f,
                        "nothing has proven that {destination} can load the {machines} guests of {source}, so they go by \
                         pre-copy, which{costs}"
                    )?,
                    false => write!(
                        f,
                        "proving {destination} for {machines} guests{costs}: post-copies wait until {} runs there, by pre-copy",
                        provers.join(" and ")
                    )?,
                }
                match known {
                    true => write!(f, "; `tsmig rehearse {source} {destination} DOMAIN` proves it beforehand")?,
                    false => write!(
                        f,
                        "; nothing can prove it, since the shell of {source} does not tell in which version of QEMU they run"
                    )?,
                }
                f.write_str(", --trust-destination goes without")
            }
            Self::Trusted { destination, kinds } => {
                let of = if *kinds == 1 {
                    "one kind of guests: the first"
                } else {
                    "some kinds of guests: the first of each"
                };
                write!(
                    f,
                    "post-copy is not proven for {of} goes alone until it runs at {destination}. If that can't load it, this \
                     one guest is lost, and nothing more is launched"
                )
            }
            Self::UnprivilegedQemu { destination, user } => write!(
                f,
                "QEMU runs as user {user} at {destination}: post-copy needs vm.unprivileged_userfaultfd=1 there (sysctl), or \
                 a readable /dev/userfaultfd; without, domains go by pre-copy"
            ),
            Self::TakenAsShared { domain, destination, file, path } => write!(
                f,
                "{domain}: its {file} ({path}) at {destination} is taken to be the same file, as on shared storage"
            ),
            Self::MediumDropped { domain, destination, drive, path } => write!(
                f,
                "{domain}: the medium in its drive {drive} ({path}) is not at {destination}; libvirt drops it, and the drive \
                 arrives empty"
            ),
            Self::Paused { domain, source, destination, fault } => {
                // The destination does not know the disk: QEMU does not send what its disks had met.
                let disk = if *fault == Fault::IoError { &format!(" (virsh domblkerror {domain})") } else { "" };
                let remedy = fault.remedy(domain);
                write!(
                    f,
                    "{domain} is paused by {fault}{disk} at {source} and arrives paused: {remedy}, before it moves or at \
                     {destination} afterwards"
                )
            }
            Self::Owned { domain, source, manager } => write!(
                f,
                "{domain} belongs to {name} and moves nevertheless (--owned): {name} still takes it to be at {source}, and may \
                 start it a second time",
                name = manager.name()
            ),
            Self::ClusterUnseen { host } => write!(
                f,
                "{host} is in a Pacemaker cluster that can't be asked from here: see that it runs none of these domains \
                 (`crm_mon --one-shot` there), since it would start them a second time"
            ),
            Self::Differs { domains, difference } => write!(f, "{}: {difference}", named(domains)),
            Self::HostsDiffer { difference } => write!(f, "{difference}"),
            Self::NotKnown { destination, domains } => write!(
                f,
                "the shell of {destination} does not answer (it is reached by neither ssh nor this machine, or `shell` in the \
                 configuration forbids it): whether it has what {} by address, socket, device or user is not known",
                if *domains == 1 { "1 domain names".to_owned() } else { format!("{domains} domains name") }
            ),
            Self::RouteAssumed { host, ports } => write!(
                f,
                "it is not known which port of {host} migrations cross (known: {}), so all traffic that leaves it counts as \
                 beside them; `migration_port` in the configuration says it",
                ports.join(", ")
            ),
            Self::MemoryAssumed { domains } => write!(
                f,
                "how much of their memory is free these do not say, it can't be looked at, and nothing was learned of it yet, so all \
                 that is backed is taken to cross, which may be too much: {}; a guest with a balloon driver says it after \
                 `virsh dommemstat DOMAIN --period 5 --live`",
                named(domains)
            ),
            Self::DirtyRateAssumed { domains } => write!(
                f,
                "libvirt could not measure how fast these write to their memory, and no migration has shown it: {}. The plan counts \
                 only what their traffic dirties, which may be too little; libvirt 7.2 and QEMU 5.2 or later measure it, unless a \
                 job (a backup, say) holds the domain",
                named(domains)
            ),
            Self::NoLogin { source, destination, uri, words } => write!(
                f,
                "the libvirt of {source} itself can't connect to that of {destination} ({words}), so tsmig manages the \
                 migrations, and they end with it; see that `virsh -c {uri} hostname` works at {source} as root"
            ),
            Self::MtuDiffers { source, source_device, source_mtu, destination, destination_mtu } => write!(
                f,
                "the MTU on the way of the memory is {source_mtu} at {source} ({source_device}) and {destination_mtu} at \
                 {destination}: the smaller one counts"
            ),
            Self::PortsClosed { source, address, rejected } => write!(
                f,
                "a firewall between {source} and {address} {} what goes to TCP ports 49152 to 49215, one of which each migration \
                 takes; open them, or see migration_port_min in qemu.conf",
                if *rejected { "turns away" } else { "swallows" }
            ),
            Self::Promised { source, destination, bytes } => write!(
                f,
                "another run still brings {} from {source} to {destination}: that much is not counted as free",
                size(*bytes)
            ),
            Self::MemoryNear { destination, left_bytes, room, plan_bytes } => write!(
                f,
                "{} of memory are left at {destination} when all are there (counted: {room}, less {} for the plan); runs from \
                 other machines or of other users are not known here",
                size(*left_bytes),
                size(*plan_bytes)
            ),
        }
    }
}
