//! Why a saved plan does not hold any more.

use std::fmt;

use crate::domain::Then;
use crate::plan::Difference;
use crate::units::{Rate, span};

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherHost { planned, host } => write!(f, "the plan is for {planned}, not for {host}"),
            Self::Absent(absent) => absent.tell(f, &absent.domain),
            Self::Replaced(absent) => {
                let (domain, source) = (&absent.domain, &absent.source);
                write!(f, "{domain} has left {source}: another domain has its name, with another UUID")
            }
            Self::Kept { domain, kind } => write!(f, "{domain}: {kind} now"),
            Self::Blocked { domain, obstacle } => write!(f, "{domain}: {obstacle}"),
            Self::NoPostCopy { domain, obstacle } => {
                write!(f, "{domain}: post-copy is not possible any more: {obstacle}")
            }
            Self::Movable { domain } => write!(f, "{domain} can be moved now, and the plan refuses it: it would stay"),
            Self::NotInPlan { domain, host, then: Then::Absent, .. } => {
                write!(f, "{domain} is new at {host} and not in the plan: it would stay")
            }
            Self::NotInPlan { domain, host, state, then } => {
                write!(f, "{domain} is {state} at {host} and not in the plan, since {then}: it would stay")
            }
            Self::Slower { then, now } => {
                write!(f, "the plan is now predicted to take {} instead of {}", time(*now), time(*then))
            }
            Self::DoesNotFit { limit_seconds } => {
                write!(f, "it does not fit its window of {} any more", span(*limit_seconds))
            }
            Self::SlowerDomain { domain, then, now } => {
                write!(f, "{domain}: now {} instead of {}", time(*now), time(*then))
            }
            Self::OtherCapacity { host, then, now } => {
                let (then, now) = (Rate::from_bits_per_second(*then), Rate::from_bits_per_second(*now));
                write!(f, "{host}: its link carries {now}/s instead of {then}/s")
            }
        }
    }
}

fn time(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "longer than can be predicted".to_owned(), span)
}
