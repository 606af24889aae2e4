//! SSM's parameter store: written once unless overwritten, decrypted only when asked, found by path.

use aws_sdk_ssm::types::{ParameterType, ResourceTypeForTagging, Tag};
use ops::error::Kind;

use super::{Cloud, Outcome, refused};

#[tokio::test]
async fn a_parameter_that_is_not_there_is_not_found() -> Outcome {
    let cloud = Cloud::start().await;
    let ssm = &cloud.clients.ssm;
    refused(ssm.get_parameter().name("/none").send().await, "ParameterNotFound", Kind::NotFound);
    refused(ssm.delete_parameter().name("/none").send().await, "ParameterNotFound", Kind::NotFound);
    let several = ssm.get_parameters().names("/none").send().await?;
    assert_eq!(several.invalid_parameters(), ["/none"]);
    Ok(())
}

#[tokio::test]
async fn a_parameter_is_written_once_unless_overwritten() -> Outcome {
    let cloud = Cloud::start().await;
    let ssm = &cloud.clients.ssm;
    let put =
        |value: &str| ssm.put_parameter().name("/ops/a/lock/1").value(value).r#type(ParameterType::String);
    assert_eq!(put("v").send().await?.version(), 1);
    refused(put("w").send().await, "ParameterAlreadyExists", Kind::Exists);
    assert_eq!(put("w").overwrite(true).send().await?.version(), 2);
    let read = ssm.get_parameter().name("/ops/a/lock/1").send().await?;
    assert_eq!(read.parameter().and_then(|one| one.value()), Some("w"));
    refused(put(&"v".repeat(4097)).overwrite(true).send().await, "ValidationException", Kind::Invalid);
    refused(put("v").name("/aws/x").send().await, "ValidationException", Kind::Invalid);
    Ok(())
}

#[tokio::test]
async fn of_two_writers_at_the_same_moment_one_wins() -> Outcome {
    let cloud = Cloud::start().await;
    let put = || {
        cloud
            .clients
            .ssm
            .put_parameter()
            .name("/ops/a/lock/1")
            .value("v")
            .r#type(ParameterType::String)
            .send()
    };
    let answers = tokio::join!(put(), put());
    let (first, second) = answers;
    let loser = match (first, second) {
        (Ok(_), loser) | (loser, Ok(_)) => loser,
        both => panic!("nobody won: {both:?}"),
    };
    refused(loser, "ParameterAlreadyExists", Kind::Exists);
    Ok(())
}

#[tokio::test]
async fn a_secure_string_is_decrypted_only_when_asked() -> Outcome {
    let cloud = Cloud::start().await;
    let ssm = &cloud.clients.ssm;
    let tag = Tag::builder().key("ops:stack").value("a").build()?;
    let put = ssm.put_parameter().name("/a/secret").value("hush").r#type(ParameterType::SecureString);
    put.tags(tag.clone()).send().await?;
    let read = |decrypted| ssm.get_parameter().name("/a/secret").with_decryption(decrypted).send();
    let value = |answer: aws_sdk_ssm::operation::get_parameter::GetParameterOutput| {
        answer.parameter.and_then(|one| one.value).unwrap_or_default()
    };
    assert_eq!(value(read(true).await?), "hush");
    let hidden = value(read(false).await?);
    assert!(!hidden.is_empty() && !hidden.contains("hush"), "{hidden}");
    let tags = ssm.list_tags_for_resource().resource_type(ResourceTypeForTagging::Parameter);
    assert_eq!(tags.resource_id("/a/secret").send().await?.tag_list(), [tag]);
    Ok(())
}

#[tokio::test]
async fn the_newest_image_is_a_public_parameter() -> Outcome {
    let cloud = Cloud::start().await;
    let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    let read = cloud.clients.ssm.get_parameter().name(name).send().await?;
    let image = read.parameter().and_then(|one| one.value()).expect("an image id");
    let found = cloud.clients.ec2.describe_images().image_ids(image).send().await?;
    let architecture = found.images()[0].architecture().map(|one| one.as_str());
    assert_eq!(architecture, Some("x86_64"));
    Ok(())
}

#[tokio::test]
async fn parameters_below_a_path_come_in_pages() -> Outcome {
    let cloud = Cloud::start().await;
    let ssm = &cloud.clients.ssm;
    let mut names: Vec<String> = (0..12).map(|number| format!("/a/p{number:02}")).collect();
    for name in names.iter().map(String::as_str).chain(["/a/deep/er", "/b/other"]) {
        ssm.put_parameter().name(name).value("v").r#type(ParameterType::String).send().await?;
    }
    let mut pages = ssm.get_parameters_by_path().path("/a").into_paginator().page_size(5).send();
    let (mut sizes, mut found) = (Vec::new(), Vec::new());
    while let Some(page) = pages.try_next().await? {
        sizes.push(page.parameters().len());
        found.extend(page.parameters().iter().filter_map(|one| one.name.clone()));
    }
    assert_eq!(sizes, [5, 5, 2]);
    assert_eq!(found, names);
    let below = ssm.get_parameters_by_path().path("/a").recursive(true).into_paginator().send();
    let below: Vec<_> = below.try_collect().await?;
    let mut below: Vec<String> = below
        .into_iter()
        .flat_map(|page| page.parameters.unwrap_or_default())
        .filter_map(|one| one.name)
        .collect();
    names.push("/a/deep/er".into());
    names.sort();
    below.sort();
    assert_eq!(below, names);
    Ok(())
}
