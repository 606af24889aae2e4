//! JSON: an array of objects, or an object a line (NDJSON). Numbers, booleans and JSON stay what
//! they are, NULL is null, everything else is a string; a number keeps all its digits.

use super::RowWriter;
use super::row::{Column, Row};

pub(super) struct Json {
    /// `"name":` of each column, and how its values are written.
    fields: Vec<(Vec<u8>, Kind)>,
    lines: bool,
    any: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    Number,
    Json,
    Text,
}

impl Json {
    pub(super) fn array(columns: &[Column], out: &mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { fields: fields(columns), lines: false, any: false }
    }

    pub(super) fn lines(columns: &[Column]) -> Self {
        Self { fields: fields(columns), lines: true, any: false }
    }
}

impl RowWriter for Json {
    fn row(&mut self, row: Row<'_>, out: &mut Vec<u8>) {
        if !self.lines {
            out.extend_from_slice(if self.any { b",\n " } else { b"\n " });
        }
        self.any = true;
        out.push(b'{');
        for (index, ((name, kind), cell)) in self.fields.iter().zip(row.cells()).enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(name);
            match cell {
                Some(cell) => value(cell, *kind, out),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
        if self.lines {
            out.push(b'\n');
        }
    }

    // A result that was cut short keeps its bracket open, so that nobody reads it as whole.
    fn end(&mut self, _rows: u64, out: &mut Vec<u8>) {
        match (self.lines, self.any) {
            (true, _) => {}
            (false, true) => out.extend_from_slice(b"\n]\n"),
            (false, false) => out.extend_from_slice(b"]\n"),
        }
    }
}

/// Two columns may have the same name, two keys of an object may not.
fn fields(columns: &[Column]) -> Vec<(Vec<u8>, Kind)> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        let mut name = column.name.clone();
        let mut number = 1;
        while names.contains(&name) {
            number += 1;
            name = format!("{}_{number}", column.name);
        }
        names.push(name);
    }
    let kinds = columns.iter().map(|column| Kind::of(column.type_oid));
    names
        .iter()
        .zip(kinds)
        .map(|(name, kind)| {
            let mut key = Vec::new();
            string(name.as_bytes(), &mut key);
            key.extend_from_slice(b": ");
            (key, kind)
        })
        .collect()
}

impl Kind {
    fn of(type_oid: u32) -> Self {
        match type_oid {
            16 => Self::Boolean,
            20 | 21 | 23 | 26 | 700 | 701 | 1700 => Self::Number,
            114 | 3802 => Self::Json,
            _ => Self::Text,
        }
    }
}

fn value(cell: &[u8], kind: Kind, out: &mut Vec<u8>) {
    match kind {
        Kind::Boolean => out.extend_from_slice(if cell == b"t" { b"true" } else { b"false" }),
        // NaN and Infinity are no JSON numbers.
        Kind::Number if cell.last().is_some_and(u8::is_ascii_digit) => out.extend_from_slice(cell),
        // A line break in JSON is only ever space between tokens.
        Kind::Json => {
            out.extend(cell.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }))
        }
        Kind::Number | Kind::Text => string(cell, out),
    }
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(text);
    serde_json::to_writer(out, text.as_ref()).expect("text goes into memory");
}
