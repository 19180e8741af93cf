//! Why a domain moves the way it does: one sentence with the numbers that decided, for a reader in a hurry.

use super::classify::Techniques;
use super::model::{self, Launch, Outcome};
use super::scene::Scene;
use super::space::Choice;
use super::{Demands, StepPrediction, Technique};
use crate::profile::DomainProfile;
use crate::units::{Rate, size, span};

/// Up to so many migrations are each compared with the other technique. Chosen: a simulation for each, 0.1 ms at
/// this size, is nothing beside the search.
const COMPARED: usize = 100;

/// Differences below this, relative, are not told. Chosen: far below what the model can tell.
const TOLD: f64 = 0.02;

/// A migration of the plan.
pub(super) struct Subject<'a> {
    pub(super) domain: &'a DomainProfile,
    pub(super) techniques: &'a Techniques,
    pub(super) technique: Technique,
    pub(super) predicted: &'a StepPrediction,
    /// The plan's outcome.
    pub(super) planned: &'a Outcome,
    /// Seconds that a plan may take by its objective.
    pub(super) allowed: f64,
    /// The outcome of the plan with the other technique for this domain, where that was a choice.
    pub(super) otherwise: Option<Outcome>,
}

/// The outcome of `launches` with the other technique at `place`; `None` where there is no choice, or are too many
/// migrations to compare.
pub(super) fn otherwise(
    scene: &Scene,
    launches: &[Launch],
    choices: &[Choice],
    demands: &Demands,
    place: usize,
) -> Option<Outcome> {
    if choices[launches[place].guest].techniques != Techniques::Either || launches.len() > COMPARED {
        return None;
    }
    let mut changed = launches.to_vec();
    changed[place].flip();
    if let (Technique::PostCopy, Some(limit)) = (changed[place].technique, demands.post_copy_limit) {
        changed[place].concurrency = changed[place].concurrency.min(limit);
    }
    Some(model::outcome(scene, &changed, f64::INFINITY))
}

/// The sentence.
pub(super) fn reason(subject: &Subject<'_>) -> String {
    let Subject { domain, techniques, technique, .. } = subject;
    let why = match techniques {
        Techniques::Forced(_, origin) => format!("{technique} is forced by {origin}"),
        Techniques::OnlyPreCopy(obstacle) => format!("pre-copy, since post-copy is not possible: {obstacle}"),
        Techniques::Either => format!("{technique} {}{}", virtue(domain, *technique), comparison(subject)),
    };
    let end = match (subject.predicted.start_seconds, subject.predicted.end_seconds) {
        (None, _) => "; predicted not to start, as one before it does not end",
        (_, None) => "; predicted not to end, as it dirties memory faster than that is sent",
        _ => "",
    };
    format!("{}: {why}{end}", traffic(domain))
}

fn per_second(bits: f64) -> String {
    format!("{}/s", Rate::from_bits_per_second(bits))
}

/// What is known of the guest's activity, with its numbers.
fn traffic(domain: &DomainProfile) -> String {
    let (outbound, inbound) = (domain.outbound_bits_per_second, domain.inbound_bits_per_second);
    let mut text = if outbound > 0.0 || inbound > 0.0 {
        format!("sends {} and receives {}", per_second(outbound), per_second(inbound))
    } else {
        "no traffic".to_owned()
    };
    if domain.dirty_bytes_per_second >= 1.0 {
        text += &format!(", dirties {}/s", size(domain.dirty_bytes_per_second as u64));
    }
    text
}

/// What the technique does for such a guest.
fn virtue(domain: &DomainProfile, technique: Technique) -> &'static str {
    let (outbound, inbound) = (domain.outbound_bits_per_second, domain.inbound_bits_per_second);
    match technique {
        Technique::PostCopy if outbound > inbound => "frees the source's NIC of its traffic at once",
        Technique::PostCopy => "sends each page once",
        _ if inbound >= outbound && inbound > 0.0 => {
            "keeps its traffic off the destination's NIC until its memory is there"
        }
        _ if outbound > 0.0 => "lets it run at full speed at the source until its memory is there",
        _ => "is safe, and nothing contends with it",
    }
}

/// What the other technique would have come to.
fn comparison(subject: &Subject<'_>) -> String {
    let Some(other) = &subject.otherwise else { return String::new() };
    let planned = subject.planned;
    let name = match subject.technique {
        Technique::PostCopy => Technique::PreCopy,
        _ => Technique::PostCopy,
    };
    let told = |other: f64, planned: f64| (other - planned).abs() > TOLD * planned;
    if other.unfinished > planned.unfinished {
        return format!("; by {name} the evacuation would not end in this order");
    }
    if planned.unfinished > 0 || other.unfinished > 0 {
        return String::new();
    }
    let mut changes = Vec::new();
    // Less traffic lost would speak for the other technique, but for the time.
    let too_long = other.seconds > subject.allowed && other.lost < planned.lost;
    if told(other.seconds, planned.seconds) || too_long {
        let limit = if too_long { format!(", more than the {} allowed", span(subject.allowed)) } else { String::new() };
        changes.push(format!("take {} instead of {}{limit}", span(other.seconds), span(planned.seconds)));
    }
    if told(other.lost, planned.lost) {
        let bits = |lost| Rate::from_bits_per_second(lost).to_string();
        changes.push(format!("lose {} of traffic instead of {}", bits(other.lost), bits(planned.lost)));
    }
    if changes.is_empty() {
        return format!("; {name} would gain nothing");
    }
    format!("; by {name} the evacuation would {}", changes.join(", and "))
}
