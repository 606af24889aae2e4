//! Who a database session belongs to, in a form that row security can verify and nobody without the key can make:
//! the counterpart of `private.current_account()` and `private.identity_key_proof()` in `sql/migrations`.

use crate::config::Secret;
use crate::scram::hmac_sha256;

pub(crate) struct IdentityKey(Secret<Vec<u8>>);

impl IdentityKey {
    pub(crate) fn new(key: Secret<Vec<u8>>) -> Self {
        Self(key)
    }

    /// The value of `app.identity` that makes the session (`process_id`, `started_us`) the account's, and no other session.
    pub(crate) fn sign(&self, account_id: i64, process_id: &str, started_us: &str) -> String {
        format!("{account_id}:{}", self.hex(&format!("identity:{account_id}:{process_id}:{started_us}")))
    }

    /// What the database answers to `identity_key_proof(nonce)` if it holds the same key.
    pub(crate) fn proof(&self, nonce: &str) -> String {
        self.hex(&format!("proof:{nonce}"))
    }

    /// A key of its own for salts shown to users who do not exist, the same on every server and after every restart.
    pub(crate) fn mock_salt_key(&self) -> [u8; 32] {
        hmac_sha256(self.0.expose(), b"mock salt key")
    }

    fn hex(&self, message: &str) -> String {
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
        let mac = hmac_sha256(self.0.expose(), message.as_bytes());
        mac.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}
