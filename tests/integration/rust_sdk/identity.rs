//! IAM and STS: roles, what keeps them from being deleted, profiles for instances, and the host acting as a role.

use aws_sdk_ec2::types::IamInstanceProfileSpecification;
use aws_sdk_iam::Client;
use ops::error::Kind;

use super::instance::launch;
use super::{Cloud, Failure, Outcome, refused};

fn trust(principal: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{principal}}}]}}"#
    )
}

async fn role(iam: &Client, name: &str, principal: &str) -> Result<String, Failure> {
    let request = iam.create_role().role_name(name).assume_role_policy_document(trust(principal));
    let made = request.send().await?;
    Ok(made.role().expect("a role").arn().to_owned())
}

const MACHINES: &str = r#"{"Service":"ec2.amazonaws.com"}"#;

#[tokio::test]
async fn a_role_is_created_once() -> Outcome {
    let cloud = Cloud::start().await;
    let iam = &cloud.clients.iam;
    role(iam, "r", MACHINES).await?;
    let again = iam.create_role().role_name("r").assume_role_policy_document(trust(MACHINES)).send().await;
    refused(again, "EntityAlreadyExists", Kind::Exists);
    let absent = iam.get_role().role_name("none").send().await;
    refused(absent, "NoSuchEntity", Kind::NotFound);
    let broken = iam.create_role().role_name("s").assume_role_policy_document("{}").send().await;
    refused(broken, "MalformedPolicyDocument", Kind::Invalid);
    Ok(())
}

#[tokio::test]
async fn a_role_with_policies_or_a_profile_is_not_deleted() -> Outcome {
    let cloud = Cloud::start().await;
    let iam = &cloud.clients.iam;
    role(iam, "r", MACHINES).await?;
    iam.create_instance_profile().instance_profile_name("p").send().await?;
    iam.add_role_to_instance_profile().instance_profile_name("p").role_name("r").send().await?;
    let policy =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sns:Publish","Resource":"*"}]}"#;
    iam.put_role_policy().role_name("r").policy_name("publish").policy_document(policy).send().await?;
    let delete = || iam.delete_role().role_name("r").send();
    refused(delete().await, "DeleteConflict", Kind::Conflict);
    let profile = iam.delete_instance_profile().instance_profile_name("p").send().await;
    refused(profile, "DeleteConflict", Kind::Conflict);
    iam.remove_role_from_instance_profile().instance_profile_name("p").role_name("r").send().await?;
    refused(delete().await, "DeleteConflict", Kind::Conflict);
    iam.delete_role_policy().role_name("r").policy_name("publish").send().await?;
    delete().await?;
    iam.delete_instance_profile().instance_profile_name("p").send().await?;
    Ok(())
}

#[tokio::test]
async fn an_instance_is_launched_with_a_profile_that_has_a_role() -> Outcome {
    let cloud = Cloud::start().await;
    let (ec2, iam) = (&cloud.clients.ec2, &cloud.clients.iam);
    let profile = || IamInstanceProfileSpecification::builder().name("p").build();
    launch(ec2, |request| request.iam_instance_profile(profile())).await.expect_err("there is no profile");
    iam.create_instance_profile().instance_profile_name("p").send().await?;
    launch(ec2, |request| request.iam_instance_profile(profile())).await.expect_err("it has no role");
    assert!(ec2.describe_instances().send().await?.reservations().is_empty(), "something was launched");
    role(iam, "r", MACHINES).await?;
    iam.add_role_to_instance_profile().instance_profile_name("p").role_name("r").send().await?;
    launch(ec2, |request| request.iam_instance_profile(profile())).await?;
    Ok(())
}

#[tokio::test]
async fn the_host_acts_as_a_role_that_trusts_it() -> Outcome {
    let cloud = Cloud::start().await;
    let iam = &cloud.clients.iam;
    let trusting = role(iam, "deployer", r#"{"AWS":"arn:aws:iam::000000000000:root"}"#).await?;
    let acting = cloud.clients.as_role(&trusting).await.expect("the role can be played");
    assert_eq!(acting.identity.caller, "assumed-role/deployer/ops");
    assert_eq!(acting.identity.account, "000000000000");
    acting.ec2.describe_vpcs().send().await?;
    let machine = role(iam, "machine", MACHINES).await?;
    let error = cloud.clients.as_role(&machine).await.expect_err("a machine's role is not for the host");
    assert_eq!(error.kind, Kind::Denied);
    assert!(error.message.contains("not authorized to perform: sts:AssumeRole"), "{error}");
    Ok(())
}
