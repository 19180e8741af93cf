//! Where things are: the caches, the files of one lab, and the lab's own binaries.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::node::Node;

/// Caches that all labs share: host roots and the guest kernel.
pub(crate) const CACHE: &str = "/var/cache/tsmig-lab";

/// Parent of the labs' directories.
pub(crate) const LABS: &str = "/var/lib/tsmig-lab";

/// Where [`LabDir::shared`] appears on all hosts.
pub(crate) const SHARED_ON_HOST: &str = "/srv/shared";

/// The directory of one lab.
#[derive(Debug, Clone)]
pub(crate) struct LabDir {
    name: String,
    path: PathBuf,
}

impl LabDir {
    /// The directory of the lab of that name, whether it exists or not.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            !name.is_empty() && name.len() <= 40 && name.chars().all(plain),
            "a lab's name consists of at most 40 of a-z, 0-9 and -, unlike {name:?}"
        );
        Ok(Self { name: name.to_owned(), path: Path::new(LABS).join(name) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the lab was asked to be.
    pub(crate) fn spec(&self) -> PathBuf {
        self.path.join("lab.json")
    }

    /// The pids of the holders; written last, so it is there only if the lab came up.
    pub(crate) fn holders(&self) -> PathBuf {
        self.path.join("holders.json")
    }

    /// The guests that were added.
    pub(crate) fn guests(&self) -> PathBuf {
        self.path.join("guests.json")
    }

    /// What becomes `/etc/ssh` on the hosts and the client.
    pub(crate) fn ssh(&self) -> PathBuf {
        self.path.join("ssh")
    }

    /// The client's configuration directory (`XDG_CONFIG_HOME`).
    pub(crate) fn configuration(&self) -> PathBuf {
        self.path.join("configuration")
    }

    /// What tsmig's runs in the client leave (`XDG_STATE_HOME`): labs are not to meet there.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// The directory that all hosts see as [`SHARED_ON_HOST`].
    pub(crate) fn shared(&self) -> PathBuf {
        self.path.join("shared")
    }

    /// A guest's console, whichever host the guest runs on.
    pub(crate) fn console(&self, guest: &str) -> PathBuf {
        self.shared().join("console").join(guest)
    }

    /// The peer's record of the guests' traffic.
    pub(crate) fn traffic(&self) -> PathBuf {
        self.path.join("traffic.jsonl")
    }

    /// Mount point of a node's private files; they are seen only from within the node.
    pub(crate) fn private(&self, node: Node) -> PathBuf {
        self.path.join("nodes").join(node.name())
    }

    /// Messages of a node's daemons.
    pub(crate) fn log(&self, node: Node) -> PathBuf {
        self.path.join(format!("{node}.log"))
    }
}

/// The `tsmig-lab` binary: this process's own, or the one that was built beside it.
///
/// The library runs inside tests and benchmarks too, which lie in the same target directory or in
/// its `deps`.
pub(crate) fn lab_binary() -> Result<PathBuf> {
    let own = env::current_exe().context("finding this program's own file")?;
    let beside = own.ancestors().skip(1).take(2).map(|dir| dir.join("tsmig-lab"));
    match beside.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "there is no tsmig-lab binary beside {}; run `cargo build -p tsmig-lab` with the same profile",
            own.display()
        ),
    }
}

/// The guests' static `/init`: `TSMIG_LAB_GUEST`, or the one that was built into the target
/// directory of the `tsmig-lab` binary.
pub(crate) fn guest_binary() -> Result<PathBuf> {
    const NAME: &str = "tsmig-lab-guest";
    const IN_TARGET: &str = "x86_64-unknown-linux-gnu/release";
    if let Some(path) = env::var_os("TSMIG_LAB_GUEST") {
        return Ok(path.into());
    }
    let lab = lab_binary()?;
    let dir = lab.parent().context("the tsmig-lab binary has no directory")?;
    let target = dir.parent().context("the tsmig-lab binary is in no target directory")?;
    let path = target.join(IN_TARGET).join(NAME);
    ensure!(
        path.is_file(),
        "the guests' init is not at {}; build it with\n  \
         RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target x86_64-unknown-linux-gnu -p {NAME}\n\
         or name it in TSMIG_LAB_GUEST",
        path.display()
    );
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_directory() {
        assert!(LabDir::new("lab-2").is_ok());
        for name in ["", "..", "a/b", "Lab", "a b"] {
            assert!(LabDir::new(name).is_err(), "{name}");
        }
    }
}
