//! The PostgreSQL protocol's framing: messages read whole during a login, messages that this server writes itself, and the
//! error that all refusals are made of. Passing messages on is `relay`'s work.

use std::borrow::Cow;
use std::io;

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest message of a login: SCRAM messages take a few hundred bytes.
pub(crate) const LOGIN_MESSAGE_LIMIT: usize = 4_096;

pub(crate) const SSL_REQUEST: u32 = 80_877_103;
pub(crate) const GSSENC_REQUEST: u32 = 80_877_104;
pub(crate) const CANCEL_REQUEST: u32 = 80_877_102;

/// An ErrorResponse: what a client is told when something is refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message} ({code})")]
pub(crate) struct ErrorResponse {
    pub(crate) severity: &'static str,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Within the statement, in characters from 1.
    pub(crate) position: Option<u32>,
}

impl ErrorResponse {
    /// An error after which the session goes on.
    pub(crate) fn error(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { severity: "ERROR", code: code.into(), message: message.into(), hint: None, position: None }
    }

    /// An error after which the connection is closed.
    pub(crate) fn fatal(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { severity: "FATAL", code: code.into(), message: message.into(), hint: None, position: None }
    }

    /// Something that a client is told in between, and that changes nothing.
    pub(crate) fn notice(message: impl Into<String>) -> Self {
        Self { severity: "NOTICE", code: "00000".into(), message: message.into(), hint: None, position: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn at(mut self, position: Option<u32>) -> Self {
        self.position = position;
        self
    }

    pub(crate) fn encoded(&self) -> BytesMut {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let kind = if self.severity == "NOTICE" { b'N' } else { b'E' };
        let position = self.position.map(|position| position.to_string()).unwrap_or_default();
        put_message(out, kind, |body| {
            let fields = [
                (b'S', self.severity),
                (b'V', self.severity),
                (b'C', &self.code),
                (b'M', &self.message),
                (b'H', self.hint.as_deref().unwrap_or_default()),
                (b'P', &position),
            ];
            for (kind, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
                body.put_u8(kind);
                put_text(body, value);
            }
            body.put_u8(0);
        });
    }
}

/// Appends one message: the kind, the length, and what `write` puts into the body.
pub(crate) fn put_message(out: &mut BytesMut, kind: u8, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    let start = out.len();
    out.put_u32(0);
    write(out);
    let length = u32::try_from(out.len() - start).expect("a message of our own is far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a text and its terminating zero. A zero inside the text would end it early, so there is none.
pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.put_u8(0);
}

/// Kind and whole length of the message that starts at `at`, once its header is there.
pub(crate) fn header(buffer: &[u8], at: usize) -> Option<(u8, usize)> {
    let header = buffer.get(at..at + 5)?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    Some((header[0], length + 1))
}

/// Splits a zero-terminated text from the front of a message body.
pub(crate) fn take_text<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = body.iter().position(|byte| *byte == 0)?;
    let text = &body[..end];
    *body = &body[end + 1..];
    Some(text)
}

/// The value of one field of an ErrorResponse.
pub(crate) fn error_field(body: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = body;
    while let Some((kind, fields)) = rest.split_first() {
        rest = fields;
        let value = take_text(&mut rest)?;
        if *kind == wanted {
            return Some(value);
        }
    }
    None
}

/// Reads a length-prefixed packet without a kind, as start-up packets are, whose length field has been read.
pub(crate) async fn read_startup_body(
    stream: &mut (impl AsyncRead + Unpin),
    length: u32,
    limit: usize,
) -> io::Result<Vec<u8>> {
    let length = length as usize;
    if !(8..=limit).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "start-up packet of an impossible length"));
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// Reads one whole message of a login.
pub(crate) async fn read_login_message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 5];
    stream.read_exact(&mut header).await?;
    let [kind, length @ ..] = header;
    let length = u32::from_be_bytes(length) as usize;
    if !(4..=LOGIN_MESSAGE_LIMIT).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "login message of an impossible length"));
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}
