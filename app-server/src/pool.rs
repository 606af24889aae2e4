//! The database sessions of each tier, shared by the people of the tier. A session remembers its last owner: who comes back finds
//! it as it was, and anybody else gets it only after DISCARD ALL, whatever was or was not seen to happen in it. When its owner
//! leaves, it is reset at once, so that no lock and no temporary table outlives a client.
//!
//! A tier has a number of places; who finds none free waits in line. A session that waits for a next owner needs no place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use crate::accounts::Accounts;
use crate::backend::{Backend, BackendError, Database, Login};
use crate::config::{Limits, Pooling};
use crate::log;
use crate::tier::Tier;

/// Between two attempts to reach a database that restarts.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Whose state a database session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody's: it is as after its login.
    Clean,
    /// A session of this server, by its number.
    Session(u64),
    /// Somebody's who does not want it back as it is.
    Abandoned,
}

/// Prepared statements that a database session knows: the whole Parse messages by name.
pub(crate) type Prepared = HashMap<Vec<u8>, Arc<[u8]>>;

/// What an identity is signed for: process id and start, in microseconds.
pub(crate) struct Facts {
    pub(crate) process_id: String,
    pub(crate) started_us: String,
}

pub(crate) struct DatabaseSession {
    pub(crate) backend: Backend,
    pub(crate) owner: Owner,
    pub(crate) prepared: Prepared,
    /// How many named statements its owner had closed when it was given back: what was closed since is stale here.
    pub(crate) closed_statements: u64,
    /// How many changes of its owner's settings it knows.
    pub(crate) changed_settings: u64,
    pub(crate) facts: Facts,
    pub(crate) reported_at_login: Vec<(String, String)>,
    /// The thread that hears of its answers; a client of another one is woken across.
    home: ThreadId,
    /// Held while it is somebody's turn.
    place: Option<OwnedSemaphorePermit>,
}

impl DatabaseSession {
    pub(crate) async fn reset(&mut self) -> Result<(), BackendError> {
        self.backend.discard_all().await?;
        self.owner = Owner::Clean;
        self.prepared.clear();
        Ok(())
    }
}

/// Boxed: they go in and out for every transaction, and the others close up.
type Idle = Vec<Box<DatabaseSession>>;

struct Pool {
    tier: Tier,
    places: Arc<Semaphore>,
    /// Some sessions are tied to their database session by state of their own; they must not take all places.
    ties: Arc<Semaphore>,
    /// The longest idle one first.
    idle: Mutex<Idle>,
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a session where the next owner finds it, and then frees its place.
    fn put_back(&self, mut session: Box<DatabaseSession>) {
        let place = session.place.take();
        self.idle().push(session);
        drop(place);
    }

    /// One of `owner`'s own, else a clean one, else, when there is no place for a new one, the longest idle. Of several rather one
    /// of this thread's.
    fn take_idle(&self, owner: u64, size: usize) -> Option<Box<DatabaseSession>> {
        let mut idle = self.idle();
        let own = idle.iter().rposition(|session| session.owner == Owner::Session(owner));
        let here = thread::current().id();
        let clean = |session: &DatabaseSession| session.owner == Owner::Clean;
        let position = own
            .or_else(|| idle.iter().rposition(|session| clean(session) && session.home == here))
            .or_else(|| idle.iter().rposition(|session| clean(session)));
        // The asker's own place is among the used ones.
        let used = size.saturating_sub(self.places.available_permits());
        match position {
            Some(position) => Some(idle.remove(position)),
            None if idle.is_empty() || idle.len() + used <= size => None,
            None => {
                let longest = idle.iter().position(|session| session.home == here).unwrap_or(0);
                Some(idle.remove(longest))
            }
        }
    }
}

pub(crate) struct Pools {
    pub(crate) pooling: Pooling,
    database: Arc<Database>,
    accounts: Arc<Accounts>,
    limits: Limits,
    pools: [Arc<Pool>; Tier::ALL.len()],
}

impl Pools {
    pub(crate) fn new(
        pooling: Pooling,
        database: Arc<Database>,
        accounts: Arc<Accounts>,
        limits: Limits,
    ) -> Self {
        let pools = Tier::ALL.map(|tier| {
            Arc::new(Pool {
                tier,
                places: Arc::new(Semaphore::new(pooling.size)),
                ties: Arc::new(Semaphore::new(pooling.size.div_ceil(2))),
                idle: Mutex::default(),
            })
        });
        Self { pooling, database, accounts, limits, pools }
    }

    fn pool(&self, tier: Tier) -> &Arc<Pool> {
        &self.pools[tier as usize]
    }

    /// Database sessions of a tier that somebody uses, and that wait for somebody.
    pub(crate) fn count(&self, tier: Tier) -> (usize, usize) {
        let pool = self.pool(tier);
        let used = self.pooling.size.saturating_sub(pool.places.available_permits());
        (used, pool.idle().len())
    }

    /// The right to keep a database session beyond a transaction; `None` when too many of the tier do.
    pub(crate) fn tie(&self, tier: Tier) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.pool(tier).ties).try_acquire_owned().ok()
    }

    /// A database session that is there at once and that its next owner can take as it is, if there is one: nearly always.
    pub(crate) fn try_acquire(&self, tier: Tier, owner: u64) -> Option<Box<DatabaseSession>> {
        let pool = self.pool(tier);
        let place = Arc::clone(&pool.places).try_acquire_owned().ok()?;
        let mut session = {
            let mut idle = pool.idle();
            let own = idle.iter().rposition(|session| session.owner == Owner::Session(owner))?;
            idle.remove(own)
        };
        if session.backend.is_alive() {
            session.place = Some(place);
            Some(session)
        } else {
            tokio::spawn(async move {
                session.backend.close().await;
                drop(place);
            });
            None
        }
    }

    /// Waits for a place and answers a database session: `owner`'s own, a clean one, or one that must be reset before use. An
    /// admin's is reset here already: admins may run code that makes the reset itself fail, and what was sent behind it would
    /// run under somebody else's identity. What the other tiers may say cannot do that (`allow_list`), but the DISCARD ALL of one may
    /// leave an error behind for the next statement, which must not be somebody else's.
    pub(crate) async fn acquire(&self, tier: Tier, owner: u64) -> Result<Box<DatabaseSession>, BackendError> {
        let pool = self.pool(tier);
        let place =
            Arc::clone(&pool.places).acquire_owned().await.expect("the places of a pool are never closed");
        while let Some(mut session) = pool.take_idle(owner, self.pooling.size) {
            let foreign = !matches!(session.owner, Owner::Clean) && session.owner != Owner::Session(owner);
            let usable = session.backend.is_alive()
                && (!foreign
                    || (tier != Tier::Admin && session.owner != Owner::Abandoned)
                    || session.reset().await.is_ok());
            if usable {
                session.place = Some(place);
                return Ok(session);
            }
            session.backend.close().await;
        }
        loop {
            match self.open(tier).await {
                Ok(mut session) => {
                    session.place = Some(place);
                    return Ok(session);
                }
                Err(error) if error.may_pass() => sleep(RETRY_AFTER).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Uses a database session that nobody owns, as the next client would, and leaves it for that one. When all places are taken
    /// the tier is busy, which is no reason to send clients elsewhere.
    pub(crate) async fn check_out(&self, tier: Tier) -> Result<(), BackendError> {
        let pool = self.pool(tier);
        let Ok(place) = Arc::clone(&pool.places).try_acquire_owned() else {
            return Ok(());
        };
        let clean = {
            let mut idle = pool.idle();
            let position = idle.iter().position(|session| session.owner == Owner::Clean);
            let used = self.pooling.size.saturating_sub(pool.places.available_permits());
            if position.is_none() && idle.len() + used > self.pooling.size {
                return Ok(());
            }
            position.map(|position| idle.remove(position))
        };
        let mut session = match clean {
            Some(session) => session,
            None => self.open(tier).await?,
        };
        if let Err(error) = session.backend.query("select 1", &[]).await {
            log::warning("database_session_lost", json!({ "role": tier.role(), "error": error.to_string() }));
            session.backend.close().await;
            session = self.open(tier).await?;
        }
        session.place = Some(place);
        pool.put_back(session);
        Ok(())
    }

    /// A session whose owner may come back to it.
    pub(crate) fn give_back(&self, tier: Tier, session: Box<DatabaseSession>) {
        self.pool(tier).put_back(session);
    }

    /// Resets a session, in the background, for whoever comes next.
    pub(crate) fn reset(&self, tier: Tier, mut session: Box<DatabaseSession>) {
        let pool = Arc::clone(self.pool(tier));
        tokio::spawn(async move {
            match session.reset().await {
                Ok(()) => pool.put_back(session),
                Err(error) => {
                    let role = pool.tier.role();
                    log::warning("reset_failed", json!({ "role": role, "error": error.to_string() }));
                    session.backend.close().await;
                }
            }
        });
    }

    /// Resets what a session that has ended leaves behind.
    pub(crate) fn forget(&self, tier: Tier, owner: u64) {
        let pool = self.pool(tier);
        let left: Vec<_> = {
            let mut idle = pool.idle();
            let is_left = |session: &mut Box<DatabaseSession>| session.owner == Owner::Session(owner);
            idle.extract_if(.., is_left).collect()
        };
        for mut session in left {
            // Without a place there would be more sessions than the pool may have while this one is being reset.
            match Arc::clone(&pool.places).try_acquire_owned() {
                Ok(place) => {
                    session.place = Some(place);
                    self.reset(tier, session);
                }
                Err(_) => drop(tokio::spawn(session.backend.close())),
            }
        }
    }

    async fn open(&self, tier: Tier) -> Result<Box<DatabaseSession>, BackendError> {
        let limit = self.limits.of(tier);
        let pinned =
            tier.pinned_settings(limit.map(|limit| limit.duration), self.pooling.idle_transaction_timeout);
        let settings: Vec<_> = pinned.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut backend = self.log_in(tier, &settings).await?;
        if repair_role_settings(&mut backend, tier).await? {
            backend = self.log_in(tier, &settings).await?;
        }
        let facts = "select a.pid, (extract(epoch from a.backend_start) * 1000000)::bigint
            from pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a";
        let rows = backend.query(facts, &[]).await?;
        let Some([Some(process_id), Some(started_us)]) = rows.first().map(Vec::as_slice) else {
            return Err(BackendError::Unexpected {
                role: tier.role(),
                what: "no facts about its own session",
            });
        };
        let reported_at_login = std::mem::take(&mut backend.parameters);
        Ok(Box::new(DatabaseSession {
            backend,
            owner: Owner::Clean,
            prepared: HashMap::new(),
            closed_statements: 0,
            changed_settings: 0,
            facts: Facts { process_id: process_id.clone(), started_us: started_us.clone() },
            reported_at_login,
            home: thread::current().id(),
            place: None,
        }))
    }

    async fn log_in(&self, tier: Tier, settings: &[(&str, &str)]) -> Result<Backend, BackendError> {
        let first = self.database.connect(Login::Tier(tier), settings).await;
        match first {
            // Anybody of the tier may have changed the password of the role they share.
            Err(BackendError::Refused { ref code, .. }) if code == "28P01" => {
                if self.accounts.restore_tier_login(&self.database, tier).await? {
                    log::warning("tier_login_restored", json!({ "role": tier.role() }));
                    self.database.connect(Login::Tier(tier), settings).await
                } else {
                    first
                }
            }
            other => other,
        }
    }
}

/// Undoes what somebody who shares the role stored with ALTER ROLE. True: the session began with it and must be replaced.
async fn repair_role_settings(backend: &mut Backend, tier: Tier) -> Result<bool, BackendError> {
    let stored = "select setting,
            format('alter role %I%s ', session_user, case when d.oid is null then '' else format(' in database %I', d.datname) end),
            quote_ident(split_part(setting, '=', 1))
        from pg_catalog.pg_db_role_setting s
        cross join lateral unnest(s.setconfig) setting
        left join pg_catalog.pg_database d on d.oid = s.setdatabase
        where s.setrole = (select oid from pg_catalog.pg_roles where rolname = session_user)";
    let rows = backend.query(stored, &[]).await?;
    let declared = tier.declared_role_settings();
    let mut foreign = Vec::new();
    for row in rows {
        if let [Some(setting), Some(alter), Some(name)] = row.as_slice()
            && !declared.contains(&setting.as_str())
        {
            foreign.push((setting.clone(), alter.clone(), name.clone()));
        }
    }
    if foreign.is_empty() {
        return Ok(false);
    }
    // The free tier's sessions are read-only; this one ends here.
    backend.query("set default_transaction_read_only = off", &[]).await?;
    let mut repaired = false;
    for (setting, alter, name) in foreign {
        match backend.query(&format!("{alter} reset {name}"), &[]).await {
            Ok(_) => {
                repaired = true;
                log::warning("role_setting_removed", json!({ "role": tier.role(), "setting": setting }));
            }
            // Set by a superuser, so by an operator and on purpose: a tier cannot remove it, nor could it have set it.
            Err(BackendError::Refused { code, .. }) if code == "42501" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(repaired)
}
