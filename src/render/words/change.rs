//! What has changed of a host's ports: a clause that follows the host's name and a colon.

use std::fmt;

use crate::profile::changes::Change;
use crate::topology::Binding;
use crate::units::rate;

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route { then, now } if then == now => {
                write!(f, "it is not known any more whether migrations cross {then}")
            }
            Self::Route { then, now } => write!(f, "migrations cross {now} now, and not {then}"),
            Self::Gone { port } => write!(f, "{port} has no carrier any more"),
            Self::Capacity { port, then, now } => {
                write!(f, "{port} carries {} now, and not {}", rate(*now), rate(*then))
            }
            Self::Lead { plug, now: Binding::Unknown } => write!(f, "{plug} is not there any more"),
            Self::Lead { plug, now: Binding::Internal } => write!(f, "{plug} leads nowhere now"),
            Self::Lead { plug, now: Binding::Port { name } } => write!(f, "{plug} leads to {name} now"),
        }
    }
}
