//! The SSH server of an instance, and its host key on the console, as Amazon Linux prints it at the first boot.
//!
//! A local instance has no shell. Where one is wanted, `sshd.json` in the local cloud's folder names a server of this machine for it, by
//! the `Name` tag and before the launch: `{"app-server": {"login": "me@127.0.0.1:2222", "host_key": "ssh-ed25519 AAAA.."}}`. The tag
//! `ops-local:ssh` then says where to log in. Without one the console shows a key that no server has.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Tags;
use crate::folder::Folder;
use crate::query::AwsError;

const FILE: &str = "sshd.json";

/// The one type of host key that is read and shown.
const KIND: &str = "ssh-ed25519";

/// The tag that says where to log in.
pub(super) const TAG: &str = "ops-local:ssh";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sshd {
    /// `user@host:port`
    pub(super) login: String,
    /// The line of the server's `.pub` file.
    host_key: String,
}

impl Sshd {
    /// The server that stands behind an instance with these tags, if there is one.
    pub(super) fn of(folder: &Folder, tags: &Tags) -> Result<Option<Sshd>, AwsError> {
        let unreadable = |reason: String| {
            let path = folder.join(FILE);
            AwsError::with_status(500, "InternalError", format!("{}: {reason}", path.display()))
        };
        let Some(name) = tags.get("Name") else { return Ok(None) };
        let Some(text) = folder.read(FILE).map_err(|error| unreadable(error.to_string()))? else {
            return Ok(None);
        };
        let mut servers: BTreeMap<String, Sshd> =
            serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        let Some(sshd) = servers.remove(name) else { return Ok(None) };
        match (sshd.key(), sshd.login.split_once('@')) {
            (None, _) => {
                Err(unreadable(format!("`host_key` of {name} is no line like `ssh-ed25519 AAAA..`")))
            }
            (_, None) => Err(unreadable(format!("`login` of {name} is not like `user@127.0.0.1:2222`"))),
            _ => Ok(Some(sshd)),
        }
    }

    fn key(&self) -> Option<Vec<u8>> {
        let mut words = self.host_key.split_whitespace();
        STANDARD.decode(words.next().filter(|kind| *kind == KIND).and(words.next())?).ok()
    }
}

/// The lines of cloud-init, with the same key at every boot.
pub(crate) fn console_lines(instance: &str, sshd: Option<&Sshd>, address: std::net::Ipv4Addr) -> String {
    let key = sshd.and_then(Sshd::key).unwrap_or_else(|| {
        // A public key on the wire (RFC 8709): the name of the algorithm and 32 bytes, each behind its length.
        let mut key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        key.extend(Sha256::digest(format!("host key of {instance}").as_bytes()));
        key
    });
    let fingerprint = STANDARD_NO_PAD.encode(Sha256::digest(&key));
    let key = STANDARD.encode(&key);
    let host = format!("ip-{}.ec2.internal", address.to_string().replace('.', "-"));
    format!(
        "-----BEGIN SSH HOST KEY FINGERPRINTS-----\n\
         256 SHA256:{fingerprint} root@{host} (ED25519)\n\
         -----END SSH HOST KEY FINGERPRINTS-----\n\
         -----BEGIN SSH HOST KEY KEYS-----\n\
         {KIND} {key} root@{host}\n\
         -----END SSH HOST KEY KEYS-----\n"
    )
}
