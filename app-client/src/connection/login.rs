//! The start of a session: the start-up message, the proof of the password, the server's settings.

use std::time::{Duration, Instant};

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;

use super::{Connection, Error, refused, unexpected};
use crate::password::Passwords;
use crate::target::Target;

/// A login message, copied out of the read buffer: they are few and small.
struct Message {
    tag: u8,
    body: Vec<u8>,
}

impl Connection {
    /// Gives where the password came from, if one was asked for.
    pub(super) fn log_in(
        &mut self,
        target: &Target,
        passwords: &mut Passwords,
    ) -> Result<Option<String>, Error> {
        let parameters = [
            ("user", target.user.as_str()),
            ("database", target.database.as_str()),
            ("client_encoding", "UTF8"),
            ("application_name", target.application_name.as_str()),
        ];
        let time_zone = target.time_zone.as_ref().map(|zone| ("timezone", zone.as_str()));
        let options = target.options.as_ref().map(|options| ("options", options.as_str()));
        frontend::startup_message(parameters.into_iter().chain(time_zone).chain(options), &mut self.out)
            .map_err(|_| Error::NulInStatement)?;
        self.send()?;

        let mut password_from = None;
        let mut proof: Option<ScramSha256> = None;
        loop {
            let message = self.login_message(target.timeout)?;
            match message.tag {
                b'R' => {
                    let (kind, rest) = authentication(&message.body)?;
                    if kind == 0 && proof.is_some() {
                        // A server that skips its half of SCRAM has not shown that it knows the password.
                        return Err(Error::Proof);
                    }
                    match kind {
                        0 => return self.settings(target).map(|()| password_from),
                        3 | 5 | 10 => {
                            let password = passwords.find(target).map_err(Error::Password)?;
                            password_from = Some(password.origin.clone());
                            proof = self.answer(kind, rest, target, password.text.as_bytes())?;
                        }
                        11 => {
                            let scram = proof.as_mut().ok_or_else(|| unexpected(b'R'))?;
                            scram.update(rest).map_err(|_| Error::Proof)?;
                            frontend::sasl_response(scram.message(), &mut self.out)
                                .map_err(|source| Error::Lost { source })?;
                            self.send()?;
                        }
                        12 => {
                            let mut scram = proof.take().ok_or_else(|| unexpected(b'R'))?;
                            scram.finish(rest).map_err(|_| Error::Proof)?;
                        }
                        other => return Err(Error::Authentication { method: method(other) }),
                    }
                }
                b'E' => return Err(refused(&message.body, password_from)),
                // A notice before the login is a stranger's word; NegotiateProtocolVersion asks nothing of us.
                b'N' | b'v' => {}
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Sends the password in the way that the server asked for.
    fn answer(
        &mut self,
        kind: i32,
        rest: &[u8],
        target: &Target,
        password: &[u8],
    ) -> Result<Option<ScramSha256>, Error> {
        let written = |source| Error::Lost { source };
        let mut proof = None;
        match kind {
            3 if !self.stream.is_private() => return Err(Error::ClearPassword),
            3 => frontend::password_message(password, &mut self.out).map_err(written)?,
            5 => {
                let salt = *rest
                    .first_chunk()
                    .ok_or(Error::Protocol { what: "an MD5 request without salt".into() })?;
                let hash = md5_hash(target.user.as_bytes(), password, salt);
                frontend::password_message(hash.as_bytes(), &mut self.out).map_err(written)?;
            }
            _ => {
                let offered: Vec<&[u8]> =
                    rest.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
                if !offered.contains(&SCRAM_SHA_256.as_bytes()) {
                    let names: Vec<_> = offered.iter().map(|name| String::from_utf8_lossy(name)).collect();
                    return Err(Error::Authentication { method: format!("SASL ({})", names.join(", ")) });
                }
                let scram = ScramSha256::new(password, ChannelBinding::unsupported());
                frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut self.out)
                    .map_err(written)?;
                proof = Some(scram);
            }
        }
        self.send()?;
        Ok(proof)
    }

    /// Reads until the server is ready: its settings and the key for cancel requests.
    fn settings(&mut self, target: &Target) -> Result<(), Error> {
        loop {
            let Message { tag, body } = self.login_message(target.timeout)?;
            match tag {
                b'S' => self.parameter_status(&body),
                b'K' => {
                    let read = |at: usize| {
                        body.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes)
                    };
                    self.canceller.process_id = read(0).unwrap_or_default();
                    self.canceller.secret_key = read(4).unwrap_or_default();
                }
                b'Z' => return Ok(()),
                b'E' => return Err(refused(&body, None)),
                b'N' => {
                    let notice = crate::server_message::ServerMessage::parse(&body);
                    remark!("{}", notice.render("", 1));
                }
                other => return Err(unexpected(other)),
            }
        }
    }

    pub(crate) fn parameter_status(&mut self, body: &[u8]) {
        let mut parts = body.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            self.parameters.insert(name, value);
        }
    }

    fn login_message(&mut self, limit: Duration) -> Result<Message, Error> {
        let started = Instant::now();
        loop {
            let message = self.next()?.map(|frame| Message { tag: frame.tag, body: frame.body.to_vec() });
            match message {
                Some(message) => return Ok(message),
                None if started.elapsed() > limit => {
                    return Err(Error::LoginTimeout { limit_s: limit.as_secs() });
                }
                None => {}
            }
        }
    }
}

fn authentication(body: &[u8]) -> Result<(i32, &[u8]), Error> {
    let (kind, rest) =
        body.split_first_chunk().ok_or(Error::Protocol { what: "an empty authentication request".into() })?;
    Ok((i32::from_be_bytes(*kind), rest))
}

fn method(kind: i32) -> String {
    match kind {
        2 => "Kerberos V5".to_owned(),
        7 | 8 => "GSSAPI".to_owned(),
        9 => "SSPI".to_owned(),
        other => format!("number {other}"),
    }
}
