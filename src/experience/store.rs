//! The file in which experience is kept: one JSON object a line, in the directory of the journals. It may be looked at, moved
//! and deleted at any time.
//!
//! Its size is bounded. A line that can't be read is left out, and a file that is no such file teaches nothing.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::record::{Record, SCHEMA, Shown};

/// A larger file is not read: what this program writes stays far below it.
const MOST_BYTES: u64 = 4 << 20;

/// A file that has grown to this is thinned out.
const THIN_BYTES: u64 = 1 << 20;

/// What is kept of each domain, and of each pair of hosts, when it is thinned out: more than any lesson takes.
const KEPT_EACH: usize = 10;

/// The most records beside proofs that are kept then: up to 900 bytes each.
const KEPT: usize = 800;

/// For how long another run's turn is waited for, and how often it is tried meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// See [`PATIENCE`].
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone)]
pub(crate) struct Store {
    path: PathBuf,
}

/// What a file holds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Contents {
    /// The oldest first.
    pub(crate) records: Vec<Record>,
    /// What was left out, in words.
    pub(crate) note: Option<String>,
}

impl Store {
    /// The one in a directory.
    pub(crate) fn within(directory: &Path) -> Self {
        Self { path: directory.join("experience.jsonl") }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn read(&self) -> Contents {
        let text = match self.text() {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Contents::default(),
            Err(error) => {
                let note =
                    format!("{} can't be read ({error}), so nothing is known from earlier runs", self.path.display());
                return Contents { records: Vec::new(), note: Some(note) };
            }
        };
        let (records, others) = sorted(&text);
        let (left_out, all) = (others.len(), records.len() + others.len());
        let note = (left_out > 0)
            .then(|| format!("{left_out} of {all} lines of {} can't be read and are left out", self.path.display()));
        Contents { records, note }
    }

    /// Adds records; thins the file out if it has become too long.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn add(&self, records: &[Record]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.check()?;
        let _lock = self.lock()?;
        let mut text = lines(records)?;
        // Apart from what a killed run may have left.
        text.insert(0, '\n');
        let mut file = File::options().append(true).create(true).open(&self.path)?;
        file.write_all(text.as_bytes())?;
        if file.metadata()?.len() > THIN_BYTES {
            // What can't be read goes, too: it must not grow for ever.
            self.write(&thinned(sorted(&self.text()?).0), &[])?;
        }
        Ok(())
    }

    /// Removes the records that are not to be kept; how many there were. What can't be read stays.
    ///
    /// # Errors
    /// It can't be read or written.
    pub(crate) fn retain(&self, keep: impl Fn(&Record) -> bool) -> io::Result<usize> {
        if !self.path.exists() {
            return Ok(0);
        }
        let _lock = self.lock()?;
        let text = self.text()?;
        let (records, others) = sorted(&text);
        let (kept, removed): (Vec<_>, Vec<_>) = records.into_iter().partition(keep);
        self.write(&kept, &others)?;
        Ok(removed.len())
    }

    /// Removes everything, whatever it is.
    ///
    /// # Errors
    /// It can't be removed.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn text(&self) -> io::Result<String> {
        self.check()?;
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Fails for what this program can't have written; to open a pipe would take for ever.
    fn check(&self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(there) if !there.is_file() => Err(io::Error::other("it is no file")),
            Ok(there) if there.len() > MOST_BYTES => {
                let (has, most) = (there.len().div_ceil(1 << 20), MOST_BYTES >> 20);
                Err(io::Error::other(format!("it has {has} MiB, and no more than {most} are read")))
            }
            _ => Ok(()),
        }
    }

    /// Two runs must not write at the same time, and none waits for long. The lock is a file of its own, since the other one is
    /// replaced.
    fn lock(&self) -> io::Result<Flock<File>> {
        let path = self.path.with_extension("lock");
        let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
        let start = Instant::now();
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((again, Errno::EWOULDBLOCK)) if start.elapsed() < PATIENCE => file = again,
                Err((_, error)) => return Err(error.into()),
            }
            thread::sleep(PAUSE);
        }
    }

    /// Replaces all, or nothing.
    fn write(&self, records: &[Record], others: &[&str]) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(lines(records)?.as_bytes())?;
        others.iter().try_for_each(|line| writeln!(file, "{line}"))?;
        if let Ok(metadata) = fs::metadata(&self.path) {
            file.as_file().set_permissions(metadata.permissions())?;
        }
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// The records of a text, and the lines that are none.
fn sorted(text: &str) -> (Vec<Record>, Vec<&str>) {
    let (mut records, mut others) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match read_line(line) {
            Some(record) => records.push(record),
            None => others.push(line),
        }
    }
    (records, others)
}

fn read_line(line: &str) -> Option<Record> {
    serde_json::from_str(line).ok().filter(|record: &Record| record.schema == SCHEMA)
}

fn lines(records: &[Record]) -> io::Result<String> {
    let line = |record| Ok(serde_json::to_string(record)? + "\n");
    records.iter().map(line).collect()
}

/// The newest records about each domain, each kind and each pair of hosts, in their order.
fn thinned(records: Vec<Record>) -> Vec<Record> {
    let mut seen: HashMap<_, usize> = HashMap::new();
    let mut kept: Vec<Record> = Vec::new();
    for record in records.into_iter().rev() {
        let about = match &record.shown {
            Shown::Proof { key, .. } => ("proof", key.clone()),
            Shown::Migration(migrated) => ("migration", migrated.uuid.clone()),
            Shown::Run { .. } => ("run", String::new()),
        };
        // A proof is written once, and is older than most.
        let is_proof = about.0 == "proof";
        let most = if is_proof { 1 } else { KEPT_EACH };
        let count = seen.entry((record.source.id.clone(), record.destination.id.clone(), about)).or_default();
        *count += 1;
        if *count <= most && (is_proof || kept.len() < KEPT) {
            kept.push(record);
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::record::{HostName, Hosts, Migrated};
    use super::*;
    use crate::domain::Technique;

    pub(crate) fn hosts(source: &str, destination: &str) -> Hosts {
        let host = |name: &str| HostName { id: name.to_owned(), name: name.to_owned() };
        Hosts { source: host(source), destination: host(destination) }
    }

    pub(crate) fn migrated(uuid: &str, crossed: u64) -> Migrated {
        Migrated {
            domain: uuid.to_owned(),
            uuid: uuid.to_owned(),
            technique: Technique::PreCopy,
            memory: 1000,
            resident: 1000,
            crossed,
            traffic_bits_per_second: 0.0,
            dirtied: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_the_rest_of_a_damaged_file_still_counts() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::within(directory.path());
        assert_eq!(store.read(), Contents::default(), "there is no file yet");
        let records = [500, 600].map(|crossed| hosts("a", "b").record(Shown::Migration(migrated("x", crossed))));
        store.add(&records[..1]).unwrap();
        let damaged = [fs::read(store.path()).unwrap(), b"\xff{\"schema\": \"torn".to_vec()].concat();
        fs::write(store.path(), damaged).unwrap();
        store.add(&records[1..]).unwrap();
        let contents = store.read();
        assert_eq!(contents.records, records);
        assert!(contents.note.unwrap().starts_with("1 of 3 lines"));
        let foreign = serde_json::to_string(&Record { schema: "tsmig.experience/2".to_owned(), ..records[0].clone() });
        fs::write(store.path(), foreign.unwrap()).unwrap();
        assert_eq!(store.read().records, []);
    }

    #[test]
    fn a_file_that_is_far_too_large_teaches_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::within(directory.path());
        File::create(store.path()).unwrap().set_len(MOST_BYTES + 1).unwrap();
        let contents = store.read();
        assert_eq!(contents.records, []);
        assert!(contents.note.unwrap().contains("can't be read"));
        // Neither is it taken for an empty one.
        let record = hosts("a", "b").record(Shown::Migration(migrated("x", 1)));
        assert!(store.add(&[record]).is_err() && store.retain(|_| false).is_err());
        assert_eq!(fs::metadata(store.path()).unwrap().len(), MOST_BYTES + 1);
        store.remove().unwrap();
        assert_eq!(store.read(), Contents::default());
    }

    #[test]
    fn nobody_waits_for_a_pipe_or_for_another_run() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::within(directory.path());
        let record = || [hosts("a", "b").record(Shown::Migration(migrated("x", 1)))];
        let lock = store.lock().unwrap();
        assert!(store.add(&record()).is_err());
        drop(lock);
        nix::unistd::mkfifo(store.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(store.add(&record()).is_err());
        assert!(store.read().note.unwrap().contains("no file"));
    }

    #[test]
    fn a_long_file_is_thinned_out_to_the_newest_of_each_domain() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::within(directory.path());
        let record = |uuid: &str, crossed| hosts("a", "b").record(Shown::Migration(migrated(uuid, crossed)));
        let proof = hosts("a", "b").record(Shown::Proof { domain: "x".to_owned(), key: "pc".to_owned(), proven: true });
        store.add(std::slice::from_ref(&proof)).unwrap();
        let first = record("first", 1);
        store.add(std::slice::from_ref(&first)).unwrap();
        let many: Vec<_> = (0..4000).map(|crossed| record("busy", crossed)).collect();
        store.add(&many).unwrap();
        let kept = store.read().records;
        assert_eq!(kept.len(), 2 + KEPT_EACH);
        assert_eq!(kept[..2], [proof, first.clone()]);
        assert_eq!(kept.last(), many.last());
        assert_eq!(store.retain(|record| *record == first).unwrap(), 1 + KEPT_EACH);
        assert_eq!(store.read().records, [first]);
    }
}
