//! The profiles of hosts in a file, for a plan: the first is the source. A lone one means a destination with nothing on it,
//! the same ports, and the name `destination`.

use std::collections::HashMap;
use std::iter;

use super::text::Text;
use super::{FileError, Saved};
use crate::profile::{self, Both, Profile, Profiles};

impl Saved for Both {
    const SCHEMA: &'static str = profile::SCHEMA;
    const WHAT: &'static str = "a profile as `tsmig profile --save FILE` writes it";

    fn read(text: &Text<'_>) -> Result<Self, FileError> {
        let profiles: Profiles = text.document(Self::SCHEMA)?;
        for (i, profile) in profiles.hosts.iter().enumerate() {
            check(text, &format!("hosts[{i}]."), profile)?;
        }
        let count = profiles.hosts.len();
        let mut hosts = profiles.hosts.into_iter();
        match (hosts.next(), hosts.next(), hosts.next()) {
            (Some(source), Some(destination), None) => Ok(Self { source, destination }),
            (Some(source), None, _) => {
                let destination = Profile { host: "destination".to_owned(), domains: Vec::new(), ..source.clone() };
                Ok(Self { source, destination })
            }
            _ => Err(text.wrong("hosts", &format!("it has {count} of them"))),
        }
    }
}

fn check(text: &Text<'_>, prefix: &str, profile: &Profile) -> Result<(), FileError> {
    text.check_number(&format!("{prefix}window_seconds"), profile.window_seconds)?;
    let ports = iter::once(("migration_port".to_owned(), &profile.migration_port));
    let others = profile.other_ports.iter().enumerate().map(|(i, port)| (format!("other_ports[{i}]"), port));
    for (key, port) in ports.chain(others) {
        let capacity = port.bits_per_second;
        if !(capacity.is_finite() && capacity > 0.0) {
            return Err(text.wrong(&format!("{prefix}{key}.bits_per_second"), &format!("it is {capacity}")));
        }
        text.check_text(&format!("{prefix}{key}.name"), &port.name)?;
    }
    if let Some(processors) = &profile.processors {
        text.check_number(&format!("{prefix}processors.idle"), processors.idle)?;
    }
    if let Some(crossing) = &profile.crossing {
        text.check_number(&format!("{prefix}crossing.pace"), crossing.pace)?;
        text.check_number(&format!("{prefix}crossing.setup_seconds"), crossing.setup_seconds)?;
        if let Some(apart) = crossing.setups_apart_seconds {
            text.check_number(&format!("{prefix}crossing.setups_apart_seconds"), apart)?;
        }
        text.check_number(&format!("{prefix}crossing.link_bits_per_second"), crossing.link_bits_per_second)?;
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
        if let Some(rewritten) = domain.rewritten {
            text.check_number(&key("rewritten.seconds"), rewritten.seconds)?;
        }
        if let Some(writes) = domain.learned.and_then(|learned| learned.writes) {
            text.check_number(&key("learned.writes.bytes_per_second"), writes.bytes_per_second)?;
            let open_after = writes.open_after_seconds.unwrap_or_default();
            text.check_number(&key("learned.writes.open_after_seconds"), open_after)?;
        }
        text.check_uuid(&mut uuids, &domain.uuid, key("uuid"))?;
        text.check_unique(&mut names, domain.name.clone(), &domain.name, key("name"))?;
    }
    Ok(())
}
