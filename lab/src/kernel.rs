//! The guests' kernel: Debian's kernel for clouds, unpacked but not installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use tsmig_lab_guest::MODULES;

use crate::{cache, run::capture};

/// To be raised when what is in the cache changes.
const GENERATION: u32 = 1;

/// Depends on the current kernel; has no files of its own.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// Name of the kernel in the cached directory; the modules are beside it.
pub(crate) const KERNEL: &str = "vmlinuz";

/// A directory with [`KERNEL`] and the modules that the guests load, made if need be.
pub(crate) fn ensure() -> Result<PathBuf> {
    cache::ensure(&format!("kernel-{GENERATION}"), make)
}

fn make(dir: &Path) -> Result<()> {
    fs::create_dir(dir)?;
    let work = tempfile::tempdir().context("creating a directory to unpack the kernel in")?;
    let package = package_name()?;
    capture(Command::new("apt-get").args(["-q", "download", &package]).current_dir(work.path()))?;
    let archive = find(work.path(), &|name| name.ends_with(".deb"))
        .with_context(|| format!("apt-get downloaded no {package}"))?;
    let tree = work.path().join("tree");
    capture(Command::new("dpkg").arg("-x").arg(archive).arg(&tree))?;

    let kernel = find(&tree.join("boot"), &|name| name.starts_with("vmlinuz"))
        .with_context(|| format!("{package} has no kernel"))?;
    fs::copy(kernel, dir.join(KERNEL))?;
    for name in MODULES {
        let (plain, compressed) = (format!("{name}.ko"), format!("{name}.ko.xz"));
        // A module that is not there is built into the kernel.
        if let Some(path) = find(&tree, &|file| file == plain || file == compressed) {
            let copy = dir.join(path.file_name().context("a file without a name")?);
            fs::copy(&path, &copy)?;
            if copy.extension().is_some_and(|extension| extension == "xz") {
                capture(Command::new("unxz").arg(copy))?;
            }
        }
    }
    Ok(())
}

/// The package with the kernel itself.
fn package_name() -> Result<String> {
    let depends = || capture(Command::new("apt-cache").args(["depends", META_PACKAGE]));
    let name = |text: String| text.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned);
    if let Some(name) = depends().ok().and_then(name) {
        return Ok(name);
    }
    // A machine whose package lists were cleared.
    capture(Command::new("apt-get").args(["-q", "update"]))?;
    match depends().map(name)? {
        Some(name) => Ok(name),
        None => bail!("apt knows no {META_PACKAGE}; the lab needs Debian's package archive in apt's sources"),
    }
}

/// The first file below `dir` whose name is `wanted`.
fn find(dir: &Path, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        match entry.file_type().ok()? {
            kind if kind.is_dir() => find(&path, wanted),
            kind if kind.is_file() && wanted(entry.file_name().to_str()?) => Some(path),
            _ => None,
        }
    })
}
