//! The client's side of SCRAM-SHA-256 (RFC 5802), for logging in to the database. The keys that a password gives are remembered:
//! they cost thousands of hashes (some 3 ms), and the database asks with the same salt until the password is changed.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use crate::scram::{ScramError, equal_in_constant_time, hmac_sha256, salted_password};

/// PostgreSQL's default is 4,096; a database that asks for far more would only be keeping this server busy.
const ITERATIONS_LIMIT: u32 = 1_000_000;

struct Keys {
    salt: Vec<u8>,
    iterations: u32,
    client_key: [u8; 32],
    server_key: [u8; 32],
}

/// The keys of one role's password, once a login has needed them.
#[derive(Default)]
pub(crate) struct RememberedKeys(Mutex<Option<Arc<Keys>>>);

impl RememberedKeys {
    fn of(&self, password: &str, salt: &[u8], iterations: u32) -> Arc<Keys> {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match remembered.as_ref().filter(|keys| keys.salt == salt && keys.iterations == iterations) {
            Some(keys) => Arc::clone(keys),
            None => {
                let salted = salted_password(password.as_bytes(), salt, iterations);
                let keys = Arc::new(Keys {
                    salt: salt.to_owned(),
                    iterations,
                    client_key: hmac_sha256(&salted, b"Client Key"),
                    server_key: hmac_sha256(&salted, b"Server Key"),
                });
                *remembered = Some(Arc::clone(&keys));
                keys
            }
        }
    }
}

pub(crate) struct DatabaseExchange {
    first_bare: String,
    nonce: String,
    server_signature: Option<[u8; 32]>,
}

impl DatabaseExchange {
    pub(crate) fn begin() -> Self {
        let nonce = BASE64.encode(rand::random::<[u8; 18]>());
        Self { first_bare: format!("n=,r={nonce}"), nonce, server_signature: None }
    }

    pub(crate) fn client_first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// Takes server-first-message and answers client-final-message.
    pub(crate) fn respond(
        &mut self,
        server_first: &[u8],
        password: &str,
        remembered: &RememberedKeys,
    ) -> Result<String, ScramError> {
        let text = std::str::from_utf8(server_first).map_err(|_| ScramError::Malformed)?;
        let mut attributes = text.split(',');
        let mut attribute = |name| attributes.next()?.strip_prefix(name);
        let nonce = attribute("r=")
            .filter(|nonce| nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce))
            .ok_or(ScramError::Malformed)?;
        let salt = attribute("s=").and_then(|salt| BASE64.decode(salt).ok()).ok_or(ScramError::Malformed)?;
        let iterations = attribute("i=")
            .and_then(|iterations| iterations.parse().ok())
            .filter(|iterations| (1..=ITERATIONS_LIMIT).contains(iterations))
            .ok_or(ScramError::Malformed)?;
        let keys = remembered.of(password, &salt, iterations);
        // `biws` is the header `n,,`: no channel binding.
        let without_proof = format!("c=biws,r={nonce}");
        let auth_message = format!("{},{text},{without_proof}", self.first_bare);
        let stored_key: [u8; 32] = Sha256::digest(keys.client_key).into();
        let signature = hmac_sha256(&stored_key, auth_message.as_bytes());
        let proof: Vec<u8> = keys.client_key.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
        self.server_signature = Some(hmac_sha256(&keys.server_key, auth_message.as_bytes()));
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)))
    }

    /// Checks server-final-message: only who knows the verifier can have made it.
    pub(crate) fn verify(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let presented = std::str::from_utf8(server_final)
            .ok()
            .and_then(|text| text.strip_prefix("v="))
            .and_then(|text| BASE64.decode(text).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(ScramError::Malformed)?;
        match &self.server_signature {
            Some(expected) if equal_in_constant_time(expected, &presented) => Ok(()),
            _ => Err(ScramError::WrongProof),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scram::{Exchange, Verifier};
    use postgres_protocol::password::scram_sha_256;

    #[test]
    fn both_sides_of_the_exchange_agree_and_keys_follow_the_salt() {
        let remembered = RememberedKeys::default();
        for password in ["tier password", "tier password", "p\u{e4}ssw\u{f6}rd\u{a0}1"] {
            let verifier = scram_sha_256(password.as_bytes());
            for _ in 0..2 {
                let mut client = DatabaseExchange::begin();
                let server = Exchange::begin(
                    Verifier::parse(&verifier).unwrap(),
                    client.client_first().as_bytes(),
                    None,
                    false,
                )
                .unwrap();
                let client_final =
                    client.respond(server.server_first().as_bytes(), password, &remembered).unwrap();
                let server_final = server.finish(client_final.as_bytes()).unwrap();
                assert_eq!(client.verify(server_final.as_bytes()), Ok(()));
                assert!(client.verify(b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").is_err());
            }
        }
    }

    #[test]
    fn a_nonce_that_is_not_ours_is_refused() {
        for server_first in ["", "r=other,s=AAAA,i=4096", "r=,s=AAAA,i=1", "e=other-error"] {
            let answer =
                DatabaseExchange::begin().respond(server_first.as_bytes(), "x", &RememberedKeys::default());
            assert_eq!(answer, Err(ScramError::Malformed), "{server_first}");
        }
    }
}
