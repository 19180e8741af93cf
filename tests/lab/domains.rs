//! Domains that are not just running and persistent, and domains that can't move.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tsmig_lab::{GuestSpec, Lab, Node};

use crate::faults::heavy;
use crate::harness::{Guests, Run, Test, assert_states, idle, info, receiver, run, sender, start, tsmig};

pub const TESTS: &[(&str, Test)] = &[
    ("a_transient_domain_arrives_transient_and_a_persistent_one_persistent", persistence),
    ("a_paused_domain_arrives_paused", paused),
    ("an_inactive_definition_moves_when_asked_for", inactive),
    ("what_a_definition_alone_would_leave_behind_is_refused_by_name_and_nothing_is_deleted", left_behind),
    ("a_domain_that_is_started_at_the_source_meanwhile_is_reported", started_meanwhile),
    ("two_runs_on_one_source_that_do_not_know_of_each_other_say_nothing_false", two_runs),
    ("a_taken_name_stops_everything_unless_partial", collision),
];

fn persistence(lab: &Lab) -> Result<()> {
    let guests =
        Guests::boot(lab, vec![receiver("kept"), receiver("passing").transient(), sender("flying").transient()])?;
    let run = run(lab, &["evacuate", "host-a", "host-b"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    guests.assert_alive(lab)?;
    for (name, persistent) in [("kept", "yes"), ("passing", "no"), ("flying", "no")] {
        assert_states(lab, name, None, Some("running"))?;
        ensure!(info(lab, Node::HostB, name, "Persistent")? == persistent, "{name}");
    }
    Ok(())
}

fn paused(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![idle("still").paused()])?;
    let run = run(lab, &["evacuate", "host-a", "host-b", "--output", "json"])?;
    ensure!(run.status == 0, "{} {}", run.stdout, run.stderr);
    ensure!(run.report()?["domains"][0]["technique"] == "pre-copy", "a paused domain can't go by post-copy");
    assert_states(lab, "still", None, Some("paused"))?;
    lab.run(Node::HostB, &["virsh", "resume", "still"])?;
    guests.assert_alive(lab)
}

fn inactive(lab: &Lab) -> Result<()> {
    lab.add_guests(&[GuestSpec::new("asleep").inactive()])?;
    lab.run(Node::HostA, &["virsh", "autostart", "asleep"])?;
    let without = run(lab, &["evacuate", "host-a", "host-b"])?;
    ensure!(without.status == 0, "{}", without.stderr);
    assert_states(lab, "asleep", Some("shut off"), None)?;
    ensure!(without.stdout.contains("asleep") && without.stdout.contains("--offline"), "{}", without.stdout);
    ensure!(without.stderr.contains("host-a starts asleep when it boots (autostart)"), "{}", without.stderr);
    let with = run(lab, &["evacuate", "host-a", "host-b", "--offline"])?;
    ensure!(with.status == 0, "{}", with.stderr);
    ensure!(!with.stderr.contains("autostart"), "it has left: {}", with.stderr);
    assert_states(lab, "asleep", None, Some("shut off"))?;
    ensure!(info(lab, Node::HostB, "asleep", "Autostart")? == "enable", "it starts with its host, as before");
    lab.run(Node::HostB, &["virsh", "autostart", "--disable", "asleep"])?;
    Ok(())
}

/// Defines these on host-a, none of which needs to run: with a TPM, for which host-a gets an `swtpm` that can do nothing,
/// with NVRAM of its own, and with a disk of its own; and gives another checkpoints, which need a disk in qcow2.
const BELONGINGS: &str = r#"
    for p in swtpm swtpm_ioctl swtpm_setup; do
        printf '#!/bin/sh\necho {\\"type\\":\\"swtpm_setup\\",\\"features\\":[\\"tpm-1.2\\",\\"tpm-2.0\\"]}\n' > /usr/bin/$p
        chmod +x /usr/bin/$p
    done
    truncate -s 1M /srv/shared/code.fd /srv/private/own.img && truncate -s 8M /srv/shared/ck.img
    rm -f /srv/shared/ck.top
    head -c 131072 /dev/urandom | tee /srv/private/nv.fd > /srv/shared/nvs.fd
    truncate -s 131072 /srv/shared/template.fd
    define() {
        echo "<domain type='qemu'><name>$1</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type>$2</os>
            <features><acpi/></features><cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
            <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>$3</devices></domain>" > /run/d.xml
        virsh -q define /run/d.xml
    }
    disk() { echo "<disk type='file'><driver name='qemu' type='raw'/><source file='$1'/><target dev='vda' bus='virtio'/></disk>"; }
    nvram() { echo "<loader readonly='yes' type='pflash'>/srv/shared/code.fd</loader><nvram template='/srv/shared/template.fd'>$1</nvram>"; }
    define tpm '' "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>"
    define nv "$(nvram /srv/private/nv.fd)"
    define nvs "$(nvram /srv/shared/nvs.fd)"
    define own '' "$(disk /srv/private/own.img)"
    define ck '' "$(disk /srv/shared/ck.img)"
    virsh -q start ck
    virsh -q snapshot-create-as ck top --disk-only --no-metadata && virsh -q checkpoint-create-as ck c1
    virsh -q destroy ck
    state=/var/lib/libvirt/swtpm/$(virsh domuuid tpm)/tpm2
    mkdir -p $state && echo state > $state/tpm2-00.permall"#;

/// What of that there is on host-a.
const STILL_THERE: &str = "
    cat /var/lib/libvirt/swtpm/*/tpm2/tpm2-00.permall; ls /srv/private /var/lib/libvirt/qemu/save; virsh checkpoint-list ck --name";

fn left_behind(lab: &Lab) -> Result<()> {
    lab.run(Node::HostA, &["sh", "-ec", BELONGINGS])?;
    lab.add_guests(&[idle("saved"), GuestSpec::new("plain").inactive()])?;
    lab.run(Node::HostA, &["virsh", "managedsave", "saved"])?;
    let expected: [(&str, &[&str]); 5] = [
        ("ck", &["it has a checkpoint", "virsh checkpoint-delete ck NAME --metadata"]),
        ("nv", &["its NVRAM (/srv/private/nv.fd) is not at host-b", "virsh start nv"]),
        ("own", &["its disk vda (/srv/private/own.img) is not at host-b"]),
        ("saved", &["managed-save image, which libvirt leaves at host-a", "virsh managedsave-remove saved"]),
        ("tpm", &["it has a TPM, whose state libvirt does not copy to host-b", "virsh start tpm"]),
    ];
    let before = lab.run(Node::HostA, &["sh", "-c", STILL_THERE])?;
    let refused = run(lab, &["evacuate", "host-a", "host-b", "--offline"])?;
    ensure!(refused.status == 1, "{} {}", refused.stdout, refused.stderr);
    for (name, words) in expected {
        let line = refused.stderr.lines().find(|line| line.trim_start().starts_with(&format!("{name}: ")));
        let line = line.with_context(|| format!("{name} is not named in {}", refused.stderr))?;
        for word in words {
            ensure!(line.contains(word), "{word} is not in {line}");
        }
    }
    let partial = run(lab, &["evacuate", "host-a", "host-b", "--offline", "--partial"])?;
    ensure!(partial.status == 3, "{} {}", partial.stdout, partial.stderr);
    ensure!(
        partial.stdout.contains("nvs: its NVRAM (/srv/shared/nvs.fd)"),
        "what is assumed is told: {}",
        partial.stdout
    );
    for (name, _) in expected {
        assert_states(lab, name, Some("shut off"), None)?;
    }
    for name in ["nvs", "plain"] {
        assert_states(lab, name, None, Some("shut off"))?;
    }
    ensure!(lab.run(Node::HostA, &["sh", "-c", STILL_THERE])? == before, "nothing is deleted");

    // What the refusals say to do.
    lab.run(Node::HostA, &["virsh", "start", "nv"])?;
    lab.run(Node::HostA, &["virsh", "managedsave-remove", "saved"])?;
    lab.run(Node::HostA, &["virsh", "checkpoint-delete", "ck", "c1", "--metadata"])?;
    let again = run(lab, &["evacuate", "host-a", "host-b", "--offline", "--exclude", "own", "--exclude", "tpm"])?;
    ensure!(again.status == 0, "{} {}", again.stdout, again.stderr);
    assert_states(lab, "nv", None, Some("running"))?;
    for name in ["ck", "saved"] {
        assert_states(lab, name, None, Some("shut off"))?;
    }
    let nvram = |host, file| lab.run(host, &["sha256sum", file]);
    let sum = |text: String| text.split_whitespace().next().map(str::to_owned);
    let (here, there) = (nvram(Node::HostB, "/srv/private/nv.fd")?, nvram(Node::HostB, "/srv/shared/nvs.fd")?);
    ensure!(sum(here) == sum(there), "its NVRAM has moved along");

    // What would keep the lab from removing them.
    lab.run(Node::HostA, &["sh", "-c", "virsh undefine --tpm tpm; rm -f /usr/bin/swtpm* /srv/private/*"])?;
    lab.run(Node::HostB, &["sh", "-c", "virsh destroy nv; virsh undefine --nvram nv; virsh undefine --nvram nvs"])?;
    Ok(())
}

fn started_meanwhile(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![heavy("o1")])?;
    lab.add_guests(&[GuestSpec::new("known").inactive(), GuestSpec::new("kept").inactive()])?;
    let options =
        ["evacuate", "host-a", "host-b", "--exclude", "kept", "--technique", "pre-copy", "--bandwidth", "42Mbit"];
    let mut running = start(lab, &options)?;
    running.wait_for_progress("o1")?;
    lab.add_guests(&[GuestSpec::new("new").inactive()])?;
    for name in ["known", "new", "kept"] {
        lab.run(Node::HostA, &["virsh", "start", name])?;
    }
    let run = running.end()?;
    run.expect(3, "o1", "migrated")?;
    for name in ["known", "new"] {
        let error = run.expect(3, name, "remains")?;
        ensure!(error.contains("started on host-a after planning and was not moved"), "{error}");
    }
    ensure!(run.expect(3, "kept", "remains").is_err(), "it is to stay: {}", run.stdout);
    guests.assert_alive(lab)
}

fn two_runs(lab: &Lab) -> Result<()> {
    let names = ["o1", "o2", "o3"];
    // Without traffic, so that two at a time converge.
    let guests = Guests::boot(lab, names.map(|name| idle(name).memory_mib(96)).to_vec())?;
    // As two users have them: each a journal of its own.
    let journals = [tempfile::tempdir()?, tempfile::tempdir()?];
    let runs: Vec<_> = journals
        .iter()
        .map(|journal| {
            let options = ["--concurrency", "1", "--technique", "pre-copy", "--output", "json"];
            let mut command = tsmig(lab, &[&["evacuate", "host-a", "host-b"], options.as_slice()].concat());
            command.env("XDG_STATE_HOME", journal.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
        })
        .collect::<Result<_, _>>()?;
    for run in runs {
        let run = Run::of(run.wait_with_output()?)?;
        // One that finds the other's migrations while it plans refuses.
        if run.status == 1 {
            ensure!(run.stderr.contains("migrat"), "{}", run.stderr);
            continue;
        }
        for domain in run.report()?["domains"].as_array().context("domains")? {
            let outcome = domain["outcome"].as_str();
            ensure!(matches!(outcome, Some("migrated" | "remains")), "it was alive all the time: {domain}");
        }
    }
    for name in names {
        assert_states(lab, name, None, Some("running"))?;
    }
    guests.assert_alive(lab)
}

fn collision(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![receiver("free"), receiver("taken")])?;
    lab.run(Node::HostB, &["sh", "-c", "virsh define /dev/stdin <<'XML'\n<domain type='qemu'><name>taken</name><memory>1024</memory><os><type arch='x86_64'>hvm</type></os></domain>\nXML"])?;
    let refused = run(lab, &["evacuate", "host-a", "host-b"])?;
    ensure!(refused.status == 1, "{}", refused.stderr);
    ensure!(refused.stderr.contains("taken: host-b has another domain of this name"), "{}", refused.stderr);
    assert_states(lab, "free", Some("running"), None)?;
    assert_states(lab, "taken", Some("running"), Some("shut off"))?;
    let partial = run(lab, &["evacuate", "host-a", "host-b", "--partial"])?;
    ensure!(partial.status == 3, "{} {}", partial.stdout, partial.stderr);
    ensure!(partial.stdout.contains("partly evacuated: 1 of 2"), "{}", partial.stdout);
    assert_states(lab, "free", None, Some("running"))?;
    assert_states(lab, "taken", Some("running"), Some("shut off"))?;
    guests.assert_alive(lab)
}
