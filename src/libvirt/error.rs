//! What failed calls mean. libvirt has no codes for most of what goes wrong in its migration call, so its words are read.

use super::connection::SSHD_IS_BUSY;
use crate::failure::Cause;

/// A call that a host did not answer as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host}: {message}")]
pub struct HostError {
    /// The host as the user named it.
    pub host: String,
    /// What tsmig can make of it.
    pub kind: HostErrorKind,
    /// libvirt's words.
    pub message: String,
}

impl HostError {
    /// Whether there was no answer in time, whatever held it up.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self.kind, HostErrorKind::NoConnection | HostErrorKind::NoAnswer | HostErrorKind::Hangs)
    }
}

impl From<HostError> for Cause {
    fn from(error: HostError) -> Self {
        Self::Host { host: error.host, error: error.message }
    }
}

/// The errors that tsmig treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The host has no such domain.
    NoSuchDomain,
    /// The source's libvirt can't open a connection to the destination's.
    NoPeer,
    /// The source's libvirt hands back that its connection to the destination's ended, without a reason. Over ssh it does
    /// so for many failures at the destination, too.
    PeerLost,
    /// No data gets through to the port on which the destination waits for the domain's memory.
    NoData,
    /// No connection to the host could be opened in time.
    NoConnection,
    /// The host did not answer in time.
    NoAnswer,
    /// The host answers, but did not about this domain in time: its emulator hangs.
    Hangs,
    /// The destination can't post-copy; it was asked before anything moved.
    NoPostCopy,
    /// The domain was paused just as its migration began, and libvirt post-copies none that is.
    Paused,
    /// Somebody else migrates the domain already.
    Taken,
    /// The destination can't take one more just now: another try, later, may do.
    Busy,
    /// Anything else.
    Other,
}

/// Where memory does not get through to, and what to do.
pub(crate) fn no_data(to: &str, source: &str, destination: &str) -> String {
    format!(
        "no data gets through to {to}: open libvirt's ports for memory ({MEMORY_PORTS}) at {destination} for {source}, or \
         give --migration-uri an address that {source} reaches"
    )
}

/// The ports on which an emulator waits for memory, as libvirt chooses them if qemu.conf does not say otherwise.
pub(crate) const MEMORY_PORTS: &str = "49152-49215";

/// What a destination says that could take the domain later: it has no port left for one more stream of memory, or
/// its libvirt did not get to it in time, or its sshd had too many log-ins.
const BUSY: [&str; 3] =
    ["unable to find an unused port in range 'migration'", "cannot acquire state change lock", SSHD_IS_BUSY];

/// Ports on which a libvirt listens if its URI names none: plain, TLS, and ssh without the ssh program.
const LIBVIRT_PORTS: [&str; 3] = ["16509", "16514", "22"];

#[derive(Debug, Clone, Copy)]
pub(super) struct FailedCall<'a> {
    pub(super) message: &'a str,
    /// Whether it is an error of the RPC layer, that of another connection than the one that the call was made on.
    pub(super) from_rpc: bool,
    /// The destination's URI, if the source's libvirt was to connect to it by itself.
    pub(super) peer: Option<&'a str>,
}

impl FailedCall<'_> {
    /// What tsmig can make of it; `None` if nothing special.
    pub(super) fn kind(self) -> Option<HostErrorKind> {
        let text = self.message.to_lowercase();
        if text.contains("another migration job is already running") {
            return Some(HostErrorKind::Taken);
        }
        if text.contains("postcopy is not supported") {
            return Some(HostErrorKind::NoPostCopy);
        }
        if text.contains("not supported with non-live or paused migration") {
            return Some(HostErrorKind::Paused);
        }
        if BUSY.iter().any(|busy| text.contains(busy)) {
            return Some(HostErrorKind::Busy);
        }
        // Older ones quote the URI that they could not connect to.
        if self.peer.is_some_and(|peer| self.message.contains(peer)) {
            return Some(HostErrorKind::NoPeer);
        }
        match unreached(self.message) {
            Some(address) if !self.is_libvirt(&address) => Some(HostErrorKind::NoData),
            Some(_) => Some(HostErrorKind::NoPeer),
            None if self.peer.is_none() => None,
            None if is_of_connecting(&text) => Some(HostErrorKind::NoPeer),
            None => self.from_rpc.then_some(HostErrorKind::PeerLost),
        }
    }

    /// Whether a libvirt listens there, rather than an emulator that waits for memory.
    fn is_libvirt(self, address: &str) -> bool {
        let port = address.rsplit_once(':').map_or("", |(_, port)| port);
        let named = |peer: &str| peer.contains(&format!(":{port}/"));
        self.peer.is_some_and(|peer| LIBVIRT_PORTS.contains(&port) || named(peer))
    }
}

/// The address that could not be reached, if the message names one. The first two are libvirt's words, the others QEMU's.
pub(super) fn unreached(message: &str) -> Option<String> {
    let quoted = |start: &str, end: char| {
        let (_, rest) = message.split_once(start)?;
        Some(rest.split_once(end)?.0.to_owned())
    };
    quoted("nable to connect to server at '", '\'')
        .or_else(|| Some(format!("{}:{}", quoted("nable to resolve address '", '\'')?, quoted("service '", '\'')?)))
        .or_else(|| quoted("ailed to connect to '", '\''))
        .or_else(|| {
            quoted("ddress resolution failed for ", ' ').map(|address| address.trim_end_matches(':').to_owned())
        })
}

/// Whether it tells why a connection could not be opened. A connection that ends without a word does not: libvirt was
/// seen to hand that back over ssh when the destination refuses a domain (libvirt 11.3 by virsh, 12 of 12 tries on a
/// loaded machine).
fn is_of_connecting(text: &str) -> bool {
    let ssh_says = text.split_once("cannot recv data: ").is_some_and(|(_, words)| {
        let words = words.trim_start();
        !words.starts_with(':') && !words.starts_with("connection reset") && !words.starts_with("input/output")
    });
    ssh_says || text.contains("authentication failed") || text.contains("authentication cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;
    use HostErrorKind::{Busy, NoData, NoPeer, NoPostCopy, Paused, PeerLost, Taken};

    fn kind(peer: Option<&str>, message: &str) -> Option<HostErrorKind> {
        FailedCall { message, from_rpc: true, peer }.kind()
    }

    #[test]
    fn what_libvirt_and_qemu_were_seen_to_say_is_told_apart() {
        let (ssh, tcp) = ("qemu+ssh://host-b/system", "qemu+tcp://host-b:17000/system");
        for (peer, message, expected) in [
            (ssh, "Cannot recv data: root@host-b: Permission denied (publickey).: Connection reset by peer", NoPeer),
            (
                ssh,
                "Cannot recv data: ssh: connect to host host-b port 22: Connection refused: Connection reset by peer",
                NoPeer,
            ),
            (ssh, "End of file while reading data: : Input/output error", PeerLost),
            (ssh, "Cannot recv data: : Connection reset by peer", PeerLost),
            (tcp, "Cannot recv data: Connection reset by peer", PeerLost),
            (tcp, "unable to connect to server at 'host-b:16509': Connection refused", NoPeer),
            (tcp, "unable to connect to server at 'host-b:17000': Connection refused", NoPeer),
            (
                tcp,
                "Unable to resolve address 'host-b-mgmt' service '16509': Temporary failure in name resolution",
                NoPeer,
            ),
            (
                tcp,
                "Failed to connect to remote libvirt URI qemu+tcp://host-b:17000/system: authentication failed",
                NoPeer,
            ),
            (tcp, "authentication failed: authentication failed", NoPeer),
            (ssh, "unable to connect to server at 'host-b:49152': Connection refused", NoData),
            (ssh, "unable to connect to server at 'fd00::2:49152': No route to host", NoData),
            (ssh, "Unable to resolve address 'hv2' service '49152': Name or service not known", NoData),
            (
                ssh,
                "operation failed: job 'migration out' failed: Failed to connect to 'host-b:49152': Connection refused",
                NoData,
            ),
            (
                ssh,
                "operation failed: job 'migration out' failed: address resolution failed for hv2:49152: Name or service not known",
                NoData,
            ),
            (ssh, "internal error: Unable to find an unused port in range 'migration' (49152-49152)", Busy),
            (
                ssh,
                "Cannot recv data: kex_exchange_identification: Connection closed by remote host: Connection reset by peer",
                Busy,
            ),
            (ssh, "argument unsupported: Postcopy is not supported", NoPostCopy),
            (
                ssh,
                "argument unsupported: post-copy migration is not supported with non-live or paused migration",
                Paused,
            ),
            (ssh, "another migration job is already running for domain 't1'", Taken),
        ] {
            assert_eq!(kind(Some(peer), message), Some(expected), "{message}");
        }
    }

    #[test]
    fn a_client_that_manages_has_no_peer_to_lose() {
        assert_eq!(kind(None, "End of file while reading data: : Input/output error"), None);
        assert_eq!(kind(None, "unable to connect to server at 'host-b:49152': Connection refused"), Some(NoData));
        assert_eq!(kind(None, "Secret not found: no secret with matching uuid '5'"), None);
    }

    #[test]
    fn an_error_of_a_domain_is_none_of_the_connection() {
        let secret =
            FailedCall { message: "Secret not found", from_rpc: false, peer: Some("qemu+ssh://host-b/system") };
        assert_eq!(secret.kind(), None);
    }
}
