//! Why a domain moves the way it does: the numbers that decided, for a reader in a hurry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{self, Launch, Prediction};
use crate::domain::Technique;
use crate::obstacle::Obstacle;
use crate::plan::eligibility::Techniques;
use crate::plan::model::scene::{Guest, Scene};
use crate::plan::search::space::Choice;
use crate::profile::DomainProfile;
use crate::sentence;
use crate::topology::{Port, idle_below};

/// Up to this many migrations are each compared with the other technique. Chosen: a simulation for each, 0.1 ms at
/// this size, is nothing beside the search.
const COMPARED: usize = 100;

/// Seconds below which a difference in time is not told: equal runs were measured to differ by 1.0 to 1.4 s.
const TOLD_SECONDS: f64 = 1.0;

/// Differences in lost traffic below this, relative, are not told. Chosen: far below what the model can tell.
const TOLD_LOSS: f64 = 0.02;

/// Why a domain moves the way it does, of a closed list of kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[schemars(transform = sentence::with_reason)]
pub enum Reason {
    /// The technique is given.
    Forced {
        /// The option, or what else gives it.
        origin: String,
    },
    /// Post-copy is not possible.
    OnlyPreCopy {
        /// Why not.
        #[serde(serialize_with = "sentence::reason")]
        #[schemars(with = "Obstacle")]
        obstacle: Obstacle,
        /// Whether another technique was given when the plan was made.
        forced: bool,
    },
    /// The planner chose.
    Chosen {
        /// What the other technique would change; `None` if that was not compared.
        otherwise: Option<Otherwise>,
    },
    /// The domain does not run, so only its definition moves.
    Offline,
}

/// What the plan would come to with the other technique for one domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Otherwise {
    /// It would not be predicted to end.
    NoEnd,
    /// Nothing would have proven by then that the destination can load it.
    Unproven,
    /// It proves that the destination can load the guests that go by post-copy after it.
    Proves,
    /// It would end.
    End {
        /// How much longer it would take; `None` if that is too little to tell.
        #[schemars(extend("minimum" = null))]
        more_seconds: Option<f64>,
        /// How much more traffic it would lose; `None` if that is too little to tell.
        #[schemars(extend("minimum" = null))]
        more_lost_bits: Option<f64>,
    },
}

/// What a guest does that its migration meets. What is idle is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Activity {
    /// What it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_bits_per_second: Option<f64>,
    /// What it receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound_bits_per_second: Option<f64>,
    /// How fast it writes to its memory, if its traffic alone does not explain that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty_bytes_per_second: Option<f64>,
}

impl Activity {
    fn of(domain: &DomainProfile, guest: &Guest, writes_little: bool, [source, destination]: [&Port; 2]) -> Self {
        let busy = |link: &Port, bits| Some(bits).filter(|bits| !link.is_idle(*bits));
        Self {
            outbound_bits_per_second: busy(source, guest.outbound),
            inbound_bits_per_second: busy(destination, guest.inbound),
            dirty_bytes_per_second: (!writes_little).then(|| domain.dirty_bytes_per_second.max(guest.writes() / 8.0)),
        }
    }
}

/// The launches that were found the best, with all that explains them.
pub(super) struct Planned<'a> {
    pub(super) scene: Scene,
    pub(super) choices: Vec<Choice>,
    pub(super) launches: Vec<Launch>,
    pub(super) outcome: Prediction,
    /// The source's and the destination's.
    pub(super) links: [&'a Port; 2],
}

impl Planned<'_> {
    /// What the guest of the launch at `place` does; `domain` is its profile.
    pub(super) fn activity(&self, place: usize, domain: &DomainProfile) -> Activity {
        let guest = self.launches[place].guest;
        Activity::of(domain, &self.scene.guests[guest], self.scene.writes_little(guest), self.links)
    }

    /// Why the launch at `place` is as it is.
    pub(super) fn reason(&self, place: usize) -> Reason {
        match &self.choices[self.launches[place].guest].techniques {
            Techniques::Forced(_, origin) => Reason::Forced { origin: (*origin).to_owned() },
            Techniques::OnlyPreCopy(obstacle) => Reason::OnlyPreCopy { obstacle: obstacle.clone(), forced: false },
            Techniques::Either => Reason::Chosen { otherwise: self.otherwise(place) },
        }
    }

    /// What the other technique at `place` would change, if the guest is not idle and there are not too many migrations.
    fn otherwise(&self, place: usize) -> Option<Otherwise> {
        if self.scene.is_idle(self.launches[place].guest) || self.launches.len() > COMPARED {
            return None;
        }
        let mut changed = self.launches.clone();
        changed[place].flip();
        if self.scene.gate.is_shut(&changed) {
            let ground = |launch: &Launch| self.scene.gate.ground(launch.guest);
            let mut later = self.launches[place + 1..].iter().filter(|later| ground(later) == ground(&changed[place]));
            let proves = later.any(|later| later.technique.pulls());
            return Some(if proves { Otherwise::Proves } else { Otherwise::Unproven });
        }
        self.compare(self.launches[place].technique, &model::outcome(&self.scene, &changed, f64::INFINITY))
    }

    fn compare(&self, technique: Technique, other: &Prediction) -> Option<Otherwise> {
        let planned = &self.outcome;
        if other.unfinished > planned.unfinished {
            return Some(Otherwise::NoEnd);
        }
        if planned.unfinished > 0 {
            return None;
        }
        let (longer, more) = (other.seconds - planned.seconds, other.lost - planned.lost);
        let idle = self.links.iter().map(|link| idle_below(link.bits_per_second)).fold(0.0, f64::max);
        // A post-copy is worth it by the time that it saves, however short the evacuation.
        let told_longer = longer.abs() >= TOLD_SECONDS || technique.pulls();
        let told_more = more.abs() > TOLD_LOSS * planned.lost && more.abs() > idle * planned.seconds;
        Some(Otherwise::End {
            more_seconds: Some(longer).filter(|_| told_longer),
            more_lost_bits: Some(more).filter(|_| told_more),
        })
    }
}
