//! The two hosts of an evacuation behind libvirt: a [`Pair`] of [`Host`]s, between which domains move.

use std::collections::HashSet;

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorDomain, ErrorNumber};
use virt::sys;

use super::connection::lock;
use super::error::{self, FailedCall, no_data};
use super::facts::Belongings;
use super::ffi;
use super::host::Host;
use super::state::{condition, fault};
use super::statistics::is_migration;
use super::xml::domain::Hardware;
use super::{Definition, HostError, HostErrorKind, Hosts, JobStats, Listed, MigrationRequest, Tidied, Vitals};
use crate::domain::{Condition, Fault, Presence, Route, Technique};
use crate::topology::Side;

/// The libvirt whose daemon ends with a segmentation fault as the destination of a resumption, each time: 11.3.0, that of
/// Debian 13. Seen under a debugger: `qemuProcessIncomingDefNew` is given no file descriptor, and reads it.
const NO_RESUME: u32 = 11_003_000;

pub struct Pair {
    source: Host,
    destination: Host,
}

impl Pair {
    pub fn new(source: Host, destination: Host) -> Self {
        Self { source, destination }
    }

    pub fn side(&self, side: Side) -> &Host {
        match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        }
    }

    fn migrate_on(
        &self,
        source: &Connect,
        destination: Option<&Connect>,
        request: &MigrationRequest,
    ) -> Result<(), HostError> {
        let (flags, parameters) = request.for_libvirt();
        let peer = &self.destination.endpoint().unprompted_uri();
        let result = source.lookup_domain_by_uuid_string(&request.uuid).and_then(|domain| match destination {
            Some(destination) => domain.migrate3(destination, parameters, flags).map(drop),
            None => domain.migrate_to_uri3(Some(peer), parameters, flags),
        });
        result.map_err(|error| {
            let mut error_of_host = self.source.endpoint().error(&error);
            let failed = FailedCall {
                message: error.message(),
                // The source's libvirt hands on what its own connections gave, while that of the client is sound.
                from_rpc: error.domain().is(ErrorDomain::Rpc) && source.is_alive().unwrap_or(false),
                peer: destination.is_none().then_some(peer),
            };
            if let Some(kind) = failed.kind() {
                error_of_host.kind = kind;
            }
            error_of_host
        })
    }

    /// The last step of an offline migration: the source gives up its definition, if the destination has it. libvirt's own
    /// `UNDEFINE_SOURCE` would delete the state of a TPM and all checkpoints with it; asked to undefine, it refuses while
    /// there are checkpoints, snapshots or a managed-save image.
    fn give_up_definition(&self, uuid: &str) -> Result<(), HostError> {
        let (source, destination) = (&self.source.endpoint().name, &self.destination.endpoint().name);
        let told = |message| HostError { host: source.clone(), kind: HostErrorKind::Other, message };
        match self.presence(Side::Destination, uuid) {
            Presence::Present(_) => {}
            place => return Err(told(format!("its definition did not arrive: it is {place} at {destination}"))),
        }
        let undefined = self
            .undefine_at_source(uuid)
            .map_err(|error| error.message)
            .and_then(|undefined| if undefined { Ok(()) } else { Err("it was started meanwhile".to_owned()) });
        undefined.map_err(|why| {
            told(format!("its definition stays ({why}); {destination} has a copy of it, which the next run replaces"))
        })
    }

    /// Removes the definition of a domain from the source; `false` if it is not shut off.
    fn undefine_at_source(&self, uuid: &str) -> Result<bool, HostError> {
        // libvirt undefines a domain that runs by making it transient, so the state is read by the same libvirt just
        // before.
        let undefined = self.source.ask_domain(uuid, |domain| match ffi::state(domain)? {
            (sys::VIR_DOMAIN_SHUTOFF, _) => undefine(domain).map(|()| true),
            _ => Ok(false),
        });
        match undefined {
            Err(error) if error.kind == HostErrorKind::NoSuchDomain => Ok(true),
            result => result,
        }
    }
}

impl Hosts for Pair {
    fn name(&self, side: Side) -> &str {
        &self.side(side).endpoint().name
    }

    fn migrate(&self, request: &MigrationRequest) -> Result<(), HostError> {
        self.source.pool.call(|source| match request.route {
            Route::PeerToPeer => self.migrate_on(source, None, request),
            Route::ClientManaged => {
                self.destination.pool.call(|destination| self.migrate_on(source, Some(destination), request))
            }
        })?;
        match request.transfer.technique {
            Technique::Offline => self.give_up_definition(&request.uuid),
            Technique::PreCopy | Technique::PostCopy | Technique::Hybrid => Ok(()),
        }
    }

    fn locate(&self, mut error: HostError, request: &MigrationRequest, crossed: bool) -> HostError {
        let (source, destination) = (&self.source.endpoint().name, &self.destination.endpoint().name);
        if error.host != *source {
            return error;
        }
        let between = || format!("between {source} and {destination}");
        match error.kind {
            HostErrorKind::NoData => {
                let why = error.message.rsplit(": ").next().unwrap_or_default();
                let to = error::unreached(&error.message).map(|address| format!("{address} ({why})"));
                error.message = no_data(to.as_ref().unwrap_or(destination), source, destination);
                error.host = between();
            }
            _ if crossed => error.host = between(),
            // If the source would begin again, it was the destination that refused.
            _ => match self.source.begins(&self.destination, &request.uuid, request.for_libvirt().0) {
                Ok(true) => error.host = destination.clone(),
                Ok(false) => {}
                Err(_) => error.host = between(),
            },
        }
        error
    }

    fn job(&self, uuid: &str) -> Result<Option<JobStats>, HostError> {
        let job = self.source.ask_domain(uuid, ffi::job_stats)?;
        Ok(job.as_ref().and_then(JobStats::of_migration))
    }

    fn completed(&self, uuid: &str) -> Option<JobStats> {
        lock(&self.source.completed).remove(uuid)
    }

    fn list(&self, side: Side) -> Result<Vec<Listed>, HostError> {
        let line = &self.side(side).line;
        let records = line.ask(|line| ffi::all_domain_stats(line, sys::VIR_DOMAIN_STATS_STATE))?;
        let starting = line.ask(|line| {
            let starting = line.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_AUTOSTART)?;
            starting.iter().map(Domain::uuid_string).collect::<Result<HashSet<_>, _>>()
        })?;
        let listed = |record: ffi::Record| {
            let number = |name| record.parameters.number(name).unwrap_or(0) as u32;
            let (state, reason) = (number("state.state"), number("state.reason"));
            let (condition, fault) = (condition(state, reason), fault(state, reason));
            let autostart = starting.contains(&record.uuid);
            Listed { domain: record.name, uuid: record.uuid, condition, fault, autostart }
        };
        Ok(records.into_iter().map(listed).collect())
    }

    fn vitals(&self, side: Side) -> Result<Vec<Vitals>, HostError> {
        self.side(side).vitals()
    }

    fn resume_fault(&self) -> Result<Option<String>, HostError> {
        let version = self.destination.line.ask(Connect::lib_version)?;
        let name = &self.destination.endpoint().name;
        Ok((version == NO_RESUME).then(|| {
            format!(
                "libvirt 11.3.0 at {name} does not survive to be asked to resume it (a null pointer in \
                 qemuProcessIncomingDefNew); update libvirt at {name}, which its domains do not notice"
            )
        }))
    }

    fn presence(&self, side: Side, uuid: &str) -> Presence {
        match self.side(side).ask_domain(uuid, ffi::state) {
            Ok((state, reason)) => Presence::Present(condition(state, reason)),
            Err(error) if error.kind == HostErrorKind::NoSuchDomain => Presence::Absent,
            Err(error) => Presence::Unknown(error.to_string()),
        }
    }

    fn fault(&self, uuid: &str) -> Option<Fault> {
        self.source.fault(uuid).ok().flatten()
    }

    fn start_post_copy(&self, uuid: &str) -> Result<(), HostError> {
        self.source.ask_domain(uuid, ffi::start_post_copy)
    }

    fn abort(&self, uuid: &str) -> Result<(), HostError> {
        // Asked once more after a connection died, it must not hit the job that came next, a backup say.
        self.source.ask_domain(uuid, |domain| match ffi::job_stats(domain)? {
            Some(job) if is_migration(&job) => ffi::abort_job(domain),
            _ => Ok(()),
        })
    }

    fn limit_bandwidth(&self, uuid: &str, technique: Technique, mib_per_second: u64) -> Result<(), HostError> {
        let phase = if technique == Technique::PostCopy { sys::VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY } else { 0 };
        self.source.ask_domain(uuid, move |domain| domain.migrate_set_max_speed(mib_per_second, phase).map(drop))
    }

    fn allow_downtime(&self, uuid: &str, milliseconds: u64) -> Result<(), HostError> {
        // Without a migration the domain would keep it.
        self.source.ask_domain(uuid, move |domain| match ffi::job_stats(domain)? {
            Some(job) if is_migration(&job) => domain.migrate_set_max_downtime(milliseconds, 0),
            _ => Ok(()),
        })
    }

    fn definition(&self, uuid: &str) -> Result<Definition, HostError> {
        self.source.ask_domain(uuid, |domain| {
            let persistent = domain.is_persistent()?;
            // A transient domain has no autostart, and libvirt says so by an error.
            let autostart = persistent && domain.autostart()?;
            Ok(Definition {
                persistent,
                autostart,
                memory_bytes: domain.max_memory()?.saturating_mul(1024),
                memory_in_file: Hardware::read(&domain.xml_desc(0)?).memory_in_file,
            })
        })
    }

    fn left_behind(&self, uuid: &str) -> Result<Option<Belongings>, HostError> {
        self.source.belongings(&self.destination, uuid)
    }

    fn tidy(&self, uuid: &str, before: &Definition) -> Result<Vec<Tidied>, HostError> {
        let mut done = Vec::new();
        let left = self.presence(Side::Source, uuid);
        let arrived = |place| match place {
            Presence::Present(Condition::Running | Condition::Paused | Condition::Crashed) => true,
            // Only its definition has moved.
            Presence::Present(Condition::ShutOff) => left == Presence::Absent,
            _ => false,
        };
        if !before.persistent || !arrived(self.presence(Side::Destination, uuid)) {
            return Ok(done);
        }
        let left_over = matches!(left, Presence::Present(Condition::ShutOff | Condition::ShutOffMigrated));
        if !self.destination.ask_domain(uuid, Domain::is_persistent)? {
            // The source's definition is the one that was to move; the live one may lack what waits for the next boot.
            let stored = sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE;
            let holder = if left_over { &self.source } else { &self.destination };
            let xml = holder.ask_domain(uuid, move |domain| domain.xml_desc(stored))?;
            self.destination.line.ask(move |connection| connection.define_domain_xml(&xml).map(drop))?;
            done.push(Tidied::DefinedAtDestination);
        }
        if before.autostart {
            self.destination.ask_domain(uuid, |domain| domain.set_autostart(true).map(drop))?;
        }
        let is_safe = arrived(self.presence(Side::Destination, uuid))
            && self.destination.ask_domain(uuid, Domain::is_persistent)?;
        if left_over && is_safe {
            self.undefine_at_source(uuid)?;
            done.push(Tidied::UndefinedAtSource);
        }
        Ok(done)
    }
}

/// Removes the definition of a domain that does not run here any more. The guest uses its NVRAM file and the state of its
/// TPM at the destination now, so they stay, on shared storage or not.
fn undefine(domain: &Domain) -> Result<(), Error> {
    let kept = sys::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM;
    match domain.undefine_flags(kept | sys::VIR_DOMAIN_UNDEFINE_KEEP_TPM) {
        // libvirt before 8.9 can't keep the state of a TPM; if there is one, the definition stays.
        Err(error) if error.code().is(ErrorNumber::InvalidArg) && !domain.xml_desc(0)?.contains("<tpm") => {
            domain.undefine_flags(kept)
        }
        result => result,
    }
}
