//! From the hosts that the user named to open connections.

use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context as _, Result, bail};

use super::usage;
use crate::config::Config;
use crate::experience::record::{HostName, Hosts};
use crate::libvirt::facts::HostFacts;
use crate::libvirt::{Endpoint, Host, uri};

/// What the names of a source and a destination stand for.
pub(crate) fn endpoints(config: &Config, source: &str, destination: &str) -> Result<[Endpoint; 2]> {
    let mut endpoints = all_endpoints(config, [source, destination])?.into_iter();
    endpoints.next().zip(endpoints.next()).map(<[Endpoint; 2]>::from).context("a host has no name")
}

/// What the names of hosts stand for, of which no two are to be the same.
pub(crate) fn all_endpoints<'a>(config: &Config, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Endpoint>> {
    let endpoints = names.into_iter().map(|name| endpoint(config, name)).collect::<Result<Vec<_>>>()?;
    let mut uris = HashSet::new();
    match endpoints.iter().find(|endpoint| !uris.insert(&endpoint.uri)) {
        Some(twice) if endpoints.len() == 2 => {
            Err(usage(format!("source and destination are the same host: {}", twice.uri)))
        }
        Some(twice) => Err(usage(format!("the same host is named twice: {}", twice.uri))),
        None => Ok(endpoints),
    }
}

/// What a name stands for.
fn endpoint(config: &Config, name: &str) -> Result<Endpoint> {
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(usage(format!("{name:?} is not a host; give a name such as host-a, or a libvirt URI")));
    }
    let endpoint = config.endpoint(name);
    uri::connection(&endpoint.uri).map_err(usage)?;
    Ok(endpoint)
}

/// Opens a source and a destination.
pub(crate) fn connect(endpoints: [Endpoint; 2]) -> Result<(Host, Host)> {
    let mut hosts = connect_all(endpoints.into())?.into_iter();
    hosts.next().zip(hosts.next()).context("a host was not opened")
}

/// Opens all hosts at the same time, and makes sure that no two are the same.
pub(crate) fn connect_all(endpoints: Vec<Endpoint>) -> Result<Vec<Host>> {
    let hosts = thread::scope(|scope| {
        let open = |endpoint| scope.spawn(|| Host::open(endpoint));
        let threads: Vec<_> = endpoints.into_iter().map(open).collect();
        let join = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().map(join).collect::<Result<Vec<_>, _>>()
    })?;
    let mut machines = HashMap::new();
    for host in &hosts {
        let name = &host.endpoint().name;
        if let Some((uuid, other)) =
            host.machine_uuid()?.and_then(|uuid| Some((uuid.clone(), machines.insert(uuid, name)?)))
        {
            bail!(
                "{other} and {name} are the same machine (libvirt host UUID {uuid}); if they are not, give each its own \
                 host_uuid in libvirtd.conf"
            );
        }
    }
    Ok(hosts)
}

/// What tells a host from others, whatever it is called.
pub(super) fn identity(host: &Host, machine_uuid: Option<String>) -> String {
    machine_uuid.unwrap_or_else(|| host.endpoint().uri.clone())
}

/// What tells a source and a destination from other hosts.
pub(super) fn identities(hosts: [(&Host, &HostFacts); 2]) -> Hosts {
    let [source, destination] = hosts.map(|(host, facts)| named(host, facts.machine_uuid.clone()));
    Hosts { source, destination }
}

/// A host by what tells it from others, and by the user's name for it.
pub(super) fn named(host: &Host, machine_uuid: Option<String>) -> HostName {
    HostName { id: identity(host, machine_uuid), name: host.endpoint().name.clone() }
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
