//! `rds::` database instances: encrypted, not public, protected from deletion, in a subnet group of their own.

mod create;
mod drawn;
mod endpoint;
mod modify;
mod owned;
mod password;
mod snapshot;
mod transport;
mod version;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_rds::types::DbInstance;

pub use drawn::drawn;
pub use endpoint::Endpoint;
pub use owned::owned;

use crate::clients::aws::{Clients, failure};
use crate::error::{Error, Kind};
use crate::host::{Host, STACK_TAG};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::local::secrets::spent;
use crate::primitives::namespace::{Call, Namespace};
use crate::secret::Secret;

/// Twice what the original deployment took for its slowest database, about 20 minutes.
const AVAILABLE_LIMIT: Duration = Duration::from_secs(40 * 60);

/// A database instance of the stack.
#[derive(Clone)]
pub struct Instance(Arc<Inner>);

struct Inner {
    name: String,
    identifier: String,
    master_username: String,
    /// `None` where RDS keeps it itself.
    master_password: Option<Secret>,
    db_name: String,
    /// Where it is waited for: the region or role that it was made in.
    scope: Option<Arc<Clients>>,
    endpoint: Mutex<Option<Endpoint>>,
    is_kept_by_rds: bool,
    is_public: bool,
    is_protected: bool,
    class: String,
    /// Nobody has asked that it runs.
    is_only_found: bool,
}

/// The smallest class, which an account's free tier covers.
const SMALLEST_CLASS: &str = "db.t3.micro";

const ENSURE: Function = Function {
    name: "ensure_instance",
    doc: "The stack's database instance of that name. Creates one where there is none; returns when the request is accepted.\n\
          Made encrypted, not public, with gp3 storage, deletion protection, 7 days of backups and tags copied to snapshots.\n\
          Throws `conflict` where a named key differs and RDS cannot change it in place.\n\
          RDS `DescribeDBInstances`, `DescribeDBParameters`, `DescribeDBEngineVersions`, `DescribeOrderableDBInstanceOptions`, `CreateDBSubnetGroup`, `CreateDBInstance`, `ModifyDBInstance`.",
    parameters: &["name: string"],
    returns: "Instance",
    permissions: &[
        "rds:DescribeDBInstances",
        "rds:DescribeDBSubnetGroups",
        "rds:DescribeDBParameters",
        "rds:DescribeDBEngineVersions",
        "rds:DescribeOrderableDBInstanceOptions",
        "rds:CreateDBSubnetGroup",
        "rds:CreateDBInstance",
        "rds:ModifyDBInstance",
        "rds:StartDBInstance",
        "rds:AddTagsToResource",
        "rds:ListTagsForResource",
        "ec2:DescribeVpcs",
        "ec2:DescribeSubnets",
        "secretsmanager:CreateSecret",
        "secretsmanager:TagResource",
        "kms:DescribeKey",
        "iam:CreateServiceLinkedRole",
    ],
    example: r#"
        let db = rds::ensure_instance("db", #{
            engine: "postgres",
            instance_class: "db.t3.micro",
            allocated_storage_gib: 20,
            master_password: secrets::ensure("database/master"),
        });
        print(db.endpoint);    // waits until it is there"#,
    keys: &[
        optional(
            "master_password",
            Holds::A("a secret, such as secrets::ensure(\"database/master\")", |value| {
                spent(value).is_some()
            }),
            "The password of the master user",
        ),
        optional(
            "manage_master_user_password",
            Holds::Bool,
            "RDS makes the password, keeps it in Secrets Manager and changes it every week; one that RDS keeps stays there if not given",
        ),
        optional("master_username", Holds::String, "The master user; `dbadmin` if not given"),
        optional("engine", Holds::String, "The engine; `postgres` if not given"),
        optional(
            "engine_version",
            Holds::String,
            "A major version, such as `17`, of which a new database gets the newest minor one; the service's default if not given",
        ),
        optional("instance_class", Holds::String, "Size; `db.t3.micro` if not given"),
        optional("allocated_storage_gib", Holds::Int, "Storage in GiB; 20 if not given"),
        optional("db_name", Holds::String, "The database to make in it; `music` if not given"),
        optional("security_groups", Holds::List, "Its security groups"),
        optional("backup_retention_days", Holds::Int, "How long automatic backups stay; 7 if not given"),
        optional(
            "publicly_accessible",
            Holds::Bool,
            "Whether it has an address on the internet; `false` if not given",
        ),
        optional(
            "deletion_protection",
            Holds::Bool,
            "Whether RDS refuses to delete it; `true` if not given. `owned().delete()` takes `--delete-protected` for it",
        ),
    ],
};

const FIND: Function = Function {
    name: "find_instance",
    doc: "The stack's database instance of that name, or `()`. Its master password is known if RDS keeps it. RDS `DescribeDBInstances`.",
    parameters: &["name: string"],
    returns: "Instance",
    permissions: &["rds:DescribeDBInstances"],
    example: r#"if rds::find_instance("db") == () { say("no database yet"); }"#,
    keys: &[],
};

const WAIT: Function = Function {
    name: "wait",
    doc: "Waits until the instance is available. RDS `DescribeDBInstances`.",
    parameters: &[],
    returns: "()",
    permissions: &["rds:DescribeDBInstances"],
    example: r#"
        let db = rds::ensure_instance("db", #{ master_password: secrets::ensure("database/master") });
        db.wait();"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("rds", host);
    namespace
        .handle::<Instance>("Instance")
        .function1(&FIND, |call, name: String| {
            Ok(find(call, name)?.map_or(rhai::Dynamic::UNIT, rhai::Dynamic::from))
        })
        .with_options(&ENSURE, ensure)
        .property("name", "The instance's identifier.", |_, db: &Instance| Ok(db.0.identifier.clone()))
        .property(
            "endpoint",
            "Its host name. Waits until the instance is available.",
            |call, db: &Instance| Ok(db.endpoint_for(call, "endpoint")?.host),
        )
        .property("port", "Its port. Waits until the instance is available.", |call, db: &Instance| {
            Ok(i64::from(db.endpoint_for(call, "port")?.port))
        })
        .property("username", "The master user.", |_, db: &Instance| Ok(db.0.master_username.clone()))
        .property(
            "publicly_accessible",
            "Whether it has an address on the internet, as it was when it was read.",
            |_, db: &Instance| Ok(db.0.is_public),
        )
        .property(
            "deletion_protection",
            "Whether RDS refuses to delete it, as it was when it was read.",
            |_, db: &Instance| Ok(db.0.is_protected),
        )
        .property(
            "instance_class",
            "Its size, such as `db.t3.micro`, as it was when it was read.",
            |_, db: &Instance| Ok(db.0.class.clone()),
        )
        .property("db_name", "The database in it.", |_, db: &Instance| Ok(db.0.db_name.clone()))
        .property(
            "rds_keeps_password",
            "Whether RDS makes and keeps the master password.",
            |_, db: &Instance| Ok(db.0.is_kept_by_rds),
        )
        .method0(&WAIT, |call, db: &Instance| db.wait(call, "").map(drop))
        .identified(|db: &Instance| format!("database {}", db.0.identifier));
    snapshot::register(&mut namespace);
    namespace
}

impl Instance {
    pub fn identifier(&self) -> &str {
        &self.0.identifier
    }

    pub fn db_name(&self) -> &str {
        &self.0.db_name
    }
}

/// The instance of that identifier, if there is one.
async fn describe(host: &Host, identifier: &str) -> Result<Option<DbInstance>, Error> {
    let answer = host.aws()?.rds.describe_db_instances().db_instance_identifier(identifier).send().await;
    match answer.map_err(|error| failure("rds", "DescribeDBInstances", error)) {
        Ok(answer) => Ok(answer.db_instances.unwrap_or_default().pop()),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads it now, for [`ensure`] too.
fn find(call: &Call, name: String) -> Result<Option<Instance>, Error> {
    let identifier = call.full_name(&name)?;
    let read = || call.block(async { Ok(describe(call, &identifier).await?.into_iter().collect()) });
    let found = call.read(|clients| &clients.databases, read)?;
    let Some(found) = found.first().filter(|found| belongs(call, found)) else { return Ok(None) };
    Ok(Some(Instance(Arc::new(Inner {
        name,
        identifier,
        master_username: found.master_username().unwrap_or_default().to_owned(),
        master_password: None,
        db_name: found.db_name().unwrap_or_default().to_owned(),
        scope: call.scope(),
        endpoint: Mutex::new(Endpoint::of(found)),
        is_kept_by_rds: found.master_user_secret().is_some(),
        is_public: found.publicly_accessible() == Some(true),
        is_protected: found.deletion_protection() == Some(true),
        class: found.db_instance_class().unwrap_or_default().to_owned(),
        is_only_found: true,
    }))))
}

fn belongs(host: &Host, found: &DbInstance) -> bool {
    found.tag_list().iter().any(|tag| tag.key() == Some(STACK_TAG) && tag.value() == host.stack().ok())
}

fn ensure(call: &Call, name: String, options: &Options) -> Result<Instance, Error> {
    let identifier = call.full_name(&name)?;
    let read = || call.block(async { Ok(describe(call, &identifier).await?.into_iter().collect()) });
    let seen = call.seen(|clients| &clients.databases, read)?;
    let mut seen = seen.iter().find(|seen| seen.db_instance_identifier() == Some(&identifier)).cloned();
    // One that is being deleted is gone before one of the same name can be made.
    let identifier = identifier.as_str();
    let found = call.wait(&format!("database {name}"), AVAILABLE_LIMIT, || {
        let seen = seen.take();
        async move {
            let found = match seen {
                Some(found) => Some(found),
                None => describe(call, identifier).await?,
            };
            Ok(match found.as_ref().and_then(|found| found.db_instance_status()) {
                Some("deleting") => Err("deleting".to_owned()),
                _ => Ok(found),
            })
        }
    })?;
    let kept_by_rds = found.as_ref().is_some_and(|found| found.master_user_secret().is_some());
    let master_password = password::asked(options, kept_by_rds)?;
    let mut instance = Inner {
        name,
        identifier: identifier.to_owned(),
        master_username: options.string("master_username").unwrap_or_else(|| "dbadmin".to_owned()),
        master_password,
        db_name: options.string("db_name").unwrap_or_else(|| "music".to_owned()),
        scope: call.scope(),
        endpoint: Mutex::new(None),
        is_kept_by_rds: kept_by_rds || options.bool("manage_master_user_password") == Some(true),
        is_public: options
            .bool("publicly_accessible")
            .or(found.as_ref().and_then(DbInstance::publicly_accessible))
            .unwrap_or(false),
        is_protected: options
            .bool("deletion_protection")
            .or(found.as_ref().and_then(DbInstance::deletion_protection))
            .unwrap_or(true),
        class: options
            .string("instance_class")
            .or_else(|| found.as_ref()?.db_instance_class().map(str::to_owned))
            .unwrap_or_else(|| SMALLEST_CLASS.to_owned()),
        is_only_found: false,
    };
    match found {
        Some(found) => {
            if !belongs(call, &found) {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("the database {} does not belong to this stack", instance.identifier),
                )
                .help("name the stack otherwise, or tag the database with the stack's tags to adopt it"));
            }
            compare(&instance.identifier, &found, options)?;
            transport::warn_without_tls(call, &found)?;
            let before = call.progress.changes();
            modify::converge(call, &instance.name, &instance.identifier, &found, options)?;
            // One that is available and was not touched stays so: its endpoint need not be asked for.
            if call.progress.changes() == before {
                instance.endpoint = Mutex::new(Endpoint::of(&found));
            }
            found.master_username().unwrap_or_default().clone_into(&mut instance.master_username);
            if let Some(db_name) = found.db_name() {
                db_name.clone_into(&mut instance.db_name);
            }
        }
        None => create::create(call, &instance, options)?,
    }
    let instance = Instance(Arc::new(instance));
    let pending = instance.clone();
    call.expect(move |host| pending.wait(host, "").map(drop));
    Ok(instance)
}

/// What is named and cannot be changed in place is refused, never silently ignored.
fn compare(identifier: &str, found: &DbInstance, options: &Options) -> Result<(), Error> {
    let differs = |key: &str, is: String, asked: String| {
        Err(Error::new(
            Kind::Conflict,
            format!("the database {identifier} has {key} `{is}`, and `{asked}` is asked for"),
        )
        .key(key)
        .help(
            "ops does not change it in place: ask for what it has, or restore a snapshot into a new instance",
        ))
    };
    let named = [
        ("engine", found.engine()),
        ("master_username", found.master_username()),
        ("db_name", found.db_name()),
    ];
    for (key, is) in named {
        if let Some(asked) = options.string(key)
            && is != Some(&asked)
        {
            return differs(key, is.unwrap_or_default().to_owned(), asked);
        }
    }
    if let (Some(asked), Some(is)) = (options.string("engine_version"), found.engine_version())
        && is != asked
        && !is.starts_with(&format!("{asked}."))
    {
        return differs("engine_version", is.to_owned(), asked);
    }
    Ok(())
}
