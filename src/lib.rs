//! tsmig evacuates a KVM host over libvirt by a traffic-sensitive plan.
//!
//! Data flows one way:
//!
//! 1. [`profile`] reads the counters of both hosts over a window and makes a profile of each.
//! 2. `preflight` asks both hosts what would go wrong, and [`plan`] computes, from the profiles, what was found and the
//!    user's rules, which domain goes by which technique, in which order, how many at once, and what that takes. It is
//!    pure; a saved plan goes the same way. A dry run stops here.
//! 3. [`engine`] runs the plan against the two hosts ([`libvirt`]) and tells what happens by [`engine::events`]. Each
//!    launch is journaled before it runs, so a later run can recover ([`engine::recovery`]).
//! 4. [`render`] draws the events, and has the words for all that the others tell by typed values; [`report`] and `history`
//!    are what remains of them.
//!
//! [`domain`], [`topology`], [`manager`], [`obstacle`], [`failure`] and `units` are the vocabulary, with `sentence`, which puts a sentence
//! beside a typed value; they import nothing else. `config` and [`cli`] are what the user asks for; only [`cli`] knows the
//! command line. No two modules import each other, even by way of others.
//!
//! The words are the field's: a *domain* is a guest as libvirt knows it; *outbound* is what the guest sends,
//! *inbound* what it receives; *pre-copy* copies the memory while the guest runs at the source, pass after pass;
//! *post-copy* lets it run at the destination first and pulls the memory after it; *downtime* is how long it runs
//! at neither; the *dirty rate* is how fast it writes to memory that then has to be copied again.

pub mod cli;
mod config;
pub mod domain;
pub mod engine;
pub mod experience;
pub mod failure;
pub mod files;
mod forecast;
mod history;
pub mod libvirt;
pub mod manager;
pub mod obstacle;
pub mod plan;
mod preflight;
pub mod profile;
pub mod render;
pub mod report;
mod sentence;
mod setups;
pub mod topology;
mod units;

pub use config::keys;
