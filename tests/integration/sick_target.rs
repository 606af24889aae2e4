//! A target of a stack's balancer that never is healthy.

use std::time::{Duration, Instant};

use aws_sdk_ec2::types::InstanceType;
use aws_sdk_elasticloadbalancingv2::types::TargetDescription;
use ops::clients::aws::{Clients, Target};

use crate::sshd::Login;

/// An instance that runs nothing, and is a target of the stack's balancer.
pub(crate) struct Sick {
    pub(crate) id: String,
    group: String,
}

impl Sick {
    pub(crate) fn registered(login: &Login) -> Self {
        with_clients(login, async |clients| {
            let image = clients.ec2.describe_images().send().await.expect("the images");
            let image = image.images()[0].image_id().expect("an id").to_owned();
            let request = clients.ec2.run_instances().image_id(image).min_count(1).max_count(1);
            let launched = request.instance_type(InstanceType::T3Micro).send().await.expect("it is launched");
            let id = launched.instances()[0].instance_id().expect("an id").to_owned();
            let groups = clients.elbv2.describe_target_groups().names("music-app-app").send().await;
            let groups = groups.expect("the target group");
            let group = groups.target_groups()[0].target_group_arn().expect("an ARN").to_owned();
            let started = Instant::now();
            loop {
                let request = clients.elbv2.register_targets().target_group_arn(&group);
                match request.targets(TargetDescription::builder().id(&id).build()).send().await {
                    Ok(_) => return Self { id, group },
                    // Only what runs is registered.
                    Err(error) => {
                        assert!(started.elapsed() < Duration::from_secs(120), "not registered: {error:?}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        })
    }

    pub(crate) fn deregistered(&self, login: &Login) {
        with_clients(login, async |clients| {
            let request = clients.elbv2.deregister_targets().target_group_arn(&self.group);
            let request = request.targets(TargetDescription::builder().id(&self.id).build());
            request.send().await.expect("it is deregistered");
        });
    }
}

fn with_clients<T>(login: &Login, run: impl AsyncFnOnce(&Clients) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let target = Target::Local { endpoint: login.project.endpoint() };
        run(&Clients::connect(&target, None).await.expect("the clients connect")).await
    })
}
