//! The stack's balancers as clean-up finds them, and how they go.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::LoadBalancerAttribute;

use super::ACTIVE_LIMIT;
use super::repair::{DELETION_PROTECTION, attributes_of};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::aws::elbv2::owned_names;
use crate::primitives::owned::Owned;
use crate::progress::Verb;

/// What uses a thing that is to be deleted may take this long to let go (the same limit as for network interfaces).
const FREE_LIMIT: Duration = Duration::from_secs(15 * 60);

pub(in crate::primitives::aws::elbv2) fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let prefix = format!("{}-", host.stack()?);
    let (found, states) = host.block(async {
        let mut states = BTreeMap::new();
        let mut pages = host.aws()?.elbv2.describe_load_balancers().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("elbv2", "DescribeLoadBalancers", error))?;
            for found in page.load_balancers() {
                let mine = found.load_balancer_name().is_some_and(|name| name.starts_with(&prefix));
                if let (true, Some(arn)) = (mine, found.load_balancer_arn()) {
                    let state = found.state().and_then(|state| state.code()).map(|code| code.as_str());
                    states.insert(arn.to_owned(), state.unwrap_or_default().to_owned());
                }
            }
        }
        let arns: Vec<String> = states.keys().cloned().collect();
        let mut found = Vec::new();
        for (arn, name) in owned_names(host, &arns).await? {
            let attributes = match attributes_of(host, &arn).await {
                // It is on its way out.
                Err(error) if error.kind == Kind::NotFound => Vec::new(),
                other => other?,
            };
            let protection = attributes.iter().find(|it| it.key() == Some(DELETION_PROTECTION));
            let protected = protection.and_then(LoadBalancerAttribute::value) == Some("true");
            found.push((arn, name, protected));
        }
        Ok((found, states))
    })?;
    let owned = |(arn, name, protected): (String, String, bool)| {
        let waited = arn.clone();
        Owned {
            key: format!("elbv2:{name}"),
            title: format!("load balancer {prefix}{name}"),
            status: states.get(&arn).cloned().unwrap_or_default(),
            order: 5,
            protected,
            needs: Vec::new(),
            delete: Arc::new(move |host| delete(host, &name, &arn, protected)),
            wait: Arc::new(move |host| wait_deleted(host, &waited)),
        }
    };
    Ok(found.into_iter().map(owned).collect())
}

fn delete(host: &Host, name: &str, arn: &str, protected: bool) -> Result<(), Error> {
    if protected {
        let change = Change {
            verb: Verb::Update,
            service: "elbv2",
            operation: "ModifyLoadBalancerAttributes",
            name,
            detail: "deletion protection off",
        };
        host.change(change, |_| async {
            let off = LoadBalancerAttribute::builder().key(DELETION_PROTECTION).value("false").build();
            let request = host.aws()?.elbv2.modify_load_balancer_attributes().load_balancer_arn(arn);
            let sent = request.attributes(off).send().await.map(drop);
            sent.map_err(|error| failure("elbv2", "ModifyLoadBalancerAttributes", error))
        })?;
    }
    let change = Change {
        verb: Verb::Delete,
        service: "elbv2",
        operation: "DeleteLoadBalancer",
        name,
        detail: "load balancer and its listeners",
    };
    host.change(change, |_| async {
        let answer = host.aws()?.elbv2.delete_load_balancer().load_balancer_arn(arn).send().await;
        match answer.map_err(|error| failure("elbv2", "DeleteLoadBalancer", error)) {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other.map(drop),
        }
    })?;
    Ok(())
}

fn wait_deleted(host: &Host, arn: &str) -> Result<(), Error> {
    let name = arn.rsplit('/').nth(1).unwrap_or(arn);
    host.wait(&format!("load balancer {name}"), ACTIVE_LIMIT, || async {
        let answer = host.aws()?.elbv2.describe_load_balancers().load_balancer_arns(arn).send().await;
        match answer.map_err(|error| failure("elbv2", "DescribeLoadBalancers", error)) {
            Err(error) if error.kind == Kind::NotFound => Ok(Ok(())),
            Ok(answer) if answer.load_balancers().is_empty() => Ok(Ok(())),
            other => other.map(|_| Err("still there".to_owned())),
        }
    })
}

/// Tries a deletion again while something still uses the thing, 15 minutes at most.
pub(in crate::primitives::aws::elbv2) async fn until_free<F>(
    host: &Host,
    title: &str,
    delete: impl Fn() -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>>,
{
    let deadline = tokio::time::Instant::now() + FREE_LIMIT;
    let mut line = None;
    loop {
        match delete().await {
            Err(error) if error.kind == Kind::NotFound => return Ok(()),
            Err(error) if error.kind == Kind::Conflict && tokio::time::Instant::now() < deadline => {
                line.get_or_insert_with(|| host.progress.wait(title))
                    .status(&format!("something still uses it ({})", error.code));
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            other => return other,
        }
    }
}
