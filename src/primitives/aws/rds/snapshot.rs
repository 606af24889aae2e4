//! Snapshots that a playbook takes itself: one for a name, waited for, and kept when the stack goes.

use aws_sdk_rds::types::DbSnapshot;

use super::{AVAILABLE_LIMIT, Instance, create, describe};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Verb;

const ENSURE: Function = Function {
    name: "ensure_snapshot",
    doc: "The snapshot of that name of the database: takes one where there is none, waits until it can be restored from, and gives its identifier. \
          One that is there is left as it is, however old. It stays when the stack is deleted, as the last snapshot of a deleted database does.\n\
          Throws `conflict` where another database has a snapshot of that name; `unavailable` where RDS could not take it.\n\
          RDS `DescribeDBInstances`, `DescribeDBSnapshots`, `CreateDBSnapshot`.",
    parameters: &["name: string"],
    returns: "string",
    permissions: &[
        "rds:DescribeDBInstances",
        "rds:DescribeDBSnapshots",
        "rds:CreateDBSnapshot",
        "rds:AddTagsToResource",
    ],
    example: r#"
        let db = rds::ensure_instance("db", #{ master_password: secrets::ensure("database/master") });
        say(db.ensure_snapshot("before-the-move"));"#,
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace.method1(&ENSURE, ensure);
}

async fn find(host: &Host, identifier: &str) -> Result<Option<DbSnapshot>, Error> {
    let answer = host.aws()?.rds.describe_db_snapshots().db_snapshot_identifier(identifier).send().await;
    match answer.map_err(|error| failure("rds", "DescribeDBSnapshots", error)) {
        Ok(answer) => Ok(answer.db_snapshots.unwrap_or_default().pop()),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn ensure(call: &Call, db: &Instance, name: String) -> Result<String, Error> {
    call.full_name(&name)?;
    let identifier = format!("{}-{name}", db.identifier());
    call.within(db.0.scope.clone(), || {
        match call.block(find(call, &identifier))? {
            Some(found) if found.db_instance_identifier() != Some(db.identifier()) => {
                let other = found.db_instance_identifier().unwrap_or("another database");
                return Err(Error::new(
                    Kind::Conflict,
                    format!("the snapshot {identifier} is of {other}, and not of {}", db.identifier()),
                )
                .help("give it another name"));
            }
            Some(_) => {}
            None => take(call, db, &name, &identifier)?,
        }
        if call.dry_run {
            return Ok(identifier.clone());
        }
        call.wait(&format!("snapshot {identifier}"), AVAILABLE_LIMIT, || async {
            let found = find(call, &identifier).await?;
            let status = found.and_then(|found| found.status);
            match status.as_deref() {
                Some("available") => Ok(Ok(())),
                Some("failed") => Err(Error::new(
                    Kind::Unavailable,
                    format!("RDS could not take the snapshot {identifier}"),
                )
                .of("rds", "CreateDBSnapshot")
                .help("delete it with `aws rds delete-db-snapshot`, and run this again")),
                other => Ok(Err(other.unwrap_or("not visible yet").to_owned())),
            }
        })?;
        Ok(identifier.clone())
    })
}

/// RDS takes one of an instance that is available, and of no other.
fn take(call: &Call, db: &Instance, name: &str, identifier: &str) -> Result<(), Error> {
    if !call.dry_run {
        let status = call.block(describe(call, db.identifier()))?.and_then(|found| found.db_instance_status);
        if status.as_deref() == Some("stopped") {
            return Err(Error::new(
                Kind::Conflict,
                format!("the database {} is stopped: RDS takes no snapshot of it", db.identifier()),
            )
            .help("start it: `rds::ensure_instance` does"));
        }
        call.wait(&format!("database {}", db.0.name), AVAILABLE_LIMIT, || async {
            let found = describe(call, db.identifier()).await?;
            let status = found.and_then(|found| found.db_instance_status).unwrap_or_default();
            Ok(if status == "available" { Ok(()) } else { Err(status) })
        })?;
    }
    let detail = format!("snapshot {identifier}");
    let change = Change {
        verb: Verb::Add,
        service: "rds",
        operation: "CreateDBSnapshot",
        name: &db.0.name,
        detail: &detail,
    };
    call.change(change, |_| async {
        let request = call.aws()?.rds.create_db_snapshot().db_instance_identifier(db.identifier());
        let request = request.db_snapshot_identifier(identifier).set_tags(Some(create::tags(call, name)?));
        match request.send().await.map_err(|error| failure("rds", "CreateDBSnapshot", error)) {
            // The identifier is the token: a run that was killed after this call finds its own snapshot.
            Err(error) if error.code == "DBSnapshotAlreadyExists" => Ok(String::new()),
            other => {
                let made = other?.db_snapshot;
                Ok(made.and_then(|made| made.db_snapshot_arn).unwrap_or_default())
            }
        }
    })?;
    Ok(())
}
