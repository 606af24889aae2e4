//! A secret is a type: it prints as `[redacted]`, and its text is reached only through [`Secret::expose`],
//! at the place where it is spent.
//!
//! Whatever was once a secret in this process is also masked by the writers of screens and files
//! ([`mask`]), for the case that a script builds a text out of what a service gave back.

use std::fmt;
use std::sync::{Arc, RwLock};

/// Texts shorter than this are not masked in output: masking `a` would eat every word.
const SHORTEST_MASKED: usize = 6;

/// A shorter line of a secret of several lines may be a word that stands elsewhere as well.
const SHORTEST_LINE: usize = 16;

static KNOWN: RwLock<Vec<Arc<str>>> = RwLock::new(Vec::new());

/// A password, a key or a token.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes `text` into custody.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        if text.len() >= SHORTEST_MASKED {
            let mut known = KNOWN.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            // Of a key in lines, each line is one: it may be printed line by line.
            let lines = text.lines().filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----"));
            for part in lines.map(Arc::from).chain([text.clone()]) {
                if !known.contains(&part) {
                    known.push(part);
                }
            }
            // A secret that contains another one is masked as a whole.
            known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
        Secret(text)
    }

    /// A text that everybody may know, such as a demonstration's password: treated as a secret, and not masked elsewhere.
    pub fn well_known(text: impl Into<Arc<str>>) -> Self {
        Secret(text.into())
    }

    /// Random letters and digits, about 6 bits each, and safe in every URL, password file and shell.
    pub fn generate(length: usize) -> Self {
        use rand::RngExt;
        let text: String =
            rand::rng().sample_iter(rand::distr::Alphanumeric).take(length).map(char::from).collect();
        Secret::new(text)
    }

    /// The text itself. Only to be handed to the service that it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `text` with every secret this process has held replaced by `[redacted]`.
pub fn mask(text: &str) -> String {
    let known = KNOWN.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut masked = text.to_owned();
    for secret in known.iter() {
        if masked.contains(&**secret) {
            masked = masked.replace(&**secret, "[redacted]");
        }
    }
    masked
}

/// Whether an access key of an account is in a text: `AKIA` or `ASIA` and 16 letters and digits (IAM User Guide, "Unique
/// identifiers").
pub fn holds_access_key(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
        word.len() == 20
            && (word.starts_with("AKIA") || word.starts_with("ASIA"))
            && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    })
}

/// Whether a text is secret by its form: a token of GitHub or Slack, a private key, a URL with a password.
pub fn holds_key_material(text: &str) -> bool {
    let is_token = ["ghp_", "github_pat_", "gho_", "xoxb-"]
        .iter()
        .any(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.len() >= 16));
    let is_key = text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----");
    let has_password =
        text.split_once("://").and_then(|(_, rest)| rest.split_once('@')).is_some_and(|(user, _)| {
            user.split_once(':').is_some_and(|(_, password)| !password.is_empty() && !user.contains('/'))
        });
    is_token || is_key || has_password
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("correct horse");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(mask("the password is correct horse!"), "the password is [redacted]!");
    }

    #[test]
    fn generated_secrets_differ_and_are_long() {
        let (one, two) = (Secret::generate(32), Secret::generate(32));
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), 32);
    }
}
