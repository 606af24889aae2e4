//! What `GET /_local/status` says: what is there, where it answers, and where its log is.

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::elbv2;
use crate::service::Declaration;

impl Cloud {
    pub(crate) async fn status(&self) -> Value {
        let (instances, databases, balancers) = self
            .read_all(|state| {
                let mut instances = Vec::new();
                let mut databases = Vec::new();
                let mut balancers = Vec::new();
                for (name, region) in &state.regions {
                    instances.extend(
                        region.ec2.instances.values().map(|instance| (name.clone(), instance.clone())),
                    );
                    balancers.extend(shown_balancers(name, &region.elbv2));
                    databases.extend(
                        region.rds.instances.values().map(|database| (name.clone(), database.clone())),
                    );
                }
                (instances, databases, balancers)
            })
            .await;
        let mut shown = Vec::new();
        for (region, instance) in instances {
            let declared = Declaration::in_user_data(&instance.user_data).ok().flatten();
            let service = match &declared {
                None => Value::Null,
                Some(declaration) => json!({
                    "name": declaration.name,
                    "image": declaration.image,
                    "ready": instance.process.is_some() && declaration.is_ready(instance.address).await,
                }),
            };
            shown.push(json!({
                "id": instance.id,
                "region": region,
                "name": instance.tags.get("Name"),
                "state": instance.state.name(),
                "reason": instance.reason.map(|reason| reason.message),
                "address": declared.is_some().then(|| instance.address.to_string()),
                "service": service,
                "pid": instance.process.map(|process| process.pid),
                "log": self.folder.instance(&instance.id).join("console.log"),
            }));
        }
        let databases: Vec<Value> = databases
            .into_iter()
            .map(|(region, database)| {
                json!({
                    "id": database.id,
                    "region": region,
                    "state": database.status.name(),
                    "problem": database.problem,
                    "endpoint": format!("127.0.0.1:{}", database.port),
                    "log": self.database_home(&region, &database.resource_id).join("postgres.log"),
                })
            })
            .collect();
        json!({
            "pid": std::process::id(),
            "endpoint": self.endpoint,
            "started_at": self.started_at.to_string(),
            "services": crate::endpoint::services(),
            "instances": shown,
            "databases": databases,
            "load_balancers": balancers,
        })
    }
}

fn shown_balancers(region: &str, state: &elbv2::State) -> Vec<Value> {
    let balancers = state.load_balancers.values();
    balancers
        .map(|balancer| {
            let listeners: Vec<_> =
                state.listeners.values().filter(|one| one.load_balancer == balancer.arn).collect();
            let targets: Vec<Value> = listeners
                .iter()
                .filter_map(|listener| state.target_groups.get(&listener.target_group))
                .flat_map(|group| &group.targets)
                .map(|target| json!({ "id": target.id, "port": target.port, "state": target.state }))
                .collect();
            json!({
                "name": balancer.name,
                "region": region,
                "state": balancer.state,
                "listeners": listeners.iter().map(|listener| listener.address.to_string()).collect::<Vec<_>>(),
                "targets": targets,
            })
        })
        .collect()
}
