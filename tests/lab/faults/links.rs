//! A cable that is pulled.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tsmig_lab::{Lab, Node, Release};

use super::{assert_moved, assert_stayed, begin, begin_unplugged, guest};
use crate::harness::{Guests, Test, assert_states, hosts_of, run, start};

pub const TESTS: &[(&str, Test)] = &[
    ("fault_link_cut_in_pre_copy_cancels_and_launches_nothing_more", in_pre_copy),
    ("fault_link_cut_for_20_s_in_post_copy_the_guest_arrives_whole", in_post_copy),
    ("fault_link_cut_until_qemu_gives_up_is_resumed_by_recover", until_qemu_gives_up),
    ("fault_failed_post_copy_is_resumed_without_being_asked", resumed_at_once),
    ("fault_failed_post_copy_that_libvirt_cannot_resume_is_left_as_it_is", not_resumed),
];

/// A cable that is plugged in again whatever happens.
struct Cut<'a>(&'a Lab);

impl<'a> Cut<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        lab.set_link(Node::HostB, false)?;
        Ok(Self(lab))
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        // The next thing that needs the link will say that it is not there.
        let _ = self.0.set_link(Node::HostB, true);
    }
}

fn in_pre_copy(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![guest("o1"), guest("o2")])?;
    let options = ["--technique", "pre-copy", "--concurrency", "1", "--bandwidth", "10Mbit"];
    let mut running = start(lab, &[&["evacuate", "host-a", "host-b"], options.as_slice()].concat())?;
    let first = running.wait_for(&[("event", "launch")])?["domain"].as_str().unwrap_or_default().to_owned();
    running.wait_for_progress(&first)?;
    let cut = Cut::new(lab)?;
    let run = running.end()?;
    drop(cut);
    let error = run.expect(1, &first, "remains")?;
    ensure!(error.contains("no byte has crossed"), "{error}");
    let seconds = run.silence_before(&first, &[("event", "notice")])?;
    ensure!((10.0..40.0).contains(&seconds), "told after {seconds} s");
    let second = if first == "o1" { "o2" } else { "o1" };
    let error = run.expect(1, second, "remains")?;
    ensure!(error.contains("not launched") && error.contains(&first), "{error}");
    ensure!(run.notices()?.iter().any(|notice| notice.contains("check the network")), "{:?}", run.notices());
    for name in ["o1", "o2"] {
        assert_stayed(lab, &guests, name)?;
    }
    Ok(())
}

fn in_post_copy(lab: &Lab) -> Result<()> {
    let (guests, running) = begin(lab, "post-copy", "post-copy")?;
    let cut = Cut::new(lab)?;
    std::thread::sleep(Duration::from_secs(20));
    drop(cut);
    running.end()?.expect(0, "o1", "migrated")?;
    assert_moved(lab, &guests, "o1")
}

/// Makes TCP on both hosts give up within seconds instead of a quarter of an hour.
fn with_impatient_tcp<T>(lab: &Lab, test: impl FnOnce() -> Result<T>) -> Result<T> {
    let set = |retries: &str| -> Result<()> {
        for &host in lab.hosts() {
            lab.run(host, &["sh", "-c", &format!("echo {retries} > /proc/sys/net/ipv4/tcp_retries2")])?;
        }
        Ok(())
    };
    set("5")?;
    let result = test();
    set("15")?;
    result
}

/// A lab whose hosts can resume a post-copy, those of Debian 12. What Debian 13's libvirt does is in docs/faults.md.
fn older_hosts(lab: &Lab) -> Result<Lab> {
    hosts_of(lab, Release::Bookworm, Release::Bookworm)
}

fn until_qemu_gives_up(lab: &Lab) -> Result<()> {
    let lab = &older_hosts(lab)?;
    with_impatient_tcp(lab, || {
        let (guests, mut running) = begin_unplugged(lab)?;
        let cut = Cut::new(lab)?;
        running.wait_for_phase("o1", "recovering")?;
        running.signal(Signal::SIGINT)?;
        running.signal(Signal::SIGTERM)?;
        let left = running.end()?;
        let error = left.expect(130, "o1", "needs-recovery")?;
        ensure!(error.contains("tsmig recover host-a host-b"), "{error}");
        drop(cut);
        let recovered = run(lab, &["recover", "host-a", "host-b", "--output", "json"])?;
        recovered.expect(0, "o1", "migrated")?;
        assert_moved(lab, &guests, "o1")?;
        let again = run(lab, &["recover", "host-a", "host-b"])?;
        ensure!(again.status == 0 && again.stdout.contains("nothing is left"), "{} {}", again.stdout, again.stderr);
        assert_moved(lab, &guests, "o1")
    })
}

fn resumed_at_once(lab: &Lab) -> Result<()> {
    let lab = &older_hosts(lab)?;
    let (guests, running) = begin_unplugged(lab)?;
    lab.run(Node::HostA, &["virsh", "domjobabort", "o1", "--postcopy"])?;
    let run = running.end()?;
    run.expect(0, "o1", "migrated")?;
    ensure!(run.notices()?.iter().any(|notice| notice.contains("is resumed")), "{:?}", run.notices());
    assert_moved(lab, &guests, "o1")
}

fn not_resumed(lab: &Lab) -> Result<()> {
    let (_, running) = begin(lab, "post-copy", "post-copy")?;
    lab.run(Node::HostA, &["virsh", "domjobabort", "o1", "--postcopy"])?;
    let error = running.end()?.expect(4, "o1", "needs-recovery")?;
    for part in ["libvirt 11.3.0 at host-b", "update libvirt", "do not start, reset or destroy it", "tsmig recover"] {
        ensure!(error.contains(part), "{part}: {error}");
    }
    assert_states(lab, "o1", Some("paused (post-copy failed)"), Some("running (post-copy failed)"))
}
