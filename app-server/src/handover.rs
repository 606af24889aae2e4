//! What makes a database session a person's: `app.identity`, which row security verifies, and the settings that follow the client.
//! Given at the login, after a client has reset its session, and whenever a pooled session changes its owner.

use bytes::{BufMut as _, BytesMut};

use crate::backend::BackendError;
use crate::client_settings::Setting;
use crate::identity::IdentityKey;
use crate::pool::{DatabaseSession, Facts};
use crate::wire::put_message;

/// `pg_catalog.set_config(text, text, boolean)`, by the number that it has in every PostgreSQL (`pg_proc.dat`).
const SET_CONFIG: u32 = 2078;

/// A person's session with this server, as the database sessions it gets are told of it.
pub(crate) struct Person {
    /// No other session of this process has or had it.
    pub(crate) session: u64,
    account_id: i64,
}

/// Messages to be sent ahead of a person's own.
pub(crate) struct Introduction {
    pub(crate) messages: BytesMut,
    /// How often the database will say ReadyForQuery to them.
    pub(crate) answers: usize,
}

impl Person {
    pub(crate) fn new(session: u64, account_id: i64) -> Self {
        Self { session, account_id }
    }

    /// Makes a clean database session the person's, and answers what it reports of itself from then on.
    pub(crate) async fn take(
        &self,
        key: &IdentityKey,
        session: &mut DatabaseSession,
        settings: &[Setting],
    ) -> Result<Vec<Setting>, BackendError> {
        let introduction = self.introduction(key, &session.facts, settings);
        session.backend.parameters.clear();
        session.backend.ask(&introduction.messages, introduction.answers).await?;
        let mut reported = session.reported_at_login.clone();
        for (name, value) in std::mem::take(&mut session.backend.parameters) {
            match reported.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => reported.push((name, value)),
            }
        }
        Ok(reported)
    }

    /// What says so to any database session. A FunctionCall is nothing to parse and to plan, so it costs the database 4 us where a SELECT costs 13; it
    /// shows no text in `pg_stat_activity`, and leaves the client's unnamed statement alone.
    pub(crate) fn introduction(&self, key: &IdentityKey, to: &Facts, settings: &[Setting]) -> Introduction {
        let mut messages = BytesMut::with_capacity(256);
        set(&mut messages, "app.identity", &key.sign(self.account_id, &to.process_id, &to.started_us));
        for (name, value) in settings {
            set(&mut messages, name, value);
        }
        Introduction { messages, answers: 1 + settings.len() }
    }
}

/// Asks for a setting, for the rest of the session.
fn set(out: &mut BytesMut, name: &str, value: &str) {
    put_message(out, b'F', |body| {
        body.put_u32(SET_CONFIG);
        // All arguments as text.
        body.put_u16(1);
        body.put_u16(0);
        body.put_u16(3);
        for argument in [name, value, "false"] {
            let length = u32::try_from(argument.len());
            body.put_u32(length.expect("a start-up packet and a followed SET are short"));
            body.extend_from_slice(argument.as_bytes());
        }
        body.put_u16(0);
    });
}
