//! The three tiers: which role each one is in the database, what its sessions are pinned to, and how it is told what it may do.

use std::time::Duration;

/// By how much the database's clock of idle transactions is behind this server's own.
const IDLE_TRANSACTION_GRACE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Free,
    Premium,
    Admin,
}

impl Tier {
    pub(crate) const ALL: [Self; 3] = [Self::Free, Self::Premium, Self::Admin];

    /// The tier of a value of `app_user.account_type`.
    pub(crate) fn from_account_type(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == code)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Premium => "premium",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::Free => "tier_free",
            Self::Premium => "tier_premium",
            Self::Admin => "tier_admin",
        }
    }

    /// Settings given in the start-up packet: they win over `ALTER ROLE .. SET`, and are what RESET ALL and DISCARD ALL return to.
    pub(crate) fn pinned_settings(
        self,
        statement_timeout: Option<Duration>,
        idle_transaction_timeout: Duration,
    ) -> [(&'static str, String); 8] {
        // Zero is PostgreSQL's word for none. The relay's own clock holds when a session sets another value.
        let statement_timeout_ms = statement_timeout.map_or(0, |timeout| timeout.as_millis());
        [
            // An admin may create in `workspace` only, and a table without a schema is created in the first one.
            ("search_path", if self == Self::Admin { "workspace, public" } else { "public" }.to_owned()),
            ("row_security", "on".to_owned()),
            // What `default` means in SET and RESET: an encoding in which this server reads the same quotes as the database.
            ("client_encoding", "UTF8".to_owned()),
            ("standard_conforming_strings", "on".to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("default_transaction_read_only", if self == Self::Free { "on" } else { "off" }.to_owned()),
            // The relay's clock comes first, and cannot be set by the session; this is for a server that hangs.
            (
                "idle_in_transaction_session_timeout",
                (idle_transaction_timeout + IDLE_TRANSACTION_GRACE).as_millis().to_string(),
            ),
            ("statement_timeout", statement_timeout_ms.to_string()),
        ]
    }

    /// The role settings that migrations make, as `pg_db_role_setting.setconfig` shows them. Anything else was put there by
    /// somebody who shares the role.
    pub(crate) fn declared_role_settings(self) -> &'static [&'static str] {
        match self {
            Self::Free => {
                &["default_transaction_read_only=on", "track_activities=off", "temp_file_limit=256MB"]
            }
            Self::Premium => &["track_activities=off", "temp_file_limit=1GB"],
            Self::Admin => &["track_activities=off"],
        }
    }

    /// What a person of this tier may do, told with every refusal.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Free => {
                "your account is `free`: it may SELECT the catalogue and its own rows, and run `select record_play(content_id)`"
            }
            Self::Premium => {
                "your account is `premium`: it may SELECT, and INSERT or UPDATE contents and its own playlists, preferences and plays"
            }
            Self::Admin => {
                "your account is `admin`: it may SELECT, INSERT, UPDATE and DELETE everything but credentials, CREATE and DROP in the schema `workspace`"
            }
        }
    }
}
