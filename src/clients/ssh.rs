//! Connections to SSH servers: libssh2 without blocking, driven on the runtime, so that Ctrl-C, a timeout and a server that says
//! nothing end every wait. The host key is checked before a byte of authentication is sent.

mod config;
mod exec;
mod forward;
mod host_key;
mod login;
mod transfer;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ssh2::{BlockDirections, ErrorCode, MethodType, Session};
use tokio::io::Interest;
use tokio::net::TcpStream;

pub use config::Config;
pub use exec::{Command, Ended, Kept, Output, Stdin, quoted};
pub use forward::Tunnel;
pub use host_key::{HostKeys, fingerprint};
pub use transfer::{Far, Local};

use crate::error::{Error, Kind};
use crate::secret::Secret;

/// So many keep-alives in a row without a byte from the server mean that it is gone (OpenSSH's ServerAliveCountMax).
const SILENCE: u32 = 3;

/// AES-GCM first, which processors have instructions for. CBC, RC4 and 3DES, which libssh2 would take as well, are not among them.
const CIPHERS: &str = "aes256-gcm@openssh.com,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";

/// For the ciphers that do not bring their own; without MD5 and SHA-1.
const MACS: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512";

/// libssh2's code for "would block" (libssh2.h, LIBSSH2_ERROR_EAGAIN).
const AGAIN: i32 = -37;

/// Where and as whom to connect, and how the server is known.
#[derive(Debug, Clone)]
pub struct Target {
    /// As the user named it: an address, a name, an alias.
    pub title: String,
    pub hostname: String,
    pub port: u16,
    pub user: String,
    pub identities: Vec<PathBuf>,
    /// Whether only `identities` may be offered, and not every key of the agent.
    pub identities_only: bool,
    pub passphrase: Option<Secret>,
    pub host_keys: HostKeys,
    /// For the connection with its login.
    pub connect_timeout: Duration,
    /// How long the server may say nothing before it is asked whether it is there.
    pub keep_alive: Duration,
    /// The servers on the way, in order.
    pub jumps: Vec<Target>,
}

/// A session with an SSH server, logged in.
pub struct Connection {
    session: Session,
    socket: OwnedFd,
    title: String,
    keep_alive: Duration,
    /// Keep-alives since the server was last heard.
    silent: AtomicU32,
    running: Option<exec::Running>,
    /// What carries the bytes where there are servers on the way; ends with the connection.
    _carrier: Option<forward::Carrier>,
}

/// Connects and logs in.
///
/// Fails with kind `unavailable` or `timeout` where nothing answers, with `denied` where the host key is not the known one (code
/// `HostKeyChanged`, `HostKeyUnknown`, `HostKeyRevoked`) or no key is accepted (code `AuthenticationFailed`).
pub async fn connect(target: &Target) -> Result<Connection, Error> {
    let mut way: Option<Connection> = None;
    for hop in target.jumps.iter().chain([target]) {
        let connected = tokio::time::timeout(hop.connect_timeout, connect_one(hop, way.take())).await;
        way = Some(connected.map_err(|_| {
            Error::new(
                Kind::Timeout,
                format!("{} did not answer in {} s", hop.title, hop.connect_timeout.as_secs()),
            )
            .of("ssh", "connect")
            .retryable(true)
            .help(format!("tried {} port {}", hop.hostname, hop.port))
        })??);
    }
    way.ok_or_else(|| Error::internal("a way of no hops"))
}

async fn connect_one(target: &Target, way: Option<Connection>) -> Result<Connection, Error> {
    let (socket, carrier) = match way {
        None => {
            let stream = TcpStream::connect((target.hostname.as_str(), target.port))
                .await
                .and_then(|stream| stream.set_nodelay(true).and_then(|()| stream.into_std()))
                .map_err(|source| unreachable(target, &source))?;
            (OwnedFd::from(stream), None)
        }
        Some(way) => {
            let (near, carrier) = forward::Carrier::through(way, &target.hostname, target.port).await?;
            (near, Some(carrier))
        }
    };
    let mut session = Session::new().map_err(|error| Error::internal(format!("libssh2: {error}")))?;
    let preferred = target.host_keys.preferred(target, &session)?;
    session
        .method_pref(MethodType::HostKey, &preferred)
        .map_err(|error| Error::internal(format!("libssh2 takes no host key of {preferred}: {error}")))?;
    for (direction, methods) in [
        (MethodType::CryptCs, CIPHERS),
        (MethodType::CryptSc, CIPHERS),
        (MethodType::MacCs, MACS),
        (MethodType::MacSc, MACS),
    ] {
        session
            .method_pref(direction, methods)
            .map_err(|error| Error::internal(format!("libssh2 takes none of {methods}: {error}")))?;
    }
    session.set_tcp_stream(socket.try_clone().map_err(|source| unreachable(target, &source))?);
    session.set_blocking(false);
    session.set_keepalive(true, u32::try_from(target.keep_alive.as_secs()).unwrap_or(u32::MAX));
    let connection = Connection {
        session,
        socket,
        title: target.title.clone(),
        keep_alive: target.keep_alive,
        silent: AtomicU32::new(0),
        running: None,
        _carrier: carrier,
    };
    let mut session = connection.session.clone();
    connection.drive("connect", || session.handshake()).await.map_err(|error| {
        error.help(format!("{} port {} has to be an SSH server", target.hostname, target.port))
    })?;
    target.host_keys.check(target, &connection.session)?;
    login::login(&connection, target).await?;
    Ok(connection)
}

fn unreachable(target: &Target, source: &std::io::Error) -> Error {
    let mut error = Error::new(
        Kind::Unavailable,
        format!("cannot reach {} port {}: {source}", target.hostname, target.port),
    )
    .of("ssh", "connect")
    .retryable(true);
    if target.title != target.hostname {
        error = error.help(format!("`{}` stands for {}", target.title, target.hostname));
    }
    error
}

impl Connection {
    /// The server as the user named it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether the server still serves this session: it opens a channel, and nothing runs in it.
    pub async fn answers(&self) -> bool {
        let asked = async {
            let mut channel = self.drive("keep-alive", || self.session.channel_session()).await?;
            self.drive("keep-alive", || channel.close()).await
        };
        tokio::time::timeout(self.keep_alive, asked).await.is_ok_and(|answer| answer.is_ok())
    }

    /// Repeats an operation of libssh2 until it no longer would block.
    async fn drive<T>(
        &self,
        operation: &str,
        mut attempt: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, Error> {
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) if error.code() == ErrorCode::Session(AGAIN) => self.ready().await?,
                Err(error) => return Err(self.failure(operation, &error)),
            }
        }
    }

    /// Waits until the socket can do what libssh2 last wanted of it; asks a server that says nothing whether it is there.
    async fn ready(&self) -> Result<(), Error> {
        let interest = match self.session.block_directions() {
            BlockDirections::Outbound => Interest::WRITABLE,
            BlockDirections::Both => Interest::READABLE | Interest::WRITABLE,
            BlockDirections::Inbound | BlockDirections::None => Interest::READABLE,
        };
        // Registered anew for each wait: that tells what is ready now, also what libssh2 has left unread in the kernel.
        // Also where it is the socket of a pair: only its readiness is asked for.
        let socket = self
            .socket
            .try_clone()
            .and_then(|socket| TcpStream::from_std(socket.into()))
            .map_err(|source| Error::io("wait for a socket", &source))?;
        loop {
            match tokio::time::timeout(self.keep_alive, socket.ready(interest)).await {
                Ok(Ok(ready)) => {
                    if ready.is_readable() {
                        self.silent.store(0, Ordering::Relaxed);
                    }
                    return Ok(());
                }
                Ok(Err(source)) => return Err(Error::io("wait for a socket", &source)),
                Err(_) => {
                    let silent = self.silent.fetch_add(1, Ordering::Relaxed);
                    if silent >= SILENCE {
                        let silence = self.keep_alive * (SILENCE + 1);
                        return Err(Error::new(
                            Kind::Unavailable,
                            format!("{} has not been heard for {} s", self.title, silence.as_secs()),
                        )
                        .of("ssh", "keep-alive")
                        .retryable(true));
                    }
                    // One that cannot be sent is as good as one without an answer.
                    _ = self.session.keepalive_send();
                }
            }
        }
    }

    fn failure(&self, operation: &str, error: &ssh2::Error) -> Error {
        let lost = matches!(
            error.code(),
            // libssh2.h: BANNER_RECV, SOCKET_SEND, SOCKET_DISCONNECT, SOCKET_TIMEOUT, SOCKET_RECV
            ErrorCode::Session(-2 | -7 | -13 | -30 | -43)
        );
        let message = if lost {
            format!("the connection to {} was lost: {}", self.title, error.message())
        } else {
            format!("{}: {}", self.title, error.message())
        };
        let kind = if lost { Kind::Unavailable } else { Kind::Internal };
        Error::new(kind, message).of("ssh", operation).retryable(lost)
    }

    /// What reading from or writing to a channel gave, where it was no "would block".
    fn broken(&self, operation: &str, source: &std::io::Error) -> Error {
        Error::new(Kind::Unavailable, format!("the connection to {} was lost: {source}", self.title))
            .of("ssh", operation)
            .retryable(true)
    }
}
