//! The line editor: history, completion, colours, and when what was typed is whole.

use std::borrow::Cow;
use std::env;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nu_ansi_term::{Color, Style};
use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, Highlighter, KeyCode, KeyModifiers, MenuBuilder, PromptEditMode,
    PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, StyledText, ValidationResult, Validator,
    default_emacs_keybindings,
};

use super::completer::{Completer, KEYWORDS};
use super::session::is_whole;
use crate::error::say;

const HISTORY: usize = 10_000;
const MENU: &str = "completion";

/// The editor; it gives up its line when `leaving` becomes true.
pub(super) fn open(completer: Completer, leaving: Arc<AtomicBool>) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let complete =
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    let menu =
        ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU).with_marker("")));
    // https://no-color.org
    let colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let editor = Reedline::create()
        .with_completer(Box::new(completer))
        .with_menu(menu)
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_validator(Box::new(Whole))
        .with_highlighter(Box::new(Colours))
        .with_ansi_colors(colours)
        .with_break_signal(leaving)
        // For a statement that should not be remembered, as in a shell.
        .with_history_exclusion_prefix(Some(" ".to_owned()));
    match history() {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

/// Statements may hold what is nobody else's business: the file is for its owner only.
fn history() -> Option<FileBackedHistory> {
    let state = env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let folder = state.or_else(|| Some(env::home_dir()?.join(".local/state")))?.join("ops");
    let file = folder.join("history");
    let opened = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .and_then(|()| OpenOptions::new().create(true).append(true).mode(0o600).open(&file).map(drop));
    if let Err(error) = opened {
        say(&format!("warning: no history, since {} cannot be written: {error}", file.display()));
        return None;
    }
    FileBackedHistory::with_file(HISTORY, file).ok()
}

pub(super) struct Prompt {
    pub(super) text: String,
}

impl reedline::Prompt for Prompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.text)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("... ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(history: {}) ", search.term))
    }
}

/// Whether Enter runs what was typed or begins another line.
struct Whole;

impl Validator for Whole {
    fn validate(&self, text: &str) -> ValidationResult {
        if is_whole(text) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

/// Colours by kind of word; what is inside quotes or comments is not looked into.
struct Colours;

impl Highlighter for Colours {
    fn highlight(&self, text: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (length, style) = token(rest);
            styled.push((style, rest[..length].to_owned()));
            rest = &rest[length..];
        }
        styled
    }
}

/// The length of the token at the front and how it looks.
fn token(text: &str) -> (usize, Style) {
    let upto = |end: Option<usize>| end.unwrap_or(text.len());
    let first = text.chars().next().unwrap_or(' ');
    match first {
        '"' | '`' => (quoted(text, first), Color::Green.normal()),
        _ if text.starts_with("//") => (upto(text.find('\n')), Style::new().dimmed()),
        _ if text.starts_with("/*") => (upto(text.find("*/").map(|at| at + 2)), Style::new().dimmed()),
        _ if first.is_ascii_digit() => (
            upto(text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.')),
            Color::Cyan.normal(),
        ),
        _ if first.is_alphabetic() || first == '_' => {
            let length = upto(text.find(|letter: char| !letter.is_alphanumeric() && letter != '_'));
            let style = match &text[..length] {
                word if KEYWORDS.contains(&word) => Color::Blue.bold(),
                _ if text[length..].starts_with("::") => Color::Purple.normal(),
                _ => Style::new(),
            };
            (length, style)
        }
        _ => (first.len_utf8(), Style::new()),
    }
}

/// The length of a text in quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colours_leave_the_text_as_it_is() {
        for text in ["let x = \"a\\\"b\" // x\n, `é` 1.5 /* open", "日本 \"open", "ec2::x", "`${a}", ""] {
            assert_eq!(Colours.highlight(text, 0).raw_string(), text);
        }
    }
}
