//! What a host sees as its root: the cached Debian root of its release, with changes kept in memory
//! and gone with the host, and the configuration of libvirt and QEMU for the lab.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result};
use nix::{
    mount::{MsFlags, mount},
    unistd::chroot,
};

use crate::{
    census,
    node::{Node, hosts_file},
    paths::{LabDir, SHARED_ON_HOST},
    rootfs,
    spec::{Accelerator, LabSpec},
};

/// QEMU as root and without the confinements that need more of the machine than namespaces: the
/// lab's guests are its own. `stdio_handler` spares the hosts a virtlogd.
const QEMU_CONF: &str = "\
user = \"root\"
group = \"root\"
security_driver = \"none\"
namespaces = []
cgroup_controllers = []
remember_owner = 0
seccomp_sandbox = 0
stdio_handler = \"file\"
";

/// What tells libvirt of bonds. Many hosts do not have it: it is a package of its own. So host-b does not.
const INTERFACE_DRIVER: &str = "usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_interface.so";

/// Mounts the root of a host in this process's mount namespace, and enters it.
pub(crate) fn enter(node: Node, dir: &LabDir, spec: &LabSpec) -> Result<()> {
    let base = rootfs::ensure(spec.release(node))?;
    let private = dir.private(node);
    let [upper, work, root] = ["upper", "work", "root"].map(|name| private.join(name));
    for dir in [&upper, &work, &root] {
        fs::create_dir(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    let layers = format!("lowerdir={},upperdir={},workdir={}", base.display(), upper.display(), work.display());
    // Marked as well: in the host, nothing above this mount can be seen.
    let mark = census::mark(dir.name());
    mount(Some(mark.as_str()), &root, Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
        .context("mounting the host's root")?;

    for kind in ["proc", "sysfs"] {
        let target = root.join(if kind == "proc" { "proc" } else { "sys" });
        mount(Some(kind), &target, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting the host's {kind}"))?;
    }
    bind(Path::new("/dev"), &root.join("dev"))?;
    if spec.accelerator == Accelerator::Tcg {
        hide_kvm(&root)?;
    }
    bind(&dir.ssh(), &root.join("etc/ssh"))?;
    bind(&dir.shared(), &root.join(SHARED_ON_HOST.trim_start_matches('/')))?;

    configure(node, &root, spec)?;
    if node == Node::HostB {
        fs::remove_file(root.join(INTERFACE_DRIVER)).context("removing the interface driver of the host")?;
    }
    chroot(&root).context("entering the host's root")
}

/// Nobody can use KVM then, root neither. As long as only some users can, libvirt does not believe its cache of what QEMU can
/// do, and starts QEMU for each question.
fn hide_kvm(root: &Path) -> Result<()> {
    let (kvm, nothing) = (root.join("dev/kvm"), root.join("run/no-kvm"));
    if !kvm.exists() {
        return Ok(());
    }
    fs::write(&nothing, "").context("writing the host's /run/no-kvm")?;
    let flags = [MsFlags::MS_BIND, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY];
    flags
        .into_iter()
        .try_for_each(|flags| mount(Some(&nothing), &kvm, None::<&str>, flags, None::<&str>))
        .context("hiding KVM from the host")
}

/// Makes `source` and what is mounted below it appear at `target`.
fn bind(source: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(target).with_context(|| format!("creating {}", target.display()))?;
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("binding {} to {}", source.display(), target.display()))
}

fn configure(node: Node, root: &Path, spec: &LabSpec) -> Result<()> {
    // sshd wants the first; the second is for disks that only this host has; libvirt keeps the guests' MAC addresses in
    // the third, and makes it only for a network that needs dnsmasq.
    for dir in ["run/sshd", "srv/private", "var/lib/libvirt/dnsmasq"] {
        fs::create_dir_all(root.join(dir)).with_context(|| format!("creating /{dir} of the host"))?;
    }
    for (name, text) in [
        ("etc/hosts", hosts_file(spec.nodes(), false)),
        ("etc/hostname", format!("{node}\n")),
        ("etc/libvirt/libvirtd.conf", libvirtd_conf(node)),
        ("etc/libvirt/qemu.conf", QEMU_CONF.to_owned()),
    ] {
        fs::write(root.join(name), text).with_context(|| format!("writing /{name} of the host"))?;
    }
    // libvirtd starts them with itself.
    let networks = root.join("etc/libvirt/qemu/networks");
    for (name, xml) in spec.libvirt_networks() {
        let file = format!("{name}.xml");
        fs::write(networks.join(&file), xml).with_context(|| format!("defining the network {name} of the host"))?;
        symlink(format!("../{file}"), networks.join("autostart").join(&file))
            .with_context(|| format!("making the network {name} of the host start"))?;
    }
    Ok(())
}

/// No authentication, as nothing outside the lab reaches a host. Without a UUID of their own all
/// hosts would have the machine's, and libvirt refuses to migrate from a host to itself.
fn libvirtd_conf(node: Node) -> String {
    let last = node.name().trim_start_matches("host-");
    format!(
        "\
listen_tls = 0
listen_tcp = 1
auth_tcp = \"none\"
auth_unix_ro = \"none\"
auth_unix_rw = \"none\"
host_uuid = \"7c1e5a0e-0000-4000-8000-00000000000{last}\"
"
    )
}
