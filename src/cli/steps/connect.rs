//! From the hosts that the user named to two open connections.

use std::thread;

use anyhow::{Result, bail};

use super::usage;
use crate::config::Config;
use crate::libvirt::{Endpoint, Host, uri};

/// What two names stand for, which are not to be the same.
pub(crate) fn endpoints(config: &Config, source: &str, destination: &str) -> Result<(Endpoint, Endpoint)> {
    let (from, to) = (endpoint(config, source)?, endpoint(config, destination)?);
    if from.uri == to.uri {
        return Err(usage(format!("source and destination are the same host: {}", from.uri)));
    }
    Ok((from, to))
}

/// What a name stands for.
pub(crate) fn endpoint(config: &Config, name: &str) -> Result<Endpoint> {
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(usage(format!("{name:?} is not a host; give a name such as host-a, or a libvirt URI")));
    }
    let endpoint = config.endpoint(name);
    uri::connection(&endpoint.uri).map_err(usage)?;
    Ok(endpoint)
}

/// Opens both hosts at the same time, and makes sure that they are two.
pub(crate) fn connect((from, to): (Endpoint, Endpoint)) -> Result<(Host, Host)> {
    let (source, destination) = (from.name.clone(), to.name.clone());
    let (from, to) = thread::scope(|scope| {
        let to = scope.spawn(|| Host::open(to));
        let from = Host::open(from);
        (from, to.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (from, to) = (from?, to?);
    let (one, other) = (from.machine_uuid()?, to.machine_uuid()?);
    if let Some(one) = one.filter(|one| other.as_ref() == Some(one)) {
        bail!(
            "{source} and {destination} are the same machine (libvirt host UUID {one}); if they are not, give each \
             its own host_uuid in libvirtd.conf"
        );
    }
    Ok((from, to))
}

/// What tells a host from others, whatever it is called.
pub(super) fn identity(host: &Host) -> Result<String> {
    Ok(host.machine_uuid()?.unwrap_or_else(|| host.endpoint().uri.clone()))
}

/// Whether another host can connect by this URI: one without a server means the machine that opens it.
pub(super) fn is_remote(uri: &str) -> bool {
    uri.split_once("://").is_some_and(|(_, rest)| !rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_without_a_server_means_the_machine_that_opens_it() {
        assert!(is_remote("qemu+ssh://host-b/system"));
        assert!(is_remote("qemu+tcp://10.0.0.2:16509/system"));
        assert!(!is_remote("qemu:///system"));
        assert!(!is_remote("qemu+unix:///system"));
    }
}
