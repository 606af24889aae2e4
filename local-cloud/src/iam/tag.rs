//! Tags of roles and instance profiles.

use super::{Tags, instance_profile, invalid, listed, member, role, tags_of_request};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("TagRole", Access::Change, |call| add(call, of_role)),
    ("UntagRole", Access::Change, |call| remove(call, of_role)),
    ("ListRoleTags", Access::Read, |call| list(call, of_role)),
    ("TagInstanceProfile", Access::Change, |call| add(call, of_profile)),
    ("UntagInstanceProfile", Access::Change, |call| remove(call, of_profile)),
    ("ListInstanceProfileTags", Access::Read, |call| list(call, of_profile)),
];

pub(super) fn check(tags: &Tags) -> Result<(), AwsError> {
    if tags.len() > 50 {
        return Err(AwsError::with_status(409, "LimitExceeded", "A resource can have at most 50 tags"));
    }
    let unfit = |key: &&String| key.is_empty() || key.chars().count() > 128 || key.starts_with("aws:");
    match tags.keys().find(unfit) {
        Some(key) => {
            Err(invalid(format!("The tag key `{key}` is reserved, empty or longer than 128 characters")))
        }
        None => Ok(()),
    }
}

pub(super) fn xml(xml: &mut Xml, tags: &Tags) {
    if !tags.is_empty() {
        xml.list("Tags", "member", tags, |xml, (key, value)| {
            xml.text("Key", key).text("Value", value);
        });
    }
}

type Owner = for<'a> fn(&'a mut Call<'_>) -> Result<&'a mut Tags, AwsError>;

fn of_role<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Tags, AwsError> {
    Ok(&mut role::named(call)?.tags)
}

fn of_profile<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Tags, AwsError> {
    Ok(&mut instance_profile::named(call)?.tags)
}

fn add(call: &mut Call<'_>, owner: Owner) -> Answer {
    let added = tags_of_request(call.form)?;
    let tags = owner(call)?;
    tags.extend(added);
    check(tags)?;
    Ok(Xml::new())
}

fn remove(call: &mut Call<'_>, owner: Owner) -> Answer {
    let keys = call.form.list("TagKeys");
    owner(call)?.retain(|key, _| !keys.contains(key));
    Ok(Xml::new())
}

fn list(call: &mut Call<'_>, owner: Owner) -> Answer {
    let tags: Vec<(String, String)> =
        owner(call)?.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    listed(call, "Tags", tags, |xml, (key, value)| {
        member(xml, |xml| {
            xml.text("Key", key).text("Value", value);
        });
    })
}
