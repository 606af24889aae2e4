//! The user's pager, for a result that does not fit on the screen: too many lines, or lines too long.

use std::env;
use std::io::{self, ErrorKind, Write};
use std::process::{Child, Command, Stdio};

use terminal_size::{Height, Width};

use super::cell;
use crate::keyboard;

/// How the result at hand is shown.
#[derive(Default)]
pub(super) enum Page {
    /// Nothing of it was written yet.
    #[default]
    Undecided,
    Screen,
    Pager(Pager),
}

pub(super) struct Pager {
    process: Child,
    /// The user has seen enough.
    left: bool,
}

impl Page {
    /// Decides by the first piece that is written: what has begun on the screen goes on there.
    pub(super) fn decide(&mut self, piece: &[u8]) {
        if matches!(self, Self::Undecided) {
            let pager = if fits(piece) { None } else { Pager::start() };
            *self = pager.map_or(Self::Screen, Self::Pager);
        }
    }

    pub(super) fn is_left(&self) -> bool {
        matches!(self, Self::Pager(pager) if pager.left)
    }

    /// Waits until the user leaves the pager.
    pub(super) fn close(&mut self) -> io::Result<()> {
        match std::mem::take(self) {
            Self::Pager(mut pager) => {
                // Its input ends, or it would wait for more.
                drop(pager.process.stdin.take());
                pager.process.wait().map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl Pager {
    /// `None` where there is no pager: then the screen has to do.
    fn start() -> Option<Self> {
        let named = ["PSQL_PAGER", "PAGER"].iter().find_map(|name| env::var(name).ok());
        let command = named.or_else(|| has_less().then(|| "less".to_owned()))?;
        // It reads the keyboard in modes of its own, and longer than the statement runs.
        keyboard::restore();
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).stdin(Stdio::piped());
        if env::var_os("LESS").is_none() {
            // Long lines are cut and scrolled sideways; a table that wraps cannot be read.
            shell.env("LESS", "-S");
        }
        shell.spawn().ok().map(|process| Self { process, left: false })
    }
}

impl Write for Pager {
    /// What the user does not want to see any more is gone, and that is no error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(input) = self.process.stdin.as_mut().filter(|_| !self.left) else { return Ok(bytes.len()) };
        match input.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.left = true;
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn has_less() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join("less").is_file())
}

/// Whether the piece leaves room for the prompt below it, and no line of it wraps.
fn fits(piece: &[u8]) -> bool {
    // Asked for each result: windows change.
    let Some((Width(columns), Height(rows))) = terminal_size::terminal_size() else { return true };
    let mut lines = piece.split(|byte| *byte == b'\n');
    lines.clone().count() <= usize::from(rows) && lines.all(|line| cell::width(line) <= usize::from(columns))
}
