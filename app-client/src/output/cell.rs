//! A cell on a terminal: how wide it is, and what it may contain.
//!
//! Whatever could move the cursor, change colours or turn the direction of the text is shown as an
//! escape: data must not be able to draw on the screen of who reads it.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

/// One line of a cell, ready to print.
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) width: usize,
}

/// Whether every byte is a visible ASCII character: then width is length and nothing needs escaping.
pub(crate) fn is_plain(cell: &[u8]) -> bool {
    // No early exit, so that the compiler looks at many bytes at once.
    cell.iter().fold(true, |plain, byte| plain & (byte.wrapping_sub(0x20) < 0x5f))
}

/// Its widest line.
pub(crate) fn width(cell: &[u8]) -> usize {
    if is_plain(cell) {
        return cell.len();
    }
    lines(cell).iter().map(|line| line.width).max().unwrap_or(0)
}

/// The lines of a cell that is not plain; at least one.
pub(crate) fn lines(cell: &[u8]) -> Vec<Line> {
    cell.split(|byte| *byte == b'\n').map(line).collect()
}

fn line(bytes: &[u8]) -> Line {
    let mut line = Line { text: String::with_capacity(bytes.len()), width: 0 };
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            line.push(character);
        }
        for byte in chunk.invalid() {
            line.escape(format_args!("\\x{byte:02X}"), 4);
        }
    }
    line
}

impl Line {
    fn push(&mut self, character: char) {
        match character {
            // As psql: to the next multiple of eight within the cell.
            '\t' => {
                let spaces = 8 - self.width % 8;
                self.text.extend(std::iter::repeat_n(' ', spaces));
                self.width += spaces;
            }
            '\r' => self.escape(format_args!("\\r"), 2),
            '\0'..='\x1f' | '\x7f' => self.escape(format_args!("\\x{:02X}", u32::from(character)), 4),
            // C1 controls, and the marks that reorder text.
            '\u{80}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => self.escape(format_args!("\\u{:04X}", u32::from(character)), 6),
            other => {
                self.text.push(other);
                self.width += other.width().unwrap_or(0);
            }
        }
    }

    fn escape(&mut self, escape: std::fmt::Arguments<'_>, width: usize) {
        let _ = self.text.write_fmt(escape);
        self.width += width;
    }
}

/// Output with everything that a terminal would obey made visible, but for line ends and tabs.
pub(crate) fn harmless(bytes: &[u8]) -> Cow<'_, [u8]> {
    let obeyed = |byte: &u8| (*byte < 0x20 && !matches!(byte, b'\n' | b'\r' | b'\t')) || *byte >= 0x7f;
    if !bytes.iter().any(obeyed) {
        return Cow::Borrowed(bytes);
    }
    let mut shown = Line { text: String::with_capacity(bytes.len()), width: 0 };
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\r' | '\t' => shown.text.push(character),
                other => shown.push(other),
            }
        }
        for byte in chunk.invalid() {
            shown.escape(format_args!("\\x{byte:02X}"), 4);
        }
    }
    Cow::Owned(shown.text.into_bytes())
}

/// Text of the server in a message: line breaks stay, the rest of the escapes hold.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if is_plain(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<String> = lines(text.as_bytes()).into_iter().map(|line| line.text).collect();
    Cow::Owned(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_a_terminal() {
        for (text, expected) in
            [("", 0), ("abc", 3), ("è", 1), ("日本", 4), ("a\tb", 9), ("e\u{301}", 1), ("one\nthree", 5)]
        {
            assert_eq!(width(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn output_for_a_screen_keeps_its_layout_and_loses_its_commands() {
        let shown = |bytes| String::from_utf8(harmless(bytes).into_owned()).expect("UTF-8");
        assert_eq!(shown("a,\"è\tb\"\r\n".as_bytes()), "a,\"è\tb\"\r\n");
        assert_eq!(shown(b"\x1b]0;title\x07\xff\n"), "\\x1B]0;title\\x07\\xFF\n");
    }

    #[test]
    fn what_could_draw_on_the_screen_is_escaped() {
        let shown = |bytes: &[u8]| lines(bytes).remove(0).text;
        assert_eq!(shown(b"\x1b[31mred\x07"), "\\x1B[31mred\\x07");
        assert_eq!(shown("a\u{9b}b\u{202e}c".as_bytes()), "a\\u009Bb\\u202Ec");
        assert_eq!(shown(b"\xff\xfe"), "\\xFF\\xFE");
        assert_eq!(shown(b"line\r"), "line\\r");
    }
}
