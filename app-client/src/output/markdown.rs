//! A table in Markdown, for a ticket or a README.

use super::RowWriter;
use super::cell;
use super::row::{Column, Row};

pub(super) struct Markdown;

impl Markdown {
    pub(super) fn new(columns: &[Column], out: &mut Vec<u8>) -> Self {
        line(columns.iter().map(|column| Some(column.name.as_bytes())), out);
        for column in columns {
            out.extend_from_slice(if column.is_right_aligned() { b"| ---: " } else { b"| --- " });
        }
        out.extend_from_slice(b"|\n");
        Self
    }
}

impl RowWriter for Markdown {
    fn row(&mut self, row: Row<'_>, out: &mut Vec<u8>) {
        line(row.cells(), out);
    }

    // A blank line, or the next table would continue this one.
    fn end(&mut self, _rows: u64, out: &mut Vec<u8>) {
        out.push(b'\n');
    }
}

fn line<'a>(cells: impl Iterator<Item = Option<&'a [u8]>>, out: &mut Vec<u8>) {
    for cell in cells {
        out.extend_from_slice(b"| ");
        for (number, line) in cell::lines(cell.unwrap_or_default()).into_iter().enumerate() {
            if number > 0 {
                out.extend_from_slice(b"<br>");
            }
            for character in line.text.chars() {
                // What Markdown or HTML would take for its own.
                if matches!(character, '|' | '\\' | '*' | '_' | '`' | '<' | '[' | ']') {
                    out.push(b'\\');
                }
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        out.push(b' ');
    }
    out.extend_from_slice(b"|\n");
}
