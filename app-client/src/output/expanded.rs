//! A record after the other, a line for each column: psql's `\x`. The rule above a record is as wide
//! as that record, since the next ones are not known yet.

use super::RowWriter;
use super::cell::{self, Line};
use super::row::{Column, Row};

pub(super) struct Expanded {
    names: Vec<Line>,
    /// Of the widest name.
    width: usize,
    records: u64,
    tuples_only: bool,
    null: Vec<u8>,
}

impl Expanded {
    pub(super) fn new(columns: &[Column], tuples_only: bool, null: &str) -> Self {
        let name = |column: &Column| cell::lines(column.name.replace('\n', " ").as_bytes()).remove(0);
        let names: Vec<Line> = columns.iter().map(name).collect();
        let width = names.iter().map(|name| name.width).max().unwrap_or(0);
        Self { names, width, records: 0, tuples_only, null: null.into() }
    }

    /// `-[ RECORD 1 ]---+-----`, or without the words when only tuples are wanted.
    fn rule(&self, value_width: usize, out: &mut Vec<u8>) {
        let label = match self.tuples_only {
            true => String::new(),
            false => format!("-[ RECORD {} ]", self.records),
        };
        let length = (self.width + value_width + 3).max(label.len());
        let cross = self.width + 1;
        let line = (0..length).map(|at| match label.as_bytes().get(at) {
            Some(byte) => *byte,
            None if at == cross => b'+',
            None => b'-',
        });
        out.extend(line);
        out.push(b'\n');
    }
}

impl RowWriter for Expanded {
    fn row(&mut self, row: Row<'_>, out: &mut Vec<u8>) {
        self.records += 1;
        let cells: Vec<Vec<Line>> = row.cells().map(|cell| cell::lines(cell.unwrap_or(&self.null))).collect();
        let width = cells.iter().flatten().map(|line| line.width).max().unwrap_or(0);
        if !self.names.is_empty() && (!self.tuples_only || self.records > 1) {
            self.rule(width, out);
        }
        for (name, lines) in self.names.iter().zip(&cells) {
            for (number, line) in lines.iter().enumerate() {
                let (text, room) = match number {
                    0 => (name.text.as_str(), self.width - name.width),
                    _ => ("", self.width),
                };
                out.extend_from_slice(text.as_bytes());
                out.resize(out.len() + room, b' ');
                out.extend_from_slice(b" | ");
                out.extend_from_slice(line.text.as_bytes());
                if number + 1 < lines.len() {
                    out.resize(out.len() + width - line.width, b' ');
                    out.push(b'+');
                }
                out.push(b'\n');
            }
        }
    }

    fn end(&mut self, rows: u64, out: &mut Vec<u8>) {
        // psql counts only what it cannot show.
        let count = match (rows, self.names.is_empty(), self.tuples_only) {
            (0, _, false) => "(0 rows)\n".to_owned(),
            (1, true, false) => "(1 row)\n".to_owned(),
            (_, true, false) => format!("({rows} rows)\n"),
            _ => String::new(),
        };
        out.extend_from_slice(count.as_bytes());
        out.push(b'\n');
    }
}
