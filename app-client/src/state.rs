//! The state file of a deployment, as far as a client needs it: where the server is and how it
//! proves who it is. Written by `ops`; read here by name, so the two programs share no code.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

const DEFAULT: &str = "deploy_config.json";
const LOCAL: &str = "deploy_config.local.json";

/// Which state file is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The one there is, from the current folder upwards.
    Any,
    /// The one of the local cloud.
    Local,
    Exactly(PathBuf),
}

#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("no state file {wanted} in {folder} or a folder above it", folder = folder.display())]
    NotFound { wanted: &'static str, folder: PathBuf },
    #[error("several deployments in {folder}: {}", names.join(", "), folder = folder.display())]
    Several { folder: PathBuf, names: Vec<String> },
    #[error("cannot read the state file {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the state file {} is damaged: {source}", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("the state file {} names no server: `{key}` is missing", path.display())]
    NoServer { path: PathBuf, key: &'static str },
}

impl Error {
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NotFound { wanted: LOCAL, .. } => {
                "start the local cloud with `ops run deploy.rhai --local`".to_owned()
            }
            Self::NotFound { .. } => {
                "deploy first: `ops run deploy.rhai --local` on this machine, `ops run deploy.rhai` on AWS; \
                 or name a server with `--host`"
                    .to_owned()
            }
            Self::Several { names, .. } => {
                let first = names.first().map_or(DEFAULT, String::as_str);
                format!("choose one, for instance `--state {first}`")
            }
            Self::Read { .. } => {
                "check the name and the permissions, or name a server with `--host`".to_owned()
            }
            Self::Damaged { path, .. } => {
                format!("deploying again rebuilds it from what is running: `{}`", deploy(path))
            }
            Self::NoServer { path, .. } => {
                format!("the deployment has not come that far: run `{}` to the end", deploy(path))
            }
        }
    }
}

/// The command that writes this state file.
fn deploy(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let local = if name.starts_with("deploy_config.local.") { " --local" } else { "" };
    format!("ops run deploy.rhai{local}")
}

#[derive(Debug, Deserialize)]
struct Document {
    server_public_ip: Option<String>,
    server_private_ip: Option<String>,
    server_port: Option<u16>,
    #[serde(default)]
    nlb_enabled: bool,
    nlb_dns: Option<String>,
    nlb_port: Option<u16>,
    server_name: Option<String>,
    server_ca: Option<String>,
    db_name: Option<String>,
    passfile: Option<PathBuf>,
}

/// What a state file says about where to connect.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) path: PathBuf,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) server_name: Option<String>,
    pub(crate) server_ca: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) passfile: Option<PathBuf>,
}

/// The seed's port; a state file from before the port was recorded means this one.
const SERVER_PORT: u16 = 8080;

impl State {
    pub(crate) fn find(choice: &Choice, from: &Path) -> Result<Self, Error> {
        let path = match choice {
            Choice::Exactly(path) => from.join(path),
            Choice::Local => search(from, LOCAL, |folder| Ok(existing(folder.join(LOCAL))))?,
            Choice::Any => search(from, DEFAULT, |folder| match existing(folder.join(DEFAULT)) {
                Some(path) => Ok(Some(path)),
                None => match existing(folder.join(LOCAL)) {
                    Some(path) => Ok(Some(path)),
                    None => of_a_stack(folder),
                },
            })?,
        };
        Self::read(path)
    }

    fn read(path: PathBuf) -> Result<Self, Error> {
        let text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let document: Document =
            serde_json::from_str(&text).map_err(|source| Error::Damaged { path: path.clone(), source })?;
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        let (host, port, key) = match document.nlb_enabled {
            true => (document.nlb_dns, document.nlb_port.or(document.server_port), "nlb_dns"),
            // A server without a public address is reached at its other one, from where that leads to it.
            false => {
                let host = given(document.server_public_ip).or(document.server_private_ip);
                (host, document.server_port, "server_public_ip")
            }
        };
        let host = given(host).ok_or_else(|| Error::NoServer { path: path.clone(), key })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Ok(Self {
            host,
            port: port.unwrap_or(SERVER_PORT),
            server_name: given(document.server_name),
            server_ca: given(document.server_ca),
            database: given(document.db_name),
            passfile: document
                .passfile
                .filter(|file| !file.as_os_str().is_empty())
                .map(|file| folder.join(file)),
            path,
        })
    }
}

/// The first folder from `from` upwards where `look` finds something.
fn search(
    from: &Path,
    wanted: &'static str,
    look: impl Fn(&Path) -> Result<Option<PathBuf>, Error>,
) -> Result<PathBuf, Error> {
    for folder in from.ancestors() {
        if let Some(path) = look(folder)? {
            return Ok(path);
        }
    }
    Err(Error::NotFound { wanted, folder: from.to_owned() })
}

fn existing(path: PathBuf) -> Option<PathBuf> {
    path.exists().then_some(path)
}

/// `deploy_config.<stack>.json`, if there is exactly one.
fn of_a_stack(folder: &Path) -> Result<Option<PathBuf>, Error> {
    // A folder above that may not be listed holds nothing for this user.
    let Ok(files) = fs::read_dir(folder) else { return Ok(None) };
    let mut names: Vec<String> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("deploy_config.") && name.ends_with(".json"))
        .filter(|name| name.len() > DEFAULT.len())
        .collect();
    names.sort();
    match names.as_slice() {
        [] => Ok(None),
        [name] => Ok(Some(folder.join(name))),
        _ => Err(Error::Several { folder: folder.to_owned(), names }),
    }
}
