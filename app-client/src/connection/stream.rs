//! A byte stream to a server: TCP, TLS over TCP, or a Unix socket; and how one is opened.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::{ClientConnection, StreamOwned};
use socket2::{SockRef, TcpKeepalive};

use super::tls::Encryption;
use super::{Error, Leg};

pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}

impl Stream {
    pub(crate) fn open(
        address: &Address,
        encryption: &Encryption,
        timeout: Duration,
        observe: &mut dyn FnMut(Leg),
    ) -> Result<Self, Error> {
        let stream = match address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)
                    .map_err(|source| Error::Connect { address: address.to_string(), source })?;
                Self::Unix(stream)
            }
            Address::Tcp { host, port } => {
                let tcp = connect(host, *port, timeout, observe)?;
                encrypt(tcp, address, encryption, timeout)?
            }
        };
        observe(Leg::Encrypted { version: stream.tls_version() });
        Ok(stream)
    }

    pub(crate) fn tls_version(&self) -> Option<&'static str> {
        let Self::Tls(tls) = self else { return None };
        Some(match tls.conn.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        })
    }

    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.set_read_timeout(Some(timeout)),
            Self::Tls(tls) => tls.sock.set_read_timeout(Some(timeout)),
            Self::Unix(unix) => unix.set_read_timeout(Some(timeout)),
        }
    }

    pub(crate) fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.set_write_timeout(Some(timeout)),
            Self::Tls(tls) => tls.sock.set_write_timeout(Some(timeout)),
            Self::Unix(unix) => unix.set_write_timeout(Some(timeout)),
        }
    }

    /// The address that answered, so that a cancel request goes to the same server.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.peer_addr().ok(),
            Self::Tls(tls) => tls.sock.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Whether a password sent as it is could be read on the way.
    pub(crate) fn is_private(&self) -> bool {
        match self {
            Self::Tls(_) | Self::Unix(_) => true,
            Self::Tcp(tcp) => tcp.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()),
        }
    }
}

/// A prompt that idles stays known to the balancers and firewalls between, which forget a connection after
/// 350 s (AWS Network Load Balancer) or less; and a statement does not wait for ever on a line that is cut.
fn keep_alive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15))
}

/// Tries every address of `host` in the resolver's order: `localhost` is often ::1 first.
fn connect(
    host: &str,
    port: u16,
    timeout: Duration,
    observe: &mut dyn FnMut(Leg),
) -> Result<TcpStream, Error> {
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|source| Error::Resolve { host: host.to_owned(), source })?
        .collect();
    observe(Leg::Resolved { addresses: addresses.iter().map(|address| address.ip().to_string()).collect() });
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                // A statement is one small packet: waiting to fill it only adds latency.
                let _ = stream.set_nodelay(true);
                // Nor does a line that the system cannot watch keep anybody from using it.
                let _ = SockRef::from(&stream).set_tcp_keepalive(&keep_alive());
                observe(Leg::Connected { peer: address.to_string() });
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    let address = Address::Tcp { host: host.to_owned(), port }.to_string();
    Err(Error::Connect { address, source: last })
}

fn encrypt(
    mut tcp: TcpStream,
    address: &Address,
    encryption: &Encryption,
    timeout: Duration,
) -> Result<Stream, Error> {
    let (tls, required) = match encryption {
        Encryption::Disable => return Ok(Stream::Tcp(tcp)),
        Encryption::IfOffered(tls) => (tls, false),
        Encryption::Required(tls) => (tls, true),
    };
    let address = address.to_string();
    let talk = |source| Error::Handshake { address: address.clone(), source };
    tcp.set_read_timeout(Some(timeout)).and_then(|()| tcp.set_write_timeout(Some(timeout))).map_err(talk)?;
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    tcp.write_all(&request).map_err(talk)?;
    // Exactly one byte: anything sent along with it would be clear text posing as TLS.
    let mut answer = [0];
    tcp.read_exact(&mut answer).map_err(talk)?;
    match answer[0] {
        b'S' => {}
        b'N' if required => return Err(Error::NoTls { address }),
        b'N' => return Ok(Stream::Tcp(tcp)),
        _ => return Err(Error::NotPostgres { address }),
    }
    let connection = ClientConnection::new(tls.config.clone(), tls.server_name.clone())
        .map_err(|source| tls.explain(&address, source))?;
    let mut stream = StreamOwned::new(connection, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| tls.explain_io(&address, error))?;
    }
    Ok(Stream::Tls(Box::new(stream)))
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}
