//! Accepts connections and tells by the first byte what each one speaks: 0x16 TLS, a letter HTTP, 0x00 PostgreSQL. One that leaves
//! without a byte is a balancer's probe: it is not worth a line.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use crate::session::{self, Services};
use crate::stream::Stream;
use crate::workers::Workers;
use crate::{log, proxy_protocol};

/// The first byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// Who has too many connections has this long to hear of it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves until `alive` has no sender left. Each connection holds one, so that it is seen to end.
pub(crate) async fn serve(
    listener: TcpListener,
    mut workers: Workers,
    services: Arc<Services>,
    alive: mpsc::WeakSender<()>,
) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                let Some(alive) = alive.upgrade() else { return };
                let services = Arc::clone(&services);
                workers.spawn(socket, async move |socket| {
                    connection(socket, peer, services).await;
                    drop(alive);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: the next accept would fail at once, so wait for some to be freed.
                log::error("accept_failed", json!({ "error": error.to_string() }));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(socket: io::Result<TcpStream>, mut peer: SocketAddr, services: Arc<Services>) {
    let served = async {
        let mut socket = socket?;
        socket.set_nodelay(true)?;
        // One for all that comes before the accepted password: slowness in each step adds up to no more.
        let deadline = Instant::now() + services.strangers.login_timeout;
        if services.proxy_from.iter().any(|network| network.contains(peer.ip())) {
            match timeout_at(deadline, proxy_protocol::read_header(&mut socket, peer)).await {
                Ok(client) => peer = client?,
                Err(_) => return Ok(()),
            }
        }
        let mut first = [0];
        let Ok(peeked) = timeout_at(deadline, socket.peek(&mut first)).await else {
            return Ok(());
        };
        if peeked? == 0 {
            return Ok(());
        }
        let Some(mut place) = services.guard.open_connection(peer.ip().to_canonical()) else {
            return Ok(());
        };
        let refusal = place.refusal.take();
        let mut deadline = deadline;
        if refusal.is_some() {
            log::warning("connection_refused", json!({ "client": peer.to_string() }));
            deadline = deadline.min(Instant::now() + REFUSAL_TIMEOUT);
        }
        let tls = services.tls();
        let mut stream = match (first[0], &tls) {
            // Boxed, so that a session has no room for it in all its time.
            (TLS_HANDSHAKE, Some(tls)) => {
                match timeout_at(deadline, Box::pin(tls.acceptor.accept(socket))).await {
                    Ok(accepted) => Stream::Tls(Box::new(accepted?.into())),
                    Err(_) => return Ok(()),
                }
            }
            _ => Stream::Clear(socket),
        };
        let Ok(first) = timeout_at(deadline, stream.read_u8()).await else {
            return Ok(());
        };
        match first? {
            // Others than PostgreSQL would not understand it.
            1.. if refusal.is_some() => Ok(()),
            letter if letter.is_ascii_alphabetic() => {
                Box::pin(crate::http::serve(stream, letter, peer, &services)).await
            }
            0 => session::serve(stream, peer, services, tls, deadline, refusal).await,
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "neither PostgreSQL, TLS nor HTTP")),
        }
    };
    let served: io::Result<()> = served.await;
    if let Err(error) = served
        && !matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
    {
        log::info("connection_failed", json!({ "client": peer.to_string(), "error": error.to_string() }));
    }
}
