//! The line of those who wait for a database session of their tier: for so long and no longer, and not without being told.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::stream::Stream;
use crate::wire::ErrorResponse;

/// A client is told why nothing happens when it has waited for this long.
const NOTICE_AFTER: Duration = Duration::from_secs(2);

/// Waits for what `acquiring` gets. `None`: not in time. Whatever the client is told meanwhile comes after `unsent`.
pub(crate) async fn wait<T>(
    client: &mut Stream,
    unsent: &mut BytesMut,
    at_most: Duration,
    acquiring: impl Future<Output = T>,
) -> Option<T> {
    let mut acquiring = pin!(acquiring);
    let in_silence = at_most.min(NOTICE_AFTER);
    if let Ok(acquired) = timeout(in_silence, &mut acquiring).await {
        return Some(acquired);
    }
    if in_silence == at_most {
        return None;
    }
    let notice = "all database sessions of your tier are in use: waiting for one";
    // A client that is gone is noticed when it is answered.
    ErrorResponse::notice(notice).encode(unsent);
    let _ = client.write_all_buf(unsent).await;
    let _ = client.flush().await;
    timeout(at_most - in_silence, acquiring).await.ok()
}

/// What a client is told that waited for longer than it may.
pub(crate) fn too_long() -> ErrorResponse {
    ErrorResponse::fatal(
        "53300",
        "all database sessions of your tier are in use, and none became free in time",
    )
    .with_hint("try again, and keep transactions short")
}
