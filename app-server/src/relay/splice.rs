//! Where messages begin and end in a read buffer, and what of the buffer is written: mostly all of it as it is.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::End;

/// Kind and whole length of the message that starts at `at`, once its header is there.
pub(super) fn header(buffer: &[u8], at: usize) -> Option<(u8, usize)> {
    let header = buffer.get(at..at + 5)?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    Some((header[0], length + 1))
}

/// What is to be written of a read buffer: mostly all of it as it is, sometimes with messages left out or put in.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) changed: BytesMut,
    /// Up to here the buffer is in `changed`, or is left out.
    pub(super) taken: usize,
}

impl Outgoing {
    pub(super) fn replace(&mut self, buffer: &[u8], from: usize, to: usize, replacement: &[u8]) {
        self.changed.extend_from_slice(&buffer[self.taken..from]);
        self.changed.extend_from_slice(replacement);
        self.taken = to;
    }

    pub(super) async fn write(
        mut self,
        buffer: &[u8],
        end: usize,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        if self.taken == 0 && self.changed.is_empty() {
            writer.write_all(&buffer[..end]).await?;
        } else {
            self.changed.extend_from_slice(&buffer[self.taken..end]);
            writer.write_all(&self.changed).await?;
        }
        writer.flush().await
    }
}

/// How far a read buffer may be written, and what else was found in it.
pub(super) struct Scanned {
    pub(super) outgoing: Outgoing,
    pub(super) end_at: usize,
    pub(super) end: Option<End>,
}

/// Skips what is left of a message that is passed on unseen, and answers where the next one starts.
pub(super) fn pass_on(buffer: &[u8], end_at: &mut usize, passing: &mut usize) -> usize {
    let step = (*passing).min(buffer.len() - *end_at);
    *end_at += step;
    *passing -= step;
    *end_at
}
