//! Results on standard output and in files.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::usage;
use crate::cli::{Format, OutputArgs};
use crate::config::Config;
use crate::files::saved_report::SavedReport;
use crate::render::{Screen, post_line, print_line, say, tables};

/// A file for a result. Whether it can be written is tried before anything else is done, not found out afterwards. What it
/// held stays until there is a result, and one that was not there does not appear before.
pub(super) struct ResultFile {
    path: PathBuf,
    /// One that was there, a pipe perhaps, which must not be opened twice.
    file: Option<File>,
}

impl ResultFile {
    /// Opens the file that `option` names, if it is given. `inputs` are the files that the command reads, by option.
    pub(super) fn open(
        option: &str,
        path: Option<&Path>,
        inputs: &[(&str, Option<&Path>)],
        config: &Config,
    ) -> Result<Option<Self>> {
        let Some(path) = path else { return Ok(None) };
        let configuration = config.files.iter().filter(|(_, read)| *read);
        let configuration = configuration.map(|(path, _)| ("the configuration", path.as_path()));
        let inputs = inputs.iter().filter_map(|(option, path)| Some((*option, (*path)?)));
        if let Some((input, _)) = inputs.chain(configuration).find(|(_, input)| is_same_file(path, input)) {
            return Err(usage(format!(
                "{}: {option} would overwrite what is read as {input}; give another file",
                path.display()
            )));
        }
        let open = |made| File::options().write(true).create_new(made).open(path);
        let opened = match open(true) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => open(false).map(Some),
            // Gone at once, since a signal may end this program at any time.
            Ok(_) => fs::remove_file(path).map(|()| None),
            Err(error) => Err(error),
        };
        let file = opened.map_err(|error| usage(format!("{}: can't be written: {error}", path.display())))?;
        Ok(Some(Self { path: path.to_owned(), file }))
    }

    /// Replaces what the file held.
    pub(super) fn write(&self, text: &str) -> Result<()> {
        let write = |mut file: &File| truncate(file).and_then(|()| file.write_all(text.as_bytes()));
        let written = match &self.file {
            Some(file) => write(file),
            None => File::create(&self.path).and_then(|file| write(&file)),
        };
        written.with_context(|| format!("{} can't be written", self.path.display()))
    }

    /// Replaces what the file held by a value as JSON.
    pub(super) fn save(&self, value: &impl Serialize) -> Result<()> {
        self.write(&(serde_json::to_string_pretty(value)? + "\n"))
    }
}

/// By whatever names. Only what keeps what is written to it can be overwritten.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some((metadata.dev(), metadata.ino()))
    };
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// Empties a file; a pipe or a terminal has no length.
fn truncate(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() { file.set_len(0) } else { Ok(()) }
}

/// How the events of a run are drawn.
pub(super) fn screen(output: &OutputArgs) -> Screen {
    match output.output {
        Format::Json => Screen::Json,
        Format::Text if output.quiet => Screen::Silent,
        Format::Text => Screen::on_stderr(),
    }
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
pub(super) fn conclude(output: &OutputArgs, file: Option<&ResultFile>, saved: &SavedReport) -> u8 {
    if let Some(Err(error)) = file.map(|file| file.save(saved)) {
        say(&format!("warning: the report was not written: {error:#}"));
    }
    if output.output == Format::Text {
        post_line(tables::report(&saved.report));
    }
    saved.report.outcome.exit_status()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, inputs: &[(&str, Option<&Path>)]) -> Result<Option<ResultFile>> {
        ResultFile::open("--save", Some(path), inputs, &Config::default())
    }

    #[test]
    fn an_old_result_stays_until_there_is_a_new_one() {
        let path = std::env::temp_dir().join(format!("tsmig-save-{}.json", std::process::id()));
        fs::write(&path, "an older and longer result").unwrap();
        let file = open(&path, &[]).unwrap().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "an older and longer result");
        file.save(&"new").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"new\"\n");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_is_made_only_for_a_result() {
        let path = std::env::temp_dir().join(format!("tsmig-no-result-{}.json", std::process::id()));
        let file = open(&path, &[]).unwrap().unwrap();
        assert!(!path.exists(), "whoever waits for it would find an empty one");
        file.save(&"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"new\"\n");
        fs::write(&path, "").unwrap();
        drop(open(&path, &[]).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "", "it was there before");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_read_is_not_overwritten_whatever_it_is_called() {
        let directory = tempfile::tempdir().unwrap();
        let [input, link, hard, other] = ["input", "link", "hard", "other"].map(|name| directory.path().join(name));
        fs::write(&input, "{}").unwrap();
        std::os::unix::fs::symlink(&input, &link).unwrap();
        fs::hard_link(&input, &hard).unwrap();
        for path in [&input, &link, &hard, &directory.path().join(".").join("input")] {
            let error = open(path, &[("--profile", Some(&input))]).err().unwrap().to_string();
            assert!(error.contains("--save would overwrite what is read as --profile"), "{error}");
        }
        assert!(open(&other, &[("--profile", Some(&input)), ("--from-report", None)]).is_ok());
        let console = Path::new("/dev/null");
        assert!(open(console, &[("--profile", Some(console))]).is_ok(), "it keeps nothing");
    }
}
