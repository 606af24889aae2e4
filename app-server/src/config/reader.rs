//! Makes a configuration of texts: every one is read before the first missing one ends it, so that all problems are told at once.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{
    Certificate, Config, DatabaseAddress, Given, Limits, Passwords, PoolMode, Pooling, Rotation, Secret,
    SslMode, StatementLimit, Strangers,
};
use crate::proxy_protocol::Network;

/// PostgreSQL's own limit of a message.
const MESSAGE_LIMIT: usize = 1024 * 1024 * 1024;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ConfigError {
    #[error("{name} is not set: expected {expected}")]
    Missing { name: &'static str, expected: &'static str },
    #[error("{name} is not usable: expected {expected}")]
    Invalid { name: &'static str, expected: &'static str },
    #[error("cannot read the file that {name} names, {path}: {reason}")]
    File { name: String, path: String, reason: String },
    #[error("{path} is no TOML: {reason}")]
    Toml { path: String, reason: String },
    #[error("`{key}` in {path} is no setting; `app-server serve --help` lists them")]
    Unknown { key: String, path: String },
    #[error(
        "`{key}` in {path} is a secret: write it to a file of its own, and that file's name to `{key}_file`"
    )]
    SecretInFile { key: String, path: String },
    #[error("`{key}` in {path} is not usable: expected a text, a number, true, false, or a list of texts")]
    Form { key: String, path: String },
}

const URL_FORM: &str =
    "`postgres://host:port/database?sslmode=disable|require|verify-full` without user and password";

pub(super) fn read(given: &Given) -> Result<Config, Vec<ConfigError>> {
    let mut reader = Reader { given, problems: Vec::new() };
    match reader.config() {
        Some(config) if reader.problems.is_empty() => Ok(config),
        _ => Err(reader.problems),
    }
}

struct Reader<'a> {
    given: &'a Given,
    problems: Vec<ConfigError>,
}

impl Reader<'_> {
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
        let password_from = self.networks("PASSWORD_FROM");
        let metrics_from = self.networks("METRICS_FROM");
        let idle_timeout = self.seconds("IDLE_TIMEOUT_S");
        let drain_timeout = self.seconds("DRAIN_TIMEOUT_S");
        let audit_rotation =
            Rotation { bytes: self.mebibytes("AUDIT_FILE_MIB"), files: self.number("AUDIT_FILES") };
        let redacts_literals = self.redacts_literals();
        let pooling = Pooling {
            mode: self.pool_mode(),
            size: self.count("POOL_SIZE"),
            queue_timeout: self.seconds("QUEUE_TIMEOUT_S"),
            idle_transaction_timeout: self.seconds("IDLE_TRANSACTION_TIMEOUT_S"),
        };
        let limits = Limits {
            free: StatementLimit {
                duration: self.seconds("FREE_STATEMENT_TIMEOUT_S"),
                rows: self.number("FREE_ROW_LIMIT"),
                bytes: self.mebibytes("FREE_ANSWER_MIB"),
                statements_per_s: self.number("FREE_STATEMENTS_PER_S"),
            },
            premium: StatementLimit {
                duration: self.seconds("PREMIUM_STATEMENT_TIMEOUT_S"),
                rows: self.number("PREMIUM_ROW_LIMIT"),
                bytes: self.mebibytes("PREMIUM_ANSWER_MIB"),
                statements_per_s: self.number("PREMIUM_STATEMENTS_PER_S"),
            },
        };
        let strangers = Strangers {
            login_timeout: self.seconds("LOGIN_TIMEOUT_S"),
            startup_bytes: self.count("STARTUP_BYTES"),
            account_failures: self.small("ACCOUNT_FAILURES"),
            address_failures: self.small("ADDRESS_FAILURES"),
            account_sessions: self.count("ACCOUNT_SESSIONS"),
            address_connections: self.count("ADDRESS_CONNECTIONS"),
        };
        let message_bytes = usize::try_from(self.mebibytes("MESSAGE_MIB"))
            .map_or(MESSAGE_LIMIT, |bytes| bytes.min(MESSAGE_LIMIT));
        let listen = listen?;
        if certificate.is_none() && !insecure && !listen.ip().is_loopback() && self.problems.is_empty() {
            self.problems.push(ConfigError::Missing {
                name: "TLS_CERTIFICATE",
                expected: "a PEM certificate, because LISTEN is not a loopback address (`INSECURE=1` serves clear text)",
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
            password_from,
            metrics_from,
            audit_file: self.optional("AUDIT_FILE").map(PathBuf::from),
            audit_rotation,
            redacts_literals,
            pooling,
            idle_timeout,
            limits,
            strangers,
            message_bytes,
            drain_timeout,
        })
    }

    fn optional(&self, name: &str) -> Option<String> {
        self.given.value(name).map(str::to_owned)
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
        match self.optional("LISTEN").unwrap_or_default().parse() {
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
            None | Some("0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => self.invalid("INSECURE", "`true` or `false`").unwrap_or(false),
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
            Some("keep") => false,
            Some("redact") => true,
            _ => self.invalid("AUDIT_LITERALS", "`keep` or `redact`").unwrap_or(true),
        }
    }

    fn pool_mode(&mut self) -> PoolMode {
        match self.optional("POOL_MODE").as_deref() {
            Some("transaction") => PoolMode::Transaction,
            Some("session") => PoolMode::Session,
            _ => self.invalid("POOL_MODE", "`transaction` or `session`").unwrap_or(PoolMode::Transaction),
        }
    }

    fn number(&mut self, name: &'static str) -> u64 {
        match self.optional(name).and_then(|text| text.parse().ok()) {
            Some(number @ 1..) => number,
            _ => self.invalid(name, "a whole number above 0").unwrap_or(1),
        }
    }

    fn mebibytes(&mut self, name: &'static str) -> u64 {
        self.number(name).saturating_mul(1024 * 1024)
    }

    fn small(&mut self, name: &'static str) -> u32 {
        u32::try_from(self.number(name)).unwrap_or(u32::MAX)
    }

    /// Of things that take memory or descriptors: no machine has a million of them.
    fn count(&mut self, name: &'static str) -> usize {
        usize::try_from(self.number(name)).map_or(1_000_000, |count| count.min(1_000_000))
    }

    fn seconds(&mut self, name: &'static str) -> Duration {
        match self.optional(name).and_then(|text| text.parse().ok()) {
            Some(seconds @ 1..=86_400) => Duration::from_secs(seconds),
            _ => self.invalid(name, "a whole number of seconds, 1 to 86400").unwrap_or_default(),
        }
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
