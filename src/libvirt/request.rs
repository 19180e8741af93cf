//! One migration as the engine asks for it, and what libvirt is asked for it.

use virt::domain::MigrateParameters;
use virt::sys;

use crate::domain::{Route, Technique, Transfer};

/// Bandwidth in MiB/s before the switch to post-copy: what was sent by then may sit in the socket's buffer, and the
/// switch waits behind it. Measured on a link of 100 Mbit/s with 60 Mbit/s of other traffic: the switch came 1.2-1.5 s
/// after the job was first seen without this, and 0.7-1.1 s after it with this; single runs.
const LEAD_IN_MIB: u64 = 1;

/// One migration to perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationRequest {
    /// The domain's UUID.
    pub uuid: String,
    /// How it crosses.
    pub transfer: Transfer,
    /// Whether a switch to post-copy is possible: libvirt has to know it from the start.
    pub post_copy: bool,
    /// Whether QEMU slows the guest down if pre-copy does not converge.
    pub auto_converge: bool,
    /// Whether this goes on with a post-copy that failed, instead of starting anew.
    pub resume: bool,
    /// Whether its definition moves with it.
    pub persistent: bool,
    /// Who drives it.
    pub route: Route,
    /// Where the memory goes, if libvirt's own choice (the destination's host name) is not right.
    pub migration_uri: Option<String>,
    /// Bandwidth limit in MiB/s, libvirt's unit.
    pub bandwidth_mib: Option<u64>,
}

impl MigrationRequest {
    /// libvirt's flags and parameters for it.
    pub(super) fn for_libvirt(&self) -> (u32, MigrateParameters) {
        let leads_in = self.transfer.technique == Technique::PostCopy && !self.resume;
        let parameters = MigrateParameters {
            uri: self.migration_uri.clone(),
            bandwidth: if leads_in { Some(LEAD_IN_MIB) } else { self.bandwidth_mib },
            bandwidth_postcopy: self.bandwidth_mib.filter(|_| self.post_copy),
            ..MigrateParameters::default()
        };
        (flags(self), parameters)
    }
}

/// `UNDEFINE_SOURCE` without `PERSIST_DEST` would leave the domain transient at the destination, `PERSIST_DEST`
/// would make a transient domain persistent: so both or none, while it runs. `POSTCOPY` only enables it; the engine starts it.
/// A resumption has to repeat the flags of the start.
fn flags(request: &MigrationRequest) -> u32 {
    let offline = request.transfer.technique == Technique::Offline;
    let flags = [
        (offline, sys::VIR_MIGRATE_OFFLINE),
        (!offline, sys::VIR_MIGRATE_LIVE),
        (request.post_copy, sys::VIR_MIGRATE_POSTCOPY),
        (request.auto_converge, sys::VIR_MIGRATE_AUTO_CONVERGE),
        (request.resume, sys::VIR_MIGRATE_POSTCOPY_RESUME),
        (request.persistent, sys::VIR_MIGRATE_PERSIST_DEST),
        (request.persistent && !offline, sys::VIR_MIGRATE_UNDEFINE_SOURCE),
        (request.route == Route::PeerToPeer, sys::VIR_MIGRATE_PEER2PEER),
    ];
    flags.into_iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, flag)| all | flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(technique: Technique, persistent: bool, route: Route) -> MigrationRequest {
        MigrationRequest {
            uuid: String::new(),
            transfer: Transfer::by(technique),
            post_copy: technique == Technique::PostCopy,
            auto_converge: false,
            resume: false,
            persistent,
            route,
            migration_uri: None,
            bandwidth_mib: None,
        }
    }

    #[test]
    fn a_definition_moves_whole_or_not_at_all() {
        let both = sys::VIR_MIGRATE_PERSIST_DEST | sys::VIR_MIGRATE_UNDEFINE_SOURCE;
        let persistent = flags(&request(Technique::PostCopy, true, Route::PeerToPeer));
        assert_eq!(persistent & both, both);
        let transient = flags(&request(Technique::PostCopy, false, Route::PeerToPeer));
        assert_eq!(transient & both, 0);
        let offline = flags(&request(Technique::Offline, true, Route::PeerToPeer));
        assert_eq!(offline & both, sys::VIR_MIGRATE_PERSIST_DEST, "what libvirt undefines it also deletes");
    }

    #[test]
    fn post_copy_is_enabled_only_where_planned_and_never_with_multifd() {
        let pre_copy = flags(&request(Technique::PreCopy, true, Route::PeerToPeer));
        let post_copy = flags(&request(Technique::PostCopy, true, Route::ClientManaged));
        assert_eq!(pre_copy & sys::VIR_MIGRATE_POSTCOPY, 0);
        assert_eq!(post_copy & sys::VIR_MIGRATE_POSTCOPY, sys::VIR_MIGRATE_POSTCOPY);
        assert_eq!((pre_copy | post_copy) & (sys::VIR_MIGRATE_PARALLEL | sys::VIR_MIGRATE_TUNNELLED), 0);
        assert_eq!(post_copy & sys::VIR_MIGRATE_PEER2PEER, 0);
    }

    #[test]
    fn a_post_copy_begins_slowly_and_is_resumed_at_its_limit() {
        let limits = |technique, resume| {
            let request = request(technique, true, Route::PeerToPeer);
            let (_, parameters) = MigrationRequest { resume, bandwidth_mib: Some(50), ..request }.for_libvirt();
            (parameters.bandwidth, parameters.bandwidth_postcopy)
        };
        assert_eq!(limits(Technique::PreCopy, false), (Some(50), None));
        assert_eq!(limits(Technique::PostCopy, false), (Some(LEAD_IN_MIB), Some(50)));
        assert_eq!(limits(Technique::PostCopy, true), (Some(50), Some(50)));
    }
}
