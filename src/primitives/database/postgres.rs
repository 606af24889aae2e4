//! `postgres::` SQL to a database instance: migrations, queries, login verifiers.
//!
//! SQL is an effect, not a change of a resource: it is counted apart, and every file of a migration is applied once.

use std::error::Error as StdError;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postgres::types::{Format, FromSql, IsNull, ToSql, Type, private::BytesMut};
use postgres::{Client, Row};
use rhai::{Array, Dynamic, Map};
use sha2::{Digest, Sha256};

use crate::clients::postgres::{Login, Session, connect as connect_as, failure};
use crate::error::{Error, Kind};
use crate::host::{Host, World};
use crate::primitives::aws::rds;
use crate::primitives::declaration::{Call, Function, Holds, Namespace, Options, optional};
use crate::primitives::local::secrets::StoredSecret;
use crate::progress::Line;
use crate::secret::Secret;

/// A database that has just become available may refuse its first sessions for some seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);

/// The lock that keeps two migrations apart: the first bytes of "ops migrate", as PostgreSQL wants a number.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"ops migr");

/// A connection, for as long as the script holds it.
#[derive(Clone)]
pub struct Connection {
    client: Arc<Mutex<Session>>,
    title: String,
}

const CONNECT: Function = Function {
    name: "connect",
    doc: "A connection to a database instance with TLS, as its master user unless a user is named. Waits until the instance is available.\n\
          Throws `denied` (code 28P01) for a wrong password, `unavailable` where nothing answers.",
    parameters: &["instance: Instance"],
    returns: "Connection",
    keys: &[
        optional("database", Holds::String, "The database; the instance's own if not given"),
        optional("user", Holds::String, "The role to log in as"),
        optional("password", Holds::A("a secret", |value| value.is::<StoredSecret>()), "Its password"),
        optional("ca", Holds::String, "A PEM file with the authorities to trust; PGSSLROOTCERT if not given"),
    ],
};

const MIGRATE: Function = Function {
    name: "migrate",
    doc: "Applies the migrations of a folder, files `NNNN_name.sql` in the order of their numbers, each in a transaction of its own, and \
          returns how many. What was applied is recorded in `public.schema_migration` with a checksum.\n\
          Throws `conflict` where an applied file was changed or is missing.",
    parameters: &["folder: string"],
    returns: "int",
    keys: &[],
};

const RUN_FILE: Function = Function {
    name: "run_file",
    doc: "Runs a file of SQL statements in one transaction.",
    parameters: &["path: string"],
    returns: "()",
    keys: &[],
};

const QUERY: Function = Function {
    name: "query",
    doc: "The rows of a query, each a map; `$1`, `$2` .. stand for the parameters.",
    parameters: &["sql: string", "parameters: list"],
    returns: "list",
    keys: &[],
};

const EXECUTE: Function = Function {
    name: "execute",
    doc: "Runs one statement and returns how many rows it touched; `$1`, `$2` .. stand for the parameters.",
    parameters: &["sql: string", "parameters: list"],
    returns: "int",
    keys: &[],
};

const SCRAM_VERIFIER: Function = Function {
    name: "scram_verifier",
    doc: "The SCRAM-SHA-256 verifier of a password, as PostgreSQL stores it: a server can check the password with it, and cannot learn it.\n\
          RFC 5802, RFC 7677.",
    parameters: &["password: Secret"],
    returns: "Password",
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("postgres", host);
    namespace
        .handle::<Connection>("Connection")
        .with_options(&CONNECT, connect)
        .function1(&SCRAM_VERIFIER, |_, password: StoredSecret| {
            let verifier = postgres_protocol::password::scram_sha_256(password.value.expose().as_bytes());
            Ok(Secret::new(verifier))
        })
        .method1(&MIGRATE, |call, it: &Connection, folder: String| it.migrate(call, &folder))
        .method1(&RUN_FILE, |call, it: &Connection, path: String| it.run_file(call, &path))
        .method1(&QUERY, |call, it: &Connection, sql: String| it.query(call, &sql, Array::new()))
        .method2(&QUERY, |call, it: &Connection, sql: String, parameters: Array| {
            it.query(call, &sql, parameters)
        })
        .method1(&EXECUTE, |call, it: &Connection, sql: String| it.execute(call, &sql, Array::new()))
        .method2(&EXECUTE, |call, it: &Connection, sql: String, parameters: Array| {
            it.execute(call, &sql, parameters)
        })
        .identified(|it: &Connection| format!("connection to {}", it.title));
    namespace
}

fn connect(call: &Call, instance: rds::Instance, options: &Options) -> Result<Connection, Error> {
    let endpoint = instance.endpoint_for(call, "endpoint")?;
    let (user, password) = instance.master();
    let login = Login {
        host: endpoint.host,
        port: endpoint.port,
        database: options.string("database").unwrap_or_else(|| instance.db_name().to_owned()),
        user: options.string("user").unwrap_or_else(|| user.to_owned()),
        password: match options.get("password").and_then(|value| value.clone().try_cast::<StoredSecret>()) {
            Some(secret) => secret.value,
            None => password.clone(),
        },
    };
    let authority = authority(call, options)?;
    let started = Instant::now();
    let session = loop {
        match connect_as(&login, &authority) {
            Ok(session) => break session,
            Err(error)
                if error.kind == Kind::Unavailable
                    && started.elapsed() < CONNECT_LIMIT
                    && !call.cancelled() =>
            {
                call.block(async {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    Ok(())
                })?;
            }
            Err(error) => return Err(error),
        }
    };
    Ok(Connection {
        client: Arc::new(Mutex::new(session)),
        title: format!("{} on {}", login.database, login.host),
    })
}

/// The file with the authorities that may have signed the database's certificate.
fn authority(call: &Call, options: &Options) -> Result<std::path::PathBuf, Error> {
    if let Some(path) = options.string("ca") {
        return Ok(call.project.root.join(path));
    }
    match &call.world {
        World::Local { folder } => Ok(folder.join("rds-ca.pem")),
        World::Aws => std::env::var_os("PGSSLROOTCERT").map(Into::into).ok_or_else(|| {
            Error::invalid("the database's certificate cannot be verified: no authority is named")
                .help("download https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem and set PGSSLROOTCERT to its path")
        }),
    }
}

/// A file of a migration folder.
struct Migration {
    version: i32,
    name: String,
    text: String,
    checksum: String,
}

impl Connection {
    /// Runs SQL; when the run is stopped meanwhile, PostgreSQL is asked to cancel it.
    fn sql<T>(&self, call: &Call, run: impl FnOnce(&mut Client) -> Result<T, Error>) -> Result<T, Error> {
        let mut session = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let canceller = session.canceller();
        let done = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    if call.cancelled() {
                        // Without an answer the statement runs to its end, which is waited for.
                        return canceller.cancel();
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            });
            let outcome = run(session.client());
            done.store(true, Ordering::SeqCst);
            outcome
        });
        if call.cancelled() { Err(Error::interrupted()) } else { outcome }
    }

    fn migrate(&self, call: &Call, folder: &str) -> Result<i64, Error> {
        let migrations = read_migrations(&call.project.root.join(folder))?;
        let failed = |error: postgres::Error| failure("migrate", &error);
        let applied = self.sql(call, |client| {
            client.batch_execute(&format!("select pg_advisory_lock({MIGRATION_LOCK})")).map_err(failed)?;
            let applied = apply(client, &migrations, call);
            // Also after a failure: the connection may be used again.
            let unlocked =
                client.batch_execute(&format!("select pg_advisory_unlock({MIGRATION_LOCK})")).map_err(failed);
            applied.and_then(|applied| unlocked.map(|()| applied))
        })?;
        if applied > 0 {
            call.progress.line(Line::Success, &format!("postgres {folder}  {applied} migrations applied"));
        }
        Ok(applied)
    }

    fn run_file(&self, call: &Call, path: &str) -> Result<(), Error> {
        let text = read(&call.project.root.join(path))?;
        let failed = |error: postgres::Error| located(failure("run_file", &error), &error, path, &text);
        self.sql(call, |client| {
            let mut transaction = client.transaction().map_err(failed)?;
            transaction.batch_execute(&text).map_err(failed)?;
            transaction.commit().map_err(failed)
        })?;
        call.progress.effect();
        Ok(())
    }

    fn query(&self, call: &Call, sql: &str, parameters: Array) -> Result<Array, Error> {
        let parameters = Parameter::all(parameters)?;
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as _).collect();
        let failed = |error: postgres::Error| located(failure("query", &error), &error, "the query", sql);
        let rows = self.sql(call, |client| client.query(sql, &parameters).map_err(failed))?;
        call.progress.effect();
        rows.iter().map(row).collect()
    }

    fn execute(&self, call: &Call, sql: &str, parameters: Array) -> Result<i64, Error> {
        let parameters = Parameter::all(parameters)?;
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as _).collect();
        let failed =
            |error: postgres::Error| located(failure("execute", &error), &error, "the statement", sql);
        let touched = self.sql(call, |client| client.execute(sql, &parameters).map_err(failed))?;
        call.progress.effect();
        Ok(i64::try_from(touched).unwrap_or(i64::MAX))
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|source| Error::io(format_args!("read {}", path.display()), &source))
}

/// The migrations of a folder, in order. What is no `NNNN_name.sql` is refused: it would silently be left out.
fn read_migrations(folder: &Path) -> Result<Vec<Migration>, Error> {
    let failed =
        |source: std::io::Error| Error::io(format_args!("read the folder {}", folder.display()), &source);
    let mut migrations: Vec<Migration> = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name
            .strip_suffix(".sql")
            .and_then(|stem| stem.split_once('_'))
            .and_then(|(number, _)| number.parse().ok());
        let Some(version) = number else {
            return Err(Error::invalid(format!("{} is no migration", path.display()))
                .help("their files are named like 0001_first.sql"));
        };
        let text = read(&path)?;
        let checksum = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        migrations.push(Migration { version, name, text, checksum });
    }
    migrations.sort_by_key(|migration| migration.version);
    if let Some(twice) = migrations.windows(2).find(|pair| pair[0].version == pair[1].version) {
        return Err(Error::invalid(format!(
            "two migrations have the number {}: {} and {}",
            twice[0].version, twice[0].name, twice[1].name
        )));
    }
    Ok(migrations)
}

fn apply(client: &mut Client, migrations: &[Migration], call: &Call) -> Result<i64, Error> {
    let failed = |error: postgres::Error| failure("migrate", &error);
    client
        .batch_execute(
            "create table if not exists public.schema_migration (
                version int primary key,
                name text not null,
                checksum text not null,
                applied_at timestamptz not null default now()
            )",
        )
        .map_err(failed)?;
    let applied = client
        .query("select version, name, checksum from public.schema_migration order by version", &[])
        .map_err(failed)?;
    let conflict = |name: &str, what: &str| {
        Err(Error::new(
            Kind::Conflict,
            format!("the migration {name} was applied to this database and {what}"),
        )
        .of("postgres", "migrate")
        .help("put the file back as it was, and write what should change into a new migration"))
    };
    for row in &applied {
        let (version, name, checksum): (i32, &str, &str) = (row.get(0), row.get(1), row.get(2));
        match migrations.iter().find(|migration| migration.version == version) {
            None => return conflict(name, "its file is missing"),
            Some(migration) if migration.checksum != checksum => {
                return conflict(&migration.name, "its file was changed since");
            }
            Some(_) => {}
        }
    }
    let mut count = 0;
    for migration in migrations {
        if applied.iter().any(|row| row.get::<_, i32>(0) == migration.version) {
            continue;
        }
        if call.cancelled() {
            return Err(Error::interrupted());
        }
        let mut transaction = client.transaction().map_err(failed)?;
        transaction
            .batch_execute(&migration.text)
            .map_err(|error| located(failure("migrate", &error), &error, &migration.name, &migration.text))?;
        transaction
            .execute(
                "insert into public.schema_migration (version, name, checksum) values ($1, $2, $3)",
                &[&migration.version, &migration.name, &migration.checksum],
            )
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        call.progress.effect();
        count += 1;
    }
    Ok(count)
}

/// Adds the line of the SQL that PostgreSQL points at.
fn located(failed: Error, error: &postgres::Error, name: &str, text: &str) -> Error {
    use postgres::error::ErrorPosition;
    let Some(ErrorPosition::Original(position)) = error.as_db_error().and_then(|answer| answer.position())
    else {
        return failed.help(format!("in {name}"));
    };
    let before: String =
        text.chars().take(usize::try_from(*position).unwrap_or(1).saturating_sub(1)).collect();
    let line = before.lines().count().max(1);
    let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
    failed.help(format!("in {name}, line {line}: {shown}"))
}

/// A value of a script on its way into a statement, in PostgreSQL's text format, which fits every type.
#[derive(Debug)]
struct Parameter(Option<String>);

impl Parameter {
    fn all(values: Array) -> Result<Vec<Self>, Error> {
        values.into_iter().enumerate().map(|(index, value)| Self::from(index, value)).collect()
    }

    fn from(index: usize, value: Dynamic) -> Result<Self, Error> {
        if value.is_unit() {
            return Ok(Parameter(None));
        }
        if let Some(secret) = value.read_lock::<Secret>() {
            return Ok(Parameter(Some(secret.expose().to_owned())));
        }
        if let Some(secret) = value.read_lock::<StoredSecret>() {
            return Ok(Parameter(Some(secret.value.expose().to_owned())));
        }
        if value.is_string() || value.is_int() || value.is_float() || value.is_bool() {
            return Ok(Parameter(Some(value.to_string())));
        }
        Err(Error::invalid(format!("parameter ${} is neither text, number, bool, secret nor ()", index + 1)))
    }
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

fn row(row: &Row) -> Result<Dynamic, Error> {
    let mut map = Map::new();
    for (index, column) in row.columns().iter().enumerate() {
        map.insert(column.name().into(), cell(row, index, column.type_())?);
    }
    Ok(map.into())
}

fn cell(row: &Row, index: usize, ty: &Type) -> Result<Dynamic, Error> {
    fn read<'a, T: FromSql<'a>>(
        row: &'a Row,
        index: usize,
        into: impl Fn(T) -> Dynamic,
    ) -> Result<Dynamic, Error> {
        let value: Option<T> = row.try_get(index).map_err(|error| failure("query", &error))?;
        Ok(value.map_or(Dynamic::UNIT, into))
    }
    match *ty {
        Type::BOOL => read::<bool>(row, index, Dynamic::from),
        Type::INT2 => read::<i16>(row, index, |value| i64::from(value).into()),
        Type::INT4 => read::<i32>(row, index, |value| i64::from(value).into()),
        Type::INT8 => read::<i64>(row, index, Dynamic::from),
        Type::OID => read::<u32>(row, index, |value| i64::from(value).into()),
        Type::FLOAT4 => read::<f32>(row, index, |value| f64::from(value).into()),
        Type::FLOAT8 => read::<f64>(row, index, Dynamic::from),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
            read::<String>(row, index, Dynamic::from)
        }
        _ => Err(Error::invalid(format!("the column `{}` has the type {ty}", row.columns()[index].name()))
            .of("postgres", "query")
            .help("convert it in the query: `column::text`")),
    }
}
