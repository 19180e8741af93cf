//! tsmig on two real libvirt hosts with real guests under load. Needs root; `make test` runs it.
//!
//! The tests share labs, which come up when the first test needs them and go down at the end; three run side by side.
//! One test: `cargo test --test lab -- mixed`.
#![allow(clippy::unwrap_used, reason = "a test that unwraps None or Err fails, as it should")]

mod ansible;
mod automation;
mod connections;
mod domains;
mod evacuations;
mod faults;
mod harness;
mod memory;
mod networks;
mod preflight;
mod readme;
mod releases;
mod replanning;
mod saved_plans;
#[path = "../support/schema.rs"]
mod schema;
mod screen;
#[path = "../support/terminal.rs"]
mod terminal;
mod watching;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::harness::{Pool, Test};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of a test is waiting: three labs keep two cores busy.
    let threads = *arguments.test_threads.get_or_insert(3);
    let pool = Arc::new(Pool::new(threads));
    let trial = |(name, test): (&'static str, Test)| {
        let pool = Arc::clone(&pool);
        Trial::test(name, move || {
            pool.run(test, evacuations::ALONE == name).map_err(|error| format!("{error:#}").into())
        })
    };
    let tests = [
        evacuations::TESTS,
        domains::TESTS,
        preflight::TESTS,
        memory::TESTS,
        automation::TESTS,
        saved_plans::TESTS,
        ansible::TESTS,
        connections::TESTS,
        networks::TESTS,
        readme::TESTS,
        releases::TESTS,
        replanning::TESTS,
        screen::TESTS,
        watching::TESTS,
    ]
    .into_iter()
    .flatten();
    let tests = tests.chain(faults::tests());
    let conclusion = libtest_mimic::run(&arguments, tests.copied().map(trial).collect());
    pool.down();
    conclusion.exit_code()
}
