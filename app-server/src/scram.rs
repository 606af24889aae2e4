//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) from a stored verifier: no password is ever seen here.
//!
//! An unknown user gets a verifier that nobody can satisfy, with a salt that is always the same for the same name, so
//! that neither the messages nor their timing tell who exists.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// PostgreSQL's default; what a client is told for a user who does not exist.
const MOCK_ITERATIONS: u32 = 4096;

pub(crate) const MECHANISM: &str = "SCRAM-SHA-256";
/// The same, bound to the TLS session it runs in: nobody in the middle can pass it on.
pub(crate) const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
const BINDING: &str = "p=tls-server-end-point";

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ScramError {
    #[error("malformed SCRAM message")]
    Malformed,
    #[error("the channel binding is not the one that was offered")]
    ChannelBinding,
    #[error("the proof does not fit the verifier")]
    WrongProof,
}

pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// PBKDF2 with HMAC-SHA-256, one block.
pub(crate) fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    // PostgreSQL uses what cannot be prepared as it is.
    let text = std::str::from_utf8(password).ok();
    let prepared = text.and_then(|text| stringprep::saslprep(text).ok());
    let prepared = prepared.as_ref().map_or(password, |text| text.as_bytes());
    let keyed = Hmac::<Sha256>::new_from_slice(prepared).expect("HMAC takes a key of any length");
    let mut mac = keyed.clone();
    mac.update(salt);
    mac.update(&1_u32.to_be_bytes());
    let mut block: [u8; 32] = mac.finalize().into_bytes().into();
    let mut result = block;
    for _ in 1..iterations {
        let mut mac = keyed.clone();
        mac.update(&block);
        block = mac.finalize().into_bytes().into();
        result.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    result
}

/// What PostgreSQL's `pg_authid` and our `private.credential` store instead of a password.
pub(crate) struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl Verifier {
    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (iterations, rest) = text.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        Some(Self {
            iterations: iterations.parse().ok()?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: BASE64.decode(stored_key).ok()?.try_into().ok()?,
            server_key: BASE64.decode(server_key).ok()?.try_into().ok()?,
        })
    }

    /// Whether it was made of this password.
    pub(crate) fn accepts(&self, password: &[u8]) -> bool {
        let salted = salted_password(password, &self.salt, self.iterations);
        let stored_key: [u8; 32] = Sha256::digest(hmac_sha256(&salted, b"Client Key")).into();
        equal_in_constant_time(&stored_key, &self.stored_key)
    }

    /// A verifier for somebody who does not exist.
    pub(crate) fn mock(key: &[u8], user: &str) -> Self {
        let salt = hmac_sha256(key, format!("mock salt:{user}").as_bytes());
        Self {
            iterations: MOCK_ITERATIONS,
            salt: salt[..16].to_vec(),
            // The hash of an unknown ClientKey: nobody can present its pre-image.
            stored_key: rand::random(),
            server_key: rand::random(),
        }
    }
}

/// An exchange after the client's first message.
pub(crate) struct Exchange {
    verifier: Verifier,
    /// What the client must repeat: the header of its first message, and what the exchange is bound to.
    binding: Vec<u8>,
    client_first_bare: String,
    server_first: String,
    nonce: String,
}

impl Exchange {
    /// Takes client-first-message; `server_first` is what to answer. `offered` is what an exchange can be bound to, and `plus` says
    /// that the client chose the mechanism which does.
    pub(crate) fn begin(
        verifier: Verifier,
        client_first: &[u8],
        offered: Option<&[u8]>,
        plus: bool,
    ) -> Result<Self, ScramError> {
        let text = std::str::from_utf8(client_first).map_err(|_| ScramError::Malformed)?;
        let (flag, rest) = text.split_once(',').ok_or(ScramError::Malformed)?;
        let bound_to: &[u8] = match (flag, offered) {
            (BINDING, Some(offered)) if plus => offered,
            ("n", _) | ("y", None) if !plus => &[],
            // `y`: the client could bind, and believes that we cannot. Somebody in the middle told it so.
            ("n" | "y", _) => return Err(ScramError::ChannelBinding),
            _ if flag.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::Malformed),
        };
        let (authorization, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        // `a=` asks to act as somebody else.
        if !authorization.is_empty() {
            return Err(ScramError::Malformed);
        }
        let mut attributes = bare.split(',');
        // The user name in here is ignored, as by PostgreSQL: the start-up packet has it.
        attributes.next().filter(|name| name.starts_with("n=")).ok_or(ScramError::Malformed)?;
        let client_nonce = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("r="))
            .filter(|nonce| !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or(ScramError::Malformed)?;
        let nonce = format!("{client_nonce}{}", BASE64.encode(rand::random::<[u8; 18]>()));
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        Ok(Self {
            binding: [format!("{flag},,").as_bytes(), bound_to].concat(),
            client_first_bare: bare.to_owned(),
            verifier,
            server_first,
            nonce,
        })
    }

    fn is_bound(&self) -> bool {
        self.binding.starts_with(BINDING.as_bytes())
    }

    pub(crate) fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Takes client-final-message and answers server-final-message.
    pub(crate) fn finish(self, client_final: &[u8]) -> Result<String, ScramError> {
        let text = std::str::from_utf8(client_final).map_err(|_| ScramError::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|attribute| attribute.strip_prefix("c="));
        if binding != Some(BASE64.encode(&self.binding).as_str()) {
            return Err(if self.is_bound() { ScramError::ChannelBinding } else { ScramError::Malformed });
        }
        let nonce = attributes.next().and_then(|attribute| attribute.strip_prefix("r="));
        if nonce != Some(self.nonce.as_str()) {
            return Err(ScramError::Malformed);
        }
        let proof: [u8; 32] =
            BASE64.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(ScramError::Malformed)?;
        let auth_message = format!("{},{},{without_proof}", self.client_first_bare, self.server_first);
        let signature = hmac_sha256(&self.verifier.stored_key, auth_message.as_bytes());
        let client_key: Vec<u8> =
            proof.iter().zip(signature).map(|(proof, signature)| proof ^ signature).collect();
        let presented: [u8; 32] = Sha256::digest(&client_key).into();
        if !equal_in_constant_time(&presented, &self.verifier.stored_key) {
            return Err(ScramError::WrongProof);
        }
        let server_signature = hmac_sha256(&self.verifier.server_key, auth_message.as_bytes());
        Ok(format!("v={}", BASE64.encode(server_signature)))
    }
}

/// Compares all bytes whatever the first ones say.
pub(crate) fn equal_in_constant_time(left: &[u8; 32], right: &[u8; 32]) -> bool {
    std::hint::black_box(
        left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right)),
    ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
    use postgres_protocol::password::scram_sha_256;

    fn log_in(verifier: Verifier, password: &str) -> Result<(), ScramError> {
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let exchange = Exchange::begin(verifier, client.message(), None, false)?;
        client.update(exchange.server_first().as_bytes()).unwrap();
        let server_final = exchange.finish(client.message())?;
        client.finish(server_final.as_bytes()).unwrap();
        Ok(())
    }

    #[test]
    fn the_right_password_is_accepted_and_the_server_proves_itself() {
        let verifier = scram_sha_256(b"music-demo");
        assert_eq!(log_in(Verifier::parse(&verifier).unwrap(), "music-demo"), Ok(()));
        assert_eq!(log_in(Verifier::parse(&verifier).unwrap(), "music-dem"), Err(ScramError::WrongProof));
    }

    #[test]
    fn an_unknown_user_has_a_stable_salt_and_no_password() {
        let (one, two) = (Verifier::mock(b"key", "a@example.com"), Verifier::mock(b"key", "a@example.com"));
        assert_eq!(one.salt, two.salt);
        assert_ne!(one.salt, Verifier::mock(b"key", "b@example.com").salt);
        assert_eq!(log_in(one, "music-demo"), Err(ScramError::WrongProof));
    }

    #[test]
    fn a_bound_exchange_ends_where_it_began() {
        let verifier = || Verifier::parse(&scram_sha_256(b"music-demo")).unwrap();
        let bound = |certificate: &[u8]| {
            let binding = ChannelBinding::tls_server_end_point(certificate.to_vec());
            let mut client = ScramSha256::new(b"music-demo", binding);
            let exchange = Exchange::begin(verifier(), client.message(), Some(b"ours"), true)?;
            client.update(exchange.server_first().as_bytes()).unwrap();
            exchange.finish(client.message())
        };
        assert!(bound(b"ours").is_ok());
        assert_eq!(bound(b"somebody in the middle"), Err(ScramError::ChannelBinding));
        for (message, offered, plus) in [
            ("y,,n=,r=abc", Some(b"ours".as_slice()), false),
            ("n,,n=,r=abc", Some(b"ours"), true),
            ("p=tls-server-end-point,,n=,r=abc", None, true),
            ("p=tls-server-end-point,,n=,r=abc", Some(b"ours"), false),
            ("p=tls-unique,,n=,r=abc", Some(b"ours"), true),
        ] {
            let begun = Exchange::begin(verifier(), message.as_bytes(), offered, plus);
            assert_eq!(begun.err(), Some(ScramError::ChannelBinding), "{message}");
        }
    }

    #[test]
    fn malformed_messages_are_refused() {
        for message in
            ["", "n", "n,,", "n,,r=x", "n,a=root,n=,r=abc", "x,,n=,r=abc", "n,,n=,r=", "n,,m=1,n=,r=abc"]
        {
            let verifier = Verifier::mock(b"key", "user");
            assert!(Exchange::begin(verifier, message.as_bytes(), None, false).is_err(), "{message}");
        }
        let begin = || Exchange::begin(Verifier::mock(b"key", "user"), b"n,,n=,r=abc", None, false).unwrap();
        for message in ["", "c=biws", "c=biws,r=abc,p=", "c=eSws,r=abc,p=AAAA", "p=AAAA,c=biws"] {
            assert_eq!(begin().finish(message.as_bytes()), Err(ScramError::Malformed), "{message}");
        }
    }
}
