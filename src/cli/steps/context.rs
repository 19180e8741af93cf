//! What every command is run with, and where its results go.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::usage;
use crate::cli::{Format, OutputArgs};
use crate::config::Config;
use crate::files::result_file::ResultFile;
use crate::files::saved_report::SavedReport;
use crate::render::{self, Screen, post_line, print_line, tables};

/// The configuration, and what the user wants to see.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config,
    pub(crate) output: &'a OutputArgs,
}

impl Context<'_> {
    /// Opens the file that `option` names, if it is given. `inputs` are the files that the command reads, by option.
    pub(crate) fn result_file(
        self,
        option: &str,
        path: Option<&Path>,
        inputs: &[(&str, Option<&Path>)],
    ) -> Result<Option<ResultFile>> {
        let Some(path) = path else { return Ok(None) };
        let configuration = self.config.files.iter().filter(|(_, read)| *read);
        let configuration = configuration.map(|(path, _)| ("the configuration", path.as_path()));
        let inputs = inputs.iter().filter_map(|(option, path)| Some((*option, (*path)?)));
        ResultFile::open(option, path, inputs.chain(configuration)).map(Some).map_err(usage)
    }

    /// Says something on standard error, if that is not to be quiet.
    pub(crate) fn say(self, text: &str) {
        if !self.output.quiet {
            render::say(text);
        }
    }

    pub(crate) fn screen(self) -> Screen {
        match self.output.output {
            Format::Json => Screen::Json,
            Format::Text if self.output.quiet => Screen::Silent,
            Format::Text => Screen::on_stderr(),
        }
    }

    pub(crate) fn show(self, value: &impl Serialize, text: impl Fn() -> String) -> Result<()> {
        let shown = match self.output.output {
            Format::Json => serde_json::to_string(value)?,
            Format::Text => text(),
        };
        Ok(print_line(&shown)?)
    }

    /// Writes and prints the report that ends a run, and returns the exit status that it stands for. The program that
    /// reads events has it already, as the last of them.
    pub(crate) fn conclude(self, file: Option<&ResultFile>, saved: &SavedReport) -> u8 {
        if let Some(Err(error)) = file.map(|file| save(file, saved)) {
            render::say(&format!("warning: the report was not written: {error:#}"));
        }
        if self.output.output == Format::Text {
            post_line(tables::report(&saved.report));
        }
        saved.report.outcome.exit_status()
    }
}

/// Replaces what the file held by a value as JSON.
pub(crate) fn save(file: &ResultFile, value: &impl Serialize) -> Result<()> {
    file.save(value).with_context(|| format!("{} can't be written", file.path().display()))
}
