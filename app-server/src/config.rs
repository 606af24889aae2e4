//! What the server is told: the values of all settings, checked. `settings` is the table that documents them, `sources` knows where they
//! come from, and `reader` makes values of texts.

mod reader;
mod settings;
mod sources;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::proxy_protocol::Network;
use crate::tier::Tier;

pub(crate) use reader::ConfigError;
pub(crate) use settings::{Kind, SETTINGS, Setting};
pub(crate) use sources::{Given, Sources};

/// A value that is never shown.
#[derive(Clone)]
pub(crate) struct Secret<T>(T);

impl<T> Secret<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    pub(crate) fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) database: DatabaseAddress,
    pub(crate) passwords: Passwords,
    pub(crate) identity_key: Secret<Vec<u8>>,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) insecure: bool,
    pub(crate) proxy_from: Vec<Network>,
    /// Whose drivers cannot do SCRAM and are asked for the password itself, inside TLS.
    pub(crate) password_from: Vec<Network>,
    /// Who may read the metrics, beside this machine.
    pub(crate) metrics_from: Vec<Network>,
    pub(crate) audit_file: Option<PathBuf>,
    pub(crate) audit_rotation: Rotation,
    pub(crate) redacts_literals: bool,
    pub(crate) pooling: Pooling,
    pub(crate) idle_timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) strangers: Strangers,
    pub(crate) message_bytes: usize,
    pub(crate) drain_timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct DatabaseAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) ssl_mode: SslMode,
    pub(crate) ca_pem: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    Disable,
    Require,
    VerifyFull,
}

#[derive(Debug)]
pub(crate) struct Passwords {
    pub(crate) app_auth: Secret<String>,
    pub(crate) free: Secret<String>,
    pub(crate) premium: Secret<String>,
    pub(crate) admin: Secret<String>,
}

#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) chain_pem: String,
    pub(crate) key_pem: Secret<String>,
}

/// When the audit file is put aside, and how many of the old ones are kept: `audit.log.1` is the newest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolMode {
    Session,
    Transaction,
}

/// How clients share database sessions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pooling {
    pub(crate) mode: PoolMode,
    /// Database sessions per tier.
    pub(crate) size: usize,
    pub(crate) queue_timeout: Duration,
    /// For how long a client may leave a transaction alone.
    pub(crate) idle_transaction_timeout: Duration,
}

/// What a statement of each tier may cost. An admin's may cost anything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) free: StatementLimit,
    pub(crate) premium: StatementLimit,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct StatementLimit {
    pub(crate) duration: Duration,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Of all sessions of an account.
    pub(crate) statements_per_s: u64,
}

/// What may be taken by whom nobody knows yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strangers {
    /// From the first byte to the accepted password; also what a silent socket costs at most.
    pub(crate) login_timeout: Duration,
    pub(crate) startup_bytes: usize,
    /// Failed logins in a minute that end an address's attempts at one account, and all of them.
    pub(crate) account_failures: u32,
    pub(crate) address_failures: u32,
    pub(crate) account_sessions: usize,
    pub(crate) address_connections: usize,
}

impl Limits {
    pub(crate) fn of(&self, tier: Tier) -> Option<StatementLimit> {
        match tier {
            Tier::Free => Some(self.free),
            Tier::Premium => Some(self.premium),
            Tier::Admin => None,
        }
    }
}

impl Config {
    /// Makes a configuration of what was given, or answers everything that is wrong with it.
    pub(crate) fn read(given: &Given) -> Result<Self, Vec<ConfigError>> {
        reader::read(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &'static [(&str, &str)]) -> Result<Config, Vec<ConfigError>> {
        let complete = [
            ("DATABASE_URL", "postgres://127.0.0.1:5432/music"),
            ("APP_AUTH_PASSWORD", "a"),
            ("TIER_FREE_PASSWORD", "f"),
            ("TIER_PREMIUM_PASSWORD", "p"),
            ("TIER_ADMIN_PASSWORD", "m"),
            ("IDENTITY_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ];
        let environment = move |name: &str| {
            let found = changes.iter().chain(&complete).find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Sources::environment(environment).gather().and_then(|given| Config::read(&given))
    }

    #[test]
    fn a_loopback_database_needs_no_tls_and_any_other_is_verified() {
        assert_eq!(read(&[]).unwrap().database.ssl_mode, SslMode::Disable);
        let problems = read(&[("DATABASE_URL", "postgres://db.example.com/music")]).unwrap_err();
        assert!(problems[0].to_string().starts_with("DATABASE_CA is not set"), "{problems:?}");
        let config =
            read(&[("DATABASE_URL", "postgres://[2001:db8::1]:5433/music?sslmode=require")]).unwrap();
        assert_eq!((config.database.host.as_str(), config.database.port), ("2001:db8::1", 5433));
    }

    #[test]
    fn every_problem_is_told_at_once_and_no_value_is_shown() {
        let environment = |name: &str| (name == "IDENTITY_KEY").then(|| "short-secret".to_owned());
        let given = Sources::environment(environment).gather().unwrap();
        let problems = Config::read(&given).unwrap_err();
        assert_eq!(problems.len(), 6);
        assert!(!problems.iter().any(|problem| problem.to_string().contains("short-secret")));
    }

    #[test]
    fn a_password_in_the_url_is_refused() {
        assert!(read(&[("DATABASE_URL", "postgres://owner:hidden@127.0.0.1/music")]).is_err());
    }

    #[test]
    fn off_loopback_a_certificate_is_required_unless_insecure() {
        assert!(read(&[("LISTEN", "0.0.0.0:8080")]).is_err());
        assert!(read(&[("LISTEN", "0.0.0.0:8080"), ("INSECURE", "1")]).is_ok());
    }
}
