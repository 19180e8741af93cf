//! Files that results are written to.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A file for a result. Whether it can be written is tried before anything else is done, not found out afterwards. What it
/// held stays until there is a result, and one that was not there does not appear before.
pub struct ResultFile {
    path: PathBuf,
    /// One that was there, a pipe perhaps, which must not be opened twice.
    file: Option<File>,
}

impl ResultFile {
    /// Opens the file that `option` names. `inputs` are the files that are read meanwhile, each with what it is read as.
    pub fn open<'a>(
        option: &str,
        path: &Path,
        mut inputs: impl Iterator<Item = (&'a str, &'a Path)>,
    ) -> Result<Self, ResultFileError> {
        if let Some((input, _)) = inputs.find(|(_, input)| is_same_file(path, input)) {
            let (path, option, input) = (path.to_owned(), option.to_owned(), input.to_owned());
            return Err(ResultFileError::IsRead { path, option, input });
        }
        let open = |made| File::options().write(true).create_new(made).open(path);
        let opened = match open(true) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => open(false).map(Some),
            // Gone at once, since a signal may end this program at any time.
            Ok(_) => fs::remove_file(path).map(|()| None),
            Err(error) => Err(error),
        };
        match opened {
            Ok(file) => Ok(Self { path: path.to_owned(), file }),
            Err(source) => Err(ResultFileError::Unwritable { path: path.to_owned(), source }),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces what the file held.
    pub fn write(&self, text: &str) -> io::Result<()> {
        let write = |mut file: &File| truncate(file).and_then(|()| file.write_all(text.as_bytes()));
        match &self.file {
            Some(file) => write(file),
            None => File::create(&self.path).and_then(|file| write(&file)),
        }
    }

    /// Replaces what the file held by a value as JSON.
    pub fn save(&self, value: &impl Serialize) -> io::Result<()> {
        self.write(&(serde_json::to_string_pretty(value)? + "\n"))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ResultFileError {
    #[error("{}: can't be written: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    /// It is read, too.
    #[error("{}: {option} would overwrite what is read as {input}; give another file", path.display())]
    IsRead { path: PathBuf, option: String, input: String },
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

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, inputs: &[(&str, &Path)]) -> Result<ResultFile, ResultFileError> {
        ResultFile::open("--save", path, inputs.iter().copied())
    }

    #[test]
    fn an_old_result_stays_until_there_is_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("result");
        fs::write(&path, "an older and longer result").unwrap();
        let file = open(&path, &[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "an older and longer result");
        file.save(&"new").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"new\"\n");
    }

    #[test]
    fn a_file_is_made_only_for_a_result() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("result");
        let file = open(&path, &[]).unwrap();
        assert!(!path.exists(), "whoever waits for it would find an empty one");
        file.save(&"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"new\"\n");
        fs::write(&path, "").unwrap();
        drop(open(&path, &[]).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "", "it was there before");
    }

    #[test]
    fn what_is_read_is_not_overwritten_whatever_it_is_called() {
        let directory = tempfile::tempdir().unwrap();
        let [input, link, hard, other] = ["input", "link", "hard", "other"].map(|name| directory.path().join(name));
        fs::write(&input, "{}").unwrap();
        std::os::unix::fs::symlink(&input, &link).unwrap();
        fs::hard_link(&input, &hard).unwrap();
        for path in [&input, &link, &hard, &directory.path().join(".").join("input")] {
            let error = open(path, &[("--profile", &input)]).err().unwrap().to_string();
            assert!(error.contains("--save would overwrite what is read as --profile"), "{error}");
        }
        assert!(open(&other, &[("--profile", &input)]).is_ok());
        let console = Path::new("/dev/null");
        assert!(open(console, &[("--profile", console)]).is_ok(), "it keeps nothing");
    }
}
