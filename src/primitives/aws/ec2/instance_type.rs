//! Instance types: how large they are, and which zones offer them.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, LocationType};
use rhai::{Array, Dynamic, ImmutableString, Map};

use super::filter_of_values;
use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::Host;
use crate::primitives::declaration::{Function, describe};
use crate::primitives::namespace::{Call, Namespace};

const LIST: Function = Function {
    name: "list_instance_types",
    doc: "The instance types of those names that the region knows, by name: `#{ instance_type, vcpus, memory_mib, architectures, burstable, zones }`; \
          `*` stands for any text. `zones` are those of the region that offer it.\n\
          EC2 `DescribeInstanceTypes`, `DescribeInstanceTypeOfferings`.",
    parameters: &["names: list"],
    returns: "list",
    permissions: &["ec2:DescribeInstanceTypes", "ec2:DescribeInstanceTypeOfferings"],
    example: r#"
        for found in ec2::list_instance_types(["t3.micro", "m5.*"]) {
            print(`${found.instance_type}: ${found.vcpus} vCPUs, ${found.memory_mib} MiB, in ${found.zones}`);
        }"#,
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace.function1(&LIST, list);
}

fn list(call: &Call, names: Array) -> Result<Array, Error> {
    let mut wanted = Vec::new();
    for name in &names {
        let name = name.clone().into_string().map_err(|_| {
            Error::invalid(format!("a name of an instance type is a string, and not {}", describe(name)))
        })?;
        wanted.push(name);
    }
    if wanted.is_empty() {
        return Err(Error::invalid("no name of an instance type is given")
            .help("name some, such as [\"t3.micro\", \"m5.*\"]"));
    }
    let named = || filter_of_values("instance-type", wanted.clone());
    let (types, mut zones) = call.block(async {
        let ec2 = &call.aws()?.ec2;
        let types = async {
            let mut pages = ec2.describe_instance_types().filters(named()).into_paginator().send();
            let mut found = Vec::new();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| failure("ec2", "DescribeInstanceTypes", error))?;
                found.extend(page.instance_types.unwrap_or_default());
            }
            Ok::<_, Error>(found)
        };
        tokio::try_join!(types, zones_of(call, named()))
    })?;
    let text = |text: &str| Dynamic::from(ImmutableString::from(text));
    let mut listed = BTreeMap::new();
    for found in types {
        let name = found.instance_type().map(|name| name.as_str().to_owned()).unwrap_or_default();
        let vcpus = found.v_cpu_info().and_then(|cpus| cpus.default_v_cpus()).unwrap_or_default();
        let memory_mib = found.memory_info().and_then(|memory| memory.size_in_mib()).unwrap_or_default();
        let processor = found.processor_info().map(|processor| processor.supported_architectures());
        let mut zones = zones.remove(&name).unwrap_or_default();
        zones.sort_unstable();
        let map = Map::from([
            ("instance_type".into(), text(&name)),
            ("vcpus".into(), i64::from(vcpus).into()),
            ("memory_mib".into(), memory_mib.into()),
            (
                "architectures".into(),
                processor.unwrap_or_default().iter().map(|one| text(one.as_str())).collect::<Array>().into(),
            ),
            ("burstable".into(), found.burstable_performance_supported().unwrap_or_default().into()),
            ("zones".into(), zones.iter().map(|zone| text(zone)).collect::<Array>().into()),
        ]);
        listed.insert(name, Dynamic::from(map));
    }
    Ok(listed.into_values().collect())
}

/// The zones of the region that offer the types which a filter lets through, by type (EC2 `DescribeInstanceTypeOfferings`).
pub(super) async fn zones_of(host: &Host, types: Filter) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let request = host.aws()?.ec2.describe_instance_type_offerings();
    let request = request.location_type(LocationType::AvailabilityZone).filters(types);
    let mut pages = request.into_paginator().send();
    let mut zones: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure("ec2", "DescribeInstanceTypeOfferings", error))?;
        for offering in page.instance_type_offerings.unwrap_or_default() {
            if let (Some(offered), Some(zone)) = (offering.instance_type, offering.location) {
                zones.entry(offered.as_str().to_owned()).or_default().push(zone);
            }
        }
    }
    Ok(zones)
}
