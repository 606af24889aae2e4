//! GitHub's REST API: the secrets of a repository's Actions, sealed so that only GitHub can open them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_box::PublicKey;
use serde::Deserialize;
use serde_json::{Value, json};
use ssh_key::rand_core::OsRng;

use crate::error::{Error, Kind};
use crate::secret::Secret;

/// The version of the API whose answers this reads (GitHub REST API, "API Versions").
const API_VERSION: &str = "2022-11-28";

/// Secrets of one page; GitHub gives 30 if nothing is asked, 100 at most.
const PAGE: usize = 100;

/// A client with a token.
#[derive(Debug, Clone)]
pub struct GitHub {
    octocrab: octocrab::Octocrab,
}

/// The key for which a repository's secrets are sealed.
#[derive(Debug, Deserialize)]
pub struct SealingKey {
    pub key_id: String,
    key: String,
}

/// What GitHub tells of a secret. Its value it never shows.
#[derive(Debug, Deserialize)]
pub struct Known {
    pub name: String,
    pub updated_at: String,
}

#[derive(Deserialize)]
struct Page {
    secrets: Vec<Known>,
}

impl SealingKey {
    /// Seals a value as libsodium's `crypto_box_seal`, in base64.
    pub fn seal(&self, value: &Secret) -> Result<String, Error> {
        let unusable = || {
            Error::new(Kind::Internal, "GitHub gave a public key that is none").of("github", "GetPublicKey")
        };
        let key = STANDARD.decode(&self.key).map_err(|_| unusable())?;
        let key = PublicKey::from_slice(&key).map_err(|_| unusable())?;
        let sealed = key.seal(&mut OsRng, value.expose().as_bytes());
        Ok(STANDARD.encode(sealed.map_err(|_| Error::internal("a value could not be sealed"))?))
    }
}

impl GitHub {
    /// Makes a client for the API at `url`. Has to run inside the runtime.
    pub fn new(url: &str, token: &Secret) -> Result<Self, Error> {
        let token = token.expose().trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid("the GitHub token has characters that no token has")
                .help("look for spaces or line ends in GITHUB_TOKEN"));
        }
        let failed =
            |error: octocrab::Error| Error::invalid(format!("no way to GitHub at {url}: {}", brief(&error)));
        let mut builder = octocrab::Octocrab::builder().base_uri(url).map_err(failed)?.personal_token(token);
        for (name, value) in
            [("x-github-api-version", API_VERSION), ("accept", "application/vnd.github+json")]
        {
            let name = name.parse().map_err(|_| Error::internal("a header's name could not be read"))?;
            builder = builder.add_header(name, value.to_owned());
        }
        Ok(GitHub { octocrab: builder.build().map_err(failed)? })
    }

    /// The repository's public key. Fails with kind `not_found` where there is no such repository, or the token may not see it.
    pub async fn sealing_key(&self, repository: &str) -> Result<SealingKey, Error> {
        let route = format!("/repos/{repository}/actions/secrets/public-key");
        self.get("GetPublicKey", repository, &route).await
    }

    pub async fn secrets(&self, repository: &str) -> Result<Vec<Known>, Error> {
        let mut known = Vec::new();
        for page in 1.. {
            let route = format!("/repos/{repository}/actions/secrets?per_page={PAGE}&page={page}");
            let Page { secrets } = self.get("ListSecrets", repository, &route).await?;
            let last = secrets.len() < PAGE;
            known.extend(secrets);
            if last {
                break;
            }
        }
        Ok(known)
    }

    /// What GitHub tells of one secret.
    pub async fn secret(&self, repository: &str, name: &str) -> Result<Known, Error> {
        self.get("GetSecret", repository, &format!("/repos/{repository}/actions/secrets/{name}")).await
    }

    /// Creates or replaces a secret: 201 and 204.
    pub async fn put_secret(
        &self,
        repository: &str,
        name: &str,
        key_id: &str,
        sealed: &str,
    ) -> Result<(), Error> {
        let route = format!("/repos/{repository}/actions/secrets/{name}");
        let body = json!({ "encrypted_value": sealed, "key_id": key_id });
        self.send("PutSecret", repository, route, Some(&body)).await.map(drop)
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        operation: &str,
        repository: &str,
        route: &str,
    ) -> Result<T, Error> {
        let text = self.send(operation, repository, route.to_owned(), None).await?;
        serde_json::from_str(&text).map_err(|error| {
            Error::internal(format!("GitHub's answer cannot be read: {error}")).of("github", operation)
        })
    }

    /// Gets, or puts a body. The text of the answer, or why GitHub has refused.
    async fn send(
        &self,
        operation: &str,
        repository: &str,
        route: String,
        body: Option<&Value>,
    ) -> Result<String, Error> {
        let answer = match body {
            Some(body) => self.octocrab._put(route, Some(body)).await,
            None => self.octocrab._get(route).await,
        };
        let answer = answer.map_err(|error| unreachable(&error))?;
        let status = answer.status().as_u16();
        let header = |name: &str| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let refused = Refusal {
            status,
            sso: header("x-github-sso"),
            remaining: header("x-ratelimit-remaining"),
            reset: header("x-ratelimit-reset"),
            retry_after: header("retry-after"),
        };
        let request_id = header("x-github-request-id");
        let text = self.octocrab.body_to_string(answer).await.map_err(|error| unreachable(&error))?;
        if (200..300).contains(&status) {
            return Ok(text);
        }
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = said["message"].as_str().unwrap_or("GitHub gave no reason");
        Err(refused
            .explain(said, repository)
            .of("github", operation)
            .code(status.to_string())
            .request_id(request_id))
    }
}

/// What an answer tells of a refusal, beside its text.
struct Refusal {
    status: u16,
    sso: String,
    remaining: String,
    reset: String,
    retry_after: String,
}

impl Refusal {
    fn explain(&self, said: &str, repository: &str) -> Error {
        // "required; url=https://github.com/orgs/..": the token is good, and not yet for this organisation.
        if let Some((_, url)) = self.sso.split_once("url=") {
            return Error::new(Kind::Denied, format!("the organisation asks for single sign-on: {said}"))
                .help(format!("allow the token for the organisation at {}", url.trim()));
        }
        let limited =
            matches!(self.status, 403 | 429) && (self.remaining == "0" || !self.retry_after.is_empty());
        match self.status {
            403 | 429 if limited || self.status == 429 => Error::new(Kind::Throttled, said)
                .retryable(true)
                .help(format!("GitHub takes requests again {}; then run the same command again", self.again())),
            401 => Error::new(Kind::Denied, format!("GitHub does not accept the token: {said}"))
                .help("make a new one with the permission `Secrets: read and write` on the repository, and set GITHUB_TOKEN"),
            403 => Error::new(Kind::Denied, said)
                .help(format!("the token needs the permission `Secrets: read and write` on {repository}, or the scope `repo`")),
            404 => Error::new(Kind::NotFound, format!("there is no {repository}, or the token may not see it: {said}"))
                .help("see whether the name is right, and whether the token may read this repository"),
            301 | 302 | 307 | 308 => Error::new(Kind::NotFound, format!("{repository} was renamed or has moved: {said}"))
                .help("use its new name: `git remote set-url origin ..`"),
            500.. => Error::new(Kind::Unavailable, said).retryable(true),
            _ => Error::invalid(said),
        }
    }

    /// When a limit is over, in words.
    fn again(&self) -> String {
        if let Ok(seconds) = self.retry_after.parse::<u64>() {
            return format!("in {seconds} s");
        }
        let reset = self.reset.parse().ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
        reset.map_or_else(|| "after a while".to_owned(), |moment| format!("at {moment}"))
    }
}

fn unreachable(error: &octocrab::Error) -> Error {
    Error::new(Kind::Unavailable, format!("cannot reach GitHub: {}", brief(error))).retryable(true)
}

/// The causes of an error in one line; octocrab's own text ends with a backtrace.
fn brief(error: &octocrab::Error) -> String {
    let mut source = std::error::Error::source(error);
    let mut text = source.map_or_else(|| error.to_string(), ToString::to_string);
    while let Some(cause) = source.and_then(std::error::Error::source) {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text += ": ";
            text += &cause_text;
        }
        source = Some(cause);
    }
    text.lines().next().unwrap_or_default().to_owned()
}
