//! The statistics that libvirt counts, of domains and of migrations.

use virt::sys;

use super::ffi::{Parameters, Record};
use super::state::{domain_state, fault};
use crate::domain::{DomainState, Fault};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// When it was taken, in seconds on the sampler's clock.
    pub at_seconds: f64,
    /// All domains, inactive ones included.
    pub domains: Vec<DomainSample>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DomainSample {
    pub name: String,
    pub uuid: String,
    pub state: DomainState,
    /// Balloon size in bytes; 0 if it does not run.
    pub memory_bytes: u64,
    /// Resident memory of its emulator in bytes, if known.
    pub resident_bytes: Option<u64>,
    /// Memory that the guest has said is free, if it has said so, and when.
    pub unused: Option<Unused>,
    pub dirty: Option<DirtyRate>,
    /// Whether its emulator has answered for this sample, if it runs.
    pub answers: bool,
    pub nics: Vec<NicCounters>,
}

/// What a guest's balloon has told of its memory. A guest tells it again and again only if its definition sets a period, which
/// most management tools do, of 10 s; else this is what it said at its boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unused {
    pub bytes: u64,
    /// In seconds since 1970, by the clock of its host.
    pub told_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirtyRate {
    /// When it was started, by libvirt's clock: tells one measurement from the next.
    pub started: u64,
    /// What it found, in bytes per second.
    pub bytes_per_second: f64,
}

/// Whether a domain runs on one host, and what its NICs have carried there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vitals {
    /// Its UUID.
    pub uuid: String,
    /// Its state.
    pub state: DomainState,
    /// The error that has stopped it, if one has; of a domain that is shut off, that it crashed.
    pub fault: Option<Fault>,
    /// Its NICs, in the order of its definition.
    pub nics: Vec<NicCounters>,
}

impl Vitals {
    pub(super) fn of(record: Record) -> Self {
        let number = |key| record.parameters.number(key).unwrap_or(0) as u32;
        let (state, reason) = (number("state.state"), number("state.reason"));
        let crashed = (state, reason) == (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_CRASHED);
        let fault = fault(state, reason).or(crashed.then_some(Fault::Crash));
        let DomainSample { uuid, state, nics, .. } = DomainSample::of(record);
        Self { uuid, state, fault, nics }
    }
}

/// The counters of one NIC, from the guest's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicCounters {
    /// The host's name for it.
    pub name: String,
    /// Bytes received; `None` if libvirt can't tell.
    pub inbound_bytes: Option<u64>,
    /// Bytes sent; `None` if libvirt can't tell.
    pub outbound_bytes: Option<u64>,
}

/// What QEMU itself sends for a guest that has arrived, in bytes, and more: five frames of 60 bytes (`announce-rounds`).
const ANNOUNCEMENT: u64 = 1000;

impl NicCounters {
    /// Whether the guest was seen to send anything by it since it came to its host, which most often means that its driver
    /// runs. Firmware that boots over the network sends, too, and so did a guest before it was rebooted.
    pub(crate) fn is_in_use(&self) -> bool {
        self.outbound_bytes.is_some_and(|bytes| bytes > ANNOUNCEMENT)
    }
}

/// Statistics of a migration as its source counts them; bytes unless named otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct JobStats {
    /// Memory to copy in all.
    pub total: u64,
    /// Memory that has crossed the wire, pages sent again included.
    pub transferred: u64,
    /// Memory that has not crossed yet, or has been dirtied since.
    pub remaining: u64,
    /// Memory that has been gone through, pages of zeroes and pages sent again included, if known.
    pub gone_through: Option<u64>,
    /// How often the source has looked which pages were written: once a pass over the memory, or far more often. From 1;
    /// 0 if unknown.
    pub pass: u64,
    /// Dirty rate in bytes per second, if QEMU knows it.
    pub dirty_bytes_per_second: Option<f64>,
    /// How long the guest did not run, in seconds; known when the job is done.
    pub downtime_seconds: Option<f64>,
}

impl DomainSample {
    pub(super) fn of(Record { name, uuid, parameters }: Record) -> Self {
        let kib = |key| parameters.number(key).map(|kib| kib.saturating_mul(1024));
        let nics = (0..parameters.number("net.count").unwrap_or(0)).map(|index| NicCounters {
            name: parameters.text(&format!("net.{index}.name")).unwrap_or_default().to_owned(),
            inbound_bytes: parameters.number(&format!("net.{index}.rx.bytes")),
            outbound_bytes: parameters.number(&format!("net.{index}.tx.bytes")),
        });
        let state = domain_state(parameters.number("state.state").unwrap_or(0) as u32);
        Self {
            state,
            memory_bytes: kib("balloon.current").unwrap_or(0),
            resident_bytes: kib("balloon.rss"),
            unused: kib("balloon.unused")
                .zip(parameters.number("balloon.last-update"))
                .map(|(bytes, told_at)| Unused { bytes, told_at }),
            dirty: parameters
                .number("dirtyrate.calc_status")
                .filter(|status| *status == u64::from(sys::VIR_DOMAIN_DIRTYRATE_MEASURED))
                .and_then(|_| {
                    Some(DirtyRate {
                        started: parameters.number("dirtyrate.calc_start_time")?,
                        bytes_per_second: (parameters.number("dirtyrate.megabytes_per_second")? * 1024 * 1024) as f64,
                    })
                }),
            // libvirt asks the emulator for it each time.
            answers: !state.is_active() || parameters.number("dirtyrate.calc_status").is_some(),
            nics: nics.collect(),
            name,
            uuid,
        }
    }
}

/// Whether a job is an outgoing migration; a backup or a snapshot is a job, too. A libvirt that does not tell the operation
/// gives the benefit of the doubt.
pub(super) fn is_migration(job: &Parameters) -> bool {
    job.number("operation").is_none_or(|n| n == u64::from(sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT))
}

impl JobStats {
    /// The statistics of an outgoing migration; `None` of any other job.
    pub(super) fn of_migration(job: &Parameters) -> Option<Self> {
        let number = |name| job.number(name).unwrap_or(0);
        let page = job.number("memory_page_size").unwrap_or(4096);
        is_migration(job).then(|| Self {
            total: number("memory_total"),
            transferred: number("memory_processed"),
            remaining: number("memory_remaining"),
            gone_through: job
                .number("memory_constant")
                .zip(job.number("memory_normal_bytes"))
                .map(|(zeroes, bytes)| zeroes * page + bytes),
            pass: number("memory_iteration"),
            dirty_bytes_per_second: job.number("memory_dirty_rate").map(|pages| (pages * page) as f64),
            downtime_seconds: job.number("downtime").map(|milliseconds| milliseconds as f64 / 1000.0),
        })
    }
}
