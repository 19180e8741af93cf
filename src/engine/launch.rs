//! The last look at a domain before it moves: what it is like right now decides how its migration is asked for.

use super::options::Options;
use crate::domain::{Places, Presence, Technique, Transfer};
use crate::engine::coordinator::{Launch, Start};
use crate::engine::driver::Driver;
use crate::engine::migration::attempt::{Attempt, Ended, Update};
use crate::engine::migration::{Course, OnStall, Verdict};
use crate::failure::{Cause, Departure};
use crate::libvirt::{Definition, HostError, HostErrorKind, MigrationRequest};
use crate::obstacle::Obstacle;
use crate::preflight::offline;
use crate::topology::Side;

enum Instead {
    NotWanted(Cause),
    /// It has left the source: it ended, or somebody else moves it.
    HasLeft,
}

impl From<HostError> for Instead {
    fn from(error: HostError) -> Self {
        match error.kind {
            HostErrorKind::NoSuchDomain => Self::HasLeft,
            _ => Self::NotWanted(error.into()),
        }
    }
}

/// Launches a migration, or adopts one, and follows it to its end.
pub(super) fn start<F: Fn(Update)>(driver: Driver<F>, launch: &Launch, options: &Options) {
    let forced = match &launch.start {
        Start::Launch { forced } => *forced,
        Start::Adopt { before, .. } => {
            let attempt = adopted(launch, before, options);
            return Driver { before: before.clone(), ..driver }.adopt(attempt);
        }
    };
    match prepare(&driver, launch, options, forced) {
        Ok((before, attempt)) => Driver { before, ..driver }.launch(attempt),
        Err(Instead::NotWanted(cause)) => driver.not_wanted(launch.transfer.technique, cause),
        // Whoever moves it, that is watched to its end.
        Err(Instead::HasLeft) if launch.transfer.technique != Technique::Offline => {
            driver.adopt(adopted(launch, &Definition::default(), options));
        }
        Err(Instead::HasLeft) => definition_has_left(&driver),
    }
}

fn adopted(launch: &Launch, before: &Definition, options: &Options) -> Attempt {
    let course = Course {
        technique: launch.transfer.technique,
        post_copy: false,
        on_stall: None,
        switch_early: false,
        timeout_seconds: None,
        max_downtime_ms: None,
    };
    Attempt::new(request(launch, launch.transfer.technique, before, options), course, launch.insists)
}

fn request(launch: &Launch, technique: Technique, before: &Definition, options: &Options) -> MigrationRequest {
    MigrationRequest {
        uuid: launch.uuid.clone(),
        transfer: Transfer { technique, ..launch.transfer.clone() },
        post_copy: false,
        auto_converge: false,
        resume: false,
        persistent: before.persistent,
        route: launch.route,
        migration_uri: options.migration_uri.clone(),
        bandwidth_mib: launch.share.limit(),
    }
}

/// Reads what the domain is like right now, and makes of it what libvirt is asked for.
fn prepare<F: Fn(Update)>(
    driver: &Driver<F>,
    launch: &Launch,
    options: &Options,
    forced: bool,
) -> Result<(Definition, Attempt), Instead> {
    let Launch { domain, uuid, transfer, .. } = launch;
    let planned = &transfer.technique;
    options
        .hooks
        .before_domain(domain, uuid, *planned)
        .map_err(|failure| Instead::NotWanted(Cause::HookFailed(failure)))?;
    let before = driver.hosts.definition(uuid)?;
    if *planned == Technique::Offline {
        nothing_left_behind(driver, domain, uuid)?;
    }
    let on_stall = options.on_stall.unwrap_or(if forced { OnStall::Abort } else { OnStall::PostCopy });
    let wanted = match planned {
        Technique::PostCopy | Technique::Hybrid => true,
        Technique::PreCopy => on_stall == OnStall::PostCopy,
        Technique::Offline => false,
    };
    // It may have been paused since the plan was made.
    let place = driver.hosts.presence(Side::Source, uuid);
    let runs = matches!(place, Presence::Present(condition) if condition.can_post_copy());
    if let Some(fault) = (!runs).then(|| driver.hosts.fault(uuid)).flatten() {
        (driver.tell)(Update::Stopped(fault));
    }
    let post_copy = wanted && runs && !before.memory_in_file && launch.post_copy_works;
    let technique = match planned {
        Technique::PostCopy | Technique::Hybrid if !post_copy => Technique::PreCopy,
        technique => *technique,
    };
    if technique != *planned {
        (driver.tell)(Update::ByPreCopy);
    }
    let timeout = options.timeouts.get(uuid).copied().unwrap_or(options.timeout);
    let timeout_seconds = Some(timeout.seconds(before.memory_bytes));
    let max_downtime_ms = transfer.max_downtime_ms;
    // Never against the user's word. Who lets it stop for longer wants no post-copy as long as that helps.
    let asked = forced || options.on_stall.is_some() || max_downtime_ms.is_some();
    let switch_early = options.replan && !asked && post_copy && technique == Technique::PreCopy;
    let on_stall = Some(on_stall);
    let course = Course { technique, post_copy, on_stall, switch_early, timeout_seconds, max_downtime_ms };
    let auto_converge = technique == Technique::PreCopy && on_stall == Some(OnStall::AutoConverge);
    let request = MigrationRequest { post_copy, auto_converge, ..request(launch, technique, &before, options) };
    driver.still_wanted().map_err(Instead::NotWanted)?;
    Ok((before, Attempt::new(request, course, launch.insists)))
}

/// What was saved since the plan was made must not be lost either.
fn nothing_left_behind<F: Fn(Update)>(driver: &Driver<F>, domain: &str, uuid: &str) -> Result<(), Instead> {
    let found = driver.hosts.left_behind(uuid)?.ok_or(Instead::HasLeft)?;
    let hosts = (driver.hosts.name(Side::Source), driver.hosts.name(Side::Destination));
    let obstacle = Obstacle::all(offline::obstacles(hosts, domain, &found));
    obstacle.map_or(Ok(()), |obstacle| Err(Instead::NotWanted(Cause::LeftBehind { obstacle: Box::new(obstacle) })))
}

/// Ends with a definition that left the source before its turn.
fn definition_has_left<F: Fn(Update)>(driver: &Driver<F>) {
    let destination = driver.hosts.presence(Side::Destination, &driver.uuid);
    let verdict = match destination {
        Presence::Present(_) => Verdict::Migrated,
        _ => {
            let places = Places { source: Presence::Absent, destination };
            Verdict::Gone(Departure::Undefined, places)
        }
    };
    let ended = Ended::not_wanted(Technique::Offline, Cause::Unreported);
    (driver.tell)(Update::Ended(Ended { verdict, foreign: true, ..ended }));
}
