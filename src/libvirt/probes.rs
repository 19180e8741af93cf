//! What a host is asked before anything moves. Each question changes nothing, and is answered within a time limit: an error
//! says that a host did not answer.

use std::collections::{BTreeMap, BTreeSet};

use virt::connect::Connect;
use virt::domain::{Domain, MigrateParameters};
use virt::error::{Error, ErrorNumber};
use virt::sys;

use super::facts::{Belongings, HostFacts, KeptFile, LibvirtRefusal, Memory, Network, Occupation, Unfit};
use super::host::Host;
use super::state::domain_state;
use super::xml::capabilities::Capabilities;
use super::xml::domain::{Hardware, Machine, Processor};
use super::xml::names::{Named, Thing, certain};
use super::xml::network::Reach;
use super::{HostError, HostErrorKind, ffi};

impl Host {
    pub fn describe(&self) -> Result<HostFacts, HostError> {
        let hypervisor = self.line.ask(Connect::driver_type)?;
        let version = self.line.ask_raw(Connect::hyp_version)?.unwrap_or_default();
        let libvirt = self.line.ask_raw(Connect::lib_version)?.unwrap_or_default();
        let Capabilities { machine_uuid, qemu, processors, cells, page_sizes, .. } = self.capabilities()?;
        // It takes no domain, changes nothing whatever it is given, and is not allowed on a read-only connection.
        let write = self.line.ask_raw(|connection| connection.domain_xml_to_native("qemu-argv", "<domain/>", 0))?;
        let read_only = write.is_err_and(|error| {
            error.code().is(ErrorNumber::OperationDenied) || error.code().is(ErrorNumber::AccessDenied)
        });
        let name = self.endpoint().name.clone();
        let page_sizes = page_sizes.iter().map(|kib| u64::from(*kib) << 10).collect();
        Ok(HostFacts {
            name,
            machine_uuid,
            hypervisor,
            version,
            libvirt,
            read_only,
            qemu,
            processors,
            cells,
            page_sizes,
        })
    }

    /// The host's capabilities; nothing if its libvirt can't tell them.
    fn capabilities(&self) -> Result<Capabilities, HostError> {
        Ok(Capabilities::read(&self.line.ask_raw(Connect::capabilities)?.unwrap_or_default()))
    }

    /// libvirt's identity of the machine, if it has one: equal on two connections to the same machine.
    pub fn machine_uuid(&self) -> Result<Option<String>, HostError> {
        Ok(Capabilities::read(&self.line.ask(Connect::capabilities)?).machine_uuid)
    }

    /// The hardware of a domain, as it runs; `None` if it is gone. Of one whose emulator `answers` nobody asks whether it hangs.
    pub fn hardware(&self, uuid: &str, answers: bool) -> Result<Option<Hardware>, HostError> {
        let read = |domain: &Domain| {
            let mut hardware = Hardware::read(&domain.xml_desc(0)?);
            let listens =
                |named: &Named| matches!(&named.thing, Thing::Address { address, .. } if certain(address).is_some());
            if hardware.names.iter().any(listens) {
                // What the host's own configuration says of its displays does not move with a domain.
                let moves = domain.xml_desc(sys::VIR_DOMAIN_XML_MIGRATABLE).map(|xml| Hardware::read(&xml).names);
                hardware
                    .names
                    .retain(|named| !listens(named) || moves.as_ref().is_ok_and(|names| names.contains(named)));
            }
            Ok(hardware)
        };
        absent(if answers { self.ask_domain(uuid, read) } else { self.ask_live(uuid, read) })
    }

    /// The UUIDs of the domains that have snapshots; none of a hypervisor that has no snapshots.
    pub fn with_snapshots(&self) -> Result<BTreeSet<String>, HostError> {
        let listed = self.line.ask_raw(|connection| {
            let domains = connection.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT)?;
            domains.iter().map(Domain::uuid_string).collect()
        })?;
        Ok(listed.unwrap_or_default())
    }

    /// What libvirt is busy with on a domain.
    pub fn occupation(&self, uuid: &str) -> Result<Option<Occupation>, HostError> {
        // A domain that does not run has no job, and libvirt says so by an error.
        let job = absent(self.ask_domain(uuid, |domain| Ok(ffi::job_stats(domain).unwrap_or_default())))?.flatten();
        Ok(job.map(|job| occupation(job.number("operation"))))
    }

    /// How many snapshots a domain has.
    pub fn snapshots(&self, uuid: &str) -> Result<u32, HostError> {
        let counted = self.ask_domain(uuid, |domain| Ok(domain.num_snapshots(0).unwrap_or_default()));
        Ok(absent(counted)?.unwrap_or_default())
    }

    /// What a domain that does not run has beside its definition, and what of that is at `destination`; `None` if the
    /// domain is gone.
    pub fn belongings(&self, destination: &Self, uuid: &str) -> Result<Option<Belongings>, HostError> {
        let found = self.ask_live(uuid, |domain| {
            let state = domain_state(ffi::state(domain)?.0);
            let saved = unless_unknown(domain.has_managed_save(0))?;
            let checkpoints = unless_unknown(ffi::checkpoints(domain))?;
            let hardware = Hardware::read(&domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?);
            Ok((state, saved, checkpoints, hardware))
        });
        let Some((state, saved, checkpoints, Hardware { kept, tpm, .. })) = absent(found)? else { return Ok(None) };
        let mut files = Vec::new();
        for (what, path) in kept {
            // One that is not made yet keeps nothing.
            if self.has_file(&path)? != Some(false) {
                files.push(KeptFile { what, at_destination: destination.has_file(&path)?, path });
            }
        }
        let active = Some(state).filter(|state| state.is_active());
        Ok(Some(Belongings { active, saved, checkpoints, tpm, files }))
    }

    /// Why this host's libvirt would not begin to migrate a domain; `None` if it would, or can't be known.
    pub fn rehearse(&self, destination: &Self, uuid: &str, offline: bool) -> Result<Option<LibvirtRefusal>, HostError> {
        let flags = match offline {
            true => sys::VIR_MIGRATE_OFFLINE | sys::VIR_MIGRATE_PERSIST_DEST,
            false => sys::VIR_MIGRATE_LIVE,
        };
        // Codes by which libvirt refuses; the definition gives another, and what is none of these is left to the
        // migration itself.
        let refusals = [
            ErrorNumber::MigrateUnsafe,
            ErrorNumber::OperationInvalid,
            ErrorNumber::OperationUnsupported,
            ErrorNumber::ConfigUnsupported,
            ErrorNumber::NoSupport,
        ];
        let begun = self.begin(destination, uuid, flags)?;
        Ok(begun.err().filter(|error| refusals.iter().any(|code| error.code().is(*code))).map(|error| LibvirtRefusal {
            unsafe_storage: error.code().is(ErrorNumber::MigrateUnsafe),
            message: words(&error),
        }))
    }

    /// Whether this host's libvirt would begin to migrate a domain with these flags.
    pub(super) fn begins(&self, destination: &Self, uuid: &str, flags: u32) -> Result<bool, HostError> {
        let begun = self.begin(destination, uuid, flags & !sys::VIR_MIGRATE_PEER2PEER)?;
        // It got as far as the definition.
        Ok(begun.is_err_and(|error| error.code().is(ErrorNumber::XmlDetail) || error.code().is(ErrorNumber::XmlError)))
    }

    /// Asks this host's libvirt to begin a migration that can't go on: only libvirt knows on what filesystem a disk is, or
    /// what QEMU has against a migration. The definition for the destination can't be read: libvirt looks at the domain
    /// first, then at the definition, and stops there, whatever it has found. The migration URI is one that the
    /// destination would not accept either.
    fn begin(&self, destination: &Self, uuid: &str, flags: u32) -> Result<Result<(), Error>, HostError> {
        let peer = destination.line.connection()?;
        let parameters = || MigrateParameters {
            dest_xml: Some("not a definition".to_owned()),
            uri: Some("rehearsal:".to_owned()),
            ..MigrateParameters::default()
        };
        let begin = move |domain: &Domain| domain.migrate3(&peer, parameters(), flags).map(drop);
        // The destination takes part in the beginning, too.
        self.line.ask_domain(uuid, begin).map_err(|error| match destination.line.ask(Connect::lib_version) {
            Err(silence) if error.is_silence() => silence,
            _ => self.of_domain(error),
        })
    }

    /// Whether the host has a file or device; `None` if its libvirt can't tell.
    pub fn has_file(&self, path: &str) -> Result<Option<bool>, HostError> {
        const NO_SUCH_FILE: i32 = 2;
        const NOT_A_DIRECTORY: i32 = 20;
        let path = path.to_owned();
        let answer = self.line.ask_raw(move |connection| {
            // It opens the file for reading; of one that is there and no saved domain it says so.
            match connection.save_image_xml_desc(&path, 0) {
                Err(error) => match ffi::last_system_error() {
                    Some(NO_SUCH_FILE | NOT_A_DIRECTORY) => Ok(Some(false)),
                    _ if error.code().is(ErrorNumber::OperationFailed) => Ok(Some(true)),
                    _ => Err(error),
                },
                Ok(_) => Ok(Some(true)),
            }
        })?;
        Ok(answer.unwrap_or_default())
    }

    /// A libvirt network of the host; `None` if its libvirt has no driver for them.
    pub fn network(&self, name: &str) -> Result<Option<Network>, HostError> {
        let name = name.to_owned();
        let found = self.line.ask_raw(move |connection| {
            let network = connection.lookup_network_by_name(&name)?;
            Ok(if network.is_active()? { Some(network.xml_desc(0)?) } else { None })
        })?;
        Ok(match found {
            Ok(Some(xml)) => Some(Network::Active(Reach::read(&xml))),
            Ok(None) => Some(Network::Inactive),
            Err(error) if error.code().is(ErrorNumber::NoNetwork) => Some(Network::Missing),
            Err(_) => None,
        })
    }

    /// Why the host's libvirt could not make a guest of this definition, which `source` has for a migration: a device that its
    /// hypervisor does not have, or a secret. It looks for no files, and sets nothing up. `None` if it could, or can't tell.
    pub fn unfit(&self, source: &Self, uuid: &str) -> Result<Option<Unfit>, HostError> {
        let flags = sys::VIR_DOMAIN_XML_MIGRATABLE;
        let Some(xml) = absent(source.ask_live(uuid, move |domain| domain.xml_desc(flags)))? else { return Ok(None) };
        let made = self.line.ask_raw(move |connection| connection.domain_xml_to_native("qemu-argv", &xml, 0))?;
        // Errors of other kinds are no verdict on the definition.
        let secret = |error: &Error| error.code().is(ErrorNumber::NoSecret);
        let verdicts = [
            ErrorNumber::NoSecret,
            ErrorNumber::ConfigUnsupported,
            ErrorNumber::NoStoragePool,
            ErrorNumber::NoStorageVolume,
        ];
        let error = made.err().filter(|error| verdicts.iter().any(|code| error.code().is(*code)));
        Ok(error.map(|error| Unfit { secret: secret(&error), message: words(&error) }))
    }

    /// Why the host's hypervisor can't run a kind of machine, in libvirt's words; `None` if it can.
    pub fn machine_obstacle(&self, machine: &Machine) -> Result<Option<String>, HostError> {
        let machine = machine.clone();
        let capabilities = self.line.ask_raw(move |connection| {
            let Machine { emulator, arch, name, kind } = &machine;
            connection.domain_capabilities(Some(emulator), Some(arch), Some(name), Some(kind), 0)
        })?;
        let unknown = |error: &Error| error.code().is(ErrorNumber::NoSupport);
        Ok(capabilities.err().filter(|error| !unknown(error)).map(|error| words(&error)))
    }

    /// What the host lacks to show a guest that comes from `source` its processor, in libvirt's words; `None` if nothing, or
    /// if it can't tell.
    pub fn processor_obstacle(
        &self,
        source: &Self,
        machine: &Machine,
        processor: &Processor,
    ) -> Result<Option<String>, HostError> {
        let machine = machine.clone();
        let compared = match processor.clone() {
            Processor::Model(model) => {
                self.line.ask_raw(move |connection| ffi::compare_processor(connection, &machine, &model))
            }
            Processor::Host => {
                let Some(host) = source.capabilities()?.processor else { return Ok(None) };
                let whole = sys::VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE;
                self.line.ask_raw(move |connection| connection.compare_cpu(&host, whole).map(drop))
            }
        };
        // An error of another kind is no verdict on the processor: libvirt compares none for this hypervisor.
        let is_verdict = |error: &Error| error.code().is(ErrorNumber::CpuIncompatible);
        Ok(compared?.err().filter(is_verdict).map(|error| words(&error)))
    }

    /// What the host, as it describes itself, can give to guests; `None` if its libvirt can't tell.
    pub fn memory(&self, HostFacts { cells, page_sizes, .. }: &HostFacts) -> Result<Option<Memory>, HostError> {
        let cells = cells.len().max(1) as u32;
        let huge_sizes: Vec<_> = page_sizes.iter().skip(1).map(|bytes| (bytes >> 10) as u32).collect();
        let memory = self.line.ask_raw(move |connection| {
            let stats = ffi::node_memory(connection)?;
            let of = |kind: &str| stats.get(kind).copied().unwrap_or(0) << 10;
            let huge = free_in_huge_pages(&huge_sizes, |size| connection.free_pages(&[size], 0, cells, 0));
            let by_kernel = stats.contains_key("available");
            let available = if by_kernel { of("available") } else { of("free") + of("buffers") + of("cached") };
            Ok(Memory { available, by_kernel, total: of("total"), huge })
        })?;
        Ok(memory.ok())
    }
}

/// A libvirt, or a hypervisor, that does not know of something has nothing of it.
fn unless_unknown<T: Default>(result: Result<T, Error>) -> Result<T, Error> {
    match result {
        Err(error) if error.code().is(ErrorNumber::NoSupport) => Ok(T::default()),
        other => other,
    }
}

fn absent<T>(result: Result<T, HostError>) -> Result<Option<T>, HostError> {
    match result {
        Err(error) if error.kind == HostErrorKind::NoSuchDomain => Ok(None),
        other => other.map(Some),
    }
}

fn words(error: &Error) -> String {
    error.message().trim_end().to_owned()
}

/// A job by the `operation` of its statistics.
fn occupation(operation: Option<u64>) -> Occupation {
    match operation.and_then(|operation| u32::try_from(operation).ok()) {
        Some(sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT | sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN) => {
            Occupation::Migration
        }
        Some(sys::VIR_DOMAIN_JOB_OPERATION_BACKUP) => Occupation::Other("backup"),
        Some(sys::VIR_DOMAIN_JOB_OPERATION_SAVE) => Occupation::Other("save"),
        Some(sys::VIR_DOMAIN_JOB_OPERATION_DUMP) => Occupation::Other("dump"),
        Some(
            sys::VIR_DOMAIN_JOB_OPERATION_SNAPSHOT
            | sys::VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT
            | sys::VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_DELETE,
        ) => Occupation::Other("snapshot"),
        _ => Occupation::Other("libvirt"),
    }
}

/// What is free in huge pages of these sizes in KiB, by the size in bytes; `count` tells how many pages are, cell by cell.
/// Where it can't tell, they are not known to be none.
fn free_in_huge_pages<E>(sizes: &[u32], count: impl Fn(u32) -> Result<Vec<u64>, E>) -> BTreeMap<u64, u64> {
    let free = |size: &u32| {
        let (pages, bytes) = (count(*size).ok()?, u64::from(*size) << 10);
        Some((bytes, pages.iter().sum::<u64>() * bytes))
    };
    sizes.iter().filter_map(free).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_of_which_the_host_does_not_tell_are_not_taken_to_be_none() {
        let count = |size| if size == 2048 { Ok(vec![3, 4]) } else { Err("no such size") };
        assert_eq!(free_in_huge_pages(&[2048, 1_048_576], count), [(2 << 20, 7 * (2 << 20))].into());
    }
}
