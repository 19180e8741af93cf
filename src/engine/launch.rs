//! The last look at a domain before it moves: what it is like right now decides how its migration is asked for.

use super::options::Options;
use crate::domain::{Condition, Presence};
use crate::domain::{Technique, Transfer};
use crate::engine::driver::{Driver, Ended, Update};
use crate::engine::migration::{Course, OnStall, Places, Verdict};
use crate::libvirt::{HostErrorKind, MigrationRequest};
use crate::preflight::offline;
use crate::topology::Side;

/// Reads what the domain is like right now, and launches its migration.
pub(super) fn launch<F: Fn(Update)>(driver: Driver<F>, options: &Options, forced: bool, post_copy_works: bool) {
    let technique = driver.course.technique;
    if let Err(cause) = options.hooks.before_domain(&driver.domain, &driver.request.uuid, technique) {
        return (driver.tell)(Update::Ended(Ended::not_wanted(technique, cause)));
    }
    let before = match driver.hosts.definition(&driver.request.uuid) {
        Ok(before) => before,
        Err(error) if error.kind == HostErrorKind::NoSuchDomain => return has_left(driver),
        Err(error) => return (driver.tell)(Update::Ended(Ended::not_wanted(technique, error.to_string()))),
    };
    if technique == Technique::Offline {
        // What was saved since the plan was made must not be lost either.
        match driver.hosts.left_behind(&driver.request.uuid) {
            Ok(found) => {
                let (source, destination) = (driver.hosts.name(Side::Source), driver.hosts.name(Side::Destination));
                let findings = offline::findings(source, destination, &driver.domain, &found);
                if !findings.is_empty() {
                    return (driver.tell)(Update::Ended(Ended::not_wanted(technique, findings.join("; "))));
                }
            }
            Err(error) => return (driver.tell)(Update::Ended(Ended::not_wanted(technique, error.to_string()))),
        }
    }
    let default = if forced { OnStall::Abort } else { OnStall::PostCopy };
    let on_stall = options.on_stall.unwrap_or(default);
    let wanted = match driver.course.technique {
        Technique::PostCopy => true,
        Technique::PreCopy => on_stall == OnStall::PostCopy,
        Technique::Offline => false,
    };
    // libvirt refuses it for a domain that is paused, as one may be by now.
    let runs = driver.hosts.presence(Side::Source, &driver.request.uuid) == Presence::Present(Condition::Running);
    if let Some(fault) = (!runs).then(|| driver.hosts.fault(&driver.request.uuid)).flatten() {
        (driver.tell)(Update::Stopped(fault));
    }
    let post_copy = wanted && runs && !before.memory_in_file && post_copy_works;
    let technique = match driver.course.technique {
        Technique::PostCopy if !post_copy => Technique::PreCopy,
        technique => technique,
    };
    if technique != driver.course.technique {
        (driver.tell)(Update::ByPreCopy);
    }
    let timeout = options.timeouts.get(&driver.request.uuid).copied().unwrap_or(options.timeout);
    let course = Course {
        technique,
        post_copy,
        on_stall: Some(on_stall),
        timeout_seconds: Some(timeout.seconds(before.memory_bytes)),
    };
    let auto_converge = technique == Technique::PreCopy && on_stall == OnStall::AutoConverge;
    let transfer = Transfer { technique, post_copy, auto_converge };
    let request = MigrationRequest { transfer, persistent: before.persistent, ..driver.request.clone() };
    if let Err(cause) = driver.still_wanted() {
        return (driver.tell)(Update::Ended(Ended::not_wanted(driver.course.technique, cause)));
    }
    Driver { request, before, course, ..driver }.launch();
}

/// A domain that left the source before its turn: it ended, or somebody else moves it, which is watched to its end.
fn has_left<F: Fn(Update)>(driver: Driver<F>) {
    if driver.course.technique != Technique::Offline {
        return driver.adopt();
    }
    let destination = driver.hosts.presence(Side::Destination, &driver.request.uuid);
    let verdict = match destination {
        Presence::Present(_) => Verdict::Migrated,
        _ => {
            let places = Places { source: Presence::Absent, destination };
            Verdict::Gone("it was undefined before its turn".to_owned(), places)
        }
    };
    let ended = Ended::not_wanted(driver.course.technique, String::new());
    (driver.tell)(Update::Ended(Ended { verdict, foreign: true, ..ended }));
}
