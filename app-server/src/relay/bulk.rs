//! How answers are read. PostgreSQL writes a long one in pieces of 8 KiB, and reading and writing each of them on its own costs twice
//! what the same bytes cost in a few large pieces: the kernel is told to wake us for many at once.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, Sleep, sleep};

use crate::stream::Stream;

/// One read of an answer that is not long.
const SHORT_READ: usize = 8 * 1024;
/// One read of a long answer.
const LONG_READ: usize = 256 * 1024;
/// What a long answer is gathered to. Larger pieces cost no less (measured: `benches/app-server`).
const GATHERED: i32 = 64 * 1024;
/// The end of a long answer, which is shorter than that, is read after this. The runtime's timers tell milliseconds apart.
const PATIENCE: Duration = Duration::from_millis(1);
/// After this many reads in a row that were full, there is more to come.
const FULL_READS: u32 = 4;

#[derive(Default)]
pub(super) struct Bulk {
    full_reads: u32,
    /// The kernel wakes us for `GATHERED` bytes, or this does.
    gathering: Option<Pin<Box<Sleep>>>,
    /// It took too long: what is there is read.
    is_impatient: bool,
}

impl Bulk {
    pub(super) fn poll_read(
        &mut self,
        database: &mut Stream,
        buffer: &mut BytesMut,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let is_long = self.full_reads >= FULL_READS;
        buffer.reserve(if is_long { LONG_READ } else { SHORT_READ });
        if let Poll::Ready(length) = pin!(database.read_buf(buffer)).poll(context) {
            let length = length?;
            self.is_impatient = false;
            if length < SHORT_READ {
                self.stop(database);
            } else {
                self.full_reads = self.full_reads.saturating_add(1);
                if let Some(patience) = &mut self.gathering {
                    patience.as_mut().reset(Instant::now() + PATIENCE);
                }
            }
            return Poll::Ready(Ok(length));
        }
        if is_long && !self.is_impatient {
            // Where the kernel does not know how, each piece is read on its own.
            if self.gathering.is_none() && database.set_low_water(GATHERED).is_ok() {
                self.gathering = Some(Box::pin(sleep(PATIENCE)));
            }
            if let Some(patience) = &mut self.gathering {
                ready!(patience.as_mut().poll(context));
                self.is_impatient = true;
                self.gathering = None;
                // From now on the kernel wakes us for what is there already.
                database.set_low_water(1)?;
            }
        }
        Poll::Pending
    }

    /// The answer has ended, or is not that long after all.
    pub(super) fn stop(&mut self, database: &Stream) {
        self.full_reads = 0;
        if self.gathering.take().is_some() {
            // It was set before, so it can be set again.
            let _ = database.set_low_water(1);
        }
    }
}
