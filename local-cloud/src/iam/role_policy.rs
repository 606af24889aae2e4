//! What a role may do: inline policies, and the managed policies of AWS by their ARNs.

use super::policy::{self, Purpose};
use super::role::named;
use super::{invalid, listed, member, name, no_such_entity};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("PutRolePolicy", Access::Change, put_role_policy),
    ("GetRolePolicy", Access::Read, get_role_policy),
    ("DeleteRolePolicy", Access::Change, delete_role_policy),
    ("ListRolePolicies", Access::Read, list_role_policies),
    ("AttachRolePolicy", Access::Change, attach_role_policy),
    ("DetachRolePolicy", Access::Change, detach_role_policy),
    ("ListAttachedRolePolicies", Access::Read, list_attached_role_policies),
];

/// IAM's limit for all inline policies of a role, white space not counted.
const INLINE_LIMIT: usize = 10_240;
const MANAGED: &str = "arn:aws:iam::aws:policy/";

fn put_role_policy(call: &mut Call<'_>) -> Answer {
    let name = name(call.form, "PolicyName", 128)?.to_string();
    let document = call.form.required("PolicyDocument")?.to_string();
    policy::check(&document, Purpose::Permissions)?;
    let role = named(call)?;
    role.policies.insert(name, document);
    let size: usize = role
        .policies
        .values()
        .map(|document| document.bytes().filter(|byte| !byte.is_ascii_whitespace()).count())
        .sum();
    if size > INLINE_LIMIT {
        return Err(AwsError::with_status(
            409,
            "LimitExceeded",
            format!("Maximum policy size of {INLINE_LIMIT} bytes exceeded for role {}", role.name()),
        ));
    }
    Ok(Xml::new())
}

fn not_found(name: &str) -> AwsError {
    no_such_entity("role policy", name)
}

fn get_role_policy(call: &mut Call<'_>) -> Answer {
    let name = call.form.required("PolicyName")?;
    let role = named(call)?;
    let document = role.policies.get(name).ok_or_else(|| not_found(name))?;
    let mut xml = Xml::new();
    xml.text("RoleName", role.name())
        .text("PolicyName", name)
        .text("PolicyDocument", policy::encoded(document));
    Ok(xml)
}

fn delete_role_policy(call: &mut Call<'_>) -> Answer {
    let name = call.form.required("PolicyName")?;
    named(call)?.policies.remove(name).ok_or_else(|| not_found(name))?;
    Ok(Xml::new())
}

fn list_role_policies(call: &mut Call<'_>) -> Answer {
    let names: Vec<String> = named(call)?.policies.keys().cloned().collect();
    listed(call, "PolicyNames", names, |xml, name| {
        xml.text("member", name);
    })
}

fn attach_role_policy(call: &mut Call<'_>) -> Answer {
    let arn = call.form.required("PolicyArn")?;
    if !arn.starts_with("arn:aws:iam::") {
        return Err(invalid(format!("ARN {arn} is not valid.")));
    }
    if !arn.starts_with(MANAGED) {
        return Err(AwsError::with_status(
            404,
            "NoSuchEntity",
            format!(
                "Policy {arn} does not exist or is not attachable: the local cloud has AWS's managed policies"
            ),
        ));
    }
    named(call)?.attached.insert(arn.to_string());
    Ok(Xml::new())
}

fn detach_role_policy(call: &mut Call<'_>) -> Answer {
    let arn = call.form.required("PolicyArn")?;
    if !named(call)?.attached.remove(arn) {
        return Err(AwsError::with_status(404, "NoSuchEntity", format!("Policy {arn} was not found.")));
    }
    Ok(Xml::new())
}

fn list_attached_role_policies(call: &mut Call<'_>) -> Answer {
    let attached: Vec<String> = named(call)?.attached.iter().cloned().collect();
    listed(call, "AttachedPolicies", attached, |xml, arn| {
        member(xml, |xml| {
            xml.text("PolicyName", arn.rsplit('/').next().unwrap_or_default()).text("PolicyArn", &arn);
        });
    })
}
