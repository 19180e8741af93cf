//! Why a domain moves the way it does.

use std::fmt;

use crate::domain::Technique;
use crate::obstacle::Obstacle;
use crate::plan::{Activity, Otherwise, Reason, Step};
use crate::units::{Rate, size, span};

/// In one sentence: what the guest does, how it moves, and why so.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let technique = self.technique();
        match &self.reason {
            Reason::Offline => return f.write_str("shut off: only its definition moves"),
            Reason::Forced { origin } => write!(f, "{}: {technique}, forced by {origin}", self.activity)?,
            Reason::OnlyPreCopy { obstacle: obstacle @ Obstacle::Unproven { .. }, .. } => {
                write!(f, "{}: pre-copy, since {obstacle}", self.activity)?;
            }
            Reason::OnlyPreCopy { obstacle, .. } => {
                write!(f, "{}: pre-copy, since post-copy is not possible: {obstacle}", self.activity)?;
            }
            Reason::Chosen { otherwise } => {
                let comparison = otherwise.as_ref().map(|otherwise| comparison(technique, otherwise));
                let pass = if technique == Technique::Hybrid { ", a pass of pre-copy and then post-copy" } else { "" };
                write!(f, "{}: {technique}{pass}{}", self.activity, comparison.unwrap_or_default())?;
            }
        }
        match (self.predicted.start_seconds, self.predicted.end_seconds) {
            (None, _) => f.write_str("; not predicted to start, since one before it is not predicted to end"),
            (_, None) => {
                f.write_str("; not predicted to end: it dirties memory about as fast as that is sent, or faster")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |what, bits: f64| format!("{what} {}/s", Rate::from_bits_per_second(bits));
        let does: Vec<_> = [
            self.outbound_bits_per_second.map(|bits| rate("sends", bits)),
            self.inbound_bits_per_second.map(|bits| rate("receives", bits)),
            self.dirty_bytes_per_second.map(|bytes| format!("dirties {}/s", size(bytes as u64))),
        ]
        .into_iter()
        .flatten()
        .collect();
        f.write_str(&if does.is_empty() { "idle".to_owned() } else { does.join(", ") })
    }
}

/// What the plan would come to with the technique that was not chosen, in brackets.
fn comparison(chosen: Technique, otherwise: &Otherwise) -> String {
    let name = match chosen {
        Technique::PostCopy | Technique::Hybrid => Technique::PreCopy,
        _ => Technique::PostCopy,
    };
    let (longer, more) = match otherwise {
        Otherwise::End { more_seconds, more_lost_bits } => (*more_seconds, *more_lost_bits),
        Otherwise::NoEnd => return format!(" (by {name} the plan would not be predicted to end)"),
        Otherwise::Unproven => return " (nothing has proven post-copy for it before)".to_owned(),
        Otherwise::Proves => return ", which proves post-copy for others of its kind".to_owned(),
    };
    let time = longer.map(|longer| format!("{} {}", if longer > 0.0 { "add" } else { "save" }, span(longer.abs())));
    let loss = more.map(|more| {
        format!("lose {} {}", Rate::from_bits_per_second(more.abs()), if more > 0.0 { "more" } else { "less" })
    });
    let changes = time.into_iter().chain(loss).collect::<Vec<_>>().join(" and ");
    match chosen {
        Technique::PreCopy if changes.is_empty() => format!(" ({name} would gain nothing)"),
        Technique::PreCopy if longer.is_some_and(|longer| longer < 0.0) && more.is_none_or(|more| more < 0.0) => {
            format!(" ({name} would {changes}: too little for its risk)")
        }
        _ => format!(" ({name} would {changes})"),
    }
}
