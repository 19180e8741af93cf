//! Rates and sizes as people write them: `100Mbit`, `1 Gbit/s`, `12MB/s`, `1GiB/s`, `115.0 MiB`.
//!
//! Inside the program a rate is always an `f64` in bits per second and a size a `u64` in bytes. [`Rate`]
//! exists where text comes in or goes out.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A rate in bits per second; always finite and not negative.
///
/// As text, a number and a unit: bits (`bit`, `kbit`, `Mbit`, `Gbit`, `Tbit`, with or without `/s`, or as
/// `bps`: `Gbps`) or bytes (`B/s`, `kB/s`, `MB/s`, `GB/s`, and the binary `KiB/s`, `MiB/s`, `GiB/s`).
/// Units are read without regard to case, except that bytes need their capital `B`: `Mb` could mean either
/// and is refused.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    pub fn bits_per_second(self) -> f64 {
        self.0
    }

    /// A rate in bits per second. Anything that is not a finite, non-negative number is taken as 0.
    pub fn from_bits_per_second(bits_per_second: f64) -> Self {
        Self(if bits_per_second.is_finite() { bits_per_second.max(0.0) } else { 0.0 })
    }

    /// The rate as an option or the configuration takes it, with all its digits: `1.2345Gbit`.
    pub fn as_option(self) -> String {
        let (value, unit) = self.scaled();
        format!("{value}{unit}")
    }

    fn scaled(self) -> (f64, &'static str) {
        match self.0 {
            r if r >= 1e12 => (r / 1e12, "Tbit"),
            r if r >= 1e9 => (r / 1e9, "Gbit"),
            r if r >= 1e6 => (r / 1e6, "Mbit"),
            r if r >= 1e3 => (r / 1e3, "kbit"),
            r => (r, "bit"),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let error = |why| format!("{given:?} is not a rate: {why}; write for example 100Mbit, 1Gbit, 12MB/s or 1GiB/s");
        let (number, unit) = number_and_unit(given).map_err(error)?;
        let unit = unit.strip_suffix("/s").unwrap_or(unit);
        if unit.ends_with('b') {
            return Err(error("`b` could be bits or bytes"));
        }
        let factor = match unit.to_ascii_lowercase().as_str() {
            "bit" | "bps" => 1.0,
            "kbit" | "kbps" => 1e3,
            "mbit" | "mbps" => 1e6,
            "gbit" | "gbps" => 1e9,
            "tbit" | "tbps" => 1e12,
            "b" => 8.0,
            "kb" => 8e3,
            "mb" => 8e6,
            "gb" => 8e9,
            "kib" => 8.0 * 1024.0,
            "mib" => 8.0 * 1024.0 * 1024.0,
            "gib" => 8.0 * 1024.0 * 1024.0 * 1024.0,
            _ => return Err(error("the unit is unknown")),
        };
        let rate = number * factor;
        if !rate.is_finite() || rate <= 0.0 {
            return Err(error("it must be more than zero"));
        }
        Ok(Self(rate))
    }
}

/// What both kinds of text begin and end with, or why it does not.
fn number_and_unit(text: &str) -> Result<(f64, &str), &'static str> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or("the unit is missing")?;
    let (number, unit) = text.split_at(unit_at);
    Ok((number.parse().map_err(|_| "it does not start with a number")?, unit.trim()))
}

impl fmt::Display for Rate {
    /// At most three significant digits, without `/s`: `30 Mbit`, `1.25 Gbit`, `950 bit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 999.5 Mbit would be printed as "1000 Mbit".
        let magnitude = 10f64.powf(self.0.max(1.0).log10().floor() - 2.0);
        let (value, unit) = Self((self.0 / magnitude).round() * magnitude).scaled();
        let decimals = match value {
            v if v >= 99.95 => 0,
            v if v >= 9.995 => 1,
            _ => 2,
        };
        let number = format!("{value:.decimals$}");
        let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
        f.pad(&format!("{number} {unit}"))
    }
}

/// A size in bytes, as the configuration has it: a number and a unit (`B`, `KiB`, `MiB`, `GiB`, `TiB`, or the decimal `kB`,
/// `MB`, `GB`, `TB`), without regard to case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(u64);

impl Size {
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let error = |why| format!("{given:?} is not a size: {why}; write for example 512MiB or 64GiB");
        let (number, unit) = number_and_unit(given).map_err(error)?;
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "b" => 1,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(error("the unit is unknown")),
        };
        Ok(Self((number * factor as f64) as u64))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&size(self.0))
    }
}

/// A rate in bits per second as text: `30 Mbit/s`.
pub fn rate(bits_per_second: f64) -> String {
    format!("{}/s", Rate::from_bits_per_second(bits_per_second))
}

/// A size in bytes as text in binary units: `115.0 MiB`, `8.0 GiB`, `512 B`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be printed as "1024.0".
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A span in seconds as text: `0.31 s`, `39.4 s`, `2 min 05 s`, `1 h 02 min`.
pub fn span(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "never".to_owned();
    }
    let seconds = seconds.max(0.0);
    match seconds {
        s if s < 0.995 => format!("{s:.2} s"),
        s if s < 99.95 => format!("{s:.1} s"),
        s if s < 3599.5 => format!("{} min {:02} s", s.round() as u64 / 60, s.round() as u64 % 60),
        s => {
            let minutes = (s / 60.0).round() as u64;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
    }
}

/// Reads a duration such as `30s`; of what is none, says what to write.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= Duration::from_millis(100) => Ok(duration),
        Ok(_) => Err("it must be at least 100ms".to_owned()),
        Err(error) => Err(format!("{error}; write for example 30s, 500ms or 2min")),
    }
}

/// Reads a duration, or `auto`, which is `None`.
pub fn duration_or_auto(text: &str) -> Result<Option<Duration>, String> {
    if text == "auto" {
        return Ok(None);
    }
    duration(text).map(Some).map_err(|error| format!("{error}, or auto"))
}

/// Reads a downtime that a pre-copy may be allowed: no less than QEMU's own limit, no more than the 2000 s that it takes.
pub fn max_downtime(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        limit if limit < Duration::from_millis(300) => Err("QEMU allows 300ms by itself; write more".to_owned()),
        limit if limit > Duration::from_secs(2000) => Err("QEMU takes no more than 2000s".to_owned()),
        limit => Ok(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_manual_promises() {
        for (text, bits) in [
            ("100Mbit", 1e8),
            ("1Gbit", 1e9),
            ("1 Gbit/s", 1e9),
            ("2.5Gbps", 2.5e9),
            ("12MB/s", 96e6),
            ("8B/s", 64.0),
            ("1GiB/s", 8.0 * 1073741824.0),
            ("64KiB/s", 524288.0),
        ] {
            assert_eq!(text.parse::<Rate>().map(Rate::bits_per_second), Ok(bits), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_be_misread() {
        for text in
            ["", "fast", "100", "-1Mbit", "0Mbit", "1.2.3Mbit", "10b", "10Mb/s", "10Mbits per second", "1e400Gbit"]
        {
            let error = text.parse::<Rate>().expect_err(text);
            assert!(error.contains("100Mbit"), "{text}: the message shows what would be right: {error}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for text in ["100 Mbit", "1 Gbit", "1.25 Gbit", "30 Mbit", "950 bit", "9.6 kbit"] {
            let rate: Rate = text.parse().expect("a rate");
            assert_eq!(rate.to_string(), text);
            assert_eq!(format!("{rate}/s").parse::<Rate>(), Ok(rate));
            assert_eq!(rate.as_option(), text.replace(' ', ""));
        }
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, bytes) in
            [("64GiB", 64 << 30), ("1.5 GiB", 3 << 29), ("512mib", 512 << 20), ("2GB", 2_000_000_000), ("0B", 0)]
        {
            assert_eq!(text.parse::<Size>().map(Size::bytes), Ok(bytes), "{text}");
        }
        for text in ["", "64", "64G", "GiB", "-1GiB", "1.2.3GiB"] {
            let error = text.parse::<Size>().expect_err(text);
            assert!(error.contains("64GiB"), "{text}: the message shows what would be right: {error}");
        }
    }

    #[test]
    fn prints_three_digits_and_keeps_all_for_an_option() {
        for (bits, text) in [
            (299.2e6, "299 Mbit"),
            (99.96e6, "100 Mbit"),
            (62.28e6, "62.3 Mbit"),
            (999.6e6, "1 Gbit"),
            (1.2345e9, "1.23 Gbit"),
            (279.2, "279 bit"),
            (0.4, "0.4 bit"),
            (0.0, "0 bit"),
        ] {
            assert_eq!(Rate::from_bits_per_second(bits).to_string(), text);
        }
        let rate = Rate::from_bits_per_second(1.2345e9);
        assert_eq!(rate.as_option(), "1.2345Gbit");
        assert_eq!(rate.as_option().parse(), Ok(rate));
    }

    #[test]
    fn sizes_and_spans_are_short() {
        assert_eq!(size(120_586_240), "115.0 MiB");
        assert_eq!(size(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(size(12), "12 B");
        assert_eq!(span(0.313), "0.31 s");
        assert_eq!(span(39.44), "39.4 s");
        assert_eq!(span(125.2), "2 min 05 s");
        assert_eq!(span(3720.0), "1 h 02 min");
        assert_eq!(span(f64::INFINITY), "never");
    }
}
