//! What the client sees differently from the machine: names and ssh.
//!
//! The client runs over the machine's own root filesystem, so that the `tsmig` just built and the
//! machine's `virsh` are at hand. Files are covered, in the client's mount namespace only; no mount
//! point is ever created outside it.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::{Context, Result};
use nix::{
    mount::{MsFlags, mount},
    unistd::{Uid, User},
};

use crate::{node::hosts_file, spec::LabSpec};

/// Covers the machine's files with the lab's, in this process's mount namespace.
///
/// `private` is the node's own filesystem, `ssh` the lab's ssh directory.
pub(crate) fn cover(spec: &LabSpec, private: &Path, ssh: &Path) -> Result<()> {
    let hosts = private.join("hosts");
    fs::write(&hosts, hosts_file(spec.nodes(), true)).context("writing the client's hosts file")?;
    bind(&hosts, Path::new("/etc/hosts"))?;
    bind(ssh, Path::new("/etc/ssh"))?;

    // A resolver daemon of the machine would not know the lab's names.
    let names = private.join("nsswitch.conf");
    fs::write(&names, "passwd: files\ngroup: files\nhosts: files\n").context("writing the client's nsswitch.conf")?;
    let machine_names = Path::new("/etc/nsswitch.conf");
    if machine_names.exists() {
        bind(&names, machine_names)?;
    }

    // The user's own ssh settings would come before the lab's. ssh finds them by the home
    // directory in passwd, whatever HOME says.
    let user = User::from_uid(Uid::current()).context("looking up the user")?;
    let settings = user.context("the user has no entry in passwd")?.dir.join(".ssh");
    if settings.is_dir() {
        let empty = private.join("no-ssh-settings");
        fs::create_dir(&empty).context("creating an empty directory")?;
        bind(&empty, &settings)?;
    }
    Ok(())
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    File::open(target).with_context(|| format!("the lab needs {} to exist", target.display()))?;
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("covering {}", target.display()))
}
