//! A guest's configuration, as it travels on the kernel command line.
//!
//! A guest has no disk and no other channel before its network is up, so the lab writes
//! `tsmig.KEY=VALUE` words on the command line and `/init` reads them back from `/proc/cmdline`.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result};

/// What one guest is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestConfig {
    /// Name under which the guest announces itself to the peer.
    pub name: String,
    /// Address of `eth0`.
    pub address: Ipv4Addr,
    /// Length of the network prefix of `eth0`, in bits.
    pub prefix: u8,
    /// Where the guest's traffic goes to and comes from.
    pub peer: SocketAddrV4,
    /// Rate of the traffic that the guest sends, in bits per second; 0 for none.
    pub send: u64,
    /// Rate of the traffic that the guest asks for, in bits per second; 0 for none.
    pub receive: u64,
    /// Memory to fill at boot with bytes that do not compress, in bytes.
    pub fill: u64,
    /// Rate at which memory is written to, in bytes (of whole pages) per second; 0 for none.
    pub dirty: u64,
    /// Memory over which those writes go round, in bytes.
    pub working_set: u64,
}

impl GuestConfig {
    /// The words for the kernel command line.
    pub fn to_command_line(&self) -> String {
        format!(
            "tsmig.name={} tsmig.address={}/{} tsmig.peer={} tsmig.send={} tsmig.receive={} \
             tsmig.fill={} tsmig.dirty={} tsmig.working_set={}",
            self.name,
            self.address,
            self.prefix,
            self.peer,
            self.send,
            self.receive,
            self.fill,
            self.dirty,
            self.working_set
        )
    }

    /// Reads the words back from a whole kernel command line; other words are ignored.
    pub fn from_command_line(line: &str) -> Result<Self> {
        let word = |key: &str| {
            line.split_ascii_whitespace()
                .find_map(|word| word.strip_prefix("tsmig.")?.strip_prefix(key)?.strip_prefix('='))
                .with_context(|| format!("the kernel command line has no tsmig.{key}"))
        };
        let number = |key: &str| {
            let value = word(key)?;
            value.parse().with_context(|| format!("tsmig.{key}={value} is no number"))
        };
        let address = word("address")?;
        let (ip, prefix) =
            address.split_once('/').with_context(|| format!("tsmig.address={address} has no prefix length"))?;
        Ok(Self {
            name: word("name")?.to_owned(),
            address: ip.parse().with_context(|| format!("bad address in tsmig.address={address}"))?,
            prefix: prefix.parse().with_context(|| format!("bad prefix length in tsmig.address={address}"))?,
            peer: word("peer")?.parse().context("tsmig.peer is no ADDRESS:PORT")?,
            send: number("send")?,
            receive: number("receive")?,
            fill: number("fill")?,
            dirty: number("dirty")?,
            working_set: number("working_set")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> GuestConfig {
        GuestConfig {
            name: "o1".into(),
            address: Ipv4Addr::new(10, 10, 0, 16),
            prefix: 24,
            peer: SocketAddrV4::new(Ipv4Addr::new(10, 10, 0, 4), 5000),
            send: 30_000_000,
            receive: 0,
            fill: 1 << 20,
            dirty: 0,
            working_set: 0,
        }
    }

    #[test]
    fn survives_the_command_line() {
        let line = format!("console=ttyS0 quiet {} panic=1", config().to_command_line());
        assert_eq!(GuestConfig::from_command_line(&line).unwrap(), config());
    }

    #[test]
    fn a_missing_word_is_named() {
        let line = config().to_command_line().replace("tsmig.fill=", "tsmig.full=");
        let error = GuestConfig::from_command_line(&line).unwrap_err();
        assert!(error.to_string().contains("tsmig.fill"), "{error}");
    }
}
