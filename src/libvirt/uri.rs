//! The forms of the two kinds of URI that the user gives: of a libvirt, and of where a host takes migrated memory in.
//!
//! Only what is wrong in any case is refused here; whether anything answers there is found out later.

/// The schemes of libvirt's migration URIs for QEMU.
const MIGRATION_SCHEMES: [&str; 3] = ["tcp", "rdma", "unix"];

/// Reads the URI of a libvirt, such as `qemu+tls://host-a.example/system`.
pub fn connection(text: &str) -> Result<String, String> {
    match parts(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!("{text:?} is not a libvirt URI; write for example qemu+ssh://host-a/system")),
    }
}

/// Reads the URI where a host takes migrated memory in, such as `tcp://10.1.0.2`.
pub fn migration(text: &str) -> Result<String, String> {
    let is_right = match parts(text) {
        Some(("unix", rest)) => rest.starts_with('/'),
        Some((scheme, rest)) => MIGRATION_SCHEMES.contains(&scheme) && is_server(rest.trim_end_matches('/')),
        None => false,
    };
    if is_right {
        return Ok(text.to_owned());
    }
    let example = if is_server(text) { text } else { "10.1.0.2" };
    Err(format!("{text:?} is not a migration URI; write for example tcp://{example}"))
}

/// The scheme and what follows its `://`.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(of_scheme);
    (plain && named && !rest.is_empty()).then_some((scheme, rest))
}

/// The host and the port of a URI's server, such as `[fe80::1]:22`; an IPv6 address without its brackets.
pub(super) fn host_and_port(server: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port)))
}

/// Whether it is a host's name or address, with or without a port.
fn is_server(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':').or((!rest.is_empty()).then_some(rest))),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let of_host = |c: char| !c.is_whitespace() && !c.is_control() && !"/?#".contains(c);
    !host.is_empty() && host.chars().all(of_host) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libvirt_uri_has_a_scheme() {
        for right in ["qemu:///system", "qemu+ssh://root@host-a:22/system?socket=/run/x", "test:///default"] {
            assert_eq!(connection(right), Ok(right.to_owned()));
        }
        for wrong in ["not a uri", "host-a", "qemu:/system", "://host/system", "qemu+ssh://host-a/my system", "qemu://"]
        {
            assert!(connection(wrong).is_err_and(|error| error.contains("qemu+ssh://host-a/system")), "{wrong}");
        }
    }

    #[test]
    fn a_migration_uri_has_a_scheme_and_a_server() {
        for right in ["tcp://10.1.0.2", "tcp://[fd00::1]:49152", "rdma://host-b", "unix:///run/migration", "tcp://b/"] {
            assert_eq!(migration(right), Ok(right.to_owned()));
        }
        for wrong in
            ["tcp://", "http://10.1.0.2", "tcp://host-b:port", "tcp:10.1.0.2", "unix://host", "tcp://[fd00::1]x"]
        {
            assert!(migration(wrong).is_err_and(|error| error.contains("tcp://10.1.0.2")), "{wrong}");
        }
        let bare = migration("10.1.0.7").unwrap_err();
        assert_eq!(bare, "\"10.1.0.7\" is not a migration URI; write for example tcp://10.1.0.7");
    }
}
