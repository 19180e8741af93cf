//! The machine's programs that the lab runs, and the Debian packages that have them.

use std::{env, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::run::{capture, note};

const PROGRAMS: [(&str, &str); 9] = [
    ("virsh", "libvirt-clients"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("mmdebstrap", "mmdebstrap"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("nsenter", "util-linux"),
    ("env", "coreutils"),
    ("unxz", "xz-utils"),
];

/// Installs what is missing; says what, and does nothing if nothing is.
pub(crate) fn ensure() -> Result<()> {
    let mut packages: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| !is_there(program)).map(|&(_, package)| package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    note(&format!("installing {}", packages.join(" ")));
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], &packages[..]].concat())
        .with_context(|| format!("install {} by hand and try again", packages.join(" ")))
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    capture(command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q").args(arguments))?;
    Ok(())
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(Path::new);
    env::split_paths(&path).chain(system.map(Path::to_owned)).any(|dir| dir.join(program).is_file())
}
