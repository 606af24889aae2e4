//! CSV, byte for byte as `psql --csv` writes it.

use super::RowWriter;
use super::row::{Column, Row};

pub(super) struct Csv;

impl Csv {
    pub(super) fn new(columns: &[Column], tuples_only: bool, out: &mut Vec<u8>) -> Self {
        if !tuples_only {
            line(columns.iter().map(|column| Some(column.name.as_bytes())), out);
        }
        Self
    }
}

impl RowWriter for Csv {
    fn row(&mut self, row: Row<'_>, out: &mut Vec<u8>) {
        // psql shows no line for a row of no columns.
        if row.cells().next().is_some() {
            line(row.cells(), out);
        }
    }

    fn end(&mut self, _rows: u64, _out: &mut Vec<u8>) {}
}

fn line<'a>(cells: impl Iterator<Item = Option<&'a [u8]>>, out: &mut Vec<u8>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        field(cell.unwrap_or_default(), out);
    }
    out.push(b'\n');
}

fn field(cell: &[u8], out: &mut Vec<u8>) {
    let special =
        cell.iter().fold(false, |special, byte| special | matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    // `\.` alone would end the data for a COPY that reads the file.
    if !special && cell != b"\\." {
        out.extend_from_slice(cell);
        return;
    }
    out.push(b'"');
    for piece in cell.split_inclusive(|byte| *byte == b'"') {
        out.extend_from_slice(piece);
        if piece.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}
