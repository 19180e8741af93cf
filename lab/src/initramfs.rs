//! The guests' initramfs: `/init`, the modules that it loads, and nothing else.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};
use cpio::newc;
use tsmig_lab_guest::MODULES;

/// Name of the initramfs in the directory of the kernel.
pub(crate) const NAME: &str = "initramfs";

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Writes the initramfs with that init and the modules out of that directory.
pub(crate) fn write(target: &Path, init: &Path, modules: &Path) -> Result<()> {
    let mut archive = Vec::new();
    add(&mut archive, "modules", DIRECTORY, &[])?;
    for name in MODULES {
        let path = modules.join(format!("{name}.ko"));
        if path.exists() {
            add(&mut archive, &format!("modules/{name}.ko"), PROGRAM, &read(&path)?)?;
        }
    }
    add(&mut archive, "init", PROGRAM, &read(init)?)?;
    let archive = newc::trailer(archive).context("ending the initramfs")?;
    fs::write(target, archive).with_context(|| format!("writing {}", target.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn add(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let size = content.len().try_into().map_err(io::Error::other)?;
    let mut writer = newc::Builder::new(name).mode(mode).write(archive, size);
    writer.write_all(content)?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_init_and_modules() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("the-init"), "I").unwrap();
        fs::write(path("virtio.ko"), "M").unwrap();
        write(&path("out"), &path("the-init"), dir.path()).unwrap();

        let mut names = Vec::new();
        let mut input = fs::File::open(path("out")).unwrap();
        loop {
            let reader = newc::Reader::new(input).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push((reader.entry().name().to_owned(), reader.entry().mode()));
            input = reader.finish().unwrap();
        }
        assert_eq!(
            names,
            [
                ("modules".to_owned(), DIRECTORY),
                ("modules/virtio.ko".to_owned(), PROGRAM),
                ("init".to_owned(), PROGRAM)
            ]
        );
    }
}
