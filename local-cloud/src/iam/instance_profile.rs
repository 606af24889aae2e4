//! Instance profiles: what carries a role to an instance. One holds one role at most.

use serde::{Deserialize, Serialize};

use super::{
    State, Tags, arn, delete_conflict, exists, listed, member, name, no_such_entity, path, role, tag,
    tags_of_request, unique_id,
};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateInstanceProfile", Access::Change, create_instance_profile),
    ("GetInstanceProfile", Access::Read, get_instance_profile),
    ("DeleteInstanceProfile", Access::Change, delete_instance_profile),
    ("AddRoleToInstanceProfile", Access::Change, add_role_to_instance_profile),
    ("RemoveRoleFromInstanceProfile", Access::Change, remove_role_from_instance_profile),
    ("ListInstanceProfiles", Access::Read, list_instance_profiles),
    ("ListInstanceProfilesForRole", Access::Read, list_instance_profiles_for_role),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InstanceProfile {
    name: String,
    path: String,
    pub(crate) id: String,
    pub(crate) role: Option<String>,
    pub(super) tags: Tags,
    created: Time,
}

impl InstanceProfile {
    pub(crate) fn arn(&self) -> String {
        arn("instance-profile", &self.path, &self.name)
    }

    fn xml(&self, xml: &mut Xml, iam: &State, whole: bool) {
        xml.text("Path", &self.path)
            .text("InstanceProfileName", &self.name)
            .text("InstanceProfileId", &self.id)
            .text("Arn", self.arn())
            .text("CreateDate", self.created);
        let roles = self.role.iter().filter_map(|name| iam.roles.get(name));
        xml.list("Roles", "member", roles, |xml, role| role.xml(xml, false));
        if whole {
            tag::xml(xml, &self.tags);
        }
    }
}

pub(super) fn not_found(name: &str) -> AwsError {
    no_such_entity("instance profile", name)
}

pub(super) fn named<'a>(call: &'a mut Call<'_>) -> Result<&'a mut InstanceProfile, AwsError> {
    let name = call.form.required("InstanceProfileName")?;
    call.iam.instance_profiles.get_mut(name).ok_or_else(|| not_found(name))
}

fn one(iam: &State, profile: &InstanceProfile) -> Xml {
    let mut xml = Xml::new();
    xml.nest("InstanceProfile", |xml| profile.xml(xml, iam, true));
    xml
}

fn create_instance_profile(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let name = name(form, "InstanceProfileName", 128)?.to_string();
    let profile = InstanceProfile {
        path: path(form)?,
        id: unique_id("AIPA"),
        role: None,
        tags: tags_of_request(form)?,
        created: Time::now(),
        name: name.clone(),
    };
    if call.iam.instance_profiles.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
        return Err(AwsError {
            message: format!("Instance Profile {name} already exists."),
            ..exists("Instance Profile", &name)
        });
    }
    let xml = one(call.iam, &profile);
    call.iam.instance_profiles.insert(name, profile);
    Ok(xml)
}

fn get_instance_profile(call: &mut Call<'_>) -> Answer {
    let profile = named(call)?.clone();
    Ok(one(call.iam, &profile))
}

fn delete_instance_profile(call: &mut Call<'_>) -> Answer {
    let profile = named(call)?.clone();
    if profile.role.is_some() {
        return Err(delete_conflict("must remove roles from instance profile"));
    }
    call.iam.instance_profiles.remove(&profile.name);
    Ok(Xml::new())
}

fn add_role_to_instance_profile(call: &mut Call<'_>) -> Answer {
    let role = role::named(call)?.name().to_string();
    let profile = named(call)?;
    if profile.role.is_some() {
        return Err(AwsError::with_status(
            409,
            "LimitExceeded",
            "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
        ));
    }
    profile.role = Some(role);
    Ok(Xml::new())
}

fn remove_role_from_instance_profile(call: &mut Call<'_>) -> Answer {
    let role = call.form.required("RoleName")?;
    let profile = named(call)?;
    if profile.role.as_deref() != Some(role) {
        return Err(role::not_found(role));
    }
    profile.role = None;
    Ok(Xml::new())
}

fn list_instance_profiles(call: &mut Call<'_>) -> Answer {
    let prefix = call.form.get("PathPrefix").unwrap_or("/");
    let profiles = call.iam.instance_profiles.values();
    let profiles = profiles.filter(|profile| profile.path.starts_with(prefix)).collect();
    listed(call, "InstanceProfiles", profiles, |xml, profile: &InstanceProfile| {
        member(xml, |xml| profile.xml(xml, call.iam, false));
    })
}

fn list_instance_profiles_for_role(call: &mut Call<'_>) -> Answer {
    let role = role::named(call)?.name().to_string();
    let profiles = call.iam.instance_profiles.values();
    let profiles = profiles.filter(|profile| profile.role.as_ref() == Some(&role)).collect();
    listed(call, "InstanceProfiles", profiles, |xml, profile: &InstanceProfile| {
        member(xml, |xml| profile.xml(xml, call.iam, false));
    })
}
