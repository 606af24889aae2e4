//! Roles: who may play them, and for how long.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::policy::{self, Purpose};
use super::{
    Tags, arn, delete_conflict, exists, invalid, listed, member, name, no_such_entity, path, tag,
    tags_of_request, unique_id,
};
use crate::query::{Access, Answer, AwsError, Call, Form, Operation};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateRole", Access::Change, create_role),
    ("GetRole", Access::Read, get_role),
    ("ListRoles", Access::Read, list_roles),
    ("UpdateRole", Access::Change, update_role),
    ("UpdateAssumeRolePolicy", Access::Change, update_assume_role_policy),
    ("DeleteRole", Access::Change, delete_role),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Role {
    name: String,
    path: String,
    pub(crate) id: String,
    trust: String,
    description: Option<String>,
    pub(crate) longest_session_s: i64,
    /// Inline policies by name.
    pub(super) policies: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub(super) attached: BTreeSet<String>,
    pub(super) tags: Tags,
    created: Time,
}

impl Role {
    pub(crate) fn arn(&self) -> String {
        arn("role", &self.path, &self.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn trusts(&self, principals: &[&str], external_id: Option<&str>) -> bool {
        policy::trusts(&self.trust, principals, external_id)
    }

    /// With what only the answers about a single role show.
    pub(super) fn xml(&self, xml: &mut Xml, whole: bool) {
        xml.text("Path", &self.path)
            .text("RoleName", &self.name)
            .text("RoleId", &self.id)
            .text("Arn", self.arn())
            .text("CreateDate", self.created)
            .text("AssumeRolePolicyDocument", policy::encoded(&self.trust))
            .optional("Description", self.description.as_ref())
            .text("MaxSessionDuration", self.longest_session_s);
        if whole {
            tag::xml(xml, &self.tags);
        }
    }
}

pub(super) fn not_found(name: &str) -> AwsError {
    no_such_entity("role", name)
}

/// The role that the request names.
pub(super) fn named<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Role, AwsError> {
    let name = call.form.required("RoleName")?;
    call.iam.roles.get_mut(name).ok_or_else(|| not_found(name))
}

fn longest_session_s(form: &Form) -> Result<Option<i64>, AwsError> {
    match form.number("MaxSessionDuration")? {
        Some(seconds) if !(3600..=43_200).contains(&seconds) => {
            Err(invalid(format!("MaxSessionDuration must be 3600 to 43200, not {seconds}")))
        }
        seconds => Ok(seconds),
    }
}

fn create_role(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let name = name(form, "RoleName", 64)?.to_string();
    let trust = form.required("AssumeRolePolicyDocument")?;
    policy::check(trust, Purpose::Trust)?;
    let role = Role {
        path: path(form)?,
        id: unique_id("AROA"),
        trust: trust.to_string(),
        description: form.get("Description").map(str::to_string),
        longest_session_s: longest_session_s(form)?.unwrap_or(3600),
        policies: BTreeMap::new(),
        attached: BTreeSet::new(),
        tags: tags_of_request(form)?,
        created: Time::now(),
        name: name.clone(),
    };
    // IAM has one name space for all spellings of a name.
    if call.iam.roles.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
        return Err(exists("Role", &name));
    }
    let mut xml = Xml::new();
    xml.nest("Role", |xml| role.xml(xml, true));
    call.iam.roles.insert(name, role);
    Ok(xml)
}

fn get_role(call: &mut Call<'_>) -> Answer {
    let role = named(call)?;
    let mut xml = Xml::new();
    xml.nest("Role", |xml| role.xml(xml, true));
    Ok(xml)
}

fn list_roles(call: &mut Call<'_>) -> Answer {
    let prefix = call.form.get("PathPrefix").unwrap_or("/");
    let roles = call.iam.roles.values().filter(|role| role.path.starts_with(prefix)).collect();
    listed(call, "Roles", roles, |xml, role: &Role| member(xml, |xml| role.xml(xml, false)))
}

fn update_role(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let longest = longest_session_s(form)?;
    let description = form.get("Description").map(str::to_string);
    let role = named(call)?;
    role.longest_session_s = longest.unwrap_or(role.longest_session_s);
    role.description = description.or(role.description.take());
    Ok(Xml::new())
}

fn update_assume_role_policy(call: &mut Call<'_>) -> Answer {
    let trust = call.form.required("PolicyDocument")?;
    policy::check(trust, Purpose::Trust)?;
    named(call)?.trust = trust.to_string();
    Ok(Xml::new())
}

/// A role that still has policies, or is in an instance profile, stays.
fn delete_role(call: &mut Call<'_>) -> Answer {
    let role = named(call)?.clone();
    if call.iam.instance_profiles.values().any(|profile| profile.role.as_ref() == Some(&role.name)) {
        return Err(delete_conflict("must remove roles from instance profile"));
    }
    if !role.attached.is_empty() {
        return Err(delete_conflict("must detach all policies"));
    }
    if !role.policies.is_empty() {
        return Err(delete_conflict("must delete policies"));
    }
    call.iam.roles.remove(&role.name);
    Ok(Xml::new())
}
