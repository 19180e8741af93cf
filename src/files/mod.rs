//! Saved profiles, plans and reports, read back: every error names the file and the key, and says what would be right.
//!
//! A file is checked here once and for all, so that the planner can take numbers as they are: rates that are
//! not negative, links that carry something, names and UUIDs that mean one domain each.

pub mod result_file;
pub mod saved_report;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Deserializer;
use serde_json::de::StrRead;
use serde_json::error::Category;

use crate::plan::{self, Plan};
use crate::profile::{self, Both, DomainProfile, Profile};
use crate::report::{self, Report};

/// Why a saved profile, plan or report can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file can't be read.
    #[error("{}: can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its text as a whole is not what was expected.
    #[error("{}: {problem}; expected {expected}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What would be right.
        expected: &'static str,
    },
    /// One key is wrong or missing.
    #[error("{}: {key}: {problem}; expected {expected}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key from the top: `source.domains[2].uuid`.
        key: String,
        /// What is wrong.
        problem: String,
        /// What would be right.
        expected: String,
    },
}

const PROFILE: &str = "a profile as `tsmig profile --save FILE` writes it";
const PLAN: &str = "a plan as `tsmig plan --save FILE` writes it";
pub(crate) const REPORT: &str = "a report as `tsmig evacuate --report FILE` writes it";

/// What each key holds, for the messages.
const EXPECTED: &[(&str, &str)] = &[
    ("bits_per_second", "a rate in bits per second, more than 0"),
    ("at_seconds", "seconds, 0 or more"),
    ("bytes", "a whole number of bytes, 0 or more"),
    ("concurrency", "a whole number, 1 or more"),
    ("destination", "a profile in a file of profiles, the host's name in a plan"),
    ("dirty_bytes_per_second", "a rate in bytes per second, 0 or more"),
    ("domain", "the domain's name"),
    ("domains", "the list of the host's domains"),
    ("eligible", "true or false"),
    ("end_seconds", "seconds, 0 or more, or null where it does not end"),
    ("host", "the host's name"),
    ("inbound_bits_per_second", "a rate in bits per second, 0 or more"),
    ("link", "{\"bits_per_second\": ..., \"origin\": ...}"),
    ("memory_bytes", "a whole number of bytes, 0 or more"),
    ("migrations", "the list of the migrations"),
    ("name", "the domain's name, unique on its host"),
    ("outcome", "what tsmig writes there: evacuated, migrated, remains and so on"),
    ("order", "1, 2, 3 and so on"),
    ("origin", "option, configuration, detected or assumed"),
    ("outbound_bits_per_second", "a rate in bits per second, 0 or more"),
    ("persistent", "true or false"),
    ("post_copy", "{\"eligible\": true or false, \"reason\": null or a text}"),
    ("migration", "{\"eligible\": true or false, \"reason\": null or a text}"),
    ("resident_bytes", "a whole number of bytes, 0 or more"),
    ("source", "a profile in a file of profiles, the host's name in a plan"),
    ("start_seconds", "seconds, 0 or more, or null where it never starts"),
    ("schema", "the schema's name"),
    ("seconds", "seconds, 0 or more"),
    ("state", "running, paused, in shutdown, shut off, crashed, pmsuspended or no state"),
    ("technique", "pre-copy, post-copy or offline"),
    ("total_seconds", "seconds, 0 or more"),
    ("unused_bytes", "a whole number of bytes, 0 or more, or null where it is not known"),
    ("uuid", "the domain's UUID, unique on its host"),
    ("window_seconds", "seconds, 0 or more"),
];

fn expected(key: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let last = last.split('[').next().unwrap_or(last);
    EXPECTED.iter().find(|(name, _)| *name == last).map_or("what tsmig writes there", |(_, what)| what).to_owned()
}

/// Reads the profiles of a source and a destination. A lone profile means a destination with nothing on it, the
/// same link, and the name `destination`.
///
/// # Errors
/// The file can't be read, is no profile, or a key of it is missing or wrong.
pub fn load(path: &Path) -> Result<(Profile, Profile), FileError> {
    let file = Text::read(path, PROFILE)?;
    let (head, _): (Head, _) = file.begin().map_err(|vague| file.closest::<Both, Profile>(vague))?;
    if head.source.is_none() && head.destination.is_none() {
        file.check_schema("", head.schema.as_deref(), profile::SCHEMA)?;
        let source: Profile = file.parse()?;
        file.check("", &source)?;
        let destination = Profile { host: "destination".to_owned(), domains: Vec::new(), ..source.clone() };
        return Ok((source, destination));
    }
    for (key, part) in [("source", &head.source), ("destination", &head.destination)] {
        let Some(part) = part else { return Err(file.wrong(key, "it is missing")) };
        file.check_schema(&format!("{key}."), part.schema.as_deref(), profile::SCHEMA)?;
    }
    let both: Both = file.parse()?;
    file.check("source.", &both.source)?;
    file.check("destination.", &both.destination)?;
    Ok((both.source, both.destination))
}

/// Reads a plan.
///
/// # Errors
/// The file can't be read, is no plan, or a key of it is missing or wrong.
pub fn load_plan(path: &Path) -> Result<Plan, FileError> {
    let file = Text::read(path, PLAN)?;
    // Of `source` and `destination`, which are profiles elsewhere, only the schema beside them is read here.
    let head: Schema = file.parse()?;
    file.check_schema("", head.schema.as_deref(), plan::SCHEMA)?;
    let plan: Plan = file.parse()?;
    let mut uuids = HashMap::new();
    for (i, step) in plan.migrations.iter().enumerate() {
        let key = |name: &str| format!("migrations[{i}].{name}");
        if step.order != i + 1 {
            return Err(file.wrong(&key("order"), &format!("it is {}, in place {}", step.order, i + 1)));
        }
        if step.concurrency == 0 {
            return Err(file.wrong(&key("concurrency"), "it is 0"));
        }
        file.check_text(&key("domain"), &step.domain)?;
        file.check_text(&key("uuid"), &step.uuid)?;
        file.check_uuid(&mut uuids, &step.uuid, key("uuid"))?;
    }
    Ok(plan)
}

/// Reads a report.
///
/// # Errors
/// The file can't be read, is no report, or a key of it is missing or wrong.
pub fn load_report(path: &Path) -> Result<Report, FileError> {
    let file = Text::read(path, REPORT)?;
    let head: Schema = file.parse()?;
    file.check_schema("", head.schema.as_deref(), report::SCHEMA)?;
    let report: Report = file.parse()?;
    let mut uuids = HashMap::new();
    for (i, domain) in report.domains.iter().enumerate() {
        let key = |name: &str| format!("domains[{i}].{name}");
        file.check_text(&key("domain"), &domain.domain)?;
        file.check_text(&key("uuid"), &domain.uuid)?;
        file.check_uuid(&mut uuids, &domain.uuid, key("uuid"))?;
    }
    Ok(report)
}

#[derive(Deserialize)]
struct Schema {
    schema: Option<String>,
}

/// What tells a pair from a lone profile, and this schema from others, before anything else is read.
#[derive(Deserialize)]
struct Head {
    schema: Option<String>,
    source: Option<Schema>,
    destination: Option<Schema>,
}

/// The text of a file, with all that its errors need.
pub(crate) struct Text<'a> {
    path: &'a Path,
    text: String,
    expected: &'static str,
}

impl<'a> Text<'a> {
    pub(crate) fn read(path: &'a Path, expected: &'static str) -> Result<Self, FileError> {
        let text =
            fs::read_to_string(path).map_err(|source| FileError::Unreadable { path: path.to_owned(), source })?;
        // Some editors write a byte order mark.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let file = Self { path, text, expected };
        match file.text.trim_start().chars().next() {
            Some('{') => Ok(file),
            Some(_) => Err(file.no_such_text("it is no JSON object")),
            None => Err(file.no_such_text("it is empty")),
        }
    }

    fn no_such_text(&self, problem: &str) -> FileError {
        FileError::Text { path: self.path.to_owned(), problem: problem.to_owned(), expected: self.expected }
    }

    fn wrong(&self, key: &str, problem: &str) -> FileError {
        FileError::Key {
            path: self.path.to_owned(),
            key: key.to_owned(),
            problem: problem.to_owned(),
            expected: expected(key),
        }
    }

    /// The whole text as a value.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        let (value, mut reader) = self.begin()?;
        reader.end().map_err(|error| self.no_such_text(&format!("it goes on after its end: {error}")))?;
        Ok(value)
    }

    /// The value that the text begins with, and what is left of the text.
    fn begin<T: DeserializeOwned>(&self) -> Result<(T, Deserializer<StrRead<'_>>), FileError> {
        let mut reader = Deserializer::from_str(&self.text);
        let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            let at_top = path == ".";
            let json = error.into_inner();
            let problem = json.to_string();
            // serde names a missing field only in its text, and puts the path at what should hold it.
            if let Some(field) = problem.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
                let key = if at_top { field.to_owned() } else { format!("{path}.{field}") };
                return self.wrong(&key, "it is missing");
            }
            match json.classify() {
                _ if at_top => self.no_such_text(&format!("it is no JSON object: {problem}")),
                Category::Eof => self.no_such_text(&format!("it ends too early: {problem}")),
                _ => self.wrong(&path, &problem),
            }
        })?;
        Ok((value, reader))
    }

    /// The error that names the key the closest. What breaks the syntax, such as NaN, is already met where parts of
    /// the text are skipped, and there without its key.
    fn closest<A: DeserializeOwned, B: DeserializeOwned>(&self, vague: FileError) -> FileError {
        let depth = |error: &FileError| match error {
            FileError::Key { key, .. } => key.len(),
            _ => 0,
        };
        let others = [self.parse::<A>().err(), self.parse::<B>().err()];
        others.into_iter().flatten().fold(vague, |a, b| if depth(&b) > depth(&a) { b } else { a })
    }

    fn check_schema(&self, prefix: &str, schema: Option<&str>, known: &str) -> Result<(), FileError> {
        let problem = match schema {
            Some(schema) if schema == known => return Ok(()),
            Some(schema) => format!("{schema:?} is not known to this version"),
            None => "it is missing".to_owned(),
        };
        Err(FileError::Key {
            path: self.path.to_owned(),
            key: format!("{prefix}schema"),
            problem,
            expected: format!("{known:?}"),
        })
    }

    fn check(&self, prefix: &str, profile: &Profile) -> Result<(), FileError> {
        self.check_number(&format!("{prefix}window_seconds"), profile.window_seconds)?;
        let capacity = profile.link.bits_per_second;
        if !(capacity.is_finite() && capacity > 0.0) {
            return Err(self.wrong(&format!("{prefix}link.bits_per_second"), &format!("it is {capacity}")));
        }
        let (mut uuids, mut names) = (HashMap::new(), HashMap::new());
        for (i, domain) in profile.domains.iter().enumerate() {
            let key = |name: &str| format!("{prefix}domains[{i}].{name}");
            self.check_domain(&key, domain)?;
            self.check_uuid(&mut uuids, &domain.uuid, key("uuid"))?;
            self.check_unique(&mut names, domain.name.clone(), &domain.name, key("name"))?;
        }
        Ok(())
    }

    fn check_domain(&self, key: &impl Fn(&str) -> String, domain: &DomainProfile) -> Result<(), FileError> {
        self.check_text(&key("name"), &domain.name)?;
        self.check_text(&key("uuid"), &domain.uuid)?;
        for (name, value) in [
            ("dirty_bytes_per_second", domain.dirty_bytes_per_second),
            ("outbound_bits_per_second", domain.outbound_bits_per_second),
            ("inbound_bits_per_second", domain.inbound_bits_per_second),
        ] {
            self.check_number(&key(name), value)?;
        }
        Ok(())
    }

    pub(crate) fn check_number(&self, key: &str, value: f64) -> Result<(), FileError> {
        if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(self.wrong(key, &format!("it is {value}"))) }
    }

    fn check_text(&self, key: &str, value: &str) -> Result<(), FileError> {
        match value.chars().any(char::is_control) {
            true => Err(self.wrong(key, &format!("it is {value:?}, with a control character"))),
            false if value.is_empty() => Err(self.wrong(key, "it is empty")),
            false => Ok(()),
        }
    }

    /// UUIDs are the same whichever way they are written.
    fn check_uuid(&self, seen: &mut HashMap<String, String>, uuid: &str, key: String) -> Result<(), FileError> {
        self.check_unique(seen, uuid.to_ascii_lowercase().replace('-', ""), uuid, key)
    }

    fn check_unique(
        &self,
        seen: &mut HashMap<String, String>,
        identity: String,
        value: &str,
        key: String,
    ) -> Result<(), FileError> {
        match seen.get(&identity) {
            Some(first) => Err(self.wrong(&key, &format!("{value:?} is taken by {first}"))),
            None => {
                seen.insert(identity, key);
                Ok(())
            }
        }
    }
}
