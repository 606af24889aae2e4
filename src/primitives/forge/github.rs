//! `github::` a repository's secrets for GitHub Actions. GitHub never shows a value, so what was set is remembered here as a keyed
//! fingerprint: a second run knows what is unchanged.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rhai::{Array, Dynamic};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::clients::github::GitHub;
use crate::error::{Error, Kind};
use crate::host::{Host, private_folder};
use crate::primitives::declaration::{Function, Holds, Options, describe, required};
use crate::primitives::local::{env, secrets};
use crate::primitives::namespace::{Call, Namespace};
use crate::secret::Secret;
use crate::state::write_atomically;

/// A repository on GitHub, and who asks.
#[derive(Clone)]
struct Repository {
    name: String,
    token: Secret,
}

const REPOSITORY: Function = Function {
    name: "repository",
    doc: "A repository on GitHub, as `owner/name`. Nothing is asked yet. `GITHUB_API_URL` names another API than GitHub's own.",
    parameters: &["name: string"],
    returns: "Repository",
    permissions: &[],
    example: r#"
        file::write("app.env", #{ text: "GITHUB_TOKEN=example\n", mode: "0600" });
        print(github::repository("octo/music-app", #{ token: env::load("app.env").secret("GITHUB_TOKEN") }));"#,
    keys: &[required(
        "token",
        Holds::A("a secret", |value| secrets::spent(value).is_some()),
        "A token with the permission `Secrets: read and write`",
    )],
};

const ENSURE_SECRET: Function = Function {
    name: "ensure_secret",
    doc: "Sets a secret for the repository's Actions: `created`, `updated` or `unchanged`. The value is sealed with the repository's key \
          before it is sent. Unchanged is what this project has set to the same value, and nobody has touched on GitHub since.\n\
          GitHub `GET /actions/secrets`, `GET /actions/secrets/public-key`, `PUT /actions/secrets/{name}`.",
    parameters: &["name: string", "value: ?"],
    returns: "string",
    permissions: &[],
    example: r#"
        file::write("app.env", #{ text: "GITHUB_TOKEN=example\n", mode: "0600" });
        let repository = github::repository("octo/music-app", #{ token: env::load("app.env").secret("GITHUB_TOKEN") });
        let done = attempt(|| repository.ensure_secret("EC2_HOST", "203.0.113.7"));"#,
    keys: &[],
};

const LIST_SECRETS: Function = Function {
    name: "list_secrets",
    doc: "The names of the secrets of the repository's Actions. GitHub `GET /actions/secrets`.",
    parameters: &[],
    returns: "list",
    permissions: &[],
    example: r#"
        file::write("app.env", #{ text: "GITHUB_TOKEN=example\n", mode: "0600" });
        let repository = github::repository("octo/music-app", #{ token: env::load("app.env").secret("GITHUB_TOKEN") });
        let names = attempt(|| repository.list_secrets());"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("github", host);
    namespace
        .handle::<Repository>("Repository")
        .with_options(&REPOSITORY, repository)
        .method2(&ENSURE_SECRET, ensure_secret)
        .method0(&LIST_SECRETS, |call, repository: &Repository| {
            let known =
                call.block_without_account(async { repository.github()?.secrets(&repository.name).await })?;
            Ok(known.into_iter().map(|secret| secret.name.into()).collect::<Array>())
        })
        .property("name", "Its owner and name.", |_, repository: &Repository| Ok(repository.name.clone()))
        .identified(|repository: &Repository| format!("repository {}", repository.name));
    namespace
}

fn repository(_: &Call, name: String, options: &Options) -> Result<Repository, Error> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    if !matches!(name.split_once('/'), Some((owner, name)) if part(owner) && part(name)) {
        return Err(Error::invalid(format!("`{name}` is no repository of GitHub"))
            .help("write it as `owner/name`: octo/music-app"));
    }
    let token = options.get("token").and_then(secrets::spent);
    Ok(Repository { name, token: token.ok_or_else(|| Error::internal("the token is gone"))? })
}

impl Repository {
    /// Has to run inside the runtime.
    fn github(&self) -> Result<GitHub, Error> {
        let url = env::find("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned());
        GitHub::new(&url, &self.token)
    }
}

/// The most that GitHub takes as a secret (GitHub Actions, "Limits for secrets").
const LARGEST: usize = 48 * 1024;

fn ensure_secret(call: &Call, it: &Repository, name: String, value: Dynamic) -> Result<String, Error> {
    let usable = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.to_ascii_uppercase().starts_with("GITHUB_");
    if !usable {
        return Err(Error::invalid(format!("`{name}` cannot be the name of a secret of GitHub"))
            .help("use letters, digits and `_`, not beginning with a digit or with GITHUB_"));
    }
    let value = match (secrets::spent(&value), value.is_string()) {
        (Some(secret), _) => secret,
        (None, true) => Secret::well_known(value.into_string().unwrap_or_default()),
        (None, false) => {
            let found = describe(&value);
            return Err(Error::invalid(format!("the secret {name} is a text or a secret, and not {found}")));
        }
    };
    if value.expose().is_empty() || value.expose().len() > LARGEST {
        return Err(Error::invalid(format!("the secret {name} is empty or larger than {LARGEST} bytes")));
    }
    // GitHub writes names in capitals.
    let name = name.to_ascii_uppercase();
    let known = call.block_without_account(async { it.github()?.secrets(&it.name).await })?;
    let known = known.into_iter().find(|secret| secret.name == name);
    let mut memory = Memory::read(call)?;
    let thing = format!("{}/{name}", it.name);
    let fingerprint = memory.fingerprint(&thing, &value)?;
    let outcome = match &known {
        None => "created",
        Some(known) if memory.remembers(&thing, &fingerprint, &known.updated_at) => {
            return Ok("unchanged".to_owned());
        }
        Some(_) => "updated",
    };
    call.effect(&format!("set the secret {name} of {}: it would be {outcome}", it.name))?;
    let now = call.block_without_account(async {
        let github = it.github()?;
        let key = github.sealing_key(&it.name).await?;
        github.put_secret(&it.name, &name, &key.key_id, &key.seal(&value)?).await?;
        github.secret(&it.name, &name).await
    })?;
    memory.secrets.insert(thing, Remembered { fingerprint, updated_at: now.updated_at });
    memory.write(call)?;
    Ok(outcome.to_owned())
}

/// What this project has set, where.
#[derive(Serialize, Deserialize)]
struct Memory {
    /// Keys the fingerprints, so that they tell nothing to whoever has them alone.
    key: String,
    secrets: BTreeMap<String, Remembered>,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    fingerprint: String,
    /// What GitHub said when it was set: another moment means that somebody else has set it.
    updated_at: String,
}

impl Memory {
    fn path(host: &Host) -> PathBuf {
        host.project.folder.join("github.json")
    }

    fn read(host: &Host) -> Result<Self, Error> {
        let path = Self::path(host);
        match std::fs::read_to_string(&path) {
            // Only a memory: without it every secret is set once more.
            Ok(text) => Ok(serde_json::from_str(&text).unwrap_or_else(|_| Self::new())),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(Self::new()),
            Err(source) => Err(Error::io(format_args!("read {}", path.display()), &source)),
        }
    }

    fn new() -> Self {
        Memory { key: Secret::generate(32).expose().to_owned(), secrets: BTreeMap::new() }
    }

    fn write(&self, host: &Host) -> Result<(), Error> {
        private_folder(&host.project.folder)?;
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::internal(error.to_string()))?;
        let path = Self::path(host);
        write_atomically(&path, &text)
            .map_err(|source| Error::io(format_args!("write {}", path.display()), &source))
    }

    fn fingerprint(&self, thing: &str, value: &Secret) -> Result<String, Error> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes())
            .map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
        // The length keeps name and value apart.
        mac.update(&(thing.len() as u64).to_be_bytes());
        mac.update(thing.as_bytes());
        mac.update(value.expose().as_bytes());
        Ok(STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn remembers(&self, thing: &str, fingerprint: &str, updated_at: &str) -> bool {
        self.secrets.get(thing).is_some_and(|it| it.fingerprint == fingerprint && it.updated_at == updated_at)
    }
}
