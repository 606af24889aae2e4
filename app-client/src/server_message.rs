//! Errors and notices as the server words them, and how they are shown: the message with its
//! SQLSTATE, a caret under the place in the statement, DETAIL and HINT.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

use crate::output::cell;

/// The fields of an ErrorResponse or NoticeResponse that a person can use.
#[derive(Debug, Default, Clone)]
pub(crate) struct ServerMessage {
    pub(crate) severity: String,
    pub(crate) sqlstate: String,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    pub(crate) context: Option<String>,
    /// In characters from 1, within the statement that was sent.
    pub(crate) position: Option<usize>,
    /// A place within `internal_query`, a statement that a function ran.
    pub(crate) internal_position: Option<usize>,
    pub(crate) internal_query: Option<String>,
}

/// How much of a long line is shown around the caret.
const EXCERPT: usize = 72;

impl ServerMessage {
    /// Reads the body of an `E` or `N` message; a field that makes no sense is left out.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let mut message = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, value)) = field.split_first() else { continue };
            let value = String::from_utf8_lossy(value).into_owned();
            match kind {
                b'S' => message.severity = value,
                b'C' => message.sqlstate = value,
                b'M' => message.message = value,
                b'D' => message.detail = Some(value),
                b'H' => message.hint = Some(value),
                b'W' => message.context = Some(value),
                b'P' => message.position = value.parse().ok(),
                b'p' => message.internal_position = value.parse().ok(),
                b'q' => message.internal_query = Some(value),
                _ => {}
            }
        }
        message
    }

    /// Whether the session ends with it.
    pub(crate) fn is_farewell(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }

    /// The message in one line.
    pub(crate) fn headline(&self) -> String {
        format!("{}: {} ({})", self.severity, cell::visible(&self.message), self.sqlstate)
    }

    /// The whole report. `first_line` is where `sql` begins in its file.
    pub(crate) fn render(&self, sql: &str, first_line: usize) -> String {
        let notice = !matches!(self.severity.as_str(), "ERROR" | "FATAL" | "PANIC");
        let mut report = match notice {
            // A notice that merely says something needs no code: 00000 is "successful completion".
            true => format!("{}: {}", self.severity, cell::visible(&self.message)),
            false => self.headline(),
        };
        if let Some(position) = self.position {
            report.push_str(&caret(sql, position, first_line));
        } else if let (Some(position), Some(query)) = (self.internal_position, &self.internal_query) {
            report.push_str(&caret(query, position, 1));
        }
        let parts = [("DETAIL", &self.detail), ("HINT", &self.hint)];
        for (label, text) in parts {
            if let Some(text) = text {
                let _ = write!(report, "\n{label}: {}", cell::visible(text));
            }
        }
        if let (Some(context), false) = (&self.context, notice) {
            let _ = write!(report, "\nCONTEXT: {}", cell::visible(context));
        }
        report
    }
}

/// The line of `sql` that holds the character at `position`, with a caret under it.
fn caret(sql: &str, position: usize, first_line: usize) -> String {
    let Some(before) = position.checked_sub(1).filter(|before| *before <= sql.chars().count()) else {
        return String::new();
    };
    let offset = sql.char_indices().nth(before).map_or(sql.len(), |(offset, _)| offset);
    let line_start = sql[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let number = first_line + sql[..offset].matches('\n').count();
    let line: Vec<char> = sql[line_start..].lines().next().unwrap_or_default().chars().collect();
    let column = sql[line_start..offset].chars().count();

    let from = if line.len() <= EXCERPT { 0 } else { column.saturating_sub(EXCERPT / 2) };
    let to = line.len().min(from + EXCERPT);
    let plain = |character: &char| if character.is_control() { ' ' } else { *character };
    let label = format!("LINE {number}: {}", if from > 0 { "..." } else { "" });
    let excerpt: String = line[from..to].iter().map(plain).collect();
    let width: usize =
        line[from..column.min(to)].iter().map(|character| plain(character).width().unwrap_or(0)).sum();
    let more = if to < line.len() { "..." } else { "" };
    format!("\n{label}{excerpt}{more}\n{:indent$}^", "", indent = label.len() + width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_word_after_wide_characters_and_tabs() {
        let shown = caret("select '日本',\n\tnope from t", 15, 10);
        assert_eq!(shown, "\nLINE 11:  nope from t\n          ^");
        let wide = caret("select '日本', nope", 15, 1);
        assert_eq!(wide, "\nLINE 1: select '日本', nope\n                        ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let sql = format!("select {} nope {}", "1,".repeat(100), ",2".repeat(100));
        let position = sql.find("nope").expect("the word is there") + 1;
        let shown = caret(&sql, position, 1);
        let (line, mark) = shown.trim_start().split_once('\n').expect("two lines");
        assert!(line.starts_with("LINE 1: ...") && line.ends_with("..."), "{line}");
        assert_eq!(line.find("nope"), mark.find('^'));
    }

    #[test]
    fn a_position_outside_the_statement_shows_no_caret() {
        assert_eq!(caret("select 1", 0, 1), "");
        assert_eq!(caret("select 1", 99, 1), "");
    }
}
