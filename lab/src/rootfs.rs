//! The root filesystems of the hosts: Debian with libvirt and QEMU, unpacked once per release.
//!
//! They come from the hosts' release, not the machine's: Debian 12's QEMU corrupts guests that
//! migrate under load without KVM, and the machine need not have a libvirt daemon at all.

use std::{fmt, path::PathBuf, process::Command};

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{cache, run::capture};

/// To be raised when what is in a root changes, so that old caches are not used.
const GENERATION: u32 = 2;

const PACKAGES: &str = "libvirt-daemon-system,libvirt-daemon-driver-qemu,libvirt-clients,\
                        qemu-system-x86,iproute2,openssh-client,openssh-server,netcat-openbsd";

/// The Debian release that a host runs, in the order in which they were released.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Release {
    /// Debian 12: libvirt 9.0, QEMU 7.2.
    Bookworm,
    /// Debian 13: libvirt 11.3, QEMU 10.0.
    #[default]
    Trixie,
    /// Debian 14, not released yet: libvirt 12.8, QEMU 11.1 (in November 2026).
    Forky,
}

impl Release {
    /// The newest machine type that its QEMU and those of all later releases know.
    pub(crate) fn machine(self) -> &'static str {
        match self {
            Self::Bookworm => "pc-i440fx-7.2",
            Self::Trixie => "pc-i440fx-10.0",
            Self::Forky => "pc",
        }
    }

    /// What its host has in it, separated by commas.
    fn packages(self) -> String {
        match self {
            // The interface driver is a part of its libvirt-daemon.
            Self::Bookworm => PACKAGES.to_owned(),
            Self::Trixie | Self::Forky => format!("{PACKAGES},libvirt-daemon-driver-interface"),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Forky => "forky",
        })
    }
}

/// The root of a release, made if need be.
pub(crate) fn ensure(release: Release) -> Result<PathBuf> {
    cache::ensure(&format!("root-{release}-{GENERATION}"), |dir| {
        capture(
            Command::new("mmdebstrap")
                .args(["--quiet", "--variant=apt"])
                // A mirror's copy of a release in the making may be older than the week for which it vouches.
                .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
                .arg(format!("--include={}", release.packages()))
                .arg(release.to_string())
                .arg(dir),
        )?;
        Ok(())
    })
}
