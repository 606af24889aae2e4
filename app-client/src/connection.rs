//! One session with a server: opened, logged in, statements sent, messages read.
//!
//! Blocking sockets: a client waits for one thing at a time. Every read gives up after `TICK`, so
//! that whoever waits can show the rows it has, or how long it has been waiting.

mod ask;
mod error;
mod frame;
mod login;
mod stream;
mod tls;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

pub(crate) use ask::Answer;
pub(crate) use error::{Error, is_unavailable};
pub(crate) use frame::Frame;
pub(crate) use stream::Address;
pub(crate) use tls::{Authorities, Verification};

use crate::password::Passwords;
use crate::server_message::ServerMessage;
use crate::target::Target;
use frame::FrameReader;
use stream::Stream;
use tls::{Encryption, Tls};

/// How long a read waits before the caller hears that nothing came.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// Long enough for any login message: an error with all its fields is a few kilobytes.
const LONGEST_BEFORE_LOGIN: usize = 64 * 1024;

/// A part of the way to a session that is done.
pub(crate) enum Leg {
    Resolved { addresses: Vec<String> },
    Connected { peer: String },
    Encrypted { version: Option<&'static str> },
    LoggedIn { password_from: Option<String> },
}

pub(crate) struct Connection {
    stream: Stream,
    reader: FrameReader,
    out: BytesMut,
    pub(crate) parameters: BTreeMap<String, String>,
    /// `I` outside of a transaction, `T` in one, `E` in one that failed: what the server said last.
    pub(crate) transaction: u8,
    canceller: Canceller,
}

/// What it takes to ask the server to stop the running statement, from another thread.
#[derive(Clone)]
pub(crate) struct Canceller {
    address: Address,
    encryption: std::sync::Arc<Encryption>,
    process_id: i32,
    secret_key: i32,
}

impl Connection {
    /// Connects and logs in. `passwords` is asked only if the server wants one.
    pub(crate) fn open(target: &Target, passwords: &mut Passwords) -> Result<Self, Error> {
        Self::open_observed(target, passwords, &mut |_| {})
    }

    /// The same; `observe` hears of each leg when it is done.
    pub(crate) fn open_observed(
        target: &Target,
        passwords: &mut Passwords,
        observe: &mut dyn FnMut(Leg),
    ) -> Result<Self, Error> {
        let encryption = encryption(target)?;
        let stream = Stream::open(&target.address, &encryption, target.timeout, observe)?;
        let address = target.address.to_string();
        stream
            .set_read_timeout(TICK)
            .and_then(|()| stream.set_write_timeout(TICK))
            .map_err(|source| Error::Handshake { address, source })?;
        let canceller = Canceller {
            address: match stream.peer() {
                Some(peer) => Address::Tcp { host: peer.ip().to_string(), port: peer.port() },
                None => target.address.clone(),
            },
            encryption: encryption.into(),
            process_id: 0,
            secret_key: 0,
        };
        let mut connection = Self {
            stream,
            reader: FrameReader::new(LONGEST_BEFORE_LOGIN),
            out: BytesMut::new(),
            parameters: BTreeMap::new(),
            transaction: b'I',
            canceller,
        };
        let password_from = connection.log_in(target, passwords).map_err(|error| {
            // What was typed wrong once should be asked for again; what a draining server refused, not.
            if error.is_about_password() {
                passwords.forget();
            }
            error.before_login(&target.address.to_string())
        })?;
        observe(Leg::LoggedIn { password_from });
        connection.reader.trust();
        Ok(connection)
    }

    /// Sends `sql`, one statement or several; the answer ends with a `Z` message.
    pub(crate) fn query(&mut self, sql: &str) -> Result<(), Error> {
        frontend::query(sql, &mut self.out).map_err(|_| Error::NulInStatement)?;
        self.send()
    }

    /// Sends one statement and, apart from it, the values of its `$1`, `$2` ...
    pub(crate) fn query_with(&mut self, sql: &str, arguments: &[String]) -> Result<(), Error> {
        let built = frontend::parse("", sql, [], &mut self.out).and_then(|()| {
            let value = |argument: &String, out: &mut BytesMut| {
                out.extend_from_slice(argument.as_bytes());
                Ok(IsNull::No)
            };
            frontend::bind("", "", [0], arguments, value, [0], &mut self.out).map_err(
                |error| match error {
                    frontend::BindError::Serialization(source) => source,
                    frontend::BindError::Conversion(source) => io::Error::other(source),
                },
            )?;
            frontend::describe(b'P', "", &mut self.out)?;
            frontend::execute("", 0, &mut self.out)
        });
        if built.is_err() {
            self.out.clear();
            return Err(Error::NulInStatement);
        }
        frontend::sync(&mut self.out);
        self.send()
    }

    /// Whether the session is still there, for all that has arrived. Only between statements, when
    /// whatever comes is the server's own idea: a setting, a notice, or a farewell.
    pub(crate) fn is_alive(&mut self) -> bool {
        // What has arrived is read at once; there is nothing to wait for.
        let quickly = self.stream.set_read_timeout(Duration::from_millis(1)).is_ok();
        let alive = quickly && self.no_farewell();
        alive && self.stream.set_read_timeout(TICK).is_ok()
    }

    /// Reads what has arrived. False if it ends with the end of the session.
    fn no_farewell(&mut self) -> bool {
        loop {
            match self.next() {
                Ok(None) => return true,
                Ok(Some(frame)) => match frame.tag {
                    b'S' => {
                        let body = frame.body.to_vec();
                        self.parameter_status(&body);
                    }
                    b'E' => {
                        remark!("{}", ServerMessage::parse(frame.body).render("", 1));
                        return false;
                    }
                    b'N' => remark!("{}", ServerMessage::parse(frame.body).render("", 1)),
                    _ => {}
                },
                Err(_) => return false,
            }
        }
    }

    pub(crate) fn tls_version(&self) -> Option<&'static str> {
        self.stream.tls_version()
    }

    /// The next message, or `None` when nothing came for a `TICK`.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, Error> {
        self.reader.next(&mut self.stream).map_err(|source| Error::Lost { source })
    }

    pub(crate) fn copy_data(&mut self, data: &[u8]) -> Result<(), Error> {
        frontend::CopyData::new(data).map_err(|source| Error::Lost { source })?.write(&mut self.out);
        // Lines of a script are short: many of them share a write.
        if self.out.len() >= 64 * 1024 { self.send() } else { Ok(()) }
    }

    pub(crate) fn copy_done(&mut self) -> Result<(), Error> {
        frontend::copy_done(&mut self.out);
        self.send()
    }

    pub(crate) fn copy_fail(&mut self, reason: &str) -> Result<(), Error> {
        frontend::copy_fail(reason, &mut self.out).map_err(|_| Error::NulInStatement)?;
        self.send()
    }

    /// The server's process of this session, as far as the server tells the truth about it.
    pub(crate) fn process_id(&self) -> i32 {
        self.canceller.process_id
    }

    pub(crate) fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Says goodbye; a server that is gone already does not mind.
    pub(crate) fn close(mut self) {
        frontend::terminate(&mut self.out);
        let _ = self.send();
    }

    /// Writes what is pending. While the server takes nothing, its own messages are read into the
    /// buffer: a COPY whose rows raise notices would otherwise have both sides waiting to write.
    fn send(&mut self) -> Result<(), Error> {
        let lost = |source| Error::Lost { source };
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.write(&self.out[sent..]) {
                Ok(0) => return Err(lost(ErrorKind::WriteZero.into())),
                Ok(written) => sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    self.reader.fill(&mut self.stream).map_err(lost)?;
                }
                Err(error) => return Err(lost(error)),
            }
        }
        self.out.clear();
        loop {
            match self.stream.flush() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    self.reader.fill(&mut self.stream).map_err(lost)?;
                }
                Err(error) => return Err(lost(error)),
            }
        }
    }
}

impl Canceller {
    /// Asks the server to stop what the session is doing. It may answer with nothing at all.
    pub(crate) fn cancel(&self) -> Result<(), Error> {
        let timeout = Duration::from_secs(5);
        let mut stream = Stream::open(&self.address, &self.encryption, timeout, &mut |_| {})?;
        let mut request = BytesMut::new();
        frontend::cancel_request(self.process_id, self.secret_key, &mut request);
        stream
            .write_all(&request)
            .and_then(|()| stream.flush())
            .map_err(|source| Error::Connect { address: self.address.to_string(), source })?;
        // The server closes once it has passed the request on; leaving earlier could lose it.
        let _ = stream.set_read_timeout(timeout);
        let _ = io::copy(&mut stream, &mut io::sink());
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Turns what the user asked for into how this connection is encrypted.
fn encryption(target: &Target) -> Result<Encryption, Error> {
    let Address::Tcp { .. } = target.address else { return Ok(Encryption::Disable) };
    let Some(verification) = target.verification else { return Ok(Encryption::Disable) };
    let tls = Tls::new(verification, &target.authorities, &target.server_name)?;
    Ok(if target.tls_required { Encryption::Required(tls) } else { Encryption::IfOffered(tls) })
}

/// A message that the protocol does not allow where it came.
fn unexpected(tag: u8) -> Error {
    Error::Protocol { what: format!("a message of type `{}` where none was expected", char::from(tag)) }
}

/// An error of the login: what the server said, and which password it did not like.
fn refused(body: &[u8], password_from: Option<String>) -> Error {
    Error::Login { message: Box::new(ServerMessage::parse(body)), password_from }
}
