//! Why there is no session, or why there is none any more, in sentences with a next step.

use std::io;

use thiserror::Error;

use crate::password;
use crate::server_message::ServerMessage;

#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("cannot find the host `{host}`: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("{address} accepted the connection but did not get through the greeting: {}", plain(source))]
    Handshake { address: String, source: io::Error },
    #[error("{address} does not offer an encrypted connection, so nothing was sent to it")]
    NoTls { address: String },
    #[error("{address} does not speak the PostgreSQL protocol")]
    NotPostgres { address: String },
    #[error("`{name}` cannot be the name in a certificate; expected a host name or an address")]
    ServerName { name: String },
    #[error("TLS cannot be set up on this machine: {source}")]
    TlsSetup { source: rustls::Error },
    #[error("the encrypted connection to {address} failed: {source}")]
    Tls { address: String, source: rustls::Error },
    #[error("the certificate of {address} is refused: {reason}")]
    Certificate { address: String, reason: String },
    #[error("{origin} holds no certificate of an authority in PEM form")]
    NoAuthority { origin: String },
    #[error(transparent)]
    Password(password::Error),
    #[error("the login was refused: {}", message.headline())]
    Login { message: Box<ServerMessage>, password_from: Option<String> },
    #[error("the server asks for the login method {method}, which app-client does not have")]
    Authentication { method: String },
    #[error("the server asks for the password in clear text over a line that is not encrypted")]
    ClearPassword,
    #[error("the server could not prove that it knows the password, so it may be an impostor")]
    Proof,
    #[error("the server did not answer the login within {limit_s} s")]
    LoginTimeout { limit_s: u64 },
    #[error("the statement contains a NUL byte, which PostgreSQL cannot take")]
    NulInStatement,
    #[error("the connection to the server was lost: {}", plain(source))]
    Lost { source: io::Error },
    #[error("the server broke the protocol with {what}")]
    Protocol { what: String },
}

impl Error {
    pub(crate) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Resolve { .. } => {
                "check the spelling of the host, and that this machine is online".to_owned()
            }
            Self::ServerName { name } if name.contains("://") => {
                "that is a URL: `--url` takes the whole of it".to_owned()
            }
            Self::ServerName { .. } => {
                "is it the host you mean? see `--host`, PGHOST or the file that names it".to_owned()
            }
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
                "nothing listens there: is the server running, and is this its port?".to_owned()
            }
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::TimedOut => {
                "no answer at all usually means a firewall: is your address allowed to reach that port?"
                    .to_owned()
            }
            Self::Handshake { .. } => "is this the port of a PostgreSQL server?".to_owned(),
            Self::NoTls { .. } => {
                "turn TLS on at the server; `--sslmode disable` goes unencrypted, for a network you trust"
                    .to_owned()
            }
            Self::Certificate { reason, .. } if reason.contains("authority") => {
                "name the authority that signed it with `--ca FILE`".to_owned()
            }
            Self::Certificate { reason, .. } if reason.contains("name") || reason.contains("not for") => {
                "if that is the server you mean, give the name in its certificate with `--server-name`"
                    .to_owned()
            }
            Self::Login { message, password_from } => return login_hint(message, password_from.as_deref()),
            Self::Certificate { reason, .. } if reason.contains("expired") => {
                "the server needs a new certificate from who runs it; if the clock of this machine is wrong, set it"
                    .to_owned()
            }
            Self::Lost { .. } | Self::Protocol { .. } => {
                "whether the statement took effect is not known; it is not sent again by itself".to_owned()
            }
            Self::LoginTimeout { .. } => {
                "the server is busy or hangs: `app-client doctor` tests each leg of the way".to_owned()
            }
            Self::ClearPassword => "use an encrypted connection: `--sslmode verify-full`".to_owned(),
            Self::Password(error) => return error.hint(),
            _ => return None,
        };
        Some(text)
    }

    /// The same, when there was no session yet that could be lost.
    pub(super) fn before_login(self, address: &str) -> Self {
        let address = address.to_owned();
        match self {
            Self::Lost { source } if source.kind() == io::ErrorKind::InvalidData => {
                Self::NotPostgres { address }
            }
            Self::Protocol { .. } => Self::NotPostgres { address },
            Self::Lost { source } => Self::Handshake { address, source },
            other => other,
        }
    }

    /// Whether the same login may be let in a moment later: the server starts, stops or is full.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.kind() == io::ErrorKind::ConnectionRefused,
            Self::Handshake { .. } => true,
            Self::Login { message, .. } => is_unavailable(&message.sqlstate),
            _ => false,
        }
    }

    /// Whether another password could help.
    pub(super) fn is_about_password(&self) -> bool {
        match self {
            Self::Login { message, .. } => message.sqlstate.starts_with("28"),
            Self::Proof => true,
            _ => false,
        }
    }

    /// Whether there was a session before this happened.
    pub(crate) fn is_after_login(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::NulInStatement | Self::Protocol { .. })
    }
}

/// admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections.
pub(crate) fn is_unavailable(sqlstate: &str) -> bool {
    matches!(sqlstate, "57P01" | "57P02" | "57P03" | "53300")
}

fn login_hint(message: &ServerMessage, password_from: Option<&str>) -> Option<String> {
    if let Some(hint) = &message.hint {
        return Some(hint.clone());
    }
    match (message.sqlstate.as_str(), password_from) {
        ("28P01", Some(password::PROMPT)) => {
            Some("check the user name, and type the password again".to_owned())
        }
        ("28P01", Some(origin)) => Some(format!("the password came from {origin}: correct it there")),
        (sqlstate, _) if is_unavailable(sqlstate) => {
            Some("the server is starting, draining or full: try again in a moment".to_owned())
        }
        ("28000", _) if message.detail.is_none() => {
            Some("check the user name: `--user`, PGUSER or the file that names it".to_owned())
        }
        ("3D000", _) => Some("name another database with `--database`".to_owned()),
        _ => message.detail.clone(),
    }
}

/// The two ends of a connection that a beginner meets, in words.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed it".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "it was cut".to_owned(),
        _ => error.to_string(),
    }
}
