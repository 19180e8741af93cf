//! What can be wrong with a host: too little memory, a libvirt that is configured otherwise.

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};

use crate::{lab::Lab, node::Node};

impl Lab {
    /// Makes a host's libvirt see that much free memory, in MiB, or, by `None`, what there is.
    pub fn set_free_memory(&self, host: Node, free_mib: Option<u64>) -> Result<()> {
        let script = match free_mib {
            // Whatever stands there already is covered as well.
            Some(mib) => format!(
                "printf 'MemTotal: 16777216 kB\\nMemFree: {} kB\\nBuffers: 0 kB\\nCached: 0 kB\\n' > /run/meminfo && \
                 mount --bind /run/meminfo /proc/meminfo",
                mib << 10
            ),
            None => "while umount /proc/meminfo 2>/dev/null; do :; done".to_owned(),
        };
        self.run(host, &["sh", "-c", &script]).with_context(|| format!("setting the memory of {host}"))?;
        Ok(())
    }

    /// Sets one option of a host's `libvirtd.conf`, in its syntax (`auth_tcp = "sasl"`), and starts libvirtd anew. The
    /// guests run on.
    pub fn set_libvirtd_option(&self, host: Node, line: &str) -> Result<()> {
        self.set_options(host, "libvirtd.conf", &[line])
    }

    /// Sets options of a host's `qemu.conf` in the same way.
    pub fn set_qemu_options(&self, host: Node, lines: &[&str]) -> Result<()> {
        self.set_options(host, "qemu.conf", lines)
    }

    fn set_options(&self, host: Node, file: &str, lines: &[&str]) -> Result<()> {
        let path = format!("/etc/libvirt/{file}");
        for line in lines {
            let (key, _) = line.split_once(' ').context("an option and its value")?;
            let script = format!("sed -i '/^{key} /d' {path} && printf '%s\\n' '{line}' >> {path}");
            self.run(host, &["sh", "-c", &script]).with_context(|| format!("configuring the libvirtd of {host}"))?;
        }
        kill(self.libvirtd_pid(host)?, Signal::SIGKILL).with_context(|| format!("stopping the libvirtd of {host}"))?;
        self.start_daemons()
    }
}
