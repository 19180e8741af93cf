//! Runs a [`Plan`](crate::plan::Plan), or finishes what an earlier run left, and tells by [`events`] what happens.
//!
//! The `coordinator` decides, and is pure: what happened goes in, effects come out. The `runtime` carries them out: it
//! launches a `driver` thread per migration, writes the journal and hands events on. Each driver is the hands of one
//! [`migration`], which is pure again. A `watcher` thread asks both hosts what their domains' NICs carry, and `arrival`, pure
//! as well, judges by that whether a guest that has arrived lives on. A failed migration is data in the report and never
//! cancels its siblings, but a network over which nothing crosses ends the launching, and so does a guest that is lost, or
//! that arrives in distress. After a first interrupt nothing more is launched, pre-copies are cancelled and post-copies
//! finish; after a second one the run returns at once and the report says what is still on its way.

mod arrival;
mod bandwidth;
mod coordinator;
mod driver;
pub mod events;
pub(crate) mod hooks;
mod launch;
mod launch_queue;
pub mod migration;
mod options;
mod outcome;
pub mod recovery;
mod runtime;
mod watcher;

pub use launch_queue::{Replanned, Schedule, Scheduled};
pub use options::{AUTO_SECONDS_PER_GIB, Options, Timeout};
pub use runtime::{Control, Evacuation};
