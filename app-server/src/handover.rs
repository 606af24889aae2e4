//! What makes a database session a person's: `app.identity`, which row security verifies, and the settings of the person's start-up
//! packet. Given at the login, after a client has reset its session, and whenever a pooled session changes its owner.

use bytes::{BufMut as _, BytesMut};

use crate::backend::BackendError;
use crate::identity::IdentityKey;
use crate::pool::{DatabaseSession, Facts};
use crate::wire::{put_message, put_text};

/// A person's session with this server, as the database sessions it gets are told of it.
pub(crate) struct Person {
    /// No other session of this process has or had it.
    pub(crate) session: u64,
    account_id: i64,
    values: Vec<String>,
    statement: String,
}

impl Person {
    /// `settings` are names out of a fixed list, and any values.
    pub(crate) fn new(session: u64, account_id: i64, settings: Vec<(String, String)>) -> Self {
        let mut statement = String::from("select pg_catalog.set_config('app.identity', $1, false)");
        for (place, (name, _)) in settings.iter().enumerate() {
            statement.push_str(&format!(", pg_catalog.set_config('{name}', ${}, false)", place + 2));
        }
        let values = settings.into_iter().map(|(_, value)| value).collect();
        Self { session, account_id, values, statement }
    }

    fn identity(&self, key: &IdentityKey, to: &Facts) -> String {
        key.sign(self.account_id, &to.process_id, &to.started_us)
    }

    /// Makes a clean database session the person's, and answers what it reports of itself from then on.
    pub(crate) async fn take(
        &self,
        key: &IdentityKey,
        session: &mut DatabaseSession,
    ) -> Result<Vec<(String, String)>, BackendError> {
        let identity = self.identity(key, &session.facts);
        let mut parameters = vec![identity.as_str()];
        parameters.extend(self.values.iter().map(String::as_str));
        session.backend.parameters.clear();
        session.backend.query(&self.statement, &parameters).await?;
        let mut reported = session.reported_at_login.clone();
        for (name, value) in std::mem::take(&mut session.backend.parameters) {
            match reported.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => reported.push((name, value)),
            }
        }
        Ok(reported)
    }

    /// The same as messages to be sent ahead of the person's own, ending in a Sync. Parameters, so that the text shown in
    /// pg_stat_activity does not hold them, and names of its own, so that the client's unnamed statement stays.
    pub(crate) fn batch(&self, key: &IdentityKey, to: &Facts) -> BytesMut {
        const NAME: &str = "app_identity";
        let identity = self.identity(key, to);
        let mut out = BytesMut::with_capacity(512);
        put_message(&mut out, b'P', |body| {
            put_text(body, NAME);
            put_text(body, &self.statement);
            body.put_u16(0);
        });
        put_message(&mut out, b'B', |body| {
            put_text(body, NAME);
            put_text(body, NAME);
            body.put_u16(0);
            body.put_u16(
                u16::try_from(self.values.len() + 1).expect("a start-up packet has a handful of settings"),
            );
            for value in std::iter::once(&identity).chain(&self.values) {
                body.put_u32(
                    u32::try_from(value.len()).expect("a start-up packet holds at most 10,000 bytes"),
                );
                body.extend_from_slice(value.as_bytes());
            }
            body.put_u16(0);
        });
        put_message(&mut out, b'E', |body| {
            put_text(body, NAME);
            body.put_u32(0);
        });
        put_message(&mut out, b'C', |body| {
            body.put_u8(b'S');
            put_text(body, NAME);
        });
        put_message(&mut out, b'S', |_| {});
        out
    }
}
