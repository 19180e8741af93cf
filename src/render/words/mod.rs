//! The words for what the other modules tell by typed values: each is the value's [`Display`](std::fmt::Display).

mod absent;
mod cause;
mod change;
mod difference;
mod failure;
mod note;
mod notice;
mod obstacle;
mod reason;
mod stay;
