//! Tags of RDS resources, by ARN.

use super::{Tags, tag_list, tags_of_request};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::Filters;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("AddTagsToResource", Access::Change, add_tags_to_resource),
    ("RemoveTagsFromResource", Access::Change, remove_tags_from_resource),
    ("ListTagsForResource", Access::Read, list_tags_for_resource),
];

/// `arn:aws:rds:REGION:ACCOUNT:KIND:NAME`
fn tags<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Tags, AwsError> {
    let arn = call.form.required("ResourceName")?;
    let mut parts = arn.split(':').skip(5);
    let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if arn != super::arn(call.region_name, kind, name) {
        return Err(AwsError::new("InvalidParameterValue", format!("Invalid resource name: {arn}")));
    }
    let rds = &mut call.region.rds;
    match kind {
        "db" => rds
            .instances
            .get_mut(name)
            .map(|database| &mut database.tags)
            .ok_or_else(|| super::instance::not_found(name)),
        "snapshot" => rds
            .snapshots
            .get_mut(name)
            .map(|snapshot| &mut snapshot.tags)
            .ok_or_else(|| super::snapshot::not_found(name)),
        "pg" => rds
            .parameter_groups
            .get_mut(name)
            .map(|group| &mut group.tags)
            .ok_or_else(|| super::parameter_group::not_found(name)),
        "subgrp" => rds
            .subnet_groups
            .get_mut(name)
            .map(|group| &mut group.tags)
            .ok_or_else(|| super::subnet_group::not_found(name)),
        _ => Err(AwsError::new("InvalidParameterValue", format!("Invalid resource name: {arn}"))),
    }
}

fn add_tags_to_resource(call: &mut Call<'_>) -> Answer {
    let added = tags_of_request(call)?;
    tags(call)?.extend(added);
    Ok(Xml::new())
}

fn remove_tags_from_resource(call: &mut Call<'_>) -> Answer {
    let keys = call.form.list("TagKeys");
    tags(call)?.retain(|key, _| !keys.contains(key));
    Ok(Xml::new())
}

fn list_tags_for_resource(call: &mut Call<'_>) -> Answer {
    Filters::parse(call.form, "Filters", "Values", &[])?;
    let mut xml = Xml::new();
    tag_list(&mut xml, tags(call)?);
    Ok(xml)
}
