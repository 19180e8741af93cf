//! One shell at a host, which stays logged in: a log-in takes longer than what is asked.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::connection::{ANSWER_LIMIT, lock};

/// The last line of an answer. A log-in that runs something else than what it is told (`command=` in authorized_keys) does not
/// say it.
const END: &str = "tsmig: end of answer";

/// The line before it, if the script came to its end.
const WHOLE: &str = "tsmig: whole answer";

/// A shell that takes one script at a time.
#[derive(Default)]
pub(super) struct Session(Mutex<State>);

#[derive(Default)]
struct State {
    shell: Option<Running>,
    /// No log-in leads to a shell.
    mute: bool,
}

/// Pauses before log-ins: a busy sshd drops them.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2)];

impl Session {
    /// What the shell prints of a script, if it comes to its end in time. The command is what logs in.
    pub(super) fn ask(&self, login: impl Fn() -> Command, script: &str) -> Option<String> {
        let mut state = lock(&self.0);
        if let Some(shell) = state.shell.take() {
            // One that has ended meanwhile, or whose connection a firewall has forgotten, is replaced.
            if let Ok(said) = shell.ask(script) {
                state.shell = Some(shell);
                return said;
            }
        }
        for pause in PAUSES.into_iter().filter(|_| !state.mute) {
            thread::sleep(pause);
            match Running::begin(login()) {
                Ok(shell) => {
                    let said = shell.ask(script).ok()?;
                    state.shell = Some(shell);
                    return said;
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {}
            }
        }
        state.mute = true;
        None
    }
}

/// A shell that runs. It ends, with all that it started, when this is dropped.
struct Running {
    child: Child,
    input: Sender<String>,
    output: Receiver<Vec<u8>>,
}

impl Running {
    /// Logs in, and waits until the shell answers. The error tells whether it does not in time, or has ended.
    fn begin(command: Command) -> Result<Self, RecvTimeoutError> {
        let shell = Self::start(command).ok_or(RecvTimeoutError::Disconnected)?;
        shell.ask("")?;
        Ok(shell)
    }

    fn start(mut command: Command) -> Option<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Its own group: it ends with what it started, such as a ProxyCommand, and Ctrl-C is not meant for it.
        let mut child = command.process_group(0).spawn().ok()?;
        let (mut stdin, mut stdout) = (child.stdin.take()?, child.stdout.take()?);
        let ((input, scripts), (said, output)) = (mpsc::channel::<String>(), mpsc::channel());
        // A shell that reads nothing must hold up nobody.
        thread::spawn(move || scripts.iter().try_for_each(|script| stdin.write_all(script.as_bytes())));
        thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(read @ 1..) = stdout.read(&mut bytes) {
                if said.send(bytes[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Some(Self { child, input, output })
    }

    /// What a script prints; `None` if it ended before its end. The error tells whether there is no answer in time, or no
    /// shell any more.
    fn ask(&self, script: &str) -> Result<Option<String>, RecvTimeoutError> {
        // A shell reads the whole of a group before it runs any of it, nothing in the group reads the script, and nothing that
        // it sets outlasts it.
        let script = format!("(\n{script}\necho '{WHOLE}'\n) </dev/null\necho '{END}'\n");
        let deadline = Instant::now() + ANSWER_LIMIT;
        self.input.send(script).map_err(|_| RecvTimeoutError::Disconnected)?;
        let (mut said, end) = (Vec::new(), format!("{END}\n"));
        while !said.ends_with(end.as_bytes()) {
            said.extend(self.output.recv_timeout(deadline.saturating_duration_since(Instant::now()))?);
        }
        let said = String::from_utf8_lossy(&said);
        Ok(said.strip_suffix(&end).and_then(|said| said.strip_suffix(&format!("{WHOLE}\n"))).map(str::to_owned))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // There may be nobody to kill.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_a_whole_answer_counts() {
        let session = Session::default();
        let ask = |script| session.ask(|| Command::new("sh"), script);
        assert_eq!(ask("echo 1; cat; echo 2"), Some("1\n2\n".to_owned()), "the script is no input of its commands");
        assert_eq!(ask("echo 1; exit 0"), None);
        assert_eq!(ask("syntax ("), None);
        let session = Session::default();
        assert_eq!(session.ask(|| Command::new("true"), "echo 1"), None, "a log-in that runs something else");
        assert_eq!(session.ask(|| Command::new("sh"), "echo 1"), None, "and is not tried again");
    }

    #[test]
    fn one_log_in_is_enough_until_its_shell_ends() {
        let (session, begun) = (Session::default(), AtomicUsize::new(0));
        let login = || {
            begun.fetch_add(1, Ordering::Relaxed);
            Command::new("sh")
        };
        let ask = |script| (session.ask(login, script), begun.load(Ordering::Relaxed));
        assert_eq!(ask("here=1; echo $here"), (Some("1\n".to_owned()), 1));
        assert_eq!(ask("echo ${here-nothing}"), (Some("nothing\n".to_owned()), 1), "each script begins anew");
        assert_eq!(ask("kill $$; exit"), (None, 2), "one that has ended is replaced, once");
        assert_eq!(ask("echo 2"), (Some("2\n".to_owned()), 3));
    }
}
