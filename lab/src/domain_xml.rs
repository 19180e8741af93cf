//! The libvirt definition of a guest.

use std::net::SocketAddrV4;

use anyhow::{Context, Result};
use tsmig_lab_guest::{config::GuestConfig, flow};

use crate::{
    guest::GuestSpec,
    initramfs, kernel,
    lab::BOOT,
    network::BRIDGE,
    node::{Node, PREFIX, address},
    paths::SHARED_ON_HOST,
    spec::{Accelerator, LabSpec},
};

/// The definition of a guest; `number` is the last byte of its addresses.
pub(crate) fn domain_xml(lab: &LabSpec, guest: &GuestSpec, number: u8) -> Result<String> {
    let GuestSpec { name, memory_mib, devices, elements, .. } = guest;
    let kind = match lab.accelerator {
        Accelerator::Tcg => "qemu",
        Accelerator::Kvm => "kvm",
    };
    let machine = lab.machine();
    let boot = format!("{SHARED_ON_HOST}/{BOOT}");
    let (kernel, initramfs) = (kernel::KERNEL, initramfs::NAME);
    let command_line = config(guest, number)?.to_command_line();
    // An emulated processor that any machine can show, and `append`: without it the destination's
    // QEMU would empty the console that the source's has written.
    Ok(format!(
        "\
<domain type='{kind}'>
  <name>{name}</name>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>1</vcpu>
  {elements}
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    <kernel>{boot}/{kernel}</kernel>
    <initrd>{boot}/{initramfs}</initrd>
    <cmdline>console=ttyS0 quiet loglevel=5 {command_line}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <interface type='bridge'>
      <mac address='52:54:00:10:10:{number:02x}'/>
      <source bridge='{BRIDGE}'/>
      <model type='virtio'/>
      <rom enabled='no'/>
    </interface>
    <serial type='file'>
      <source path='{SHARED_ON_HOST}/console/{name}' append='on'/>
    </serial>
    <memballoon model='virtio'><stats period='5'/></memballoon>
    {devices}
  </devices>
</domain>
"
    ))
}

fn config(guest: &GuestSpec, number: u8) -> Result<GuestConfig> {
    let peer = Node::Peer.address().context("the peer has no address")?;
    Ok(GuestConfig {
        name: guest.name.clone(),
        address: address(number),
        prefix: PREFIX,
        peer: SocketAddrV4::new(peer, flow::PORT),
        send: guest.send.bits_per_second(),
        receive: guest.receive.bits_per_second(),
        fill: guest.fill_mib << 20,
        dirty: guest.dirty.bytes_per_second(),
        working_set: guest.working_set_mib << 20,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rate::Rate, rootfs::Release};

    #[test]
    fn carries_the_guest() {
        let guest = GuestSpec::new("o1").memory_mib(192).send(Rate::mbit(30)).device("<tpm/>").element("<iothreads/>");
        let xml = domain_xml(&LabSpec::default(), &guest, 16).unwrap();
        for part in [
            "<domain type='qemu'>",
            "<name>o1</name>",
            "<memory unit='MiB'>192</memory>",
            "machine='pc-i440fx-10.0'",
            "tsmig.send=30000000 ",
            "tsmig.address=10.10.0.16/24 ",
            "52:54:00:10:10:10",
            "<tpm/>",
            "<iothreads/>",
        ] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
    }

    #[test]
    fn an_old_host_sets_the_machine() {
        let lab = LabSpec { release_b: Release::Bookworm, accelerator: Accelerator::Kvm, ..LabSpec::default() };
        let xml = domain_xml(&lab, &GuestSpec::new("o1"), 17).unwrap();
        assert!(xml.contains("machine='pc-i440fx-7.2'"));
        assert!(xml.contains("<domain type='kvm'>"));
    }
}
