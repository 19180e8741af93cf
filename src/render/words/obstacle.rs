//! What keeps a domain or a host from taking part: a clause that follows its name and a colon, and what would help.

use std::fmt;

use crate::domain::DomainState;
use crate::obstacle::{NetworkDifference, Obstacle, Room, RoomBasis};
use crate::units::size;

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::Several { obstacles } => obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Self::Stated { words } => words.clone(),
            Self::NotMigratable => "it can't be migrated".to_owned(),
            Self::NotPostCopiable => "it does not support post-copy".to_owned(),
            Self::PostCopyNotAllowed => "at most 0 domains may be in post-copy".to_owned(),
            Self::Unproven { name, source, destination, machine, known: true } => format!(
                "nothing has proven that {destination} can load a {machine} guest like it (`tsmig rehearse {source} \
                 {destination} {name}` does, --trust-destination goes without)"
            ),
            Self::Unproven { source, known: false, .. } => format!(
                "the version of QEMU that it runs in is not known, so nothing has proven post-copy for it (the shell of \
                 {source} tells, over qemu+ssh; --trust-destination goes without)"
            ),
            Self::PostCopyForced { by, obstacle } => {
                format!("post-copy is forced by {by} but not possible: {obstacle}")
            }
            Self::NotRunning { state } => format!("it is {state}, and only a running domain can be post-copied"),
            Self::State { state: DomainState::ShuttingDown } => {
                "it is shutting down: try again once it is off or runs".to_owned()
            }
            Self::State { state: DomainState::Crashed } => {
                "it has crashed: restart it or turn it off first".to_owned()
            }
            Self::State { state: DomainState::Unknown } => "libvirt does not know its state".to_owned(),
            Self::State { state } => format!("it is {state}"),
            Self::NotAsPlanned { state, offline: true } => {
                format!("it is {state}; the plan moves only its definition")
            }
            Self::NotAsPlanned { state, offline: false } => format!("it is {state}; the plan moves it live"),
            Self::Started { state, source } => {
                format!("it is {state} at {source}, and only its definition was to move; run this again")
            }
            Self::Hangs { name } => format!(
                "its emulator does not answer libvirt (virsh domcontrol {name}); see what it waits for, such as storage \
                 that is gone, or exclude the domain"
            ),
            Self::AssignedDevices { count } => {
                let (plural, them) = if *count == 1 { ("", "it") } else { ("s", "them") };
                format!(
                    "it has {count} assigned host device{plural}, which can't be migrated live; detach {them} or shut the \
                     domain down"
                )
            }
            Self::MemoryInFile => "its memory is backed by a file, which post-copy does not survive".to_owned(),
            Self::Owned { manager, name, uuid } => format!(
                "it belongs to {}, which does not learn of a migration by others and may start it a second time; move it by \
                 {}, or say --owned",
                manager.name(),
                manager.way(name, uuid)
            ),
            Self::MigratesAlready { name } => format!(
                "it is being migrated already; wait until that has ended (virsh domjobinfo {name}), or let `tsmig \
                 recover` see it to its end, and run tsmig again"
            ),
            Self::Job { name, job } => format!(
                "a {job} job runs on it; wait for its end (virsh domjobinfo {name}) or cancel it (virsh domjobabort \
                 {name})"
            ),
            Self::Snapshots { name, count } => {
                let (snapshots, them) =
                    if *count == 1 { ("a snapshot".to_owned(), "it") } else { (format!("{count} snapshots"), "them") };
                format!(
                    "it has {snapshots}, and libvirt migrates no domain with any; delete {them} (virsh snapshot-list \
                     {name}, virsh snapshot-delete)"
                )
            }
            Self::UnsafeStorage { source, words } => format!(
                "a disk of it is not on storage that both hosts share, says the libvirt of {source} ({words}); move the \
                 disk to shared storage, or exclude the domain"
            ),
            Self::LibvirtRefuses { source, words } => format!(
                "the libvirt of {source} does not migrate it: {words}; mend that, or exclude the domain"
            ),
            Self::NoMachine { source, destination, words } => format!(
                "{destination} can't run its kind of machine: {words}; install there what {source} has, or exclude the \
                 domain"
            ),
            Self::NoProcessor { destination, words } => format!(
                "the processor of {destination} is not enough for it: {words}; give the domain a CPU model that both \
                 hosts have, and restart it"
            ),
            Self::NoDisk { destination, disk, path } => format!(
                "its disk {disk} ({path}) is not at {destination}; mount the storage with it there, or exclude the domain"
            ),
            Self::NoMedium { name, destination, drive, path } => format!(
                "the medium in its drive {drive} ({path}) is not at {destination}; put it there, or eject it (virsh \
                 change-media {name} {drive} --eject)"
            ),
            Self::NoBootFile { destination, file, path } => {
                format!("its {file} ({path}) is not at {destination}; install it there")
            }
            Self::NoFile { destination, part, path } => {
                format!("its {part} names {path}, which is not at {destination}; put it there, or exclude the domain")
            }
            Self::NotAllowed { destination, user, part, path, writes } => format!(
                "QEMU at {destination}, as {user} (user:group), may not {} its {part} ({path}); let it (chown, chmod or \
                 setfacl), or exclude the domain",
                if *writes { "write" } else { "read" }
            ),
            Self::NoAddress { name, destination, part, address } => format!(
                "its {part} listens on {address}, which is no address of {destination}; give it another, such as 0.0.0.0 \
                 (virsh edit {name}), and restart it, or exclude it"
            ),
            Self::PortTaken { name, destination, part, port, taken_by } => format!(
                "its {part} listens on port {port}, which {taken_by} has at {destination}; give one of the two another \
                 port (virsh edit {name}) and restart it, or exclude the domain"
            ),
            Self::NoSecret { source, destination, words } => format!(
                "the libvirt of {destination} lacks a secret: {words}; define it there as at {source} (virsh \
                 secret-dumpxml, virsh secret-define), and give it its value (virsh secret-set-value)"
            ),
            Self::Unfit { destination, words } => format!(
                "{destination} can't run it: {words}; install or define there what is missing, or exclude the domain"
            ),
            Self::NoProcessors { name, destination, numbers } => format!(
                "it is pinned to processors that {destination} does not have ({numbers}); pin it to others (virsh vcpupin \
                 {name}, virsh emulatorpin {name})"
            ),
            Self::NoCells { name, destination, numbers } => format!(
                "its memory is to come from NUMA nodes that {destination} does not have ({numbers}); give it others (virsh \
                 numatune {name}), or exclude it"
            ),
            Self::NoPageSize { destination, page_bytes } => format!(
                "{destination} does not have huge pages of {}, which its memory is in; exclude the domain",
                size(*page_bytes)
            ),
            Self::NoUser { source, destination, user } => format!(
                "its QEMU runs as the user {user}, which {destination} does not have; add that user there with the number \
                 that it has at {source}"
            ),
            Self::NoListenNetwork { source, destination, network } => format!(
                "its display listens on the libvirt network {network}, which is not active at {destination}; define and \
                 start it there (virsh net-dumpxml {network} at {source}, virsh net-define, virsh net-start)"
            ),
            Self::NetworkDiffers { source, destination, network, mac, difference } => format!(
                "{} in the libvirt network {network}, {}",
                if mac.is_empty() { "a NIC is".to_owned() } else { format!("its NIC {mac} is") },
                other_network((source, destination), network, difference)
            ),
            Self::OtherUser { destination, user, source, source_user } => format!(
                "QEMU runs as {user} (user:group) at {destination} and as {source_user} at {source}: it may not be able to \
                 open files there that it can open here"
            ),
            Self::NoBridge { destination, bridge, mac } => {
                format!("{destination} has no bridge {bridge} for its NIC {mac}; create it there")
            }
            Self::NoDevice { destination, device, mac } => format!(
                "{destination} has no network device {device} for its NIC {mac}; name one there alike, or plug the NIC \
                 into a libvirt network that both hosts have"
            ),
            Self::NoNetwork { source, destination, network, mac } => format!(
                "{destination} has no libvirt network {network} for its NIC {mac}; define and start it there (virsh \
                 net-dumpxml {network} at {source}, virsh net-define)"
            ),
            Self::NetworkInactive { destination, network, mac } => format!(
                "the libvirt network {network} for its NIC {mac} is not active at {destination}; start it there (virsh \
                 net-start {network})"
            ),
            Self::MacTaken { destination, mac, taken_by } => format!(
                "its MAC address {mac} is taken at {destination} by {taken_by}; give one of the two another"
            ),
            Self::UuidTaken { destination, state } => format!(
                "a domain with its UUID is {state} at {destination}; find out which of the two is the real one, and stop \
                 none before that"
            ),
            Self::NameTaken { destination, other_uuid } => format!(
                "{destination} has another domain of this name (UUID {other_uuid}); rename one of the two with virsh \
                 domrename"
            ),
            Self::NotLookedUp { source, name } => format!(
                "{source} can't look up {name}, where memory is to go; name it in the DNS or in /etc/hosts there, or give its \
                 address (--migration-uri tcp://ADDRESS)"
            ),
            Self::OwnAddress { source, name, address } => format!(
                "{source} takes {name}, where memory is to go, for {address}, which is its own address; mend /etc/hosts \
                 there, or give the right one (--migration-uri tcp://ADDRESS)"
            ),
            Self::NoRoute { source, address } => format!(
                "{source} has no route to {address}, where memory is to go; see `ip route get {address}` there, or give \
                 another address (--migration-uri tcp://ADDRESS)"
            ),
            Self::NoCarrier { host, device, address } => format!(
                "{device} at {host}, on the way of the memory to {address}, has no carrier; see `ip link show {device}` there, or \
                 give another address (--migration-uri tcp://ADDRESS)"
            ),
            Self::NoMemory { destination, needed_bytes, left_bytes, room } => {
                no_room("memory", destination, (*needed_bytes, *left_bytes), &format!(" (counted: {room})"))
            }
            Self::NoHugePages { destination, needed_bytes, left_bytes, page_bytes } => {
                no_room(&format!("huge pages of {}", size(*page_bytes)), destination, (*needed_bytes, *left_bytes), "")
            }
            Self::ManagedSave { name, source } => format!(
                "it has a managed-save image, which libvirt leaves at {source}; {}, or delete the image (virsh \
                 managedsave-remove {name})",
                take_along(name)
            ),
            Self::Checkpoints { name, source, destination, count } => format!(
                "it has {}, which libvirt deletes at {source} and does not copy; delete what there is (virsh \
                 checkpoint-list {name}, virsh checkpoint-delete {name} NAME --metadata) and begin with a full backup at \
                 {destination}",
                if *count == 1 { "a checkpoint" } else { "checkpoints" }
            ),
            Self::Tpm { name, destination } => format!(
                "it has a TPM, whose state libvirt does not copy to {destination}; {}, or exclude it",
                take_along(name)
            ),
            Self::KeptFile { name, source, destination, file, path, at_destination } => {
                let take_along = take_along(name);
                match at_destination {
                    Some(true) => format!(
                        "its {file} ({path}) is in a directory of {source}'s own, and what {destination} has there may \
                         be older; {take_along}, or exclude it"
                    ),
                    Some(false) => {
                        format!("its {file} ({path}) is not at {destination}; copy it there, or {take_along}")
                    }
                    None => format!(
                        "libvirt can't tell whether its {file} ({path}) is at {destination}; {take_along}, or exclude it"
                    ),
                }
            }
            Self::ReadOnly => "the connection is read-only, and nothing moves over it; connect as a user who may manage domains there \
                 (root, or one of the group libvirt), and by no read-only socket".to_owned(),
            Self::OtherHypervisor { hypervisor, source, source_hypervisor } => format!(
                "its hypervisor is {hypervisor}, and that of {source} is {source_hypervisor}; choose a destination with \
                 the same"
            ),
        };
        f.write_str(&sentence)
    }
}

fn other_network((source, destination): (&str, &str), network: &str, difference: &NetworkDifference) -> String {
    let remedy = format!(
        "give it one definition on both (virsh net-dumpxml {network} at {source}; virsh net-destroy, net-undefine, \
         net-define and net-start at {destination})"
    );
    let tags = |tags: &[u16]| match tags {
        [] => "none".to_owned(),
        tags => tags.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
    };
    match difference {
        NetworkDifference::Kind { here, there } => format!(
            "which is of the kind {here} at {source} and {there} at {destination}, so that it would be cut off; {remedy}"
        ),
        NetworkDifference::OfEachHost { mode } => format!(
            "which is of the kind {mode}: each host has one of its own, so that connections may break, and guests that \
             stay at {source} may be out of reach"
        ),
        NetworkDifference::Bridge { here, there } => format!(
            "which is on {here} at {source} and on {there} at {destination}: if these are not of one network, it is cut off"
        ),
        NetworkDifference::Vlan { here, there } => format!(
            "which has VLAN {} at {source} and {} at {destination}, so that it would be cut off; {remedy}",
            tags(here),
            tags(there)
        ),
        NetworkDifference::NoPortgroup { portgroup } => {
            format!("which has no portgroup {portgroup} at {destination}; {remedy}")
        }
    }
}

/// Not paused: QEMU writes the NVRAM at the destination only when the domain runs there.
fn take_along(domain: &str) -> String {
    format!("start the domain (virsh start {domain}) and move it while it runs")
}

fn no_room(what: &str, destination: &str, (needed, left): (u64, u64), counted: &str) -> String {
    format!(
        "it needs {} of {what} at {destination}, which has {} left when the domains before it in the plan are \
         there{counted}; free some there, or exclude some domains",
        size(needed),
        size(left)
    )
}

/// What was counted.
impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (basis, taken) = (size(self.basis_bytes), size(self.taken_bytes));
        match self.basis {
            RoomBasis::Configured => {
                write!(f, "{basis} for guests by the configuration, less {taken} that are taken")?;
            }
            RoomBasis::Available => write!(f, "{basis} available")?,
            RoomBasis::FreeOrCached if self.taken_bytes == 0 => write!(f, "{basis} free or in caches")?,
            RoomBasis::FreeOrCached => {
                write!(f, "{basis} free or in caches, less {taken} of shared memory of its guests")?;
            }
        }
        let rest = [(self.reserved_bytes, "for the host itself"), (self.promised_bytes, "that other runs still bring")];
        rest.iter().filter(|(less, _)| *less > 0).try_for_each(|(less, why)| write!(f, ", less {} {why}", size(*less)))
    }
}
