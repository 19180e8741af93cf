//! Questions that libvirt has no call for, put to a host's shell: over ssh as libvirt itself logs in, or on this machine.
//! They only read. If the shell does not answer, what they ask stays open.

use std::process::Command;

use percent_encoding::percent_decode_str;
use virt::connect::Connect;

use super::connection::Endpoint;
use super::host::Host;
use super::{HostError, uri};

impl Host {
    /// What a POSIX script prints at the host; `None` if its shell can't be asked or fails: the host is reached neither by
    /// ssh nor locally, the configuration forbids it, or there is no answer in time: 10 s for a log-in and 10 s for a script,
    /// which waits for those before it, and is asked again where the shell that was there has fallen silent. So it only reads.
    /// Where no log-in leads to a shell, that is not tried again.
    ///
    /// # Errors
    /// The host's libvirt did not answer.
    pub fn shell(&self, script: &str) -> Result<Option<String>, HostError> {
        let endpoint = self.endpoint();
        let Some(shell) = Some(endpoint).filter(|endpoint| endpoint.shell).and_then(Shell::of) else { return Ok(None) };
        if shell == Shell::Local {
            // A socket may lead to another machine, or out of a container.
            let named = self.line.ask(Connect::hostname)?;
            let here = nix::unistd::gethostname().unwrap_or_default();
            let first = |name: &str| name.split('.').next().map(str::to_owned);
            if first(&named) != first(&here.to_string_lossy()) {
                return Ok(None);
            }
        }
        Ok(self.session.ask(|| shell.command(), script))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Shell {
    Local,
    /// The program and its arguments, those for the host's name included.
    Ssh(Vec<String>),
}

impl Shell {
    /// How to reach a host's shell: ssh with the options that libvirt gives it, and always in batch mode.
    fn of(endpoint: &Endpoint) -> Option<Self> {
        let (scheme, rest) = endpoint.uri.split_once("://")?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let server = place.split('/').next().unwrap_or_default();
        match scheme {
            "qemu" | "qemu+unix" if server.is_empty() => return Some(Self::Local),
            _ if !scheme.ends_with("+ssh") || server.is_empty() => return None,
            _ => {}
        }
        let parameter = |wanted: &str| {
            let pairs = query.split(['&', ';']).filter_map(|parameter| parameter.split_once('='));
            // As in libvirt, the last one counts.
            pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| decoded(value)).next_back()
        };
        let (user, server) = server.rsplit_once('@').map_or((None, server), |(user, server)| (Some(user), server));
        let (host, port) = uri::host_and_port(server);
        let mut words = vec![parameter("command").unwrap_or_else(|| "ssh".to_owned())];
        let mut option = |name: &str, value: Option<String>| {
            words.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        };
        option("-p", port.map(str::to_owned));
        option("-l", user.map(decoded));
        option("-i", parameter("keyfile"));
        option("-o", Some("BatchMode=yes".to_owned()));
        let unverified = parameter("no_verify").is_some_and(|value| value.parse() != Ok(0));
        option("-o", unverified.then(|| "StrictHostKeyChecking=no".to_owned()));
        words.extend(["-T", "-e", "none", "--", host, "sh"].map(str::to_owned));
        Some(Self::Ssh(words))
    }

    fn command(&self) -> Command {
        match self {
            Self::Local => Command::new("sh"),
            Self::Ssh(words) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                command
            }
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(uri: &str) -> Option<Shell> {
        Shell::of(&Endpoint { name: "t".to_owned(), uri: uri.to_owned(), shell: true })
    }

    #[test]
    fn ssh_is_run_as_libvirt_runs_it_and_asks_for_nothing() {
        for (uri, words) in [
            ("qemu+ssh://a/system", "ssh -o BatchMode=yes -T -e none -- a sh"),
            ("qemu+ssh://a/system?no_tty=0", "ssh -o BatchMode=yes -T -e none -- a sh"),
            (
                "qemu+ssh://me%40x@a.example:2222/system?keyfile=/k%20y&command=/opt/ssh;no_verify=1",
                "/opt/ssh -p 2222 -l me@x -i /k y -o BatchMode=yes -o StrictHostKeyChecking=no -T -e none -- a.example sh",
            ),
            ("qemu+ssh://root@[fe80::1]/system?no_verify=0", "ssh -l root -o BatchMode=yes -T -e none -- fe80::1 sh"),
        ] {
            let Some(Shell::Ssh(found)) = shell(uri) else { panic!("{uri}") };
            assert_eq!(found.join(" "), words, "{uri}");
        }
    }

    #[test]
    fn a_host_that_is_reached_otherwise_has_no_shell() {
        for uri in ["qemu+tls://a/system", "qemu+libssh2://a/system", "qemu+tcp://a/system", "test:///default"] {
            assert_eq!(shell(uri), None, "{uri}");
        }
        assert_eq!(shell("qemu:///system"), Some(Shell::Local));
    }
}
