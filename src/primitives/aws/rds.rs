//! `rds::` database instances: encrypted, not public, protected from deletion, in a subnet group of their own.

mod drawn;
mod modify;
mod owned;
mod transport;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_rds::types::{DbInstance, Tag};

pub use drawn::drawn;
pub use owned::owned;

use super::ec2::{self, SecurityGroup};
use crate::clients::aws::{Clients, failure};
use crate::error::{Error, Kind};
use crate::host::{Change, Host, STACK_TAG};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::local::secrets::{secret_value, spent};
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Verb;
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
}

/// Where an available instance answers.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

const ENSURE: Function = Function {
    name: "ensure_instance",
    doc: "The stack's database instance of that name. Creates one where there is none; returns when the request is accepted.\n\
          Made encrypted, not public, with gp3 storage, deletion protection, 7 days of backups and tags copied to snapshots.\n\
          Throws `conflict` where a named key differs and RDS cannot change it in place.\n\
          RDS `DescribeDBInstances`, `DescribeDBParameters`, `CreateDBSubnetGroup`, `CreateDBInstance`, `ModifyDBInstance`.",
    parameters: &["name: string"],
    returns: "Instance",
    permissions: &[
        "rds:DescribeDBInstances",
        "rds:DescribeDBSubnetGroups",
        "rds:DescribeDBParameters",
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
            "A major version, such as `17`; the service's default if not given",
        ),
        optional("instance_class", Holds::String, "Size; `db.t3.micro` if not given"),
        optional("allocated_storage_gib", Holds::Int, "Storage in GiB; 20 if not given"),
        optional("db_name", Holds::String, "The database to make in it; `music` if not given"),
        optional("security_groups", Holds::List, "Its security groups"),
        optional("backup_retention_days", Holds::Int, "How long automatic backups stay; 7 if not given"),
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
        .property("db_name", "The database in it.", |_, db: &Instance| Ok(db.0.db_name.clone()))
        .property(
            "rds_keeps_password",
            "Whether RDS makes and keeps the master password.",
            |_, db: &Instance| Ok(db.0.is_kept_by_rds),
        )
        .method0(&WAIT, |call, db: &Instance| db.wait(call, "").map(drop))
        .identified(|db: &Instance| format!("database {}", db.0.identifier));
    namespace
}

impl Instance {
    /// The master user's name and password. One that RDS keeps may have changed since it was last read.
    pub fn master(&self, host: &Host) -> Result<(&str, Secret), Error> {
        let username = self.0.master_username.as_str();
        if let Some(password) = &self.0.master_password {
            return Ok((username, password.clone()));
        }
        let identifier = &self.0.identifier;
        let password = host.within(self.0.scope.clone(), || {
            host.block(async {
                let found = describe(host, identifier).await?;
                let secret =
                    found.and_then(|found| found.master_user_secret?.secret_arn).ok_or_else(|| {
                        Error::new(
                            Kind::NotFound,
                            format!("RDS keeps no password of the database {identifier}"),
                        )
                        .help("give its `master_password`")
                    })?;
                secret_value(host, &secret, Some("password")).await
            })
        })?;
        Ok((username, password))
    }

    pub fn identifier(&self) -> &str {
        &self.0.identifier
    }

    pub fn db_name(&self) -> &str {
        &self.0.db_name
    }

    /// Where it answers; waits until it is available. `reading` is what the script asks for.
    pub fn endpoint_for(&self, call: &Call, reading: &str) -> Result<Endpoint, Error> {
        self.wait(call, &format!(" ({} reads `{reading}`)", call.place()))
    }

    fn wait(&self, host: &Host, why: &str) -> Result<Endpoint, Error> {
        if let Some(endpoint) = self.0.endpoint.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(endpoint);
        }
        let identifier = &self.0.identifier;
        let what = format!("database {}{why}", self.0.name);
        let endpoint = host.within(self.0.scope.clone(), || {
            host.wait(&what, AVAILABLE_LIMIT, || async {
                let found = describe(host, identifier).await?;
                let Some(found) = found else {
                    if host.dry_run {
                        return Err(Error::planned(format!("the endpoint of database {identifier}")));
                    }
                    return Err(Error::new(Kind::NotFound, format!("the database {identifier} is gone"))
                        .of("rds", "DescribeDBInstances"));
                };
                if let Some(endpoint) = endpoint(&found) {
                    return Ok(Ok(endpoint));
                }
                let status = found.db_instance_status().unwrap_or("unknown").to_owned();
                match status.as_str() {
                    // `failed`, `storage-full`, `incompatible-parameters` ..: it will not come up by waiting.
                    "failed" | "storage-full" | "restore-error" => {
                        Err(Error::new(Kind::Unavailable, format!("the database {identifier} is {status}"))
                            .of("rds", "DescribeDBInstances"))
                    }
                    status if status.starts_with("incompatible-") => {
                        Err(Error::new(Kind::Unavailable, format!("the database {identifier} is {status}"))
                            .of("rds", "DescribeDBInstances"))
                    }
                    _ => Ok(Err(status)),
                }
            })
        })?;
        *self.0.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = Some(endpoint.clone());
        Ok(endpoint)
    }
}

/// Where an available database answers. Before, its endpoint is there and cannot be used.
fn endpoint(found: &DbInstance) -> Option<Endpoint> {
    let endpoint = found.endpoint().filter(|_| found.db_instance_status() == Some("available"))?;
    Some(Endpoint {
        host: endpoint.address().unwrap_or_default().to_owned(),
        port: endpoint.port().and_then(|port| u16::try_from(port).ok()).unwrap_or(5432),
    })
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
        endpoint: Mutex::new(endpoint(found)),
        is_kept_by_rds: found.master_user_secret().is_some(),
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
    let master_password = master_password(options, kept_by_rds)?;
    let mut instance = Inner {
        name,
        identifier: identifier.to_owned(),
        master_username: options.string("master_username").unwrap_or_else(|| "dbadmin".to_owned()),
        master_password,
        db_name: options.string("db_name").unwrap_or_else(|| "music".to_owned()),
        scope: call.scope(),
        endpoint: Mutex::new(None),
        is_kept_by_rds: kept_by_rds || options.bool("manage_master_user_password") == Some(true),
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
                instance.endpoint = Mutex::new(endpoint(&found));
            }
            found.master_username().unwrap_or_default().clone_into(&mut instance.master_username);
            if let Some(db_name) = found.db_name() {
                db_name.clone_into(&mut instance.db_name);
            }
        }
        None => create(call, &instance, options)?,
    }
    let instance = Instance(Arc::new(instance));
    let pending = instance.clone();
    call.expect(move |host| pending.wait(host, "").map(drop));
    Ok(instance)
}

/// The password that is asked for; `None` where RDS keeps it, or is to.
fn master_password(options: &Options, kept_by_rds: bool) -> Result<Option<Secret>, Error> {
    let managed = options.bool("manage_master_user_password");
    let given = options.get("master_password").and_then(spent);
    match (given, managed) {
        (Some(_), Some(true)) => Err(Error::invalid("RDS makes the password that it keeps itself")
            .key("master_password")
            .help("leave out `master_password` or `manage_master_user_password`")),
        (_, Some(false)) if kept_by_rds => Err(Error::new(
            Kind::Conflict,
            "RDS keeps the master password of this database, and ops does not take it from there",
        )
        .key("manage_master_user_password")
        .help("set a password yourself with `aws rds modify-db-instance --no-manage-master-user-password --master-user-password ..`")),
        (None, None | Some(false)) if !kept_by_rds => {
            Err(Error::invalid("a database needs `master_password`, or `manage_master_user_password: true`")
                .help("`master_password: secrets::ensure(\"database/master\")` keeps one in the stack's secrets"))
        }
        (given, _) => Ok(given.filter(|_| !kept_by_rds)),
    }
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

fn create(call: &Call, instance: &Inner, options: &Options) -> Result<(), Error> {
    let groups = options.handles::<SecurityGroup>("security_groups", "security groups")?;
    let subnet_group = match groups.first() {
        Some(group) => Some(ensure_subnet_group(call, instance, &group.vpc)?),
        None => None,
    };
    let class = options.string("instance_class").unwrap_or_else(|| "db.t3.micro".to_owned());
    let request = call
        .aws()?
        .rds
        .create_db_instance()
        .db_instance_identifier(&instance.identifier)
        .engine(options.string("engine").unwrap_or_else(|| "postgres".to_owned()))
        .set_engine_version(options.string("engine_version"))
        .db_instance_class(&class)
        .allocated_storage(options.int_in("allocated_storage_gib", 20..=65536)?.unwrap_or(20))
        .storage_type("gp3")
        .storage_encrypted(true)
        .publicly_accessible(false)
        .deletion_protection(true)
        .copy_tags_to_snapshot(true)
        .auto_minor_version_upgrade(true)
        .backup_retention_period(options.int_in("backup_retention_days", 0..=35)?.unwrap_or(7))
        .db_name(&instance.db_name)
        .master_username(&instance.master_username)
        .set_master_user_password(
            instance.master_password.as_ref().map(|password| password.expose().to_owned()),
        )
        .set_manage_master_user_password(instance.master_password.is_none().then_some(true))
        .set_db_subnet_group_name(subnet_group)
        .set_vpc_security_group_ids(
            Some(groups.into_iter().filter_map(|group| group.id).collect())
                .filter(|ids: &Vec<_>| !ids.is_empty()),
        )
        .set_tags(Some(tags(call, &instance.name)?));
    let change = Change {
        verb: Verb::Create,
        service: "rds",
        operation: "CreateDBInstance",
        name: &instance.name,
        detail: &class,
    };
    call.change(change, |_| async {
        match request.clone().send().await.map_err(|error| failure("rds", "CreateDBInstance", error)) {
            // The identifier is the token: a run that was killed after this call finds its own instance.
            Err(error) if error.code == "DBInstanceAlreadyExists" => Ok(()),
            other => other.map(drop),
        }
    })?;
    Ok(())
}

fn tags(host: &Host, name: &str) -> Result<Vec<Tag>, Error> {
    Ok(host
        .tags(name)?
        .into_iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect())
}

/// The group of one subnet for each zone that the instance may be placed in.
fn ensure_subnet_group(call: &Call, instance: &Inner, vpc: &str) -> Result<String, Error> {
    let found = call.block(async {
        let request = call.aws()?.rds.describe_db_subnet_groups().db_subnet_group_name(&instance.identifier);
        match request.send().await.map_err(|error| failure("rds", "DescribeDBSubnetGroups", error)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    })?;
    if !found {
        let subnets = ec2::subnets(call, vpc)?.into_values().collect();
        let request = call
            .aws()?
            .rds
            .create_db_subnet_group()
            .db_subnet_group_name(&instance.identifier)
            .db_subnet_group_description(format!("{} of {}", instance.name, call.stack()?))
            .set_subnet_ids(Some(subnets))
            .set_tags(Some(tags(call, &instance.name)?));
        let change = Change {
            verb: Verb::Create,
            service: "rds",
            operation: "CreateDBSubnetGroup",
            name: &instance.name,
            detail: "subnet group",
        };
        call.change(change, |_| async {
            match request.clone().send().await.map_err(|error| failure("rds", "CreateDBSubnetGroup", error)) {
                // The answer to a first attempt was lost: the group is there.
                Err(error) if error.code == "DBSubnetGroupAlreadyExists" => Ok(()),
                other => other.map(drop),
            }
        })?;
    }
    Ok(instance.identifier.clone())
}
