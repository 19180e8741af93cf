//! What is known after earlier runs, for people and programs to look at.

use std::path::Path;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;

use super::lessons::{self, DomainLesson};
use super::proofs;
use super::record::{HostName, Hosts, Record, Shown};
use crate::profile::learned::Crossing;

/// The schema name that it carries.
pub const SCHEMA: &str = "tsmig.model/1";

/// All that the next plan takes from earlier runs.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Known {
    /// Always [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// The file in which the runs are kept.
    pub file: String,
    /// Of each source with each destination.
    pub(crate) pairs: Vec<Pair>,
    /// Of each domain.
    pub(crate) domains: Vec<Domain>,
}

/// What is known of migrations from one host to another.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Pair {
    pub(crate) source: HostName,
    pub(crate) destination: HostName,
    /// How they cross, if that was seen.
    pub(crate) crossing: Option<Crossing>,
    /// How many kinds of guests are proven to be loaded there.
    pub(crate) proven: usize,
    /// When the last of it was seen.
    pub(crate) at: String,
}

/// What is known of a domain.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Domain {
    pub(crate) domain: String,
    pub(crate) uuid: String,
    #[serde(flatten)]
    pub(crate) lesson: DomainLesson,
    /// When it moved last.
    pub(crate) at: String,
}

impl Known {
    /// What the records of a file teach.
    pub(crate) fn of(file: &Path, records: &[Record]) -> Self {
        let mut pairs: IndexMap<[&str; 2], &Record> = IndexMap::new();
        let mut domains = IndexMap::new();
        for record in records {
            // The newest names stand for what they name.
            pairs.insert([&*record.source.id, &record.destination.id], record);
            if let Shown::Migration(migrated) = &record.shown {
                domains.insert(&migrated.uuid, (&migrated.domain, &record.at));
            }
        }
        let pair = |record: &&Record| {
            let hosts = Hosts { source: record.source.clone(), destination: record.destination.clone() };
            Pair {
                crossing: lessons::crossing(records, &hosts, None),
                proven: proofs::known(records, &hosts).len(),
                source: hosts.source,
                destination: hosts.destination,
                at: record.at.clone(),
            }
        };
        let domain = |(uuid, (name, at)): (&&String, &(&String, &String))| {
            let lesson = DomainLesson::of(records, uuid)?;
            Some(Domain { domain: (*name).clone(), uuid: (*uuid).clone(), lesson, at: (*at).clone() })
        };
        let mut domains: Vec<Domain> = domains.iter().filter_map(domain).collect();
        domains.sort_by(|a, b| a.domain.cmp(&b.domain));
        Self {
            schema: SCHEMA.to_owned(),
            file: file.to_string_lossy().into_owned(),
            pairs: pairs.values().map(pair).collect(),
            domains,
        }
    }
}
