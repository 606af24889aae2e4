//! Which host key a server may show: one that was pinned, or one in a `known_hosts` file. Nothing is trusted at first sight unless
//! that was asked for.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};
use ssh2::{CheckResult, KnownHostFileKind, Session};

use super::Target;
use crate::error::{Error, Kind};

/// The signatures that are accepted with a host key, by the key's type: SHA-1 and DSA are not among them.
const ALGORITHMS: [(&str, &str); 5] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256"),
];

/// How a server proves that it is the one that is meant.
#[derive(Debug, Clone)]
pub enum HostKeys {
    /// It has one of these keys (`ssh-ed25519 AAAA..`) or fingerprints (`SHA256:..`), which came from `source`.
    Pinned { keys: Vec<String>, source: String },
    /// It has a key that one of these files knows it by.
    Known {
        files: Vec<PathBuf>,
        /// The name to look up where it is not the host's.
        alias: Option<String>,
        /// Whether an unknown server is believed, and written into the first file.
        trust_new: bool,
    },
}

/// A line of a `known_hosts` file that speaks of the host.
struct Line {
    place: String,
    revoked: bool,
    kind: String,
    key: String,
}

impl HostKeys {
    /// What to ask the server for: the types of keys it is known by come first, else it could show another one of its keys.
    pub(super) fn preferred(&self, target: &Target, session: &Session) -> Result<String, Error> {
        let known: Vec<String> = match self {
            HostKeys::Pinned { keys, .. } => {
                keys.iter().filter_map(|key| key.split_whitespace().next()).map(str::to_owned).collect()
            }
            HostKeys::Known { .. } => {
                self.lines(target, session)?.into_iter().map(|line| line.kind).collect()
            }
        };
        let (mut first, rest): (Vec<_>, Vec<_>) =
            ALGORITHMS.iter().partition(|(kind, _)| known.iter().any(|known| known == kind));
        first.extend(rest);
        Ok(first.iter().map(|(_, signatures)| *signatures).collect::<Vec<_>>().join(","))
    }

    /// Fails unless the key that the server has shown is one of its keys.
    pub(super) fn check(&self, target: &Target, session: &Session) -> Result<(), Error> {
        let Some((blob, _)) = session.host_key() else {
            return Err(denied("HostKeyUnknown", format!("{} shows no host key", target.title)));
        };
        let shown = STANDARD.encode(blob);
        let print = fingerprint(blob);
        match self {
            HostKeys::Pinned { keys, source } => {
                let is_shown = |key: &String| match key.strip_prefix("SHA256:") {
                    Some(_) => key.trim_end_matches('=') == print,
                    None => key.split_whitespace().nth(1) == Some(&shown),
                };
                if keys.iter().any(is_shown) {
                    return Ok(());
                }
                let error =
                    changed(target, &print).help(format!("the key that was expected comes from {source}"));
                if keys.iter().any(|key| key.starts_with("SHA256:")) {
                    return Err(error.help(format!(
                        "it was asked for its {} key: if the fingerprint is of another one, give that key itself, as in its .pub file",
                        kind(blob)
                    )));
                }
                Err(error)
            }
            HostKeys::Known { files, trust_new, .. } => {
                let lines = self.lines(target, session)?;
                if let Some(line) = lines.iter().find(|line| line.revoked && line.key == shown) {
                    return Err(denied(
                        "HostKeyRevoked",
                        format!("the host key of {} is revoked by {}", target.title, line.place),
                    ));
                }
                let valid: Vec<_> = lines.iter().filter(|line| !line.revoked).collect();
                if valid.iter().any(|line| line.key == shown) {
                    return Ok(());
                }
                if let Some(line) = valid.first() {
                    return Err(changed(target, &print).help(format!(
                        "the known key is in {}: remove that line if the server was really given another key",
                        line.place
                    )));
                }
                let (Some(file), true) = (files.first(), *trust_new) else {
                    return Err(denied(
                        "HostKeyUnknown",
                        format!("the host key of {} is not known: it shows {print}", target.title),
                    )
                    .help("compare the fingerprint with the one that the server's owner gives you (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on it)")
                    .help(format!(
                        "then add it with `ssh-keyscan -p {} {} >> {}`, or name it: `host_key: \"{print}\"`",
                        target.port,
                        target.hostname,
                        files.first().map_or_else(|| "~/.ssh/known_hosts".into(), |file| file.display().to_string())
                    )));
                };
                remember(file, &format!("{} {} {shown}\n", self.name(target), kind(blob)))
            }
        }
    }

    /// The name that files know the server by.
    fn name(&self, target: &Target) -> String {
        match self {
            HostKeys::Known { alias: Some(alias), .. } => alias.clone(),
            _ if target.port == 22 => target.hostname.to_lowercase(),
            _ => format!("[{}]:{}", target.hostname.to_lowercase(), target.port),
        }
    }

    fn lines(&self, target: &Target, session: &Session) -> Result<Vec<Line>, Error> {
        let HostKeys::Known { files, .. } = self else { return Ok(Vec::new()) };
        let name = self.name(target);
        let mut found = Vec::new();
        for file in files {
            let text = match std::fs::read(file) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Error::io(format_args!("read {}", file.display()), &source)),
            };
            for (number, line) in text.lines().enumerate() {
                let mut words = line.split_whitespace().peekable();
                let marker = words.next_if(|word| word.starts_with('@'));
                let (Some(names), Some(kind), Some(key)) = (words.next(), words.next(), words.next()) else {
                    continue;
                };
                // A line for an authority vouches for certificates, which are not asked for.
                if names.starts_with('#') || marker == Some("@cert-authority") {
                    continue;
                }
                if is_named(names, &name, session) {
                    found.push(Line {
                        place: format!("{}:{}", file.display(), number + 1),
                        revoked: marker == Some("@revoked"),
                        kind: kind.to_owned(),
                        key: key.to_owned(),
                    });
                }
            }
        }
        Ok(found)
    }
}

/// Whether the names of a line (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT") mean `name`.
fn is_named(names: &str, name: &str, session: &Session) -> bool {
    if names.starts_with("|1|") {
        // Hashed. libssh2 knows how; it gets a line with any key, and is asked for the name.
        let key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20................................";
        let line = format!("{names} ssh-ed25519 {}", STANDARD.encode(key));
        return session.known_hosts().is_ok_and(|mut known| {
            known.read_str(&line, KnownHostFileKind::OpenSSH).is_ok()
                && matches!(known.check(name, key), CheckResult::Match)
        });
    }
    let mut named = false;
    for pattern in names.split(',') {
        match pattern.strip_prefix('!') {
            Some(refused) if matches(refused, name) => return false,
            None if matches(pattern, name) => named = true,
            _ => {}
        }
    }
    named
}

/// Whether `name` fits `pattern`, in which `*` stands for any text and `?` for one character (ssh_config(5), "PATTERNS").
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.to_lowercase().chars().collect(), name.to_lowercase().chars().collect());
    // The places of `name` up to which the pattern so far can reach.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for wanted in pattern {
        let mut next = vec![false; name.len() + 1];
        match wanted {
            '*' => {
                let first = reached.iter().position(|reached| *reached).unwrap_or(name.len() + 1);
                next.iter_mut().skip(first).for_each(|place| *place = true);
            }
            _ => {
                for place in 0..name.len() {
                    next[place + 1] = reached[place] && (wanted == '?' || wanted == name[place]);
                }
            }
        }
        reached = next;
    }
    reached[name.len()]
}

/// `SHA256:` and the digest of a public key, as `ssh-keygen -l` prints it.
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// The type of a public key: its first field (RFC 4253, 6.6).
fn kind(blob: &[u8]) -> String {
    let length = blob.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    String::from_utf8_lossy(blob.get(4..4 + length).unwrap_or_default()).into_owned()
}

fn remember(file: &Path, line: &str) -> Result<(), Error> {
    let write = || {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(file)?
            .write_all(line.as_bytes())
    };
    write().map_err(|source| Error::io(format_args!("write the host key into {}", file.display()), &source))
}

fn changed(target: &Target, print: &str) -> Error {
    denied(
        "HostKeyChanged",
        format!(
            "the host key of {} is not the known one: it shows {print}, and somebody may be in between",
            target.title
        ),
    )
    .help("nothing was sent to it, and no key was offered")
}

fn denied(code: &str, message: String) -> Error {
    Error::new(Kind::Denied, message).of("ssh", "connect").code(code)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_ssh_config() {
        for (pattern, name, wanted) in [
            ("*", "", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("web-?", "web-1", true),
            ("web-?", "web-12", false),
            ("Web", "web", true),
            ("10.0.*.1", "10.0.77.1", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
