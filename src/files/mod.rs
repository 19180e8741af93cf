//! Saved profiles, plans and reports, read back: every error names the file and the key, and says what would be right.
//!
//! A file is checked here once and for all, so that the planner can take numbers as they are: rates that are
//! not negative, links that carry something, names and UUIDs that mean one domain each.

pub(crate) mod result_file;
mod saved_plan;
mod saved_profile;
pub mod saved_report;
mod text;

use std::io;
use std::path::{Path, PathBuf};

use text::Text;

/// What is saved in a file as JSON, and read again.
pub trait Saved: Sized {
    /// The schema name that it carries.
    const SCHEMA: &'static str;
    /// What its file is, for the messages.
    const WHAT: &'static str;

    /// Reads a text, and checks what the types of the keys don't say.
    ///
    /// # Errors
    /// A key is missing or wrong.
    fn read(text: &Text<'_>) -> Result<Self, FileError>;
}

/// Reads a file.
///
/// # Errors
/// It can't be read, it holds something else, or a key of it is missing or wrong.
pub fn load<T: Saved>(path: &Path) -> Result<T, FileError> {
    T::read(&Text::read(path, T::WHAT)?)
}

/// Why a saved profile, plan or report can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file can't be read.
    #[error("{}: can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its text as a whole is not what was expected.
    #[error("{}: {problem}; expected {expected}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What would be right.
        expected: &'static str,
    },
    /// One key is wrong or missing.
    #[error("{}: {key}: {problem}; expected {expected}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key from the top: `source.domains[2].uuid`.
        key: String,
        /// What is wrong.
        problem: String,
        /// What would be right.
        expected: String,
    },
}
