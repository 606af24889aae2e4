//! What goes to stdout: the rows of a result in one of the formats, through one large buffer.

mod aligned;
pub(crate) mod cell;
mod csv;
mod expanded;
mod json;
mod markdown;
mod pager;
mod row;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

pub(crate) use row::{Column, RowBuffer, columns};

use aligned::Aligned;
use csv::Csv;
use expanded::Expanded;
use json::Json;
use markdown::Markdown;
use pager::Page;
use row::Row;

/// A write per 64 KiB costs next to nothing, and the first rows do not wait for it: see `flush`.
const BUFFER: usize = 64 * 1024;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) format: Format,
    /// No header, no footer, no command tags.
    pub(crate) tuples_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Aligned,
    Expanded,
    Csv,
    Json,
    Ndjson,
    Markdown,
}

impl Style {
    /// Formats for programs keep stdout for data: no command tags.
    pub(crate) fn shows_tags(self) -> bool {
        matches!(self.format, Format::Aligned | Format::Expanded) && !self.tuples_only
    }
}

/// Writes one result. Called with `begin` once, `row` for each, `end` once.
pub(crate) trait RowWriter {
    fn row(&mut self, row: Row<'_>, out: &mut Vec<u8>);
    /// Nothing came for a moment: what is held back should be let go.
    fn idle(&mut self, _out: &mut Vec<u8>) {}
    /// No more rows come, and how many there would have been is not known.
    fn abandon(&mut self, _out: &mut Vec<u8>) {}
    fn end(&mut self, rows: u64, out: &mut Vec<u8>);
}

pub(crate) struct Output {
    stdout: File,
    /// Where results go instead of stdout.
    file: Option<File>,
    buffer: Vec<u8>,
    pub(crate) style: Style,
    /// What stands for NULL in a table for people; in the other formats it has a form of its own.
    pub(crate) null: String,
    /// Whether somebody watches.
    screen: bool,
    /// Whether a result that is larger than the screen goes to the pager.
    pub(crate) paging: bool,
    page: Page,
    /// Whether what was written last ended its line.
    line_ended: bool,
}

impl Output {
    pub(crate) fn stdout(style: Style) -> io::Result<Self> {
        let stdout = io::stdout();
        let screen = stdout.is_terminal();
        // The file itself: the standard library's handle would look for newlines in every write.
        let stdout = File::from(stdout.as_fd().try_clone_to_owned()?);
        Ok(Self {
            stdout,
            file: None,
            buffer: Vec::with_capacity(2 * BUFFER),
            style,
            null: String::new(),
            screen,
            paging: false,
            page: Page::default(),
            line_ended: true,
        })
    }

    /// Whether the rows go to a screen.
    pub(crate) fn is_watched(&self) -> bool {
        self.screen && self.file.is_none()
    }

    /// Whether a line about the statement would stand below the rows, for the next one to take its place.
    pub(crate) fn has_a_line_below(&self) -> bool {
        !self.is_watched() || (self.line_ended && !matches!(self.page, Page::Pager(_)))
    }

    /// Whether rows wait to be written.
    pub(crate) fn is_pending(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Results go into `file` from here on; gives where they went before.
    pub(crate) fn redirect(&mut self, file: File) -> Option<File> {
        self.file.replace(file)
    }

    /// Undoes `redirect`; without a file, results go to stdout.
    pub(crate) fn restore(&mut self, before: Option<File>) {
        self.file = before;
    }

    pub(crate) fn is_redirected(&self) -> bool {
        self.file.is_some()
    }

    /// Whether the user has left the pager before the end of the result.
    pub(crate) fn is_left(&self) -> bool {
        self.page.is_left()
    }

    /// The answer is over: waits for the pager, if it was needed.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let flushed = self.flush();
        flushed.and(self.page.close())
    }

    /// Starts a result with these columns.
    pub(crate) fn begin(&mut self, columns: Vec<Column>) -> Box<dyn RowWriter> {
        let Style { format, tuples_only } = self.style;
        match format {
            Format::Aligned => {
                let (page, patience) = match self.is_watched() {
                    // Asked for each result: windows change.
                    true => (screen_rows(), Duration::from_millis(50)),
                    // Nobody watches: the widths must not depend on how fast the server was.
                    false => (aligned::SAMPLE, Duration::MAX),
                };
                Box::new(Aligned::new(columns, page, patience, tuples_only, &self.null))
            }
            Format::Expanded => Box::new(Expanded::new(&columns, tuples_only, &self.null)),
            Format::Csv => Box::new(Csv::new(&columns, tuples_only, &mut self.buffer)),
            Format::Json => Box::new(Json::array(&columns, &mut self.buffer)),
            Format::Ndjson => Box::new(Json::lines(&columns)),
            Format::Markdown => Box::new(Markdown::new(&columns, &mut self.buffer)),
        }
    }

    pub(crate) fn row(&mut self, writer: &mut dyn RowWriter, row: Row<'_>) -> io::Result<()> {
        writer.row(row, &mut self.buffer);
        self.spill()
    }

    /// Nothing came for a moment: what is held back for its widths goes on, if it waited long enough.
    pub(crate) fn let_go(&mut self, writer: Option<&mut (dyn RowWriter + 'static)>) {
        if let Some(writer) = writer {
            writer.idle(&mut self.buffer);
        }
    }

    pub(crate) fn end(&mut self, writer: &mut dyn RowWriter, rows: u64) -> io::Result<()> {
        writer.end(rows, &mut self.buffer);
        self.spill()
    }

    /// The result ends before its end: shows the rows that were held back, without a footer.
    pub(crate) fn abandon(&mut self, writer: &mut dyn RowWriter) -> io::Result<()> {
        writer.abandon(&mut self.buffer);
        self.spill()
    }

    /// A result that this program made itself; `finish` shows it.
    pub(crate) fn table(&mut self, columns: Vec<Column>, rows: &[Vec<Option<String>>]) -> io::Result<()> {
        let width = columns.len();
        let mut writer = self.begin(columns);
        let mut buffer = RowBuffer::default();
        for cells in rows {
            let body = row::encode(cells);
            if let Some(row) = buffer.read(&body, width) {
                self.row(writer.as_mut(), row)?;
            }
        }
        self.end(writer.as_mut(), rows.len() as u64)
    }

    /// Bytes that are output as they are: a COPY, a command tag.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.spill()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            // CSV, JSON and COPY carry what the data holds; a screen must not obey it.
            let shown = if self.is_watched() {
                cell::harmless(&self.buffer)
            } else {
                Cow::Borrowed(self.buffer.as_slice())
            };
            if self.paging && self.screen && self.file.is_none() {
                self.page.decide(&shown);
            }
            let written = match (&mut self.file, &mut self.page) {
                (Some(file), _) => file.write_all(&shown),
                (None, Page::Pager(pager)) => pager.write_all(&shown),
                (None, _) => self.stdout.write_all(&shown),
            };
            self.line_ended = shown.ends_with(b"\n");
            drop(shown);
            self.buffer.clear();
            // One huge cell should not hold its memory for the rest of the session.
            self.buffer.shrink_to(2 * BUFFER);
            written?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }
}

fn screen_rows() -> usize {
    let height =
        terminal_size::terminal_size().map_or(24, |(_, terminal_size::Height(rows))| usize::from(rows));
    height.max(10)
}
