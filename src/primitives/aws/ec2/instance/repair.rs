//! An instance that is there and not as it is asked for: what is mended, what is said, and what is refused.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{HttpTokensState, Instance as Description, InstanceType};

use super::START_LIMIT;
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::Change;
use crate::primitives::aws::ec2::describe::state;
use crate::primitives::aws::ec2::launch::{USER_DATA_TAG, fingerprint};
use crate::primitives::aws::ec2::published::{self, Published};
use crate::primitives::aws::ec2::service::Service;
use crate::primitives::aws::ec2::{Image, KeyPair, SecurityGroup, profile, repair_tags};
use crate::primitives::declaration::Options;
use crate::primitives::namespace::Call;
use crate::progress::{Line, Verb};

/// What is named and cannot be changed while the instance lives is refused, never silently ignored.
pub(super) fn compare(
    call: &Call,
    full_name: &str,
    found: &Description,
    options: &Options,
) -> Result<(), Error> {
    let differs = |key: &str, is: &str, asked: &str| {
        Err(Error::new(Kind::Conflict, format!("the instance {full_name} has {key} `{is}`, and `{asked}` is asked for"))
            .key(key)
            .help("ops does not change it while the instance lives: ask for what it has, or terminate it and run this again"))
    };
    let instance_type = found.instance_type().map_or("", InstanceType::as_str);
    if let Some(asked) = options.string("instance_type").filter(|asked| asked != instance_type) {
        return differs("instance_type", instance_type, &asked).map_err(|error: Error| {
            error.help(format!(
                "or stop it, change its size and start it again: `ops run playbooks/cookbook/resize_instance.rhai --size {asked}`"
            ))
        });
    }
    if let Some((is, asked)) = other_image(call, found, options)? {
        return differs("image", &is, &asked);
    }
    if let Some(asked) = options.get("key_pair").and_then(|key| key.clone().try_cast::<KeyPair>())
        && found.key_name() != Some(&asked.full_name)
    {
        return differs("key_pair", found.key_name().unwrap_or_default(), &asked.full_name);
    }
    Ok(())
}

/// The image that the instance has and the one that is asked for, where these are two. One that was published under a name that is
/// asked for is no other, however old it is; nor is one that nobody can describe any more.
fn other_image(
    call: &Call,
    found: &Description,
    options: &Options,
) -> Result<Option<(String, String)>, Error> {
    let is = found.image_id().unwrap_or_default();
    let Some(asked) = options.get("image") else { return Ok(None) };
    let asked = match asked.clone().try_cast::<Image>() {
        Some(image) => image.id()?.to_owned(),
        None => asked.to_string(),
    };
    if let Some(published) = Published::named(&asked) {
        return Ok(match published::with_id(call, is) {
            Err(error) if error.kind == Kind::NotFound => None,
            other => {
                let image = other?;
                let name = image.name().unwrap_or(is).to_owned();
                (!published.includes(&image)).then_some((name, asked))
            }
        });
    }
    Ok((asked != is).then(|| (is.to_owned(), asked)))
}

/// Mends what is named, differs, and can be changed while the instance runs: its security groups, its
/// instance profile, its public address, its metadata service, its tags. Says whether its addresses are as they were found.
pub(super) fn repair(call: &Call, name: &str, found: &Description, options: &Options) -> Result<bool, Error> {
    let id = found.instance_id().unwrap_or_default();
    if options.get("security_groups").is_some() {
        let asked = options.handles::<SecurityGroup>("security_groups", "security groups")?;
        let asked: BTreeSet<Option<&str>> = asked.iter().map(|group| group.id.as_deref()).collect();
        // They are its network interface's, in the first place.
        let groups = match found.network_interfaces().first() {
            Some(interface) => interface.groups(),
            None => found.security_groups(),
        };
        let is: BTreeSet<Option<&str>> = groups.iter().map(|group| group.group_id()).collect();
        if asked != is {
            let change = Change {
                verb: Verb::Update,
                service: "ec2",
                operation: "ModifyInstanceAttribute",
                name,
                detail: "security groups",
            };
            let groups: Vec<String> = asked.iter().flatten().map(|id| (*id).to_owned()).collect();
            call.change(change, |_| async {
                let request = call
                    .aws()?
                    .ec2
                    .modify_instance_attribute()
                    .instance_id(id)
                    .set_groups(Some(groups.clone()));
                let sent = request.send().await.map(drop);
                sent.map_err(|error| failure("ec2", "ModifyInstanceAttribute", error))
            })?;
        }
    }
    let has =
        found.iam_instance_profile().and_then(|profile| profile.arn()).and_then(|arn| arn.rsplit('/').next());
    if let Some(asked) = options.string("instance_profile").filter(|asked| has != Some(asked)) {
        profile::associate(call, name, id, &asked)?;
    }
    let addresses_kept = match options.bool("public_ip") {
        Some(asked) => repair_public_ip(call, name, found, asked)?,
        None => true,
    };
    require_imdsv2(call, name, id, found)?;
    repair_tags(call, name, id, found.tags())?;
    Ok(addresses_kept)
}

/// Gives the instance a public address, or takes it. An Elastic IP is another thing, and stays. Says whether nothing had to be done.
fn repair_public_ip(call: &Call, name: &str, found: &Description, asked: bool) -> Result<bool, Error> {
    // One that does not run has no address, whatever was said of it.
    if state(Some(found)) != "running" || found.public_ip_address().is_some() == asked {
        return Ok(true);
    }
    let Some(interface) = found.network_interfaces().first() else { return Ok(true) };
    let owner = interface.association().and_then(|association| association.ip_owner_id());
    if owner.is_some_and(|owner| owner != "amazon") {
        return Ok(true);
    }
    let change = Change {
        verb: Verb::Update,
        service: "ec2",
        operation: "ModifyNetworkInterfaceAttribute",
        name,
        detail: if asked { "with a public address" } else { "without a public address" },
    };
    let id = interface.network_interface_id().unwrap_or_default();
    let sent = call.change(change, |_| async {
        let request = call.aws()?.ec2.modify_network_interface_attribute().network_interface_id(id);
        let sent = request.associate_public_ip_address(asked).send().await.map(drop);
        sent.map_err(|error| failure("ec2", "ModifyNetworkInterfaceAttribute", error))
    })?;
    Ok(sent.is_none())
}

/// Without a token the metadata service gives the role's keys to whoever gets a request sent from the instance (EC2 User Guide,
/// "Use the Instance Metadata Service").
fn require_imdsv2(call: &Call, name: &str, id: &str, found: &Description) -> Result<(), Error> {
    let tokens = found.metadata_options().and_then(|options| options.http_tokens());
    if tokens != Some(&HttpTokensState::Optional) {
        return Ok(());
    }
    let change = Change {
        verb: Verb::Update,
        service: "ec2",
        operation: "ModifyInstanceMetadataOptions",
        name,
        detail: "IMDSv2 required",
    };
    call.change(change, |_| async {
        let request = call.aws()?.ec2.modify_instance_metadata_options().instance_id(id);
        let sent = request.http_tokens(HttpTokensState::Required).send().await.map(drop);
        sent.map_err(|error| failure("ec2", "ModifyInstanceMetadataOptions", error))
    })?;
    Ok(())
}

/// An instance reads its user data once, at its launch: another service in the playbook does not reach it.
pub(super) fn warn_of_other_service(
    call: &Call,
    full_name: &str,
    found: &Description,
    service: Option<&Service>,
) -> Result<(), Error> {
    let Some(service) = service else { return Ok(()) };
    let wanted = service.user_data(&call.aws()?.region)?;
    let tag = found.tags().iter().find(|tag| tag.key() == Some(USER_DATA_TAG)).and_then(|tag| tag.value());
    if tag.is_some_and(|tag| tag != fingerprint(&wanted)) {
        call.progress.line(
            Line::Warning,
            &format!("{full_name} was launched with another service: it keeps that one until it is terminated and made anew"),
        );
    }
    Ok(())
}

pub(super) fn start(call: &Call, name: &str, id: &str) -> Result<(), Error> {
    // It can be started once it has stopped; a plan does not wait for that.
    let stopped = if call.dry_run { Ok(()) } else { wait_stopped(call, name, id) };
    stopped?;
    let change =
        Change { verb: Verb::Update, service: "ec2", operation: "StartInstances", name, detail: "started" };
    call.change(change, |_| async {
        let request = call.aws()?.ec2.start_instances().instance_ids(id);
        request.send().await.map(drop).map_err(|error| failure("ec2", "StartInstances", error))
    })?;
    Ok(())
}

fn wait_stopped(call: &Call, name: &str, id: &str) -> Result<(), Error> {
    call.wait(&format!("instance {name}"), START_LIMIT, || async {
        let request = call.aws()?.ec2.describe_instances().instance_ids(id);
        let answer = request.send().await.map_err(|error| failure("ec2", "DescribeInstances", error))?;
        let state = state(answer.reservations().iter().flat_map(|r| r.instances()).next());
        Ok(if state == "stopping" { Err(state) } else { Ok(()) })
    })
}
