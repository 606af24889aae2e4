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

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most `piece` bytes a read, then a timeout.
    struct Pieces<'a> {
        bytes: &'a [u8],
        piece: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.bytes.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            let length = self.piece.min(self.bytes.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.bytes[..length]);
            self.bytes = &self.bytes[length..];
            Ok(length)
        }
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [&[tag], length.as_slice(), body].concat()
    }

    #[test]
    fn messages_come_out_whole_however_they_arrive() {
        let bodies = [vec![], vec![1; 10], vec![2; 3 * BUFFER], vec![3; BUFFER - 7], vec![4; 100], vec![]];
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| message(b'D', body)).collect();
        for piece in [1, 2, 5, 8192, BUFFER, usize::MAX] {
            let mut stream = Pieces { bytes: &bytes, piece };
            let mut reader = FrameReader::new(LONGEST);
            for body in &bodies {
                let frame = reader.next(&mut stream).expect("no error").expect("a message");
                assert!(frame.tag == b'D' && frame.body == body, "pieces of {piece}");
            }
            assert!(reader.next(&mut stream).expect("no error").is_none());
            assert_eq!(reader.buffer.len(), BUFFER);
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error_before_anything_is_kept() {
        for length in [0_u32, 3, 5000, u32::MAX] {
            let bytes = [b"E".as_slice(), &length.to_be_bytes()].concat();
            let mut reader = FrameReader::new(4096);
            let read = reader.next(&mut Pieces { bytes: &bytes, piece: 64 });
            assert_eq!(read.err().map(|error| error.kind()), Some(ErrorKind::InvalidData), "{length}");
        }
    }
}
