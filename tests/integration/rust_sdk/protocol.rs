//! What holds for every service: who is asking, what is not there is refused by name, regions are apart, the host's error says all.

use std::net::TcpListener;

use aws_sdk_ec2::types::HibernationOptionsRequest;
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use ops::clients::aws::{Clients, Target, failure};
use ops::error::Kind;

use super::instance::launch;
use super::security_group::group;
use super::{Cloud, Outcome, refused};

fn sts(endpoint: &str) -> aws_sdk_sts::Client {
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local cloud"))
        .build();
    aws_sdk_sts::Client::from_conf(config)
}

#[tokio::test]
async fn sts_says_who_is_asking() -> Outcome {
    let cloud = Cloud::start().await;
    let answer = sts(&cloud.project.endpoint()).get_caller_identity().send().await?;
    assert_eq!(answer.account(), Some("000000000000"));
    assert_eq!(answer.arn(), Some("arn:aws:iam::000000000000:user/local"));
    let identity = &cloud.clients.identity;
    assert_eq!((identity.account.as_str(), identity.partition.as_str()), ("000000000000", "aws"));
    assert_eq!((identity.caller.as_str(), identity.expiry), ("user/local", None));
    Ok(())
}

#[tokio::test]
async fn an_operation_that_is_not_there_is_refused_by_name() {
    let cloud = Cloud::start().await;
    let Clients { ec2, rds, sns, sqs, ssm, .. } = &cloud.clients;
    let unknown = |error: ops::error::Error, name: &str| assert!(error.message.contains(name), "{error}");
    let answer = ec2.describe_vpn_gateways().send().await;
    unknown(refused(answer, "InvalidAction", Kind::Invalid), "DescribeVpnGateways");
    let answer = rds.describe_db_clusters().send().await;
    unknown(refused(answer, "InvalidAction", Kind::Invalid), "DescribeDBClusters");
    let answer = sns.list_phone_numbers_opted_out().send().await;
    unknown(refused(answer, "InvalidAction", Kind::Invalid), "ListPhoneNumbersOptedOut");
    let answer = sqs.list_message_move_tasks().source_arn("a").send().await;
    unknown(refused(answer, "InvalidAction", Kind::Invalid), "ListMessageMoveTasks");
    let answer = ssm.list_documents().send().await;
    unknown(refused(answer, "InvalidAction", Kind::Invalid), "ListDocuments");
    let answer = sts(&cloud.project.endpoint()).get_session_token().send().await;
    unknown(refused(answer, "InvalidAction", Kind::Invalid), "GetSessionToken");
}

#[tokio::test]
async fn a_parameter_that_is_not_modelled_is_refused_rather_than_ignored() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let options = HibernationOptionsRequest::builder().configured(true).build();
    let error = launch(ec2, |request| request.hibernation_options(options)).await.expect_err("it is refused");
    let text = format!("{error:?}");
    assert!(text.contains("UnknownParameter") && text.contains("HibernationOptions"), "{text}");
    assert!(ec2.describe_instances().send().await?.reservations().is_empty());
    Ok(())
}

#[tokio::test]
async fn an_error_names_the_operation_the_reason_and_the_request() {
    let cloud = Cloud::start().await;
    let absent = "sg-00000000000000000";
    let answer = cloud.clients.ec2.describe_security_groups().group_ids(absent).send().await;
    let error = failure("ec2", "DescribeSecurityGroups", answer.expect_err("it is not there"));
    assert_eq!((error.service.as_str(), error.operation.as_str()), ("ec2", "DescribeSecurityGroups"));
    assert_eq!(
        error.to_string(),
        format!(
            "ec2 DescribeSecurityGroups failed with InvalidGroup.NotFound: The security group '{absent}' does not exist"
        )
    );
    let again = cloud.clients.ec2.describe_security_groups().group_ids(absent).send().await;
    let again = failure("ec2", "DescribeSecurityGroups", again.expect_err("it is not there"));
    assert_ne!(again.request_id, error.request_id, "each request has an id of its own");
}

#[tokio::test]
async fn regions_are_apart() -> Outcome {
    let cloud = Cloud::start().await;
    group(&cloud.clients.ec2, "app").await?;
    let target = Target::Local { endpoint: cloud.project.endpoint() };
    let other = Clients::connect(&target, Some("eu-west-1")).await?;
    assert_eq!(other.region, "eu-west-1");
    let found = other.ec2.describe_security_groups().send().await?;
    let names: Vec<_> = found.security_groups().iter().filter_map(|group| group.group_name()).collect();
    assert_eq!(names, ["default"]);
    Ok(())
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_unavailable() {
    // A port that was free a moment ago.
    let address =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let answer = sts(&format!("http://{address}")).get_caller_identity().send().await;
    let error = failure("sts", "GetCallerIdentity", answer.expect_err("nobody listens"));
    assert_eq!((error.kind, error.retryable), (Kind::Unavailable, true), "{error}");
    assert!(error.message.contains("refused"), "it does not say why: {error}");
}
