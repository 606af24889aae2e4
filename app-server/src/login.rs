//! Finds out who a client is: the start-up packet, and the SCRAM exchange against the account's verifier.
//!
//! A user name is the account's e-mail address in any case. A wrong password and an unknown address are told apart neither by what
//! is answered nor by the work done for it; the log and the audit have the reason.

use std::io;

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::accounts::Account;
use crate::allow_list::is_safe_encoding;
use crate::cancel::KeyLength;
use crate::client_settings::{FOLLOWED, Setting};
use crate::scram::{self, Exchange, ScramError, Verifier};
use crate::wire::{ErrorResponse, put_message, put_text, read_login_message, take_text};

/// AuthenticationOk, among the messages of a login.
const OK: u32 = 0;

/// Of protocol 3: what clients may ask for since PostgreSQL 18. Version 3.1 was never used.
const NEWEST_MINOR: u16 = 2;

/// What a client asked for in its start-up packet.
#[derive(Debug)]
pub(crate) struct Startup {
    pub(crate) user: String,
    /// To be passed to the database.
    pub(crate) settings: Vec<Setting>,
    /// Protocol 3.2 has room for a longer cancel key.
    pub(crate) key_length: KeyLength,
    /// The answer to a newer protocol version or to protocol extensions, if it needs one.
    pub(crate) negotiate: Option<BytesMut>,
}

impl Startup {
    /// Reads a start-up packet that begins with the protocol version. `served` is the name of our database.
    pub(crate) fn parse(packet: &[u8], served: &str) -> Result<Self, ErrorResponse> {
        let malformed = || ErrorResponse::fatal("08P01", "malformed start-up packet");
        let (version, mut rest) = packet.split_first_chunk::<4>().ok_or_else(malformed)?;
        let (major, minor) =
            (u16::from_be_bytes([version[0], version[1]]), u16::from_be_bytes([version[2], version[3]]));
        if major != 3 {
            let message = format!("protocol version {major}.{minor} is not spoken here: expected 3.0 or 3.2");
            return Err(ErrorResponse::fatal("0A000", message));
        }
        let (mut user, mut database) = (None, None);
        let (mut settings, mut extensions) = (Vec::new(), Vec::new());
        loop {
            let name = take_text(&mut rest).ok_or_else(malformed)?;
            if name.is_empty() {
                break;
            }
            let value = take_text(&mut rest).ok_or_else(malformed)?;
            let name = std::str::from_utf8(name).map_err(|_| malformed())?;
            let value = std::str::from_utf8(value).map_err(|_| malformed())?;
            match name.to_ascii_lowercase().as_str() {
                "user" => user = Some(value),
                "database" => database = Some(value),
                "replication" if ["false", "off", "no", "0"].contains(&value) => {}
                "replication" => return Err(refused("replication connections are not served")),
                "options" if value.trim().is_empty() => {}
                "options" => {
                    return Err(
                        refused("start-up `options` are not accepted").with_hint("use SET after the login")
                    );
                }
                lower if lower.starts_with("_pq_.") => extensions.push(name),
                // For every tier: which one it is shows only after the login.
                "client_encoding" if !is_safe_encoding(value) => {
                    return Err(refused(format!("client_encoding `{value}` is not served"))
                        .with_hint("it may be UTF8 or an encoding of one byte, such as LATIN1"));
                }
                lower if FOLLOWED.contains(&lower) => settings.push((lower.to_owned(), value.to_owned())),
                _ => {
                    return Err(refused(format!("start-up parameter `{name}` is not accepted"))
                        .with_hint(format!("accepted are user, database, {}", FOLLOWED.join(", "))));
                }
            }
        }
        let user = user.filter(|user| !user.is_empty()).ok_or_else(|| {
            ErrorResponse::fatal("28000", "no user name in the start-up packet")
                .with_hint("the user name is your e-mail address")
        })?;
        // A client that names no database sends the user's name, or nothing.
        if let Some(database) = database.filter(|database| ![served, user, ""].contains(database)) {
            return Err(ErrorResponse::fatal("3D000", format!("database \"{database}\" does not exist"))
                .with_hint(format!("this server serves the database `{served}`")));
        }
        let spoken = minor.min(NEWEST_MINOR);
        let negotiate = (minor > spoken || !extensions.is_empty()).then(|| {
            let mut out = BytesMut::new();
            put_message(&mut out, b'v', |body| {
                body.put_u32(3 << 16 | u32::from(spoken));
                body.put_u32(
                    u32::try_from(extensions.len()).expect("a start-up packet holds at most 10,000 bytes"),
                );
                extensions.iter().for_each(|extension| put_text(body, extension));
            });
            out
        });
        let key_length = if spoken >= 2 { KeyLength::Long } else { KeyLength::Short };
        Ok(Self { user: user.to_owned(), settings, key_length, negotiate })
    }
}

fn refused(message: impl Into<String>) -> ErrorResponse {
    ErrorResponse::fatal("0A000", message)
}

/// How a login failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The client left, or the connection broke.
    #[error(transparent)]
    Connection(#[from] io::Error),
    /// `reason` is for the audit, `answer` for the client.
    #[error("{reason}")]
    Refused { reason: String, answer: ErrorResponse },
}

/// How a person proves to know the password.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Method<'a> {
    /// By SCRAM-SHA-256, which the client may bind to `certificate_hash` under TLS.
    Scram { certificate_hash: Option<&'a [u8]> },
    /// By sending it, for drivers that know no SCRAM. Only ever inside TLS.
    Password,
}

/// Checks that somebody knows a password, and answers the messages that say so to the client: they are sent with what comes next. `account` is what the user name stands for, if it does.
pub(crate) async fn authenticate<S>(
    stream: &mut S,
    user: &str,
    account: Option<&Account>,
    mock_salt_key: &[u8],
    method: Method<'_>,
) -> Result<BytesMut, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let known = account.and_then(|account| Verifier::parse(&account.verifier));
    let verifier = known.unwrap_or_else(|| Verifier::mock(mock_salt_key, &user.to_lowercase()));

    let wrong_password = || LoginError::Refused {
        reason: if account.is_some() { "wrong password" } else { "unknown user" }.to_owned(),
        answer: ErrorResponse::fatal("28P01", format!("password authentication failed for user \"{user}\"")),
    };
    let certificate_hash = match method {
        Method::Scram { certificate_hash } => certificate_hash,
        Method::Password => {
            check_password(stream, verifier, wrong_password).await?;
            check_state(account)?;
            let mut out = BytesMut::new();
            put_request(&mut out, OK, |_| {});
            return Ok(out);
        }
    };
    send(stream, 10, |body| {
        if certificate_hash.is_some() {
            put_text(body, scram::MECHANISM_PLUS);
        }
        put_text(body, scram::MECHANISM);
        body.put_u8(0);
    })
    .await?;
    let body = read_password_message(stream).await?;
    let mut rest = body.as_slice();
    let mechanism = take_text(&mut rest).unwrap_or_default();
    let plus = certificate_hash.is_some() && mechanism == scram::MECHANISM_PLUS.as_bytes();
    if !plus && mechanism != scram::MECHANISM.as_bytes() {
        return Err(protocol_violation("a SASL mechanism that was not offered"));
    }
    let client_first = rest
        .split_first_chunk::<4>()
        .filter(|(length, data)| u32::from_be_bytes(**length) as usize == data.len())
        .map(|(_, data)| data)
        .ok_or_else(|| protocol_violation("a malformed SASL message"))?;
    let exchange = Exchange::begin(verifier, client_first, certificate_hash, plus)
        .map_err(|error| protocol_violation(&error.to_string()))?;
    send(stream, 11, |body| body.extend_from_slice(exchange.server_first().as_bytes())).await?;

    let client_final = read_password_message(stream).await?;
    let server_final = exchange.finish(&client_final).map_err(|error| match error {
        ScramError::WrongProof => wrong_password(),
        other => protocol_violation(&other.to_string()),
    })?;
    check_state(account)?;
    let mut out = BytesMut::new();
    put_request(&mut out, 12, |body| body.extend_from_slice(server_final.as_bytes()));
    put_request(&mut out, OK, |_| {});
    Ok(out)
}

/// Asks for the password itself.
async fn check_password<S>(
    stream: &mut S,
    verifier: Verifier,
    wrong_password: impl FnOnce() -> LoginError,
) -> Result<(), LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    send(stream, 3, |_| {}).await?;
    let body = read_password_message(stream).await?;
    let password = take_text(&mut body.as_slice()).map(<[u8]>::to_vec);
    let password = password.ok_or_else(|| protocol_violation("a malformed password message"))?;
    // Some milliseconds of hashing, which other connections must not wait for.
    match tokio::task::spawn_blocking(move || verifier.accepts(&password)).await {
        Ok(true) => Ok(()),
        _ => Err(wrong_password()),
    }
}

/// Only somebody who proved to know the password hears about the state of the account.
fn check_state(account: Option<&Account>) -> Result<(), LoginError> {
    let state = match account {
        Some(account) if !account.is_active => Some("the account is closed"),
        Some(account) if account.is_locked => Some("the account is locked or its password has expired"),
        _ => None,
    };
    match state {
        None => Ok(()),
        Some(state) => Err(LoginError::Refused {
            reason: state.to_owned(),
            answer: ErrorResponse::fatal("28000", state),
        }),
    }
}

fn protocol_violation(what: &str) -> LoginError {
    LoginError::Refused {
        reason: format!("protocol violation: {what}"),
        answer: ErrorResponse::fatal("08P01", format!("protocol violation in the login: {what}")),
    }
}

async fn send<S>(stream: &mut S, code: u32, write: impl FnOnce(&mut BytesMut)) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let mut out = BytesMut::new();
    put_request(&mut out, code, write);
    stream.write_all(&out).await?;
    stream.flush().await
}

fn put_request(out: &mut BytesMut, code: u32, write: impl FnOnce(&mut BytesMut)) {
    put_message(out, b'R', |body| {
        body.put_u32(code);
        write(body);
    });
}

async fn read_password_message(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, LoginError> {
    match read_login_message(stream).await? {
        (b'p', body) => Ok(body),
        // A client that asks its user for the password first may leave and come back with it.
        (b'X', _) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        _ => Err(protocol_violation("a message that is no part of a login")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(version: u32, pairs: &[(&str, &str)]) -> BytesMut {
        let mut packet = BytesMut::new();
        packet.put_u32(version);
        for (name, value) in pairs {
            put_text(&mut packet, name);
            put_text(&mut packet, value);
        }
        packet.put_u8(0);
        packet
    }

    fn code(version: u32, pairs: &[(&str, &str)]) -> String {
        Startup::parse(&packet(version, pairs), "music").unwrap_err().code.into_owned()
    }

    #[test]
    fn replication_options_and_unknown_parameters_are_refused() {
        let user = ("user", "a@example.com");
        assert_eq!(code(3 << 16, &[user, ("replication", "database")]), "0A000");
        assert_eq!(code(3 << 16, &[user, ("options", "-c role=tier_admin")]), "0A000");
        assert_eq!(code(3 << 16, &[user, ("role", "tier_admin")]), "0A000");
        assert_eq!(code(3 << 16, &[user, ("database", "postgres")]), "3D000");
        assert_eq!(code(2 << 16, &[user]), "0A000");
        assert_eq!(code(3 << 16, &[]), "28000");
    }

    #[test]
    fn a_newer_minor_version_is_negotiated_down() {
        let parse = |version, pairs: &[_]| Startup::parse(&packet(version, pairs), "music").unwrap();
        let user = ("user", "a@example.com");
        assert!(parse(3 << 16, &[user]).negotiate.is_none());
        let startup = parse((3 << 16) + 2, &[user]);
        assert!(startup.negotiate.is_none() && startup.key_length == KeyLength::Long);
        let startup = parse((3 << 16) + 9999, &[user]);
        assert_eq!(&startup.negotiate.unwrap()[..], b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0");
        assert_eq!(startup.key_length, KeyLength::Long);
        let startup = parse(3 << 16, &[user, ("_pq_.extension", "1")]);
        assert_eq!(&startup.negotiate.unwrap()[..], b"v\0\0\0\x1b\0\x03\0\0\0\0\0\x01_pq_.extension\0");
        assert_eq!(startup.key_length, KeyLength::Short);
    }

    #[test]
    fn malformed_packets_are_refused_not_fatal() {
        let whole = packet(3 << 16, &[("user", "a@example.com"), ("database", "music")]);
        for length in 0..whole.len() {
            assert!(Startup::parse(&whole[..length], "music").is_err(), "{length}");
        }
        assert!(Startup::parse(&whole, "music").is_ok());
    }
}
