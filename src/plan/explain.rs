//! Why a domain moves the way it does: one sentence with the numbers that decided, for a reader in a hurry.

use super::model::{self, Launch, Prediction};
use super::{Demands, StepPrediction};
use crate::domain::Technique;
use crate::plan::eligibility::Techniques;
use crate::plan::model::scene::{Guest, Scene};
use crate::plan::search::space::Choice;
use crate::profile::DomainProfile;
use crate::topology::{Port, idle_below};
use crate::units::{Rate, size, span};

/// Up to this many migrations are each compared with the other technique. Chosen: a simulation for each, 0.1 ms at
/// this size, is nothing beside the search.
const COMPARED: usize = 100;

/// Seconds below which a difference in time is not told: equal runs were measured to differ by 1.0 to 1.4 s.
const TOLD_SECONDS: f64 = 1.0;

/// Differences in lost traffic below this, relative, are not told. Chosen: far below what the model can tell.
const TOLD_LOSS: f64 = 0.02;

/// A migration of the plan.
pub(super) struct Subject<'a> {
    pub(super) domain: &'a DomainProfile,
    pub(super) guest: &'a Guest,
    /// The source's and the destination's.
    pub(super) links: [&'a Port; 2],
    pub(super) techniques: &'a Techniques,
    pub(super) technique: Technique,
    pub(super) predicted: &'a StepPrediction,
    /// The plan's outcome.
    pub(super) planned: &'a Prediction,
    /// The outcome of the plan with the other technique for this domain, if that was a choice.
    pub(super) otherwise: Option<Prediction>,
}

/// The outcome of `launches` with the other technique at `place`; `None` if there is no choice, if the guest is
/// idle, or if there are too many migrations to compare.
pub(super) fn otherwise(
    scene: &Scene,
    launches: &[Launch],
    choices: &[Choice],
    demands: &Demands,
    place: usize,
) -> Option<Prediction> {
    let guest = launches[place].guest;
    if choices[guest].techniques != Techniques::Either || scene.is_idle(guest) || launches.len() > COMPARED {
        return None;
    }
    let mut changed = launches.to_vec();
    changed[place].flip();
    if let (Technique::PostCopy, Some(limit)) = (changed[place].technique, demands.post_copy_limit) {
        changed[place].concurrency = changed[place].concurrency.min(limit);
    }
    Some(model::outcome(scene, &changed, f64::INFINITY))
}

/// The sentence: what the guest does, its technique, and why that one.
pub(super) fn reason(subject: &Subject<'_>) -> String {
    let Subject { techniques, technique, .. } = subject;
    let why = match techniques {
        Techniques::Forced(_, origin) => format!("{technique}, forced by {origin}"),
        Techniques::OnlyPreCopy(obstacle) => format!("pre-copy, since post-copy is not possible: {obstacle}"),
        Techniques::Either => format!("{technique}{}", comparison(subject)),
    };
    let end = match (subject.predicted.start_seconds, subject.predicted.end_seconds) {
        (None, _) => "; not predicted to start, since one before it is not predicted to end",
        (_, None) => "; not predicted to end: it dirties memory about as fast as that is sent, or faster",
        _ => "",
    };
    format!("{}: {why}{end}", activity(subject))
}

/// What the guest does that a migration meets, with the numbers; a direction that is idle is not told.
fn activity(subject: &Subject<'_>) -> String {
    let Subject { domain, guest, links: [source, destination], .. } = subject;
    let rate = |bits| format!("{}/s", Rate::from_bits_per_second(bits));
    let mut does = Vec::new();
    if !source.is_idle(guest.outbound) {
        does.push(format!("sends {}", rate(guest.outbound)));
    }
    if !destination.is_idle(guest.inbound) {
        does.push(format!("receives {}", rate(guest.inbound)));
    }
    if guest.writes() > 0.0 {
        does.push(format!("dirties {}/s", size(domain.dirty_bytes_per_second as u64)));
    }
    if does.is_empty() { "idle".to_owned() } else { does.join(", ") }
}

/// What the evacuation would come to with the other technique for this domain, and the rest as it is.
fn comparison(subject: &Subject<'_>) -> String {
    let Some(other) = &subject.otherwise else { return String::new() };
    let planned = subject.planned;
    let name = match subject.technique {
        Technique::PostCopy => Technique::PreCopy,
        _ => Technique::PostCopy,
    };
    if other.unfinished > planned.unfinished {
        return format!(" (by {name} the plan would not be predicted to end)");
    }
    if planned.unfinished > 0 || other.unfinished > 0 {
        return String::new();
    }
    let longer = other.seconds - planned.seconds;
    let more = other.lost - planned.lost;
    let idle = subject.links.iter().map(|link| idle_below(link.bits_per_second)).fold(0.0, f64::max);
    let mut changes = Vec::new();
    // A post-copy is worth it by the time that it saves, however short the evacuation.
    if longer.abs() >= TOLD_SECONDS || subject.technique == Technique::PostCopy {
        changes.push(format!("{} {}", if longer > 0.0 { "add" } else { "save" }, span(longer.abs())));
    }
    if more.abs() > TOLD_LOSS * planned.lost && more.abs() > idle * planned.seconds {
        let amount = Rate::from_bits_per_second(more.abs());
        changes.push(format!("lose {amount} {}", if more > 0.0 { "more" } else { "less" }));
    }
    let changes = changes.join(" and ");
    match subject.technique {
        Technique::PreCopy if changes.is_empty() => format!(" ({name} would gain nothing)"),
        _ if changes.is_empty() => String::new(),
        Technique::PreCopy if longer <= -TOLD_SECONDS && more <= 0.0 => {
            format!(" ({name} would {changes}: too little for its risk)")
        }
        _ => format!(" ({name} would {changes})"),
    }
}
