//! The guest's only output.

use std::io::{self, Write};

/// Writes one line at once, so that threads do not mix theirs. A console that cannot be written
/// to leaves nowhere to complain.
pub(crate) fn line(text: &str) {
    let _ = io::stdout().write_all(format!("{text}\n").as_bytes());
}
