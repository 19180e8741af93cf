//! Two hosts that follow a script.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use tsmig::domain::{Condition, DomainState, Fault, Presence, Route, Technique};
use tsmig::libvirt::Belongings;
use tsmig::libvirt::{
    Definition, HostError, HostErrorKind, Hosts, JobStats, Listed, MigrationRequest, NicCounters, Tidied, Vitals,
};
use tsmig::topology::Side;

/// How a scripted domain behaves when it is migrated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Script {
    /// It arrives.
    Arrives,
    /// It arrives, and an error has paused it meanwhile.
    FailsOnItsWay,
    /// It is paused just as its migration begins; it arrives if it is not to post-copy.
    PausesAtItsLaunch,
    /// libvirt refuses it and it stays.
    Refused,
    /// The destination refuses it, which the source's libvirt says by the second try only.
    RefusedWithoutAReason,
    /// The source's libvirt loses its connection to the destination's each time.
    LosesItsPeer,
    /// The destination waits for its memory in vain, until the test lets libvirt give up.
    Mute,
    /// The same, and then the destination refuses it.
    MuteThenRefused,
    /// The destination has no port for it as long as another is in flight.
    NeedsThePort,
    /// Its post-copy breaks twice, and gets through at the second resumption.
    Breaks,
    /// It copies until it is aborted, or switched to post-copy, from where it arrives when the test says so.
    Copies,
    /// As that, with hardly anything left to copy.
    HasNearlyArrived,
    /// As [`Script::Copies`]; in post-copy it runs at the destination only when the test says so.
    LoadsSlowly,
    /// As [`Script::Copies`]; the destination can't load it in post-copy.
    CannotBeLoaded,
    /// It copies the same again in each pass.
    Stalls,
    /// Each pass takes a while, and leaves little less than it began with.
    EndsSlowly,
    /// It is in a last pass, with 40 MiB to go.
    NearlyConverged,
    /// It is not at the source any more when its turn comes.
    HasLeft,
    /// Its definition can't be read.
    Unreadable,
    /// Whoever asks for its definition fails.
    Panics,
}

pub(crate) struct Domain {
    pub(crate) script: Script,
    pub(crate) source: Presence,
    pub(crate) destination: Presence,
    /// The error that has paused it, where it is paused.
    pub(crate) fault: Option<Fault>,
    /// Whether it starts with its host.
    pub(crate) autostart: bool,
    pub(crate) post_copy_requests: usize,
    pub(crate) looks: u64,
    pub(crate) wake: Option<Sender<()>>,
    pub(crate) requests: Vec<MigrationRequest>,
    /// What an offline migration would leave behind.
    pub(crate) left_behind: Belongings,
}

/// What remains of a [`Script::Stalls`] takes this long to copy, in milliseconds: with so much downtime it arrives.
pub(crate) const STALLED_MS: u64 = 1000;

/// A pass of a [`Script::EndsSlowly`].
const SLOW_PASS_SECONDS: f64 = 2.2;

/// Two hosts that follow a script.
pub(crate) struct Scripted {
    pub(crate) domains: Mutex<HashMap<String, Domain>>,
    /// A call of libvirt's has returned.
    pub(crate) returned: Condvar,
    /// Whether the source can reach the destination's libvirt.
    pub(crate) peers: bool,
    /// Whether the destination can post-copy.
    pub(crate) post_copies: bool,
    pub(crate) in_flight: Mutex<Vec<String>>,
    /// How many others were in flight at each launch, in launch order.
    pub(crate) company: Mutex<Vec<usize>>,
    /// The bandwidth limits that were set, with whose they are, in MiB/s.
    pub(crate) limits: Mutex<Vec<(String, u64)>>,
    pub(crate) up_since: Instant,
    /// Whether nothing gets through to guests at the destination.
    pub(crate) dead_network: bool,
    /// The downtimes that were allowed, with whose they are, in milliseconds.
    pub(crate) downtimes: Mutex<Vec<(String, u64)>>,
}

impl Scripted {
    pub(crate) fn new(domains: &[(&str, Script)]) -> Self {
        let domain = |script| Domain {
            script,
            source: Presence::Present(Condition::Running),
            destination: Presence::Absent,
            fault: None,
            autostart: false,
            post_copy_requests: 0,
            looks: 0,
            wake: None,
            requests: Vec::new(),
            left_behind: Belongings::default(),
        };
        Self {
            domains: Mutex::new(domains.iter().map(|(name, script)| ((*name).to_owned(), domain(*script))).collect()),
            returned: Condvar::new(),
            peers: true,
            post_copies: true,
            in_flight: Mutex::default(),
            company: Mutex::default(),
            limits: Mutex::default(),
            up_since: Instant::now(),
            dead_network: false,
            downtimes: Mutex::default(),
        }
    }

    pub(crate) fn with<T>(&self, uuid: &str, act: impl FnOnce(&mut Domain) -> T) -> T {
        act(self.domains.lock().unwrap().get_mut(uuid).unwrap())
    }

    pub(crate) fn arrive(&self, uuid: &str) {
        self.with(uuid, |domain| {
            let paused =
                domain.script == Script::FailsOnItsWay || domain.source == Presence::Present(Condition::Paused);
            let condition = if paused { Condition::Paused } else { Condition::Running };
            domain.source = Presence::Absent;
            domain.destination = Presence::Present(condition);
        });
    }

    /// What a NIC at a steady 8 Mbit/s has received since the hosts are up; at the destination none does if the network there
    /// is dead.
    fn nics(&self, side: Side) -> Vec<NicCounters> {
        let dead = side == Side::Destination && self.dead_network;
        let bytes = if dead { 0 } else { (self.up_since.elapsed().as_secs_f64() * 1e6) as u64 };
        vec![NicCounters { name: "vnet1".to_owned(), inbound_bytes: Some(bytes), outbound_bytes: Some(0) }]
    }

    /// Ends a domain's migration.
    pub(crate) fn finish(&self, uuid: &str) {
        self.arrive(uuid);
        self.with(uuid, |domain| domain.wake.take().unwrap().send(()).unwrap());
    }
}

fn error(kind: HostErrorKind, message: &str) -> HostError {
    HostError { host: "host-a".to_owned(), kind, message: message.to_owned() }
}

impl Hosts for Scripted {
    fn name(&self, side: Side) -> &str {
        match side {
            Side::Source => "host-a",
            Side::Destination => "host-b",
        }
    }

    fn migrate(&self, request: &MigrationRequest) -> Result<(), HostError> {
        let uuid = &request.uuid;
        let others = {
            let mut in_flight = self.in_flight.lock().unwrap();
            self.company.lock().unwrap().push(in_flight.len());
            in_flight.push(uuid.clone());
            in_flight.len() - 1
        };
        let (wake, woken) = channel();
        let script = self.with(uuid, |domain| {
            domain.requests.push(request.clone());
            domain.wake = Some(wake);
            domain.script
        });
        let result = match script {
            _ if request.route == Route::PeerToPeer && !self.peers => {
                // libvirt opens the job before it connects.
                woken.recv().unwrap();
                Err(error(HostErrorKind::NoPeer, "Failed to connect to remote libvirt URI"))
            }
            Script::RefusedWithoutAReason if self.with(uuid, |domain| domain.requests.len()) == 2 => {
                Err(error(HostErrorKind::Other, "Secret not found"))
            }
            Script::LosesItsPeer | Script::RefusedWithoutAReason if request.route == Route::PeerToPeer => {
                Err(error(HostErrorKind::PeerLost, "End of file while reading data"))
            }
            Script::LosesItsPeer | Script::RefusedWithoutAReason => {
                self.arrive(uuid);
                Ok(())
            }
            Script::Mute | Script::MuteThenRefused => {
                self.with(uuid, |domain| domain.destination = Presence::Present(Condition::PausedMigration));
                woken.recv().unwrap();
                self.with(uuid, |domain| domain.destination = Presence::Absent);
                match script {
                    Script::Mute => Err(error(HostErrorKind::NoData, "no data gets through to host-b:49152")),
                    _ => Err(error(HostErrorKind::Other, "Secret not found")),
                }
            }
            Script::Refused => Err(error(HostErrorKind::Other, "Cannot access storage file '/disk'")),
            Script::NeedsThePort if others > 0 => {
                Err(error(HostErrorKind::Busy, "Unable to find an unused port in range 'migration' (49152-49152)"))
            }
            Script::PausesAtItsLaunch if request.post_copy => {
                self.with(uuid, |domain| domain.source = Presence::Present(Condition::Paused));
                Err(error(HostErrorKind::Paused, "not supported with non-live or paused migration"))
            }
            _ if request.post_copy && !self.post_copies => {
                Err(error(HostErrorKind::NoPostCopy, "Postcopy is not supported"))
            }
            Script::Breaks => {
                let attempt = self.with(uuid, |domain| domain.requests.len());
                if attempt < 3 {
                    if attempt == 1 {
                        woken.recv().unwrap();
                    }
                    self.with(uuid, |domain| {
                        domain.source = Presence::Present(Condition::PausedPostCopyFailed);
                        domain.destination = Presence::Present(Condition::RunningPostCopyFailed);
                    });
                    Err(error(HostErrorKind::Other, "job 'migration out' failed in post-copy phase"))
                } else {
                    self.arrive(uuid);
                    Ok(())
                }
            }
            Script::Arrives | Script::FailsOnItsWay | Script::PausesAtItsLaunch => {
                self.arrive(uuid);
                Ok(())
            }
            Script::NeedsThePort
            | Script::Copies
            | Script::HasNearlyArrived
            | Script::LoadsSlowly
            | Script::CannotBeLoaded
            | Script::Stalls
            | Script::EndsSlowly
            | Script::NearlyConverged
            | Script::HasLeft
            | Script::Unreadable
            | Script::Panics => {
                woken.recv().unwrap();
                match self.with(uuid, |domain| domain.source.clone()) {
                    Presence::Absent => Ok(()),
                    Presence::Present(Condition::PausedPostCopyFailed) => {
                        Err(error(HostErrorKind::Other, "QEMU unexpectedly closed the monitor"))
                    }
                    _ => Err(error(HostErrorKind::Other, "operation aborted: canceled by client")),
                }
            }
        };
        self.with(uuid, |domain| domain.wake = None);
        self.returned.notify_all();
        self.in_flight.lock().unwrap().retain(|other| other != uuid);
        result
    }

    fn locate(&self, error: HostError, _: &MigrationRequest, crossed: bool) -> HostError {
        HostError { host: if crossed { "between host-a and host-b" } else { "host-b" }.to_owned(), ..error }
    }

    fn job(&self, uuid: &str) -> Result<Option<JobStats>, HostError> {
        let job = JobStats { total: 100, transferred: 10, remaining: 90, pass: 1, ..JobStats::default() };
        Ok(self.with(uuid, |domain| match (&domain.wake, domain.requests.last()?.route) {
            (None, _) => None,
            (Some(wake), Route::PeerToPeer) if !self.peers => {
                // Looked at again after it failed, it does not listen any more.
                let _ = wake.send(());
                Some(JobStats::default())
            }
            (Some(_), _) if matches!(domain.script, Script::Mute | Script::MuteThenRefused) => {
                Some(JobStats::default())
            }
            (Some(_), _) if domain.script == Script::HasNearlyArrived => {
                domain.looks += 1;
                Some(JobStats { transferred: 10 * domain.looks, remaining: 1, ..job })
            }
            (Some(_), _) if domain.script == Script::NearlyConverged => {
                domain.looks += 1;
                Some(JobStats { transferred: 10 * domain.looks, remaining: 40 << 20, pass: 2, ..job })
            }
            (Some(_), _) if domain.script == Script::Stalls => {
                domain.looks += 1;
                Some(JobStats { transferred: 10 * domain.looks, pass: domain.looks, ..job })
            }
            (Some(_), _) if domain.script == Script::EndsSlowly => {
                domain.looks += 1;
                let passes = (self.up_since.elapsed().as_secs_f64() / SLOW_PASS_SECONDS) as i32;
                let remaining = (2e9 * 0.85_f64.powi(passes)) as u64;
                Some(JobStats { transferred: 10 * domain.looks, remaining, pass: passes as u64 + 1, ..job })
            }
            (Some(_), _) => Some(job),
        }))
    }

    fn completed(&self, _: &str) -> Option<JobStats> {
        Some(JobStats { transferred: 100, pass: 2, downtime_seconds: Some(0.25), ..JobStats::default() })
    }

    fn list(&self, side: Side) -> Result<Vec<Listed>, HostError> {
        let domains = self.domains.lock().unwrap();
        let listed = |(name, domain): (&String, &Domain)| {
            let place = if side == Side::Source { &domain.source } else { &domain.destination };
            let Presence::Present(condition) = place else { return None };
            let fault = domain.fault.filter(|_| *condition == Condition::Paused);
            Some(Listed {
                domain: name.clone(),
                uuid: name.clone(),
                condition: *condition,
                fault,
                autostart: domain.autostart,
            })
        };
        Ok(domains.iter().filter_map(listed).collect())
    }

    fn vitals(&self, side: Side) -> Result<Vec<Vitals>, HostError> {
        let listed = self.list(side)?.into_iter().map(|Listed { uuid, condition, fault, .. }| {
            let (state, nics) = match condition {
                Condition::Running | Condition::RunningPostCopy => (DomainState::Running, self.nics(side)),
                Condition::ShutOff => (DomainState::ShutOff, Vec::new()),
                _ => (DomainState::Paused, Vec::new()),
            };
            Vitals { uuid, state, fault, nics }
        });
        Ok(listed.collect())
    }

    fn resume_fault(&self) -> Result<Option<String>, HostError> {
        Ok(None)
    }

    fn presence(&self, side: Side, uuid: &str) -> Presence {
        // While libvirt connects to a port in vain, the source does not answer about the domain.
        let connects = |domains: &mut HashMap<String, Domain>| {
            let domain = &domains[uuid];
            let mute = matches!(domain.script, Script::Mute | Script::MuteThenRefused);
            mute && side == Side::Source && domain.wake.is_some()
        };
        drop(self.returned.wait_while(self.domains.lock().unwrap(), connects).unwrap());
        self.with(uuid, |domain| match side {
            Side::Source => domain.source.clone(),
            Side::Destination => domain.destination.clone(),
        })
    }

    fn fault(&self, uuid: &str) -> Option<Fault> {
        self.with(uuid, |domain| domain.fault.filter(|_| domain.source == Presence::Present(Condition::Paused)))
    }

    fn start_post_copy(&self, uuid: &str) -> Result<(), HostError> {
        self.with(uuid, |domain| {
            domain.post_copy_requests += 1;
            match domain.post_copy_requests {
                // As measured: too early, then accepted without effect, then done.
                1 => Err(error(HostErrorKind::Other, "Enable postcopy before the start of migration")),
                2 => Ok(()),
                _ if domain.script == Script::CannotBeLoaded => {
                    domain.source = Presence::Present(Condition::PausedPostCopyFailed);
                    domain.destination = Presence::Absent;
                    if let Some(wake) = domain.wake.take() {
                        wake.send(()).unwrap();
                    }
                    Ok(())
                }
                _ => {
                    let loads = domain.script == Script::LoadsSlowly;
                    let arrives = if loads { Condition::PausedMigration } else { Condition::RunningPostCopy };
                    domain.source = Presence::Present(Condition::PausedPostCopy);
                    domain.destination = Presence::Present(arrives);
                    Ok(())
                }
            }
        })
    }

    fn abort(&self, uuid: &str) -> Result<(), HostError> {
        self.with(uuid, |domain| {
            assert_eq!(domain.source, Presence::Present(Condition::Running), "nothing else may be aborted");
            if let Some(wake) = domain.wake.take() {
                wake.send(()).unwrap();
            }
            Ok(())
        })
    }

    fn limit_bandwidth(&self, uuid: &str, _: Technique, mib: u64) -> Result<(), HostError> {
        self.limits.lock().unwrap().push((uuid.to_owned(), mib));
        Ok(())
    }

    fn allow_downtime(&self, uuid: &str, milliseconds: u64) -> Result<(), HostError> {
        self.downtimes.lock().unwrap().push((uuid.to_owned(), milliseconds));
        if milliseconds >= STALLED_MS {
            self.finish(uuid);
        }
        Ok(())
    }

    fn definition(&self, uuid: &str) -> Result<Definition, HostError> {
        if self.with(uuid, |domain| domain.script == Script::HasLeft) {
            return Err(error(HostErrorKind::NoSuchDomain, "no domain with matching uuid"));
        }
        assert!(!self.with(uuid, |domain| domain.script == Script::Panics), "as scripted");
        if self.with(uuid, |domain| domain.script == Script::Unreadable) {
            return Err(error(HostErrorKind::NoAnswer, "no answer within 10 s"));
        }
        Ok(Definition { persistent: uuid != "transient", memory_bytes: 1 << 30, ..Definition::default() })
    }

    fn left_behind(&self, uuid: &str) -> Result<Option<Belongings>, HostError> {
        Ok(Some(self.with(uuid, |domain| domain.left_behind.clone())))
    }

    fn tidy(&self, uuid: &str, before: &Definition) -> Result<Vec<Tidied>, HostError> {
        let left_over = before.persistent && self.presence(Side::Source, uuid) != Presence::Absent;
        self.with(uuid, |domain| {
            let arrived = matches!(domain.destination, Presence::Present(Condition::Running | Condition::Paused));
            assert!(arrived, "a definition may go only when the domain is safe elsewhere");
            domain.source = Presence::Absent;
        });
        Ok(left_over.then_some(Tidied::UndefinedAtSource).into_iter().collect())
    }
}
