//! What keeps a domain or a host from taking part is found before anything moves, all of it at once.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tsmig_lab::{Lab, Node};

use crate::harness::{Guests, Run, Test, assert_refused, assert_states, idle, receiver, run, tsmig};

pub const TESTS: &[(&str, Test)] = &[
    ("everything_that_keeps_a_domain_is_found_at_once", findings),
    ("whatever_a_definition_names_is_looked_for_and_what_is_said_mends_it", table),
    ("a_host_that_cannot_take_part_is_named_and_nothing_moves", hosts),
    ("a_destination_whose_libvirt_is_stopped_holds_up_nothing", stopped),
    ("an_emulator_that_hangs_keeps_its_own_domain_only", hanging),
    ("a_domain_of_a_manager_is_left_to_it_unless_the_user_says_otherwise", owned),
    ("a_medium_that_libvirt_drops_keeps_no_domain", media),
    ("a_domain_that_migrates_already_is_refused", migrating),
    ("what_changes_while_profiling_is_no_fault", profiling),
    ("a_link_that_nobody_told_of_is_assumed_with_a_warning", link),
    ("a_host_without_libvirts_interface_driver_is_planned_for_as_one_with_it", interface_driver),
];

/// On host-a alone: local files, a bridge, a libvirt network, which is but a name for the bridge that is there.
const LOCAL_TO_HOST_A: &str = "
    cd /srv/private && truncate -s 1M cd.iso disk.img && truncate -s 8M local.img snap.img busy.img
    ip link show brq >/dev/null 2>&1 || { ip link add brq type bridge && ip link set brq up; }
    printf \"<network><name>ovn</name><forward mode='bridge'/><bridge name='br0'/></network>\" > net.xml
    virsh net-info ovn >/dev/null 2>&1 || virsh net-create net.xml";

fn disk(target: &str, file: &str, more: &str) -> String {
    format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/private/{file}'/>\
         <target dev='{target}' bus='virtio'/>{more}</disk>"
    )
}

fn findings(lab: &Lab) -> Result<()> {
    lab.run(Node::HostA, &["sh", "-ec", LOCAL_TO_HOST_A])?;
    let medium = "<disk type='file' device='cdrom'><source file='/srv/private/cd.iso'/><target dev='hdc' bus='ide'/>\
                  <readonly/></disk>";
    let nic = |kind: &str| {
        format!("<interface type='{kind}'><mac address='52:54:00:10:20:01'/><source {kind}='br0'/></interface>")
    };
    let bridge = "<interface type='bridge'><source bridge='brq'/><model type='virtio'/></interface>";
    let network = "<interface type='network'><source network='ovn'/><model type='virtio'/></interface>";
    let guests = Guests::boot(
        lab,
        vec![
            receiver("free"),
            idle("media").device(medium).device(&disk("vda", "disk.img", "<readonly/>")),
            idle("local").device(&disk("vda", "local.img", "")),
            idle("wires").device(bridge).device(network).device(&nic("bridge")),
            idle("snap").device(&disk("vda", "snap.img", "")),
            idle("busy").device(&disk("vda", "busy.img", "")),
        ],
    )?;
    let twin = format!(
        "<domain type='qemu'><name>twin</name><memory>4096</memory><os><type arch='x86_64'>hvm</type></os><devices>{}\
         </devices></domain>",
        nic("bridge")
    );
    let script = "printf %s \"$1\" > /run/twin.xml && virsh create --paused /run/twin.xml";
    lab.run(Node::HostB, &["sh", "-ec", script, "sh", &twin])?;
    lab.run(Node::HostA, &["virsh", "snapshot-create-as", "snap", "s1", "--disk-only"])?;
    let backup = "printf \"<domainbackup mode='pull'><server transport='unix' socket='/run/busy.sock'/></domainbackup>\" \
                  > /run/backup.xml && virsh backup-begin busy /run/backup.xml";
    lab.run(Node::HostA, &["sh", "-ec", backup])?;

    let expected: [(&str, &[&str]); 5] = [
        ("busy", &["a backup job runs on it", "virsh domjobabort busy"]),
        ("local", &["not on storage that both hosts share", "Migration without shared storage is unsafe", "--exclude"]),
        (
            "media",
            &[
                "drive hdc (/srv/private/cd.iso) is not at host-b",
                "virsh change-media media hdc --eject",
                "disk vda (/srv/private/disk.img) is not at host-b",
            ],
        ),
        ("snap", &["it has a snapshot", "virsh snapshot-delete"]),
        (
            "wires",
            &[
                "host-b has no bridge brq",
                "host-b has no libvirt network ovn",
                "virsh net-define",
                "its MAC address 52:54:00:10:20:01 is taken at host-b by twin",
            ],
        ),
    ];
    let refused = run(lab, &["evacuate", "host-a", "host-b"])?;
    ensure!(refused.status == 1 && refused.stderr.contains("nothing was moved"), "{}", refused.stderr);
    let stays = |name: &str| assert_states(lab, name, Some("running"), None);
    for (name, words) in expected {
        let line = refused.stderr.lines().find(|line| line.trim_start().starts_with(&format!("{name}: ")));
        let line = line.with_context(|| format!("{name} is not named in {}", refused.stderr))?;
        for word in words.iter().filter(|word| **word != "--exclude") {
            ensure!(line.contains(word), "{word} is not in {line}");
        }
        stays(name)?;
    }
    stays("free")?;

    let plan = run(lab, &["plan", "host-a", "host-b", "--output", "json"])?;
    let plan = plan.plan()?;
    let named: Vec<_> = plan["refused"].as_array().context("refused")?.iter().map(|r| &r["domain"]).collect();
    ensure!(named == expected.map(|(name, _)| name), "{plan}");
    ensure!(plan["migrations"].as_array().is_some_and(|steps| steps.len() == 1), "{plan}");

    let partial = run(lab, &["evacuate", "host-a", "host-b", "--partial"])?;
    ensure!(partial.status == 3, "{} {}", partial.stdout, partial.stderr);
    assert_states(lab, "free", None, Some("running"))?;
    expected.iter().try_for_each(|(name, _)| stays(name))?;
    guests.assert_alive(lab)?;
    // What would keep the lab from removing them.
    lab.run(Node::HostA, &["virsh", "domjobabort", "busy"])?;
    lab.run(Node::HostA, &["virsh", "snapshot-delete", "snap", "s1", "--metadata"])?;
    lab.run(Node::HostA, &["sh", "-c", "virsh net-destroy ovn; ip link delete brq; rm -f /srv/private/*"])?;
    Ok(())
}

/// A domain without a system, running at the host.
fn create(lab: &Lab, host: Node, name: &str, devices: &str, more: &str) -> Result<()> {
    let xml = format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>{name}</name>\
         <memory unit='MiB'>16</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>\
         <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>\
         <devices><controller type='usb' model='none'/>{devices}</devices>{more}</domain>"
    );
    let script = "printf %s \"$1\" > /run/created.xml && virsh create /run/created.xml";
    lab.run(host, &["sh", "-ec", script, "sh", &xml]).map(drop)
}

/// On host-a alone; its QEMU makes an encrypted disk, whose passphrase is a secret of its libvirt.
const NAMED_AT_HOST_A: &str = r#"
    cd /srv/private && echo '{}' > c.ign && echo '{}' > d.ign && mkdir sockets && mkfifo pipe
    rm -f /srv/shared/luks.img && truncate -s 4M /srv/shared/luks.img
    echo 'alone:x:4242:4242::/:/bin/false' >> /etc/passwd && echo 'alone:x:4242:' >> /etc/group
    chmod a+x /var/lib/libvirt/qemu
    ask() { virsh qemu-monitor-command free "$1"; }
    ask '{"execute":"object-add","arguments":{"qom-type":"secret","id":"s","data":"pass"}}'
    ask '{"execute":"blockdev-add","arguments":{"driver":"file","node-name":"f","filename":"/srv/shared/luks.img"}}'
    ask '{"execute":"blockdev-create","arguments":{"job-id":"j","options":{"driver":"luks","file":"f","key-secret":"s",
         "size":1048576,"iter-time":10}}}'
    until ask '{"execute":"query-jobs"}' | grep -q concluded; do sleep 0.1; done
    ask '{"execute":"job-dismiss","arguments":{"id":"j"}}'
    ask '{"execute":"blockdev-del","arguments":{"node-name":"f"}}'
    ask '{"execute":"object-del","arguments":{"id":"s"}}'"#;

/// Secrets of libvirt: one that host-b lacks, and one that has no value there.
const SECRETS: [&str; 2] = ["5ec4e700-0000-4000-8000-000000000012", "5ec4e700-0000-4000-8000-000000000013"];

/// Lets a host have one processor, which is number 0, in one NUMA node, which is number 1.
const OTHER_PROCESSORS: &str = "
    cd /sys/devices/system && mount -t tmpfs none node && mkdir node/node1 && cd node/node1
    echo 1 > cpumap; echo 0 > cpulist; echo 10 > distance
    printf 'Node 1 MemTotal: 4194304 kB\\nNode 1 MemFree: 2097152 kB\\n' > meminfo";

/// What the hosts of the test have.
struct Named<'a>(&'a Lab);

impl Named<'_> {
    fn on(&self, host: Node, script: &str) -> Result<()> {
        self.0.run(host, &["sh", "-ec", script]).map(drop)
    }

    /// Makes a libvirt network, in the place of one of that name.
    fn network(&self, host: Node, name: &str, inside: &str) -> Result<()> {
        let xml = format!("<network><name>{name}</name>{inside}</network>");
        let script = "virsh net-destroy \"$2\" 2>/dev/null || true; printf %s \"$1\" > /run/lan.xml; \
                      virsh net-create /run/lan.xml";
        self.0.run(host, &["sh", "-ec", script, "sh", &xml, name]).map(drop)
    }

    /// Networks of both hosts as host-a has them.
    fn networks(&self, host: Node) -> Result<()> {
        let own = "<bridge name='virbr7' stp='off'/><ip address='192.168.77.1' netmask='255.255.255.0'/>";
        let bridged = "<forward mode='bridge'/><bridge name='br0'/>";
        self.network(host, "lan", own)?;
        self.network(host, "vlan", bridged)?;
        self.network(host, "groups", &format!("{bridged}<portgroup name='g'/>"))
    }

    fn secret(&self, host: Node, uuid: &str, value: bool) -> Result<()> {
        let set = format!("virsh secret-set-value {uuid} cGFzcw==");
        let script = format!(
            "printf \"<secret ephemeral='yes' private='yes'><uuid>{uuid}</uuid></secret>\" > /run/secret.xml
             virsh secret-define /run/secret.xml; {}",
            if value { &set } else { "" }
        );
        self.on(host, &script)
    }

    /// A pool of volumes in a directory of the host's own, with one volume or none.
    fn pool(&self, host: Node, name: &str, volume: bool) -> Result<()> {
        let make = if volume { format!("truncate -s 1M /srv/private/{name}/v;") } else { String::new() };
        let script = format!(
            "mkdir -p /srv/private/{name}; {make} virsh pool-refresh {name} 2>/dev/null || \
             virsh pool-create-as {name} dir --target /srv/private/{name}"
        );
        self.on(host, &script)
    }

    /// Moves QEMU's modules for a virtio display, and lets libvirt look again.
    fn modules(&self, from: &str, to: &str) -> Result<()> {
        let names = "hw-display-virtio-gpu.so hw-display-virtio-gpu-pci.so hw-display-virtio-vga.so";
        let script = format!(
            "mkdir -p {from} {to}; for m in {names}; do [ ! -e {from}/$m ] || mv {from}/$m {to}; done
             rm -rf /var/cache/libvirt/qemu"
        );
        self.on(Node::HostB, &script)?;
        self.0.set_qemu_options(Node::HostB, &["user = \"root\""])
    }
}

fn table(lab: &Lab) -> Result<()> {
    let hosts = Named(lab);
    let on = |host, script: &str| hosts.on(host, script);
    // Named where huge pages are, ordinary ones are nothing that a host lacks.
    let pages = "<memoryBacking><hugepages><page size='4' unit='KiB'/></hugepages></memoryBacking>";
    create(lab, Node::HostA, "free", "", pages)?;
    on(Node::HostA, NAMED_AT_HOST_A)?;
    hosts.networks(Node::HostA)?;
    hosts.network(Node::HostA, "behind", "<forward mode='bridge'/><bridge name='br0'/>")?;
    for pool in ["p", "q"] {
        hosts.pool(Node::HostA, pool, true)?;
    }
    on(Node::HostB, OTHER_PROCESSORS)?;
    let (installed, away) = ("/usr/lib/x86_64-linux-gnu/qemu", "/root/modules");
    hosts.modules(installed, away)?;
    let other_vlan =
        "<forward mode='bridge'/><bridge name='br0'/><virtualport type='openvswitch'/><vlan><tag id='8'/></vlan>";
    let own =
        "<forward mode='open'/><bridge name='virbr7' stp='off'/><ip address='192.168.77.1' netmask='255.255.255.0'/>";
    for (name, inside) in [
        ("lan", own),
        ("vlan", other_vlan),
        ("groups", "<forward mode='bridge'/><bridge name='br0'/>"),
        ("behind", "<forward mode='bridge'/><bridge name='br7'/>"),
    ] {
        hosts.network(Node::HostB, name, inside)?;
    }
    hosts.pool(Node::HostB, "q", false)?;
    for uuid in SECRETS {
        hosts.secret(Node::HostA, uuid, true)?;
    }
    hosts.secret(Node::HostB, SECRETS[1], false)?;

    let vnc = |listen: &str, port: &str| format!("<graphics type='vnc' {port} listen='{listen}'/>");
    create(lab, Node::HostB, "resident", &vnc("0.0.0.0", "port='5999' autoport='no'"), "")?;
    let entry = "<sysinfo type='fwcfg'><entry name='opt/c' file='/srv/private/c.ign'/></sysinfo>";
    let argument = "<qemu:commandline><qemu:arg value='-fw_cfg'/><qemu:arg value='name=opt/d,file=/srv/private/d.ign'/>\
                    </qemu:commandline>";
    let disk = |kind: &str, source: &str| {
        format!(
            "<disk type='{kind}' device='disk'><driver name='qemu' type='raw'/>{source}<target dev='vdb' bus='virtio'/>\
             <readonly/></disk>"
        )
    };
    let crypt = |uuid: &str| {
        let passphrase = format!("<encryption format='luks'><secret type='passphrase' uuid='{uuid}'/></encryption>");
        disk("file", &format!("<source file='/srv/shared/luks.img'/>{passphrase}"))
    };
    let volume = |pool: &str| disk("volume", &format!("<source pool='{pool}' volume='v'/>"));
    let serial = |kind: &str, source: &str| format!("<serial type='{kind}'><source {source}/></serial>");
    let nic = |network: &str, more: &str| {
        format!("<interface type='network'><source network='{network}'{more}/><rom enabled='no'/></interface>")
    };
    let wires = nic("vlan", "") + &nic("groups", " portgroup='g'") + &nic("behind", "");
    let pins = "<vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0-1'/></cputune>";
    let cells = "<numatune><memory mode='strict' nodeset='0'/></numatune>";
    let label = "<seclabel type='static' model='dac' relabel='yes'><label>alone:alone</label></seclabel>";
    for (name, devices, more) in [
        ("entry", String::new(), entry),
        ("argument", String::new(), argument),
        ("crypt", crypt(SECRETS[0]), ""),
        ("empty", crypt(SECRETS[1]), ""),
        ("pool", volume("p"), ""),
        ("volume", volume("q"), ""),
        ("socket", serial("unix", "mode='bind' path='/srv/private/sockets/s'"), ""),
        ("pipe", serial("pipe", "path='/srv/private/pipe'"), ""),
        ("screen", format!("<video><model type='virtio'/></video>{}", vnc("127.0.0.1", "autoport='yes'")), ""),
        ("network", nic("lan", ""), ""),
        ("wires", wires, ""),
        ("address", vnc("10.10.0.1", "autoport='yes'"), ""),
        ("port", vnc("127.0.0.1", "port='5999' autoport='no'"), ""),
        ("pins", String::new(), pins),
        ("cells", String::new(), cells),
        ("user", String::new(), label),
    ] {
        create(lab, Node::HostA, name, &devices, more).with_context(|| name.to_owned())?;
    }
    let expected: [(&str, &[&str]); 16] = [
        ("address", &["its display listens on 10.10.0.1, which is no address of host-b", "virsh edit address"]),
        ("argument", &["its argument of QEMU's names /srv/private/d.ign, which is not at host-b"]),
        ("cells", &["NUMA nodes that host-b does not have (0)", "virsh numatune cells"]),
        ("crypt", &["host-b lacks a secret", "no secret with matching uuid", "virsh secret-define"]),
        ("empty", &["host-b lacks a secret", "does not have a value", "virsh secret-set-value"]),
        ("entry", &["its fw_cfg file names /srv/private/c.ign, which is not at host-b"]),
        ("network", &["of the kind isolated at host-a and open at host-b", "net-define"]),
        ("pins", &["processors that host-b does not have (1)", "virsh vcpupin pins"]),
        ("pipe", &["its console names /srv/private/pipe, which is not at host-b"]),
        ("pool", &["host-b can't run it", "no storage pool with matching name 'p'"]),
        ("port", &["its display listens on port 5999, which resident has at host-b", "virsh edit port"]),
        ("screen", &["host-b can't run it", "does not support video model 'virtio'"]),
        ("socket", &["its console names /srv/private/sockets, which is not at host-b"]),
        ("user", &["its QEMU runs as the user alone, which host-b does not have", "the number that it has at host-a"]),
        ("volume", &["host-b can't run it", "no storage vol with matching name 'v'"]),
        (
            "wires",
            &[
                "VLAN none at host-a and 8 at host-b",
                "no portgroup g at host-b",
                "host-b has no bridge br7",
                "net-define and net-start at host-b",
            ],
        ),
    ];
    let rehearse = |more: &[&str]| run(lab, &[&["evacuate", "host-a", "host-b", "--dry-run"], more].concat());
    let refused = rehearse(&[])?;
    ensure!(refused.status == 1, "{} {}", refused.stdout, refused.stderr);
    for (name, words) in expected {
        let line = refused.stderr.lines().find(|line| line.trim_start().starts_with(&format!("{name}: ")));
        let line = line.with_context(|| format!("{name} is not named in {}", refused.stderr))?;
        for word in words {
            ensure!(line.contains(word), "{word} is not in {line}");
        }
    }
    ensure!(!refused.stderr.contains("free: "), "{}", refused.stderr);

    // What each refusal says; of the NUMA node, that it is excluded.
    on(Node::HostB, "ip link add br7 type bridge")?;
    on(Node::HostB, "cd /srv/private && echo '{}' > c.ign && echo '{}' > d.ign && mkdir sockets && mkfifo pipe")?;
    hosts.modules(away, installed)?;
    for uuid in SECRETS {
        hosts.secret(Node::HostB, uuid, true)?;
    }
    hosts.networks(Node::HostB)?;
    for pool in ["p", "q"] {
        hosts.pool(Node::HostB, pool, true)?;
    }
    on(Node::HostB, "echo 'alone:x:4242:4242::/:/bin/false' >> /etc/passwd && echo 'alone:x:4242:' >> /etc/group")?;
    on(Node::HostA, "virsh vcpupin pins 0 0; for d in address port; do virsh destroy $d; done")?;
    create(lab, Node::HostA, "address", &vnc("0.0.0.0", "autoport='yes'"), "")?;
    create(lab, Node::HostA, "port", &vnc("127.0.0.1", "port='5998' autoport='no'"), "")?;
    let mended = rehearse(&["--exclude", "cells"])?;
    ensure!(mended.status == 0, "{} {}", mended.stdout, mended.stderr);
    let only_differ = [
        ("network", "of the kind isolated"),
        ("pins", "processors that host-b does not have (1)"),
        ("wires", "on br0 at host-a and on br7 at host-b"),
    ];
    let strict = rehearse(&["--exclude", "cells", "--strict"])?;
    ensure!(strict.status == 1, "{} {}", strict.stdout, strict.stderr);
    for (name, words) in only_differ {
        let says = |text: &str, start: &str| text.lines().any(|line| line.contains(start) && line.contains(words));
        ensure!(says(&mended.stdout, &format!("note: {name}: ")), "{name} in {}", mended.stdout);
        ensure!(says(&strict.stderr, &format!("{name}: ")), "{name} in {}", strict.stderr);
    }

    // As a user whom libvirt gives nothing, QEMU can't read a file of root's.
    on(Node::HostA, "chmod 600 /srv/shared/luks.img")?;
    let as_user = |user: &str, gives: u8| {
        let lines =
            [format!("user = \"{user}\""), format!("group = \"{user}\""), format!("dynamic_ownership = {gives}")];
        lab.set_qemu_options(Node::HostB, &lines.each_ref().map(String::as_str))
    };
    as_user("libvirt-qemu", 0)?;
    let forbidden = rehearse(&["--only", "crypt"]);
    on(Node::HostB, "umount /sys/devices/system/node")?;
    as_user("root", 1)?;
    let forbidden = forbidden?;
    for words in ["QEMU at host-b, as ", "may not read its vdb (/srv/shared/luks.img)", "setfacl"] {
        ensure!(forbidden.stderr.contains(words), "{words} is not in {} {}", forbidden.stdout, forbidden.stderr);
    }
    ensure!(forbidden.status == 1, "{}", forbidden.stderr);
    // Those of host-b went with its libvirtd.
    on(Node::HostA, &SECRETS.map(|uuid| format!("virsh secret-undefine {uuid}")).join(";"))?;
    let gone = "for n in lan vlan groups behind; do virsh net-destroy $n; done; \
                for p in p q; do virsh pool-destroy $p; done; sed -i '/^alone:/d' /etc/passwd /etc/group; \
                ip link delete br7 || true; rm -rf /srv/private/*";
    lab.hosts().iter().try_for_each(|&host| on(host, gone))
}

fn hosts(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("g1")])?;
    let read_only = run(lab, &["evacuate", "qemu+ssh://host-a/system?socket=/run/libvirt/libvirt-sock-ro", "host-b"])?;
    assert_refused(lab, &guests, &read_only, &["host-a/system", "the connection is read-only", "group libvirt"])?;
    let destination = "qemu+ssh://host-b/system?socket=/run/libvirt/libvirt-sock-ro";
    let read_only = run(lab, &["evacuate", "host-a", destination, "--partial"])?;
    assert_refused(lab, &guests, &read_only, &["host-b/system", "the connection is read-only"])?;

    lab.set_libvirtd_option(Node::HostB, "auth_tcp = \"sasl\"")?;
    let refused = run(lab, &["evacuate", "host-a", "qemu+tcp://host-b/system"]);
    lab.set_libvirtd_option(Node::HostB, "auth_tcp = \"none\"")?;
    assert_refused(lab, &guests, &refused?, &["qemu+tcp://host-b/system: ", "authentication", "auth.conf"])?;

    lab.set_link(Node::HostB, false)?;
    let unreachable = run(lab, &["evacuate", "host-a", "host-b"]);
    lab.set_link(Node::HostB, true)?;
    assert_refused(lab, &guests, &unreachable?, &["host-b: "])
}

fn stopped(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("g1")])?;
    let daemon = lab.libvirtd_pid(Node::HostB)?;
    kill(daemon, Signal::SIGSTOP)?;
    let start = Instant::now();
    let at_once = run(lab, &["evacuate", "host-a", "host-b"]);
    let took = start.elapsed();
    kill(daemon, Signal::SIGCONT)?;
    // The limit, and room for a machine with more to do.
    ensure!(took < 2 * Duration::from_secs(20), "it took {took:?}");
    let words = ["host-b: no answer", "is its libvirt stopped?"];
    assert_refused(lab, &guests, &at_once?, &words)?;

    let (child, mut said) = profiling_run(lab, &["evacuate", "host-a", "host-b"])?;
    kill(daemon, Signal::SIGSTOP)?;
    let start = Instant::now();
    let later = finish(child, &mut said);
    kill(daemon, Signal::SIGCONT)?;
    // A question that is not answered, and a new connection that does not open.
    ensure!(start.elapsed() < 2 * Duration::from_secs(30), "it took {:?}", start.elapsed());
    assert_refused(lab, &guests, &later?, &words)
}

fn hanging(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("g1"), idle("g2")])?;
    let emulator = lab.qemu_pid(Node::HostA, "g2")?;
    kill(emulator, Signal::SIGSTOP)?;
    let start = Instant::now();
    let there = run(lab, &["evacuate", "host-a", "host-b", "--partial", "--output", "json"]);
    let took = start.elapsed();
    // What the first run left waiting for it has its answer then.
    kill(emulator, Signal::SIGCONT)?;
    kill(emulator, Signal::SIGSTOP)?;
    let back = run(lab, &["evacuate", "host-b", "host-a", "--output", "json"]);
    kill(emulator, Signal::SIGCONT)?;
    // The migration of the other is in it.
    ensure!(took < 2 * Duration::from_secs(60), "it took {took:?}");
    let there = there?;
    there.expect(3, "g1", "migrated")?;
    let error = there.expect(3, "g2", "remains")?;
    for word in ["its emulator does not answer libvirt", "virsh domcontrol g2", "exclude"] {
        ensure!(error.contains(word), "{word:?} is not in {error}");
    }
    back?.expect(0, "g1", "migrated")?;
    guests.assert_alive(lab)
}

/// Starts tsmig and waits until it profiles; the rest of its standard error is read from the second.
fn profiling_run(lab: &Lab, arguments: &[&str]) -> Result<(Child, BufReader<impl std::io::Read>)> {
    let mut child = tsmig(lab, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(child.stderr.take().context("piped")?);
    let mut line = String::new();
    while !line.contains("profiling") {
        line.clear();
        ensure!(said.read_line(&mut line)? > 0, "tsmig ended before it profiled");
    }
    Ok((child, said))
}

fn finish(child: Child, said: &mut impl std::io::Read) -> Result<Run> {
    let mut stderr = Vec::new();
    said.read_to_end(&mut stderr)?;
    let mut output = child.wait_with_output()?;
    output.stderr = stderr;
    Run::of(output)
}

/// Makes host-a a node of a cluster with g2 as a resource, as far as can be seen; the answer is what Pacemaker 2.1 prints.
const CLUSTER: &str = r#"
    mkdir -p /var/lib/pacemaker/cib && touch /var/lib/pacemaker/cib/cib.xml
    virsh dumpxml --inactive g2 > /run/two.xml
    cat > /usr/sbin/cibadmin <<'END'
#!/bin/sh
cat <<'CIB'
<primitive class="ocf" id="vm-two" provider="heartbeat" type="VirtualDomain">
  <instance_attributes id="vm-two-instance_attributes">
    <nvpair id="vm-two-instance_attributes-config" name="config" value="/run/two.xml"/>
  </instance_attributes>
</primitive>
CIB
END
    chmod +x /usr/sbin/cibadmin"#;

fn owned(lab: &Lab) -> Result<()> {
    // As Nova writes it, and as one of many others that own nothing.
    let metadata = "<metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>\
                    <nova:name>web</nova:name></nova:instance>\
                    <libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'/></metadata>";
    let guests = Guests::boot(lab, vec![receiver("g1").element(metadata), receiver("g2")])?;
    lab.run(Node::HostA, &["sh", "-ec", CLUSTER])?;
    let clustered = run(lab, &["plan", "host-a", "host-b"])?;
    let unseen = run(lab, &["plan", "qemu+tcp://host-a/system", "host-b", "--owned"])?;
    lab.run(Node::HostA, &["rm", "-r", "/usr/sbin/cibadmin", "/var/lib/pacemaker", "/run/two.xml"])?;
    for words in ["g2: CAN'T MOVE: it belongs to Pacemaker", "`crm_resource --move --resource vm-two`"] {
        ensure!(clustered.stdout.contains(words), "{words:?} is not in {}", clustered.stdout);
    }
    ensure!(unseen.stdout.matches("Pacemaker cluster that can't be asked").count() == 1, "{}", unseen.stdout);
    let uuid = lab.run(Node::HostA, &["virsh", "domuuid", "g1"])?;
    let command = format!("`openstack server migrate --live-migration {}`", uuid.trim());
    let refused = run(lab, &["evacuate", "host-a", "host-b"])?;
    assert_refused(lab, &guests, &refused, &["g1: it belongs to OpenStack Nova", &command, "--owned"])?;
    ensure!(!refused.stderr.contains("g2:") && !refused.stdout.contains("Pacemaker"), "{}", refused.stdout);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("owned.json");
    let saved = file.to_str().context("a path in UTF-8")?;
    let plan = run(lab, &["plan", "host-a", "host-b", "--owned", "--save", saved])?;
    ensure!(plan.stdout.contains("g1 belongs to OpenStack Nova and moves nevertheless"), "{}", plan.stdout);
    let moved = run(lab, &["evacuate", "host-a", "host-b", "--plan", saved, "--output", "json"])?;
    moved.expect(0, "g1", "migrated")?;
    guests.assert_alive(lab)
}

fn media(lab: &Lab) -> Result<()> {
    lab.run(Node::HostA, &["sh", "-c", "cd /srv/private && truncate -s 1M optional.iso ejected.iso"])?;
    let drive = |file: &str, policy: &str, target: &str| {
        format!(
            "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/srv/private/{file}.iso'{policy}/>\
             <target dev='{target}' bus='ide'/><readonly/></disk>"
        )
    };
    let (optional, ejected) = (drive("optional", " startupPolicy='optional'", "hdc"), drive("ejected", "", "hdd"));
    let guests = Guests::boot(lab, vec![receiver("g1").device(&optional).device(&ejected)])?;
    let eject = "virsh qemu-monitor-command g1 '{\"execute\":\"eject\",\"arguments\":{\"id\":\"ide0-1-1\",\"force\":true}}' && \
                 until virsh dumpxml g1 | grep -q \"tray='open'\"; do sleep 0.1; done";
    lab.run(Node::HostA, &["timeout", "30", "sh", "-ec", eject])?;
    let moved = run(lab, &["evacuate", "host-a", "host-b"])?;
    lab.run(Node::HostA, &["sh", "-c", "rm -f /srv/private/*"])?;
    ensure!(moved.status == 0, "{} {}", moved.stdout, moved.stderr);
    for words in [
        "drive hdc (/srv/private/optional.iso) is not at host-b; libvirt drops it",
        "drive hdd (/srv/private/ejected.iso)",
    ] {
        ensure!(moved.stdout.contains(words), "{words:?} is not in {}", moved.stdout);
    }
    let drives = lab.run(Node::HostB, &["virsh", "domblklist", "g1"])?;
    ensure!(!drives.contains(".iso"), "{drives}");
    guests.assert_alive(lab)
}

fn migrating(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("g1")])?;
    let to = ["--live", "--p2p", "--bandwidth", "1", "g1", "qemu+tcp://host-b/system"];
    let mut other = lab.command(Node::HostA, "virsh").arg("migrate").args(to).stderr(Stdio::null()).spawn()?;
    while !lab.run(Node::HostA, &["virsh", "domjobinfo", "g1"])?.contains("Outgoing migration") {
        ensure!(other.try_wait()?.is_none(), "the other migration has ended");
    }
    let profile = run(lab, &["profile", "host-a", "--output", "json"])?;
    let refused = run(lab, &["evacuate", "host-a", "host-b"])?;
    lab.run(Node::HostA, &["virsh", "domjobabort", "g1"])?;
    other.wait()?;
    let profile: Value = serde_json::from_str(&profile.stdout)?;
    let window = profile["hosts"][0]["window_seconds"].as_f64().context("window_seconds")?;
    ensure!(window < 10.0, "a question waited for the end of the job until its time was up: {profile}");
    assert_refused(lab, &guests, &refused, &["g1: it is being migrated already", "virsh domjobinfo g1"])
}

fn profiling(lab: &Lab) -> Result<()> {
    let second = "<interface type='bridge'><mac address='52:54:00:10:20:02'/><source bridge='br0'/>\
                  <model type='virtio'/></interface>";
    let guests = Guests::boot(lab, vec![receiver("g1").device(second)])?;
    lab.add_guests(&[receiver("reset")])?;
    let gone =
        "<domain type='qemu'><name>gone</name><memory>4096</memory><os><type arch='x86_64'>hvm</type></os></domain>";
    let script = "printf %s \"$1\" > /run/gone.xml && virsh create --paused /run/gone.xml";
    lab.run(Node::HostA, &["sh", "-ec", script, "sh", gone])?;

    // Long enough for what follows.
    let (child, mut said) = profiling_run(lab, &["profile", "host-a", "--window", "4s", "--output", "json"])?;
    let changes = "virsh destroy gone; virsh detach-interface g1 bridge --mac 52:54:00:10:20:02; \
                   virsh destroy reset; virsh start reset";
    lab.run(Node::HostA, &["sh", "-ec", changes])?;
    let run = finish(child, &mut said)?;
    ensure!(run.status == 0, "{}", run.stderr);
    let profile: Value = serde_json::from_str(&run.stdout)?;
    let domains = profile["hosts"][0]["domains"].as_array().context("domains")?;
    let names: Vec<_> = domains.iter().map(|domain| &domain["name"]).collect();
    ensure!(names == ["g1", "reset"], "one that is gone is not profiled: {profile}");
    let inbound = |index: usize| domains[index]["inbound_bits_per_second"].as_f64().unwrap_or(-1.0) / 1e6;
    ensure!((15.0..45.0).contains(&inbound(0)), "g1 receives at 30 Mbit/s by the NIC that it kept: {profile}");
    ensure!((0.0..100.0).contains(&inbound(1)), "no reset counter makes a rate that the link can't carry: {profile}");
    guests.assert_alive(lab)
}

fn link(lab: &Lab) -> Result<()> {
    let told = run(lab, &["profile", "qemu+ssh://host-a/system", "--output", "json"])?;
    let origin = |run: &Run| {
        Ok::<_, anyhow::Error>(
            serde_json::from_str::<Value>(&run.stdout)?["hosts"][0]["migration_port"]["origin"].clone(),
        )
    };
    ensure!(origin(&told)? == "configuration", "found by its URI, and before what the host says: {}", told.stdout);
    // The client's configuration does not know host-a by this name, and a veth pair is no NIC that has a speed.
    let assumed = run(lab, &["profile", "qemu+tcp://host-a-mgmt/system", "--output", "json"])?;
    ensure!(origin(&assumed)? == "assumed" && assumed.stderr.contains("1 Gbit/s is assumed"), "{}", assumed.stderr);
    Ok(())
}

fn interface_driver(lab: &Lab) -> Result<()> {
    let interfaces = |host| Ok::<_, anyhow::Error>(lab.exec(host, &["virsh", "iface-list"])?.status.success());
    ensure!(interfaces(Node::HostA)? && !interfaces(Node::HostB)?, "one host has the driver, the other has not");
    lab.add_guests(&[receiver("i1")])?;
    for (from, to) in [("host-a", "host-b"), ("host-b", "host-a")] {
        let plan = run(lab, &["plan", from, to])?;
        ensure!(plan.status == 0, "{} {}", plan.stdout, plan.stderr);
        // By a name that the configuration does not know, so that the host's libvirt is asked for its NICs.
        let asked = run(lab, &["profile", &format!("qemu+tcp://{from}-mgmt/system")])?;
        ensure!(asked.status == 0 && asked.stderr.contains("is assumed"), "{} {}", asked.stdout, asked.stderr);
    }
    Ok(())
}
