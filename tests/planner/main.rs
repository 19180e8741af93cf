//! The planner as its users see it: what it decides, what it keeps to, and how well it predicts.

mod calibration;
mod constraints;
mod decisions;
mod exactness;
mod experience;
mod files;
mod many;
mod midway;
mod ports;
mod properties;
mod replan;
mod support;
