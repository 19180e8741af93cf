//! How long the hosts are watched before a plan is made.

use anyhow::{Context, Result, ensure};
use tsmig_lab::Lab;

use crate::harness::{Guests, Test, idle, run, sender};

pub const TESTS: &[(&str, Test)] = &[("hosts_are_watched_for_as_long_as_it_tells_something", watching)];

fn watching(lab: &Lab) -> Result<()> {
    let guests = Guests::boot(lab, vec![idle("still")])?;
    let watched = || -> Result<f64> {
        let run = run(lab, &["profile", "host-a", "--window", "auto", "--output", "json"])?;
        ensure!(run.status == 0, "{}", run.stderr);
        ensure!(run.stderr.contains("profiling host-a for 10s, or up to 30s"), "{}", run.stderr);
        let profiles: serde_json::Value = serde_json::from_str(&run.stdout)?;
        profiles["hosts"][0]["window_seconds"].as_f64().with_context(|| profiles.to_string())
    };
    let quiet = watched()?;
    ensure!((10.0..25.0).contains(&quiet), "nothing happens, and it was watched for {quiet} s");
    let sends = Guests::boot(lab, vec![sender("sends")])?;
    let busy = watched()?;
    ensure!(busy >= 30.0, "a guest that sends was watched for {busy} s");
    // Nothing runs at host-b, so there is nothing to wait for, and nothing to move.
    let empty = run(lab, &["evacuate", "host-b", "host-a", "--window", "20s"])?;
    ensure!(empty.status == 0 && empty.stderr.contains("profiling host-b and host-a for 1s"), "{}", empty.stderr);
    guests.assert_alive(lab)?;
    sends.assert_alive(lab)
}
