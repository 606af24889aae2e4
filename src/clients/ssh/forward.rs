//! TCP through a server (RFC 4254, 7.2 "direct-tcpip"): a tunnel with an end on this machine, and the way through a jump host.
//!
//! Each stream has an SSH connection of its own: libssh2 sends one packet after the other, and a slow stream would hold up the rest.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use ssh2::Channel;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Connection, Target, connect};
use crate::error::{Error, Kind};

/// What one reading moves.
const CHUNK: usize = 64 * 1024;

/// Carries the bytes of one connection through another one. Ends when it is dropped.
pub(super) struct Carrier(JoinHandle<()>);

impl Carrier {
    /// A socket whose other end is `host:port` as `way` sees it.
    pub(super) async fn through(way: Connection, host: &str, port: u16) -> Result<(OwnedFd, Self), Error> {
        let channel = way.open(host, port).await?;
        let pair = UnixStream::pair().and_then(|(near, far)| {
            near.set_nonblocking(true)?;
            far.set_nonblocking(true)?;
            Ok((near, tokio::net::UnixStream::from_std(far)?))
        });
        let (near, far) = pair.map_err(|source| Error::io("make a pair of sockets", &source))?;
        // How it ends is seen at the near end.
        let task = tokio::spawn(async move { _ = carry(&way, channel, far).await });
        Ok((OwnedFd::from(near), Carrier(task)))
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A port of this machine that leads through a server to another one. Closed when it is dropped.
pub struct Tunnel {
    pub address: SocketAddr,
    task: JoinHandle<()>,
    failed: Arc<Mutex<Option<Error>>>,
}

impl Tunnel {
    /// Opens a port on loopback that leads to `host:port` as the server of `target` sees it. The way is tried at once.
    pub async fn open(target: Target, host: String, port: u16) -> Result<Self, Error> {
        let first = connect(&target).await?;
        let channel = first.open(&host, port).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(|source| Error::io("listen on a port of this machine", &source))?;
        let address =
            listener.local_addr().map_err(|source| Error::io("listen on a port of this machine", &source))?;
        let failed = Arc::new(Mutex::new(None));
        let task = tokio::spawn(accept(listener, target, host, port, (first, channel), failed.clone()));
        Ok(Tunnel { address, task, failed })
    }

    /// Why the last stream ended badly, if one did.
    pub fn failure(&self) -> Option<Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: Target,
    host: String,
    port: u16,
    first: (Connection, Channel),
    failed: Arc<Mutex<Option<Error>>>,
) {
    // They end with this task, which the tunnel's end aborts.
    let mut streams = tokio::task::JoinSet::new();
    let mut first = Some(first);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(source) => {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Error::io("accept a stream", &source));
                return;
            }
        };
        while streams.try_join_next().is_some() {}
        let (target, host, failed, ready) = (target.clone(), host.clone(), failed.clone(), first.take());
        streams.spawn(async move {
            let carried = async {
                let (connection, channel) = match ready {
                    Some(ready) => ready,
                    None => {
                        let connection = connect(&target).await?;
                        let channel = connection.open(&host, port).await?;
                        (connection, channel)
                    }
                };
                carry(&connection, channel, stream).await
            };
            if let Err(error) = carried.await {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
    }
}

impl Connection {
    /// A channel to `host:port` as the server sees it.
    async fn open(&self, host: &str, port: u16) -> Result<Channel, Error> {
        self.drive("forward", || self.session.channel_direct_tcpip(host, port, None)).await.map_err(|error| {
            if error.retryable {
                return error;
            }
            Error::new(Kind::Unavailable, format!("{} cannot reach {host} port {port}", self.title()))
                .of("ssh", "forward")
                .help(error.message.clone())
                .help(
                    "the address is looked up on that server; its sshd has to allow it (AllowTcpForwarding)",
                )
        })
    }
}

/// Moves bytes both ways until both sides have ended. One that says no more may still be told something (TCP's half-close, RFC 4254,
/// 5.3 `SSH_MSG_CHANNEL_EOF`).
async fn carry(
    connection: &Connection,
    mut channel: Channel,
    near: impl AsyncRead + AsyncWrite,
) -> Result<(), Error> {
    use std::io::{Read, Write};
    let would_block = |source: &std::io::Error| source.kind() == std::io::ErrorKind::WouldBlock;
    let (mut near_reader, mut near_writer) = tokio::io::split(near);
    let (mut to_near, mut to_far) = (Vec::new(), Vec::new());
    let (mut near_speaks, mut far_speaks, mut far_knows) = (true, true, false);
    let mut buffer = vec![0; CHUNK];
    let mut incoming = vec![0; CHUNK];
    loop {
        let mut moved = false;
        if !to_far.is_empty() {
            match channel.write(&to_far) {
                Ok(length) => {
                    to_far.drain(..length);
                    moved |= length > 0;
                }
                Err(again) if would_block(&again) => {}
                // It had said its last word and has now gone altogether.
                Err(_) if !far_speaks => return Ok(()),
                Err(source) => return Err(connection.broken("forward", &source)),
            }
        }
        if !near_speaks && to_far.is_empty() && !far_knows {
            match channel.send_eof().map_err(std::io::Error::from) {
                Ok(()) => far_knows = true,
                Err(again) if would_block(&again) => {}
                Err(_) if !far_speaks => return Ok(()),
                Err(source) => return Err(connection.broken("forward", &source)),
            }
        }
        if far_speaks && to_near.is_empty() {
            match channel.read(&mut buffer) {
                Ok(0) if channel.eof() => {
                    far_speaks = false;
                    // Whoever reads the near end sees its end.
                    _ = near_writer.shutdown().await;
                }
                Ok(length) => {
                    to_near.extend_from_slice(&buffer[..length]);
                    moved |= length > 0;
                }
                Err(again) if would_block(&again) => {}
                Err(source) => return Err(connection.broken("forward", &source)),
            }
        }
        if !far_speaks && !near_speaks {
            return Ok(());
        }
        if moved && to_near.is_empty() {
            continue;
        }
        let far_matters = (far_speaks && to_near.is_empty())
            || !to_far.is_empty()
            || (!near_speaks && !far_knows && to_near.is_empty());
        tokio::select! {
            written = near_writer.write(&to_near), if !to_near.is_empty() => match written {
                Ok(length) if length > 0 => { to_near.drain(..length); }
                // The near end is gone: nobody is left to carry for.
                _ => return Ok(()),
            },
            read = near_reader.read(&mut incoming), if near_speaks && to_far.is_empty() => match read {
                Ok(0) => near_speaks = false,
                Ok(length) => to_far.extend_from_slice(&incoming[..length]),
                Err(_) => return Ok(()),
            },
            ready = connection.ready(), if far_matters => ready?,
        }
    }
}
