//! What one source says about where to connect. Sources are laid over each other: what the upper one
//! leaves open, the next below it may fill.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::{Error, SslMode};
use crate::password::Password;

#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Which source named the host.
    pub(super) origin: String,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) database: Option<String>,
    pub(super) sslmode: Option<SslMode>,
    pub(super) authority: Option<Authority>,
    pub(super) server_name: Option<String>,
    pub(super) password: Option<Password>,
    pub(super) passfile: Option<PathBuf>,
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum Authority {
    File(PathBuf),
    Pem { text: String, origin: String },
}

impl Settings {
    /// These, and where they say nothing, `below`.
    pub(super) fn or(self, below: Self) -> Self {
        Self {
            origin: if self.host.is_some() { self.origin } else { below.origin },
            host: self.host.or(below.host),
            port: self.port.or(below.port),
            user: self.user.or(below.user),
            database: self.database.or(below.database),
            sslmode: self.sslmode.or(below.sslmode),
            authority: self.authority.or(below.authority),
            server_name: self.server_name.or(below.server_name),
            password: self.password.or(below.password),
            passfile: self.passfile.or(below.passfile),
            timeout: self.timeout.or(below.timeout),
        }
    }

    /// libpq's variables. The password is not among them: it is read where it is spent.
    pub(super) fn from_environment() -> Result<Self, Error> {
        let variables = [
            ("PGHOST", Setting::Host),
            ("PGPORT", Setting::Port),
            ("PGUSER", Setting::User),
            ("PGDATABASE", Setting::Database),
            ("PGSSLMODE", Setting::SslMode),
            ("PGSSLROOTCERT", Setting::Authority),
            ("PGPASSFILE", Setting::Passfile),
            ("PGCONNECT_TIMEOUT", Setting::Timeout),
        ];
        let mut settings = Self { origin: "PGHOST".to_owned(), ..Self::default() };
        for (name, setting) in variables {
            let Some(value) = variable(name) else { continue };
            settings.assign(setting, value).map_err(|Unfit { value, expected }| Error::Variable {
                variable: name,
                value,
                expected,
            })?;
        }
        // The address to dial; the certificate is for the name.
        if let Some(address) = variable("PGHOSTADDR") {
            settings.server_name = settings.host.replace(address);
        }
        Ok(settings)
    }

    /// Takes a value as it is written in a variable or a service file.
    pub(super) fn assign(&mut self, setting: Setting, value: String) -> Result<(), Unfit> {
        match setting {
            Setting::Host => self.host = Some(value),
            Setting::User => self.user = Some(value),
            Setting::Database => self.database = Some(value),
            Setting::Authority => self.authority = Some(Authority::File(value.into())),
            Setting::Passfile => self.passfile = Some(value.into()),
            Setting::Port => match value.parse() {
                Ok(port) => self.port = Some(port),
                Err(_) => return Err(Unfit { value, expected: "a port number" }),
            },
            Setting::SslMode => match SslMode::from_str(&value, false) {
                Ok(mode) => self.sslmode = Some(mode),
                Err(_) => return Err(Unfit { value, expected: SslMode::EXPECTED }),
            },
            Setting::Timeout => match value.parse() {
                // libpq: 0 waits for ever, and less than 2 is taken as 2.
                Ok(0) => self.timeout = Some(Duration::from_secs(24 * 60 * 60)),
                Ok(seconds) => self.timeout = Some(Duration::from_secs(std::cmp::max(seconds, 2))),
                Err(_) => return Err(Unfit { value, expected: "a number of seconds" }),
            },
        }
        Ok(())
    }
}

/// The settings that a variable and a keyword of a service file have in common.
#[derive(Debug, Clone, Copy)]
pub(super) enum Setting {
    Host,
    Port,
    User,
    Database,
    SslMode,
    Authority,
    Passfile,
    Timeout,
}

/// A value that the setting cannot take.
pub(super) struct Unfit {
    pub(super) value: String,
    pub(super) expected: &'static str,
}

/// A variable that is set to nothing counts as not set, as with libpq.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
