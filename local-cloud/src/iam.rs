//! IAM: roles with their policies, instance profiles, and the sessions in which somebody plays a role. Nothing here is enforced but who may
//! play a role: whoever reaches the endpoint is this machine's user.

mod instance_profile;
mod policy;
mod role;
mod role_policy;
mod tag;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use instance_profile::InstanceProfile;
pub(crate) use role::Role;

use crate::cloud::ACCOUNT;
use crate::query::{AwsError, Call, Envelope, Form, Service};
use crate::select::Paging;
use crate::time::Time;
use crate::xml::Xml;

pub(crate) type Tags = BTreeMap<String, String>;

pub(crate) const SERVICE: Service = Service {
    name: "iam",
    namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
    envelope: Envelope::Query,
    operations: &[role::OPERATIONS, role_policy::OPERATIONS, instance_profile::OPERATIONS, tag::OPERATIONS],
};

const PAGES: Paging = Paging { size: "MaxItems", token: "Marker", limits: 1..=1000, default: 100 };

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) instance_profiles: BTreeMap<String, InstanceProfile>,
    /// By access key.
    pub(crate) sessions: BTreeMap<String, Session>,
}

/// Somebody who plays a role for a while.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) role: String,
    pub(crate) role_id: String,
    pub(crate) name: String,
    pub(crate) expires: Time,
}

impl State {
    pub(crate) fn role_by_arn(&self, arn: &str) -> Option<&Role> {
        self.roles.values().find(|role| role.arn() == arn)
    }

    /// A profile named by its name or its ARN, as EC2 takes it.
    pub(crate) fn profile(&self, name: Option<&str>, arn: Option<&str>) -> Option<&InstanceProfile> {
        match (name, arn) {
            (Some(name), _) => self.instance_profiles.get(name),
            (None, Some(arn)) => self.instance_profiles.values().find(|profile| profile.arn() == arn),
            (None, None) => None,
        }
    }
}

fn arn(kind: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:{kind}{path}{name}")
}

/// An identifier as IAM makes them: a prefix that says the kind, and 17 capitals and digits.
pub(crate) fn unique_id(prefix: &str) -> String {
    const SYMBOLS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let random = rand::random::<u128>();
    let symbol = |place: u32| {
        let index = usize::try_from((random >> (place * 5)) & 31).unwrap_or(0);
        char::from(SYMBOLS[index])
    };
    prefix.chars().chain((0..17).map(symbol)).collect()
}

fn no_such_entity(kind: &str, name: &str) -> AwsError {
    AwsError::with_status(404, "NoSuchEntity", format!("The {kind} with name {name} cannot be found."))
}

fn exists(kind: &str, name: &str) -> AwsError {
    AwsError::with_status(409, "EntityAlreadyExists", format!("{kind} with name {name} already exists."))
}

fn delete_conflict(reason: &str) -> AwsError {
    AwsError::with_status(409, "DeleteConflict", format!("Cannot delete entity, {reason} first."))
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("ValidationError", message)
}

/// The rule for names of roles, policies and profiles.
fn name<'a>(form: &'a Form, parameter: &str, limit: usize) -> Result<&'a str, AwsError> {
    let name = form.required(parameter)?;
    let fits = name.len() <= limit
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte));
    if fits {
        return Ok(name);
    }
    Err(invalid(format!("{parameter} `{name}` must be 1 to {limit} letters, digits and +=,.@_-")))
}

/// `/` or `/a/b/`
fn path(form: &Form) -> Result<String, AwsError> {
    let path = form.get("Path").unwrap_or("/");
    if path.starts_with('/') && path.ends_with('/') && path.len() <= 512 {
        return Ok(path.to_string());
    }
    Err(invalid(format!("The Path `{path}` must begin and end with /")))
}

fn tags_of_request(form: &Form) -> Result<Tags, AwsError> {
    let tags = form.pairs("Tags", "Key", "Value")?;
    tag::check(&tags)?;
    Ok(tags)
}

/// A list as IAM pages it.
fn listed<T>(
    call: &Call<'_>,
    name: &str,
    items: Vec<T>,
    mut one: impl FnMut(&mut Xml, T),
) -> Result<Xml, AwsError> {
    let (page, next) = PAGES.page(call.form, items)?;
    let mut xml = Xml::new();
    xml.nest(name, |xml| page.into_iter().for_each(|item| one(xml, item)));
    xml.text("IsTruncated", next.is_some()).optional("Marker", next);
    Ok(xml)
}

fn member(xml: &mut Xml, inside: impl FnOnce(&mut Xml)) {
    xml.nest("member", inside);
}
