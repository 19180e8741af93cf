//! What earlier migrations between two hosts have proven: which kinds of guests the destination can load.
//!
//! The last record about a kind counts. A proof lapses by itself: the versions of QEMU are a part of the kind. A file that
//! can't be read proves nothing, and one that can't be written costs the next run a proof.

use std::collections::HashSet;
use std::io;

use super::record::{Hosts, Record, Shown};
use super::store::Store;
use crate::plan::IN_USE;

/// The proofs of one pair of hosts.
#[derive(Debug)]
pub struct Proofs {
    store: Store,
    hosts: Hosts,
}

impl Proofs {
    pub(crate) fn new(store: Store, hosts: Hosts) -> Self {
        Self { store, hosts }
    }

    /// Remembers what came of a domain of this kind.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn record(&self, domain: &str, kind: &str, proven: bool) -> io::Result<()> {
        let known = known(&self.store.read().records, &self.hosts);
        let changed: Vec<String> = match proven {
            true if known.contains(kind) => Vec::new(),
            true => vec![kind.to_owned()],
            // Those that use more NICs have proven it, too.
            false => known.into_iter().filter(|other| alike(other) == alike(kind)).collect(),
        };
        let record = |key| self.hosts.record(Shown::Proof { domain: domain.to_owned(), key, proven });
        self.store.add(&changed.into_iter().map(record).collect::<Vec<_>>())
    }
}

/// The kinds of guests that are proven between these hosts.
pub(crate) fn known(records: &[Record], hosts: &Hosts) -> HashSet<String> {
    let mut known = HashSet::new();
    for record in records.iter().filter(|record| hosts.are_of(record)) {
        match &record.shown {
            Shown::Proof { key, proven: true, .. } => drop(known.insert(key.clone())),
            Shown::Proof { key, .. } => drop(known.remove(key)),
            Shown::Migration(_) | Shown::Run { .. } => {}
        }
    }
    known
}

/// What guests have alike whose keys differ by the NICs that they use only.
fn alike(kind: &str) -> &str {
    kind.rsplit_once(IN_USE).map_or(kind, |(alike, _)| alike)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::store::tests::hosts;
    use super::*;

    #[test]
    fn one_that_could_not_be_loaded_disproves_those_that_use_more_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::within(directory.path());
        let proofs = Proofs::new(store.clone(), hosts("a", "b"));
        let kind = |name: &str, used: &str| format!("{name}{IN_USE}{used}");
        for kind in [kind("pc", "e1000, virtio"), kind("pc", "no NIC"), kind("q35", "virtio")] {
            proofs.record("x", &kind, true).unwrap();
        }
        proofs.record("y", &kind("pc", "virtio"), false).unwrap();
        assert_eq!(known(&store.read().records, &hosts("a", "b")), [kind("q35", "virtio")].into());
    }

    #[test]
    fn a_proof_holds_for_its_pair_of_hosts_and_its_kind_until_it_fails() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::within(directory.path());
        let proofs = Proofs::new(store.clone(), hosts("a", "b"));
        let known = |from, to| known(&store.read().records, &hosts(from, to));
        assert!(known("a", "b").is_empty(), "there is no file yet");
        proofs.record("web", "pc", true).unwrap();
        proofs.record("db", "q35", true).unwrap();
        assert_eq!(known("a", "b"), ["pc".to_owned(), "q35".to_owned()].into());
        assert!(known("b", "a").is_empty() && known("a", "c").is_empty(), "the way back is another");
        let before = fs::read(store.path()).unwrap();
        proofs.record("other", "pc", true).unwrap();
        assert_eq!(fs::read(store.path()).unwrap(), before, "it is known");
        proofs.record("web", "pc", false).unwrap();
        assert_eq!(known("a", "b"), ["q35".to_owned()].into());
    }
}
