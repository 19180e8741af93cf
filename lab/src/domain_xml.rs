//! The libvirt definition of a guest.

use std::{collections::BTreeMap, net::SocketAddrV4};

use anyhow::{Context, Result};
use tsmig_lab_guest::{
    config::{GuestConfig, NicConfig},
    flow,
};

use crate::{
    guest::{GuestSpec, Nic},
    initramfs, kernel,
    lab::BOOT,
    networks::PREFIX,
    paths::SHARED_ON_HOST,
    spec::{Accelerator, LabSpec},
};

/// The definition of a guest; `numbers` has the last byte of each guest's addresses.
pub(crate) fn domain_xml(lab: &LabSpec, guest: &GuestSpec, numbers: &BTreeMap<String, u8>) -> Result<String> {
    let GuestSpec { name, memory_mib, devices, elements, .. } = guest;
    let kind = match lab.accelerator {
        Accelerator::Tcg => "qemu",
        Accelerator::Kvm => "kvm",
    };
    let machine = lab.machine();
    let boot = format!("{SHARED_ON_HOST}/{BOOT}");
    let (kernel, initramfs) = (kernel::KERNEL, initramfs::NAME);
    let command_line = config(guest, numbers)?.to_command_line() + if guest.light { " init_on_free=1" } else { "" };
    let number = number_of(&guest.name, numbers)?;
    let interfaces: String = guest.nics.iter().map(|nic| interface(lab, nic, number)).collect::<Result<_>>()?;
    // An emulated processor that any machine can show; a kernel that does not count its timer's ticks when it boots, which are late
    // on a busy machine, and it would panic; and `append`: without it the destination's
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
    <cmdline>console=ttyS0 quiet loglevel=5 no_timer_check {command_line}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    {interfaces}<serial type='file'>
      <source path='{SHARED_ON_HOST}/console/{name}' append='on'/>
    </serial>
    <memballoon model='virtio'><stats period='5'/></memballoon>
    {devices}
  </devices>
</domain>
"
    ))
}

fn interface(lab: &LabSpec, nic: &Nic, number: u8) -> Result<String> {
    let Nic { network, .. } = nic;
    let name = network.name();
    let bridge = lab.bridge(*network).with_context(|| format!("the lab has no network {name}"))?;
    let (kind, source) = if network.is_inner() { ("network", &*name) } else { ("bridge", bridge) };
    let mac = network.guest_mac(number);
    Ok(format!(
        "<interface type='{kind}'>
      <mac address='{mac}'/>
      <source {kind}='{source}'/>
      <model type='virtio'/>
      <rom enabled='no'/>
    </interface>
    "
    ))
}

fn config(guest: &GuestSpec, numbers: &BTreeMap<String, u8>) -> Result<GuestConfig> {
    let number = number_of(&guest.name, numbers)?;
    Ok(GuestConfig {
        name: guest.name.clone(),
        nics: guest.nics.iter().map(|nic| nic_config(nic, number, numbers)).collect::<Result<_>>()?,
        fill: guest.fill_mib << 20,
        freed: guest.freed_mib << 20,
        burst_ms: guest.burst_ms,
        dirty: guest.dirty.bytes_per_second(),
        working_set: guest.working_set_mib << 20,
    })
}

fn nic_config(nic: &Nic, number: u8, numbers: &BTreeMap<String, u8>) -> Result<NicConfig> {
    let network = nic.network;
    let peer = match &nic.other_end {
        Some(guest) => Some(network.address(number_of(guest, numbers)?)),
        None => network.peer(),
    };
    Ok(NicConfig {
        address: network.address(number),
        prefix: PREFIX,
        gateway: network.gateway(),
        peer: peer.map(|address| SocketAddrV4::new(address, flow::PORT)),
        send: nic.send.bits_per_second(),
        receive: nic.receive.bits_per_second(),
    })
}

fn number_of(guest: &str, numbers: &BTreeMap<String, u8>) -> Result<u8> {
    numbers.get(guest).copied().with_context(|| format!("no guest named {guest} was added"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{networks::Network, rate::Rate, rootfs::Release};

    fn numbers() -> BTreeMap<String, u8> {
        [("o1".to_owned(), 16), ("i1".to_owned(), 17)].into()
    }

    #[test]
    fn carries_the_guest() {
        let guest = GuestSpec::new("o1").memory_mib(192).send(Rate::mbit(30)).device("<tpm/>").element("<iothreads/>");
        let xml = domain_xml(&LabSpec::default(), &guest, &numbers()).unwrap();
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
        let xml = domain_xml(&lab, &GuestSpec::new("o1"), &numbers()).unwrap();
        assert!(xml.contains("machine='pc-i440fx-7.2'"));
        assert!(xml.contains("<domain type='kvm'>"));
    }

    #[test]
    fn each_card_is_in_its_network() {
        let send = Rate::mbit(2);
        let guest =
            GuestSpec::new("o1").also_on(Network::Isolated).send(send).with("i1").also_on(Network::Nat).send(send);
        let lab = LabSpec { inner_networks: true, ..LabSpec::default() };
        let xml = domain_xml(&lab, &guest, &numbers()).unwrap();
        for part in [
            "<source bridge='br0'/>",
            "52:54:00:10:30:10",
            "<source network='isolated'/>",
            "tsmig.peer1=10.30.0.17:5000 ",
            "<source network='nat'/>",
            "tsmig.gateway2=10.40.0.1 ",
        ] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
        let error = domain_xml(&LabSpec::default(), &guest, &numbers()).unwrap_err();
        assert!(error.to_string().contains("no network isolated"), "{error}");
    }
}
