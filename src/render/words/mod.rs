//! The words for what the other modules tell by typed values: each is the value's [`Display`](std::fmt::Display).

mod cause;
mod notice;
mod obstacle;
mod reason;
