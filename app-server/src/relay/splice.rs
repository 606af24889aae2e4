//! Where messages begin and end in a read buffer, and what of the buffer is written: mostly all of it as it is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWrite as _;

use crate::stream::Stream;

/// What is to be written of a read buffer: mostly all of it as it is, sometimes with messages left out or put in. It stays as it
/// is while the writing waits.
#[derive(Default)]
pub(super) struct Outgoing {
    /// What is written instead of the buffer's first `taken` bytes.
    pub(super) changed: BytesMut,
    taken: usize,
    /// How far the buffer may be written.
    pub(super) end_at: usize,
    written: usize,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.end_at == 0 && self.changed.is_empty()
    }

    pub(super) fn replace(&mut self, buffer: &[u8], from: usize, to: usize, replacement: &[u8]) {
        self.changed.extend_from_slice(&buffer[self.taken..from]);
        self.changed.extend_from_slice(replacement);
        self.taken = to;
    }

    /// Writes everything, and takes what was written out of the buffer.
    pub(super) fn poll_write(
        &mut self,
        buffer: &mut BytesMut,
        writer: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.taken > 0 || !self.changed.is_empty() {
            self.changed.extend_from_slice(&buffer[self.taken..self.end_at]);
            self.taken = self.end_at;
        }
        loop {
            let whole =
                if self.changed.is_empty() { &buffer[self.taken..self.end_at] } else { &self.changed };
            let rest = &whole[self.written..];
            if rest.is_empty() {
                break;
            }
            let length = ready!(Pin::new(&mut *writer).poll_write(context, rest))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += length;
        }
        ready!(Pin::new(writer).poll_flush(context))?;
        if self.end_at == buffer.len() {
            buffer.clear();
        } else {
            buffer.advance(self.end_at);
        }
        *self = Self::default();
        Poll::Ready(Ok(()))
    }
}

/// Skips what is left of a message that is passed on unseen, and answers where the next one starts.
pub(crate) fn pass_on(buffer: &[u8], end_at: &mut usize, passing: &mut usize) -> usize {
    let step = (*passing).min(buffer.len() - *end_at);
    *end_at += step;
    *passing -= step;
    *end_at
}
