//! The profiles of two hosts in a file. A lone one means a destination with nothing on it, the same link, and the name
//! `destination`.

use std::collections::HashMap;

use serde::Deserialize;

use super::text::{Schema, Text};
use super::{FileError, Saved};
use crate::profile::{self, Both, Profile};

/// What tells a pair from a lone profile, and this schema from others, before anything else is read.
#[derive(Deserialize)]
struct Head {
    schema: Option<String>,
    source: Option<Schema>,
    destination: Option<Schema>,
}

impl Saved for Both {
    const SCHEMA: &'static str = profile::SCHEMA;
    const WHAT: &'static str = "a profile as `tsmig profile --save FILE` writes it";

    fn read(text: &Text<'_>) -> Result<Self, FileError> {
        let (head, _): (Head, _) = text.begin().map_err(|vague| text.closest::<Both, Profile>(vague))?;
        if head.source.is_none() && head.destination.is_none() {
            text.check_schema("", head.schema.as_deref(), Self::SCHEMA)?;
            let source: Profile = text.parse()?;
            check(text, "", &source)?;
            let destination = Profile { host: "destination".to_owned(), domains: Vec::new(), ..source.clone() };
            return Ok(Self { source, destination });
        }
        for (key, part) in [("source", &head.source), ("destination", &head.destination)] {
            let Some(part) = part else { return Err(text.wrong(key, "it is missing")) };
            text.check_schema(&format!("{key}."), part.schema.as_deref(), Self::SCHEMA)?;
        }
        let both: Self = text.parse()?;
        check(text, "source.", &both.source)?;
        check(text, "destination.", &both.destination)?;
        Ok(both)
    }
}

fn check(text: &Text<'_>, prefix: &str, profile: &Profile) -> Result<(), FileError> {
    text.check_number(&format!("{prefix}window_seconds"), profile.window_seconds)?;
    let capacity = profile.link.bits_per_second;
    if !(capacity.is_finite() && capacity > 0.0) {
        return Err(text.wrong(&format!("{prefix}link.bits_per_second"), &format!("it is {capacity}")));
    }
    let (mut uuids, mut names) = (HashMap::new(), HashMap::new());
    for (i, domain) in profile.domains.iter().enumerate() {
        let key = |name: &str| format!("{prefix}domains[{i}].{name}");
        text.check_text(&key("name"), &domain.name)?;
        text.check_text(&key("uuid"), &domain.uuid)?;
        for (name, value) in [
            ("dirty_bytes_per_second", domain.dirty_bytes_per_second),
            ("outbound_bits_per_second", domain.outbound_bits_per_second),
            ("inbound_bits_per_second", domain.inbound_bits_per_second),
        ] {
            text.check_number(&key(name), value)?;
        }
        text.check_uuid(&mut uuids, &domain.uuid, key("uuid"))?;
        text.check_unique(&mut names, domain.name.clone(), &domain.name, key("name"))?;
    }
    Ok(())
}
