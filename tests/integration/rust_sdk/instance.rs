//! Instances: what a launch refers to, client tokens, filters, the life cycle, pages.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::client::Waiters;
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{
    AttributeBooleanValue, Filter, Instance, InstanceNetworkInterfaceSpecification, InstanceType,
    ResourceType, Tag, TagSpecification,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ops::error::Kind;

use super::security_group::group;
use super::{Cloud, Failure, Outcome, PATIENCE, eventually, refused};

/// EC2's limit of user data, before base64.
const USER_DATA_LIMIT: usize = 16 * 1024;

async fn image(ec2: &Client, architecture: &str) -> Result<String, Failure> {
    let filter = Filter::builder().name("architecture").values(architecture).build();
    let found = ec2.describe_images().owners("amazon").filters(filter).send().await?;
    Ok(found.images()[0].image_id().expect("an image has an id").to_owned())
}

async fn request(ec2: &Client) -> Result<RunInstancesFluentBuilder, Failure> {
    let request = ec2.run_instances().instance_type(InstanceType::T3Micro).min_count(1).max_count(1);
    Ok(request.image_id(image(ec2, "x86_64").await?))
}

/// Launches an instance with what `with` adds to the smallest request; gives its id.
pub(super) async fn launch(
    ec2: &Client,
    with: impl FnOnce(RunInstancesFluentBuilder) -> RunInstancesFluentBuilder,
) -> Result<String, Failure> {
    let launched = with(request(ec2).await?).send().await?;
    Ok(launched.instances()[0].instance_id().expect("an instance has an id").to_owned())
}

async fn instance(ec2: &Client, id: &str) -> Result<Instance, Failure> {
    let found = ec2.describe_instances().instance_ids(id).send().await?;
    Ok(found.reservations()[0].instances()[0].clone())
}

fn state(instance: &Instance) -> &str {
    instance.state().and_then(|state| state.name()).map_or("", |name| name.as_str())
}

/// The instance as soon as it is in `wanted`.
pub(super) async fn reach(ec2: &Client, id: &str, wanted: &str) -> Result<Instance, Failure> {
    eventually(&format!("{id} to be {wanted}"), async || {
        Ok(Some(instance(ec2, id).await?).filter(|instance| state(instance) == wanted))
    })
    .await
}

#[tokio::test]
async fn what_an_instance_refers_to_must_exist() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let base = request(ec2).await?;
    let launch = || base.clone();
    let absent = launch().image_id("ami-00000000000000000").send().await;
    refused(absent, "InvalidAMIID.NotFound", Kind::NotFound);
    refused(launch().image_id("ami-x").send().await, "InvalidAMIID.Malformed", Kind::Invalid);
    refused(launch().key_name("none").send().await, "InvalidKeyPair.NotFound", Kind::NotFound);
    let absent = launch().security_group_ids("sg-00000000000000000").send().await;
    refused(absent, "InvalidGroup.NotFound", Kind::NotFound);
    let absent = launch().subnet_id("subnet-00000000000000000").send().await;
    refused(absent, "InvalidSubnetID.NotFound", Kind::NotFound);
    let unknown = launch().instance_type(InstanceType::from("t3.huge")).send().await;
    refused(unknown, "InvalidParameterValue", Kind::Invalid);
    let other = launch().image_id(image(ec2, "arm64").await?).send().await;
    refused(other, "InvalidParameterValue", Kind::Invalid);
    assert!(ec2.describe_instances().send().await?.reservations().is_empty(), "something was launched");
    Ok(())
}

#[tokio::test]
async fn a_public_address_is_given_and_taken_as_the_network_interface_says() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let subnets = ec2.describe_subnets().send().await?;
    let subnet = subnets.subnets()[0].subnet_id().expect("a subnet has an id");
    let interface = InstanceNetworkInterfaceSpecification::builder().device_index(0).subnet_id(subnet);
    let interface = interface.associate_public_ip_address(false).build();
    let id = launch(ec2, |request| request.network_interfaces(interface)).await?;
    let found = reach(ec2, &id, "running").await?;
    assert_eq!(found.public_ip_address(), None);
    let interface = found.network_interfaces()[0].network_interface_id().expect("an interface has an id");
    let change = |public| ec2.modify_network_interface_attribute().set_associate_public_ip_address(public);
    change(Some(true)).network_interface_id(interface).send().await?;
    let found = instance(ec2, &id).await?;
    let association = found.network_interfaces()[0].association().expect("an association");
    assert_eq!(association.ip_owner_id(), Some("amazon"));
    assert_eq!(association.public_ip(), found.public_ip_address());
    let nothing = change(None).network_interface_id(interface).send().await;
    refused(nothing, "InvalidParameterCombination", Kind::Invalid);
    let absent = change(Some(true)).network_interface_id("eni-00000000000000000").send().await;
    refused(absent, "InvalidNetworkInterfaceID.NotFound", Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_launch_with_an_unknown_key_pair_is_refused() -> Outcome {
    let cloud = Cloud::start().await;
    let launched = request(&cloud.clients.ec2).await?.key_name("none").send().await;
    refused(launched, "InvalidKeyPair.NotFound", Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_launch_into_an_unknown_security_group_is_refused() -> Outcome {
    let cloud = Cloud::start().await;
    let launched = request(&cloud.clients.ec2).await?.security_group_ids("sg-00000000000000000").send().await;
    refused(launched, "InvalidGroup.NotFound", Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn user_data_ends_at_16_kib() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let data = |bytes: usize| STANDARD.encode("x".repeat(bytes));
    let too_long = request(ec2).await?.user_data(data(USER_DATA_LIMIT + 1)).send().await;
    let error = refused(too_long, "InvalidParameterValue", Kind::Invalid);
    assert!(error.message.contains("16384"), "{error}");
    launch(ec2, |request| request.user_data(data(USER_DATA_LIMIT))).await?;
    Ok(())
}

#[tokio::test]
async fn a_dry_run_launches_nothing() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    refused(request(ec2).await?.dry_run(true).send().await, "DryRunOperation", Kind::Invalid);
    assert!(ec2.describe_instances().send().await?.reservations().is_empty());
    Ok(())
}

#[tokio::test]
async fn the_same_client_token_gives_the_same_instance() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let first = launch(ec2, |request| request.client_token("t")).await?;
    assert_eq!(launch(ec2, |request| request.client_token("t")).await?, first);
    assert_ne!(launch(ec2, |request| request.client_token("u")).await?, first);
    Ok(())
}

#[tokio::test]
async fn a_client_token_with_other_parameters_is_refused() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    launch(ec2, |request| request.client_token("t")).await?;
    let other = request(ec2).await?.client_token("t").instance_type(InstanceType::T3Small).send().await;
    refused(other, "IdempotentParameterMismatch", Kind::Conflict);
    Ok(())
}

#[tokio::test]
async fn a_client_token_does_not_launch_again_what_was_terminated() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let first = launch(ec2, |request| request.client_token("t")).await?;
    reach(ec2, &first, "running").await?;
    ec2.terminate_instances().instance_ids(&first).send().await?;
    let again = || async { Ok::<_, Failure>(request(ec2).await?.client_token("t").send().await) };
    refused(again().await?, "IdempotentInstanceTerminated", Kind::Conflict);
    reach(ec2, &first, "terminated").await?;
    refused(again().await?, "IdempotentInstanceTerminated", Kind::Conflict);
    Ok(())
}

#[tokio::test]
async fn an_instance_id_that_is_not_there_is_not_found() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let absent = "i-00000000000000000";
    let described = ec2.describe_instances().instance_ids(absent).send().await;
    refused(described, "InvalidInstanceID.NotFound", Kind::NotFound);
    let terminated = ec2.terminate_instances().instance_ids(absent).send().await;
    refused(terminated, "InvalidInstanceID.NotFound", Kind::NotFound);
    let tagged = ec2.create_tags().resources(absent).tags(Tag::builder().key("a").value("1").build());
    refused(tagged.send().await, "InvalidInstanceID.NotFound", Kind::NotFound);
    let malformed = ec2.describe_instances().instance_ids("i-x").send().await;
    refused(malformed, "InvalidInstanceID.Malformed", Kind::Invalid);
    Ok(())
}

#[tokio::test]
async fn a_filter_selects_and_an_unknown_one_is_refused() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let tag = Tag::builder().key("ops:stack").value("a").build();
    let tags = TagSpecification::builder().resource_type(ResourceType::Instance).tags(tag).build();
    let id = launch(ec2, |request| request.tag_specifications(tags)).await?;
    let describe = |name: &str, value: &str| {
        let filter = Filter::builder().name(name).values(value).build();
        ec2.describe_instances().filters(filter).send()
    };
    for (name, value, expected) in [
        ("tag:ops:stack", "a", true),
        ("tag:ops:stack", "b", false),
        ("tag-key", "ops:*", true),
        ("instance-state-name", "stopped", false),
        ("instance-id", &id, true),
    ] {
        let found = describe(name, value).await?;
        assert_eq!(!found.reservations().is_empty(), expected, "{name}={value}");
    }
    let error = refused(describe("no-such-filter", "a").await, "InvalidParameterValue", Kind::Invalid);
    assert!(error.message.contains("no-such-filter"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_instance_is_pending_then_running() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let launched = request(ec2).await?.send().await?;
    assert_eq!(state(&launched.instances()[0]), "pending");
    let id = launched.instances()[0].instance_id().expect("an instance has an id");
    let running = reach(ec2, id, "running").await?;
    assert!(running.public_ip_address().is_some() && running.private_ip_address().is_some(), "{running:?}");
    // The SDK's own waiter understands the answer as well.
    ec2.wait_until_instance_running().instance_ids(id).wait(PATIENCE).await?;
    let status = ec2.describe_instance_status().instance_ids(id).send().await?;
    let status = status.instance_statuses()[0].instance_status().and_then(|status| status.status());
    assert_eq!(status.map(|status| status.as_str()), Some("ok"));
    Ok(())
}

#[tokio::test]
async fn an_instance_shuts_down_then_is_terminated() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let id = launch(ec2, |request| request).await?;
    reach(ec2, &id, "running").await?;
    let terminate = || ec2.terminate_instances().instance_ids(&id).send();
    let answer = terminate().await?;
    let current = answer.terminating_instances()[0].current_state().and_then(|state| state.name());
    assert_eq!(current.map(|name| name.as_str()), Some("shutting-down"));
    let terminated = reach(ec2, &id, "terminated").await?;
    let reason = terminated.state_reason().and_then(|reason| reason.code());
    assert_eq!(reason, Some("Client.UserInitiatedShutdown"));
    assert_eq!(terminated.public_ip_address(), None);
    // Again is fine, and a terminated instance stays visible.
    terminate().await?;
    assert_eq!(state(&instance(ec2, &id).await?), "terminated");
    Ok(())
}

#[tokio::test]
async fn an_instance_stops_and_starts_again() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let id = launch(ec2, |request| request).await?;
    reach(ec2, &id, "running").await?;
    ec2.stop_instances().instance_ids(&id).send().await?;
    assert_eq!(reach(ec2, &id, "stopped").await?.public_ip_address(), None);
    ec2.start_instances().instance_ids(&id).send().await?;
    reach(ec2, &id, "running").await?;
    ec2.terminate_instances().instance_ids(&id).send().await?;
    let started = ec2.start_instances().instance_ids(&id).send().await;
    refused(started, "IncorrectInstanceState", Kind::Conflict);
    Ok(())
}

#[tokio::test]
async fn a_protected_instance_is_not_terminated() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let id = launch(ec2, |request| request.disable_api_termination(true)).await?;
    let terminate = || ec2.terminate_instances().instance_ids(&id).send();
    let error = refused(terminate().await, "OperationNotPermitted", Kind::Invalid);
    assert!(error.message.contains("disableApiTermination"), "{error}");
    let off = AttributeBooleanValue::builder().value(false).build();
    ec2.modify_instance_attribute().instance_id(&id).disable_api_termination(off).send().await?;
    terminate().await?;
    Ok(())
}

#[tokio::test]
async fn tags_and_groups_of_an_instance_can_be_changed() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let id = launch(ec2, |request| request).await?;
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    ec2.create_tags().resources(&id).tags(tag("a", "1")).tags(tag("b", "2")).send().await?;
    // A tag is taken away only where its value is the one that is named.
    let named = Tag::builder().key("a").build();
    ec2.delete_tags().resources(&id).tags(named).tags(tag("b", "other")).send().await?;
    assert_eq!(instance(ec2, &id).await?.tags(), [tag("b", "2")]);
    let other = group(ec2, "other").await?;
    ec2.modify_instance_attribute().instance_id(&id).groups(&other).send().await?;
    assert_eq!(instance(ec2, &id).await?.security_groups()[0].group_id(), Some(other.as_str()));
    Ok(())
}

#[tokio::test]
async fn instances_come_in_pages() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    request(ec2).await?.max_count(7).send().await?;
    let mut pages = ec2.describe_instances().into_paginator().page_size(5).send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.try_next().await? {
        sizes.push(page.reservations().iter().map(|one| one.instances().len()).sum::<usize>());
    }
    assert_eq!(sizes, [5, 2]);
    let too_small = ec2.describe_instances().max_results(1).send().await;
    refused(too_small, "InvalidParameterValue", Kind::Invalid);
    Ok(())
}
