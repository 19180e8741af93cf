//! From the hosts that the user named to two open connections.

use std::thread;

use anyhow::{Result, bail};

use super::usage;
use crate::config::Config;
use crate::hypervisor::libvirt::Host;

/// Opens both hosts at the same time, and makes sure that they are two.
pub(super) fn connect(config: &Config, source: &str, destination: &str) -> Result<(Host, Host)> {
    let (from, to) = (config.endpoint(valid(source)?), config.endpoint(valid(destination)?));
    if from.uri == to.uri {
        return Err(usage(format!("source and destination are the same host: {}", from.uri)));
    }
    let (from, to) = thread::scope(|scope| {
        let to = scope.spawn(|| Host::open(to));
        let from = Host::open(from);
        (from, to.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (from, to) = (from?, to?);
    if let (Some(one), Some(other)) = (from.machine_uuid()?, to.machine_uuid()?)
        && one == other
    {
        bail!(
            "{source} and {destination} are the same machine (libvirt host UUID {one}); if they are not, give each \
             its own host_uuid in libvirtd.conf"
        );
    }
    Ok((from, to))
}

pub(super) fn valid(name: &str) -> Result<&str> {
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(usage(format!("{name:?} is no host; give a name such as host-a, or a libvirt URI")));
    }
    Ok(name)
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
