//! Security groups and their rules: duplicates, dangling references, groups that are in use.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, UserIdGroupPair};
use ops::error::Kind;

use super::instance::{launch, reach};
use super::{Cloud, Failure, Outcome, refused};

const NOWHERE: &str = "sg-00000000000000000";

pub(super) async fn group(ec2: &Client, name: &str) -> Result<String, Failure> {
    let made = ec2.create_security_group().group_name(name).description("d").send().await?;
    Ok(made.group_id.expect("a group has an id"))
}

fn from_block(block: &str) -> IpPermission {
    let range = IpRange::builder().cidr_ip(block).build();
    IpPermission::builder().ip_protocol("tcp").from_port(80).to_port(80).ip_ranges(range).build()
}

fn from_group(id: &str) -> IpPermission {
    let pair = UserIdGroupPair::builder().group_id(id).build();
    IpPermission::builder().ip_protocol("tcp").from_port(5432).to_port(5432).user_id_group_pairs(pair).build()
}

#[tokio::test]
async fn a_second_group_of_the_same_name_is_refused() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    group(ec2, "app").await?;
    let again = ec2.create_security_group().group_name("app").description("d").send().await;
    refused(again, "InvalidGroup.Duplicate", Kind::Exists);
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_not_there_is_not_found() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let described = ec2.describe_security_groups().group_ids(NOWHERE).send().await;
    refused(described, "InvalidGroup.NotFound", Kind::NotFound);
    let deleted = ec2.delete_security_group().group_id(NOWHERE).send().await;
    refused(deleted, "InvalidGroup.NotFound", Kind::NotFound);
    let home = group(ec2, "app").await?;
    let opened = ec2.authorize_security_group_ingress().group_id(home).ip_permissions(from_group(NOWHERE));
    refused(opened.send().await, "InvalidGroup.NotFound", Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_new_group_may_not_be_visible_yet() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let id = group(ec2, "app").await?;
    cloud.fault("ec2", "AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound");
    let open = || {
        let request = ec2.authorize_security_group_ingress().group_id(&id);
        request.ip_permissions(from_block("10.0.0.0/8")).send()
    };
    refused(open().await, "InvalidGroup.NotFound", Kind::NotFound);
    open().await?;
    Ok(())
}

#[tokio::test]
async fn a_rule_is_added_once_and_taken_away_once() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let id = group(ec2, "app").await?;
    let open =
        |block| ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(from_block(block)).send();
    let close =
        || ec2.revoke_security_group_ingress().group_id(&id).ip_permissions(from_block("10.0.0.0/8")).send();

    let made = open("10.0.0.0/8").await?;
    let rule = made.security_group_rules()[0].security_group_rule_id().unwrap_or_default().to_owned();
    assert!(rule.starts_with("sgr-"), "{made:?}");
    refused(open("10.0.0.0/8").await, "InvalidPermission.Duplicate", Kind::Exists);
    refused(open("10.0.0/8").await, "InvalidParameterValue", Kind::Invalid);

    let filter = Filter::builder().name("group-id").values(&id).build();
    let rules = ec2.describe_security_group_rules().filters(filter).send().await?;
    let inward: Vec<_> =
        rules.security_group_rules().iter().filter(|rule| rule.is_egress() == Some(false)).collect();
    assert_eq!(inward.len(), 1, "{rules:?}");
    assert_eq!(inward[0].security_group_rule_id(), Some(rule.as_str()));
    assert_eq!(inward[0].cidr_ipv4(), Some("10.0.0.0/8"));

    close().await?;
    refused(close().await, "InvalidPermission.NotFound", Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_group_that_a_rule_names_cannot_be_deleted() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let (app, db) = (group(ec2, "app").await?, group(ec2, "db").await?);
    ec2.authorize_security_group_ingress().group_id(&db).ip_permissions(from_group(&app)).send().await?;
    let error = refused(
        ec2.delete_security_group().group_id(&app).send().await,
        "DependencyViolation",
        Kind::Conflict,
    );
    assert!(error.message.contains(&db), "it does not say who: {error}");
    ec2.revoke_security_group_ingress().group_id(&db).ip_permissions(from_group(&app)).send().await?;
    ec2.delete_security_group().group_id(&app).send().await?;
    Ok(())
}

#[tokio::test]
async fn a_group_that_an_instance_is_in_cannot_be_deleted() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let app = group(ec2, "app").await?;
    let id = launch(ec2, |request| request.security_group_ids(&app)).await?;
    let delete = || ec2.delete_security_group().group_id(&app).send();
    let error = refused(delete().await, "DependencyViolation", Kind::Conflict);
    assert!(error.message.contains(&id), "it does not say who: {error}");
    reach(ec2, &id, "running").await?;
    refused(delete().await, "DependencyViolation", Kind::Conflict);
    ec2.terminate_instances().instance_ids(&id).send().await?;
    reach(ec2, &id, "terminated").await?;
    delete().await?;
    Ok(())
}

#[tokio::test]
async fn groups_come_in_pages() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    for number in 0..7 {
        group(ec2, &format!("g{number}")).await?;
    }
    let mut pages = ec2.describe_security_groups().into_paginator().page_size(5).send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.try_next().await? {
        sizes.push(page.security_groups().len());
    }
    // With the group that the VPC is born with.
    assert_eq!(sizes, [5, 3]);
    Ok(())
}
