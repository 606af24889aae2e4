//! `text::` words of others, made fit for a terminal.

use std::sync::Arc;

use unicode_width::UnicodeWidthChar;

use crate::error::Error;
use crate::host::Host;
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};

const ONE_LINE: Function = Function {
    name: "one_line",
    doc: "A text as one line of a terminal, at most so many columns wide; what is longer ends in `...`. What would move the cursor, change \
          colours or turn the direction of writing is shown and has no effect: `\\n`, `\\u{1b}`.",
    parameters: &["text: string", "columns: int"],
    returns: "string",
    permissions: &[],
    example: r#"print(text::one_line("two\nlines", 40));"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("text", host);
    namespace.function2(&ONE_LINE, |_: &Call, text: String, columns: i64| {
        let usable = usize::try_from(columns).ok().filter(|columns| *columns >= DOTS.len());
        let columns = usable.ok_or_else(|| {
            Error::invalid(format!("a line of {columns} columns has no room for a text"))
                .help(format!("use {} or more", DOTS.len()))
        })?;
        Ok(one_line(&text, columns))
    });
    namespace
}

const DOTS: &str = "...";

fn one_line(text: &str, columns: usize) -> String {
    let mut line = String::new();
    let mut width = 0;
    // Where the dots would go.
    let mut fits = 0;
    for character in text.chars() {
        let before = line.len();
        if is_visible(character) {
            line.push(character);
            width += character.width().unwrap_or(0);
        } else {
            line.extend(character.escape_default());
            width += line.len() - before;
        }
        if width > columns {
            line.truncate(fits);
            return line + DOTS;
        }
        if width + DOTS.len() <= columns {
            fits = line.len();
        }
    }
    line
}

/// Whether a terminal shows the character and does nothing else. Not so: control characters, line separators, and what turns the direction of
/// writing, so that a line reads other than it is (Unicode Standard Annex 9, "Directional Formatting Characters").
fn is_visible(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(one_line("a\x1b[2J\u{9b}1m\r\nb\t\u{202e}c", 99), r"a\u{1b}[2J\u{9b}1m\r\nb\t\u{202e}c");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_at_its_width() {
        assert_eq!(one_line("perché no", 9), "perché no");
        assert_eq!(one_line("perché no?", 9), "perché...");
        // Each of these is two columns wide.
        assert_eq!(one_line("日本語日本語", 9), "日本語...");
    }

    proptest! {
        #[test]
        fn no_text_is_wider_or_moves_the_cursor(text in any::<String>(), columns in 3_usize..200) {
            let line = one_line(&text, columns);
            prop_assert!(line.chars().all(is_visible), "{:?}", line);
            let width: usize = line.chars().map(|it| it.width().unwrap_or(0)).sum();
            prop_assert!(width <= columns, "{} columns: {:?}", line.width(), line);
        }
    }
}
