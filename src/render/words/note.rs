//! What is worth knowing before a plan is run.

use std::fmt;

use crate::domain::Fault;
use crate::plan::{Note, Versions};
use crate::units::size;

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OlderDestination(Versions {
                hypervisor,
                source,
                source_version,
                destination,
                destination_version,
            }) => write!(
                f,
                "{destination} runs {hypervisor} {destination_version}, older than the {source_version} of {source}: its own \
                 developers test migration from old to new only"
            ),
            Self::DifferentVersions(Versions {
                hypervisor,
                source,
                source_version,
                destination,
                destination_version,
            }) => write!(
                f,
                "{source} runs {hypervisor} {source_version} and {destination} {hypervisor} {destination_version}: a domain goes \
                 by post-copy only if you say so (--post-copy), since a guest that {destination} can't load would be lost by \
                 it, and stays at {source} by pre-copy"
            ),
            Self::FirstPostCopyAlone { destination } => write!(
                f,
                "the first post-copy goes alone until its guest runs at {destination}: if that can't load it, no other is lost"
            ),
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
            Self::Differs { domain, difference } => write!(f, "{domain}: {difference}"),
            Self::HostsDiffer { difference } => write!(f, "{difference}"),
            Self::NotKnown { destination, domains } => write!(
                f,
                "the shell of {destination} does not answer (it is reached by neither ssh nor this machine, or `shell` in the \
                 configuration forbids it): whether it has what {} by address, socket, device or user is not known",
                if *domains == 1 { "1 domain names".to_owned() } else { format!("{domains} domains name") }
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
