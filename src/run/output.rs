//! Results on standard output and in files.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::usage;
use crate::cli::{Format, OutputArgs};
use crate::render::{print_line, say, tables};
use crate::report_file::SavedReport;

/// Opens a file for a result before anything else is done: a path that can't be written must not be found out after.
/// What it held stays until there is a result.
pub(super) fn create(path: Option<&Path>) -> Result<Option<File>> {
    let create = |path: &Path| {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        file.map_err(|error| usage(format!("{}: can't be written: {error}", path.display())))
    };
    path.map(create).transpose()
}

pub(super) fn save(file: Option<&File>, path: Option<&Path>, value: &impl Serialize) -> Result<()> {
    let (Some(mut file), Some(path)) = (file, path) else { return Ok(()) };
    let text = serde_json::to_string_pretty(value)? + "\n";
    truncate(file)
        .and_then(|()| file.write_all(text.as_bytes()))
        .with_context(|| format!("{} can't be written", path.display()))
}

/// Empties a file; a pipe or a terminal has no length.
pub(super) fn truncate(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() { file.set_len(0) } else { Ok(()) }
}

pub(super) fn show(output: &OutputArgs, value: &impl Serialize, text: impl Fn() -> String) -> Result<()> {
    let shown = match output.output {
        Format::Json => serde_json::to_string(value)?,
        Format::Text => text(),
    };
    Ok(print_line(&shown)?)
}

/// Writes and prints the report that ends a run, and returns the exit status that it stands for. The program that reads
/// events has it already, as the last of them.
pub(super) fn conclude(output: &OutputArgs, file: Option<&File>, path: Option<&Path>, saved: &SavedReport) -> u8 {
    if let Err(error) = save(file, path, saved) {
        say(&format!("warning: the report was not written: {error:#}"));
    }
    if output.output == Format::Text {
        let _ = print_line(&tables::report(&saved.report));
    }
    saved.report.outcome.exit_status()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_result_stays_until_there_is_a_new_one() {
        let path = std::env::temp_dir().join(format!("tsmig-save-{}.json", std::process::id()));
        std::fs::write(&path, "an older and longer result").unwrap();
        let file = create(Some(&path)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "an older and longer result");
        save(file.as_ref(), Some(&path), &"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"new\"\n");
        std::fs::remove_file(&path).unwrap();
    }
}
