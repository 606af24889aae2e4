//! A session that the server ended, or that was cut: found out before a statement is sent, replaced, and
//! what was typed kept.
//!
//! A statement is never sent twice by itself, and none of a transaction is sent without the rest.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::Session;
use crate::activity::Observer;
use crate::connection::{self, Connection};
use crate::error::Error;
use crate::run::Outcome;

/// A server that restarts, or a balancer that turns to another one, is back within moments.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

impl Session {
    /// Whether there is a session that may be sent `text`. If not, `text` is at the prompt again.
    pub(super) fn is_ready(&mut self, text: &str) -> bool {
        let within_transaction = self.runner.connection.transaction != b'I';
        if self.runner.connection.is_alive() {
            return true;
        }
        let connected = self.reconnect();
        if connected && !within_transaction {
            return true;
        }
        if connected {
            remark!("error: the transaction ended with its session, and nothing of it was kept");
            remark!("hint: the statement was not sent; it is at the prompt again");
        } else {
            remark!("hint: the statement was not sent; Enter tries again");
        }
        self.unsent = Some(text.to_owned());
        false
    }

    /// A connection that was lost is an event at a prompt, not the end of it.
    pub(super) fn survived(&mut self, outcome: Result<Outcome, Error>) -> Result<Option<Outcome>, Error> {
        let error = match outcome {
            Ok(outcome) => return Ok(Some(outcome)),
            Err(error) => error,
        };
        match &error {
            Error::Connection(connection::Error::NulInStatement) => report(&error),
            Error::Connection(_) | Error::CutResult { .. } | Error::CopyInput { .. } | Error::File { .. } => {
                report(&error);
                self.reconnect();
            }
            // The rest of the result has nowhere to go, and neither has the session that it comes from.
            Error::Output { .. } if self.runner.output.is_redirected() => {
                report(&error);
                remark!("hint: results are shown here again");
                self.runner.output.restore(None);
                self.reconnect();
            }
            _ => return Err(error),
        }
        Ok(None)
    }

    fn reconnect(&mut self) -> bool {
        let started = Instant::now();
        loop {
            match Connection::open(&self.target, &mut self.passwords) {
                Ok(connection) => {
                    self.runner.connection = connection;
                    self.runner.observer = Observer::new(Arc::clone(&self.target), &self.passwords);
                    remark!(
                        "connected again; settings, temporary tables and transactions of the old session are gone"
                    );
                    self.learn();
                    return true;
                }
                Err(error) if error.may_pass() && started.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Err(error) => {
                    report(&error.into());
                    return false;
                }
            }
        }
    }
}

fn report(error: &Error) {
    remark!("error: {error}");
    if let Some(hint) = error.hint() {
        remark!("hint: {hint}");
    }
}
