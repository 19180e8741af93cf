//! The engine against a scripted pair of hosts: what the real lab can't do at will, or not fast. The claims that
//! tsmig makes about real guests are tested on the lab.
#![allow(clippy::unwrap_used, reason = "a test that unwraps None or Err fails, as it should")]

mod arrivals;
mod interrupts;
mod launches;
mod outcomes;
mod post_copy;
mod reach;
mod recovery;
mod scripted;
mod support;
