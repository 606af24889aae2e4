//! What the server is told, and the one place that documents it: environment variables, read once at start.
//!
//! | Variable | Meaning | Default |
//! |---|---|---|
//! | `LISTEN` | address and port to serve on | `127.0.0.1:8080` |
//! | `DATABASE_URL` | `postgres://host:port/database?sslmode=disable\|require\|verify-full`, without user and password | required |
//! | `DATABASE_CA` | PEM certificates that signed the database's certificate | required for `verify-full` |
//! | `APP_AUTH_PASSWORD` | password of the role `app_auth` | required |
//! | `TIER_FREE_PASSWORD`, `TIER_PREMIUM_PASSWORD`, `TIER_ADMIN_PASSWORD` | passwords of the tiers' roles | required |
//! | `IDENTITY_KEY` | base64 of 32 bytes or more, the text given to `private.set_identity_key` | required |
//! | `TLS_CERTIFICATE`, `TLS_KEY` | PEM certificate chain and key of this server | required off loopback |
//! | `INSECURE` | `1` accepts clear-text logins off loopback | unset |
//! | `PROXY_FROM` | networks of load balancers, such as `10.0.0.0/16,2001:db8::/32`, whose connections begin with a PROXY protocol v2 header | none |
//! | `AUDIT_FILE` | file that audit records are appended to | stdout |
//! | `AUDIT_FILE_MIB`, `AUDIT_FILES` | size at which the file is rotated, and how many are kept beside it | `100`, `10` |
//! | `AUDIT_LITERALS` | `keep` records statements as they are, `redact` with numbers, texts and comments taken out | `keep` |
//! | `POOL_MODE` | `transaction` shares database sessions between transactions, `session` gives each client its own | `transaction` |
//! | `POOL_SIZE` | database sessions per tier | `20` |
//! | `QUEUE_TIMEOUT_S` | seconds that a client waits for a database session | `30` |
//! | `IDLE_TIMEOUT_S` | seconds after which an idle session ends | `300` |
//! | `FREE_STATEMENT_TIMEOUT_S`, `PREMIUM_STATEMENT_TIMEOUT_S` | seconds that a statement may take | `15`, `30` |
//! | `FREE_ROW_LIMIT`, `PREMIUM_ROW_LIMIT` | rows that a statement may answer | `100000`, `1000000` |
//! | `FREE_ANSWER_MIB`, `PREMIUM_ANSWER_MIB` | MiB that a statement may answer | `64`, `1024` |
//! | `FREE_STATEMENTS_PER_S`, `PREMIUM_STATEMENTS_PER_S` | statements a second that an account may run for long; it may save up ten seconds' worth, and beyond that is slowed down | `100`, `1000` |
//! | `ACCOUNT_SESSIONS` | sessions that an account may have open | `20` |
//! | `ADDRESS_CONNECTIONS` | connections that an address may have open | `1000` |
//! | `DRAIN_TIMEOUT_S` | seconds that a shutdown waits for sessions that are busy | `60` |
//!
//! PEM values hold real newlines or the two characters `\n`. `sslmode` is `disable` for a loopback host and `verify-full` for any other
//! unless the URL names it; `require` encrypts without checking whom it talks to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::proxy_protocol::Network;
use crate::tier::Tier;

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
    pub(crate) audit_file: Option<PathBuf>,
    pub(crate) audit_rotation: Rotation,
    pub(crate) redacts_literals: bool,
    pub(crate) pooling: Pooling,
    pub(crate) idle_timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) openings: Openings,
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

/// What an account or an address may have open at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Openings {
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

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ConfigError {
    #[error("{name} is not set: expected {expected}")]
    Missing { name: &'static str, expected: &'static str },
    #[error("{name} is not usable: expected {expected}")]
    Invalid { name: &'static str, expected: &'static str },
}

const URL_FORM: &str =
    "`postgres://host:port/database?sslmode=disable|require|verify-full` without user and password";

impl Config {
    /// Reads all variables and answers either a configuration or everything that is wrong with them.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<ConfigError>> {
        let mut reader = Reader { variable, problems: Vec::new() };
        let config = reader.config();
        match config {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(reader.problems),
        }
    }
}

struct Reader<F> {
    variable: F,
    problems: Vec<ConfigError>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// Every field is read before the first missing one ends it, so that all problems are told at once.
    fn config(&mut self) -> Option<Config> {
        let listen = self.listen();
        let database = self.database();
        let app_auth = self.required("APP_AUTH_PASSWORD", "the password of the database role `app_auth`");
        let free = self.required("TIER_FREE_PASSWORD", "the password of the database role `tier_free`");
        let premium =
            self.required("TIER_PREMIUM_PASSWORD", "the password of the database role `tier_premium`");
        let admin = self.required("TIER_ADMIN_PASSWORD", "the password of the database role `tier_admin`");
        let identity_key = self.identity_key();
        let insecure = self.insecure();
        let certificate = self.certificate();
        let proxy_from = self.networks("PROXY_FROM");
        let idle_timeout = self.seconds("IDLE_TIMEOUT_S", 300);
        let drain_timeout = self.seconds("DRAIN_TIMEOUT_S", 60);
        let audit_rotation =
            Rotation { bytes: self.mebibytes("AUDIT_FILE_MIB", 100), files: self.number("AUDIT_FILES", 10) };
        let redacts_literals = self.redacts_literals();
        let pooling = Pooling {
            mode: self.pool_mode(),
            size: self.count("POOL_SIZE", 20),
            queue_timeout: self.seconds("QUEUE_TIMEOUT_S", 30),
        };
        let limits = Limits {
            free: StatementLimit {
                duration: self.seconds("FREE_STATEMENT_TIMEOUT_S", 15),
                rows: self.number("FREE_ROW_LIMIT", 100_000),
                bytes: self.mebibytes("FREE_ANSWER_MIB", 64),
                statements_per_s: self.number("FREE_STATEMENTS_PER_S", 100),
            },
            premium: StatementLimit {
                duration: self.seconds("PREMIUM_STATEMENT_TIMEOUT_S", 30),
                rows: self.number("PREMIUM_ROW_LIMIT", 1_000_000),
                bytes: self.mebibytes("PREMIUM_ANSWER_MIB", 1024),
                statements_per_s: self.number("PREMIUM_STATEMENTS_PER_S", 1000),
            },
        };
        let openings = Openings {
            account_sessions: self.count("ACCOUNT_SESSIONS", 20),
            address_connections: self.count("ADDRESS_CONNECTIONS", 1000),
        };
        let listen = listen?;
        if certificate.is_none() && !insecure && !listen.ip().is_loopback() && self.problems.is_empty() {
            self.problems.push(ConfigError::Missing {
                name: "TLS_CERTIFICATE",
                expected: "a PEM certificate, because LISTEN is not a loopback address (INSECURE=1 serves clear text)",
            });
        }
        Some(Config {
            listen,
            database: database?,
            passwords: Passwords {
                app_auth: Secret::new(app_auth?),
                free: Secret::new(free?),
                premium: Secret::new(premium?),
                admin: Secret::new(admin?),
            },
            identity_key: identity_key?,
            certificate,
            insecure,
            proxy_from,
            audit_file: self.optional("AUDIT_FILE").map(PathBuf::from),
            audit_rotation,
            redacts_literals,
            pooling,
            idle_timeout,
            limits,
            openings,
            drain_timeout,
        })
    }

    fn optional(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn required(&mut self, name: &'static str, expected: &'static str) -> Option<String> {
        let value = self.optional(name);
        if value.is_none() {
            self.problems.push(ConfigError::Missing { name, expected });
        }
        value
    }

    fn invalid<T>(&mut self, name: &'static str, expected: &'static str) -> Option<T> {
        self.problems.push(ConfigError::Invalid { name, expected });
        None
    }

    fn pem(&self, name: &str) -> Option<String> {
        self.optional(name).map(|value| value.replace("\\n", "\n"))
    }

    fn listen(&mut self) -> Option<SocketAddr> {
        let text = self.optional("LISTEN").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.invalid("LISTEN", "an address and port such as `127.0.0.1:8080` or `0.0.0.0:8080`")
            }
        }
    }

    fn database(&mut self) -> Option<DatabaseAddress> {
        let url = self.required("DATABASE_URL", URL_FORM)?;
        let ca_pem = self.pem("DATABASE_CA");
        let Some(database) = parse_database_url(&url, ca_pem) else {
            return self.invalid("DATABASE_URL", URL_FORM);
        };
        if database.ssl_mode == SslMode::VerifyFull && database.ca_pem.is_none() {
            self.problems.push(ConfigError::Missing {
                name: "DATABASE_CA",
                expected: "the PEM certificates that signed the database's certificate, for sslmode=verify-full",
            });
        }
        Some(database)
    }

    fn identity_key(&mut self) -> Option<Secret<Vec<u8>>> {
        let expected = "base64 of 32 bytes or more, the same text as given to private.set_identity_key";
        let text = self.required("IDENTITY_KEY", expected)?;
        match BASE64.decode(text.trim()) {
            Ok(key) if key.len() >= 32 => Some(Secret::new(key)),
            _ => self.invalid("IDENTITY_KEY", expected),
        }
    }

    fn insecure(&mut self) -> bool {
        match self.optional("INSECURE").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => self.invalid("INSECURE", "`1` or nothing").unwrap_or(false),
        }
    }

    fn networks(&mut self, name: &'static str) -> Vec<Network> {
        let text = self.optional(name).unwrap_or_default();
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        match parts.map(str::parse).collect() {
            Ok(networks) => networks,
            Err(()) => self.invalid(name, "networks such as `10.0.0.0/16,2001:db8::/32`").unwrap_or_default(),
        }
    }

    fn redacts_literals(&mut self) -> bool {
        match self.optional("AUDIT_LITERALS").as_deref() {
            None | Some("keep") => false,
            Some("redact") => true,
            Some(_) => self.invalid("AUDIT_LITERALS", "`keep` or `redact`").unwrap_or(true),
        }
    }

    fn pool_mode(&mut self) -> PoolMode {
        match self.optional("POOL_MODE").as_deref() {
            None | Some("transaction") => PoolMode::Transaction,
            Some("session") => PoolMode::Session,
            Some(_) => {
                self.invalid("POOL_MODE", "`transaction` or `session`").unwrap_or(PoolMode::Transaction)
            }
        }
    }

    fn number(&mut self, name: &'static str, default: u64) -> u64 {
        match self.optional(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(number @ 1..)) => number,
            Some(_) => self.invalid(name, "a whole number above 0").unwrap_or(default),
        }
    }

    fn mebibytes(&mut self, name: &'static str, default: u64) -> u64 {
        self.number(name, default).saturating_mul(1024 * 1024)
    }

    /// Of things that take memory or descriptors: no machine has a million of them.
    fn count(&mut self, name: &'static str, default: u64) -> usize {
        usize::try_from(self.number(name, default)).map_or(1_000_000, |count| count.min(1_000_000))
    }

    fn seconds(&mut self, name: &'static str, default: u64) -> Duration {
        let seconds = match self.optional(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(seconds @ 1..=86_400)) => seconds,
            Some(_) => self.invalid(name, "a whole number of seconds, 1 to 86400").unwrap_or(default),
        };
        Duration::from_secs(seconds)
    }

    fn certificate(&mut self) -> Option<Certificate> {
        match (self.pem("TLS_CERTIFICATE"), self.pem("TLS_KEY")) {
            (Some(chain_pem), Some(key_pem)) => {
                Some(Certificate { chain_pem, key_pem: Secret::new(key_pem) })
            }
            (None, None) => None,
            (Some(_), None) => {
                self.problems.push(ConfigError::Missing {
                    name: "TLS_KEY",
                    expected: "the PEM key of TLS_CERTIFICATE",
                });
                None
            }
            (None, Some(_)) => {
                let expected = "the PEM certificate that TLS_KEY belongs to";
                self.problems.push(ConfigError::Missing { name: "TLS_CERTIFICATE", expected });
                None
            }
        }
    }
}

fn parse_database_url(url: &str, ca_pem: Option<String>) -> Option<DatabaseAddress> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/')?;
    if authority.contains('@') || database.is_empty() || database.contains('/') {
        return None;
    }
    let (host, port) = match authority.strip_prefix('[') {
        // An IPv6 address stands in brackets.
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return None;
    }
    let port = port.map_or(Ok(5432), str::parse).ok()?;
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let mut ssl_mode = if loopback { SslMode::Disable } else { SslMode::VerifyFull };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        ssl_mode = match pair {
            "sslmode=disable" => SslMode::Disable,
            "sslmode=require" => SslMode::Require,
            "sslmode=verify-full" => SslMode::VerifyFull,
            _ => return None,
        };
    }
    Some(DatabaseAddress { host: host.to_owned(), port, database: database.to_owned(), ssl_mode, ca_pem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &[(&str, &str)]) -> Result<Config, Vec<ConfigError>> {
        let complete = [
            ("DATABASE_URL", "postgres://127.0.0.1:5432/music"),
            ("APP_AUTH_PASSWORD", "a"),
            ("TIER_FREE_PASSWORD", "f"),
            ("TIER_PREMIUM_PASSWORD", "p"),
            ("TIER_ADMIN_PASSWORD", "m"),
            ("IDENTITY_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ];
        Config::read(|name| {
            changes
                .iter()
                .chain(&complete)
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
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
        let problems =
            Config::read(|name| (name == "IDENTITY_KEY").then(|| "short-secret".to_owned())).unwrap_err();
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
