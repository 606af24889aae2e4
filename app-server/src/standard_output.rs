//! Standard output, which may be a pipe that nobody reads for a while. A thread of its own writes to it: who is on record waits for
//! that, log lines wait for room, and nothing else of the server waits at all.

use std::io::{self, Write as _};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::log;

/// So many log lines may wait, some hundred KiB; more are left out and counted. Of audit records each session has one piece at most.
const LOG_LINES: u64 = 1000;

/// What is said last has this long to come out.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(crate) type Written = oneshot::Receiver<io::Result<()>>;

enum Piece {
    Log(String),
    Records(Vec<u8>, oneshot::Sender<io::Result<()>>),
}

/// Endless by itself: what bounds it is said with `LOG_LINES`.
static PIECES: LazyLock<mpsc::UnboundedSender<Piece>> = LazyLock::new(|| {
    let (pieces, waiting) = mpsc::unbounded_channel();
    // Without the thread every piece is told that it cannot be written.
    let _ = thread::Builder::new().name("standard-output".to_owned()).spawn(move || write_all(waiting));
    pieces
});
static WAITING_LOG_LINES: AtomicU64 = AtomicU64::new(0);
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Hands a log line over.
pub(crate) fn log_line(line: String) {
    if WAITING_LOG_LINES.fetch_add(1, Ordering::Relaxed) >= LOG_LINES {
        WAITING_LOG_LINES.fetch_sub(1, Ordering::Relaxed);
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    } else if let Err(mpsc::error::SendError(Piece::Log(line))) = PIECES.send(Piece::Log(line)) {
        eprint!("{line}");
    }
}

/// Hands records over; they are written when what is answered says so.
pub(crate) fn records(lines: Vec<u8>) -> Written {
    let (tell, written) = oneshot::channel();
    // Unsent, the sender of the answer is dropped, and that is the answer.
    let _ = PIECES.send(Piece::Records(lines, tell));
    written
}

/// Waits for what has been handed over, but not for a reader that has gone to sleep.
pub(crate) async fn flush() {
    let _ = timeout(LAST_WORDS, records(Vec::new())).await;
}

fn write_all(mut waiting: mpsc::UnboundedReceiver<Piece>) {
    while let Some(piece) = waiting.blocking_recv() {
        match piece {
            Piece::Log(line) => {
                write_log_line(&line);
                WAITING_LOG_LINES.fetch_sub(1, Ordering::Relaxed);
                let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
                if left_out > 0 {
                    write_log_line(&log::text("warning", "log_lines_left_out", json!({ "lines": left_out })));
                }
            }
            Piece::Records(lines, tell) => {
                let mut out = io::stdout().lock();
                let written = out.write_all(&lines).and_then(|()| out.flush());
                // A session that has ended does not wait any more.
                let _ = tell.send(written);
            }
        }
    }
}

fn write_log_line(line: &str) {
    let mut out = io::stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        // Nobody will read stdout any more; stderr is the only place left to say what happened.
        eprint!("{line}");
    }
}
