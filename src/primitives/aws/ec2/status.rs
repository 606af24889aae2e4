//! The status checks of instances: whether EC2 reaches the machine below one, and whether it reaches the instance itself.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::SummaryStatus;
use rhai::{Array, Dynamic, ImmutableString, Map};

use super::describe::{alive_lately, state};
use super::name_tag;
use crate::clients::aws::failure;
use crate::error::Error;
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};

const LIST: Function = Function {
    name: "list_instance_status",
    doc: "The status checks of the stack's instances, by name: `#{ name, id, state, system_status, instance_status }`. The two are `ok`, `initializing`, \
          `impaired`, `insufficient-data` or, where an instance does not run, `not-applicable`: whether EC2 reaches the machine that it runs on, \
          and its operating system.\n\
          EC2 `DescribeInstances`, `DescribeInstanceStatus`.",
    parameters: &[],
    returns: "list",
    permissions: &["ec2:DescribeInstances", "ec2:DescribeInstanceStatus"],
    example: r#"
        for found in ec2::list_instance_status() {
            if found.system_status == "impaired" { say(`${found.name}: stop and start it, so that it moves to another machine`); }
        }"#,
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace.function0(&LIST, list);
}

fn list(call: &Call) -> Result<Array, Error> {
    let instances = alive_lately(call)?;
    let ids: Vec<String> =
        instances.iter().filter_map(|instance| instance.instance_id().map(str::to_owned)).collect();
    // Without an id, all of the account would be listed.
    if ids.is_empty() {
        return Ok(Array::new());
    }
    let found = call.block(async {
        let mut found = BTreeMap::new();
        // Ids and pages do not go together; so many go into one call (EC2 API Reference, `DescribeInstanceStatus`).
        for some in ids.chunks(100) {
            let request = call.aws()?.ec2.describe_instance_status().include_all_instances(true);
            let answer = request.set_instance_ids(Some(some.to_vec())).send().await;
            let answer = answer.map_err(|error| failure("ec2", "DescribeInstanceStatus", error))?;
            for status in answer.instance_statuses.unwrap_or_default() {
                if let Some(id) = status.instance_id.clone() {
                    found.insert(id, status);
                }
            }
        }
        Ok(found)
    })?;
    let text = |text: &str| Dynamic::from(ImmutableString::from(text));
    let word =
        |status: Option<&SummaryStatus>| text(status.map_or("insufficient-data", SummaryStatus::as_str));
    let mut listed = BTreeMap::new();
    for instance in instances.iter() {
        let (Some(id), Some(name)) = (instance.instance_id(), name_tag(instance.tags())) else { continue };
        let status = found.get(id);
        let system = status.and_then(|status| status.system_status()?.status());
        let own = status.and_then(|status| status.instance_status()?.status());
        let map = Map::from([
            ("name".into(), text(name)),
            ("id".into(), text(id)),
            ("state".into(), text(&state(Some(instance)))),
            ("system_status".into(), word(system)),
            ("instance_status".into(), word(own)),
        ]);
        listed.insert(name.to_owned(), Dynamic::from(map));
    }
    Ok(listed.into_values().collect())
}
