//! Tags of load balancers, listeners and target groups, by ARN. `ops-local:address` is shown besides: where a listener, and a balancer
//! with its first one, is to be reached.

use super::{Tags, invalid, listener, load_balancer, tags_of_request, target_group};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("AddTags", Access::Change, add_tags),
    ("RemoveTags", Access::Change, remove_tags),
    ("DescribeTags", Access::Read, describe_tags),
];

const ADDRESS: &str = "ops-local:address";

pub(super) fn check(tags: &Tags) -> Result<(), AwsError> {
    if tags.len() > 50 {
        return Err(AwsError::new("TooManyTags", "A resource can have at most 50 tags"));
    }
    let unfit = |key: &&String| key.is_empty() || key.chars().count() > 128 || key.starts_with("aws:");
    if let Some(key) = tags.keys().find(unfit) {
        return Err(invalid(format!("The tag key '{key}' is reserved, empty or longer than 128 characters")));
    }
    Ok(())
}

fn tags<'a>(call: &'a mut Call<'_>, arn: &str) -> Result<&'a mut Tags, AwsError> {
    let elbv2 = &mut call.region.elbv2;
    let kind = arn.split(':').nth(5).and_then(|resource| resource.split('/').next());
    match kind {
        Some("loadbalancer") => Ok(&mut load_balancer::find(arn, elbv2)?.tags),
        Some("targetgroup") => Ok(&mut target_group::find(arn, elbv2)?.tags),
        Some("listener") => elbv2
            .listeners
            .get_mut(arn)
            .map(|listener| &mut listener.tags)
            .ok_or_else(|| listener::not_found(arn)),
        _ => Err(invalid(format!("'{arn}' is not a valid ARN of a load balancer, listener or target group"))),
    }
}

fn resources(call: &Call<'_>) -> Result<Vec<String>, AwsError> {
    let arns = call.form.list("ResourceArns");
    if (1..=20).contains(&arns.len()) {
        return Ok(arns);
    }
    Err(invalid("ResourceArns must have 1 to 20 members"))
}

fn add_tags(call: &mut Call<'_>) -> Answer {
    let added = tags_of_request(call.form)?;
    for arn in resources(call)? {
        let target = tags(call, &arn)?;
        target.extend(added.clone());
        check(target)?;
    }
    Ok(Xml::new())
}

fn remove_tags(call: &mut Call<'_>) -> Answer {
    let keys = call.form.list("TagKeys");
    for arn in resources(call)? {
        tags(call, &arn)?.retain(|key, _| !keys.contains(key));
    }
    Ok(Xml::new())
}

fn describe_tags(call: &mut Call<'_>) -> Answer {
    let mut found = Vec::new();
    for arn in resources(call)? {
        let mut shown = tags(call, &arn)?.clone();
        let mut listeners = call.region.elbv2.listeners.values();
        if let Some(listener) = listeners.find(|known| known.arn == arn || known.load_balancer == arn) {
            shown.insert(ADDRESS.into(), listener.address.to_string());
        }
        found.push((arn, shown));
    }
    let mut xml = Xml::new();
    xml.list("TagDescriptions", "member", found, |xml, (arn, shown)| {
        xml.text("ResourceArn", arn).list("Tags", "member", shown, |xml, (key, value)| {
            xml.text("Key", key).text("Value", value);
        });
    });
    Ok(xml)
}
