//! What a stack owns in security groups, and how they go.

use std::sync::Arc;

use super::{describe, revoke, rules_of};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::aws::ec2::{filter, name_tag, of_stack};
use crate::primitives::owned::{Owned, at_once};
use crate::progress::Verb;

pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let mut things = Vec::new();
    for group in describe(host, vec![of_stack(host)?])? {
        let (Some(id), Some(name)) = (group.group_id.clone(), name_tag(group.tags())) else { continue };
        let name = name.to_owned();
        things.push(Owned {
            key: format!("ec2:security_group/{name}"),
            title: format!("security group {}", group.group_name().unwrap_or(&id)),
            status: String::new(),
            order: 30,
            protected: false,
            needs: Vec::new(),
            delete: Arc::new(move |host| delete(host, &name, &id)),
            wait: at_once(),
        });
    }
    Ok(things)
}

/// Deletes a group, after the rules of the stack's other groups that name it: EC2 refuses to delete a group that is named.
fn delete(host: &Host, name: &str, id: &str) -> Result<(), Error> {
    for group in describe(host, vec![filter("ip-permission.group-id", id), of_stack(host)?])? {
        let other = name_tag(group.tags()).unwrap_or_default().to_owned();
        for rule in rules_of(host, group.group_id().unwrap_or_default())? {
            if rule.referenced_group_info().and_then(|group| group.group_id()) == Some(id) {
                revoke(host, Verb::Remove, &other, &rule)?;
            }
        }
    }
    let change = Change {
        verb: Verb::Delete,
        service: "ec2",
        operation: "DeleteSecurityGroup",
        name,
        detail: "security group",
    };
    host.change(change, |_| async {
        // The network interfaces of a terminated instance linger for a while (EC2 User Guide, "Delete a security group").
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(15 * 60);
        let mut line = None;
        loop {
            let answer = host.aws()?.ec2.delete_security_group().group_id(id).send().await;
            match answer.map_err(|error| failure("ec2", "DeleteSecurityGroup", error)) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind == Kind::NotFound => return Ok(()),
                Err(error)
                    if error.code == "DependencyViolation" && tokio::time::Instant::now() < deadline =>
                {
                    line.get_or_insert_with(|| host.progress.wait(&format!("security group {name}")))
                        .status("something still uses it");
                    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                }
                Err(error) => return Err(error),
            }
        }
    })?;
    Ok(())
}
