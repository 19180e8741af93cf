//! What earlier runs have shown: which kinds of guests a destination can load, and what their migrations took. Each run adds
//! to one file (`src/history/observer.rs` hears it from the events), and the next plan is made with it.
//!
//! What is believed is stated in [`lessons`]; a file that can't be read teaches nothing, and does no harm.

pub mod known;
pub(crate) mod lessons;
pub(crate) mod proofs;
pub mod record;
pub(crate) mod store;
