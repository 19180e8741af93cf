//! `tsmig plan`: the plan that an evacuation would run, from two hosts or from a saved profile.

use std::path::Path;

use anyhow::Result;

use crate::cli::PlanArgs;
use crate::cli::steps::connect::{connect, endpoints};
use crate::cli::steps::context::{Context, save};
use crate::cli::steps::examine::Live;
use crate::cli::steps::planning::Planning;
use crate::cli::steps::sampling::Sampling;
use crate::cli::steps::usage;
use crate::files;
use crate::profile::Both;
use crate::render::tables;
use crate::topology::CapacityOrigin;
use crate::units::Rate;

pub(super) fn run(context: Context<'_>, arguments: &PlanArgs) -> Result<u8> {
    let sampling = Sampling::new(context, &arguments.sampling)?;
    let planning = Planning::read(context, &arguments.planning, None)?;
    let inputs =
        [("--profile", arguments.profile.as_deref()), ("--from-report", arguments.planning.from_report.as_deref())];
    let open_file = || context.result_file("--save", arguments.save.as_deref(), &inputs);
    let (file, assessment) = match (&arguments.profile, &arguments.source, &arguments.destination) {
        (Some(path), ..) => {
            // A saved profile knows its link: only what was typed beats that.
            let profiles = load(path, arguments.sampling.link.filter(|_| context.config.is_typed("link")))?;
            (open_file()?, planning.assess(profiles, None)?)
        }
        (None, Some(source), Some(destination)) => {
            let endpoints = endpoints(context.config, source, destination)?;
            let file = open_file()?;
            let (from, to) = connect(endpoints)?;
            let live = Live { from: &from, to: &to, journal: None };
            let (profiles, known, passage) = sampling.of_both(&from, &to)?;
            (file, planning.assess(profiles, Some((live, known, passage)))?)
        }
        (None, ..) => return Err(usage("plan needs SOURCE and DESTINATION, or --profile FILE")),
    };
    let plan = assessment.plan;
    file.map(|file| save(&file, &plan)).transpose()?;
    context.show(&plan, || tables::plan(&plan))?;
    Ok(0)
}

/// The saved profiles, with this capacity of their links if it is given.
fn load(path: &Path, link: Option<Rate>) -> Result<Both> {
    let mut both: Both = files::load(path).map_err(usage)?;
    if let Some(rate) = link {
        for profile in [&mut both.source, &mut both.destination] {
            profile.migration_port.bits_per_second = rate.bits_per_second();
            profile.migration_port.origin = CapacityOrigin::Option;
        }
    }
    Ok(both)
}
