//! Load balancers: their states, what is created once, what guards a deletion, health by a real probe.

use std::net::TcpListener;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, LoadBalancer, LoadBalancerAttribute, LoadBalancerSchemeEnum,
    LoadBalancerTypeEnum, ProtocolEnum, TargetDescription, TargetTypeEnum,
};
use ops::error::Kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Cloud, Failure, Outcome, eventually, refused};

impl Cloud {
    async fn subnets(&self) -> Result<Vec<String>, Failure> {
        let found = self.clients.ec2.describe_subnets().send().await?;
        Ok(found.subnets().iter().filter_map(|subnet| subnet.subnet_id().map(str::to_owned)).collect())
    }

    async fn balancer(&self, scheme: LoadBalancerSchemeEnum) -> Result<LoadBalancer, Failure> {
        let request = self.clients.elbv2.create_load_balancer().name("nlb").scheme(scheme);
        let request = request.r#type(LoadBalancerTypeEnum::Network).set_subnets(Some(self.subnets().await?));
        let made = request.send().await?;
        Ok(made.load_balancers()[0].clone())
    }

    /// A target group for addresses of this machine.
    async fn target_group(&self, port: u16) -> Result<String, Failure> {
        let found = self.clients.ec2.describe_vpcs().send().await?;
        let vpc = found.vpcs()[0].vpc_id().expect("a VPC has an id");
        let request = self.clients.elbv2.create_target_group().name("targets").vpc_id(vpc);
        let request = request.protocol(ProtocolEnum::Tcp).port(port.into()).target_type(TargetTypeEnum::Ip);
        let made = request.send().await?;
        Ok(made.target_groups()[0].target_group_arn().expect("a target group has an ARN").to_owned())
    }
}

fn arn(balancer: &LoadBalancer) -> &str {
    balancer.load_balancer_arn().expect("a load balancer has an ARN")
}

fn state(balancer: &LoadBalancer) -> &str {
    balancer.state().and_then(|state| state.code()).map_or("", |code| code.as_str())
}

async fn described(elbv2: &Client, arn: &str) -> Result<LoadBalancer, Failure> {
    let found = elbv2.describe_load_balancers().load_balancer_arns(arn).send().await?;
    Ok(found.load_balancers()[0].clone())
}

async fn listen(elbv2: &Client, balancer: &str, group: &str, port: i32) -> Result<String, Failure> {
    let action = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build();
    let request = elbv2.create_listener().load_balancer_arn(balancer).protocol(ProtocolEnum::Tcp);
    let made = request.port(port).default_actions(action).send().await?;
    Ok(made.listeners()[0].listener_arn().expect("a listener has an ARN").to_owned())
}

/// The state of each target and AWS's reason.
async fn health(elbv2: &Client, group: &str) -> Result<Vec<(String, Option<String>)>, Failure> {
    let found = elbv2.describe_target_health().target_group_arn(group).send().await?;
    let health = found.target_health_descriptions().iter().filter_map(|one| one.target_health());
    Ok(health
        .map(|health| {
            let state = health.state().map_or("", |state| state.as_str()).to_owned();
            (state, health.reason().map(|reason| reason.as_str().to_owned()))
        })
        .collect())
}

async fn becomes(elbv2: &Client, group: &str, wanted: &str) -> Outcome {
    eventually(&format!("the target to be {wanted}"), async || {
        let health = health(elbv2, group).await?;
        Ok(health.iter().any(|(state, _)| state == wanted).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_load_balancer_is_provisioning_then_active() -> Outcome {
    let cloud = Cloud::start().await;
    let made = cloud.balancer(LoadBalancerSchemeEnum::InternetFacing).await?;
    assert_eq!(state(&made), "provisioning");
    eventually("the load balancer to be active", async || {
        let found = described(&cloud.clients.elbv2, arn(&made)).await?;
        Ok((state(&found) == "active").then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_same_load_balancer_is_created_once() -> Outcome {
    let cloud = Cloud::start().await;
    let made = cloud.balancer(LoadBalancerSchemeEnum::InternetFacing).await?;
    let again = cloud.balancer(LoadBalancerSchemeEnum::InternetFacing).await?;
    assert_eq!(arn(&again), arn(&made));
    let request = cloud.clients.elbv2.create_load_balancer().name("nlb");
    let request = request.r#type(LoadBalancerTypeEnum::Network).scheme(LoadBalancerSchemeEnum::Internal);
    let other = request.set_subnets(Some(cloud.subnets().await?)).send().await;
    refused(other, "DuplicateLoadBalancerName", Kind::Exists);
    Ok(())
}

#[tokio::test]
async fn a_protected_load_balancer_is_not_deleted() -> Outcome {
    let cloud = Cloud::start().await;
    let elbv2 = &cloud.clients.elbv2;
    let made = cloud.balancer(LoadBalancerSchemeEnum::InternetFacing).await?;
    let protect = |value: &str| {
        let attribute = LoadBalancerAttribute::builder().key("deletion_protection.enabled").value(value);
        let request = elbv2.modify_load_balancer_attributes().load_balancer_arn(arn(&made));
        request.attributes(attribute.build()).send()
    };
    let delete = || elbv2.delete_load_balancer().load_balancer_arn(arn(&made)).send();
    protect("true").await?;
    let error = refused(delete().await, "OperationNotPermitted", Kind::Invalid);
    assert!(error.message.contains("deletion protection"), "{error}");
    protect("false").await?;
    delete().await?;
    let gone = elbv2.describe_load_balancers().load_balancer_arns(arn(&made)).send().await;
    refused(gone, "LoadBalancerNotFound", Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_target_group_that_a_listener_uses_is_not_deleted() -> Outcome {
    let cloud = Cloud::start().await;
    let elbv2 = &cloud.clients.elbv2;
    let made = cloud.balancer(LoadBalancerSchemeEnum::InternetFacing).await?;
    let group = cloud.target_group(8080).await?;
    let listener = listen(elbv2, arn(&made), &group, 8080).await?;
    let delete = || elbv2.delete_target_group().target_group_arn(&group).send();
    refused(delete().await, "ResourceInUse", Kind::Conflict);
    elbv2.delete_listener().listener_arn(listener).send().await?;
    delete().await?;
    let gone = elbv2.describe_target_groups().target_group_arns(&group).send().await;
    refused(gone, "TargetGroupNotFound", Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_target_is_initial_then_what_a_real_probe_says_and_drains_at_the_end() -> Outcome {
    let cloud = Cloud::start().await;
    let elbv2 = &cloud.clients.elbv2;
    let server = TcpListener::bind("127.0.0.1:0")?;
    server.set_nonblocking(true)?;
    let port = server.local_addr()?.port();
    let server = tokio::net::TcpListener::from_std(server)?;
    let echo = tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    let group = cloud.target_group(port).await?;
    let target = || TargetDescription::builder().id("127.0.0.1").build();
    elbv2.register_targets().target_group_arn(&group).targets(target()).send().await?;
    let unused = [("unused".to_owned(), Some("Target.NotInUse".to_owned()))];
    assert_eq!(health(elbv2, &group).await?, unused);
    let made = cloud.balancer(LoadBalancerSchemeEnum::InternetFacing).await?;
    listen(elbv2, arn(&made), &group, 8080).await?;
    let initial = [("initial".to_owned(), Some("Elb.InitialHealthChecking".to_owned()))];
    assert_eq!(health(elbv2, &group).await?, initial);
    becomes(elbv2, &group, "healthy").await?;

    let tags = elbv2.describe_tags().resource_arns(arn(&made)).send().await?;
    let mut tags = tags.tag_descriptions()[0].tags().iter();
    let address = tags.find(|tag| tag.key() == Some("ops-local:address")).and_then(|tag| tag.value());
    let address = address.expect("the balancer says where it is").to_owned();
    let mut through = eventually("the balancer to listen", async || {
        Ok(tokio::net::TcpStream::connect(&address).await.ok())
    })
    .await?;
    through.write_all(b"hello").await?;
    let mut answer = [0; 5];
    through.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"hello");

    elbv2.deregister_targets().target_group_arn(&group).targets(target()).send().await?;
    let draining = [("draining".to_owned(), Some("Target.DeregistrationInProgress".to_owned()))];
    assert_eq!(health(elbv2, &group).await?, draining);
    drop(through);
    eventually("the target to have drained", async || {
        Ok(health(elbv2, &group).await?.is_empty().then_some(()))
    })
    .await?;
    echo.abort();
    Ok(())
}
