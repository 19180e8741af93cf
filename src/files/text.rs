//! The text of a file: its parts as values, and errors that name the key.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Deserializer;
use serde_json::error::Category;

use super::FileError;

/// What each key holds, for the messages.
const EXPECTED: &[(&str, &str)] = &[
    ("bits_per_second", "a rate in bits per second, more than 0"),
    ("at_seconds", "seconds, 0 or more"),
    ("bytes", "a whole number of bytes, 0 or more"),
    ("bytes_per_second", "a rate in bytes per second, 0 or more"),
    ("concurrency", "a whole number, 1 or more"),
    ("destination", "the host's name"),
    ("destinations", "the name of one host, in a list"),
    ("dirty_bytes_per_second", "a rate in bytes per second, 0 or more"),
    ("domain", "the domain's name"),
    ("domains", "the list of the host's domains"),
    ("eligible", "true or false"),
    ("end_seconds", "seconds, 0 or more, or null where it does not end"),
    ("host", "the host's name"),
    ("inbound_bits_per_second", "a rate in bits per second, 0 or more"),
    ("hosts", "a source and a destination, or a source alone"),
    ("idle", "a number of processors, 0 or more"),
    ("link_bits_per_second", "a rate in bits per second, 0 or more"),
    ("migration_port", "{\"name\": ..., \"bits_per_second\": ..., \"origin\": ...}"),
    ("name", "the name of a domain or of a port, unique on its host"),
    ("memory_bytes", "a whole number of bytes, 0 or more"),
    ("migrations", "the list of the migrations"),
    ("outcome", "what tsmig writes there: evacuated, migrated, remains and so on"),
    ("order", "1, 2, 3 and so on"),
    ("origin", "option, configuration, detected or assumed"),
    ("outbound_bits_per_second", "a rate in bits per second, 0 or more"),
    ("pace", "a part of what the model says, 0 or more"),
    ("persistent", "true or false"),
    ("post_copy", "{\"eligible\": true or false, \"reason\": null or a text}"),
    ("migration", "{\"eligible\": true or false, \"reason\": null or a text}"),
    ("resident_bytes", "a whole number of bytes, 0 or more"),
    ("rewritten", "{\"bytes\": ..., \"seconds\": ...}, or left out where it is not known"),
    ("setup_seconds", "seconds, 0 or more"),
    ("setups_apart_seconds", "seconds, 0 or more"),
    ("source", "the host's name"),
    ("start_seconds", "seconds, 0 or more, or null where it never starts"),
    ("schema", "the schema's name"),
    ("seconds", "seconds, 0 or more"),
    ("state", "running, paused, in shutdown, shut off, crashed, pmsuspended or no state"),
    ("technique", "pre-copy, post-copy, hybrid or offline, and the same as in transfer"),
    ("transport", "one connection that is not encrypted, {\"tls\": false, \"channels\": 1}"),
    ("total_seconds", "seconds, 0 or more"),
    ("filled_bytes", "a whole number of bytes, 0 or more, or left out where it is not known"),
    ("unused_bytes", "a whole number of bytes, 0 or more, or null where it is not known"),
    ("uuid", "the domain's UUID, unique on its host"),
    ("window_seconds", "seconds, 0 or more"),
];

fn expected(key: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let last = last.split('[').next().unwrap_or(last);
    EXPECTED.iter().find(|(name, _)| *name == last).map_or("what tsmig writes there", |(_, what)| what).to_owned()
}

#[derive(Deserialize)]
struct Schema {
    schema: Option<String>,
}

/// The text of a file, with all that its errors need.
pub struct Text<'a> {
    path: &'a Path,
    text: String,
    expected: &'static str,
}

impl<'a> Text<'a> {
    pub(super) fn read(path: &'a Path, expected: &'static str) -> Result<Self, FileError> {
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

    pub(super) fn wrong(&self, key: &str, problem: &str) -> FileError {
        FileError::Key {
            path: self.path.to_owned(),
            key: key.to_owned(),
            problem: problem.to_owned(),
            expected: expected(key),
        }
    }

    /// The whole text as a value.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        let mut reader = Deserializer::from_str(&self.text);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| self.error(error))?;
        reader.end().map_err(|error| self.no_such_text(&format!("it goes on after its end: {error}")))?;
        Ok(value)
    }

    /// The whole text as a value that carries this schema.
    pub(super) fn document<T: DeserializeOwned>(&self, schema: &str) -> Result<T, FileError> {
        // Keys that have other values in other schemas are not read before the schema is known.
        // What breaks the syntax, such as NaN, is met here without its key.
        let head: Schema = self.parse().map_err(|vague| self.parse::<T>().err().unwrap_or(vague))?;
        self.check_schema(head.schema.as_deref(), schema)?;
        self.parse()
    }

    /// What serde says of the text, with the key that it is about.
    fn error(&self, error: serde_path_to_error::Error<serde_json::Error>) -> FileError {
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
    }

    fn check_schema(&self, schema: Option<&str>, known: &str) -> Result<(), FileError> {
        let problem = match schema {
            Some(schema) if schema == known => return Ok(()),
            Some(schema) => format!("{schema:?} is not known to this version"),
            None => "it is missing".to_owned(),
        };
        Err(FileError::Key {
            path: self.path.to_owned(),
            key: "schema".to_owned(),
            problem,
            expected: format!("{known:?}"),
        })
    }

    pub(super) fn check_number(&self, key: &str, value: f64) -> Result<(), FileError> {
        if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(self.wrong(key, &format!("it is {value}"))) }
    }

    pub(super) fn check_text(&self, key: &str, value: &str) -> Result<(), FileError> {
        match value.chars().any(char::is_control) {
            true => Err(self.wrong(key, &format!("it is {value:?}, with a control character"))),
            false if value.is_empty() => Err(self.wrong(key, "it is empty")),
            false => Ok(()),
        }
    }

    /// UUIDs are the same whichever way they are written.
    pub(super) fn check_uuid(
        &self,
        seen: &mut HashMap<String, String>,
        uuid: &str,
        key: String,
    ) -> Result<(), FileError> {
        self.check_unique(seen, uuid.to_ascii_lowercase().replace('-', ""), uuid, key)
    }

    pub(super) fn check_unique(
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
