//! JSON: an array of objects, or an object a line (NDJSON). Numbers, booleans and JSON stay what
//! they are, so do arrays of the common types, NULL is null, everything else is a string; a number keeps all its digits.

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
    Scalar(Scalar),
    /// Its elements are scalars, however many dimensions it has.
    Array(Scalar),
}

#[derive(Clone, Copy)]
enum Scalar {
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
            match (cell, kind) {
                (Some(cell), Kind::Scalar(scalar)) => value(cell, *scalar, out),
                (Some(cell), Kind::Array(element)) => array(cell, *element, out),
                (None, _) => out.extend_from_slice(b"null"),
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
            16 => Self::Scalar(Scalar::Boolean),
            20 | 21 | 23 | 26 | 700 | 701 | 1700 => Self::Scalar(Scalar::Number),
            114 | 3802 => Self::Scalar(Scalar::Json),
            1000 => Self::Array(Scalar::Boolean),
            1005 | 1007 | 1016 | 1021 | 1022 | 1028 | 1231 => Self::Array(Scalar::Number),
            199 | 3807 => Self::Array(Scalar::Json),
            // Of char, name, text, bpchar, varchar, uuid, inet, timestamp, date, time, timestamptz, interval.
            1002 | 1003 | 1009 | 1014 | 1015 | 2951 | 1041 | 1115 | 1182 | 1183 | 1185 | 1187 => {
                Self::Array(Scalar::Text)
            }
            _ => Self::Scalar(Scalar::Text),
        }
    }
}

/// PostgreSQL's `{1,NULL,"a \\"b\\""}`, perhaps with its bounds before it: `[0:1]={1,2}`.
fn array(cell: &[u8], element: Scalar, out: &mut Vec<u8>) {
    let start = match cell.first() {
        Some(b'[') => cell.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1),
        _ => 0,
    };
    let mut rest = &cell[start..];
    if !rest.starts_with(b"{") {
        return string(cell, out);
    }
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'{' => out.push(b'['),
            b'}' => out.push(b']'),
            b',' => out.extend_from_slice(b", "),
            b'"' => {
                let mut text = Vec::new();
                while let [byte, after @ ..] = rest {
                    rest = after;
                    match (byte, rest) {
                        (b'"', _) => break,
                        (b'\\', [escaped, after @ ..]) => {
                            text.push(*escaped);
                            rest = after;
                        }
                        _ => text.push(*byte),
                    }
                }
                value(&text, element, out);
            }
            _ => {
                let end = rest.iter().position(|byte| matches!(byte, b',' | b'}')).unwrap_or(rest.len());
                let length = 1 + end;
                let at = cell.len() - rest.len() - 1;
                match &cell[at..at + length] {
                    b"NULL" => out.extend_from_slice(b"null"),
                    text => value(text, element, out),
                }
                rest = &rest[end..];
            }
        }
    }
}

fn value(cell: &[u8], scalar: Scalar, out: &mut Vec<u8>) {
    match scalar {
        Scalar::Boolean => out.extend_from_slice(if cell == b"t" { b"true" } else { b"false" }),
        // NaN and Infinity are no JSON numbers.
        Scalar::Number if cell.last().is_some_and(u8::is_ascii_digit) => out.extend_from_slice(cell),
        // A line break in JSON is only ever space between tokens.
        Scalar::Json => {
            out.extend(cell.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }))
        }
        Scalar::Number | Scalar::Text => string(cell, out),
    }
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(text);
    serde_json::to_writer(out, text.as_ref()).expect("text goes into memory");
}
