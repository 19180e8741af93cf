//! One host behind libvirt: what is asked of it and of its domains, each within a time limit.

use std::collections::{BTreeSet, HashMap};
use std::iter::zip;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, ScopedJoinHandle};
use std::time::Duration;

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt::sys;

use super::connection::{Door, Endpoint, Line, Pool, lock};
use super::ffi::{self, Parameters};
use super::session::Session;
use super::state::fault;
use super::{DomainSample, HostError, HostErrorKind, JobStats, Vitals};
use crate::domain::Fault;

pub struct Host {
    pub(super) line: Line,
    /// Final statistics of outgoing migrations that ended, by domain UUID, as the host's events brought them.
    pub(super) completed: Arc<Mutex<HashMap<String, JobStats>>>,
    pub(super) pool: Arc<Pool>,
    pub(super) session: Arc<Session>,
}

impl Host {
    pub fn open(endpoint: Endpoint) -> Result<Self, HostError> {
        let completed = Arc::new(Mutex::new(HashMap::new()));
        let events = Arc::clone(&completed);
        let door = Door::new(endpoint);
        let line = Line::new(Arc::clone(&door), move |connection| {
            let events = Arc::clone(&events);
            let handler = move |uuid, job: Parameters| keep_completed(&events, uuid, &job);
            // Without events the final statistics are missing from the report; nothing else depends on them.
            ffi::on_job_completed(connection, handler).ok()
        });
        line.connection()?;
        Ok(Self { line, completed, pool: Arc::new(Pool::new(door)), session: Arc::default() })
    }

    /// The host's name as the user wrote it, and its URI.
    pub fn endpoint(&self) -> &Endpoint {
        self.line.endpoint()
    }

    /// Does `work` for each item, for several items at the same time. Each thread uses its own connection to each of the
    /// `hosts`. The results have the order of the items. After an error of `work` nothing more is begun.
    pub fn side_by_side<const N: usize, I: Sync, T: Send>(
        hosts: [&Self; N],
        items: &[I],
        work: impl Fn([&Self; N], &I) -> Result<T, HostError> + Sync,
    ) -> Result<Vec<T>, HostError> {
        let next = AtomicUsize::new(0);
        let is_over = || next.load(Ordering::Relaxed) >= items.len();
        let work_on = |hosts: [&Self; N]| {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(index) else { return Ok(done) };
                let result = work(hosts, item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed));
                done.push((index, result?));
            }
        };
        let help = || {
            let helpers = hosts.map(|host| host.pool.wait(is_over).map(|line| host.by_another(line)));
            let is_open = |helper: &&Self| !is_over() && helper.line.connection().is_ok();
            // If the host takes no more connections, the others do the work.
            let open: Vec<_> = helpers.iter().flatten().filter(is_open).collect();
            let done = open.try_into().map_or_else(|_| Ok(Vec::new()), work_on);
            for (host, helper) in zip(hosts, helpers) {
                helper.into_iter().for_each(|helper| host.pool.give_back(helper.line));
            }
            done
        };
        let helpers = helpers(items.len());
        hosts.iter().for_each(|host| host.pool.open(helpers));
        let join = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        let mut done = thread::scope(|scope| {
            let threads: Vec<_> = (0..helpers).map(|_| scope.spawn(help)).collect();
            let own = scope.spawn(|| work_on(hosts)).join();
            // Those that still wait for a connection would not end else, whatever has become of the work.
            next.store(items.len(), Ordering::Relaxed);
            hosts.iter().for_each(|host| host.pool.wake());
            let mut done = own.unwrap_or_else(|panic| resume_unwind(panic))?;
            for thread in threads {
                done.extend(join(thread)?);
            }
            Ok(done)
        })?;
        done.sort_unstable_by_key(|(index, _)| *index);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }

    /// Opens the connections over which so many domains are asked about soon, while other work goes on.
    pub fn prepare_for(&self, domains: usize) {
        self.pool.open(helpers(domains));
    }

    /// Asks over another connection, while the host's own is used.
    pub fn aside<T: Send + 'static>(&self, ask: impl FnOnce(&Self) -> T + Send + 'static) -> JoinHandle<T> {
        let helper = self.by_another(self.pool.take());
        thread::spawn(move || {
            let answer = ask(&helper);
            helper.pool.give_back(helper.line);
            answer
        })
    }

    fn by_another(&self, line: Line) -> Self {
        let (completed, pool, session) =
            (Arc::clone(&self.completed), Arc::clone(&self.pool), Arc::clone(&self.session));
        Self { line, completed, pool, session }
    }

    /// All domains with their counters, in one request. An emulator that hangs holds it up, and is passed over by the
    /// next, which knows that somebody waits for it.
    pub fn sample(&self) -> Result<Vec<DomainSample>, HostError> {
        let groups = sys::VIR_DOMAIN_STATS_STATE
            | sys::VIR_DOMAIN_STATS_BALLOON
            | sys::VIR_DOMAIN_STATS_INTERFACE
            | sys::VIR_DOMAIN_STATS_DIRTYRATE;
        for _ in 0..=MOST_HANGING {
            match self.statistics(groups) {
                Err(error) if self.of_domain(error.clone()).kind == HostErrorKind::Hangs => {}
                sampled => return sampled,
            }
        }
        let message = format!(
            "its libvirt left more than {MOST_HANGING} requests for its domains' statistics unanswered, as where that many \
             emulators hang (virsh domcontrol tells which)"
        );
        Err(HostError { host: self.endpoint().name.clone(), kind: HostErrorKind::Other, message })
    }

    /// All domains with the counters of their NICs, in one request that no emulator is asked for: none can hold it up.
    pub fn traffic(&self) -> Result<Vec<DomainSample>, HostError> {
        self.statistics(sys::VIR_DOMAIN_STATS_STATE | sys::VIR_DOMAIN_STATS_INTERFACE)
    }

    /// The same with the error that has stopped a domain, over a connection of its own: it is asked while others wait on the
    /// host's.
    pub fn vitals(&self) -> Result<Vec<Vitals>, HostError> {
        let groups = sys::VIR_DOMAIN_STATS_STATE | sys::VIR_DOMAIN_STATS_INTERFACE;
        let line = self.pool.take();
        let records = line.ask(move |connection| ffi::all_domain_stats(connection, groups));
        self.pool.give_back(line);
        Ok(records?.into_iter().map(Vitals::of).collect())
    }

    /// How many processors it has, and what they have spent idle since it was started; `None` if libvirt does not tell.
    pub fn idle_processors(&self) -> Option<(u32, Duration)> {
        let asked = self.line.ask(|line| Ok((line.node_info()?.cpus, ffi::node_processor_time(line)?)));
        let (count, spent) = asked.ok()?;
        // One that waits for a disk can be had.
        let idle = spent.get("idle")?.saturating_add(spent.get("iowait").copied().unwrap_or(0));
        Some((count, Duration::from_nanos(idle)))
    }

    fn statistics(&self, groups: u32) -> Result<Vec<DomainSample>, HostError> {
        let records = self.line.ask(move |connection| ffi::all_domain_stats(connection, groups))?;
        Ok(records.into_iter().map(DomainSample::of).collect())
    }

    /// Lets libvirt measure a domain's dirty rate for a second; later samples carry the result. A domain that a job holds
    /// (a backup, somebody's migration) is not measured, since libvirt would let the call wait for the end of the job.
    /// Returns whether the measurement was begun.
    pub fn start_dirty_rate(&self, uuid: &str) -> Result<bool, HostError> {
        self.ask_live(uuid, |domain| match ffi::job_stats(domain)? {
            None => ffi::start_dirty_rate(domain, 1).map(|()| true),
            Some(_) => Ok(false),
        })
    }

    /// How many domains there are, the inactive ones included.
    pub fn count(&self) -> Result<usize, HostError> {
        self.line.ask(|connection| Ok(connection.list_all_domains(0)?.len()))
    }

    /// Whether any domain is active.
    pub fn runs_any(&self) -> Result<bool, HostError> {
        self.line.ask(|connection| Ok(!connection.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)?.is_empty()))
    }

    /// The UUIDs of all domains that have a stored definition.
    pub fn persistent(&self) -> Result<BTreeSet<String>, HostError> {
        self.line.ask(|connection| {
            let domains = connection.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_PERSISTENT)?;
            domains.iter().map(Domain::uuid_string).collect()
        })
    }

    /// The error that has stopped a domain, if one has.
    pub fn fault(&self, uuid: &str) -> Result<Option<Fault>, HostError> {
        self.ask_domain(uuid, |domain| ffi::state(domain).map(|(state, reason)| fault(state, reason)))
    }

    pub(super) fn ask_domain<T: Send + 'static>(
        &self,
        uuid: &str,
        question: impl Fn(&Domain) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, HostError> {
        let answer = self.line.ask_domain(uuid, question).map_err(|error| self.of_domain(error))?;
        answer.map_err(|error| self.endpoint().error(&error))
    }

    /// Asks about one domain what its emulator or a job can hold up, unless it is known to hang.
    pub(super) fn ask_live<T: Send + 'static>(
        &self,
        uuid: &str,
        question: impl Fn(&Domain) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, HostError> {
        let hangs = |silence: Option<Duration>| silence.is_some_and(|silence| silence >= HANGING);
        // A hypervisor that can't tell has no emulators to wait for.
        let ask = move |domain: &Domain| match ffi::emulator_silence(domain) {
            Ok(silence) if hangs(silence) => Ok(None),
            _ => question(domain).map(Some),
        };
        self.ask_domain(uuid, ask)?.ok_or_else(|| self.hang())
    }

    /// What an error to a question about one domain means: if the host answers another, the domain hangs.
    pub(super) fn of_domain(&self, error: HostError) -> HostError {
        match error.kind {
            HostErrorKind::NoAnswer => self.line.ask(Connect::lib_version).err().unwrap_or_else(|| self.hang()),
            _ => error,
        }
    }

    fn hang(&self) -> HostError {
        let message = "its libvirt answers, but not about this domain: the emulator hangs".to_owned();
        HostError { host: self.endpoint().name.clone(), kind: HostErrorKind::Hangs, message }
    }
}

/// How many connections beside the host's own are worth their log-ins for so many items.
fn helpers(items: usize) -> usize {
    items.div_ceil(ITEMS_A_LINE).min(MOST_LINES).saturating_sub(1)
}

/// Connections that ask a host at the same time, its own included. With 40 domains and a round trip of 10 ms, all that is
/// asked after the window took 1.1 s over four and 0.9 s over six, on a busy machine; more were not tried.
const MOST_LINES: usize = 6;

/// Items for which one more connection is worth its log-in, which nobody waits for.
const ITEMS_A_LINE: usize = 6;

/// Emulators that hang at the most before a host is given up: each keeps one of its libvirt's 20 workers waiting.
const MOST_HANGING: usize = 5;

/// An emulator that libvirt has waited for that long hangs: it answers within milliseconds else. Most questions about its
/// domain then wait for it, too, the one for its XML among them (libvirt 9.0 and 11.3).
const HANGING: Duration = Duration::from_secs(5);

/// Keeps the final statistics of a domain's migration; those of a job that came after it do not replace them.
fn keep_completed(completed: &Mutex<HashMap<String, JobStats>>, uuid: String, job: &Parameters) {
    if let Some(stats) = JobStats::of_migration(job) {
        lock(completed).insert(uuid, stats);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;

    use super::*;

    /// A host of libvirt's own test driver.
    fn host() -> Host {
        Host::open(Endpoint { name: "t".to_owned(), uri: "test:///default".to_owned(), shell: true }).unwrap()
    }

    #[test]
    fn several_items_are_worked_on_at_the_same_time_each_over_its_own_connection() {
        let (host, items): (_, Vec<_>) = (host(), (0..MOST_LINES * ITEMS_A_LINE).collect());
        let (used, more) = (Mutex::new(Vec::new()), Condvar::new());
        let worked = Host::side_by_side([&host], &items, |[host], item| {
            let mut used = lock(&used);
            let connection = host.line.connection()?;
            if !used.iter().any(|other| ffi::is_same(other, &connection)) {
                used.push(connection);
                more.notify_all();
            }
            // Each is busy until as many as may be are.
            let patience = Duration::from_secs(60);
            let (_used, waited) = more.wait_timeout_while(used, patience, |used| used.len() < MOST_LINES).unwrap();
            if waited.timed_out() { Err(host.hang()) } else { Ok(item * 2) }
        });
        assert_eq!(worked, Ok(items.iter().map(|item| item * 2).collect()), "in the order of the items");
    }

    #[test]
    fn nothing_is_begun_after_an_error() {
        let (host, items): (_, Vec<_>) = (host(), (0..ITEMS_A_LINE).collect());
        let begun = AtomicUsize::new(0);
        let failed = Host::side_by_side([&host], &items, |[host], _| -> Result<(), HostError> {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(host.hang())
        });
        assert_eq!((failed, begun.into_inner()), (Err(host.hang()), 1));
    }

    #[test]
    fn a_backup_s_end_does_not_replace_the_downtime_of_a_migration() {
        let completed = Mutex::default();
        let end = |operation: u32, downtime| {
            let job = Parameters::of(&[("operation", operation.into()), ("downtime", downtime)]);
            keep_completed(&completed, "u".to_owned(), &job);
            lock(&completed).get("u").and_then(|job| job.downtime_seconds)
        };
        // What libvirt 11.3 says of a backup that ended.
        assert_eq!(end(sys::VIR_DOMAIN_JOB_OPERATION_BACKUP, 0), None);
        assert_eq!(end(sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT, 250), Some(0.25));
        assert_eq!(end(sys::VIR_DOMAIN_JOB_OPERATION_BACKUP, 0), Some(0.25));
    }
}
