//! Rates as the lab's options and its callers give them.
//!
//! tsmig has a parser of its own; the lab must not depend on what it is there to test.

use std::{fmt, str::FromStr};

use anyhow::{Context, Error, Result, bail};
use serde::{Deserialize, Serialize};

/// A rate, in bits per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub u64);

/// The units, in bits per second.
const UNITS: [(&str, u64); 9] = [
    ("kbit", 1_000),
    ("Mbit", 1_000_000),
    ("Gbit", 1_000_000_000),
    ("kB/s", 8_000),
    ("MB/s", 8_000_000),
    ("GB/s", 8_000_000_000),
    ("KiB/s", 8 << 10),
    ("MiB/s", 8 << 20),
    ("GiB/s", 8 << 30),
];

impl Rate {
    /// No traffic at all.
    pub const ZERO: Self = Self(0);

    /// That many megabits (10⁶ bits) per second.
    pub const fn mbit(megabits: u64) -> Self {
        Self(megabits * 1_000_000)
    }

    /// In bits per second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }

    /// In bytes per second.
    pub const fn bytes_per_second(self) -> u64 {
        self.0 / 8
    }
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit.trim()) else {
            let known: Vec<_> = UNITS.iter().map(|(name, _)| *name).collect();
            bail!("{text:?} is no rate; write a number and a unit out of {}", known.join(", "));
        };
        let number: f64 = number.trim().parse().with_context(|| format!("{text:?} has no number before its unit"))?;
        if !number.is_finite() || number < 0.0 {
            bail!("a rate cannot be {number}");
        }
        Ok(Self((number * *factor as f64).round() as u64))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bits if bits >= 1_000_000_000 && bits % 1_000_000_000 == 0 => {
                write!(f, "{}Gbit", bits / 1_000_000_000)
            }
            bits => write!(f, "{}Mbit", (bits as f64 / 1e5).round() / 10.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bits_and_bytes() {
        for (text, bits) in [
            ("30Mbit", 30_000_000),
            ("1Gbit", 1_000_000_000),
            ("2.5 MB/s", 20_000_000),
            ("1MiB/s", 8 << 20),
            ("0kbit", 0),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap(), Rate(bits), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        for text in ["", "30", "Mbit", "30mbit", "-1Mbit", "30Mbit/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn shows_what_it_reads() {
        assert_eq!(Rate::mbit(100).to_string(), "100Mbit");
        assert_eq!(Rate(29_960_000).to_string(), "30Mbit");
        assert_eq!(Rate::mbit(1000).to_string(), "1Gbit");
    }
}
