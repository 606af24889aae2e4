//! The line editor: history, completion, colours, and when what was typed is whole.

use std::borrow::Cow;
use std::env;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use nu_ansi_term::{Color, Style};
use reedline::{
    ColumnarMenu, EditCommand, Emacs, FileBackedHistory, Highlighter, InputMode, KeyCode, KeyModifiers,
    MenuBuilder, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, StyledText,
    ValidationResult, Validator, default_emacs_keybindings,
};

use super::names::{KEYWORDS, Names};
use crate::script::Splitter;

const HISTORY: usize = 10_000;
const MENU: &str = "completion";

pub(super) fn open(names: Names) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let complete =
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    // A menu that is still open at the end of a statement would take the Enter that runs it.
    let semicolon = ReedlineEvent::Edit(vec![EditCommand::InsertChar(';')]);
    let end = vec![ReedlineEvent::Multiple(vec![ReedlineEvent::Esc, semicolon.clone()]), semicolon];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Char(';'), ReedlineEvent::UntilFound(end));
    // What is selected is typed before the tables that it is selected from.
    let menu = ColumnarMenu::default().with_name(MENU).with_input_mode(InputMode::FullBuffer);
    let menu = ReedlineMenu::EngineCompleter(Box::new(menu));
    // https://no-color.org
    let colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let editor = Reedline::create()
        .with_completer(Box::new(names))
        .with_menu(menu)
        .with_quick_completions(true)
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_validator(Box::new(Whole))
        .with_highlighter(Box::new(Sql))
        .with_ansi_colors(colours)
        // For a statement that should not be remembered, as in a shell.
        .with_history_exclusion_prefix(Some(" ".to_owned()));
    match history() {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

/// Statements may hold data: the file is for its owner only.
fn history() -> Option<FileBackedHistory> {
    let state = env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let folder = state.or_else(|| Some(env::home_dir()?.join(".local/state")))?.join("app-client");
    let file = folder.join("history");
    let opened = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .and_then(|()| OpenOptions::new().create(true).append(true).mode(0o600).open(&file).map(drop));
    if let Err(error) = opened {
        remark!("warning: no history, since {} cannot be written: {error}", file.display());
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
        let word = text.trim().to_ascii_lowercase();
        if matches!(word.as_str(), "" | "exit" | "quit" | "help") {
            return ValidationResult::Complete;
        }
        let mut splitter = Splitter::default();
        splitter.push(text, 1);
        while splitter.next().is_some() {}
        let open = splitter.backslash().is_none()
            && (splitter.open_construct().is_some() || splitter.rest().is_some());
        if open { ValidationResult::Incomplete } else { ValidationResult::Complete }
    }
}

/// Colours by kind of word; what is inside quotes or comments is not looked into.
struct Sql;

impl Highlighter for Sql {
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
        '\'' | '"' => {
            let colour = if first == '\'' { Color::Green } else { Color::Yellow };
            (upto(text[1..].find(first).map(|at| at + 2)), colour.normal())
        }
        _ if text.starts_with("--") => (upto(text.find('\n')), Style::new().dimmed()),
        _ if text.starts_with("/*") => (upto(text.find("*/").map(|at| at + 2)), Style::new().dimmed()),
        _ if first.is_ascii_digit() => (
            upto(text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.')),
            Color::Cyan.normal(),
        ),
        _ if first.is_alphabetic() || first == '_' => {
            let length = upto(text.find(|letter: char| !letter.is_alphanumeric() && letter != '_'));
            let keyword = KEYWORDS.binary_search(&text[..length].to_ascii_lowercase().as_str()).is_ok();
            (length, if keyword { Color::Blue.bold() } else { Style::new() })
        }
        _ => (first.len_utf8(), Style::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_runs_only_what_is_whole() {
        for whole in ["", "select 1;", "\\d", "EXIT", "select 1 \\g", "select ';';\n-- done"] {
            assert!(matches!(Whole.validate(whole), ValidationResult::Complete), "{whole}");
        }
        for open in ["select 1", "select ';", "select 1; select 2", "do $$ begin;", "/* ;"] {
            assert!(matches!(Whole.validate(open), ValidationResult::Incomplete), "{open}");
        }
    }

    #[test]
    fn the_colours_leave_the_text_as_it_is() {
        assert!(KEYWORDS.is_sorted());
        for text in ["select 'it''s' -- x\n, \"é\" 1.5 /* open", "日本 'open", ""] {
            assert_eq!(Sql.highlight(text, 0).raw_string(), text);
        }
    }
}
