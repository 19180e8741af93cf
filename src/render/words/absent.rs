//! Where a domain is that is not at the source any more.

use std::fmt;

use crate::plan::return_trip::Absent;

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f, &format!("{} (UUID {})", self.domain, self.uuid))?;
        if self.state.is_none() { f.write_str(": it was removed, or moved elsewhere") } else { Ok(()) }
    }
}

impl Absent {
    /// In one sentence about the domain, called as the reader knows it.
    pub(super) fn tell(&self, f: &mut fmt::Formatter<'_>, domain: &str) -> fmt::Result {
        let Self { source, destination, state, .. } = self;
        match state {
            Some(state) => write!(f, "{domain} has left {source}: it is {state} at {destination}"),
            None => write!(f, "{domain} was not found on {source} or {destination}"),
        }
    }
}
