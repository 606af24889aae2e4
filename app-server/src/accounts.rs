//! What the server asks the database about people and about itself, as the role `app_auth` over one connection of its own.
//! Nothing that a client sends goes into it but the e-mail address, as a parameter.

use tokio::sync::Mutex;

use crate::backend::{Backend, BackendError, Database, Login, Row};
use crate::identity::IdentityKey;
use crate::tier::Tier;

/// An account as a login needs it.
pub(crate) struct Account {
    pub(crate) account_id: i64,
    pub(crate) tier: Tier,
    pub(crate) verifier: String,
    pub(crate) is_active: bool,
    pub(crate) is_locked: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReady {
    #[error(transparent)]
    Database(#[from] BackendError),
    #[error("the schema is not there yet: {0}")]
    Schema(BackendError),
    #[error(
        "the database's identity key is not this server's IDENTITY_KEY; store it with private.set_identity_key"
    )]
    IdentityKey,
    #[error(
        "role `{role}` {excess}: the database is served when its roles are as the migrations declare them"
    )]
    Role { role: String, excess: String },
}

/// Answers a row for a role that cannot log in any more, and for each thing that one can do and must not: by what it is and owns,
/// and by what is granted to it or to everybody beyond the migrations' own declaration. An admin owns what admins create, which is
/// in a schema of its own, or temporary where an operator lets them (TEMPORARY on the database).
const ROLE_CHECK: &str = "
    select r.rolname::text, e.excess
    from pg_catalog.pg_roles r
    cross join lateral (values
        (not r.rolcanlogin or r.rolvaliduntil <= now(), 'may not log in'),
        (r.rolsuper, 'is a superuser'),
        (r.rolcreaterole, 'may create roles'),
        (r.rolcreatedb, 'may create databases'),
        (r.rolreplication, 'may replicate'),
        (r.rolbypassrls, 'bypasses row security'),
        (exists (select from pg_catalog.pg_auth_members m where m.member = r.oid), 'is a member of another role'),
        (exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                 where c.relowner = r.oid
                 and not (r.rolname = 'tier_admin' and n.nspname ~ '^(workspace|pg_toast|pg_(toast_)?temp_[0-9]+)$')),
         'owns tables'),
        (exists (select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
                 where p.proowner = r.oid
                 and not (r.rolname = 'tier_admin' and n.nspname ~ '^(workspace|pg_temp_[0-9]+)$')),
         'owns functions'),
        (exists (select from pg_catalog.pg_namespace n where n.nspowner = r.oid), 'owns schemas'),
        (exists (select from pg_catalog.pg_database d where d.datdba = r.oid), 'owns databases')
    ) as e (has, excess)
    where r.rolname in ('tier_free', 'tier_premium', 'tier_admin', 'app_auth') and e.has
    union all
    select role_name, excess from private.undeclared_grants()
    order by 1, 2
    limit 1";

fn not_migrated(error: BackendError) -> NotReady {
    match &error {
        // Undefined schema, undefined function, no privilege on the schema: the migrations have not run (to the end).
        BackendError::Refused { code, .. } if ["3F000", "42883", "42501"].contains(&code.as_str()) => {
            NotReady::Schema(error)
        }
        _ => NotReady::Database(error),
    }
}

pub(crate) struct Accounts {
    // One login takes one short query; a single connection serves thousands a second.
    connection: Mutex<Option<Backend>>,
}

impl Accounts {
    pub(crate) fn new() -> Self {
        Self { connection: Mutex::new(None) }
    }

    async fn query(
        &self,
        database: &Database,
        sql: &str,
        parameters: &[&str],
    ) -> Result<Vec<Row>, BackendError> {
        let mut connection = self.connection.lock().await;
        // A connection that was idle may have died with a database restart: that is found out by using it, and then a
        // fresh one is tried once.
        if let Some(mut backend) = connection.take() {
            match backend.query(sql, parameters).await {
                Err(BackendError::Broken(_)) => {}
                Err(BackendError::Refused { code, .. }) if code.starts_with("57P") => {}
                Err(error @ BackendError::Refused { .. }) => {
                    *connection = Some(backend);
                    return Err(error);
                }
                Err(error) => return Err(error),
                Ok(rows) => {
                    *connection = Some(backend);
                    return Ok(rows);
                }
            }
        }
        // A database may have been given a clock so short that nobody could log in.
        let settings = [("application_name", "app-server"), ("statement_timeout", "10s")];
        let mut backend = database.connect(Login::AppAuth, &settings).await?;
        let answer = backend.query(sql, parameters).await;
        if matches!(answer, Ok(_) | Err(BackendError::Refused { .. })) {
            *connection = Some(backend);
        }
        answer
    }

    /// The account of an e-mail address, if there is one that may log in at all.
    pub(crate) async fn find_login(
        &self,
        database: &Database,
        email: &str,
    ) -> Result<Option<Account>, BackendError> {
        let sql = "select account_id, tier, verifier, is_active, is_locked from private.find_login($1)";
        let rows = self.query(database, sql, &[email]).await?;
        Ok(rows.first().and_then(|row| {
            let text = |column: usize| row.get(column)?.as_deref();
            Some(Account {
                account_id: text(0)?.parse().ok()?,
                tier: Tier::from_account_type(text(1)?)?,
                verifier: text(2)?.to_owned(),
                is_active: text(3)? == "t",
                is_locked: text(4)? == "t",
            })
        }))
    }

    /// Puts a tier's password back after somebody who shares the role changed it. False: the database does not know it.
    pub(crate) async fn restore_tier_login(
        &self,
        database: &Database,
        tier: Tier,
    ) -> Result<bool, BackendError> {
        let rows =
            self.query(database, "select private.restore_tier_login($1::text::name)", &[tier.role()]).await?;
        Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some("t"))
    }

    /// Whether this database may be served: it is there, has the schema and our key, and no role can do more than declared.
    pub(crate) async fn check(&self, database: &Database, key: &IdentityKey) -> Result<(), NotReady> {
        let nonce = format!("{:032x}", rand::random::<u128>());
        let proof = self.query(database, "select private.identity_key_proof($1)", &[&nonce]).await;
        let rows = proof.map_err(not_migrated)?;
        if rows.first().and_then(|row| row.first()?.as_deref()) != Some(key.proof(&nonce).as_str()) {
            return Err(NotReady::IdentityKey);
        }
        let excess = self.query(database, ROLE_CHECK, &[]).await.map_err(not_migrated)?;
        match excess.into_iter().next() {
            None => Ok(()),
            Some(row) => {
                let mut texts = row.into_iter().map(Option::unwrap_or_default);
                let role = texts.next().unwrap_or_default();
                Err(NotReady::Role { role, excess: texts.next().unwrap_or_default() })
            }
        }
    }
}
