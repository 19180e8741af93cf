//! What an earlier run left: its journal, and what is found of it on the two hosts.

pub mod journal;
pub mod survey;
