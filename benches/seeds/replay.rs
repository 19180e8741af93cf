//! Today's model against what was measured, without a lab: each kept schedule is predicted from the profile that its hosts had.

use std::fs;

use anyhow::{Context, Result};
use tsmig::files;
use tsmig::plan::{Move, predict};
use tsmig::profile::{Both, Profile};

use crate::record::{Kept, Migration, Run};

/// A migration that ends so many seconds after the launch of the next was waited for: tsmig launches ahead.
const AHEAD_SECONDS: f64 = 2.0;

/// Launches before then, in seconds, waited for nothing.
const AT_ONCE_SECONDS: f64 = 1.0;

/// Seconds that today's model says of the schedule of a run; `None` if it does not end.
pub fn seconds(kept: &Kept, run: &Run) -> Result<Option<f64>> {
    let Both { source, destination } = profiles(kept, run)?;
    let moves = moves(run, &source)?;
    Ok(predict(&source, &destination, &moves, None).0.total_seconds)
}

/// The hosts before a run, or before the last of tsmig's: virsh's were not profiled. Where the guests went the other way
/// meanwhile, that makes no difference on hosts that are alike.
fn profiles(kept: &Kept, run: &Run) -> Result<Both> {
    let before = kept.runs.iter().take_while(|other| !std::ptr::eq(*other, run)).chain([run]);
    let profile = before.filter_map(|run| run.profile.clone()).last().context("no profile")?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), profile.to_string())?;
    Ok(files::load(file.path())?)
}

/// The schedule as it was run.
fn moves(run: &Run, source: &Profile) -> Result<Vec<Move>> {
    let mut order: Vec<&Migration> = run.migrations.iter().collect();
    order.sort_by(|a, b| a.launched_seconds.total_cmp(&b.launched_seconds));
    let step = |(place, migration): (usize, &&Migration)| {
        let at = migration.launched_seconds;
        let (until, waited) = (at + AHEAD_SECONDS, at > AT_ONCE_SECONDS);
        let flies = |other: &&&Migration| !waited || other.ended_seconds.is_none_or(|end| end > until);
        let domain = source.domains.iter().position(|domain| domain.name == migration.guest);
        Ok(Move {
            domain: domain.with_context(|| format!("{} is not in the profile", migration.guest))?,
            technique: migration.technique,
            concurrency: 1 + order[..place].iter().filter(flies).count(),
        })
    };
    order.iter().enumerate().map(step).collect()
}
