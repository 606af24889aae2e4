//! Rules that are open for a while, such as SSH during a rollout: tagged, so that any later run knows that they should be gone,
//! and noted in a file on this machine, so that the next run looks.

use std::path::PathBuf;

use aws_sdk_ec2::types::{ResourceType, SecurityGroupRule, Tag, TagSpecification};

use super::security_group::{Rule, SecurityGroup, revoke, rule_id, rules_of};
use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::{Change, Host, STACK_TAG, private_folder};
use crate::progress::{Line, Verb};

/// The tag of a rule that must not outlive its run.
const TEMPORARY_TAG: &str = "ops:temporary";

/// A rule that was opened and has to be closed.
pub struct Opened {
    group: SecurityGroup,
    note: PathBuf,
}

/// Opens `rule`. `None` where it is open anyway and stays so, or in a plan.
pub fn open(host: &Host, group: &SecurityGroup, rule: &Rule) -> Result<Option<Opened>, Error> {
    let Some(id) = group.id.clone() else { return Ok(None) };
    // Under the stack's lock: what another run has opened is left over from one that was killed.
    let present = rules_of(host, &id)?;
    if present.iter().any(|found| rule.is(found) && !is_temporary(found)) {
        return Ok(None);
    }
    let note = note(host, &id)?;
    let detail = format!("{rule}, for a while");
    let change = Change {
        verb: Verb::Open,
        service: "ec2",
        operation: "AuthorizeSecurityGroupIngress",
        name: &group.name,
        detail: &detail,
    };
    let stack = host.stack()?;
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::SecurityGroupRule)
        .tags(Tag::builder().key(STACK_TAG).value(stack).build())
        .tags(Tag::builder().key(TEMPORARY_TAG).value(jiff::Timestamp::now().to_string()).build())
        .build();
    let opened = host.change(change, |_| async {
        std::fs::write(&note, &id)
            .map_err(|source| Error::io(format_args!("write {}", note.display()), &source))?;
        let request = host
            .aws()?
            .ec2
            .authorize_security_group_ingress()
            .group_id(&id)
            .ip_permissions(rule.permission())
            .tag_specifications(tags.clone());
        match request.send().await.map_err(|error| failure("ec2", "AuthorizeSecurityGroupIngress", error)) {
            // A killed run has opened it: it is closed with this one's end.
            Err(error) if error.code == "InvalidPermission.Duplicate" => Ok(String::new()),
            other => other.map(|answer| rule_id(&answer)),
        }
    })?;
    Ok(opened.map(|_| Opened { group: group.clone(), note }))
}

/// Closes every temporary rule of the group.
pub fn close(host: &Host, opened: &Opened) -> Result<(), Error> {
    let Some(id) = &opened.group.id else { return Ok(()) };
    close_all(host, id, &opened.group.name)?;
    match std::fs::remove_file(&opened.note) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format_args!("remove {}", opened.note.display()), &source))
        }
        _ => Ok(()),
    }
}

fn close_all(host: &Host, id: &str, name: &str) -> Result<(), Error> {
    for rule in rules_of(host, id)?.iter().filter(|rule| is_temporary(rule)) {
        revoke(host, Verb::Close, name, rule)?;
    }
    Ok(())
}

/// Closes what a killed run on this machine has left open in the stack.
pub fn close_left_open(host: &Host) -> Result<(), Error> {
    let folder = folder(host)?;
    let Ok(notes) = std::fs::read_dir(&folder) else { return Ok(()) };
    let prefix = prefix(host)?;
    for note in notes.filter_map(Result::ok) {
        let name = note.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_prefix(&prefix) else { continue };
        host.progress.line(Line::Warning, &format!("a run was killed and has left {id} open: closing it"));
        match close_all(host, id, id) {
            Err(error) if error.kind != crate::error::Kind::NotFound => return Err(error),
            _ if host.dry_run => {}
            _ => std::fs::remove_file(note.path())
                .map_err(|source| Error::io(format_args!("remove {}", note.path().display()), &source))?,
        }
    }
    Ok(())
}

pub fn is_temporary(rule: &SecurityGroupRule) -> bool {
    rule.tags().iter().any(|tag| tag.key() == Some(TEMPORARY_TAG))
}

fn folder(host: &Host) -> Result<PathBuf, Error> {
    Ok(host.project.folder.join("open"))
}

fn prefix(host: &Host) -> Result<String, Error> {
    let aws = host.aws()?;
    Ok(format!("{}-{}-{}-", aws.identity.account, aws.region, host.stack()?))
}

fn note(host: &Host, id: &str) -> Result<PathBuf, Error> {
    let folder = folder(host)?;
    private_folder(&folder)?;
    Ok(folder.join(format!("{}{id}", prefix(host)?)))
}
