//! Whether a source gets in at a destination: its own log-in to the destination's libvirt, which a migration that libvirt
//! drives needs, and the ports that memory goes to. Both only its shell can try.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::HostError;
use super::facts::{Doors, Reached};
use super::host::Host;
use super::shell::quoted;

/// The range from which libvirt takes a port for each migration, from its begin (`migration_port_min` in qemu.conf).
const RANGE: std::ops::RangeInclusive<u16> = 49152..=49215;

/// Connects to the destination's libvirt as the source's own would, which runs as root, and asks for its name.
const LOGIN: &str = r#"
login() {
  said=$(timeout 6 virsh -c "$uri" hostname 2>&1)
  case $? in 0) echo "login" ;; 124) echo "stranger no answer within 6 s" ;; *) echo "stranger $(echo "$said" | tail -n 1)" ;; esac
}
[ "$(id -u)" = 0 ] && command -v virsh > /dev/null && command -v timeout > /dev/null && login &
"#;

/// Begins a connection and ends it at once.
const KNOCK: &str = r#"
knock() {
  said=$(LC_ALL=C timeout 3 bash -c 'exec 3<> "/dev/tcp/$0/$1"' "$address" "$port" 2>&1)
  echo "knock $? $(echo "$said" | head -n 1)"
}
command -v bash > /dev/null && command -v timeout > /dev/null && knock &
"#;

impl Host {
    /// Whether this host gets in at `address`: its libvirt by `uri`, if it is to connect itself, and at `port`, or else one of
    /// the range that migrations take. On those that are `taken` a QEMU may wait for its memory, and a stranger would take its
    /// place; where that is not known, none is tried.
    ///
    /// # Errors
    /// The host's libvirt did not answer.
    pub fn doors(
        &self,
        address: IpAddr,
        port: Option<u16>,
        taken: Option<&BTreeSet<u16>>,
        uri: Option<&str>,
    ) -> Result<Doors, HostError> {
        let login = uri.map_or_else(String::new, |uri| format!("uri={}{LOGIN}", quoted(uri)));
        let is_free = |port: &u16| taken.is_some_and(|taken| !taken.contains(port));
        // The last is the least likely to be taken meanwhile.
        let free = port.map_or_else(|| RANGE.rev().find(is_free), |port| Some(port).filter(is_free));
        let knock = free.map_or_else(String::new, |port| format!("address='{address}' port={port}{KNOCK}"));
        if login.is_empty() && knock.is_empty() {
            return Ok(Doors::default());
        }
        Ok(self.shell(&format!("{login}{knock}wait"))?.map(|told| read(&told)).unwrap_or_default())
    }
}

fn read(told: &str) -> Doors {
    let mut doors = Doors::default();
    for (key, rest) in told.lines().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
        match key {
            "login" => doors.login = Some(None),
            "stranger" => doors.login = Some(Some(rest.trim_start_matches("error: ").to_owned())),
            "knock" => doors.ports = knocked(rest),
            _ => {}
        }
    }
    doors
}

/// What became of a connection, by the exit status and bash's words.
fn knocked(told: &str) -> Option<Reached> {
    let (status, words) = told.split_once(' ')?;
    match status {
        "0" => Some(Reached::Answered),
        _ if words.contains("Connection refused") => Some(Reached::Answered),
        _ if words.contains("No route to host") || words.contains("prohibited") => Some(Reached::Rejected),
        // That of timeout(1).
        "124" => Some(Reached::Dropped),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn told(script: String) -> Doors {
        let output = Command::new("bash").arg("-c").arg(script).output().unwrap();
        read(&String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn a_port_where_nobody_listens_is_reached() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let knock = || told(format!("address=127.0.0.1 port={port}{KNOCK}wait")).ports;
        assert_eq!(knock(), Some(Reached::Answered), "somebody listens");
        drop(listener);
        assert_eq!(knock(), Some(Reached::Answered), "nobody does");
    }

    #[test]
    fn what_bash_says_of_other_ports() {
        for (said, expected) in [
            ("124 ", Some(Reached::Dropped)),
            ("1 10.1.0.2: connect: No route to host", Some(Reached::Rejected)),
            ("1 10.1.0.2: connect: Network is unreachable", None),
            ("127 ", None),
        ] {
            assert_eq!(knocked(said), expected, "{said}");
        }
    }

    #[test]
    fn a_source_that_is_not_let_in_says_why() {
        let refused = "stranger error: Cannot recv data: root@host-b: Permission denied (publickey).\nknock 124 \n";
        let why = "Cannot recv data: root@host-b: Permission denied (publickey).";
        let expected = Doors { login: Some(Some(why.to_owned())), ports: Some(Reached::Dropped) };
        assert_eq!(read(refused), expected);
        assert_eq!(read("login\n").login, Some(None));
        assert_eq!(read(""), Doors::default());
    }
}
