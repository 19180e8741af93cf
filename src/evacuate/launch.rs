//! The last look at a domain before it moves: what it is like right now decides how its migration is asked for.

use super::options::Options;
use crate::drive::{Driver, Ended, Update};
use crate::hypervisor::{Condition, MigrationRequest, Presence, Side};
use crate::migration::{Course, OnStall};
use crate::plan::Technique;

/// Reads what the domain is like right now, and launches its migration.
pub(super) fn launch<F: Fn(Update)>(driver: Driver<F>, options: &Options, forced: bool, post_copy_works: bool) {
    let technique = driver.course.technique;
    if let Err(cause) = options.hooks.before_domain(&driver.domain, &driver.request.uuid, technique) {
        return (driver.tell)(Update::Ended(Ended::not_wanted(technique, cause)));
    }
    let before = match driver.hosts.definition(&driver.request.uuid) {
        Ok(before) => before,
        Err(error) => {
            return (driver.tell)(Update::Ended(Ended::not_started(driver.course.technique, &error)));
        }
    };
    if technique == Technique::Offline {
        // What was saved since the plan was made must not be lost either.
        match driver.hosts.left_behind(&driver.request.uuid) {
            Ok(found) if found.is_empty() => {}
            Ok(found) => return (driver.tell)(Update::Ended(Ended::not_wanted(technique, found.join("; ")))),
            Err(error) => return (driver.tell)(Update::Ended(Ended::not_started(technique, &error))),
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
    let post_copy = wanted && runs && before.post_copy.eligible && post_copy_works;
    let technique = match driver.course.technique {
        Technique::PostCopy if !post_copy => Technique::PreCopy,
        technique => technique,
    };
    let timeout = options.timeouts.get(&driver.request.uuid).copied().unwrap_or(options.timeout);
    let course = Course {
        technique,
        post_copy,
        on_stall: Some(on_stall),
        timeout_seconds: Some(timeout.seconds(before.memory_bytes)),
    };
    let request = MigrationRequest {
        technique,
        post_copy,
        auto_converge: technique == Technique::PreCopy && on_stall == OnStall::AutoConverge,
        persistent: before.persistent,
        ..driver.request.clone()
    };
    if let Err(cause) = driver.still_wanted() {
        return (driver.tell)(Update::Ended(Ended::not_wanted(driver.course.technique, cause)));
    }
    Driver { request, before, course, ..driver }.launch();
}
