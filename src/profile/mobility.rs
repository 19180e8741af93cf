//! Whether and how a domain may move, by its hardware.

use std::collections::HashMap;

use crate::libvirt::xml::domain::{GuestNic, Hardware};
use crate::libvirt::{DomainSample, Host, HostError, HostErrorKind};
use crate::obstacle::{Eligibility, Obstacle};
use crate::topology::Plug;

/// What a profile has of a domain beside its samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mobility {
    pub persistent: bool,
    /// Whether it can be migrated at all while it runs.
    pub migration: Eligibility,
    pub post_copy: Eligibility,
    /// What its NICs are plugged into, by the host's names for them.
    pub plugs: HashMap<String, Plug>,
}

impl Mobility {
    /// Asks a host about a domain of which it is known whether it is persistent; `None` if the domain is gone. Of one that
    /// hangs the hardware is not known.
    pub(super) fn ask(
        host: &Host,
        DomainSample { name, uuid, answers, .. }: &DomainSample,
        persistent: bool,
    ) -> Result<Option<(Self, Option<Hardware>)>, HostError> {
        Ok(match host.hardware(uuid, *answers) {
            Err(error) if error.kind == HostErrorKind::Hangs => {
                let migration = Eligibility::no(Obstacle::Hangs { name: name.clone() });
                Some((Self { persistent, migration, ..Self::default() }, None))
            }
            hardware => hardware?.map(|hardware| (Self { persistent, ..Self::of(&hardware) }, Some(hardware))),
        })
    }

    fn of(hardware: &Hardware) -> Self {
        let plug = |nic: &GuestNic| Some((nic.device.clone()?, nic.plug.as_ref()?.plug()?));
        let mut mobility = Self { plugs: hardware.nics.iter().filter_map(plug).collect(), ..Self::default() };
        if hardware.assigned_devices > 0 {
            mobility.migration = Eligibility::no(Obstacle::AssignedDevices { count: hardware.assigned_devices });
        }
        if hardware.memory_in_file {
            mobility.post_copy = Eligibility::no(Obstacle::MemoryInFile);
        }
        mobility
    }
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
        assert!(found.migration.obstacle.is_some_and(|o| o.to_string().contains("2 assigned host devices")));
    }

    #[test]
    fn a_teamed_host_device_does_not() {
        let teamed = "<interface type='hostdev'><teaming type='transient' persistent='n0'/></interface>";
        assert_eq!(mobility("", teamed).migration.obstacle, None);
    }

    #[test]
    fn file_backed_memory_is_never_post_copied() {
        let found = mobility("<memoryBacking><source type='file'/></memoryBacking>", "");
        assert_eq!(found.migration.obstacle, None);
        assert_eq!(found.post_copy.obstacle, Some(Obstacle::MemoryInFile));
    }

    #[test]
    fn unreadable_xml_is_left_to_libvirt() {
        assert_eq!(Mobility::of(&Hardware::read("<domain")), Mobility::default());
    }
}
