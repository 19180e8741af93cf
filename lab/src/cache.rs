//! Things that take long to make and are then kept for all labs.
//!
//! A cached directory is made under another name and renamed when it is whole, so a name that
//! exists can be used; a lock keeps two labs from making the same thing at once.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use nix::fcntl::{Flock, FlockArg};

use crate::{paths::CACHE, run::note};

/// The cached directory of that name, made by `make` if there is none yet.
///
/// `make` gets the path of a directory that does not exist.
pub(crate) fn ensure(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = Path::new(CACHE);
    let ready = cache.join(name);
    if ready.is_dir() {
        return Ok(ready);
    }
    fs::create_dir_all(cache).with_context(|| format!("creating {CACHE}"))?;
    let lock = cache.join(format!("{name}.lock"));
    let file = File::create(&lock).with_context(|| format!("creating {}", lock.display()))?;
    let _lock = Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| anyhow!(errno))
        .with_context(|| format!("locking {}", lock.display()))?;
    if ready.is_dir() {
        return Ok(ready);
    }

    note(&format!("making {} (once)", ready.display()));
    let prefix = format!("{name}.making.");
    remove_abandoned(cache, &prefix);
    let making = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(cache)
        .with_context(|| format!("creating a directory in {CACHE}"))?;
    let made = making.path().join("made");
    make(&made).with_context(|| format!("making {}", ready.display()))?;
    fs::rename(&made, &ready).with_context(|| format!("renaming to {}", ready.display()))?;
    Ok(ready)
}

/// Removes what a killed process left half made. Whoever holds the lock is the only maker.
fn remove_abandoned(cache: &Path, prefix: &str) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            // What cannot be removed now wastes space, no more.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
