//! Connections to libvirt: opened with a time limit, kept alive, shared among few, opened again when they die.
//!
//! A migration is one libvirt request for as long as it lasts, so each takes a [`Line`] of its own from a [`Pool`], and so
//! do questions that are asked at the same time. All else goes over the host's own line. A [`Door`] lets one log-in through
//! at a time.
//!
//! Sharing one among migrations would be in libvirtd's limits (five requests a client), but costs time: a request that
//! one thread makes while another waits on the same connection was sent at the next keepalive only, up to 5 s later,
//! in 5 of 8 migrations (libvirt 9.0's client library; with a connection each in none of 32). For the same reason a
//! [`Line`] leaves a connection on which a question is still waiting when its time is up.

use std::collections::HashMap;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorDomain, ErrorNumber};

use super::ffi::{self, Subscription};
use super::{HostError, HostErrorKind, uri};

/// How long a host may take to answer `open`, the ssh login included.
const OPEN_LIMIT: Duration = Duration::from_secs(20);

/// How long a host may take to answer a question that costs it nothing.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Keepalive: a connection is dead after this many seconds times [`KEEPALIVE_COUNT`] without an answer.
const KEEPALIVE_SECONDS: i32 = 5;
const KEEPALIVE_COUNT: u32 = 4;

/// A host's name as the user wrote it, and the libvirt URI that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub name: String,
    pub uri: String,
    /// Whether its shell may be asked what libvirt can't tell.
    pub shell: bool,
}

impl Endpoint {
    /// Makes libvirt's error one of this host.
    pub(crate) fn error(&self, error: &Error) -> HostError {
        let kind = match error.code().is(ErrorNumber::NoDomain) {
            true => HostErrorKind::NoSuchDomain,
            false => HostErrorKind::Other,
        };
        let refused = [ErrorNumber::AuthFailed, ErrorNumber::AuthCancelled, ErrorNumber::AuthUnavailable];
        let advice = match refused.iter().any(|code| error.code().is(*code)) {
            true => "; connect as a user who may use libvirt there, or put the credentials into libvirt's auth.conf",
            false => "",
        };
        HostError { host: self.name.clone(), kind, message: format!("{}{advice}", one_line(error.message())) }
    }

    /// The URI by which libvirt connects. ssh must not ask for a password: tsmig opens several connections, and so does the
    /// libvirt of the source. By `no_tty` libvirt runs it with `BatchMode=yes`; what the user says of that stands.
    pub(crate) fn unprompted_uri(&self) -> String {
        let uri = &self.uri;
        let decides =
            |query: &str| query.split(['&', ';']).any(|parameter| parameter.split('=').next() == Some("no_tty"));
        match uri.split_once('?') {
            _ if !self.is_by_ssh() => uri.clone(),
            Some((_, query)) if decides(query) => uri.clone(),
            Some((_, "")) => format!("{uri}no_tty=1"),
            Some(_) => format!("{uri}&no_tty=1"),
            None => format!("{uri}?no_tty=1"),
        }
    }

    /// Whether libvirt runs the program ssh; by the libraries libssh and libssh2 it asks for nothing.
    fn is_by_ssh(&self) -> bool {
        self.uri.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with("+ssh"))
    }

    pub(crate) fn open(&self) -> Result<Connect, HostError> {
        start_event_loop();
        let uri = self.unprompted_uri();
        let connection = within(OPEN_LIMIT, move || Connect::open(Some(&uri)))
            .ok_or_else(|| self.silent(HostErrorKind::NoConnection, OPEN_LIMIT))?
            .map_err(|error| self.not_opened(&error))?;
        // Local drivers have no keepalive and need none.
        let _ = connection.set_keep_alive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT);
        Ok(connection)
    }

    /// Makes libvirt's error one of this host, with what to do if ssh could not log in.
    fn not_opened(&self, error: &Error) -> HostError {
        let error = self.error(error);
        let says = |text| error.message.contains(text);
        let login = ssh_arguments(&self.uri);
        let advice = if !self.is_by_ssh() {
            String::new()
        } else if says("Permission denied") {
            format!(
                "; tsmig opens several connections, so it never lets ssh ask for a password or a passphrase: install a key \
                 there (ssh-copy-id {login}), or load yours into ssh-agent (ssh-add), until `ssh -o BatchMode=yes {login} \
                 true` succeeds"
            )
        } else if says("Host key verification failed") {
            format!("; run `ssh {login} true` once and check the key that it shows")
        } else if says("End of file while reading data") {
            format!("; see what `ssh -o BatchMode=yes {login} true` says")
        } else {
            String::new()
        };
        HostError { message: error.message.clone() + &advice, ..error }
    }

    fn silent(&self, kind: HostErrorKind, limit: Duration) -> HostError {
        let message = format!("no answer from {} within {} s; is its libvirt stopped?", self.uri, limit.as_secs());
        HostError { host: self.name.clone(), kind, message }
    }
}

/// Words of libvirt's, among which those of ssh have several lines.
fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The host of a URI as ssh takes it: `-p 2222 root@host-a`.
fn ssh_arguments(uri: &str) -> String {
    let server = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let server = server.split(['/', '?']).next().unwrap_or_default();
    let (user, server) = server.split_at(server.rfind('@').map_or(0, |at| at + 1));
    match uri::host_and_port(server) {
        (host, Some(port)) => format!("-p {port} {user}{host}"),
        (host, None) => format!("{user}{host}"),
    }
}

/// The result of a call to libvirt that can't be interrupted; `None` if it took longer than `limit`. Then its thread
/// is left behind, and ends with the process.
fn within<T: Send + 'static>(limit: Duration, call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(call()));
    receiver.recv_timeout(limit).ok()
}

/// Starts libvirt's event loop, which keepalive and events need; it must run before the first `open`.
fn start_event_loop() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Errors come back from the calls; libvirt would print them on the terminal as well.
        virt::error::clear_error_callback();
        if virt::event::event_register_default_impl().is_ok() {
            thread::spawn(|| while virt::event::event_run_default_impl().is_ok() {});
        }
    });
}

/// What ssh says when sshd drops it unheard, since too many log in at the same time (`MaxStartups`, by default from ten on).
pub(super) const SSHD_IS_BUSY: &str = "kex_exchange_identification";

/// How long to wait before each further try at a busy sshd.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The way to a host's libvirt. One connection is opened after the other: sshd drops log-ins when many come at once.
pub(crate) struct Door {
    pub(crate) endpoint: Endpoint,
    /// Held while one is opened: when the host was silent last.
    opening: Mutex<Option<(Instant, HostError)>>,
}

impl Door {
    pub(crate) fn new(endpoint: Endpoint) -> Arc<Self> {
        Arc::new(Self { endpoint, opening: Mutex::default() })
    }

    /// Opens one for somebody who has waited for it since `asked`. If the host has been silent to another since, it is not tried
    /// again: all who wait would wait one after the other for a host that is down.
    fn open(&self, asked: Instant) -> Result<Connect, HostError> {
        let mut silence = lock(&self.opening);
        if let Some((_, error)) = silence.as_ref().filter(|(at, _)| *at > asked) {
            return Err(error.clone());
        }
        let mut pauses = PAUSES.into_iter();
        loop {
            match (self.endpoint.open(), pauses.next()) {
                (Err(error), Some(pause)) if error.message.contains(SSHD_IS_BUSY) => thread::sleep(pause),
                (opened, _) => {
                    let silent = opened.as_ref().err().filter(|error| error.kind == HostErrorKind::NoConnection);
                    *silence = silent.map(|error| (Instant::now(), error.clone()));
                    return opened;
                }
            }
        }
    }
}

/// What is done to each new connection of a [`Line`]; what it gives is kept as long as the connection.
type Prepare = Arc<dyn Fn(&Connect) -> Option<Subscription> + Send + Sync>;

/// One connection for short calls, opened again when it has died, or has left a question unanswered.
pub(crate) struct Line {
    door: Arc<Door>,
    current: Mutex<Option<Open>>,
    prepare: Prepare,
}

/// An open connection. libvirt keeps it open, with its ssh, as long as it has a subscription.
struct Open {
    connection: Connect,
    domains: Domains,
    _subscription: Option<Subscription>,
}

impl Open {
    /// Closes it, without waiting for a host that may not answer.
    fn close(self) {
        thread::spawn(move || drop(self));
    }
}

/// A connection's handles of domains by UUID, once all have been listed: to look one up is a request, too. libvirt goes by
/// the UUID in a handle, whatever has become of the domain since.
#[derive(Clone, Default)]
struct Domains(Arc<Mutex<Option<HashMap<String, Domain>>>>);

impl Domains {
    fn get(&self, connection: &Connect, uuid: &str) -> Result<Domain, Error> {
        // No lock is held while the host is asked: it may not answer.
        if lock(&self.0).is_none() {
            let listed = connection.list_all_domains(0)?.into_iter();
            let listed = listed.map(|domain| Ok((domain.uuid_string()?, domain))).collect::<Result<_, Error>>()?;
            *lock(&self.0) = Some(listed);
        }
        if let Some(domain) = lock(&self.0).as_ref().and_then(|known| known.get(uuid)) {
            return Ok(domain.clone());
        }
        let domain = connection.lookup_domain_by_uuid_string(uuid)?;
        lock(&self.0).get_or_insert_default().insert(uuid.to_owned(), domain.clone());
        Ok(domain)
    }
}

impl Line {
    /// A line that opens when it is used; `prepare` is called with each of its connections.
    pub(crate) fn new(
        door: Arc<Door>,
        prepare: impl Fn(&Connect) -> Option<Subscription> + Send + Sync + 'static,
    ) -> Self {
        Self { door, current: Mutex::default(), prepare: Arc::new(prepare) }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.door.endpoint
    }

    /// Asks what a host answers at once or not at all: one whose daemon is stopped must not hold up everything. Where the
    /// connection dies meanwhile, it is asked once more: Ctrl-C on a terminal ends the ssh under the connection, too.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&Connect) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, HostError> {
        self.ask_raw(question)?.map_err(|e| self.endpoint().error(&e))
    }

    /// Like [`Self::ask`], where what libvirt answers is to be told apart from a host that does not.
    pub(crate) fn ask_raw<T: Send + 'static>(
        &self,
        question: impl Fn(&Connect) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Result<T, Error>, HostError> {
        self.put(move |connection, _| question(connection))
    }

    /// Asks about one domain, like [`Self::ask_raw`].
    pub(crate) fn ask_domain<T: Send + 'static>(
        &self,
        uuid: &str,
        question: impl Fn(&Domain) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Result<T, Error>, HostError> {
        let uuid = uuid.to_owned();
        self.put(move |connection, domains| question(&domains.get(connection, &uuid)?))
    }

    fn put<T: Send + 'static>(
        &self,
        question: impl Fn(&Connect, &Domains) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Result<T, Error>, HostError> {
        let question = Arc::new(question);
        let mut repeats = true;
        loop {
            let (connection, domains) = self.current()?;
            let (asked, of) = (Arc::clone(&question), connection.clone());
            let left = Arc::new(Mutex::new(None::<Open>));
            let kept = Arc::clone(&left);
            let ask = move || {
                let answer = asked(&of, &domains);
                drop(kept);
                answer
            };
            match within(ANSWER_LIMIT, ask) {
                Some(Err(_)) if repeats && !connection.is_alive().unwrap_or(false) => repeats = false,
                Some(Err(error)) if error.domain().is(ErrorDomain::Rpc) => return Err(self.endpoint().error(&error)),
                Some(answer) => return Ok(answer),
                None => {
                    // Its thread waits on that connection, and would hold up every later question. It closes it when it has
                    // its answer: to end the subscription is a question, too, and where two threads wait on one connection
                    // libvirt before 10.4 is ended by a segmentation fault once data come (CVE-2024-4418; seen with 9.0
                    // where a link was cut and plugged in again).
                    *lock(&left) = self.leave(&connection);
                    return Err(self.endpoint().silent(HostErrorKind::NoAnswer, ANSWER_LIMIT));
                }
            }
        }
    }

    /// The connection at present, opened again if there is none that is alive.
    pub(crate) fn connection(&self) -> Result<Connect, HostError> {
        self.current().map(|(connection, _)| connection)
    }

    fn current(&self) -> Result<(Connect, Domains), HostError> {
        let asked = Instant::now();
        let mut current = lock(&self.current);
        if let Some(open) = current.as_ref().filter(|open| open.connection.is_alive().unwrap_or(false)) {
            return Ok((open.connection.clone(), open.domains.clone()));
        }
        if let Some(dead) = current.take() {
            dead.close();
        }
        let (connection, domains) = (self.door.open(asked)?, Domains::default());
        let (prepare, new) = (Arc::clone(&self.prepare), connection.clone());
        let subscription = within(ANSWER_LIMIT, move || prepare(&new))
            .ok_or_else(|| self.endpoint().silent(HostErrorKind::NoAnswer, ANSWER_LIMIT))?;
        let (shared, known) = (connection.clone(), domains.clone());
        *current = Some(Open { connection: shared, domains: known, _subscription: subscription });
        Ok((connection, domains))
    }

    /// Gives up a connection, unless another thread has replaced it already.
    fn leave(&self, connection: &Connect) -> Option<Open> {
        lock(&self.current).take_if(|open| ffi::is_same(&open.connection, connection))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(open) = lock(&self.current).take() {
            open.close();
        }
    }
}

/// Lines beside a host's own, each used by one thread at a time; those that are free again are used again.
pub(crate) struct Pool {
    door: Arc<Door>,
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    free: Vec<Line>,
    /// How many there are, those in use included.
    count: usize,
    /// How many there are to be, while a thread opens them.
    wanted: usize,
}

impl Pool {
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self { door, lines: Mutex::default(), changed: Condvar::new() }
    }

    /// A line that nobody else uses; it may have to be opened.
    pub(crate) fn take(&self) -> Line {
        let mut lines = lock(&self.lines);
        lines.free.pop().unwrap_or_else(|| {
            lines.count += 1;
            self.line()
        })
    }

    /// Waits for a line that is free; none if there is none when `is_over` says so. Whoever changes that calls
    /// [`Self::wake`].
    pub(crate) fn wait(&self, is_over: impl Fn() -> bool) -> Option<Line> {
        let lines = lock(&self.lines);
        let waiting = |lines: &mut Lines| lines.free.is_empty() && !is_over();
        self.changed.wait_while(lines, waiting).unwrap_or_else(PoisonError::into_inner).free.pop()
    }

    pub(crate) fn wake(&self) {
        let _lines = lock(&self.lines);
        self.changed.notify_all();
    }

    pub(crate) fn give_back(&self, line: Line) {
        lock(&self.lines).free.push(line);
        self.changed.notify_all();
    }

    /// Opens lines until there are `count`, while others go on. If the host takes no more connections there are fewer.
    pub(crate) fn open(self: &Arc<Self>, count: usize) {
        let mut lines = lock(&self.lines);
        let is_opening = lines.count < lines.wanted;
        lines.wanted = lines.wanted.max(count);
        if is_opening || lines.count >= lines.wanted {
            return;
        }
        let pool = Arc::clone(self);
        thread::spawn(move || {
            loop {
                let line = pool.line();
                let opened = line.connection().is_ok();
                let mut lines = lock(&pool.lines);
                if opened {
                    lines.count += 1;
                    lines.free.push(line);
                    pool.changed.notify_all();
                } else {
                    lines.wanted = 0;
                }
                if lines.count >= lines.wanted {
                    return;
                }
            }
        });
    }

    fn line(&self) -> Line {
        Line::new(Arc::clone(&self.door), |_| None)
    }

    /// Makes a long call on a connection that nobody else uses meanwhile.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&Connect) -> Result<T, HostError>) -> Result<T, HostError> {
        let line = self.take();
        let result = line.connection().and_then(|connection| call(&connection));
        self.give_back(line);
        result
    }
}

/// A poisoned lock means that a thread panicked between two assignments; what it guards is still whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// libvirt's own test driver, which needs no host.
    fn door() -> Arc<Door> {
        Door::new(Endpoint { name: "t".to_owned(), uri: "test:///default".to_owned(), shell: true })
    }

    #[test]
    fn ssh_is_told_to_ask_for_nothing_unless_the_uri_says_otherwise() {
        let unprompted =
            |uri: &str| Endpoint { name: "t".to_owned(), uri: uri.to_owned(), shell: true }.unprompted_uri();
        for (uri, expected) in [
            ("qemu+ssh://a/system", "qemu+ssh://a/system?no_tty=1"),
            ("qemu+ssh://a/system?", "qemu+ssh://a/system?no_tty=1"),
            ("qemu+ssh://a/system?command=/no_tty", "qemu+ssh://a/system?command=/no_tty&no_tty=1"),
        ] {
            assert_eq!(unprompted(uri), expected);
        }
        for uri in [
            "qemu+ssh://a/system?no_tty=0",
            "qemu+ssh://a/system?keyfile=/k;no_tty=1",
            "qemu+libssh2://a/system?sshauth=agent",
            "qemu+tls://a/system",
            "qemu:///system",
        ] {
            assert_eq!(unprompted(uri), uri);
        }
    }

    #[test]
    fn the_advice_names_the_host_as_ssh_takes_it() {
        assert_eq!(ssh_arguments("qemu+ssh://host-a/system"), "host-a");
        assert_eq!(ssh_arguments("qemu+ssh://root@host-a:2222/system?command=/x/y"), "-p 2222 root@host-a");
        assert_eq!(ssh_arguments("qemu+ssh://[fe80::1]/system"), "fe80::1");
        assert_eq!(ssh_arguments("qemu+ssh://[fe80::1]:22/system"), "-p 22 fe80::1");
    }

    #[test]
    fn many_who_wait_for_a_host_that_is_silent_wait_for_one_try() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let door =
            Door::new(Endpoint { name: "t".to_owned(), uri: format!("qemu+tcp://{address}/system"), shell: true });
        let asked = Instant::now();
        let refused = door.open(asked).err();
        assert!(refused.is_some() && lock(&door.opening).is_none(), "a refusal costs no time");
        let silence = door.endpoint.silent(HostErrorKind::NoConnection, OPEN_LIMIT);
        *lock(&door.opening) = Some((Instant::now(), silence.clone()));
        assert_eq!(door.open(asked).err(), Some(silence));
        assert_eq!(door.open(Instant::now()).err(), refused, "who asks later tries");
    }

    #[test]
    fn a_connection_that_another_thread_has_replaced_is_not_dropped_again() {
        let line = Line::new(door(), |_| None);
        let first = line.connection().unwrap();
        line.leave(&first);
        let second = line.connection().unwrap();
        assert!(!ffi::is_same(&first, &second));
        line.leave(&first);
        assert!(ffi::is_same(&line.connection().unwrap(), &second));
    }

    #[test]
    fn a_connection_that_was_left_is_no_longer_held_by_its_events() {
        let (sender, held) = mpsc::channel::<()>();
        let sender = Mutex::new(Some(sender));
        let line = Line::new(door(), move |connection| {
            let kept = Mutex::new(lock(&sender).take());
            ffi::on_job_completed(connection, move |_, _| drop(lock(&kept).take())).ok()
        });
        line.leave(&line.connection().unwrap());
        assert_eq!(held.recv_timeout(OPEN_LIMIT), Err(mpsc::RecvTimeoutError::Disconnected), "its handler is gone");
        line.connection().unwrap();
    }

    #[test]
    fn a_domain_is_found_that_came_after_the_list_and_missed_when_it_has_gone() {
        let line = Line::new(door(), |_| None);
        let uuid = "6695eb01-f6a4-8304-79aa-97f2502e1930";
        let name = || line.ask_domain(uuid, Domain::name).unwrap().map_err(|error| error.code());
        let none = Err(ErrorNumber::NoDomain.into());
        assert_eq!(name(), none);
        let xml = format!(
            "<domain type='test'><name>late</name><uuid>{uuid}</uuid><memory>1</memory><os><type>hvm</type></os></domain>"
        );
        let domain = line.connection().unwrap().define_domain_xml(&xml).unwrap();
        assert_eq!(name(), Ok("late".to_owned()));
        domain.undefine().unwrap();
        let state = line.ask_domain(uuid, ffi::state).unwrap();
        assert_eq!(state.map_err(|error| error.code()), none.map(|_: String| (0, 0)));
    }

    #[test]
    fn nobody_waits_for_a_connection_when_the_work_is_over() {
        // A host that lets a client in and says nothing more.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("qemu+tcp://{}/system", listener.local_addr().unwrap());
        let pool = Arc::new(Pool::new(Door::new(Endpoint { name: "t".to_owned(), uri, shell: true })));
        pool.open(1);
        let client = listener.accept().unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.wait(|| is_over.load(Ordering::Relaxed)).is_some());
            is_over.store(true, Ordering::Relaxed);
            pool.wake();
            assert!(!waiting.join().unwrap());
        });
        drop(client);
    }

    #[test]
    fn a_line_comes_back_while_another_is_being_opened() {
        // A host that lets a client in and says nothing more.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("qemu+tcp://{}/system", listener.local_addr().unwrap());
        let pool = Pool::new(Door::new(Endpoint { name: "t".to_owned(), uri, shell: true }));
        let line = pool.take();
        thread::scope(|scope| {
            let call = scope.spawn(|| pool.call(|_| Ok(())));
            let client = listener.accept().unwrap();
            let is_free = pool.lines.try_lock().is_ok();
            drop(client);
            assert!(call.join().unwrap().is_err());
            assert!(is_free);
        });
        pool.give_back(line);
        assert_eq!(lock(&pool.lines).free.len(), 2);
    }
}
