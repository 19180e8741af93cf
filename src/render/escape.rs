//! Text of others on a terminal: names, reasons, messages of libvirt and of hooks. What would move the cursor, change
//! colours or turn the direction of writing around is shown as what it is.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with control characters and those that change the direction of writing as `\u{1b}`; lines stay lines.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_all(text, |c| c != '\n' && is_unsafe(c))
}

/// The same for what has to stay on one line.
pub(super) fn escape_line(text: &str) -> Cow<'_, str> {
    escape_all(text, is_unsafe)
}

fn escape_all(text: &str, is_unsafe: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::new();
    for c in text.chars() {
        match is_unsafe(c) {
            // Writing to a String can't fail.
            true => drop(write!(escaped, "{}", c.escape_unicode())),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

fn is_unsafe(c: char) -> bool {
    // The second are Unicode's Bidi_Control.
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_what_it_is() {
        assert_eq!(escape("db\u{1b}[2J\u{9b}31m\u{7f}\r"), "db\\u{1b}[2J\\u{9b}31m\\u{7f}\\u{d}");
        assert_eq!(escape("\u{202e}1-bd\u{2066}"), "\\u{202e}1-bd\\u{2066}");
        assert_eq!(escape("größer \\ 東京 🙂\nnext"), "größer \\ 東京 🙂\nnext");
        assert_eq!(escape_line("one\ntwo"), "one\\u{a}two");
    }
}
