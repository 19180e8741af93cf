//! A source that can't reach what it needs at the destination, and a destination that refuses.

use anyhow::{Result, ensure};
use tsmig_lab::{Lab, Node};

use super::{assert_moved, assert_stayed, guest};
use crate::harness::{Guests, Test, run, start};

pub const TESTS: &[(&str, Test)] = &[
    ("fault_refusal_at_the_destination_over_ssh_is_its_own_and_that_of_one_domain", refused),
    ("fault_port_for_memory_that_is_closed_ends_the_launching", closed),
    ("fault_port_for_memory_that_is_silent_is_told_and_the_others_wait", silent),
    ("fault_source_without_a_key_or_a_known_host_lets_the_client_manage", no_ssh),
];

/// Runs a test with something done to a host, which then is undone whatever the test says.
fn with<T>(lab: &Lab, host: Node, doing: &str, undoing: &str, test: impl FnOnce() -> Result<T>) -> Result<T> {
    lab.run(host, &["sh", "-ec", doing])?;
    let result = test();
    lab.run(host, &["sh", "-ec", undoing])?;
    result
}

fn refused(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1"), guest("o2")])?;
    // Its console can't be written there: only the destination's QEMU finds that out.
    let console = "/srv/shared/console/o1";
    let doing = format!("mount --bind {console} {console} && mount -o remount,bind,ro {console}");
    let options = ["--concurrency", "1", "--first", "o1", "--output", "json"];
    let evacuate = [&["evacuate", "host-a", "host-b"], options.as_slice()].concat();
    let run = with(lab, Node::HostB, &doing, &format!("umount {console}"), || run(lab, &evacuate))?;
    let error = run.expect(3, "o1", "remains")?;
    ensure!(error.contains("it is at host-a as before: host-b: ") && error.contains("Read-only"), "{error}");
    run.expect(3, "o2", "migrated")?;
    ensure!(!run.notices()?.iter().any(|notice| notice.contains("can't reach")), "{:?}", run.notices());
    assert_stayed(lab, &guests, "o1")?;
    assert_moved(lab, &guests, "o2")
}

/// A rule of host-b's firewall for the ports on which QEMU takes memory in.
fn firewall(verdict: &str) -> String {
    format!("iptables -A INPUT -p tcp --dport 49152:49215 -j {verdict}")
}

const NO_FIREWALL: &str = "iptables -F INPUT";

fn closed(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1"), guest("o2")])?;
    // By pre-copy libvirt itself connects to the port, by post-copy QEMU does.
    for technique in ["pre-copy", "post-copy"] {
        let options = ["--technique", technique, "--concurrency", "1", "--first", "o1", "--output", "json"];
        let evacuate = [&["evacuate", "host-a", "host-b"], options.as_slice()].concat();
        let doing = firewall("REJECT --reject-with tcp-reset");
        let run = with(lab, Node::HostB, &doing, NO_FIREWALL, || run(lab, &evacuate))?;
        for name in ["o1", "o2"] {
            let error = run.expect(1, name, "remains")?;
            for words in ["no data gets through to host-b:49152 (Connection refused)", "--migration-uri"] {
                ensure!(error.contains(words), "{words}: {error}");
            }
        }
        ensure!(run.expect(1, "o2", "remains")?.contains("not launched"), "{}", run.stdout);
        let notices = run.notices()?;
        ensure!(notices.iter().filter(|notice| notice.contains("no data gets through")).count() == 1, "{notices:?}");
        ensure!(!notices.iter().any(|notice| notice.contains("can't reach")), "{notices:?}");
    }
    assert_stayed(lab, &guests, "o1")?;
    assert_stayed(lab, &guests, "o2")
}

fn silent(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1"), guest("o2")])?;
    // Here libvirt waits for the port, and lets other questions about the domain wait.
    let options = ["--technique", "pre-copy", "--concurrency", "1", "--first", "o1"];
    let mut running = with(lab, Node::HostB, &firewall("DROP"), NO_FIREWALL, || {
        let mut running = start(lab, &[&["evacuate", "host-a", "host-b"], options.as_slice()].concat())?;
        let launch = running.wait_for(&[("event", "launch")])?;
        let notice = running.wait_for(&[("event", "notice")])?;
        let message = notice["message"].as_str().unwrap_or_default();
        ensure!(message.contains("no data gets through to host-b") && message.contains("49152-49215"), "{notice}");
        let at = |event: &serde_json::Value| event["elapsed_seconds"].as_f64().unwrap_or_default();
        // Ten seconds, and what the destination's QEMU takes to start.
        ensure!(at(&notice) - at(&launch) < 40.0, "{launch} {notice}");
        Ok(running)
    })?;
    running.wait_for_progress("o1")?;
    let run = running.end()?;
    for name in ["o1", "o2"] {
        run.expect(0, name, "migrated")?;
        assert_moved(lab, &guests, name)?;
    }
    let told = run.notices()?.iter().filter(|notice| notice.contains("no data gets through")).count();
    ensure!(told == 1, "{:?}", run.notices());
    Ok(())
}

fn no_ssh(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1"), guest("o2")])?;
    let hidden = |file: &str| format!(": > /run/none && chmod 600 /run/none && mount --bind /run/none /etc/ssh/{file}");
    let evacuate = |from: Node, to: Node, file: &str| {
        let arguments = ["evacuate", from.name(), to.name(), "--concurrency", "1", "--output", "json"];
        with(lab, from, &hidden(file), &format!("umount /etc/ssh/{file}"), || run(lab, &arguments))
    };
    for (from, to, file, words) in
        [(Node::HostA, Node::HostB, "key", "Permission denied"), (Node::HostB, Node::HostA, "known_hosts", "host key")]
    {
        let run = evacuate(from, to, file)?;
        for name in ["o1", "o2"] {
            run.expect(0, name, "migrated")?;
        }
        let notices = run.notices()?;
        let told: Vec<_> =
            notices.iter().filter(|notice| notice.contains("this client manages the migrations")).collect();
        ensure!(told.len() == 1 && told[0].contains(words), "{notices:?}");
    }
    guests.assert_alive(lab)
}
