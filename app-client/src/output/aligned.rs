//! The table that psql prints, without waiting for the last row: widths come from the first rows,
//! which are held back for a moment; a later cell that is wider pushes its own line only, and its
//! column is wider from the next page on. Memory does not depend on the size of the result.

use std::time::{Duration, Instant};

use super::RowWriter;
use super::cell::{self, Line};
use super::row::{Column, Row, RowBuffer};

/// Rows that decide on the widths, if they come soon enough, and the length of a page when nobody watches.
pub(super) const SAMPLE: usize = 2000;
/// Rows that are held back never take more than this.
const SAMPLE_BYTES: usize = 1024 * 1024;

pub(super) struct Aligned {
    columns: Vec<Column>,
    right: Vec<bool>,
    widths: Vec<usize>,
    /// Widths that take effect at the next page.
    wider: Vec<usize>,
    sample: Option<Sample>,
    page: usize,
    rows_on_page: usize,
    tuples_only: bool,
    null: Vec<u8>,
}

/// The rows that were seen before the widths were settled: bodies of DataRow messages.
struct Sample {
    rows: Vec<Vec<u8>>,
    bytes: usize,
    patience: Duration,
    since: Option<Instant>,
}

impl Aligned {
    /// Those rows decide that came until `patience` was over; a wider column is so from the next `page` on.
    pub(super) fn new(
        columns: Vec<Column>,
        page: usize,
        patience: Duration,
        tuples_only: bool,
        null: &str,
    ) -> Self {
        let widths: Vec<usize> = columns.iter().map(width_of_name).collect();
        Self {
            right: columns.iter().map(Column::is_right_aligned).collect(),
            wider: widths.clone(),
            widths,
            columns,
            sample: Some(Sample { rows: Vec::new(), bytes: 0, patience, since: None }),
            page,
            rows_on_page: 0,
            tuples_only,
            null: null.into(),
        }
    }

    /// Prints the header and the rows held back.
    fn settle(&mut self, out: &mut Vec<u8>) {
        let Some(sample) = self.sample.take() else { return };
        self.widths.clone_from(&self.wider);
        if !self.tuples_only {
            self.header(out);
        }
        let mut buffer = RowBuffer::default();
        for body in &sample.rows {
            let row = buffer.read(body, self.columns.len()).expect("it was read when it was sampled");
            self.print(row, out);
        }
    }

    fn header(&self, out: &mut Vec<u8>) {
        for (index, column) in self.columns.iter().enumerate() {
            let name = cell::visible(&column.name).replace('\n', " ");
            let room = self.widths[index].saturating_sub(cell::width(name.as_bytes()));
            out.extend_from_slice(if index == 0 { b" " } else { b"| " });
            pad(room / 2, out);
            out.extend_from_slice(name.as_bytes());
            pad(room - room / 2 + 1, out);
        }
        if !self.columns.is_empty() {
            out.push(b'\n');
        }
        for (index, width) in self.widths.iter().enumerate() {
            if index > 0 {
                out.push(b'+');
            }
            out.extend(std::iter::repeat_n(b'-', width + 2));
        }
        // psql's table of no columns.
        out.extend_from_slice(if self.columns.is_empty() { b"--\n" } else { b"\n" });
    }

    fn print(&mut self, row: Row<'_>, out: &mut Vec<u8>) {
        if self.rows_on_page == self.page {
            self.rows_on_page = 0;
            self.widths.clone_from(&self.wider);
        }
        self.rows_on_page += 1;
        if self.columns.is_empty() {
            return;
        }
        let line_start = out.len();
        let last = self.columns.len() - 1;
        for (index, cell) in row.cells().enumerate() {
            let cell = cell.unwrap_or(&self.null);
            if !cell::is_plain(cell) {
                out.truncate(line_start);
                return self.print_lines(row, out);
            }
            let (width, room) = self.room(index, cell.len());
            out.extend_from_slice(if index == 0 { b" " } else { b"| " });
            if self.right[index] {
                pad(room, out);
                out.extend_from_slice(cell);
            } else {
                out.extend_from_slice(cell);
                pad(if index == last { 0 } else { room }, out);
            }
            if index < last {
                out.push(b' ');
            }
            self.wider[index] = width;
        }
        out.push(b'\n');
    }

    /// What the column's width becomes with a cell of `width`, and the spaces that fill it up.
    fn room(&self, index: usize, width: usize) -> (usize, usize) {
        (self.wider[index].max(width), self.widths[index].saturating_sub(width))
    }

    /// A row with line breaks, wide or unsafe characters: psql marks a line that goes on with `+`.
    fn print_lines(&mut self, row: Row<'_>, out: &mut Vec<u8>) {
        let cells: Vec<Vec<Line>> = row.cells().map(|cell| cell::lines(cell.unwrap_or(&self.null))).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        let last = cells.len() - 1;
        for number in 0..height {
            for (index, lines) in cells.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b" " } else { b"| " });
                let goes_on = number + 1 < lines.len();
                let (text, width) =
                    lines.get(number).map_or(("", 0), |line| (line.text.as_str(), line.width));
                let (wider, room) = self.room(index, width);
                self.wider[index] = wider;
                if self.right[index] && number < lines.len() {
                    pad(room, out);
                    out.extend_from_slice(text.as_bytes());
                } else {
                    out.extend_from_slice(text.as_bytes());
                    pad(if index < last || goes_on { room } else { 0 }, out);
                }
                match goes_on {
                    true => out.push(b'+'),
                    false if index < last => out.push(b' '),
                    false => {}
                }
            }
            out.push(b'\n');
        }
    }
}

impl RowWriter for Aligned {
    fn row(&mut self, row: Row<'_>, out: &mut Vec<u8>) {
        let Some(sample) = &mut self.sample else { return self.print(row, out) };
        for (wider, cell) in self.wider.iter_mut().zip(row.cells()) {
            *wider = (*wider).max(cell::width(cell.unwrap_or(&self.null)));
        }
        sample.bytes += row.body.len();
        sample.rows.push(row.body.to_vec());
        let since = sample.since.get_or_insert_with(Instant::now);
        let full = sample.rows.len() >= SAMPLE || sample.bytes >= SAMPLE_BYTES;
        if full || since.elapsed() >= sample.patience {
            self.settle(out);
        }
    }

    fn idle(&mut self, out: &mut Vec<u8>) {
        let impatient =
            |sample: &Sample| sample.since.is_some_and(|since| since.elapsed() >= sample.patience);
        if self.sample.as_ref().is_some_and(impatient) {
            self.settle(out);
        }
    }

    fn abandon(&mut self, out: &mut Vec<u8>) {
        self.settle(out);
    }

    fn end(&mut self, rows: u64, out: &mut Vec<u8>) {
        self.settle(out);
        if !self.tuples_only {
            let noun = if rows == 1 { "row" } else { "rows" };
            out.extend_from_slice(format!("({rows} {noun})\n").as_bytes());
        }
        out.push(b'\n');
    }
}

fn width_of_name(column: &Column) -> usize {
    cell::width(column.name.replace('\n', " ").as_bytes())
}

fn pad(spaces: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + spaces, b' ');
}
