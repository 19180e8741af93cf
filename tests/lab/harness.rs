//! The labs that the tests share, and what each test does with one: run tsmig in the client, look at both hosts.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Condvar, LazyLock, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tsmig_lab::{GuestSpec, Lab, LabSpec, MigrationNetwork, Node, Pulse, Rate, Release};

use crate::schema::Schema;

/// A test on a lab with no guests.
pub type Test = fn(&Lab) -> Result<()>;

/// Labs to take and give back.
pub struct Pool {
    idle: Mutex<Vec<Slot>>,
    given_back: Condvar,
    /// Held by each test that runs beside others, and by one that runs alone.
    quiet: RwLock<()>,
}

struct Slot {
    name: String,
    lab: Option<Lab>,
}

impl Pool {
    pub fn new(labs: usize) -> Self {
        // Runs side by side need labs of their own.
        let prefix = std::env::var("TSMIG_TEST_LABS").unwrap_or_else(|_| "test".to_owned());
        let slot = |number| Slot { name: format!("{prefix}-{number}"), lab: None };
        Self { idle: Mutex::new((1..=labs).map(slot).collect()), given_back: Condvar::new(), quiet: RwLock::default() }
    }

    /// Runs a test on a free lab, `alone` or beside others; whatever it leaves is removed, or the lab with it.
    pub fn run(&self, test: Test, alone: bool) -> Result<()> {
        let _beside = (!alone).then(|| self.quiet.read().unwrap_or_else(PoisonError::into_inner));
        let _alone = alone.then(|| self.quiet.write().unwrap_or_else(PoisonError::into_inner));
        let slot = {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let mut idle = self.given_back.wait_while(idle, |idle| idle.is_empty()).unwrap();
            idle.pop().unwrap()
        };
        let mut borrowed = Borrowed { pool: self, slot: Some(slot) };
        test(borrowed.lab()?)
    }

    /// Takes all labs down.
    pub fn down(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A lab on loan; it goes back also when the test panics.
struct Borrowed<'a> {
    pool: &'a Pool,
    slot: Option<Slot>,
}

impl Borrowed<'_> {
    fn lab(&mut self) -> Result<&Lab> {
        let slot = self.slot.as_mut().context("the lab was given back")?;
        if slot.lab.is_none() {
            slot.lab = Some(up(&LabSpec::named(&slot.name))?);
        }
        slot.lab.as_ref().context("the lab is up")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let Some(mut slot) = self.slot.take() else { return };
        // What a test left open on purpose is none of the next one's business.
        let clean = |lab: &Lab| {
            lab.remove_all_guests()?;
            lab.run(Node::Client, &["sh", "-c", "rm -rf \"$XDG_STATE_HOME\"/tsmig"])
        };
        if slot.lab.as_ref().is_some_and(|lab| clean(lab).is_err()) {
            slot.lab = None;
        }
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        self.pool.given_back.notify_one();
    }
}

/// A lab beside this one, whose hosts run these releases.
pub fn hosts_of(lab: &Lab, release_a: Release, release_b: Release) -> Result<Lab> {
    let named = LabSpec::named(&format!("{}-{release_a}-{release_b}", lab.spec().name));
    up(&LabSpec { release_a, release_b, ..named })
}

/// A lab beside this one, whose hosts have networks of libvirt's own and one for migrations.
pub fn with_networks(lab: &Lab, migration: MigrationNetwork) -> Result<Lab> {
    let named = LabSpec::named(&format!("{}-networks", lab.spec().name));
    up(&LabSpec { migration: Some(migration), inner_networks: true, ..named })
}

/// A lab in which post-copies need no proof, unless a test wants it: `--trust-destination=false`.
fn up(spec: &LabSpec) -> Result<Lab> {
    let lab = Lab::up(spec)?;
    let trust = "printf '[defaults]\\ntrust-destination = true\\n' >> \"$XDG_CONFIG_HOME\"/tsmig/config.toml";
    lab.run(Node::Client, &["sh", "-c", trust])?;
    Ok(lab)
}

/// The window is short because the guests' traffic is steady.
const OPTIONS: [&str; 2] = ["--window", "2s"];

/// `tsmig` in the client, which has the lab's link in its configuration.
pub fn tsmig(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = lab.command(Node::Client, env!("CARGO_BIN_EXE_tsmig"));
    command.args(arguments);
    if arguments.first() != Some(&"recover") && !arguments.contains(&"--window") {
        command.args(OPTIONS);
    }
    command
}

/// What tsmig printed and returned.
#[derive(Debug)]
pub struct Run {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(output: Output) -> Result<Self> {
        Ok(Self {
            status: output.status.code().context("tsmig was killed")?,
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// The report, the last line of `--output json`, of a run in which nobody arrived in distress.
    pub fn report(&self) -> Result<Value> {
        let last = self.events()?.pop().with_context(|| format!("no report; {}", self.stderr))?;
        ensure!(last["event"] == "report" && last["schema"] == "tsmig.report/2", "not a report: {last}");
        let mut domains = last["domains"].as_array().into_iter().flatten();
        ensure!(domains.all(|domain| domain["notice"]["kind"] != "in-distress"), "a false alarm: {last}");
        Ok(last)
    }

    /// Fails unless the exit status is that, and the report says so of this domain.
    pub fn expect(&self, status: i32, domain: &str, outcome: &str) -> Result<String> {
        let report = self.report()?;
        ensure!(self.status == status, "status {}, not {status}: {report}", self.status);
        let domains = report["domains"].as_array().context("domains")?;
        let found = domains.iter().find(|found| found["domain"] == domain).context("every domain is reported")?;
        ensure!(found["outcome"] == outcome, "{found}");
        Ok(found["error"].as_str().unwrap_or_default().to_owned())
    }

    /// The notices among the events.
    pub fn notices(&self) -> Result<Vec<String>> {
        let events = self.events()?.into_iter().filter(|event| event["event"] == "notice");
        Ok(events.filter_map(|event| Some(event["message"].as_str()?.to_owned())).collect())
    }

    /// Seconds from the last byte of a domain that crossed to the first event with these members after that.
    pub fn silence_before(&self, domain: &str, members: &[(&str, &str)]) -> Result<f64> {
        let (mut bytes, mut last) = (0, None);
        for event in self.events()? {
            let at = event["elapsed_seconds"].as_f64().context("every event has its time")?;
            let sent = event["transferred_bytes"].as_u64().filter(|_| event["domain"] == domain).unwrap_or(0);
            if sent > bytes {
                (bytes, last) = (sent, Some(at));
            }
            if let Some(last) = last.filter(|_| members.iter().all(|(key, value)| event[key] == *value)) {
                return Ok(at - last);
            }
        }
        bail!("there was no {members:?} after bytes of {domain} in {}", self.stdout);
    }

    /// All events of `--output json`, as they are published.
    pub fn events(&self) -> Result<Vec<Value>> {
        self.stdout.lines().map(event).collect()
    }

    /// The plan of `--output json`, as it is published.
    pub fn plan(&self) -> Result<Value> {
        as_published(&Schema::strict("plan.json"), &self.stdout)
    }
}

/// What tsmig saved in a file, as it is published in this schema.
pub fn saved(file: &Path, schema: &str) -> Result<Value> {
    as_published(&Schema::strict(schema), &std::fs::read_to_string(file)?)
}

fn event(line: &str) -> Result<Value> {
    static EVENTS: LazyLock<Schema> = LazyLock::new(|| Schema::strict("events.json"));
    as_published(&EVENTS, line)
}

fn as_published(schema: &Schema, text: &str) -> Result<Value> {
    let value = serde_json::from_str(text)?;
    let errors = schema.errors(&value);
    ensure!(errors.is_empty(), "not as it is published: {errors}{text}");
    Ok(value)
}

/// Runs tsmig to its end.
pub fn run(lab: &Lab, arguments: &[&str]) -> Result<Run> {
    let child = tsmig(lab, arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let _patience = Patience::with(&child)?;
    Run::of(child.wait_with_output()?)
}

/// Kills a tsmig that does not end: its test fails then with what it printed, which all the others would else wait for.
struct Patience(#[expect(dead_code, reason = "it is over when this is dropped")] Sender<()>);

impl Patience {
    /// Longer than tsmig waits for anything by itself.
    const LIMIT: Duration = Duration::from_secs(30 * 60);

    fn with(child: &Child) -> Result<Self> {
        let pid = Pid::from_raw(child.id().try_into()?);
        let (patience, over) = mpsc::channel();
        thread::spawn(move || {
            if over.recv_timeout(Self::LIMIT) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        Ok(Self(patience))
    }
}

/// A tsmig that runs, with its events.
pub struct Running {
    _patience: Patience,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: String,
}

/// Starts `tsmig ... --output json`.
pub fn start(lab: &Lab, arguments: &[&str]) -> Result<Running> {
    let mut command = tsmig(lab, arguments);
    let mut child = command.args(["--output", "json"]).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let lines = BufReader::new(child.stdout.take().context("piped")?).lines();
    Ok(Running { _patience: Patience::with(&child)?, child, lines, seen: String::new() })
}

impl Running {
    /// Waits for an event with these members; fails where the run ends before.
    pub fn wait_for(&mut self, members: &[(&str, &str)]) -> Result<Value> {
        for line in &mut self.lines {
            let line = line?;
            self.seen += &format!("{line}\n");
            let event = event(&line)?;
            if members.iter().all(|(key, value)| event[key] == *value) {
                return Ok(event);
            }
        }
        bail!("there was no {members:?} in {}", self.seen);
    }

    /// Waits until a domain's migration is in a phase.
    pub fn wait_for_phase(&mut self, domain: &str, phase: &str) -> Result<()> {
        self.wait_for(&[("event", "phase"), ("domain", domain), ("phase", phase)])?;
        Ok(())
    }

    /// Waits until memory of a domain crosses.
    pub fn wait_for_progress(&mut self, domain: &str) -> Result<()> {
        loop {
            let progress = self.wait_for(&[("event", "progress"), ("domain", domain)])?;
            if progress["transferred_bytes"].as_u64() > Some(0) {
                return Ok(());
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().try_into()?), signal)?)
    }

    /// Sends SIGKILL and collects it.
    pub fn kill(mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub fn end(mut self) -> Result<Run> {
        for line in self.lines {
            self.seen += &format!("{}\n", line?);
        }
        let status = self.child.wait()?;
        let status = status.code().with_context(|| format!("tsmig was killed ({status}) after {}", self.seen))?;
        Ok(Run { status, stdout: self.seen, stderr: String::new() })
    }
}

/// Guests with their heartbeats before a migration.
pub struct Guests {
    guests: Vec<(GuestSpec, Pulse)>,
}

impl Guests {
    /// Boots guests and waits for their heartbeats and traffic.
    pub fn boot(lab: &Lab, guests: Vec<GuestSpec>) -> Result<Self> {
        lab.add_guests(&guests)?;
        let with_pulse = |guest: GuestSpec| {
            let pulse = lab.pulse(&guest.name)?;
            Ok((guest, pulse))
        };
        Ok(Self { guests: guests.into_iter().map(with_pulse).collect::<Result<_>>()? })
    }

    /// The others, where one was removed on purpose.
    pub fn forget(mut self, name: &str) -> Self {
        self.guests.retain(|(guest, _)| guest.name != name);
        self
    }

    /// All have lived on, without a reboot or a gap, and their traffic runs.
    pub fn assert_alive(&self, lab: &Lab) -> Result<()> {
        let alive = |(guest, before): &(GuestSpec, Pulse)| {
            lab.assert_unbroken(&guest.name, before)?;
            lab.wait_for_flow(guest, std::time::Duration::from_secs(20))
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = self.guests.iter().map(|guest| scope.spawn(move || alive(guest))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })
    }
}

/// A guest without traffic, of which less crosses than of one whose migration has to last.
pub fn idle(name: &str) -> GuestSpec {
    GuestSpec::new(name).light()
}

/// A guest that sends at the lab's usual rate.
pub fn sender(name: &str) -> GuestSpec {
    idle(name).send(Rate::mbit(30))
}

/// A guest that receives at the lab's usual rate.
pub fn receiver(name: &str) -> GuestSpec {
    idle(name).receive(Rate::mbit(30))
}

/// The domain's state is that on each host; `None` is absence.
pub fn assert_states(lab: &Lab, guest: &str, host_a: Option<&str>, host_b: Option<&str>) -> Result<()> {
    for (host, wanted) in [(Node::HostA, host_a), (Node::HostB, host_b)] {
        let state = lab.state(host, guest)?;
        let fits = match (&state, wanted) {
            (None, None) => true,
            (Some(state), Some(wanted)) => state.starts_with(wanted),
            _ => false,
        };
        ensure!(fits, "{guest} on {host}: {state:?}, not {wanted:?}");
    }
    Ok(())
}

/// It ended before anything moved, with g1 at host-a, and said why.
pub fn assert_refused(lab: &Lab, guests: &Guests, run: &Run, words: &[&str]) -> Result<()> {
    ensure!(run.status == 1, "{} {}", run.stdout, run.stderr);
    for word in words {
        ensure!(run.stderr.contains(word), "{word:?} is not in {}", run.stderr);
    }
    assert_states(lab, "g1", Some("running"), None)?;
    guests.assert_alive(lab)
}

/// One line of `virsh dominfo`, such as `Persistent`.
pub fn info(lab: &Lab, host: Node, guest: &str, key: &str) -> Result<String> {
    let info = lab.run(host, &["virsh", "dominfo", guest])?;
    let line = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("no {key} in {info}"))?.trim().to_owned())
}
