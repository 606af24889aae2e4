//! Where to connect, as whom, and how far the server must prove itself.
//!
//! Flags win over the URL, then come a service of libpq's service file, `PG*` variables,
//! `app-client.toml` and the state file. A host that is named by one of the first four leaves the two
//! files of the project out altogether: the authority in them speaks for another server.

mod configuration;
mod service;
mod settings;
mod url;

use std::env;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use thiserror::Error;

use crate::connection::{Address, Authorities, Verification};
use crate::password::{self, Password};
use crate::state::{self, State};
use settings::{Authority, Settings, variable};
use url::Url;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where to connect")]
pub(crate) struct Place {
    /// Host name, address, or folder of a Unix socket
    #[arg(short = 'h', long, global = true, conflicts_with_all = ["local", "state", "url"])]
    host: Option<String>,
    /// Port
    #[arg(short, long, global = true)]
    port: Option<u16>,
    /// User to log in as
    #[arg(short = 'U', long, global = true)]
    user: Option<String>,
    /// Database
    #[arg(short, long, global = true)]
    database: Option<String>,
    /// All of it in one: postgresql://user@host:port/database?sslmode=verify-full
    #[arg(long, global = true, conflicts_with_all = ["local", "state"])]
    url: Option<String>,
    /// How far the server must prove who it is
    #[arg(long, global = true, value_name = "MODE")]
    sslmode: Option<SslMode>,
    /// Certificate of the authority that signed the server's certificate (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Name to expect in the server's certificate, if it is not the host
    #[arg(long, global = true, value_name = "NAME")]
    server_name: Option<String>,
    /// Connect to the deployment in the local cloud
    #[arg(long, global = true, conflicts_with = "state")]
    local: bool,
    /// Connect to the deployment that this state file describes
    #[arg(long, global = true, value_name = "FILE")]
    state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SslMode {
    /// Not encrypted
    Disable,
    /// Encrypted, towards whoever answers
    Require,
    /// Encrypted, certificate signed by a known authority
    VerifyCa,
    /// And issued for this host; the default towards other machines
    VerifyFull,
}

impl SslMode {
    const EXPECTED: &str =
        "disable, require, verify-ca or verify-full (app-client never goes unencrypted by itself)";
}

pub(crate) struct Target {
    /// Who said where the server is: a flag, a variable, a state file.
    pub(crate) origin: String,
    pub(crate) address: Address,
    /// The name that the certificate must carry.
    pub(crate) server_name: String,
    /// `None` is an unencrypted connection.
    pub(crate) verification: Option<Verification>,
    /// Whether a server without TLS is refused.
    pub(crate) tls_required: bool,
    pub(crate) authorities: Authorities,
    pub(crate) user: String,
    pub(crate) database: String,
    /// What the session is called in the server's views and logs.
    pub(crate) application_name: String,
    /// Settings that the session begins with, as `-c name=value ..`.
    pub(crate) options: Option<String>,
    /// The one that the session begins with, if it is not the server's.
    pub(crate) time_zone: Option<String>,
    /// For the connection, and for each answer during the login.
    pub(crate) timeout: Duration,
    /// The one that a service file holds.
    pub(crate) password: Option<Password>,
    pub(crate) passfiles: Vec<PathBuf>,
}

#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error("the URL cannot be used: {reason}")]
    Url { reason: String },
    #[error("{variable} is `{value}`; expected {expected}")]
    Variable { variable: &'static str, value: String, expected: &'static str },
    #[error("no user to log in as")]
    NoUser { known: Vec<String> },
    #[error("cannot read the authority's certificate {}: {source}", path.display())]
    Authority { path: PathBuf, source: io::Error },
    #[error("cannot read {}: {source}", path.display())]
    Configuration { path: PathBuf, source: io::Error },
    #[error("{} cannot be used: {source}", path.display())]
    DamagedConfiguration { path: PathBuf, source: Box<toml_edit::de::Error> },
    #[error("no service `{name}` in {}", listed(files))]
    NoService { name: String, files: Vec<PathBuf> },
    #[error("cannot read the service file {}: {source}", path.display())]
    ServiceFile { path: PathBuf, source: io::Error },
    #[error("{place}: {reason}")]
    Service { place: String, reason: String },
    #[error("the current folder cannot be found: {source}")]
    Folder { source: io::Error },
}

impl Error {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::State(error) => Some(error.hint()),
            Self::NoUser { known } if known.is_empty() => Some("give one with `--user NAME`".to_owned()),
            Self::NoUser { known } => Some(format!(
                "the password file knows: {}; for instance `--user {}`",
                known.join(", "),
                known[0]
            )),
            Self::NoService { name, .. } => {
                Some(format!("add a section `[{name}]` with host, port, dbname and user, or unset PGSERVICE"))
            }
            Self::DamagedConfiguration { .. } => Some(
                "`ops run update_config` writes host, port, database, ca and server_name; user and sslmode may be added"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

fn listed(files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    if names.is_empty() {
        "a service file, for there is no home folder".to_owned()
    } else {
        names.join(" or ")
    }
}

/// libpq's default port.
const PORT: u16 = 5432;
/// Long enough for a cold NLB or a far region; a closed port answers at once.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Target {
    /// What the server's certificate has to stand up to.
    pub(crate) fn verified(&self) -> String {
        match self.verification {
            Some(Verification::Full) => format!("verified as {}", self.server_name),
            Some(Verification::Authority) => "authority verified, name not".to_owned(),
            Some(Verification::Nothing) | None => "not verified".to_owned(),
        }
    }
}

impl Place {
    /// The same place for another user.
    pub(crate) fn named(&self, user: &str) -> Self {
        Self { user: Some(user.to_owned()).filter(|user| !user.is_empty()), ..self.clone() }
    }

    pub(crate) fn resolve(&self) -> Result<Target, Error> {
        let settings = self.settings()?;
        let host = settings.host.unwrap_or_default();
        let port = settings.port.unwrap_or(PORT);
        let address = match host.starts_with('/') {
            true => Address::Unix(Path::new(&host).join(format!(".s.PGSQL.{port}"))),
            false => Address::Tcp { host: host.clone(), port },
        };
        let server_name = settings.server_name.unwrap_or_else(|| host.clone());
        let passfiles = passfiles(settings.passfile);
        let user = settings.user.ok_or_else(|| Error::NoUser {
            known: passfiles
                .iter()
                .flat_map(|file| {
                    let database = settings.database.as_deref().unwrap_or_default();
                    password::users(file, &address, &server_name, database)
                })
                .collect(),
        })?;
        let authorities = authorities(settings.authority)?;
        let (verification, tls_required) = encryption(settings.sslmode, &host, &authorities);
        Ok(Target {
            origin: settings.origin,
            address,
            server_name,
            verification,
            tls_required,
            authorities,
            database: settings.database.unwrap_or_else(|| user.clone()),
            user,
            application_name: variable("PGAPPNAME").unwrap_or_else(|| "app-client".to_owned()),
            options: variable("PGOPTIONS"),
            time_zone: variable("PGTZ"),
            timeout: settings.timeout.unwrap_or(TIMEOUT),
            password: settings.password,
            passfiles,
        })
    }

    /// Every source, laid over each other. A host is in it.
    fn settings(&self) -> Result<Settings, Error> {
        let url = self.url.as_deref().map(Url::parse).transpose()?.unwrap_or_default();
        let chosen = self.local || self.state.is_some();
        let service = url.service.clone().or_else(|| variable("PGSERVICE")).filter(|_| !chosen);
        let service = service.as_deref().map(service::find).transpose()?.unwrap_or_default();
        let mut environment = Settings::from_environment()?;
        if chosen {
            environment.host = None;
        }
        let above = self.flags().or(url.into()).or(service);
        if chosen || above.host.is_some() {
            // The name that PGHOSTADDR belongs to.
            environment.server_name = None;
        }
        if above.host.is_some() || environment.host.is_some() {
            return Ok(above.or(environment));
        }
        // A port without its host speaks of another server.
        let above = above.or(Settings { port: None, ..environment });
        let folder = env::current_dir().map_err(|source| Error::Folder { source })?;
        let above = if chosen { above } else { above.or(configuration::find(&folder)?) };
        let Some(host) = &above.host else {
            return Ok(above.or(self.state(&folder)?.into()));
        };
        // The deployment that the file speaks of has the passwords. One that cannot be read is another server's, as far as is known.
        let state = self.state(&folder).ok().filter(|state| state.host == *host);
        let passfile = state.and_then(|state| state.passfile);
        Ok(above.or(Settings { passfile, ..Settings::default() }))
    }

    fn flags(&self) -> Settings {
        Settings {
            origin: "--host".to_owned(),
            host: self.host.clone(),
            port: self.port,
            user: self.user.clone(),
            database: self.database.clone(),
            sslmode: self.sslmode,
            authority: self.ca.clone().map(Authority::File),
            server_name: self.server_name.clone(),
            ..Settings::default()
        }
    }

    fn state(&self, folder: &Path) -> Result<State, Error> {
        let choice = match (&self.state, self.local) {
            (Some(path), _) => state::Choice::Exactly(path.clone()),
            (None, true) => state::Choice::Local,
            (None, false) => state::Choice::Any,
        };
        Ok(State::find(&choice, folder)?)
    }
}

impl From<State> for Settings {
    fn from(state: State) -> Self {
        let origin = state.path.display().to_string();
        let authority = |text| Authority::Pem { text, origin: format!("`server_ca` of {origin}") };
        Self {
            host: Some(state.host),
            port: Some(state.port),
            database: state.database,
            authority: state.server_ca.map(authority),
            server_name: state.server_name,
            passfile: state.passfile,
            origin,
            ..Self::default()
        }
    }
}

/// What is verified, and whether a server without TLS is refused.
fn encryption(mode: Option<SslMode>, host: &str, authorities: &Authorities) -> (Option<Verification>, bool) {
    let knows_authority = matches!(authorities, Authorities::Pem { .. });
    match mode {
        Some(SslMode::Disable) => (None, false),
        Some(SslMode::Require) if knows_authority => (Some(Verification::Authority), true),
        Some(SslMode::Require) => (Some(Verification::Nothing), true),
        Some(SslMode::VerifyCa) => (Some(Verification::Authority), true),
        Some(SslMode::VerifyFull) => (Some(Verification::Full), true),
        None if !is_loopback(host) => (Some(Verification::Full), true),
        None if knows_authority => (Some(Verification::Full), false),
        None => (None, false),
    }
}

/// By its spelling: a name that merely resolves to this machine is a resolver's word.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.starts_with('/') || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn authorities(authority: Option<Authority>) -> Result<Authorities, Error> {
    match authority {
        None => Ok(Authorities::System),
        // libpq 16's word for the trust store of the system.
        Some(Authority::File(path)) if path.as_os_str() == "system" => Ok(Authorities::System),
        Some(Authority::File(path)) => match fs::read(&path) {
            Ok(text) => Ok(Authorities::Pem { text, origin: path.display().to_string() }),
            Err(source) => Err(Error::Authority { path, source }),
        },
        Some(Authority::Pem { text, origin }) => Ok(Authorities::Pem { text: text.into_bytes(), origin }),
    }
}

/// The password files to look into, the most particular first.
fn passfiles(named: Option<PathBuf>) -> Vec<PathBuf> {
    let own = env::home_dir().map(|home| home.join(".pgpass")).filter(|file| file.exists());
    named.into_iter().chain(own).collect()
}
