//! All settings, in one table: `--help`, the configuration file and the environment take their names from it, and
//! `docs/query-server.md` shows it.

/// How a setting is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `--listen`, `LISTEN`, or `listen` in the file.
    Plain,
    /// A text of several lines, by the name of its file (`--database-ca-file`, `DATABASE_CA_FILE`, `database_ca_file`) or as it is in the
    /// environment (`DATABASE_CA`).
    Text,
    /// The same for what nobody may see: it is never shown, and never taken from a command line or the configuration file.
    Secret,
}

#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Option<&'static str>,
    pub(crate) meaning: &'static str,
}

const fn plain(name: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, kind: Kind::Plain, default: Some(default), meaning }
}

const fn unset(name: &'static str, kind: Kind, meaning: &'static str) -> Setting {
    Setting { name, kind, default: None, meaning }
}

pub(crate) const SETTINGS: &[Setting] = &[
    plain("LISTEN", "127.0.0.1:8080", "address and port to serve on"),
    unset(
        "DATABASE_URL",
        Kind::Plain,
        "`postgres://host:port/database?sslmode=disable|require|verify-full`, without user and password; required. Without `sslmode` a loopback host is reached in clear text and any other verified; `require` encrypts without checking whom it talks to",
    ),
    unset(
        "DATABASE_CA",
        Kind::Text,
        "PEM certificates that signed the database's certificate; required for `verify-full`",
    ),
    unset("APP_AUTH_PASSWORD", Kind::Secret, "password of the role `app_auth`; required"),
    unset("TIER_FREE_PASSWORD", Kind::Secret, "password of the role `tier_free`; required"),
    unset("TIER_PREMIUM_PASSWORD", Kind::Secret, "password of the role `tier_premium`; required"),
    unset("TIER_ADMIN_PASSWORD", Kind::Secret, "password of the role `tier_admin`; required"),
    unset(
        "IDENTITY_KEY",
        Kind::Secret,
        "base64 of 32 bytes or more, the text given to `private.set_identity_key`; required",
    ),
    unset("TLS_CERTIFICATE", Kind::Text, "PEM certificate chain of this server; required off loopback"),
    unset("TLS_KEY", Kind::Secret, "PEM key of `TLS_CERTIFICATE`"),
    plain("INSECURE", "false", "`true` accepts clear-text logins off loopback"),
    unset(
        "PASSWORD_FROM",
        Kind::Plain,
        "networks, such as `10.0.0.0/16,2001:db8::/32`, whose drivers cannot do SCRAM: inside TLS they are asked for the password itself",
    ),
    unset(
        "PROXY_FROM",
        Kind::Plain,
        "networks of load balancers, whose connections begin with a PROXY protocol v2 header",
    ),
    unset("METRICS_FROM", Kind::Plain, "networks that may read `/metrics`, beside this machine"),
    unset("AUDIT_FILE", Kind::Plain, "file that audit records are appended to; without it they go to stdout"),
    plain("AUDIT_FILE_MIB", "100", "size at which the audit file is rotated"),
    plain("AUDIT_FILES", "10", "rotated audit files that are kept"),
    plain(
        "AUDIT_LITERALS",
        "keep",
        "`keep` records statements as they are, `redact` without numbers, texts and comments",
    ),
    plain(
        "POOL_MODE",
        "transaction",
        "`transaction` shares database sessions between transactions, `session` gives each client its own",
    ),
    plain("POOL_SIZE", "20", "database sessions per tier"),
    plain("QUEUE_TIMEOUT_S", "30", "seconds that a client waits for a database session"),
    plain("IDLE_TIMEOUT_S", "300", "seconds after which an idle session ends"),
    plain(
        "IDLE_TRANSACTION_TIMEOUT_S",
        "300",
        "seconds after which a session ends that leaves a transaction alone",
    ),
    plain("LOGIN_TIMEOUT_S", "10", "seconds from the first byte to the accepted password"),
    plain("STARTUP_BYTES", "10000", "length of a start-up packet"),
    plain("MESSAGE_MIB", "16", "length of a message"),
    plain("ACCOUNT_FAILURES", "10", "failed logins a minute after which an address must wait for an account"),
    plain(
        "ADDRESS_FAILURES",
        "100",
        "failed logins a minute after which an address must wait for any account",
    ),
    plain(
        "ACCOUNT_SESSIONS",
        "10",
        "sessions that an account may have open; as many as `POOL_SIZE`, and it can keep all others of its tier waiting",
    ),
    plain("ADDRESS_CONNECTIONS", "1000", "connections that an address may have open"),
    plain("FREE_STATEMENT_TIMEOUT_S", "15", "seconds that a statement of a free account may take"),
    plain("PREMIUM_STATEMENT_TIMEOUT_S", "30", "the same of a premium account"),
    plain("FREE_ROW_LIMIT", "100000", "rows that a statement of a free account may answer"),
    plain("PREMIUM_ROW_LIMIT", "1000000", "the same of a premium account"),
    plain("FREE_ANSWER_MIB", "64", "MiB that a statement of a free account may answer"),
    plain("PREMIUM_ANSWER_MIB", "1024", "the same of a premium account"),
    plain(
        "FREE_STATEMENTS_PER_S",
        "100",
        "statements a second that a free account may run for long; it may save up ten seconds' worth, and beyond that is slowed down. Each statement of a message counts, and each 16 KiB of its text as one more",
    ),
    plain("PREMIUM_STATEMENTS_PER_S", "1000", "the same of a premium account"),
    plain("DRAIN_TIMEOUT_S", "60", "seconds that a shutdown waits for sessions that are busy"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_for_operators_shows_every_setting() {
        let mut table = String::from("| Setting | Meaning | Default |\n|---|---|---|\n");
        for setting in SETTINGS {
            let default = setting.default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
            let meaning =
                setting.meaning.replace("disable|require|verify-full", "disable\\|require\\|verify-full");
            table.push_str(&format!("| `{}` | {meaning} | {default} |\n", setting.outer_name()));
        }
        let page = include_str!("../../../docs/query-server.md");
        assert!(page.contains(&table), "docs/query-server.md must hold this table:\n{table}");
    }
}
