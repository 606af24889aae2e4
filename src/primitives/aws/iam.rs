//! `iam::` instance profiles: what an instance may do, with a role of its own that may do nothing else.

use std::sync::Arc;

use aws_sdk_iam::types::{InstanceProfile as Profile, Tag};
use percent_encoding::percent_decode_str;
use rhai::Map;
use serde_json::{Value, json};

use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host, NAME_TAG, STACK_TAG};
use crate::primitives::declaration::{Function, Holds, Options, describe, required};
use crate::primitives::namespace::{Call, Namespace};
use crate::primitives::owned::{Owned, at_once};
use crate::progress::{Line, Verb};

/// The name of the role's one inline policy.
const POLICY: &str = "ops";

/// IAM's limit for names of instance profiles is 128, for those of roles 64 (API reference, `CreateRole`).
const LONGEST_NAME: usize = 64;

/// An instance profile of the stack, with the role in it.
#[derive(Clone)]
pub struct InstanceProfile {
    full_name: String,
}

const ENSURE: Function = Function {
    name: "ensure_instance_profile",
    doc: "The stack's instance profile of that name, with a role that EC2 may assume and that may do exactly what is allowed. A policy that \
          differs is repaired. The name is that of the stack, the region and the thing, since IAM knows no regions.\n\
          Throws `denied` where the account may not make roles: give an instance a profile that is there instead.\n\
          IAM `GetRole`, `CreateRole`, `GetRolePolicy`, `PutRolePolicy`, `GetInstanceProfile`, `CreateInstanceProfile`, \
          `AddRoleToInstanceProfile`.",
    parameters: &["name: string"],
    returns: "InstanceProfile",
    permissions: &[
        "iam:GetRole",
        "iam:CreateRole",
        "iam:TagRole",
        "iam:GetRolePolicy",
        "iam:PutRolePolicy",
        "iam:GetInstanceProfile",
        "iam:CreateInstanceProfile",
        "iam:TagInstanceProfile",
        "iam:AddRoleToInstanceProfile",
        "iam:PassRole",
    ],
    example: "iam::ensure_instance_profile(\"server\", #{ allow: [#{ actions: [\"sns:Publish\"], resources: [\"*\"] }] });",
    keys: &[required(
        "allow",
        Holds::List,
        "Statements: `#{ actions: [\"sns:Publish\"], resources: [topic.arn] }`",
    )],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("iam", host);
    namespace
        .handle::<InstanceProfile>("InstanceProfile")
        .with_options(&ENSURE, ensure)
        .property(
            "name",
            "The name in IAM, for `instance_profile` of an instance.",
            |_, it: &InstanceProfile| Ok(it.full_name.clone()),
        )
        .identified(|it: &InstanceProfile| format!("instance profile {}", it.full_name));
    namespace
}

fn full_name(host: &Host, name: &str) -> Result<String, Error> {
    let full = format!("{}-{}", host.full_name(name)?, host.aws()?.region);
    if full.len() > LONGEST_NAME {
        return Err(Error::invalid(format!("`{full}` has more than {LONGEST_NAME} characters"))
            .help("shorten the stack's name or this one"));
    }
    Ok(full)
}

fn tags(host: &Host, name: &str) -> Result<Vec<Tag>, Error> {
    let tag = |(key, value)| {
        Tag::builder().key(key).value(value).build().map_err(|error| Error::internal(error.to_string()))
    };
    host.tags(name)?.into_iter().map(tag).collect()
}

/// The policy document of the statements in `allow`.
fn policy(options: &Options) -> Result<Value, Error> {
    let wrong = |what: String| {
        Error::invalid(what)
            .key("allow")
            .help("a statement is `#{ actions: [\"sns:Publish\"], resources: [topic.arn] }`")
    };
    let mut statements = Vec::new();
    for statement in options.list("allow").unwrap_or_default() {
        let found = describe(&statement);
        let map = statement
            .try_cast::<Map>()
            .ok_or_else(|| wrong(format!("`allow` is a list of maps, and holds {found}")))?;
        if let Some(key) = map.keys().find(|key| !matches!(key.as_str(), "actions" | "resources")) {
            return Err(wrong(format!("a statement has no key `{key}`")));
        }
        let texts = |key: &str| -> Result<Vec<String>, Error> {
            let list = map.get(key).cloned().and_then(|list| list.into_typed_array::<String>().ok());
            list.filter(|list| !list.is_empty())
                .ok_or_else(|| wrong(format!("`{key}` of a statement is a list of strings, and not empty")))
        };
        statements
            .push(json!({ "Effect": "Allow", "Action": texts("actions")?, "Resource": texts("resources")? }));
    }
    Ok(json!({ "Version": "2012-10-17", "Statement": statements }))
}

fn ensure(call: &Call, name: String, options: &Options) -> Result<InstanceProfile, Error> {
    let full = full_name(call, &name)?;
    let policy = policy(options)?;
    let refused = |error: Error| {
        if error.kind == Kind::Denied {
            error.help("an account that may not make roles has to give the instance a profile that is there")
        } else {
            error
        }
    };
    let (profile, is) = look(call, &full).map_err(refused)?;
    // A profile of this stack that holds the role says whose the role is.
    if !profile
        .as_ref()
        .is_some_and(|profile| owner(profile.tags()) == call.stack().ok() && holds(profile, &full))
    {
        ensure_role(call, &name, &full).map_err(refused)?;
    }
    ensure_policy(call, &name, &full, is.as_deref(), &policy).map_err(refused)?;
    ensure_profile(call, &name, &full, profile.as_ref()).map_err(refused)?;
    Ok(InstanceProfile { full_name: full })
}

/// The profile and the role's policy, where they are there.
fn look(call: &Call, full: &str) -> Result<(Option<Profile>, Option<String>), Error> {
    fn there<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
    call.block(async {
        let iam = &call.aws()?.iam;
        let profile = iam.get_instance_profile().instance_profile_name(full).send();
        let policy = iam.get_role_policy().role_name(full).policy_name(POLICY).send();
        let (profile, policy) = tokio::join!(profile, policy);
        let profile = there(profile.map_err(|error| failure("iam", "GetInstanceProfile", error)))?;
        let policy = there(policy.map_err(|error| failure("iam", "GetRolePolicy", error)))?;
        Ok((profile.and_then(|answer| answer.instance_profile), policy.map(|answer| answer.policy_document)))
    })
}

fn owner(tags: &[Tag]) -> Option<&str> {
    tags.iter().find(|tag| tag.key() == STACK_TAG).map(Tag::value)
}

fn holds(profile: &Profile, role: &str) -> bool {
    profile.roles().iter().any(|held| held.role_name() == role)
}

fn ensure_role(call: &Call, name: &str, full: &str) -> Result<(), Error> {
    let found = call.block(async {
        match call.aws()?.iam.get_role().role_name(full).send().await {
            Ok(answer) => Ok(answer.role),
            Err(error) => match failure("iam", "GetRole", error) {
                error if error.kind == Kind::NotFound => Ok(None),
                error => Err(error),
            },
        }
    })?;
    if let Some(role) = found {
        return call.own(&format!("role {full}"), owner(role.tags()));
    }
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "ec2.amazonaws.com" },
            "Action": "sts:AssumeRole",
        }],
    });
    let request = call
        .aws()?
        .iam
        .create_role()
        .role_name(full)
        .assume_role_policy_document(trust.to_string())
        .set_tags(Some(tags(call, name)?));
    let change = Change { verb: Verb::Create, service: "iam", operation: "CreateRole", name, detail: "role" };
    call.change(change, |_| async {
        match request.clone().send().await.map_err(|error| failure("iam", "CreateRole", error)) {
            // The answer to a first attempt was lost: it is ours.
            Err(error) if error.kind == Kind::Exists => Ok(String::new()),
            other => Ok(other?.role.map(|role| role.arn).unwrap_or_default()),
        }
    })?;
    Ok(())
}

fn ensure_policy(
    call: &Call,
    name: &str,
    full: &str,
    found: Option<&str>,
    policy: &Value,
) -> Result<(), Error> {
    // IAM gives the document back URL-encoded (RFC 3986; API reference, `GetRolePolicy`).
    let same = found.is_some_and(|text| {
        let text = percent_decode_str(text).decode_utf8_lossy();
        serde_json::from_str::<Value>(&text).is_ok_and(|is| is == *policy)
    });
    if same {
        return Ok(());
    }
    let verb = if found.is_some() { Verb::Update } else { Verb::Add };
    let change =
        Change { verb, service: "iam", operation: "PutRolePolicy", name, detail: "policy of the role" };
    call.change(change, |_| async {
        let request = call.aws()?.iam.put_role_policy().role_name(full).policy_name(POLICY);
        let sent = request.policy_document(policy.to_string()).send().await;
        sent.map(drop).map_err(|error| failure("iam", "PutRolePolicy", error))
    })?;
    Ok(())
}

fn ensure_profile(call: &Call, name: &str, full: &str, found: Option<&Profile>) -> Result<(), Error> {
    if found.is_none() {
        let request = call
            .aws()?
            .iam
            .create_instance_profile()
            .instance_profile_name(full)
            .set_tags(Some(tags(call, name)?));
        let change = Change {
            verb: Verb::Create,
            service: "iam",
            operation: "CreateInstanceProfile",
            name,
            detail: "instance profile",
        };
        call.change(change, |_| async {
            match request.clone().send().await.map_err(|error| failure("iam", "CreateInstanceProfile", error))
            {
                Err(error) if error.kind == Kind::Exists => Ok(String::new()),
                other => Ok(other?.instance_profile.map(|profile| profile.arn).unwrap_or_default()),
            }
        })?;
    }
    if !found.is_some_and(|profile| holds(profile, full)) {
        let change = Change {
            verb: Verb::Update,
            service: "iam",
            operation: "AddRoleToInstanceProfile",
            name,
            detail: "role of the instance profile",
        };
        call.change(change, |_| async {
            let request = call.aws()?.iam.add_role_to_instance_profile();
            let sent = request.instance_profile_name(full).role_name(full).send().await;
            match sent.map_err(|error| failure("iam", "AddRoleToInstanceProfile", error)) {
                // A profile holds one role: the answer to a first attempt was lost.
                Err(error) if error.code == "LimitExceeded" => Ok(()),
                other => other.map(drop),
            }
        })?;
    }
    Ok(())
}

/// The stack's profiles in this region, each with its role. Names begin with the stack's: the others need not be asked for their tags.
pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let stack = host.stack()?.to_owned();
    let (prefix, suffix) = (format!("{stack}-"), format!("-{}", host.aws()?.region));
    let roles = host.block(async {
        let mut roles = Vec::new();
        let mut pages = host.aws()?.iam.list_roles().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("iam", "ListRoles", error))?;
            let mine = page.roles().iter().map(|role| role.role_name());
            for name in mine.filter(|name| name.starts_with(&prefix) && name.ends_with(&suffix)) {
                let answer = host.aws()?.iam.list_role_tags().role_name(name).send().await;
                let answer = answer.map_err(|error| failure("iam", "ListRoleTags", error))?;
                let value = |key: &str| {
                    answer.tags().iter().find(|tag| tag.key() == key).map(|tag| tag.value().to_owned())
                };
                if let (true, Some(short)) = (value(STACK_TAG).as_ref() == Some(&stack), value(NAME_TAG)) {
                    roles.push((name.to_owned(), short));
                }
            }
        }
        Ok(roles)
    });
    let roles = match roles {
        Err(error) if error.kind == Kind::Denied => {
            let text = "roles are not looked at, for this account may not `iam:ListRoles`: an instance profile that somebody else has made for the stack is not in the list";
            host.progress.line(Line::Warning, text);
            return Ok(Vec::new());
        }
        other => other?,
    };
    let owned = |(full, name): (String, String)| Owned {
        key: format!("iam:{name}"),
        title: format!("instance profile and role {full}"),
        status: String::new(),
        order: 35,
        protected: false,
        needs: Vec::new(),
        delete: Arc::new(move |host| delete(host, &name, &full)),
        wait: at_once(),
    };
    Ok(roles.into_iter().map(owned).collect())
}

/// The role goes last: it is what a run that was killed in between is found by.
fn delete(host: &Host, name: &str, full: &str) -> Result<(), Error> {
    let change = Change {
        verb: Verb::Delete,
        service: "iam",
        operation: "DeleteRole",
        name,
        detail: "instance profile and role",
    };
    host.change(change, |_| async {
        let iam = &host.aws()?.iam;
        let gone = |outcome: Result<(), Error>| match outcome {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other,
        };
        // Profiles first: IAM keeps a role that one of them holds.
        let answer = iam.list_instance_profiles_for_role().role_name(full).send().await;
        let profiles = match answer.map_err(|error| failure("iam", "ListInstanceProfilesForRole", error)) {
            Ok(answer) => answer.instance_profiles,
            Err(error) if error.kind == Kind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        for profile in profiles {
            let profile = profile.instance_profile_name;
            let sent =
                iam.remove_role_from_instance_profile().instance_profile_name(&profile).role_name(full);
            let sent = sent.send().await.map(drop);
            gone(sent.map_err(|error| failure("iam", "RemoveRoleFromInstanceProfile", error)))?;
        }
        let sent = iam.delete_instance_profile().instance_profile_name(full).send().await;
        gone(sent.map(drop).map_err(|error| failure("iam", "DeleteInstanceProfile", error)))?;
        let sent = iam.delete_role_policy().role_name(full).policy_name(POLICY).send().await;
        gone(sent.map(drop).map_err(|error| failure("iam", "DeleteRolePolicy", error)))?;
        let sent = iam.delete_role().role_name(full).send().await;
        gone(sent.map(drop).map_err(|error| failure("iam", "DeleteRole", error)))
    })?;
    Ok(())
}
