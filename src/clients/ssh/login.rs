//! Authentication by public key: the keys that were named, those of the agent, and the user's default ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::host_key::fingerprint;
use super::{Connection, Target};
use crate::error::{Error, Kind};

/// OpenSSH's servers close the connection after this many attempts (sshd_config, MaxAuthTries 6), of which asking for the methods is one.
const ATTEMPTS: usize = 5;

/// It holds its keys in memory; longer takes one that hangs, or whose forwarded connection does.
const AGENT_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What was offered to the server, for the error.
struct Offered(Vec<String>);

pub(super) async fn login(connection: &Connection, target: &Target) -> Result<(), Error> {
    let session = &connection.session;
    let methods = connection.drive("login", || match session.auth_methods(&target.user) {
        // A server that asks for nothing has let the user in already.
        Err(_) if session.authenticated() => Ok(String::new()),
        other => other.map(str::to_owned),
    });
    let methods = methods.await?;
    if session.authenticated() {
        return Ok(());
    }
    let mut offered = Offered(Vec::new());
    if methods.split(',').any(|method| method == "publickey")
        && offer(connection, target, &mut offered).await?
    {
        return Ok(());
    }
    let tried = match offered.0.is_empty() {
        true => "no key was there to offer".to_owned(),
        false => format!("offered: {}", offered.0.join("; ")),
    };
    Err(Error::new(Kind::Denied, format!("{} did not let `{}` in", target.title, target.user))
        .of("ssh", "login")
        .code("AuthenticationFailed")
        .help(tried)
        .help(format!("the server accepts {methods}"))
        .help("name the private key: `#{ key: \"path\" }`, or add it to the agent with `ssh-add`"))
}

/// Offers one key after the other. A key of a file that needs a passphrase that nobody gave may still be in the agent.
async fn offer(connection: &Connection, target: &Target, offered: &mut Offered) -> Result<bool, Error> {
    for path in &target.identities {
        if offered.full() {
            return Ok(false);
        }
        if with_file(connection, target, path, offered).await? {
            return Ok(true);
        }
    }
    with_agent(connection, target, offered).await
}

async fn with_file(
    connection: &Connection,
    target: &Target,
    path: &Path,
    offered: &mut Offered,
) -> Result<bool, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            offered.0.push(format!("{} (not there)", path.display()));
            return Ok(false);
        }
        Err(source) => return Err(Error::io(format_args!("read the key {}", path.display()), &source)),
    };
    let encrypted = text.contains("ENCRYPTED")
        || ssh_key::PrivateKey::from_openssh(&text).is_ok_and(|key| key.is_encrypted());
    if encrypted && target.passphrase.is_none() {
        offered.0.push(format!("{} (needs its passphrase: `passphrase: secret`)", path.display()));
        return Ok(false);
    }
    let passphrase = target.passphrase.as_ref().filter(|_| encrypted).map(|secret| secret.expose());
    let session = &connection.session;
    let outcome = connection
        .drive("login", || session.userauth_pubkey_memory(&target.user, None, &text, passphrase))
        .await;
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.retryable => Err(error),
        Err(error) => {
            let reason = match encrypted {
                true => format!("{} (refused, or its passphrase is another one)", path.display()),
                false => format!(
                    "{} ({})",
                    path.display(),
                    error.message.trim_start_matches(&format!("{}: ", target.title))
                ),
            };
            offered.0.push(reason);
            Ok(false)
        }
    }
}

async fn with_agent(connection: &Connection, target: &Target, offered: &mut Offered) -> Result<bool, Error> {
    let Some(socket) = std::env::var_os("SSH_AUTH_SOCK") else { return Ok(false) };
    // libssh2 would wait for it for ever, and hold up all that this thread does.
    if let Err(reason) = answers(Path::new(&socket)).await {
        offered.0.push(format!("the agent ({reason})"));
        return Ok(false);
    }
    let session = &connection.session;
    let Ok(mut agent) = session.agent() else { return Ok(false) };
    if let Err(error) = agent.connect().and_then(|()| agent.list_identities()) {
        offered.0.push(format!("the agent ({})", error.message()));
        return Ok(false);
    }
    let wanted: Vec<Vec<u8>> = target.identities.iter().filter_map(|path| public_blob(path)).collect();
    for identity in agent.identities().unwrap_or_default() {
        if target.identities_only && !wanted.iter().any(|blob| blob == identity.blob()) {
            continue;
        }
        if offered.full() {
            break;
        }
        match connection.drive("login", || agent.userauth(&target.user, &identity)).await {
            Ok(()) => return Ok(true),
            Err(error) if error.retryable => return Err(error),
            Err(_) => {
                offered.0.push(format!("agent key {} {}", identity.comment(), fingerprint(identity.blob())))
            }
        }
    }
    Ok(false)
}

/// Whether an agent is there: it is asked for its keys (draft-ietf-sshm-ssh-agent, `SSH_AGENTC_REQUEST_IDENTITIES`).
async fn answers(socket: &Path) -> Result<(), String> {
    let asked = async {
        let mut agent = tokio::net::UnixStream::connect(socket).await?;
        agent.write_all(&[0, 0, 0, 1, 11]).await?;
        agent.read_u8().await
    };
    match tokio::time::timeout(AGENT_ANSWERS_WITHIN, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(source)) => Err(source.to_string()),
        Err(_) => Err(format!("it did not answer within {} s", AGENT_ANSWERS_WITHIN.as_secs())),
    }
}

/// The public half of a key in a file: beside it as `.pub`, or in the clear part of an OpenSSH key.
fn public_blob(path: &Path) -> Option<Vec<u8>> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    let public = std::fs::read_to_string(PathBuf::from(beside))
        .ok()
        .and_then(|text| ssh_key::PublicKey::from_openssh(&text).ok())
        .or_else(|| {
            let key = ssh_key::PrivateKey::from_openssh(std::fs::read_to_string(path).ok()?).ok()?;
            Some(key.public_key().clone())
        })?;
    public.to_bytes().ok()
}

impl Offered {
    fn full(&self) -> bool {
        self.0.iter().filter(|one| !one.ends_with("(not there)")).count() >= ATTEMPTS
    }
}
