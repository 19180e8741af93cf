//! What earlier migrations between two hosts have proven: which kinds of guests the destination can load.
//!
//! One file of JSON lines in the directory of the journals, to which each run adds what it has seen. The last line about
//! a kind counts. A proof lapses by itself: the versions of QEMU are a part of the kind. A file that can't be read proves
//! nothing, and one that can't be written costs the next run a proof.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::plan::IN_USE;

/// The proofs of one pair of hosts.
#[derive(Debug)]
pub struct Proofs {
    path: PathBuf,
    source: String,
    destination: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    at: String,
    /// What tells the hosts from others, whatever they are called.
    source: String,
    destination: String,
    domain: String,
    /// [`Ground::key`](crate::plan::Ground::key).
    kind: String,
    /// Whether it came through; else the destination could not load it.
    proven: bool,
}

impl Proofs {
    /// Those between hosts with these identities.
    pub fn between(directory: &Path, source: &str, destination: &str) -> Self {
        let path = directory.join("proofs.jsonl");
        Self { path, source: source.to_owned(), destination: destination.to_owned() }
    }

    /// The kinds of guests that are proven.
    pub fn known(&self) -> HashSet<String> {
        let text = fs::read(&self.path).unwrap_or_default();
        let mut known = HashSet::new();
        for line in String::from_utf8_lossy(&text).lines() {
            match serde_json::from_str::<Line>(line) {
                Ok(line) if (&line.source, &line.destination) != (&self.source, &self.destination) => {}
                Ok(Line { kind, proven: true, .. }) => drop(known.insert(kind)),
                Ok(Line { kind, .. }) => drop(known.remove(&kind)),
                Err(_) => {}
            }
        }
        known
    }

    /// Remembers what came of a domain of this kind.
    ///
    /// # Errors
    /// It can't be written.
    pub fn record(&self, domain: &str, kind: &str, proven: bool) -> io::Result<()> {
        let known = self.known();
        let changed: Vec<String> = match proven {
            true if known.contains(kind) => Vec::new(),
            true => vec![kind.to_owned()],
            // Those that use more NICs have proven it, too.
            false => known.into_iter().filter(|other| alike(other) == alike(kind)).collect(),
        };
        if changed.is_empty() {
            return Ok(());
        }
        // The line break before it parts it from what a killed run may have left.
        let mut text = String::from("\n");
        for kind in changed {
            let at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
            let (source, destination) = (self.source.clone(), self.destination.clone());
            let line = Line { at, source, destination, domain: domain.to_owned(), kind, proven };
            text += &format!("{}\n", serde_json::to_string(&line)?);
        }
        File::options().append(true).create(true).open(&self.path)?.write_all(text.as_bytes())
    }
}

/// What guests have alike whose keys differ by the NICs that they use only.
fn alike(kind: &str) -> &str {
    kind.rsplit_once(IN_USE).map_or(kind, |(alike, _)| alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_could_not_be_loaded_disproves_those_that_use_more_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let proofs = Proofs::between(directory.path(), "a", "b");
        let kind = |name: &str, used: &str| format!("{name}{IN_USE}{used}");
        for kind in [kind("pc", "e1000, virtio"), kind("pc", "no NIC"), kind("q35", "virtio")] {
            proofs.record("x", &kind, true).unwrap();
        }
        proofs.record("y", &kind("pc", "virtio"), false).unwrap();
        assert_eq!(proofs.known(), [kind("q35", "virtio")].into());
    }

    #[test]
    fn a_proof_holds_for_its_pair_of_hosts_and_its_kind_until_it_fails() {
        let directory = tempfile::tempdir().unwrap();
        let proofs = |from, to| Proofs::between(directory.path(), from, to);
        let known = |from, to| proofs(from, to).known();
        assert!(known("a", "b").is_empty(), "there is no file yet");
        proofs("a", "b").record("web", "pc", true).unwrap();
        proofs("a", "b").record("db", "q35", true).unwrap();
        assert_eq!(known("a", "b"), ["pc".to_owned(), "q35".to_owned()].into());
        assert!(known("b", "a").is_empty() && known("a", "c").is_empty(), "the way back is another");
        let path = directory.path().join("proofs.jsonl");
        let before = fs::read(&path).unwrap();
        proofs("a", "b").record("other", "pc", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), before, "it is known");
        fs::write(&path, [before, b"{\"at\": \"torn".to_vec()].concat()).unwrap();
        proofs("a", "b").record("web", "pc", false).unwrap();
        assert_eq!(known("a", "b"), ["q35".to_owned()].into());
    }
}
