//! What a program on a server writes: kept, cut into lines, and freed of the mark of its process group.

use std::fs::File;

/// So much of an output is kept in memory: as much as a text of a playbook may hold.
const KEPT: usize = 16 * 1024 * 1024;

/// A line that is longer is shown in parts.
const LONGEST_LINE: usize = 16 * 1024;

/// A program says what it has to say at its start long before this.
const MARKER_WITHIN: usize = 64 * 1024;

/// Where an output goes while it comes.
pub struct Output<'a> {
    /// Gets each line, without control characters.
    pub line: Option<&'a mut (dyn FnMut(&str) + Send)>,
    /// Gets how many bytes were sent or received so far.
    pub moved: Option<&'a mut (dyn FnMut(u64) + Send)>,
    /// Takes standard output instead of memory.
    pub file: Option<&'a mut File>,
}

impl Output<'_> {
    pub fn unseen() -> Self {
        Output { line: None, moved: None, file: None }
    }
}

/// An output: its first [`KEPT`] bytes, and how many there were.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    pub bytes: Vec<u8>,
    pub total: u64,
}

impl Kept {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = KEPT - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub fn is_whole(&self) -> bool {
        self.total == self.bytes.len() as u64
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Takes the line with the number of the process group out of standard error.
pub(super) struct Marker {
    token: String,
    held: Vec<u8>,
    pub group: Option<u32>,
    done: bool,
}

impl Marker {
    pub(super) fn new(token: String) -> Self {
        Marker { token, held: Vec::new(), group: None, done: false }
    }

    /// What is left of `bytes` for the reader.
    pub(super) fn strip(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.done {
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        let start = self.held.windows(self.token.len()).position(|part| part == self.token.as_bytes());
        if let Some(start) = start
            && let Some(length) = self.held[start..].iter().position(|byte| *byte == b'\n')
        {
            let number =
                String::from_utf8_lossy(&self.held[start + self.token.len()..start + length]).into_owned();
            self.group = number.trim().parse().ok();
            self.done = true;
            self.held.drain(start..=start + length);
        } else if start.is_none() && self.held.len() > MARKER_WITHIN {
            self.done = true;
        }
        if self.done { std::mem::take(&mut self.held) } else { Vec::new() }
    }

    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// Cuts an output into lines that a terminal can show.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    pub(super) fn take(&mut self, bytes: &[u8], line: &mut (dyn FnMut(&str) + Send)) {
        for byte in bytes {
            if matches!(byte, b'\n' | b'\r') || self.0.len() >= LONGEST_LINE {
                self.end(line);
            }
            if !matches!(byte, b'\n' | b'\r') {
                self.0.push(*byte);
            }
        }
    }

    pub(super) fn end(&mut self, line: &mut (dyn FnMut(&str) + Send)) {
        if !self.0.is_empty() {
            let shown: String =
                String::from_utf8_lossy(&self.0).chars().filter(|c| *c == '\t' || !c.is_control()).collect();
            line(&shown);
            self.0.clear();
        }
    }
}
