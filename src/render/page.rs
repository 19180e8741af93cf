//! The page that a text is written on: how wide it is, and whether it has colours.
//!
//! Colour says only that something went well or did not; what it says, the words say too. `NO_COLOR` and a standard
//! output that is no terminal turn it off, and there lines are as long as they are, for `grep`.

use std::fmt::Write;

use comfy_table::{ContentArrangement, Table};
use console::{Style, Term};

use super::escape::escape;

/// Where text goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    /// Columns, if lines are to be wrapped at all.
    pub width: Option<u16>,
    /// Whether colours are shown.
    pub colors: bool,
}

impl Page {
    /// Standard output as it is.
    pub fn of_stdout() -> Self {
        let width = Term::stdout().size_checked().map(|(_, columns)| columns);
        Self { width, colors: console::colors_enabled() }
    }

    /// A sentence about a domain; on a narrow page its further lines are indented.
    pub(super) fn entry(&self, domain: &str, sentence: &str) -> String {
        self.paragraph(&format!("{domain}: {sentence}"))
    }

    /// A line that may be long; on a narrow page its further lines are indented.
    pub(super) fn paragraph(&self, text: &str) -> String {
        // What others put on a line of its own, such as QEMU's log in an error of libvirt's, stays recognisable as theirs.
        let text = escape(text).replace('\n', "\n    ");
        let mut paragraph = match self.width {
            Some(width) => textwrap::fill(&text, textwrap::Options::new(width.into()).subsequent_indent("    ")),
            None => text,
        };
        paragraph.push('\n');
        paragraph
    }

    /// Keeps a table within the page.
    pub(super) fn fit(&self, table: &mut Table) {
        if let Some(width) = self.width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
    }

    /// What went well.
    pub(super) fn good(&self, text: &str) -> String {
        self.paint(Style::new().green(), text)
    }

    /// What did not.
    pub(super) fn bad(&self, text: &str) -> String {
        self.paint(Style::new().red(), text)
    }

    /// Line by line, so that a pager which shows some of them shows their colour.
    fn paint(&self, style: Style, text: &str) -> String {
        let style = style.force_styling(self.colors);
        let mut painted = String::new();
        for line in escape(text).split_inclusive('\n') {
            let words = line.trim_end_matches('\n');
            // Writing to a String can't fail.
            let _ = write!(painted, "{}{}", style.apply_to(words), &line[words.len()..]);
        }
        painted
    }
}
