//! The calls that the `virt` crate does not offer, or offers unsoundly: the only `unsafe` code of tsmig.
//!
//! `virt` 0.5 hands bulk statistics out as raw pointers that it never frees, builds a `Vec` from a null pointer
//! if a domain has no job, swallows the error of `virDomainGetState`, and has no wrapper for starting
//! post-copy, dirty-rate measurement, a guest's memory and job events. Each function here is a thin, safe replacement: what goes in
//! is a live `virt` object, what comes out is owned Rust data.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::time::Duration;

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt::sys;

use super::xml::domain::Machine;

/// libvirt's typed parameters by name, numbers only (nothing that tsmig reads needs text but NIC names).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Parameters(HashMap<String, Parameter>);

#[derive(Debug, Clone, PartialEq)]
enum Parameter {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

impl Parameters {
    /// The parameter as a non-negative number; `None` if it is missing, negative ("not known") or text.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Parameter::Signed(n) => u64::try_from(*n).ok(),
            Parameter::Unsigned(n) => Some(*n),
            Parameter::Float(_) | Parameter::Text(_) => None,
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Parameter::Text(text) => Some(text),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(crate) fn of(numbers: &[(&str, u64)]) -> Self {
        Self(numbers.iter().map(|(name, number)| ((*name).to_owned(), Parameter::Unsigned(*number))).collect())
    }

    /// # Safety
    /// `params` must point to `count` typed parameters that libvirt filled, or `count` must be 0.
    unsafe fn copy(params: sys::virTypedParameterPtr, count: c_int) -> Self {
        let count = usize::try_from(count).unwrap_or(0);
        if params.is_null() || count == 0 {
            return Self::default();
        }
        // SAFETY: the caller's promise; both checked against null and negative above.
        let params = unsafe { std::slice::from_raw_parts(params, count) };
        // SAFETY: libvirt filled each of them, says the caller.
        Self(params.iter().filter_map(|p| Some((text(&p.field), unsafe { value(p) }?))).collect())
    }
}

/// # Safety
/// The parameter's tag must say which field of its union is set, and text must be a C string or null.
unsafe fn value(param: &sys::virTypedParameter) -> Option<Parameter> {
    // SAFETY: the caller's promise.
    unsafe {
        Some(match param.type_ as u32 {
            sys::VIR_TYPED_PARAM_INT => Parameter::Signed(param.value.i.into()),
            sys::VIR_TYPED_PARAM_UINT => Parameter::Unsigned(param.value.ui.into()),
            sys::VIR_TYPED_PARAM_LLONG => Parameter::Signed(param.value.l),
            sys::VIR_TYPED_PARAM_ULLONG => Parameter::Unsigned(param.value.ul),
            sys::VIR_TYPED_PARAM_DOUBLE => Parameter::Float(param.value.d),
            sys::VIR_TYPED_PARAM_BOOLEAN => Parameter::Unsigned(param.value.b as u64),
            sys::VIR_TYPED_PARAM_STRING => Parameter::Text(text_at(param.value.s)),
            _ => return None,
        })
    }
}

/// The text in a buffer of libvirt's, up to its first zero.
fn text(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Copies a C string that libvirt owns; a null pointer gives an empty one.
///
/// # Safety
/// The pointer must be null, or lead to a terminated string that lives for the length of this call.
unsafe fn text_at(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the rest is the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Whether two handles are of one connection.
pub(crate) fn is_same(one: &Connect, other: &Connect) -> bool {
    // SAFETY: the pointers are compared and not followed.
    unsafe { one.as_ptr() == other.as_ptr() }
}

/// One domain's answer in a bulk statistics call.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) parameters: Parameters,
}

/// `virConnectGetAllDomainStats`: every domain of the host in one request, without waiting for those that a job holds:
/// one that arrives by somebody's migration would hold up all the others for 30 s. What can't be had of it is missing.
pub(crate) fn all_domain_stats(connection: &Connect, groups: u32) -> Result<Vec<Record>, Error> {
    let mut records: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
    // SAFETY: the connection is alive while it is borrowed; libvirt writes `records` or returns -1.
    let count = unsafe { sys::virConnectGetAllDomainStats(connection.as_ptr(), groups, &mut records, NO_WAIT) };
    let count = usize::try_from(count).map_err(|_| Error::last_error())?;
    let mut copies = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: libvirt returned `count` valid records, each with a live domain; all are freed below.
        unsafe {
            let record = &**records.add(index);
            copies.push(Record {
                name: text_at(sys::virDomainGetName(record.dom)),
                uuid: uuid_of(record.dom),
                parameters: Parameters::copy(record.params, record.nparams),
            });
        }
    }
    // SAFETY: allocated by the call above, not used after this; a null list is allowed.
    unsafe { sys::virDomainStatsRecordListFree(records) };
    Ok(copies)
}

const NO_WAIT: u32 = sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;

/// The UUID of a domain as text; empty if libvirt can't tell, which it always can for a live object.
///
/// # Safety
/// The domain must be a live object of libvirt's.
unsafe fn uuid_of(domain: sys::virDomainPtr) -> String {
    let mut buffer = [0 as c_char; sys::VIR_UUID_STRING_BUFLEN as usize];
    // SAFETY: the domain is alive, says the caller; the buffer has the size that libvirt asks for.
    match unsafe { sys::virDomainGetUUIDString(domain, buffer.as_mut_ptr()) } {
        0 => text(&buffer),
        _ => String::new(),
    }
}

/// `virDomainGetState`: the raw state and reason.
pub(crate) fn state(domain: &Domain) -> Result<(u32, u32), Error> {
    let (mut state, mut reason): (c_int, c_int) = (0, 0);
    // SAFETY: the domain is alive while it is borrowed; both out-pointers are valid.
    if unsafe { sys::virDomainGetState(domain.as_ptr(), &mut state, &mut reason, 0) } < 0 {
        return Err(Error::last_error());
    }
    Ok((state as u32, reason as u32))
}

/// `virDomainGetControlInfo`: for how long libvirt has waited for an answer of the domain's emulator; `None` if it does
/// not wait for any, or a job such as a backup or a migration hides that. The call itself asks no emulator.
pub(crate) fn emulator_silence(domain: &Domain) -> Result<Option<Duration>, Error> {
    let mut info = sys::virDomainControlInfo { state: 0, details: 0, stateTime: 0 };
    // SAFETY: the domain is alive while it is borrowed; libvirt fills the structure.
    check(unsafe { sys::virDomainGetControlInfo(domain.as_ptr(), &mut info, 0) })?;
    Ok((info.state == sys::VIR_DOMAIN_CONTROL_OCCUPIED).then_some(Duration::from_millis(info.stateTime)))
}

/// `virDomainGetJobStats`: the statistics of the running job; `None` if there is no job.
pub(crate) fn job_stats(domain: &Domain) -> Result<Option<Parameters>, Error> {
    let (mut kind, mut count): (c_int, c_int) = (0, 0);
    let mut params: sys::virTypedParameterPtr = ptr::null_mut();
    // SAFETY: the domain is alive while it is borrowed; the out-pointers are valid.
    if unsafe { sys::virDomainGetJobStats(domain.as_ptr(), &mut kind, &mut params, &mut count, 0) } < 0 {
        return Err(Error::last_error());
    }
    // SAFETY: libvirt filled `count` parameters; they are copied, then freed once.
    let copy = unsafe {
        let copy = Parameters::copy(params, count);
        sys::virTypedParamsFree(params, count);
        copy
    };
    Ok((kind as u32 != sys::VIR_DOMAIN_JOB_NONE).then_some(copy))
}

/// `virDomainListAllCheckpoints`: how many checkpoints the domain has.
pub(crate) fn checkpoints(domain: &Domain) -> Result<u32, Error> {
    // SAFETY: the domain is alive while it is borrowed; without an array libvirt only counts.
    let count = unsafe { sys::virDomainListAllCheckpoints(domain.as_ptr(), ptr::null_mut(), 0) };
    u32::try_from(count).map_err(|_| Error::last_error())
}

/// `virDomainMigrateStartPostCopy`: asks a running migration to switch.
pub(crate) fn start_post_copy(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is alive while it is borrowed.
    check(unsafe { sys::virDomainMigrateStartPostCopy(domain.as_ptr(), 0) })
}

/// `virDomainAbortJob`: cancels the running job.
pub(crate) fn abort_job(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is alive while it is borrowed.
    check(unsafe { sys::virDomainAbortJob(domain.as_ptr()) })
}

/// `virDomainStartDirtyRateCalc`: measures for `seconds` (1 to 60); the result comes with the statistics.
pub(crate) fn start_dirty_rate(domain: &Domain, seconds: u8) -> Result<(), Error> {
    // SAFETY: the domain is alive while it is borrowed.
    check(unsafe { sys::virDomainStartDirtyRateCalc(domain.as_ptr(), seconds.into(), 0) })
}

/// `virDomainMemoryPeek`: a piece of the guest's memory, from a physical address of the guest's on.
pub(crate) fn peek(domain: &Domain, address: u64, piece: &mut [u8]) -> Result<(), Error> {
    let (size, physical) = (piece.len(), sys::VIR_MEMORY_PHYSICAL);
    // SAFETY: the domain is alive while it is borrowed, and there is room for `size` bytes.
    check(unsafe { sys::virDomainMemoryPeek(domain.as_ptr(), address, size, piece.as_mut_ptr().cast(), physical) })
}

/// `virNodeGetMemoryStats`: the host's memory by kind (`total`, `free`, `buffers`, `cached`; `available` from libvirt 12.3
/// on), in KiB.
pub(crate) fn node_memory(connection: &Connect) -> Result<HashMap<String, u64>, Error> {
    let mut count: c_int = 0;
    // SAFETY: the connection is alive while it is borrowed; without an array libvirt only tells how many there are.
    let asked = unsafe { sys::virNodeGetMemoryStats(connection.as_ptr(), ALL_CELLS, ptr::null_mut(), &mut count, 0) };
    check(asked)?;
    let room = usize::try_from(count).unwrap_or(0);
    let mut stats: Vec<sys::virNodeMemoryStats> = Vec::with_capacity(room);
    // SAFETY: there is room for `count` entries; libvirt fills at most so many and says how many.
    unsafe {
        check(sys::virNodeGetMemoryStats(connection.as_ptr(), ALL_CELLS, stats.as_mut_ptr(), &mut count, 0))?;
        stats.set_len(room.min(usize::try_from(count).unwrap_or(0)));
    }
    Ok(stats.iter().map(|stat| (text(&stat.field), stat.value)).collect())
}

/// `virNodeGetCPUStats`: what all processors of the host together have spent by kind (`kernel`, `user`, `idle`, `iowait`), in
/// nanoseconds since it was started.
pub(crate) fn node_processor_time(connection: &Connect) -> Result<HashMap<String, u64>, Error> {
    let mut count: c_int = 0;
    // SAFETY: the connection is alive while it is borrowed; without an array libvirt only tells how many there are.
    check(unsafe { sys::virNodeGetCPUStats(connection.as_ptr(), ALL_CPUS, ptr::null_mut(), &mut count, 0) })?;
    let room = usize::try_from(count).unwrap_or(0);
    let mut stats: Vec<sys::virNodeCPUStats> = Vec::with_capacity(room);
    // SAFETY: there is room for `count` entries; libvirt fills at most so many and says how many.
    unsafe {
        check(sys::virNodeGetCPUStats(connection.as_ptr(), ALL_CPUS, stats.as_mut_ptr(), &mut count, 0))?;
        stats.set_len(room.min(usize::try_from(count).unwrap_or(0)));
    }
    Ok(stats.iter().map(|stat| (text(&stat.field), stat.value)).collect())
}

/// All processors of a host together.
const ALL_CPUS: c_int = sys::VIR_NODE_CPU_STATS_ALL_CPUS;

/// All memory of a host, rather than one NUMA cell's.
const ALL_CELLS: c_int = sys::VIR_NODE_MEMORY_STATS_ALL_CELLS;

/// The system's error number in this thread's last libvirt error, if it is one of the system's.
pub(crate) fn last_system_error() -> Option<i32> {
    // SAFETY: libvirt's last error is this thread's own and lives until its next call.
    let error = unsafe { sys::virGetLastError().as_ref() }?;
    (error.code as u32 == sys::VIR_ERR_SYSTEM_ERROR).then_some(error.int1)
}

/// `virConnectCompareHypervisorCPU`: that the host can give a guest this processor; else an error that says what it
/// lacks.
pub(crate) fn compare_processor(connection: &Connect, machine: &Machine, processor: &str) -> Result<(), Error> {
    let Machine { emulator, arch, name, kind } = machine;
    let text = |text: &str| CString::new(text);
    let (emulator, arch, name) = (text(emulator)?, text(arch)?, text(name)?);
    let (kind, processor) = (text(kind)?, text(processor)?);
    // SAFETY: the connection is alive while it is borrowed, and so are the terminated strings.
    check(unsafe {
        sys::virConnectCompareHypervisorCPU(
            connection.as_ptr(),
            emulator.as_ptr(),
            arch.as_ptr(),
            name.as_ptr(),
            kind.as_ptr(),
            processor.as_ptr(),
            sys::VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE,
        )
    })
}

fn check(result: c_int) -> Result<(), Error> {
    if result < 0 { Err(Error::last_error()) } else { Ok(()) }
}

type JobHandler = Box<dyn Fn(String, Parameters) + Send + Sync>;

/// Calls `handler` with the domain's UUID and the final statistics whenever a job of the connected host ends
/// (`VIR_DOMAIN_EVENT_ID_JOB_COMPLETED`). It runs on the event loop's thread, until the subscription is dropped.
pub(crate) fn on_job_completed(
    connection: &Connect,
    handler: impl Fn(String, Parameters) + Send + Sync + 'static,
) -> Result<Subscription, Error> {
    unsafe extern "C" fn called(
        _: sys::virConnectPtr,
        domain: sys::virDomainPtr,
        params: sys::virTypedParameterPtr,
        count: c_int,
        opaque: *mut c_void,
    ) {
        // SAFETY: `opaque` is the box that was leaked below and lives until `freed`; libvirt owns the rest and
        // keeps it for the length of this call.
        unsafe {
            let handler = &*opaque.cast::<JobHandler>();
            handler(uuid_of(domain), Parameters::copy(params, count));
        }
    }
    unsafe extern "C" fn freed(opaque: *mut c_void) {
        // SAFETY: libvirt calls this once, when nothing uses the handler any more.
        drop(unsafe { Box::from_raw(opaque.cast::<JobHandler>()) });
    }

    let handler: JobHandler = Box::new(handler);
    let opaque = Box::into_raw(Box::new(handler)).cast::<c_void>();
    let event = sys::VIR_DOMAIN_EVENT_ID_JOB_COMPLETED as c_int;
    // SAFETY: libvirt takes one generic callback type for all events and documents the cast; `called` has the
    // signature that this event asks for. Ownership of `opaque` passes to libvirt unless it returns -1.
    let id = unsafe {
        let generic = std::mem::transmute::<
            sys::virConnectDomainEventJobCompletedCallback,
            sys::virConnectDomainEventGenericCallback,
        >(Some(called));
        sys::virConnectDomainEventRegisterAny(connection.as_ptr(), ptr::null_mut(), event, generic, opaque, Some(freed))
    };
    if id < 0 {
        let error = Error::last_error();
        // SAFETY: libvirt did not take it.
        unsafe { freed(opaque) };
        return Err(error);
    }
    Ok(Subscription { connection: connection.clone(), id })
}

/// Events that libvirt delivers. Meanwhile it keeps their connection open, whoever else has closed it.
pub(crate) struct Subscription {
    connection: Connect,
    id: c_int,
}

impl Drop for Subscription {
    /// Ends it (`virConnectDomainEventDeregisterAny`). Asks the host, so that one that hangs holds it up.
    fn drop(&mut self) {
        // SAFETY: the connection is alive, it is held here.
        unsafe { sys::virConnectDomainEventDeregisterAny(self.connection.as_ptr(), self.id) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_its_first_zero_or_with_its_buffer() {
        let buffer = |text: &[u8]| text.iter().map(|byte| *byte as c_char).collect::<Vec<_>>();
        assert_eq!(text(&buffer(b"free\0left")), "free");
        assert_eq!(text(&buffer(b"free")), "free");
    }
}
