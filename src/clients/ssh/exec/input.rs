//! What a program on a server reads, on its way there.

use std::fs::File;
use std::io::{Read, Write};

use ssh2::Channel;

use super::CHUNK;
use crate::clients::ssh::{AGAIN, Connection};
use crate::error::Error;

/// What the program reads.
pub enum Stdin<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// A file from where it stands.
    File(&'a mut File),
    /// The same, once the program has printed [`GO`]; one that ends without gets nothing.
    FileOnceAsked(&'a mut File),
}

/// Standard input on its way to a program.
pub(super) struct Sending<'a> {
    pending: Vec<u8>,
    /// How much of it has gone.
    gone: usize,
    pub sent: u64,
    /// Whether the program has not asked for its input yet.
    pub held: bool,
    stdin: Stdin<'a>,
    eof: Eof,
}

#[derive(PartialEq)]
enum Eof {
    Ahead,
    Due,
    Told,
}

impl<'a> Sending<'a> {
    /// `begin`, then what `stdin` has.
    pub(super) fn new(begin: Vec<u8>, stdin: Stdin<'a>) -> Self {
        let held = matches!(stdin, Stdin::FileOnceAsked(_));
        Sending { pending: begin, gone: 0, sent: 0, held, stdin, eof: Eof::Ahead }
    }

    /// Sends what the server takes now, and says whether that was anything.
    pub(super) fn send(&mut self, connection: &Connection, channel: &mut Channel) -> Result<bool, Error> {
        let mut moved = false;
        loop {
            if self.is_empty() && self.held {
                return Ok(moved);
            }
            if self.is_empty() && self.eof == Eof::Ahead {
                self.fill()?;
            }
            if self.eof == Eof::Told {
                return Ok(moved);
            }
            if self.is_empty() {
                match channel.send_eof() {
                    Ok(()) => self.eof = Eof::Told,
                    Err(error) if error.code() == ssh2::ErrorCode::Session(AGAIN) => {}
                    // A program that ended without reading all of it has closed the channel.
                    Err(_) if channel.eof() => self.eof = Eof::Told,
                    Err(error) => return Err(connection.failure("run", &error)),
                }
                return Ok(moved);
            }
            match channel.write(&self.pending[self.gone..]) {
                Ok(0) => return Ok(moved),
                Ok(length) => {
                    self.gone += length;
                    self.sent += length as u64;
                    moved = true;
                }
                Err(again) if again.kind() == std::io::ErrorKind::WouldBlock => return Ok(moved),
                Err(_) if channel.eof() => {
                    self.pending.clear();
                    self.eof = Eof::Told;
                }
                Err(source) => return Err(connection.broken("run", &source)),
            }
            // The output has its turn too.
            if moved {
                return Ok(true);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.gone >= self.pending.len()
    }

    fn fill(&mut self) -> Result<(), Error> {
        self.gone = 0;
        self.pending.clear();
        match &mut self.stdin {
            Stdin::Nothing => self.eof = Eof::Due,
            Stdin::Bytes(bytes) => {
                self.pending = bytes.to_vec();
                self.eof = Eof::Due;
            }
            Stdin::File(file) | Stdin::FileOnceAsked(file) => {
                self.pending.resize(CHUNK, 0);
                let length = file
                    .read(&mut self.pending)
                    .map_err(|source| Error::io("read what is to be sent", &source))?;
                self.pending.truncate(length);
                if length == 0 {
                    self.eof = Eof::Due;
                }
            }
        }
        Ok(())
    }
}
