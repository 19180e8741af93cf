//! Guests that an error pauses, before they move and while they do.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tsmig_lab::{Lab, Node};

use crate::harness::{Test, assert_states, run, start};

pub const TESTS: &[(&str, Test)] = &[
    ("fault_guests_that_an_error_has_paused_are_named_and_arrive_paused", before),
    ("fault_guest_that_an_error_pauses_on_its_way_does_not_count_as_running", during),
];

/// A disk from which a guest boots that reads another part of it at each key: that part can't be read, since the image,
/// of format qcow2, says that it is where nothing can be.
fn broken_disk() -> Vec<u8> {
    const CLUSTER: usize = 1 << 16;
    const IN_USE: u64 = 1 << 63;
    let mut image = vec![0; 6 * CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    let cluster = |number: usize| (number * CLUSTER) as u64;
    // Version 2, no backing file, 64 MiB; one table of each kind.
    put(0, b"QFI\xfb");
    put(7, &[2]);
    put(23, &[16]);
    put(24, &(64_u64 << 20).to_be_bytes());
    put(39, &[1]);
    put(40, &cluster(1).to_be_bytes());
    put(48, &cluster(4).to_be_bytes());
    put(59, &[1]);
    put(CLUSTER, &(cluster(2) | IN_USE).to_be_bytes());
    put(2 * CLUSTER, &(cluster(3) | IN_USE).to_be_bytes());
    put(2 * CLUSTER + 8, &((cluster(3) + 512) | IN_USE).to_be_bytes());
    put(4 * CLUSTER, &cluster(5).to_be_bytes());
    put(5 * CLUSTER, &[0_u8, 1].repeat(6));
    // xor ax,ax; mov ds,ax; mov ss,ax; mov sp,0x7c00; then again and again: wait for a key (int 0x16), read (int 0x13).
    put(3 * CLUSTER, &[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xb4, 0x00, 0xcd, 0x16]);
    put(3 * CLUSTER + 13, &[0xbe, 0x20, 0x7c, 0xb4, 0x42, 0xcd, 0x13, 0xeb, 0xf3]);
    // One sector, to 0x7e00, from sector 128 on.
    put(3 * CLUSTER + 0x20, &[0x10, 0, 1, 0, 0, 0x7e, 0, 0, 128]);
    put(3 * CLUSTER + 510, &[0x55, 0xaa]);
    image
}

/// Starts a guest with that disk and waits until it has booted from it.
fn boot(lab: &Lab, name: &str, memory_mib: u32) -> Result<()> {
    std::fs::write(lab.shared_dir().join("broken.qcow2"), broken_disk())?;
    let xml = format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>{name}</name>\
         <memory unit='MiB'>{memory_mib}</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os><features><acpi/></features>\
         <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>\
         <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/>\
         <disk type='file' device='disk'><driver name='qemu' type='qcow2' error_policy='stop' rerror_policy='stop'/>\
         <source file='/srv/shared/broken.qcow2'/><target dev='vda' bus='virtio'/><readonly/></disk>\
         <watchdog model='ib700' action='pause'/></devices><qemu:commandline><qemu:arg value='-monitor'/>\
         <qemu:arg value='unix:/run/{name}.monitor,server=on,wait=off'/></qemu:commandline></domain>"
    );
    let script = "printf %s \"$1\" > /run/broken.xml && virsh define /run/broken.xml && virsh start \"$2\"";
    lab.run(Node::HostA, &["sh", "-ec", script, "sh", &xml, name])?;
    let start = Instant::now();
    while !lab.run(Node::HostA, &["virsh", "qemu-monitor-command", name, "--hmp", "xp /1xb 0x7c00"])?.contains("0x31") {
        ensure!(start.elapsed() < Duration::from_secs(60), "{name} does not boot");
    }
    Ok(())
}

fn wait_for_state(lab: &Lab, guest: &str, state: &str) -> Result<()> {
    let start = Instant::now();
    while lab.state(Node::HostA, guest)?.as_deref() != Some(state) {
        ensure!(start.elapsed() < Duration::from_secs(60), "{guest} is {:?}", lab.state(Node::HostA, guest));
    }
    Ok(())
}

/// Lets the guest read what can't be read. libvirt would wait with that for the end of a migration.
fn press_a_key(lab: &Lab, guest: &str) -> Result<()> {
    let script = format!("echo sendkey a | nc -N -U /run/{guest}.monitor");
    lab.run(Node::HostA, &["sh", "-ec", &script]).map(drop)
}

fn before(lab: &Lab) -> Result<()> {
    boot(lab, "disk", 64)?;
    boot(lab, "dog", 64)?;
    press_a_key(lab, "disk")?;
    wait_for_state(lab, "disk", "paused (I/O error)")?;
    // The watchdog's own register: it ends at once.
    lab.run(Node::HostA, &["virsh", "qemu-monitor-command", "dog", "--hmp", "o /b 0x443 0xf"])?;
    wait_for_state(lab, "dog", "paused (watchdog)")?;

    let plan = run(lab, &["plan", "host-a", "host-b", "--output", "json"])?.plan()?;
    let run = run(lab, &["evacuate", "host-a", "host-b", "--output", "json"])?;
    for (name, fault, remedy) in
        [("disk", "an I/O error", "virsh domblkerror disk"), ("dog", "its watchdog", "virsh reset dog")]
    {
        let note = format!("{name} is paused by {fault}");
        let notes = plan["notes"].as_array().into_iter().flatten().filter_map(|note| note["message"].as_str());
        ensure!(notes.into_iter().any(|words| words.starts_with(&note) && words.contains(remedy)), "{plan}");
        run.expect(0, name, "migrated")?;
        let report = run.report()?;
        let domain = report["domains"].as_array().into_iter().flatten().find(|domain| domain["domain"] == name);
        let notice = domain.and_then(|domain| domain["notice"]["message"].as_str()).unwrap_or_default().to_owned();
        ensure!(notice.contains(fault) && notice.contains("as it was before"), "{report}");
        assert_states(lab, name, None, Some("paused"))?;
    }
    // As the note says.
    for command in [["virsh", "resume", "disk"], ["virsh", "reset", "dog"], ["virsh", "resume", "dog"]] {
        lab.run(Node::HostB, &command)?;
    }
    assert_states(lab, "dog", None, Some("running"))
}

fn during(lab: &Lab) -> Result<()> {
    // Memory that was never written still costs some bytes for each page: ten seconds for all of it.
    boot(lab, "disk", 4096)?;
    let mut running = start(lab, &["evacuate", "host-a", "host-b", "--technique", "pre-copy", "--bandwidth", "9Mbit"])?;
    running.wait_for_progress("disk")?;
    press_a_key(lab, "disk")?;
    wait_for_state(lab, "disk", "paused (I/O error)")?;
    let run = running.end()?;
    run.expect(3, "disk", "migrated")?;
    let report = run.report()?;
    let domain = &report["domains"][0];
    ensure!(domain["paused_by"] == "io-error", "{report}");
    let notice = domain["notice"]["message"].as_str().unwrap_or_default();
    for words in ["paused at host-b by an I/O error, although it ran before", "virsh resume disk"] {
        ensure!(notice.contains(words), "{words}: {report}");
    }
    assert_states(lab, "disk", None, Some("paused"))?;
    lab.run(Node::HostB, &["virsh", "resume", "disk"]).map(drop)
}
