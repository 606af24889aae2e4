//! What RDS can change while an instance lives: its size, its storage upwards, its backups, who reaches it, its tags; and a stopped one is started.

use aws_sdk_rds::types::{DbInstance, Tag};

use super::{AVAILABLE_LIMIT, describe};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::Change;
use crate::primitives::aws::ec2::SecurityGroup;
use crate::primitives::aws::tags;
use crate::primitives::declaration::Options;
use crate::primitives::namespace::Call;
use crate::progress::Verb;

/// Mends what is named and differs (RDS `StartDBInstance`, `ModifyDBInstance`).
///
/// Storage that would shrink is refused: RDS has no way to do it (RDS User Guide, "Increasing DB instance storage capacity").
pub(super) fn converge(
    call: &Call,
    name: &str,
    identifier: &str,
    found: &DbInstance,
    options: &Options,
) -> Result<(), Error> {
    start_if_stopped(call, name, identifier, found)?;
    repair_tags(call, name, found)?;
    let mut details = Vec::new();
    let class = options.string("instance_class").filter(|asked| found.db_instance_class() != Some(asked));
    if let Some(class) = &class {
        details.push(format!("instance class {class}"));
    }
    let is = found.allocated_storage().unwrap_or_default();
    let storage = options.int_in("allocated_storage_gib", 20..=65536)?.filter(|asked| *asked != is);
    if let Some(asked) = storage {
        if asked < is {
            return Err(Error::new(
                Kind::Conflict,
                format!("the database {identifier} has {is} GiB of storage, and {asked} are asked for: RDS storage only grows"),
            )
            .key("allocated_storage_gib")
            .help(format!("ask for {is} or more, or restore a snapshot into a smaller instance")));
        }
        details.push(format!("storage {is} -> {asked} GiB"));
    }
    let backups = options
        .int_in("backup_retention_days", 0..=35)?
        .filter(|asked| found.backup_retention_period() != Some(*asked));
    if let Some(days) = backups {
        details.push(format!("backups for {days} days"));
    }
    let managed =
        options.bool("manage_master_user_password").unwrap_or(false) && found.master_user_secret().is_none();
    if managed {
        details.push("master password kept by RDS".to_owned());
    }
    let public =
        options.bool("publicly_accessible").filter(|asked| found.publicly_accessible() != Some(*asked));
    if let Some(public) = public {
        details.push(if public { "public" } else { "not public" }.to_owned());
    }
    let protected =
        options.bool("deletion_protection").filter(|asked| found.deletion_protection() != Some(*asked));
    if let Some(protected) = protected {
        details.push(format!("deletion protection {}", if protected { "on" } else { "off" }));
    }
    let groups = groups(found, options)?;
    if groups.is_some() {
        details.push("security groups".to_owned());
    }
    if details.is_empty() {
        return Ok(());
    }
    let detail = details.join(", ");
    if found.db_instance_status() != Some("available") && !call.dry_run {
        wait_changeable(call, name, identifier)?;
    }
    let change =
        Change { verb: Verb::Update, service: "rds", operation: "ModifyDBInstance", name, detail: &detail };
    call.change(change, |_| async {
        let request = call
            .aws()?
            .rds
            .modify_db_instance()
            .db_instance_identifier(identifier)
            .set_db_instance_class(class.clone())
            .set_allocated_storage(storage)
            .set_backup_retention_period(backups)
            .set_vpc_security_group_ids(groups.clone())
            .set_manage_master_user_password(managed.then_some(true))
            .set_publicly_accessible(public)
            .set_deletion_protection(protected)
            .apply_immediately(true);
        request.send().await.map(drop).map_err(|error| failure("rds", "ModifyDBInstance", error))
    })?;
    Ok(())
}

/// Waits until RDS changes it: on its way up it refuses to (`InvalidDBInstanceState`). In states that do not pass by themselves, such as
/// `storage-full`, a change may be what helps.
fn wait_changeable(call: &Call, name: &str, identifier: &str) -> Result<(), Error> {
    call.wait(&format!("database {name}"), AVAILABLE_LIMIT, || async {
        let status = describe(call, identifier).await?.and_then(|found| found.db_instance_status);
        let status = status.unwrap_or_default();
        let passes =
            ["creating", "starting", "stopped", "rebooting", "backing-up", "maintenance", "upgrading"];
        Ok(if passes.contains(&status.as_str()) { Err(status) } else { Ok(()) })
    })
}

/// Puts back the tags that somebody changed or took away (RDS `AddTagsToResource`).
fn repair_tags(call: &Call, name: &str, found: &DbInstance) -> Result<(), Error> {
    let is = |key: &str| found.tag_list().iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value);
    tags::repair(call, ("rds", "AddTagsToResource"), name, is, |pairs| async {
        let tags = pairs.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let arn = found.db_instance_arn().unwrap_or_default();
        let request =
            call.aws()?.rds.add_tags_to_resource().resource_name(arn).set_tags(Some(tags.collect()));
        request.send().await.map(drop).map_err(|error| failure("rds", "AddTagsToResource", error))
    })
}

/// The security groups that are asked for, where the instance has others.
fn groups(found: &DbInstance, options: &Options) -> Result<Option<Vec<String>>, Error> {
    if options.get("security_groups").is_none() {
        return Ok(None);
    }
    let asked = options.handles::<SecurityGroup>("security_groups", "security groups")?;
    let mut asked: Vec<String> = asked.into_iter().map(|group| group.id.unwrap_or_default()).collect();
    let mut is: Vec<&str> =
        found.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id()).collect();
    asked.sort_unstable();
    is.sort_unstable();
    Ok((asked != is).then_some(asked))
}

fn start_if_stopped(call: &Call, name: &str, identifier: &str, found: &DbInstance) -> Result<(), Error> {
    match found.db_instance_status() {
        Some("stopped") => {}
        // It can be started once it has stopped; a plan does not wait for that.
        Some("stopping") if call.dry_run => {}
        Some("stopping") => call.wait(&format!("database {name}"), AVAILABLE_LIMIT, || async {
            let status = describe(call, identifier).await?.and_then(|found| found.db_instance_status);
            Ok(if status.as_deref() == Some("stopping") { Err("stopping".to_owned()) } else { Ok(()) })
        })?,
        _ => return Ok(()),
    }
    let change =
        Change { verb: Verb::Update, service: "rds", operation: "StartDBInstance", name, detail: "started" };
    call.change(change, |_| async {
        let request = call.aws()?.rds.start_db_instance().db_instance_identifier(identifier);
        request.send().await.map(drop).map_err(|error| failure("rds", "StartDBInstance", error))
    })?;
    Ok(())
}
