//! The few HTTP requests answered on the same port: `/healthz` (the process runs) and `/readyz` (it can serve) for balancers, and
//! `/metrics` for who asks from this machine or a configured network.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::session::Services;
use crate::stream::Stream;

/// A balancer's request is a few hundred bytes.
const REQUEST_LIMIT: usize = 8 * 1024;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers one request whose first byte has been read, and closes.
pub(crate) async fn serve(
    mut stream: Stream,
    first: u8,
    peer: SocketAddr,
    services: &Services,
) -> io::Result<()> {
    let Ok(request) = timeout(REQUEST_TIMEOUT, read_head(&mut stream, first)).await else {
        return Ok(());
    };
    let head = request?;
    let (method, path) = requested(&head);
    let (status, body) = match (method, path) {
        (b"GET" | b"HEAD", b"/healthz") => ("200 OK", "ok\n".to_owned()),
        (b"GET" | b"HEAD", b"/readyz") => match services.ready().await {
            Ok(()) => ("200 OK", "ready\n".to_owned()),
            Err(reason) => ("503 Service Unavailable", format!("{reason}\n")),
        },
        // How much is going on is for the operator, not for whoever reaches the port.
        (b"GET" | b"HEAD", b"/metrics") if may_read_metrics(peer, services) => {
            ("200 OK", services.audit.metrics.render(services.guard.open_sessions(), &services.pools))
        }
        (b"GET" | b"HEAD", _) => ("404 Not Found", "there is /healthz and /readyz\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET and HEAD\n".to_owned()),
    };
    let shown = if method == b"HEAD" { "" } else { &body };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{shown}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn may_read_metrics(peer: SocketAddr, services: &Services) -> bool {
    let address = peer.ip().to_canonical();
    address.is_loopback() || services.metrics_from.iter().any(|network| network.contains(address))
}

/// Method and path of a request.
pub(crate) fn requested(head: &[u8]) -> (&[u8], &[u8]) {
    let mut words = head.split(|byte| *byte == b' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    (method, path.split(|byte| *byte == b'?').next().unwrap_or_default())
}

pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin), first: u8) -> io::Result<Vec<u8>> {
    let mut head = vec![first];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > REQUEST_LIMIT || stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}
