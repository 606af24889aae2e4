//! The SSH host key of an instance, as Amazon Linux prints it on the console when it boots. No server has it: a local instance has no shell;
//! what reads host keys from a console finds one.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

/// The lines of cloud-init, with the same key at every boot.
pub(crate) fn console_lines(instance: &str, address: std::net::Ipv4Addr) -> String {
    // A public key on the wire (RFC 8709): the name of the algorithm and 32 bytes, each behind its length.
    let mut key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    key.extend(Sha256::digest(format!("host key of {instance}").as_bytes()));
    let fingerprint = STANDARD_NO_PAD.encode(Sha256::digest(&key));
    let key = STANDARD.encode(&key);
    let host = format!("ip-{}.ec2.internal", address.to_string().replace('.', "-"));
    format!(
        "-----BEGIN SSH HOST KEY FINGERPRINTS-----\n\
         256 SHA256:{fingerprint} root@{host} (ED25519)\n\
         -----END SSH HOST KEY FINGERPRINTS-----\n\
         -----BEGIN SSH HOST KEY KEYS-----\n\
         ssh-ed25519 {key} root@{host}\n\
         -----END SSH HOST KEY KEYS-----\n"
    )
}
