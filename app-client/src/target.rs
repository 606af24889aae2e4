//! Where to connect, as whom, and how far the server must prove itself.
//!
//! Flags win over `PG*` variables, which win over the state file. A host that is named by a flag or
//! a variable leaves the state file out altogether: its authority speaks for another server.

mod url;

use std::env;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use thiserror::Error;

use crate::connection::{Address, Authorities, Verification};
use crate::password;
use crate::state::{self, State};
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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
    /// For the connection, and for each answer during the login.
    pub(crate) timeout: Duration,
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
            _ => None,
        }
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
        let url = self.url.as_deref().map(Url::parse).transpose()?.unwrap_or_default();
        let chosen = self.local || self.state.is_some();
        let host = self.host.clone().or_else(|| url.host.clone());
        let host = if chosen { host } else { host.or_else(|| variable("PGHOST")) };
        let state = match host {
            Some(_) => None,
            None => Some(self.state()?),
        };

        let port = self.port.or(url.port);
        let (host, port) = match (host, &state) {
            (None, Some(state)) => (state.host.clone(), port.unwrap_or(state.port)),
            (host, _) => (host.unwrap_or_default(), port.or(port_variable()?).unwrap_or(PORT)),
        };
        let address = match host.starts_with('/') {
            true => Address::Unix(Path::new(&host).join(format!(".s.PGSQL.{port}"))),
            false => Address::Tcp { host: host.clone(), port },
        };
        let server_name = self
            .server_name
            .clone()
            .or_else(|| state.as_ref().and_then(|state| state.server_name.clone()))
            .unwrap_or_else(|| host.clone());

        let named_database = self.database.clone().or(url.database).or_else(|| variable("PGDATABASE"));
        let database = named_database.or_else(|| state.as_ref().and_then(|state| state.database.clone()));
        let passfiles = passfiles(state.as_ref());
        let user = self.user.clone().or(url.user).or_else(|| variable("PGUSER"));
        let user = user.ok_or_else(|| Error::NoUser {
            known: passfiles
                .iter()
                .flat_map(|file| {
                    password::users(file, &address, &server_name, database.as_deref().unwrap_or_default())
                })
                .collect(),
        })?;

        let authorities = authorities(self.ca.clone().or(url.ca), state.as_ref())?;
        let mode = match self.sslmode.or(url.sslmode) {
            Some(mode) => Some(mode),
            None => mode_variable()?,
        };
        let (verification, tls_required) = encryption(mode, &host, &authorities);
        let origin = match &state {
            Some(state) => state.path.display().to_string(),
            None if self.host.is_some() => "--host".to_owned(),
            None if self.url.is_some() => "--url".to_owned(),
            None => "PGHOST".to_owned(),
        };
        Ok(Target {
            origin,
            address,
            server_name,
            verification,
            tls_required,
            authorities,
            database: database.unwrap_or_else(|| user.clone()),
            user,
            timeout: timeout()?,
            passfiles,
        })
    }

    fn state(&self) -> Result<State, Error> {
        let choice = match (&self.state, self.local) {
            (Some(path), _) => state::Choice::Exactly(path.clone()),
            (None, true) => state::Choice::Local,
            (None, false) => state::Choice::Any,
        };
        let folder = env::current_dir().map_err(|source| Error::Folder { source })?;
        Ok(State::find(&choice, &folder)?)
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

fn authorities(flag: Option<PathBuf>, state: Option<&State>) -> Result<Authorities, Error> {
    let file = flag.or_else(|| variable("PGSSLROOTCERT").map(PathBuf::from));
    match (file, state) {
        // libpq 16's word for the trust store of the system.
        (Some(path), _) if path.as_os_str() == "system" => Ok(Authorities::System),
        (Some(path), _) => match fs::read(&path) {
            Ok(text) => Ok(Authorities::Pem { text, origin: path.display().to_string() }),
            Err(source) => Err(Error::Authority { path, source }),
        },
        (None, Some(State { server_ca: Some(pem), path, .. })) => Ok(Authorities::Pem {
            text: pem.clone().into_bytes(),
            origin: format!("`server_ca` of {}", path.display()),
        }),
        (None, _) => Ok(Authorities::System),
    }
}

/// The password files to look into, the most particular first.
fn passfiles(state: Option<&State>) -> Vec<PathBuf> {
    let own = env::home_dir().map(|home| home.join(".pgpass")).filter(|file| file.exists());
    let named = variable("PGPASSFILE").map(PathBuf::from);
    let of_state = state.and_then(|state| state.passfile.clone());
    [named, of_state, own].into_iter().flatten().collect()
}

/// A variable that is set to nothing counts as not set, as with libpq.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn port_variable() -> Result<Option<u16>, Error> {
    variable("PGPORT")
        .map(|value| {
            value.parse().map_err(|_| Error::Variable {
                variable: "PGPORT",
                value,
                expected: "a port number",
            })
        })
        .transpose()
}

fn mode_variable() -> Result<Option<SslMode>, Error> {
    let expected = "disable, require, verify-ca or verify-full (app-client never goes unencrypted by itself)";
    variable("PGSSLMODE")
        .map(|value| {
            SslMode::from_str(&value, false).map_err(|_| Error::Variable {
                variable: "PGSSLMODE",
                value,
                expected,
            })
        })
        .transpose()
}

fn timeout() -> Result<Duration, Error> {
    match variable("PGCONNECT_TIMEOUT") {
        None => Ok(TIMEOUT),
        Some(value) => match value.parse() {
            // libpq: 0 waits for ever, and less than 2 is taken as 2.
            Ok(0) => Ok(Duration::from_secs(24 * 60 * 60)),
            Ok(seconds) => Ok(Duration::from_secs(std::cmp::max(seconds, 2))),
            Err(_) => {
                Err(Error::Variable { variable: "PGCONNECT_TIMEOUT", value, expected: "a number of seconds" })
            }
        },
    }
}
