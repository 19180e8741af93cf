//! What a distribution's own init would have done first: mounts and kernel modules.

use std::{ffi::CStr, fs, fs::File, path::Path};

use anyhow::{Context, Result};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount as mount_filesystem},
};
use tsmig_lab_guest::MODULES;

/// Mounts `/proc` and `/sys`.
pub(crate) fn mount() -> Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys")] {
        fs::create_dir_all(target).with_context(|| format!("creating {target}"))?;
        mount_filesystem(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting {target}"))?;
    }
    Ok(())
}

/// Loads the modules in the initramfs, in order. One that is not there is built into this kernel.
pub(crate) fn load_modules() -> Result<()> {
    const NO_PARAMETERS: &CStr = c"";
    for name in MODULES {
        let path = format!("/modules/{name}.ko");
        if Path::new(&path).exists() {
            let file = File::open(&path).with_context(|| format!("opening {path}"))?;
            finit_module(&file, NO_PARAMETERS, ModuleInitFlags::empty()).with_context(|| format!("loading {name}"))?;
        }
    }
    Ok(())
}
