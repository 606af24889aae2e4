//! `postgres::` SQL to a database instance: migrations, queries, login verifiers.
//!
//! SQL is an effect, not a change of a resource: it is counted apart, and every file of a migration is applied once.

mod authority;
mod migration;
mod value;
mod way;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use postgres::Client;
use postgres::types::ToSql;
use rhai::Array;

use value::{Parameter, row};
use way::Way;

use crate::clients::postgres::{Login, Session, connect as connect_as, failure};
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::aws::rds;
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::local::secrets::{StoredSecret, spent};
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Line;
use crate::secret::Secret;

/// A database that has just become available may refuse its first sessions for some seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);

/// A server that is up answers a login in well under a second.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A connection, for as long as the script holds it.
#[derive(Clone)]
pub struct Connection {
    /// `None` in a plan.
    client: Option<Arc<Mutex<Session>>>,
    /// Ends with the last of the connection.
    _way: Arc<Way>,
    title: String,
}

const CONNECT: Function = Function {
    name: "connect",
    doc: "A connection to a database instance with TLS, as its master user unless a user is named. Waits until the instance is available.\n\
          Throws `denied` (code 28P01) for a wrong password, `unavailable` where nothing answers.",
    parameters: &["instance: Instance"],
    returns: "Connection",
    permissions: &[
        "rds:DescribeDBInstances",
        "ssm:GetParametersByPath",
        "secretsmanager:GetSecretValue",
        "ec2:GetConsoleOutput",
        "ec2:DescribeInstances",
        "ec2:DescribeSecurityGroupRules",
        "ec2:AuthorizeSecurityGroupIngress",
        "ec2:RevokeSecurityGroupIngress",
        "ec2:CreateTags",
    ],
    example: r#"
        let db = rds::ensure_instance("db", #{ master_password: secrets::ensure("database/master") });
        let music = postgres::connect(db);
        print(music.query("select current_user::text as me")[0].me);"#,
    keys: &[
        optional("database", Holds::String, "The database; the instance's own if not given"),
        optional("user", Holds::String, "The role to log in as"),
        optional("password", Holds::A("a secret", |value| spent(value).is_some()), "Its password"),
        optional(
            "ca",
            Holds::String,
            "A PEM file with the authorities to trust; if not given PGSSLROOTCERT, else what AWS publishes for RDS is fetched",
        ),
        optional(
            "via",
            Holds::A("an instance or a session", way::is_via),
            "What to go through, by SSH: a session always, an instance where the database does not answer from here",
        ),
    ],
};

const MIGRATE: Function = Function {
    name: "migrate",
    doc: "Applies the migrations of a folder, files `NNNN_name.sql` in the order of their numbers, each in a transaction of its own, and \
          returns how many. What was applied is recorded in `public.schema_migration` with a checksum.\n\
          Throws `conflict` where an applied file was changed or is missing.",
    parameters: &["folder: string"],
    returns: "int",
    permissions: &[],
    example: r#"
        let db = rds::ensure_instance("db", #{ master_password: secrets::ensure("database/master") });
        let music = postgres::connect(db);
        print(`${music.migrate("sql/migrations")} migrations were new`);"#,
    keys: &[],
};

const RUN_FILE: Function = Function {
    name: "run_file",
    doc: "Runs a file of SQL statements in one transaction.",
    parameters: &["path: string"],
    returns: "()",
    permissions: &[],
    example: r#"
        let db = rds::ensure_instance("db", #{ master_password: secrets::ensure("database/master") });
        let music = postgres::connect(db);
        music.migrate("sql/migrations");
        music.run_file("sql/sample.sql", #{ unless: "select from app_user limit 1" });"#,
    keys: &[optional("unless", Holds::String, "A query: where it gives a row, the file is not run")],
};

const QUERY: Function = Function {
    name: "query",
    doc: "The rows of a query, each a map; `$1`, `$2` .. stand for the parameters.",
    parameters: &["sql: string", "parameters: list"],
    returns: "list",
    permissions: &[],
    example: r#"
        let db = rds::ensure_instance("db", #{ master_password: secrets::ensure("database/master") });
        let music = postgres::connect(db);
        for row in music.query("select n from generate_series(1, $1::int) as n", [3]) {
            print(row.n);
        }"#,
    keys: &[],
};

const EXECUTE: Function = Function {
    name: "execute",
    doc: "Runs one statement and returns how many rows it touched; `$1`, `$2` .. stand for the parameters.",
    parameters: &["sql: string", "parameters: list"],
    returns: "int",
    permissions: &[],
    example: r#"
        let db = rds::ensure_instance("db", #{ master_password: secrets::ensure("database/master") });
        let music = postgres::connect(db);
        music.execute("create table if not exists note (words text)");
        print(music.execute("insert into note values ($1)", ["hello"]));"#,
    keys: &[],
};

const SCRAM_VERIFIER: Function = Function {
    name: "scram_verifier",
    doc: "The SCRAM-SHA-256 verifier of a password, as PostgreSQL stores it: a server can check the password with it, and cannot learn it.\n\
          RFC 5802, RFC 7677.",
    parameters: &["password: Secret"],
    returns: "Password",
    permissions: &[],
    example: r#"let verifier = postgres::scram_verifier(secrets::ensure("server/reader"));"#,
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
        .method1_options(&RUN_FILE, |call, it: &Connection, path: String, options: &Options| {
            it.run_file(call, &path, options.string("unless").as_deref())
        })
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
    if call.dry_run {
        // A plan does not look into databases: what SQL would do is listed, not tried.
        return Ok(Connection {
            client: None,
            _way: Arc::default(),
            title: format!("database {}", instance.identifier()),
        });
    }
    let endpoint = instance.endpoint_for(call, "endpoint")?;
    let authority = authority::file(call, options)?;
    let way = way::find(call, options.get("via"), &endpoint)?;
    let (user, password) = match options.string("user").zip(given_password(options)) {
        Some(login) => login,
        None => {
            let (user, password) = instance.master(call)?;
            (
                options.string("user").unwrap_or_else(|| user.to_owned()),
                given_password(options).unwrap_or(password),
            )
        }
    };
    let login = Login {
        host: endpoint.host,
        port: endpoint.port,
        database: options.string("database").unwrap_or_else(|| instance.db_name().to_owned()),
        user,
        password,
        through: way.through(),
    };
    let started = Instant::now();
    let session = loop {
        match connect_within(call, &login, &authority) {
            Ok(session) => break session,
            Err(error) if error.kind == Kind::Unavailable && started.elapsed() < CONNECT_LIMIT => {
                call.block(async {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    Ok(())
                })?;
            }
            Err(error) => return Err(way.explain(error)),
        }
    };
    Ok(Connection {
        client: Some(Arc::new(Mutex::new(session))),
        _way: Arc::new(way),
        title: format!("{} on {}", login.database, login.host),
    })
}

fn given_password(options: &Options) -> Option<Secret> {
    spent(options.get("password")?)
}

/// Connects on a thread of its own: a server that accepts and says nothing would hold up Ctrl-C and the script.
fn connect_within(call: &Call, login: &Login, authority: &Path) -> Result<Session, Error> {
    let (sender, session) = mpsc::channel();
    let (login, authority) = (login.clone(), authority.to_owned());
    let title = format!("{} port {}", login.host, login.port);
    std::thread::spawn(move || {
        // Nobody waits for it any more after an interruption.
        _ = sender.send(connect_as(&login, &authority));
    });
    let started = Instant::now();
    loop {
        match session.recv_timeout(Duration::from_millis(20)) {
            Ok(session) => return session,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Error::internal("the connecting thread ended"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) if call.cancelled() => return Err(Error::interrupted()),
            Err(mpsc::RecvTimeoutError::Timeout) if started.elapsed() > ANSWER_LIMIT => {
                return Err(Error::new(
                    Kind::Timeout,
                    format!("{title} accepts connections and does not answer"),
                )
                .of("postgres", "connect"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

impl Connection {
    /// Runs SQL; when the run is stopped meanwhile, PostgreSQL is asked to cancel it.
    ///
    /// `doing` is what a plan says instead.
    fn sql<T>(
        &self,
        call: &Call,
        doing: &str,
        run: impl FnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let doing = format!("{} on {}", one_line(doing), self.title);
        call.effect(&doing)?;
        let session = self.client.as_ref().ok_or_else(|| Error::planned(doing))?;
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
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
            let _done = Done(&done);
            run(session.client())
        });
        if call.cancelled() { Err(Error::interrupted()) } else { outcome }
    }

    fn migrate(&self, call: &Call, folder: &str) -> Result<i64, Error> {
        let migrations = migration::read_folder(&call.project.root.join(folder))?;
        let applied = self.sql(call, &format!("apply the migrations of {folder}"), |client| {
            migration::apply_all(client, &migrations, call)
        })?;
        if applied > 0 {
            call.progress.line(Line::Success, &format!("postgres {folder}  {applied} migrations applied"));
        }
        Ok(applied)
    }

    fn run_file(&self, call: &Call, path: &str, unless: Option<&str>) -> Result<(), Error> {
        let text = read(&call.project.root.join(path))?;
        let failed = |error: postgres::Error| located(failure("run_file", &error), &error, path, &text);
        self.sql(call, &format!("run {path}"), |client| {
            let mut transaction = client.transaction().map_err(failed)?;
            if let Some(sql) = unless {
                let failed =
                    |error: postgres::Error| located(failure("run_file", &error), &error, "`unless`", sql);
                if !transaction.query(sql, &[]).map_err(failed)?.is_empty() {
                    return Ok(());
                }
            }
            transaction.batch_execute(&text).map_err(failed)?;
            transaction.commit().map_err(failed)
        })
    }

    fn query(&self, call: &Call, sql: &str, parameters: Array) -> Result<Array, Error> {
        let parameters = Parameter::all(parameters)?;
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as _).collect();
        let failed = |error: postgres::Error| located(failure("query", &error), &error, "the query", sql);
        let rows = self
            .sql(call, &format!("query `{sql}`"), |client| client.query(sql, &parameters).map_err(failed))?;
        rows.iter().map(row).collect()
    }

    fn execute(&self, call: &Call, sql: &str, parameters: Array) -> Result<i64, Error> {
        let parameters = Parameter::all(parameters)?;
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as _).collect();
        let failed =
            |error: postgres::Error| located(failure("execute", &error), &error, "the statement", sql);
        let touched = self.sql(call, &format!("execute `{sql}`"), |client| {
            client.execute(sql, &parameters).map_err(failed)
        })?;
        Ok(i64::try_from(touched).unwrap_or(i64::MAX))
    }
}

/// The first words of a text that may be many lines of SQL.
fn one_line(text: &str) -> String {
    let mut words = String::new();
    for word in text.split_whitespace() {
        if words.len() + word.len() > 70 {
            return words + " ..";
        }
        if !words.is_empty() {
            words.push(' ');
        }
        words += word;
    }
    words
}

/// Says that SQL has ended, however it did.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|source| Error::io(format_args!("read {}", path.display()), &source))
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
