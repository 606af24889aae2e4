//! How a database instance is made, with a subnet group of its own.

use aws_sdk_rds::types::Tag;

use super::{Inner, version};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::aws::ec2::network::Reach;
use crate::primitives::aws::ec2::{self, SecurityGroup};
use crate::primitives::declaration::Options;
use crate::primitives::namespace::Call;
use crate::progress::Verb;

pub(super) fn create(call: &Call, instance: &Inner, options: &Options) -> Result<(), Error> {
    let groups = options.handles::<SecurityGroup>("security_groups", "security groups")?;
    let class = instance.class.as_str();
    let engine = options.string("engine").unwrap_or_else(|| "postgres".to_owned());
    let version = options.string("engine_version");
    let version = version.map(|asked| version::resolve(call, &engine, &asked, class)).transpose()?;
    let subnet_group = match groups.first() {
        Some(group) => Some(ensure_subnet_group(call, instance, &group.vpc)?),
        None => None,
    };
    let request = call
        .aws()?
        .rds
        .create_db_instance()
        .db_instance_identifier(&instance.identifier)
        .engine(engine)
        .set_engine_version(version)
        .db_instance_class(class)
        .allocated_storage(options.int_in("allocated_storage_gib", 20..=65536)?.unwrap_or(20))
        .storage_type("gp3")
        .storage_encrypted(true)
        .publicly_accessible(options.bool("publicly_accessible").unwrap_or(false))
        .deletion_protection(options.bool("deletion_protection").unwrap_or(true))
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
        detail: class,
    };
    call.change(change, |_| async {
        match request.clone().send().await.map_err(|error| failure("rds", "CreateDBInstance", error)) {
            // The identifier is the token: a run that was killed after this call finds its own instance.
            Err(error) if error.code == "DBInstanceAlreadyExists" => Ok(String::new()),
            other => {
                let made = other?.db_instance;
                Ok(made.and_then(|made| made.db_instance_arn).unwrap_or_default())
            }
        }
    })?;
    Ok(())
}

pub(super) fn tags(host: &Host, name: &str) -> Result<Vec<Tag>, Error> {
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
        let subnets = ec2::subnets(call, vpc, Reach::VpcAlone)?.into_values().collect();
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
                Err(error) if error.code == "DBSubnetGroupAlreadyExists" => Ok(String::new()),
                other => {
                    let made = other?.db_subnet_group;
                    Ok(made.and_then(|made| made.db_subnet_group_arn).unwrap_or_default())
                }
            }
        })?;
    }
    Ok(instance.identifier.clone())
}
