//! Machine images: found by owner, made of an instance, given up before their snapshots; and which zone offers which type.

use aws_sdk_ec2::client::Waiters;
use aws_sdk_ec2::types::{Filter, ImageState, LocationType, ResourceType, Tag, TagSpecification};
use ops::error::Kind;

use super::instance::{launch, reach};
use super::{Cloud, Outcome, PATIENCE, refused};

#[tokio::test]
async fn an_image_of_an_instance_is_pending_then_available() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let id = launch(ec2, |request| request).await?;
    reach(ec2, &id, "running").await?;
    let tags = |kind| {
        let tag = Tag::builder().key("ops:stack").value("a").build();
        TagSpecification::builder().resource_type(kind).tags(tag).build()
    };
    let request = ec2.create_image().instance_id(&id).name("golden");
    let made = request
        .tag_specifications(tags(ResourceType::Image))
        .tag_specifications(tags(ResourceType::Snapshot))
        .send()
        .await?;
    let image = made.image_id().expect("an id").to_owned();
    let again = ec2.create_image().instance_id(&id).name("golden").send().await;
    refused(again, "InvalidAMIName.Duplicate", Kind::Exists);
    let found = ec2.describe_images().owners("self").send().await?;
    assert_eq!(found.images()[0].state(), Some(&ImageState::Pending));
    assert_eq!(found.images()[0].tags()[0].value(), Some("a"));
    ec2.wait_until_image_available().image_ids(&image).wait(PATIENCE).await?;
    launch(ec2, |request| request.image_id(&image)).await?;
    ec2.terminate_instances().instance_ids(&id).send().await?;
    let ended = ec2.create_image().instance_id(&id).name("other").send().await;
    refused(ended, "IncorrectInstanceState", Kind::Conflict);
    Ok(())
}

#[tokio::test]
async fn an_image_is_given_up_before_its_snapshots() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let id = launch(ec2, |request| request).await?;
    reach(ec2, &id, "running").await?;
    let made = ec2.create_image().instance_id(&id).name("golden").send().await?;
    let image = made.image_id().expect("an id");
    let found = ec2.describe_images().image_ids(image).send().await?;
    let volume = found.images()[0].block_device_mappings()[0].ebs().expect("a volume");
    let snapshot = volume.snapshot_id().expect("a snapshot").to_owned();
    let used = ec2.delete_snapshot().snapshot_id(&snapshot).send().await;
    refused(used, "InvalidSnapshot.InUse", Kind::Conflict);
    ec2.deregister_image().image_id(image).send().await?;
    let gone = ec2.deregister_image().image_id(image).send().await;
    refused(gone, "InvalidAMIID.NotFound", Kind::NotFound);
    ec2.delete_snapshot().snapshot_id(&snapshot).send().await?;
    let other = ec2.describe_images().owners("amazon").send().await?;
    let other = other.images()[0].image_id().expect("an id");
    refused(ec2.deregister_image().image_id(other).send().await, "AuthFailure", Kind::Denied);
    Ok(())
}

#[tokio::test]
async fn a_zone_says_which_types_it_offers() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let filter = Filter::builder().name("instance-type").values("m8g.large").values("t3.micro").build();
    let request = ec2.describe_instance_type_offerings().location_type(LocationType::AvailabilityZone);
    let found = request.filters(filter).send().await?;
    let zones = |name: &str| {
        let offered = found.instance_type_offerings().iter();
        offered.filter(|one| one.instance_type().is_some_and(|kind| kind.as_str() == name)).count()
    };
    assert_eq!((zones("m8g.large"), zones("t3.micro")), (2, 3));
    Ok(())
}
