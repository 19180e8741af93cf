//! Running the machine's own tools, waiting for things to happen, and telling the user what goes on.

use std::{
    io::{self, Write},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How often [`wait_for`] looks.
const POLL: Duration = Duration::from_millis(50);

/// Runs a command to its end and returns its standard output; failure carries its standard error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    text_of(command, output)
}

/// Like [`capture`], with `input` on the command's standard input.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that fails early closes its input; its own message says more than ours would.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("running {command:?}"))?;
    text_of(command, output)
}

fn text_of(command: &Command, output: Output) -> Result<String> {
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed ({}): {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Polls until `look` finds something; `what` says in the error what never came.
pub(crate) fn wait_for<T>(what: &str, timeout: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > timeout {
            bail!("waited {} s in vain for {what}", timeout.as_secs());
        }
        thread::sleep(POLL);
    }
}

/// Tells the user about a step that takes a while.
pub(crate) fn note(text: &str) {
    // Without a terminal to tell it on, the step is still taken.
    let _ = writeln!(io::stderr(), "tsmig-lab: {text}");
}
