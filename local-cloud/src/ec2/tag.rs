//! Tags of EC2 resources: written and removed by id, and described across all kinds.

use super::{State, Tags, done};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateTags", Access::Change, create_tags),
    ("DeleteTags", Access::Change, delete_tags),
    ("DescribeTags", Access::Read, describe_tags),
];

/// AWS's limits: 50 tags, keys of 128 and values of 256 characters, and `aws:` belongs to AWS.
pub(super) fn check(tags: &Tags) -> Result<(), AwsError> {
    if tags.len() > 50 {
        return Err(AwsError::new("TagLimitExceeded", "a resource can have at most 50 tags"));
    }
    for (key, value) in tags {
        if key.starts_with("aws:") {
            return Err(AwsError::new(
                "InvalidParameterValue",
                format!("Tag keys starting with 'aws:' are reserved: {key}"),
            ));
        }
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(AwsError::new(
                "InvalidParameterValue",
                format!("Tag '{key}' is invalid: a key has 1 to 128 characters, a value at most 256"),
            ));
        }
    }
    Ok(())
}

impl State {
    fn tags_of(&mut self, id: &str) -> Result<&mut Tags, AwsError> {
        let missing = |code, kind| AwsError::new(code, format!("The {kind} ID '{id}' does not exist"));
        match id.split('-').next() {
            Some("i") => self
                .instances
                .get_mut(id)
                .map(|instance| &mut instance.tags)
                .ok_or_else(|| missing("InvalidInstanceID.NotFound", "instance")),
            Some("sg") => self
                .security_groups
                .get_mut(id)
                .map(|group| &mut group.tags)
                .ok_or_else(|| super::security_group::not_found(id)),
            Some("vol") => self
                .volumes
                .get_mut(id)
                .map(|volume| &mut volume.tags)
                .ok_or_else(|| super::volume::not_found(id)),
            Some("ami") => self
                .images
                .get_mut(id)
                .map(|image| &mut image.tags)
                .ok_or_else(|| super::image::not_found(id)),
            Some("snap") => self
                .snapshots
                .get_mut(id)
                .map(|snapshot| &mut snapshot.tags)
                .ok_or_else(|| super::snapshot::not_found(id)),
            Some("eipalloc") => self
                .addresses
                .get_mut(id)
                .map(|address| &mut address.tags)
                .ok_or_else(|| super::address::id_not_found(id)),
            Some("sgr") => self
                .security_groups
                .values_mut()
                .find_map(|group| group.rules.get_mut(id))
                .map(|rule| &mut rule.tags)
                .ok_or_else(|| super::security_group_rule::id_not_found(id)),
            Some("key") => self
                .key_pairs
                .values_mut()
                .find(|key_pair| key_pair.id == id)
                .map(|key_pair| &mut key_pair.tags)
                .ok_or_else(|| super::key_pair::not_found(id)),
            _ => Err(AwsError::new(
                "InvalidID",
                format!("The ID '{id}' is not one that the local cloud can tag"),
            )),
        }
    }

    fn tagged(&self) -> Vec<(&str, &'static str, &Tags)> {
        let instances =
            self.instances.values().map(|instance| (instance.id.as_str(), "instance", &instance.tags));
        let key_pairs =
            self.key_pairs.values().map(|key_pair| (key_pair.id.as_str(), "key-pair", &key_pair.tags));
        let groups =
            self.security_groups.values().map(|group| (group.id.as_str(), "security-group", &group.tags));
        let rules = self
            .security_groups
            .values()
            .flat_map(|group| group.rules.values())
            .map(|rule| (rule.id.as_str(), "security-group-rule", &rule.tags));
        let volumes = self.volumes.iter().map(|(id, volume)| (id.as_str(), "volume", &volume.tags));
        let snapshots = self.snapshots.iter().map(|(id, snapshot)| (id.as_str(), "snapshot", &snapshot.tags));
        let images = self.images.iter().map(|(id, image)| (id.as_str(), "image", &image.tags));
        let addresses = self.addresses.iter().map(|(id, address)| (id.as_str(), "elastic-ip", &address.tags));
        instances
            .chain(addresses)
            .chain(key_pairs)
            .chain(groups)
            .chain(rules)
            .chain(volumes)
            .chain(snapshots)
            .chain(images)
            .collect()
    }
}

fn resources(call: &Call<'_>) -> Result<Vec<String>, AwsError> {
    let ids = call.form.list("ResourceId");
    if ids.is_empty() {
        return Err(AwsError::new("MissingParameter", "The request must contain the parameter ResourceId"));
    }
    Ok(ids)
}

fn create_tags(call: &mut Call<'_>) -> Answer {
    let tags = call.form.pairs("Tag", "Key", "Value")?;
    for id in resources(call)? {
        let target = call.region.ec2.tags_of(&id)?;
        target.extend(tags.clone());
        check(target)?;
    }
    super::refuse_dry_run(call.form)?;
    Ok(done())
}

/// A tag that is named with a value goes only if it has that value; with no tags named all go.
fn delete_tags(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let mut wanted = Vec::new();
    for member in form.members("Tag") {
        let key = form.required(&format!("{member}.Key"))?.to_string();
        wanted.push((key, form.get(&format!("{member}.Value")).map(str::to_string)));
    }
    for id in resources(call)? {
        call.region.ec2.tags_of(&id)?.retain(|key, value| {
            let named = |(wanted_key, wanted_value): &(String, Option<String>)| {
                wanted_key == key && wanted_value.as_ref().is_none_or(|wanted| wanted == value)
            };
            !wanted.is_empty() && !wanted.iter().any(named)
        });
    }
    super::refuse_dry_run(form)?;
    Ok(done())
}

fn describe_tags(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(call.form, &["resource-id", "resource-type", "key", "value", "tag:"])?;
    let mut rows = Vec::new();
    for (id, kind, tags) in call.region.ec2.tagged() {
        for (key, value) in tags {
            let matches = filters.matches(|name| match name {
                "resource-id" => vec![id.to_string()],
                "resource-type" => vec![kind.to_string()],
                "key" => vec![key.clone()],
                "value" => vec![value.clone()],
                tag => {
                    if tag.strip_prefix("tag:") == Some(key) {
                        vec![value.clone()]
                    } else {
                        vec![]
                    }
                }
            });
            if matches {
                rows.push((id, kind, key, value));
            }
        }
    }
    let (page, next) = EC2_PAGES.page(call.form, rows)?;
    let mut xml = Xml::new();
    xml.list("tagSet", "item", page, |xml, (id, kind, key, value)| {
        xml.text("resourceId", id).text("resourceType", kind).text("key", key).text("value", value);
    });
    xml.optional("nextToken", next);
    Ok(xml)
}
