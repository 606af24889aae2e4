//! What a stack owns in RDS, and how it is deleted: a database leaves a final snapshot.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_rds::types::{DbInstance, Tag};

use super::{AVAILABLE_LIMIT, describe};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host, NAME_TAG, STACK_TAG};
use crate::primitives::aws::ec2;
use crate::primitives::owned::{Owned, at_once};
use crate::progress::Verb;

pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let stack = host.stack()?.to_owned();
    let (instances, groups) = host.block(async {
        let instances = instances(host).await?;
        let mut groups = Vec::new();
        let mut pages = host.aws()?.rds.describe_db_subnet_groups().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("rds", "DescribeDBSubnetGroups", error))?;
            for group in page.db_subnet_groups.unwrap_or_default() {
                // Unlike an instance, a subnet group does not bring its tags along.
                let Some(arn) = group.db_subnet_group_arn() else { continue };
                let request = host.aws()?.rds.list_tags_for_resource().resource_name(arn);
                let tags =
                    request.send().await.map_err(|error| failure("rds", "ListTagsForResource", error))?;
                groups.push((
                    group.db_subnet_group_name.unwrap_or_default(),
                    tags.tag_list.unwrap_or_default(),
                ));
            }
        }
        Ok((instances, groups))
    })?;
    let name_in = |tags: &[Tag]| {
        let value = |key| tags.iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value());
        if value(STACK_TAG) == Some(stack.as_str()) { value(NAME_TAG).map(str::to_owned) } else { None }
    };
    let group_names = ec2_group_names(host, &instances)?;
    let mut things = Vec::new();
    for instance in instances {
        let Some(name) = name_in(instance.tag_list()) else { continue };
        let identifier = instance.db_instance_identifier.unwrap_or_default();
        let mut needs = vec![format!("rds:subnet_group/{name}")];
        for group in instance.vpc_security_groups.unwrap_or_default() {
            if let Some((_, group)) =
                group_names.iter().find(|(id, _)| Some(id.as_str()) == group.vpc_security_group_id())
            {
                needs.push(format!("ec2:security_group/{group}"));
            }
        }
        let protected = instance.deletion_protection.unwrap_or(false);
        let deleting = instance.db_instance_status.as_deref() == Some("deleting");
        let waited = identifier.clone();
        things.push(Owned {
            key: format!("rds:{name}"),
            title: format!("database {identifier}"),
            status: instance.db_instance_status.clone().unwrap_or_default(),
            order: 10,
            protected: !deleting,
            needs,
            delete: Arc::new(
                move |host| if deleting { Ok(()) } else { delete(host, &name, &identifier, protected) },
            ),
            wait: Arc::new(move |host| wait_deleted(host, &waited)),
        });
    }
    for (full_name, tags) in groups {
        let Some(name) = name_in(&tags) else { continue };
        things.push(Owned {
            key: format!("rds:subnet_group/{name}"),
            title: format!("database subnet group {full_name}"),
            status: String::new(),
            order: 20,
            protected: false,
            needs: Vec::new(),
            delete: Arc::new(move |host| delete_subnet_group(host, &name, &full_name)),
            wait: at_once(),
        });
    }
    Ok(things)
}

/// Every database of the account and region.
pub(super) async fn instances(host: &Host) -> Result<Vec<DbInstance>, Error> {
    let mut instances = Vec::new();
    let mut pages = host.aws()?.rds.describe_db_instances().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure("rds", "DescribeDBInstances", error))?;
        instances.extend(page.db_instances.unwrap_or_default());
    }
    Ok(instances)
}

/// The stack's security groups by id, so that an instance can name the ones it needs.
fn ec2_group_names(host: &Host, instances: &[DbInstance]) -> Result<Vec<(String, String)>, Error> {
    if instances.is_empty() { Ok(Vec::new()) } else { ec2::security_group_names(host) }
}

/// States that end by themselves, in which RDS neither changes an instance nor takes a snapshot of it
/// (RDS User Guide, "Viewing Amazon RDS DB instance status").
const PASSING: [&str; 13] = [
    "backing-up",
    "configuring-enhanced-monitoring",
    "configuring-iam-database-auth",
    "configuring-log-exports",
    "creating",
    "maintenance",
    "modifying",
    "rebooting",
    "renaming",
    "resetting-master-credentials",
    "starting",
    "stopping",
    "upgrading",
];

async fn status(host: &Host, identifier: &str) -> Result<String, Error> {
    let found = describe(host, identifier).await?;
    Ok(found.and_then(|found| found.db_instance_status).unwrap_or_default())
}

fn wait_settled(host: &Host, identifier: &str) -> Result<(), Error> {
    host.wait(&format!("database {identifier}"), AVAILABLE_LIMIT, || async {
        let status = status(host, identifier).await?;
        Ok(if !host.dry_run && PASSING.contains(&status.as_str()) { Err(status) } else { Ok(()) })
    })
}

fn delete(host: &Host, name: &str, identifier: &str, protected: bool) -> Result<(), Error> {
    // A database that cannot be deleted yet keeps its protection.
    wait_settled(host, identifier)?;
    if protected {
        let change = Change {
            verb: Verb::Update,
            service: "rds",
            operation: "ModifyDBInstance",
            name,
            detail: "deletion protection off",
        };
        host.change(change, |_| async {
            let request = host.aws()?.rds.modify_db_instance().db_instance_identifier(identifier);
            let request = request.deletion_protection(false).apply_immediately(true);
            request.send().await.map(drop).map_err(|error| failure("rds", "ModifyDBInstance", error))
        })?;
    }
    let snapshot = format!("{identifier}-final-{}", jiff::Timestamp::now().strftime("%Y%m%d%H%M%S"));
    let detail = if host.destroys_data() {
        "database, without a final snapshot".to_owned()
    } else {
        format!("database; its data stays in the snapshot {snapshot}")
    };
    let change =
        Change { verb: Verb::Delete, service: "rds", operation: "DeleteDBInstance", name, detail: &detail };
    host.change(change, |_| async {
        let request = host.aws()?.rds.delete_db_instance().db_instance_identifier(identifier);
        let request = if host.destroys_data() {
            request.skip_final_snapshot(true)
        } else {
            request.skip_final_snapshot(false).final_db_snapshot_identifier(&snapshot)
        };
        let deadline = tokio::time::Instant::now() + AVAILABLE_LIMIT;
        let mut line = None;
        loop {
            let failed = match request.clone().send().await.map_err(|error| failure("rds", "DeleteDBInstance", error)) {
                Err(error) if error.kind == Kind::NotFound => return Ok(()),
                Err(error) if error.kind == Kind::Conflict => error,
                other => return other.map(drop),
            };
            let status = status(host, identifier).await?;
            match status.as_str() {
                // The answer to a first attempt was lost: it is being deleted as it should be.
                "deleting" => return Ok(()),
                // The change of its protection, or a backup, has begun meanwhile.
                "available" => {}
                passing if PASSING.contains(&passing) => {}
                _ => {
                    return Err(failed.help(format!(
                        "it is {status}, and no snapshot can be taken of it: add `--destroy-data {}` to delete it without one",
                        host.stack()?
                    )));
                }
            }
            if tokio::time::Instant::now() > deadline {
                return Err(failed);
            }
            line.get_or_insert_with(|| host.progress.wait(&format!("database {identifier}"))).status(&status);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    })?;
    Ok(())
}

fn wait_deleted(host: &Host, identifier: &str) -> Result<(), Error> {
    host.wait(&format!("database {identifier}"), AVAILABLE_LIMIT, || async {
        let found = describe(host, identifier).await?;
        Ok(match found {
            None => Ok(()),
            Some(found) => Err(found.db_instance_status.unwrap_or_default()),
        })
    })
}

fn delete_subnet_group(host: &Host, name: &str, full_name: &str) -> Result<(), Error> {
    let change = Change {
        verb: Verb::Delete,
        service: "rds",
        operation: "DeleteDBSubnetGroup",
        name,
        detail: "subnet group",
    };
    host.change(change, |_| async {
        let request = host.aws()?.rds.delete_db_subnet_group().db_subnet_group_name(full_name);
        match request.send().await.map_err(|error| failure("rds", "DeleteDBSubnetGroup", error)) {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other.map(drop),
        }
    })?;
    Ok(())
}
