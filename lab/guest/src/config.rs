//! A guest's configuration, as it travels on the kernel command line.
//!
//! A guest has no disk and no other channel before its network is up, so the lab writes
//! `tsmig.KEY=VALUE` words on the command line and `/init` reads them back from `/proc/cmdline`.

use std::{
    fmt::{Display, Write},
    net::{Ipv4Addr, SocketAddrV4},
    str::FromStr,
};

use anyhow::{Context, Error, Result};

/// What one guest is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestConfig {
    /// Name under which the guest announces itself.
    pub name: String,
    /// Its cards: `eth0` and those that follow.
    pub nics: Vec<NicConfig>,
    /// Memory to fill at boot with bytes that do not compress, in bytes.
    pub fill: u64,
    /// Memory to fill after that, and free again, in bytes.
    pub freed: u64,
    /// Period of the bursts in which its traffic runs, in milliseconds; 0 if it is steady.
    pub burst_ms: u64,
    /// Rate at which memory is written to, in bytes (of whole pages) per second; 0 for none.
    pub dirty: u64,
    /// Memory over which those writes go round, in bytes.
    pub working_set: u64,
}

/// A card of a guest, and its traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicConfig {
    /// Its address.
    pub address: Ipv4Addr,
    /// Length of its network's prefix, in bits.
    pub prefix: u8,
    /// The router to all that is in no network of the guest's.
    pub gateway: Option<Ipv4Addr>,
    /// Where its traffic goes to and comes from.
    pub peer: Option<SocketAddrV4>,
    /// Rate of the traffic that it sends, in bits per second; 0 for none.
    pub send: u64,
    /// Rate of the traffic that it asks for, in bits per second; 0 for none.
    pub receive: u64,
}

impl GuestConfig {
    /// The words for the kernel command line.
    pub fn to_command_line(&self) -> String {
        let mut line = format!("tsmig.name={}", self.name);
        let mut word = |key: &str, number: &str, value: &dyn Display| {
            // Writing to a string cannot fail.
            let _ = write!(line, " tsmig.{key}{number}={value}");
        };
        for (number, nic) in self.nics.iter().enumerate() {
            let number = &suffix(number);
            word("address", number, &format_args!("{}/{}", nic.address, nic.prefix));
            if let Some(gateway) = nic.gateway {
                word("gateway", number, &gateway);
            }
            if let Some(peer) = nic.peer {
                word("peer", number, &peer);
            }
            word("send", number, &nic.send);
            word("receive", number, &nic.receive);
        }
        let numbers = [
            ("fill", self.fill),
            ("freed", self.freed),
            ("burst_ms", self.burst_ms),
            ("dirty", self.dirty),
            ("working_set", self.working_set),
        ];
        for (key, value) in numbers {
            word(key, "", &value);
        }
        line
    }

    /// Reads the words back from a whole kernel command line; other words are ignored.
    pub fn from_command_line(line: &str) -> Result<Self> {
        let words = Words(line);
        // It has at least one, if only for the sake of the error.
        let count = 1 + (1..).take_while(|number| words.find("address", &suffix(*number)).is_some()).count();
        Ok(Self {
            name: words.find("name", "").context("the kernel command line has no tsmig.name")?.to_owned(),
            nics: (0..count).map(|number| nic(words, &suffix(number))).collect::<Result<_>>()?,
            fill: words.get("fill", "")?,
            freed: words.get("freed", "")?,
            burst_ms: words.get("burst_ms", "")?,
            dirty: words.get("dirty", "")?,
            working_set: words.get("working_set", "")?,
        })
    }
}

/// What tells the words of a card from those of the others; the first card's have nothing.
fn suffix(number: usize) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

fn nic(words: Words<'_>, number: &str) -> Result<NicConfig> {
    let address: String = words.get("address", number)?;
    let (ip, prefix) =
        address.split_once('/').with_context(|| format!("tsmig.address{number}={address} has no prefix length"))?;
    Ok(NicConfig {
        address: ip.parse().with_context(|| format!("bad address in tsmig.address{number}={address}"))?,
        prefix: prefix.parse().with_context(|| format!("bad prefix length in tsmig.address{number}={address}"))?,
        gateway: words.get_if_any("gateway", number)?,
        peer: words.get_if_any("peer", number)?,
        send: words.get("send", number)?,
        receive: words.get("receive", number)?,
    })
}

/// A kernel command line.
#[derive(Clone, Copy)]
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn find(self, key: &str, number: &str) -> Option<&'a str> {
        let value =
            |word: &'a str| word.strip_prefix("tsmig.")?.strip_prefix(key)?.strip_prefix(number)?.strip_prefix('=');
        self.0.split_ascii_whitespace().find_map(value)
    }

    fn get<T: FromStr<Err: Into<Error>>>(self, key: &str, number: &str) -> Result<T> {
        let value = self.get_if_any(key, number)?;
        value.with_context(|| format!("the kernel command line has no tsmig.{key}{number}"))
    }

    fn get_if_any<T: FromStr<Err: Into<Error>>>(self, key: &str, number: &str) -> Result<Option<T>> {
        let parse = |value: &str| {
            let parsed = value.parse().map_err(Into::into);
            parsed.with_context(|| format!("tsmig.{key}{number}={value} has no meaning"))
        };
        self.find(key, number).map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> GuestConfig {
        let address = |net| Ipv4Addr::new(10, net, 0, 16);
        let nic = NicConfig {
            address: address(10),
            prefix: 24,
            gateway: None,
            peer: Some(SocketAddrV4::new(Ipv4Addr::new(10, 10, 0, 4), 5000)),
            send: 30_000_000,
            receive: 0,
        };
        let silent = NicConfig { address: address(30), peer: None, send: 0, ..nic.clone() };
        let routed = NicConfig { address: address(40), gateway: Some(Ipv4Addr::new(10, 40, 0, 1)), ..nic.clone() };
        let nics = vec![nic, silent, routed];
        GuestConfig { name: "o1".into(), nics, fill: 1 << 20, freed: 0, burst_ms: 2000, dirty: 0, working_set: 0 }
    }

    #[test]
    fn survives_the_command_line() {
        let line = format!("console=ttyS0 quiet {} panic=1", config().to_command_line());
        assert_eq!(GuestConfig::from_command_line(&line).unwrap(), config());
    }

    #[test]
    fn a_missing_word_is_named() {
        for word in ["tsmig.fill", "tsmig.address", "tsmig.send2"] {
            let line = config().to_command_line().replace(&format!("{word}="), "tsmig.other=");
            let error = GuestConfig::from_command_line(&line).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
