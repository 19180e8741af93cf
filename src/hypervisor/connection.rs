//! Connections to libvirt: opened with a time limit, kept alive, shared among few, opened again when they die.
//!
//! A migration is one libvirt request for as long as it lasts, so each takes a connection of its own from a [`Pool`],
//! and everything else goes over a [`Line`].
//!
//! Sharing one among migrations would be in libvirtd's limits (five requests a client), but costs time: a request that
//! one thread makes while another waits on the same connection was sent at the next keepalive only, up to 5 s later,
//! in 5 of 8 migrations (libvirt 9.0's client library; with a connection each in none of 32). For the same reason a
//! [`Line`] leaves a connection on which a question is still waiting when its time is up.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use virt::connect::Connect;
use virt::error::{Error, ErrorDomain, ErrorNumber};

use super::{HostError, HostErrorKind};

/// How long a host may take to answer `open`, the ssh login included.
const OPEN_LIMIT: Duration = Duration::from_secs(20);

/// How long a host may take to answer a question that costs it nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Keepalive: a connection is dead after this many seconds times [`KEEPALIVE_COUNT`] without an answer.
const KEEPALIVE_SECONDS: i32 = 5;
const KEEPALIVE_COUNT: u32 = 4;

/// A host's name as the user wrote it, and the libvirt URI that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As the user wrote it.
    pub name: String,
    /// The libvirt URI.
    pub uri: String,
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
        HostError { host: self.name.clone(), kind, message: format!("{}{advice}", error.message().trim_end()) }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// libvirt's error, or that the host did not answer within [`OPEN_LIMIT`].
    pub(crate) fn open(&self) -> Result<Connect, HostError> {
        start_event_loop();
        let uri = self.uri.clone();
        let connection = within(OPEN_LIMIT, move || Connect::open(Some(&uri)))
            .ok_or_else(|| self.silent(HostErrorKind::NoConnection, OPEN_LIMIT))?
            .map_err(|e| self.error(&e))?;
        // Local drivers have no keepalive and need none.
        let _ = connection.set_keep_alive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT);
        Ok(connection)
    }

    fn silent(&self, kind: HostErrorKind, limit: Duration) -> HostError {
        let message = format!("no answer from {} within {} s; is its libvirt stopped?", self.uri, limit.as_secs());
        HostError { host: self.name.clone(), kind, message }
    }
}

/// The result of a call to libvirt that can't be interrupted; `None` where it took longer than `limit`. Then its thread
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

/// What is done to each new connection of a [`Line`].
type Prepare = Box<dyn Fn(&Connect) + Send + Sync>;

/// One connection for short calls, opened again when it has died, or has left a question unanswered.
pub(crate) struct Line {
    pub(crate) endpoint: Endpoint,
    current: Mutex<Option<Connect>>,
    prepare: Prepare,
}

impl Line {
    /// Opens the line; `prepare` is called with this and each later connection.
    pub(crate) fn open(
        endpoint: Endpoint,
        prepare: impl Fn(&Connect) + Send + Sync + 'static,
    ) -> Result<Self, HostError> {
        let connection = endpoint.open()?;
        prepare(&connection);
        Ok(Self { endpoint, current: Mutex::new(Some(connection)), prepare: Box::new(prepare) })
    }

    /// Asks what a host answers at once or not at all: one whose daemon is stopped must not hold up everything. Where the
    /// connection dies meanwhile, it is asked once more: Ctrl-C on a terminal ends the ssh under the connection, too.
    ///
    /// # Errors
    /// libvirt's error, or that there was no answer within [`ANSWER_LIMIT`].
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&Connect) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, HostError> {
        self.ask_raw(question)?.map_err(|e| self.endpoint.error(&e))
    }

    /// Like [`Self::ask`], where what libvirt answers is to be told apart from a host that does not.
    pub(crate) fn ask_raw<T: Send + 'static>(
        &self,
        question: impl Fn(&Connect) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Result<T, Error>, HostError> {
        let question = Arc::new(question);
        let mut repeats = true;
        loop {
            let connection = self.connection()?;
            let (asked, of) = (Arc::clone(&question), connection.clone());
            match within(ANSWER_LIMIT, move || asked(&of)) {
                Some(Err(_)) if repeats && !connection.is_alive().unwrap_or(false) => repeats = false,
                Some(Err(error)) if error.domain().is(ErrorDomain::Rpc) => return Err(self.endpoint.error(&error)),
                Some(answer) => return Ok(answer),
                None => {
                    // Its thread waits on that connection, and would hold up every later question.
                    *lock(&self.current) = None;
                    return Err(self.endpoint.silent(HostErrorKind::NoAnswer, ANSWER_LIMIT));
                }
            }
        }
    }

    /// The connection at present, opened again where there is none that is alive.
    pub(crate) fn connection(&self) -> Result<Connect, HostError> {
        let mut current = lock(&self.current);
        if let Some(connection) = current.as_ref().filter(|connection| connection.is_alive().unwrap_or(false)) {
            return Ok(connection.clone());
        }
        let new = self.endpoint.open()?;
        (self.prepare)(&new);
        *current = Some(new.clone());
        Ok(new)
    }
}

/// Connections that carry migrations, one each; those that are free again are used again.
pub(crate) struct Pool {
    endpoint: Endpoint,
    free: Mutex<Vec<Connect>>,
}

impl Pool {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, free: Mutex::default() }
    }

    /// Runs a long call on a connection that nobody else uses meanwhile. It is opened under the lock: many ssh logins
    /// at the same instant are what sshd throttles.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&Connect) -> Result<T, HostError>) -> Result<T, HostError> {
        let connection = {
            let mut free = lock(&self.free);
            free.retain(|connection| connection.is_alive().unwrap_or(false));
            match free.pop() {
                Some(connection) => connection,
                None => self.endpoint.open()?,
            }
        };
        let result = call(&connection);
        lock(&self.free).push(connection);
        result
    }
}

/// A poisoned lock means that a thread panicked between two assignments; what it guards is still whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
