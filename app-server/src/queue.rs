//! The line of those who wait for a database session of their tier: for so long and no longer, and not without being told.

use std::future::Future;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::stream::Stream;
use crate::wire::ErrorResponse;

/// A client is told why nothing happens when it has waited for this long.
const NOTICE_AFTER: Duration = Duration::from_secs(2);

/// Waits for what `acquiring` gets. `None`: not in time.
pub(crate) async fn wait<T>(
    client: &mut Stream,
    at_most: Duration,
    acquiring: impl Future<Output = T>,
) -> Option<T> {
    let acquiring = timeout(at_most, acquiring);
    tokio::pin!(acquiring);
    let acquired = match timeout(NOTICE_AFTER, &mut acquiring).await {
        Ok(acquired) => acquired,
        Err(_) => {
            let notice = "all database sessions of your tier are in use: waiting for one";
            // A client that is gone is noticed when it is answered.
            let _ = client.write_all(&ErrorResponse::notice(notice).encoded()).await;
            let _ = client.flush().await;
            acquiring.await
        }
    };
    acquired.ok()
}

/// What a client is told that waited for longer than it may.
pub(crate) fn too_long() -> ErrorResponse {
    ErrorResponse::fatal(
        "53300",
        "all database sessions of your tier are in use, and none became free in time",
    )
    .with_hint("try again, and keep transactions short")
}
