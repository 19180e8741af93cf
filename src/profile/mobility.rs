//! Whether and how a domain may move, by its hardware.

use crate::domain::Eligibility;
use crate::libvirt::xml::domain::Hardware;
use crate::libvirt::{Host, HostError, HostErrorKind};

/// What a profile has of a domain beside its samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mobility {
    /// Whether it has a stored definition.
    pub persistent: bool,
    /// Whether it can be migrated at all while it runs.
    pub migration: Eligibility,
    /// Whether its memory can be post-copied.
    pub post_copy: Eligibility,
}

impl Mobility {
    /// Asks a host about a domain of which it is known whether it is persistent; `None` if the domain is gone.
    ///
    /// # Errors
    /// The host did not answer.
    pub(super) fn ask(host: &Host, name: &str, uuid: &str, persistent: bool) -> Result<Option<Self>, HostError> {
        Ok(match host.hardware(uuid) {
            Err(error) if error.kind == HostErrorKind::Hangs => {
                Some(Self { persistent, migration: Eligibility::no(hangs(name)), ..Self::default() })
            }
            hardware => hardware?.map(|hardware| Self { persistent, ..Self::of(&hardware) }),
        })
    }

    fn of(hardware: &Hardware) -> Self {
        let mut mobility = Self::default();
        let n = hardware.assigned_devices;
        if n > 0 {
            let (plural, them) = if n == 1 { ("", "it") } else { ("s", "them") };
            mobility.migration = Eligibility::no(format!(
                "it has {n} assigned host device{plural}, which can't be migrated live; detach {them} or shut the domain down"
            ));
        }
        if hardware.memory_in_file {
            mobility.post_copy = Eligibility::no("its memory is backed by a file, which post-copy does not survive");
        }
        mobility
    }
}

/// What keeps a domain that hangs at its host, and what to do.
pub(crate) fn hangs(domain: &str) -> String {
    format!(
        "its emulator does not answer libvirt (virsh domcontrol {domain}); see what it waits for, such as storage that is \
         gone, or exclude the domain"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mobility(above: &str, devices: &str) -> Mobility {
        Mobility::of(&Hardware::read(&format!("<domain type='kvm'>{above}<devices>{devices}</devices></domain>")))
    }

    #[test]
    fn an_ordinary_domain_goes_either_way() {
        let found = mobility(
            "<memoryBacking><source type='memfd'/></memoryBacking>",
            "<interface type='bridge'><source bridge='br0'/></interface>",
        );
        assert_eq!(found, Mobility::default());
    }

    #[test]
    fn a_host_device_blocks_the_migration() {
        let found = mobility("", "<hostdev mode='subsystem' type='pci'/><interface type='hostdev'/>");
        assert!(!found.migration.eligible);
        assert!(found.migration.reason.is_some_and(|r| r.contains("2 assigned host devices")));
    }

    #[test]
    fn a_teamed_host_device_does_not() {
        let teamed = "<interface type='hostdev'><teaming type='transient' persistent='n0'/></interface>";
        assert!(mobility("", teamed).migration.eligible);
    }

    #[test]
    fn file_backed_memory_is_never_post_copied() {
        let found = mobility("<memoryBacking><source type='file'/></memoryBacking>", "");
        assert!(found.migration.eligible);
        assert!(!found.post_copy.eligible);
    }

    #[test]
    fn unreadable_xml_is_left_to_libvirt() {
        assert_eq!(Mobility::of(&Hardware::read("<domain")), Mobility::default());
    }
}
