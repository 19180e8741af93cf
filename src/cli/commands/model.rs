//! `tsmig model`: what earlier runs have taught.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use globset::{Glob, GlobSet};

use crate::cli::steps::context::Context;
use crate::cli::steps::usage;
use crate::cli::{ModelArgs, ModelCommand};
use crate::engine::recovery::journal;
use crate::experience::known::Known;
use crate::experience::record::Shown;
use crate::experience::store::Store;
use crate::render::tables;

pub(super) fn run(context: Context<'_>, arguments: &ModelArgs) -> Result<u8> {
    let store = Store::within(&journal::directory());
    match &arguments.command {
        ModelCommand::Show => {
            let contents = store.read();
            contents.note.iter().for_each(|note| context.say(&format!("note: {note}")));
            let known = Known::of(store.path(), &contents.records);
            context.show(&known, || tables::known(&known))?;
        }
        ModelCommand::Forget { domains, migrations, all } => {
            let globs = domains.iter().map(|text| Glob::new(text)).collect::<Result<Vec<_>, _>>();
            let wanted = globs.and_then(GlobSet::new).map_err(usage)?;
            if *all {
                store.remove().with_context(|| format!("{} can't be removed", store.path().display()))?;
                context.say(&format!("removed: {}", store.path().display()));
                return Ok(0);
            }
            // One that was renamed is the same domain.
            let records = store.read().records;
            let named = records.iter().filter_map(|record| match &record.shown {
                Shown::Migration(migrated) if wanted.is_match(&migrated.domain) => Some(&migrated.uuid),
                _ => None,
            });
            let named: HashSet<&String> = named.collect();
            let removed = store.retain(|record| match &record.shown {
                Shown::Migration(migrated) => !*migrations && !named.contains(&migrated.uuid),
                Shown::Run { .. } => !*migrations,
                Shown::Proof { .. } => true,
            });
            let removed = removed.with_context(|| format!("{} can't be changed", store.path().display()))?;
            let records = if removed == 1 { "record" } else { "records" };
            context.say(&format!("forgotten: {removed} {records} of {}", store.path().display()));
        }
    }
    Ok(0)
}
