//! Migrations: SQL files that are applied once, in order, each in a transaction of its own.

use std::path::Path;

use postgres::Client;
use sha2::{Digest, Sha256};

use super::{located, read};
use crate::clients::postgres::failure;
use crate::error::{Error, Kind};
use crate::primitives::namespace::Call;

/// The lock that keeps two migrations apart: the first bytes of "ops migrate", as PostgreSQL wants a number.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"ops migr");

/// A file of a migration folder.
pub(super) struct Migration {
    version: i32,
    name: String,
    text: String,
    checksum: String,
}

/// The migrations of a folder, in order. What is no `NNNN_name.sql` is refused: it would silently be left out.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<Migration>, Error> {
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

/// Applies what is not applied yet, under a lock that keeps two runs apart, and returns how many that were.
pub(super) fn apply_all(client: &mut Client, migrations: &[Migration], call: &Call) -> Result<i64, Error> {
    let failed = |error: postgres::Error| failure("migrate", &error);
    client.batch_execute(&format!("select pg_advisory_lock({MIGRATION_LOCK})")).map_err(failed)?;
    let applied = apply(client, migrations, call);
    // Also after a failure: the connection may be used again.
    let unlocked =
        client.batch_execute(&format!("select pg_advisory_unlock({MIGRATION_LOCK})")).map_err(failed);
    applied.and_then(|applied| unlocked.map(|()| applied))
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
    let mut known = Vec::new();
    for row in &applied {
        let (version, name, checksum) = recorded(row)?;
        known.push(version);
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
        if known.contains(&migration.version) {
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
        count += 1;
    }
    Ok(count)
}

/// A row of `public.schema_migration`. Another tool may have made a table of that name.
fn recorded(row: &postgres::Row) -> Result<(i32, &str, &str), Error> {
    let columns = || Ok::<_, postgres::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    columns().map_err(|error| {
        Error::new(Kind::Conflict, format!("public.schema_migration is another tool's table: {error}"))
            .of("postgres", "migrate")
            .help("rename that table, or migrate this database with the tool that made it")
    })
}
