//! A real terminal: tmux, and what it shows.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long a screen may take to show what is awaited.
const PATIENCE: Duration = Duration::from_secs(120);

/// A terminal of a size, on a server of its own.
pub struct Terminal<F: Fn() -> Command> {
    /// Makes the command `tmux` where the terminal is to be.
    command: F,
    server: String,
}

impl<F: Fn() -> Command> Terminal<F> {
    pub fn new(name: &str, columns: u16, command: F, program: &str) -> Self {
        let terminal = Self { command, server: format!("tsmig-{name}-{}", std::process::id()) };
        terminal.tmux(&["new-session", "-d", "-x", &columns.to_string(), "-y", "150", program]);
        terminal
    }

    pub fn tmux(&self, arguments: &[&str]) -> String {
        let socket = ["-u", "-f", "/dev/null", "-L", &self.server];
        let output = (self.command)().args(socket).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its screen when that has come to show something.
    pub fn showing(&self, mut wanted: impl FnMut(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if wanted(&screen) {
                return screen;
            }
            assert!(start.elapsed() < PATIENCE, "not in:\n{screen}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl<F: Fn() -> Command> Drop for Terminal<F> {
    fn drop(&mut self) {
        let _ = (self.command)().args(["-L", &self.server, "kill-server"]).output();
    }
}
