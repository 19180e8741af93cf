//! The steps that commands are made of: from names to open hosts, from hosts to profiles and a plan, from a pair of hosts
//! to the right to move domains between them, from a result to whoever reads it.

pub(super) mod claim;
pub(super) mod connect;
pub(super) mod context;
pub(super) mod examine;
pub(super) mod interrupts;
pub(super) mod planning;
pub(super) mod sampling;

/// What the user typed or wrote can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

pub(super) fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    Usage(error.to_string()).into()
}
