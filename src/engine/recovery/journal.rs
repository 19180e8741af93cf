//! What tsmig is about to do, on disk before it does it: so that a run that was killed can be finished by the next.
//!
//! One file of JSON lines for each source, named after its libvirt host UUID, in a directory of the user's. Each line
//! is flushed to the disk before the step that it names. Next to it lies a lock, which a run holds for as long as it
//! lives: two runs on one source exclude each other. Lines that can't be read (the last one of a machine that lost its
//! power, those of a newer tsmig) are passed over: the truth is on the hosts, the journal only says where to look and
//! how things were before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use std::{env, process};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::domain::Transfer;
use crate::experience::store::Store;
use crate::libvirt::Definition;
use crate::preflight::facts::Promise;
use crate::report::DomainOutcome;

/// A step that is about to be taken, or an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Entry {
    /// A run starts.
    Begin {
        /// The run's process.
        pid: u32,
        /// The source as the user named it.
        source: String,
        /// Its destinations as the user named them, each with what tells it from others, whatever it is called.
        destinations: BTreeMap<String, String>,
    },
    /// Domains are to come to a destination, before it is decided which: so that other runs know.
    Plan {
        /// By UUID.
        arrivals: BTreeMap<String, Arrival>,
    },
    /// libvirt is asked to migrate a domain.
    Launch {
        /// The domain.
        domain: String,
        /// Its UUID.
        uuid: String,
        /// Where it is to go, as the user named it.
        destination: String,
        /// How it is to cross.
        transfer: Transfer,
        /// Whether it has a stored definition.
        persistent: bool,
        /// Whether it starts with its host.
        autostart: bool,
    },
    /// Nothing more is to be done about it.
    End {
        /// Its UUID.
        uuid: String,
        /// How it ended.
        outcome: DomainOutcome,
    },
}

/// What a domain takes of the host that it is to come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The host as the user named it.
    pub destination: String,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

/// A domain whose migration an earlier run has started and not seen the end of.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfinished {
    /// The domain.
    pub domain: String,
    /// Its UUID.
    pub uuid: String,
    /// How it was to cross.
    pub transfer: Transfer,
    /// What the source stored of it before; its memory and what it allows are not recorded.
    pub before: Definition,
    /// The destination as the user named it.
    pub destination: String,
    /// What tells the destination from others.
    pub destination_id: String,
}

/// A journal that can't be used; nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another run is at work on the same source.
    #[error("another tsmig is at work on {source_host}: {holder}; wait for it, or interrupt it")]
    Busy {
        /// The source as the user named it.
        source_host: String,
        /// Its pid and start, as it wrote them.
        holder: String,
    },
    /// The file or its directory can't be used.
    #[error("{path}: {error}; tsmig keeps a journal to finish what is interrupted (XDG_STATE_HOME names its place)")]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

/// The journal of one source, held by this run.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<Lines<File>>,
    /// Held until this is dropped, or the process ends however it ends.
    _lock: Flock<File>,
}

/// Writes whole lines; what a failed write leaves of one does not swallow the next.
#[derive(Debug)]
struct Lines<W> {
    to: W,
    /// The last one may lack its end.
    torn: bool,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, line: &str) -> io::Result<()> {
        let torn = std::mem::replace(&mut self.torn, true);
        self.to.write_all(format!("{}{line}\n", if torn { "\n" } else { "" }).as_bytes())?;
        self.torn = false;
        Ok(())
    }
}

/// `$XDG_STATE_HOME/tsmig` if that is set, else `/var/lib/tsmig` for root, else `~/.local/state/tsmig`.
pub fn directory() -> PathBuf {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let root = nix::unistd::Uid::effective().is_root();
    let home = || absolute("HOME").map(|home| home.join(".local/state/tsmig"));
    absolute("XDG_STATE_HOME")
        .map(|state| state.join("tsmig"))
        .or_else(|| if root { None } else { home() })
        .unwrap_or_else(|| PathBuf::from("/var/lib/tsmig"))
}

impl Journal {
    /// Takes the journal of a source, and returns what earlier runs have not finished. `id` tells the source from
    /// others, `name` is what the user calls it.
    ///
    /// # Errors
    /// Another run holds it, or it can't be written.
    pub fn open(directory: &Path, id: &str, name: &str) -> Result<(Self, Vec<Unfinished>), JournalError> {
        fs::create_dir_all(directory).map_err(unusable(directory))?;
        let stem = stem(id);
        let lock = take_lock(&directory.join(format!("{stem}.lock")), name)?;
        let path = directory.join(format!("{stem}.jsonl"));
        let open = || -> io::Result<(Lines<File>, Vec<Unfinished>)> {
            let mut file = File::options().read(true).append(true).create(true).open(&path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let text = String::from_utf8_lossy(&bytes);
            let unfinished = unfinished(&text);
            // Nobody needs the story of what has ended; but what another version has written may be open.
            let keeps = !unfinished.is_empty() || has_unknown(&text);
            if !keeps {
                file.set_len(0)?;
                file.rewind()?;
            }
            let torn = keeps && bytes.last() != Some(&b'\n');
            // The files' own names must be on the disk as well.
            File::open(directory)?.sync_all()?;
            Ok((Lines { to: file, torn }, unfinished))
        };
        let (file, unfinished) = open().map_err(unusable(&path))?;
        Ok((Self { file: Mutex::new(file), _lock: lock }, unfinished))
    }

    /// Records that a run starts.
    ///
    /// # Errors
    /// It can't be written.
    pub fn begin(&self, source: &str, destinations: BTreeMap<String, String>) -> io::Result<()> {
        self.record(&Entry::Begin { pid: process::id(), source: source.to_owned(), destinations })
    }

    /// Writes an entry, and returns when it is on the disk.
    ///
    /// # Errors
    /// It can't be written.
    pub fn record(&self, entry: &Entry) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            at: String,
            #[serde(flatten)]
            entry: &'a Entry,
        }
        let line = serde_json::to_string(&Line { at: now(), entry })?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write(&line)?;
        file.to.sync_data()
    }
}

/// The name of the files of the source with this identity, without their extensions.
fn stem(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> JournalError {
    move |error| JournalError::Unusable { path: path.to_owned(), error }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Takes the lock, and writes into it who has it.
fn take_lock(path: &Path, source: &str) -> Result<Flock<File>, JournalError> {
    let file =
        File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(unusable(path))?;
    let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => file,
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            // Without the name of its holder, the lock holds as well.
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "it is just starting",
                holder => holder,
            };
            return Err(JournalError::Busy { source_host: source.to_owned(), holder: holder.to_owned() });
        }
        Err((_, errno)) => return Err(unusable(path)(errno.into())),
    };
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.write_all(format!("pid {}, started {}\n", process::id(), now()).as_bytes())
    };
    write(&mut file).map_err(unusable(path))?;
    Ok(file)
}

/// What other runs of this machine that are at work still bring to a destination, by their journals in `directory`; that of
/// the source with this identity does not count. A journal that can't be read promises nothing.
pub fn promises(directory: &Path, source_id: &str, destination_id: &str) -> Vec<Promise> {
    let Ok(files) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    paths.sort();
    let own = stem(source_id);
    // What runs have shown lies beside the journals.
    let store = Store::within(directory);
    let others = paths.iter().filter(|path| {
        path.as_path() != store.path()
            && path.extension().is_some_and(|e| e == "jsonl")
            && path.file_stem().is_none_or(|stem| stem != own.as_str())
    });
    let promise = |path: &PathBuf| {
        let bytes = fs::read(path).ok()?;
        let promise = promised(&String::from_utf8_lossy(&bytes), destination_id)?;
        // Last: the lock of a run that is just starting is not to be touched.
        let lock = File::open(path.with_extension("lock")).ok()?;
        let shared = Flock::lock(lock, FlockArg::LockSharedNonblock);
        matches!(shared, Err((_, Errno::EWOULDBLOCK))).then_some(promise)
    };
    others.filter_map(promise).collect()
}

/// What the last run of a journal still brings to a destination.
fn promised(text: &str, to: &str) -> Option<Promise> {
    let (mut from, mut there, mut comes) = (None, None, BTreeMap::new());
    for entry in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match entry {
            Entry::Begin { source, destinations, .. } => {
                there = destinations.into_iter().find(|(_, id)| id == to).map(|(name, _)| name);
                from = there.is_some().then_some(source);
                comes.clear();
            }
            Entry::Plan { arrivals } => comes = arrivals,
            Entry::End { uuid, .. } => drop(comes.remove(&uuid)),
            _ => {}
        }
    }
    let arrives = |arrival: &&Arrival| there.as_ref() == Some(&arrival.destination);
    let bytes = comes.values().filter(arrives).map(|arrival| arrival.memory_bytes).sum();
    Some(Promise { source: from?, bytes }).filter(|promise| promise.bytes > 0)
}

/// Whether a whole line can't be read; the last may be what is left of a machine that lost its power.
fn has_unknown(text: &str) -> bool {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().any(|line| !line.is_empty() && serde_json::from_str::<Entry>(line).is_err())
}

/// What the lines leave open.
fn unfinished(text: &str) -> Vec<Unfinished> {
    let mut open = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for entry in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match entry {
            Entry::Begin { destinations, .. } => ids = destinations,
            Entry::Launch { domain, uuid, destination, transfer, persistent, autostart } => {
                let before = Definition { persistent, autostart, ..Definition::default() };
                let destination_id = ids.get(&destination).cloned().unwrap_or_default();
                open.insert(uuid.clone(), Unfinished { domain, uuid, transfer, before, destination, destination_id });
            }
            // A lost one stays open until somebody has seen to what is left of it.
            Entry::End { uuid, outcome } if !matches!(outcome, DomainOutcome::NeedsRecovery | DomainOutcome::Lost) => {
                drop(open.remove(&uuid));
            }
            Entry::Plan { .. } | Entry::End { .. } => {}
        }
    }
    open.into_values().collect()
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::domain::Technique;

    fn launch(name: &str) -> Entry {
        Entry::Launch {
            domain: name.to_owned(),
            uuid: format!("uuid of {name}"),
            destination: "host-b".to_owned(),
            transfer: Transfer::by(Technique::PostCopy),
            persistent: true,
            autostart: false,
        }
    }

    fn host_b() -> BTreeMap<String, String> {
        [("host-b".to_owned(), "id of b".to_owned())].into()
    }

    fn end(name: &str, outcome: DomainOutcome) -> Entry {
        Entry::End { uuid: format!("uuid of {name}"), outcome }
    }

    fn names(unfinished: &[Unfinished]) -> Vec<&str> {
        unfinished.iter().map(|entry| entry.domain.as_str()).collect()
    }

    #[test]
    fn the_next_run_finds_what_the_last_did_not_finish() {
        let directory = tempdir().unwrap();
        {
            let (journal, before) = Journal::open(directory.path(), "id", "host-a").unwrap();
            assert_eq!(before, []);
            journal.begin("host-a", host_b()).unwrap();
            for name in ["done", "open", "broken", "lost"] {
                journal.record(&launch(name)).unwrap();
            }
            journal.record(&end("done", DomainOutcome::Migrated)).unwrap();
            journal.record(&end("broken", DomainOutcome::NeedsRecovery)).unwrap();
            journal.record(&end("lost", DomainOutcome::Lost)).unwrap();
        }
        let (journal, found) = Journal::open(directory.path(), "id", "host-a").unwrap();
        assert_eq!(names(&found), ["broken", "lost", "open"]);
        assert_eq!((found[0].destination.as_str(), found[0].destination_id.as_str()), ("host-b", "id of b"));
        assert!(found[0].before.persistent && !found[0].before.autostart);
        for name in ["open", "lost", "broken"] {
            journal.record(&end(name, DomainOutcome::Migrated)).unwrap();
        }
        drop(journal);
        assert_eq!(names(&Journal::open(directory.path(), "id", "host-a").unwrap().1), [""; 0]);
        assert_eq!(fs::read_to_string(directory.path().join("id.jsonl")).unwrap(), "", "what has ended is not kept");
    }

    #[test]
    fn a_torn_line_and_foreign_ones_hide_nothing_else() {
        let directory = tempdir().unwrap();
        {
            let (journal, _) = Journal::open(directory.path(), "id", "host-a").unwrap();
            journal.record(&launch("open")).unwrap();
        }
        let path = directory.path().join("id.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        let foreign = "{\"at\":\"2030-01-01T00:00:00Z\",\"step\":\"teleport\",\"uuid\":\"x\"}\n\u{0}\u{0}\nno json\n";
        fs::write(&path, format!("{foreign}{text}{}", &text[..30])).unwrap();
        {
            let (journal, found) = Journal::open(directory.path(), "id", "host-a").unwrap();
            assert_eq!(names(&found), ["open"]);
            journal.record(&launch("later")).unwrap();
        }
        assert_eq!(names(&Journal::open(directory.path(), "id", "host-a").unwrap().1), ["later", "open"]);
    }

    #[test]
    fn what_another_version_has_written_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("id.jsonl");
        let foreign = "{\"at\":\"2030-01-01T00:00:00Z\",\"step\":\"teleport\",\"uuid\":\"x\"}\n";
        fs::write(&path, foreign).unwrap();
        drop(Journal::open(directory.path(), "id", "host-a").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
    }

    /// A disk on which there is room for that many bytes only.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(self.room - self.bytes.len());
            self.bytes.extend_from_slice(&bytes[..length]);
            if length == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(length) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_leaves_of_an_entry_does_not_swallow_the_next() {
        let line = |name| serde_json::to_string(&launch(name)).unwrap();
        let mut journal = Lines { to: Disk { bytes: Vec::new(), room: line("first").len() + 20 }, torn: false };
        journal.write(&line("first")).unwrap();
        journal.write(&line("torn")).unwrap_err();
        journal.write(&line("nothing of it")).unwrap_err();
        journal.to.room = 10_000;
        journal.write(&line("later")).unwrap();
        journal.write(&line("last")).unwrap();
        let text = String::from_utf8(journal.to.bytes).unwrap();
        assert_eq!(names(&unfinished(&text)), ["first", "last", "later"], "{text}");
        assert!(!text.contains("\n\n"), "{text}");
    }

    #[test]
    fn a_run_tells_others_what_it_still_brings_as_long_as_it_lives() {
        let directory = tempdir().unwrap();
        let arrival = |memory_bytes| Arrival { destination: "host-b".to_owned(), memory_bytes };
        let brings = |memory: &[(&str, u64)]| Entry::Plan {
            arrivals: memory.iter().map(|(name, bytes)| (format!("uuid of {name}"), arrival(*bytes))).collect(),
        };
        let to_b = || promises(directory.path(), "own", "id of b");
        let (journal, _) = Journal::open(directory.path(), "other", "host-c").unwrap();
        journal.begin("host-c", host_b()).unwrap();
        assert_eq!(to_b(), []);
        journal.record(&brings(&[("one", 1), ("two", 2), ("three", 4)])).unwrap();
        journal.record(&brings(&[("one", 1), ("two", 2)])).unwrap();
        assert_eq!(to_b(), [Promise { source: "host-c".to_owned(), bytes: 3 }], "the later one counts");
        assert_eq!(promises(directory.path(), "other", "id of b"), [], "one's own run");
        assert_eq!(promises(directory.path(), "own", "id of d"), [], "another destination");
        journal.record(&launch("two")).unwrap();
        journal.record(&end("one", DomainOutcome::Migrated)).unwrap();
        assert_eq!(to_b()[0].bytes, 2, "what has arrived is in the destination's own numbers");
        drop(journal);
        assert_eq!(to_b(), [], "a run that has ended brings nothing");
    }

    #[test]
    fn two_runs_on_one_source_exclude_each_other() {
        let directory = tempdir().unwrap();
        let first = Journal::open(directory.path(), "id", "host-a").unwrap();
        let error = Journal::open(directory.path(), "id", "host-a").unwrap_err().to_string();
        assert!(error.contains("host-a") && error.contains(&format!("pid {}", process::id())), "{error}");
        assert!(error.contains("started 20"), "{error}");
        Journal::open(directory.path(), "another", "host-c").unwrap();
        drop(first);
        Journal::open(directory.path(), "id", "host-a").unwrap();
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let error = Journal::open(Path::new("/proc/no-such"), "id", "host-a").unwrap_err().to_string();
        assert!(error.contains("/proc/no-such") && error.contains("XDG_STATE_HOME"), "{error}");
    }
}
