//! Commands of the user's that run before and after each domain, and before and after the whole run.
//!
//! A hook before something can stop it; one after it always runs, and its failure is told and changes nothing. A hook
//! runs in a process group of its own, so that Ctrl-C does not reach it and its end ends all that it started: a time
//! limit, or an interrupt. The first interrupt ends what runs before something, the second what runs after it.
//! What it prints is shown where it fails: its last line.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::domain::Technique;
use crate::engine::events::{Event, Notice, Timed};
use crate::failure::{HookFailure, HookProblem};
use crate::libvirt::Endpoint;
use crate::report::{DomainReport, Outcome};

/// How long a hook may take if the configuration does not say.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a hook that was killed is waited for.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Time between two looks at a hook that runs.
const LOOK: Duration = Duration::from_millis(20);
/// The most that is read of what a hook printed, from its end, in bytes.
const TAIL: i64 = 4096;

type Variables = Vec<(&'static str, String)>;

#[derive(Debug)]
pub struct Hooks {
    /// By name: a program and its arguments.
    commands: BTreeMap<&'static str, Vec<String>>,
    limit: Duration,
    about_run: Variables,
    /// The UUIDs of the domains that a hook has been run before: one that a busy destination turned away is launched
    /// again, and not prepared again.
    begun: Mutex<HashSet<String>>,
    interrupts: AtomicUsize,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            commands: BTreeMap::new(),
            limit: LIMIT,
            about_run: Vec::new(),
            begun: Mutex::default(),
            interrupts: AtomicUsize::new(0),
        }
    }
}

impl Hooks {
    /// The hooks of a run between two hosts: `commands` by their names, such as `before-run`, each a program and its
    /// arguments, and how long each may take.
    pub fn new(
        commands: BTreeMap<&'static str, Vec<String>>,
        limit: Option<Duration>,
        source: &Endpoint,
        destination: &Endpoint,
    ) -> Self {
        let about_run = vec![
            ("TSMIG_SOURCE", source.name.clone()),
            ("TSMIG_SOURCE_URI", source.uri.clone()),
            ("TSMIG_DESTINATION", destination.name.clone()),
            ("TSMIG_DESTINATION_URI", destination.uri.clone()),
        ];
        Self { commands, limit: limit.unwrap_or(LIMIT), about_run, ..Self::default() }
    }

    /// Each hook and its command, for a person.
    pub fn list(&self) -> impl Iterator<Item = String> {
        self.commands.iter().map(|(name, command)| format!("{name}: {}", command.join(" ")))
    }

    pub fn before_run(&self) -> Result<(), HookFailure> {
        self.run("before-run", Vec::new(), 1)
    }

    /// Runs the hook after the run. `report` is the file with its report.
    pub fn after_run(&self, outcome: Outcome, report: Option<&Path>) -> Result<(), HookFailure> {
        let mut about = vec![("TSMIG_OUTCOME", outcome.to_string())];
        about.extend(report.map(|path| ("TSMIG_REPORT", path.display().to_string())));
        // Those before it were meant for the run.
        self.run("after-run", about, self.interrupts.load(Ordering::Relaxed) + 2)
    }

    /// Runs the hook before a domain's migration, once.
    pub(crate) fn before_domain(&self, domain: &str, uuid: &str, technique: Technique) -> Result<(), HookFailure> {
        if !self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(uuid.to_owned()) {
            return Ok(());
        }
        self.run("before-domain", about_domain(domain, uuid, Some(technique)), 1)
    }

    /// Runs the hook after a domain's migration; what is to be told if it fails.
    fn after_domain(&self, report: &DomainReport) -> Option<Notice> {
        let mut about = about_domain(&report.domain, &report.uuid, report.technique);
        about.push(("TSMIG_OUTCOME", report.outcome.to_string()));
        about.extend(report.error().map(|error| ("TSMIG_ERROR", error)));
        let failure = self.run("after-domain", about, 2).err();
        failure.map(|failure| Notice::HookFailed { domain: report.domain.clone(), failure })
    }

    /// The user wants the run to end.
    pub fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::Relaxed);
    }

    pub fn are_interrupted(&self) -> bool {
        self.interrupts.load(Ordering::Relaxed) > 0
    }

    /// Runs a hook to its end, or until there are `last` interrupts.
    fn run(&self, name: &'static str, about: Variables, last: usize) -> Result<(), HookFailure> {
        let Some([program, arguments @ ..]) = self.commands.get(name).map(Vec::as_slice) else { return Ok(()) };
        let is_interrupted = || self.interrupts.load(Ordering::Relaxed) >= last;
        let failed = |problem, output| {
            let (hook, program) = (name.to_owned(), program.clone());
            Err(HookFailure { hook, program, problem, output })
        };
        if is_interrupted() {
            return failed(HookProblem::NotBegun, None);
        }
        let mut command = Command::new(program);
        command.args(arguments).env("TSMIG_HOOK", name).envs(self.about_run.clone()).envs(about);
        match run_within(command, self.limit, is_interrupted) {
            Ok((Ok(status), _)) if status.success() => Ok(()),
            Ok((Ok(status), output)) => failed(HookProblem::Ended { status: status.to_string() }, output),
            Ok((Err(cut), output)) => failed(cut, output),
            Err(error) => failed(HookProblem::System { error: error.to_string() }, None),
        }
    }
}

fn about_domain(domain: &str, uuid: &str, technique: Option<Technique>) -> Variables {
    let mut about = vec![("TSMIG_DOMAIN", domain.to_owned()), ("TSMIG_UUID", uuid.to_owned())];
    about.extend(technique.map(|technique| ("TSMIG_TECHNIQUE", technique.to_string())));
    about
}

/// Runs a command to its end, unless it is cut short with all that it started. With the last line that it printed.
fn run_within(
    mut command: Command,
    limit: Duration,
    is_interrupted: impl Fn() -> bool,
) -> io::Result<(Result<ExitStatus, HookProblem>, Option<String>)> {
    // No pipe, which something that the hook leaves running would keep open.
    let output = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    let mut child = command.process_group(0).spawn()?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((Ok(status), last_line(output)));
        }
        let late = || HookProblem::TimedOut { limit_seconds: limit.as_secs_f64() };
        let cut = if is_interrupted() { Some(HookProblem::Interrupted) } else { (start.elapsed() >= limit).then(late) };
        if let Some(cut) = cut {
            let group = i32::try_from(child.id()).map_err(io::Error::other)?;
            // Where it has just ended there is nobody to kill.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            // One that runs as another user, by sudo say, can't be killed, and one that waits for a disk does not end.
            let killed = Instant::now();
            while child.try_wait()?.is_none() && killed.elapsed() < KILL_LIMIT {
                thread::sleep(LOOK);
            }
            return Ok((Err(cut), last_line(output)));
        }
        thread::sleep(LOOK);
    }
}

fn last_line(mut output: File) -> Option<String> {
    let mut bytes = Vec::new();
    let read = output
        .seek(SeekFrom::End(0))
        .and_then(|end| output.seek(SeekFrom::Start(end.saturating_sub(TAIL.unsigned_abs()))))
        .and_then(|_| output.read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty() && read.is_ok());
    last.map(str::to_owned)
}

/// Runs the hooks after the domains, beside the evacuation, and tells of those that fail.
pub struct AfterDomains<'a> {
    hooks: &'a Hooks,
    running: usize,
    sender: Sender<Option<Notice>>,
    ended: Receiver<Option<Notice>>,
}

impl<'a> AfterDomains<'a> {
    pub fn new(hooks: &'a Hooks) -> Self {
        let (sender, ended) = mpsc::channel();
        Self { hooks, running: 0, sender, ended }
    }

    /// Hears an event and passes it on to `tell`, after what there is to tell of hooks. Before the report, which is the
    /// last event, it waits for those that still run.
    pub fn hear<'s>(&mut self, scope: &'s thread::Scope<'s, 'a>, timed: &Timed, tell: &mut dyn FnMut(&Timed)) {
        let wanted = self.hooks.commands.contains_key("after-domain");
        if let (Event::Done(report), true) = (&timed.event, wanted) {
            let (hooks, report, sender) = (self.hooks, report.clone(), self.sender.clone());
            self.running += 1;
            // The other end is there until all have ended.
            scope.spawn(move || drop(sender.send(hooks.after_domain(&report))));
        }
        let waits = matches!(timed.event, Event::Report(_));
        while self.running > 0 {
            let ended = if waits { self.ended.recv().ok() } else { self.ended.try_recv().ok() };
            let Some(told) = ended else { break };
            self.running -= 1;
            if let Some(notice) = told {
                tell(&Timed { elapsed_seconds: timed.elapsed_seconds, event: Event::Notice(notice) });
            }
        }
        tell(timed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use tempfile::NamedTempFile;

    use super::*;

    fn shell(name: &'static str, script: &str) -> Hooks {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Hooks { commands: [(name, command)].into(), limit: Duration::from_secs(20), ..Hooks::default() }
    }

    #[test]
    fn a_hook_is_told_what_it_is_about() {
        let script = "echo \"$TSMIG_HOOK $TSMIG_DOMAIN $TSMIG_UUID $TSMIG_TECHNIQUE\"; exit 3";
        let problem =
            shell("before-domain", script).before_domain("web-1", "u1", Technique::PostCopy).unwrap_err().to_string();
        assert_eq!(problem, "the before-domain hook /bin/sh failed: exit status: 3: before-domain web-1 u1 post-copy");
    }

    #[test]
    fn one_that_takes_too_long_is_killed_with_all_that_it_started() {
        let file = NamedTempFile::new().unwrap();
        let script = format!("sleep 1000 & echo $! > {}; echo waiting; wait", file.path().display());
        let hooks = Hooks { limit: Duration::from_millis(500), ..shell("before-run", &script) };
        let problem = hooks.before_run().unwrap_err().to_string();
        assert!(problem.ends_with("it took more than 500ms and was killed: waiting"), "{problem}");
        let sleeper = fs::read_to_string(&file).unwrap();
        await_end(sleeper.trim().parse().unwrap());
    }

    /// Waits until another program's process has ended.
    fn await_end(pid: i32) {
        let start = Instant::now();
        loop {
            // Until somebody collects it, one that is dead is a zombie.
            let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if status.is_empty() || status.contains(") Z ") {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "it runs on: {status}");
            thread::sleep(LOOK);
        }
    }

    /// Runs a hook that would take long, and returns what it started.
    fn slow(hooks: &Arc<Hooks>, run: fn(&Hooks) -> Result<(), HookFailure>) -> (thread::JoinHandle<String>, i32) {
        let hooks = Arc::clone(hooks);
        let path = hooks.commands.values().next().unwrap()[4].clone();
        fs::write(&path, "").unwrap();
        let hook = thread::spawn(move || run(&hooks).unwrap_err().to_string());
        loop {
            if let Some(text) = fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n')) {
                return (hook, text.trim().parse().unwrap());
            }
            thread::sleep(LOOK);
        }
    }

    #[test]
    fn an_interrupt_ends_what_runs_before_and_the_second_what_runs_after() {
        let file = NamedTempFile::new().unwrap();
        let command = ["/bin/sh", "-c", "sleep 1000 & echo $! > $1; wait", "sh", &file.path().to_string_lossy()];
        let command = command.map(str::to_owned).to_vec();
        let commands = [("before-run", command.clone()), ("after-run", command)].into();
        let hooks = Arc::new(Hooks { commands, ..Hooks::default() });
        let (before, child) = slow(&hooks, Hooks::before_run);
        hooks.interrupt();
        let problem = before.join().unwrap();
        assert!(problem.ends_with("it was interrupted and killed"), "{problem}");
        await_end(child);
        assert!(hooks.before_run().unwrap_err().to_string().starts_with("interrupted before"), "none begins any more");

        let (after, child) = slow(&hooks, |hooks| hooks.after_run(Outcome::Evacuated, None));
        hooks.interrupt();
        thread::sleep(LOOK * 3);
        assert!(!after.is_finished(), "the first one is for the run");
        hooks.interrupt();
        let problem = after.join().unwrap();
        assert!(problem.ends_with("it was interrupted and killed"), "{problem}");
        await_end(child);
    }

    #[test]
    fn what_a_hook_leaves_running_does_not_hold_up_the_run() {
        let hooks = shell("before-run", "sleep 30 & echo $! >&2; exit 1");
        let problem = hooks.before_run().unwrap_err().to_string();
        let sleeper: i32 = problem.rsplit(' ').next().unwrap().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(sleeper), Signal::SIGKILL).unwrap();
        assert!(problem.contains("exit status: 1"), "{problem}");
    }

    #[test]
    fn a_domain_is_prepared_once() {
        let hooks = shell("before-domain", "exit 1");
        assert!(hooks.before_domain("web-1", "u1", Technique::PreCopy).is_err());
        assert!(hooks.before_domain("web-1", "u1", Technique::PreCopy).is_ok(), "it was run already");
    }
}
