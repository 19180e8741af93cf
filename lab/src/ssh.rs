//! One directory that becomes `/etc/ssh` on the hosts and the client, so that everybody in the lab
//! reaches all hosts as root without a prompt, and no file of the user's takes part.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::run::capture;

/// One key for the whole lab: it identifies the hosts and their users alike. It exists only as
/// long as the lab does, and nothing outside can reach the lab.
const KEY: &str = "key";

const CLIENT: &str = "\
Host *
    User root
    IdentityFile /etc/ssh/key
    IdentitiesOnly yes
    GlobalKnownHostsFile /etc/ssh/known_hosts
    UserKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    LogLevel ERROR
";

const SERVER: &str = "\
HostKey /etc/ssh/key
AuthorizedKeysFile /etc/ssh/key.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
UseDNS no
";

/// Fills a new directory with a fresh key and the configuration of both sides.
pub(crate) fn write(dir: &Path) -> Result<()> {
    fs::create_dir(dir).with_context(|| format!("creating {}", dir.display()))?;
    let key = dir.join(KEY);
    capture(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "tsmig-lab", "-f"]).arg(&key))?;
    let public = fs::read_to_string(key.with_extension("pub")).context("reading the lab's ssh key")?;
    for (name, text) in [("ssh_config", CLIENT), ("sshd_config", SERVER), ("known_hosts", &format!("* {public}"))] {
        fs::write(dir.join(name), text).with_context(|| format!("writing the lab's {name}"))?;
    }
    Ok(())
}
