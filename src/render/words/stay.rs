//! Why a domain is to stay at the source.

use std::fmt;

use crate::domain::Then;
use crate::plan::StayKind;

impl fmt::Display for StayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSelected => "not selected",
            Self::Kept => "the configuration keeps it here",
            Self::NotInReport => "the run of the report did not move it",
            Self::ShutOff => "it is shut off; --offline moves its definition",
            Self::NotInPlan { then } => return then.fmt(f),
        })
    }
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "it was not there when the plan was made",
            Self::Refused => "it could not be moved when the plan was made",
            Self::ShutOff => "it was shut off when the plan was made",
            Self::Kept => "the configuration kept it when the plan was made",
            Self::Stayed => "it stayed when the plan was made",
        })
    }
}
