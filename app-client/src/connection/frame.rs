//! Cuts the byte stream of a server into protocol messages.
//!
//! A message is handed out as a slice of the read buffer, so no row is ever copied; the buffer
//! grows only for a message that is larger than it, as its bytes arrive, and shrinks afterwards.

use std::io::{self, ErrorKind, Read};

/// Large enough for many of the 8 KiB pieces that PostgreSQL writes a result in.
const BUFFER: usize = 128 * 1024;
/// No message of PostgreSQL is longer: `MaxAllocSize` is 1 GiB.
const LONGEST: usize = 1 << 30;
const HEADER: usize = 5;

/// One message: its type byte and what follows the length.
pub(crate) struct Frame<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
}

pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    longest: usize,
}

impl FrameReader {
    /// `longest` bounds one message: before the login a stranger may be talking.
    pub(crate) fn new(longest: usize) -> Self {
        Self { buffer: vec![0; BUFFER], start: 0, end: 0, longest }
    }

    pub(crate) fn trust(&mut self) {
        self.longest = LONGEST;
    }

    /// The next message, or `None` when nothing arrived within the read timeout of `stream`.
    pub(crate) fn next(&mut self, stream: &mut impl Read) -> io::Result<Option<Frame<'_>>> {
        while self.complete()?.is_none() {
            if !self.fill(stream)? {
                return Ok(None);
            }
        }
        let length = self.complete()?.unwrap_or(HEADER);
        let frame = &self.buffer[self.start..self.start + length];
        self.start += length;
        Ok(Some(Frame { tag: frame[0], body: &frame[HEADER..] }))
    }

    /// Reads once. False when the read timeout passed with nothing to read.
    pub(crate) fn fill(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        self.make_room();
        loop {
            return match stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.end += read;
                    Ok(true)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Ok(false)
                }
                Err(error) => Err(error),
            };
        }
    }

    /// The whole length of the message at the front, once all of it is here.
    fn complete(&self) -> io::Result<Option<usize>> {
        let available = &self.buffer[self.start..self.end];
        let Some(&[_, a, b, c, d]) = available.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length < 4 || length > self.longest {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("a message of {length} bytes")));
        }
        Ok((available.len() > length).then_some(length + 1))
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > BUFFER {
                self.buffer.truncate(BUFFER);
                self.buffer.shrink_to_fit();
            }
        } else if self.end == self.buffer.len() || self.start > BUFFER / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }
}
