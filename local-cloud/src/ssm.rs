//! SSM's parameter store. A secure string is kept in the state file like all else (mode 0600), and is shown only to who asks for
//! decryption. The public parameters that name the newest Amazon Linux image are there, too.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cloud::{ACCOUNT, Region};
use crate::ec2;
use crate::json::{Answer, Call, Operation, Service};
use crate::query::{Access, AwsError};
use crate::time::Time;

pub(crate) const SERVICE: Service = Service {
    name: "ssm",
    target: "AmazonSSM",
    content_type: "application/x-amz-json-1.1",
    operations: &[OPERATIONS],
    invalid: "ValidationException",
    modelled: None,
};

const OPERATIONS: &[Operation] = &[
    ("PutParameter", Access::Change, put_parameter),
    ("GetParameter", Access::Read, get_parameter),
    ("GetParameters", Access::Read, get_parameters),
    ("GetParametersByPath", Access::Read, get_parameters_by_path),
    ("DescribeParameters", Access::Read, describe_parameters),
    ("DeleteParameter", Access::Change, delete_parameter),
    ("DeleteParameters", Access::Change, delete_parameters),
    ("AddTagsToResource", Access::Change, add_tags_to_resource),
    ("RemoveTagsFromResource", Access::Change, remove_tags_from_resource),
    ("ListTagsForResource", Access::Read, list_tags_for_resource),
];

/// Amazon Linux 2023's aliases, as AWS publishes them.
const PUBLIC: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    parameters: BTreeMap<String, Parameter>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Parameter {
    name: String,
    kind: String,
    value: String,
    description: Option<String>,
    tier: String,
    data_type: String,
    key: Option<String>,
    version: i64,
    modified: Time,
    tags: BTreeMap<String, String>,
}

impl Parameter {
    fn arn(&self, region: &str) -> String {
        let slash = if self.name.starts_with('/') { "" } else { "/" };
        format!("arn:aws:ssm:{region}:{ACCOUNT}:parameter{slash}{}", self.name)
    }

    fn json(&self, region: &str, decrypted: bool) -> Value {
        let value = if self.kind == "SecureString" && !decrypted {
            // As on AWS, what comes back is no use without decryption.
            STANDARD.encode(Sha256::digest(format!("{}{}{}", self.name, self.version, self.value).as_bytes()))
        } else {
            self.value.clone()
        };
        json!({
            "Name": self.name, "Type": self.kind, "Value": value, "Version": self.version, "ARN": self.arn(region),
            "LastModifiedDate": self.modified.seconds(), "DataType": self.data_type,
        })
    }
}

impl Region {
    /// The value of a parameter, decrypted.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.ssm.parameters.get(name).map(|parameter| parameter.value.clone())
    }
}

fn public_parameters(region: &str) -> Vec<Parameter> {
    ec2::amazon_linux(region)
        .map(|image| Parameter {
            name: format!("{PUBLIC}{}", image.architecture),
            kind: "String".into(),
            value: image.id,
            description: None,
            tier: "Standard".into(),
            data_type: "text".into(),
            key: None,
            version: 1,
            modified: Time::now(),
            tags: BTreeMap::new(),
        })
        .collect()
}

fn not_found(name: &str) -> AwsError {
    AwsError::new("ParameterNotFound", format!("Parameter {name} not found."))
}

/// A name, or `name:version` of the current version, or the parameter's ARN.
fn find(call: &Call<'_>, given: &str) -> Option<Parameter> {
    let prefix = format!("arn:aws:ssm:{}:{ACCOUNT}:parameter", call.region_name);
    let path = given.strip_prefix(&prefix).unwrap_or(given);
    let parameters = &call.region.ssm.parameters;
    let (name, version) = match path.rsplit_once(':') {
        Some((name, version)) => (name, Some(version.parse::<i64>().ok()?)),
        None => (path, None),
    };
    let flat = || parameters.get(name.strip_prefix('/').filter(|_| path != given)?);
    let found = parameters.get(name).or_else(flat).cloned();
    let found = found
        .or_else(|| public_parameters(call.region_name).into_iter().find(|parameter| parameter.name == name));
    found.filter(|parameter| version.is_none_or(|version| version == parameter.version))
}

fn check_name(name: &str) -> Result<(), AwsError> {
    let first = name.trim_start_matches('/').split('/').next().unwrap_or_default().to_ascii_lowercase();
    if first.starts_with("aws") || first.starts_with("ssm") {
        return Err(AwsError::new(
            "ValidationException",
            format!("Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive): {name}"),
        ));
    }
    let fits = (1..=1011).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte))
        && !name.ends_with('/')
        && !name.contains("//")
        && (name.starts_with('/') || !name.contains('/'))
        && name.matches('/').count() <= 15;
    if fits {
        return Ok(());
    }
    Err(AwsError::new(
        "ValidationException",
        format!(
            "Parameter name: must be a fully qualified name (`/a/b`, or one word) of letters, digits and _.-, at most 15 levels: {name}"
        ),
    ))
}

fn put_parameter(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let name = document.required("Name")?.to_string();
    let value = document.required("Value")?.to_string();
    let kind = document.text("Type")?;
    let overwrite = document.flag("Overwrite")?;
    let given_tags = document.tags("Tags")?;
    let (description, key) = (document.text("Description")?, document.text("KeyId")?);
    let data_type = document.text("DataType")?.unwrap_or("text").to_string();
    let tier = document.text("Tier")?.unwrap_or("Standard").to_string();
    if let Some(pattern) = document.text("AllowedPattern")? {
        return Err(AwsError::new(
            "ValidationException",
            format!("The local cloud does not check AllowedPattern {pattern}"),
        ));
    }
    check_name(&name)?;
    let limit = if tier == "Standard" { 4096 } else { 8192 };
    if value.is_empty() || value.len() > limit {
        return Err(AwsError::new(
            "ValidationException",
            format!("The value of parameter {name} must have 1 to {limit} characters in the tier {tier}"),
        ));
    }
    if data_type != "text" {
        return Err(AwsError::new(
            "ValidationException",
            format!("The local cloud does not have the data type {data_type}"),
        ));
    }
    let existing = call.region.ssm.parameters.get(&name);
    if existing.is_some() && !overwrite {
        return Err(AwsError::new(
            "ParameterAlreadyExists",
            "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
        ));
    }
    if overwrite && !given_tags.is_empty() {
        return Err(AwsError::new(
            "ValidationException",
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag.",
        ));
    }
    let kind = match (kind, existing) {
        (Some(kind @ ("String" | "StringList" | "SecureString")), None) => kind.to_string(),
        (Some(kind), Some(existing))
            if kind != existing.kind && matches!(kind, "String" | "StringList" | "SecureString") =>
        {
            return Err(AwsError::new(
                "HierarchyTypeMismatchException",
                format!("The parameter {name} has the type {}; delete it to change that", existing.kind),
            ));
        }
        (Some("String" | "StringList" | "SecureString") | None, Some(existing)) => existing.kind.clone(),
        (None, None) => {
            return Err(AwsError::new(
                "ValidationException",
                "A parameter type is required when you create a parameter.",
            ));
        }
        (Some(other), _) => {
            return Err(AwsError::new(
                "UnsupportedParameterType",
                format!("The parameter type {other} is not supported"),
            ));
        }
    };
    let parameter = Parameter {
        version: existing.map_or(1, |existing| existing.version + 1),
        tags: existing.map(|existing| existing.tags.clone()).unwrap_or(given_tags),
        description: description
            .map(str::to_string)
            .or_else(|| existing.and_then(|existing| existing.description.clone())),
        key: (kind == "SecureString").then(|| key.unwrap_or("alias/aws/ssm").to_string()),
        modified: Time::now(),
        name: name.clone(),
        kind,
        value,
        tier: tier.clone(),
        data_type,
    };
    let version = parameter.version;
    call.region.ssm.parameters.insert(name, parameter);
    Ok(json!({ "Version": version, "Tier": tier }))
}

fn get_parameter(call: &mut Call<'_>) -> Answer {
    let decrypted = call.document.flag("WithDecryption")?;
    let name = call.document.required("Name")?;
    let parameter = find(call, name).ok_or_else(|| not_found(name))?;
    Ok(json!({ "Parameter": parameter.json(call.region_name, decrypted) }))
}

fn get_parameters(call: &mut Call<'_>) -> Answer {
    let decrypted = call.document.flag("WithDecryption")?;
    let names = call.document.list("Names")?;
    if !(1..=10).contains(&names.len()) {
        return Err(AwsError::new("ValidationException", "Names must have 1 to 10 members"));
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        match find(call, &name) {
            Some(parameter) => found.push(parameter.json(call.region_name, decrypted)),
            None => missing.push(name),
        }
    }
    Ok(json!({ "Parameters": found, "InvalidParameters": missing }))
}

/// A page of parameters in the order of their names; the token is the last name of the page before.
fn page(
    call: &Call<'_>,
    parameters: Vec<Parameter>,
    largest: i64,
) -> Result<(Vec<Parameter>, Option<String>), AwsError> {
    let size = call.document.number("MaxResults")?.unwrap_or(largest);
    if !(1..=largest).contains(&size) {
        return Err(AwsError::new("ValidationException", format!("MaxResults must be 1 to {largest}")));
    }
    let token = call.document.text("NextToken")?.filter(|token| !token.is_empty());
    let after =
        token.map(|token| STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()));
    let after = match after {
        Some(None) => return Err(AwsError::new("InvalidNextToken", "The specified token is not valid.")),
        Some(name) => name,
        None => None,
    };
    let size = usize::try_from(size).unwrap_or(1);
    let mut rest: Vec<Parameter> = parameters
        .into_iter()
        .filter(|parameter| after.as_ref().is_none_or(|after| parameter.name > *after))
        .collect();
    let more = rest.len() > size;
    rest.truncate(size);
    let next = rest.last().filter(|_| more).map(|last| STANDARD.encode(&last.name));
    Ok((rest, next))
}

fn get_parameters_by_path(call: &mut Call<'_>) -> Answer {
    let document = call.document;
    let (recursive, decrypted) = (document.flag("Recursive")?, document.flag("WithDecryption")?);
    let path = document.required("Path")?;
    if !path.starts_with('/') {
        return Err(AwsError::new(
            "ValidationException",
            format!("The parameter path must start with a slash: {path}"),
        ));
    }
    if document.get("ParameterFilters").is_some() {
        return Err(AwsError::new(
            "InvalidFilterKey",
            "The local cloud has no filters for GetParametersByPath",
        ));
    }
    let prefix = format!("{}/", path.trim_end_matches('/'));
    let below = |parameter: &Parameter| {
        parameter.name.strip_prefix(&prefix).is_some_and(|rest| recursive || !rest.contains('/'))
    };
    let mut all = public_parameters(call.region_name);
    all.extend(call.region.ssm.parameters.values().cloned());
    all.retain(below);
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let (found, next) = page(call, all, 10)?;
    let found: Vec<Value> =
        found.iter().map(|parameter| parameter.json(call.region_name, decrypted)).collect();
    Ok(with_next(json!({ "Parameters": found }), next))
}

fn with_next(mut answer: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    answer
}

fn describe_parameters(call: &mut Call<'_>) -> Answer {
    let mut selected: Vec<Parameter> = call.region.ssm.parameters.values().cloned().collect();
    for filter in call.document.documents("ParameterFilters")? {
        let (key, option) = (filter.required("Key")?, filter.text("Option")?.unwrap_or("Equals"));
        let values = filter.list("Values")?;
        let of = |parameter: &Parameter| match key {
            "Name" => Some(parameter.name.clone()),
            "Type" => Some(parameter.kind.clone()),
            "Tier" => Some(parameter.tier.clone()),
            "Path" => Some(parameter.name.clone()),
            tag => tag.strip_prefix("tag:").and_then(|tag| parameter.tags.get(tag).cloned()),
        };
        if !matches!(key, "Name" | "Type" | "Tier" | "Path") && !key.starts_with("tag:") {
            return Err(AwsError::new("InvalidFilterKey", format!("The filter key {key} is not valid")));
        }
        let matches: fn(&str, &str) -> bool = match (key, option) {
            ("Path", "Recursive" | "Equals") => {
                |value, path| value.starts_with(&format!("{}/", path.trim_end_matches('/')))
            }
            (_, "Equals") => |value, wanted| value == wanted,
            (_, "BeginsWith") => |value, wanted| value.starts_with(wanted),
            (_, "Contains") => |value, wanted| value.contains(wanted),
            _ => {
                return Err(AwsError::new(
                    "InvalidFilterOption",
                    format!("The filter option {option} is not valid for {key}"),
                ));
            }
        };
        selected.retain(|parameter| {
            of(parameter)
                .is_some_and(|value| values.is_empty() || values.iter().any(|wanted| matches(&value, wanted)))
        });
    }
    let (found, next) = page(call, selected, 50)?;
    let found: Vec<Value> = found
        .iter()
        .map(|parameter| {
            let mut shown = json!({
                "Name": parameter.name, "ARN": parameter.arn(call.region_name), "Type": parameter.kind,
                "Version": parameter.version, "Tier": parameter.tier, "DataType": parameter.data_type,
                "LastModifiedDate": parameter.modified.seconds(), "Policies": [],
            });
            if let Some(key) = &parameter.key {
                shown["KeyId"] = json!(key);
            }
            if let Some(description) = &parameter.description {
                shown["Description"] = json!(description);
            }
            shown
        })
        .collect();
    Ok(with_next(json!({ "Parameters": found }), next))
}

fn delete_parameter(call: &mut Call<'_>) -> Answer {
    let name = call.document.required("Name")?;
    call.region.ssm.parameters.remove(name).ok_or_else(|| not_found(name))?;
    Ok(json!({}))
}

fn delete_parameters(call: &mut Call<'_>) -> Answer {
    let names = call.document.list("Names")?;
    if !(1..=10).contains(&names.len()) {
        return Err(AwsError::new("ValidationException", "Names must have 1 to 10 members"));
    }
    let parameters = &mut call.region.ssm.parameters;
    let (deleted, missing): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| parameters.remove(name).is_some());
    Ok(json!({ "DeletedParameters": deleted, "InvalidParameters": missing }))
}

fn tagged<'a>(call: &'a mut Call<'_>) -> Result<&'a mut BTreeMap<String, String>, AwsError> {
    let kind = call.document.required("ResourceType")?;
    if kind != "Parameter" {
        return Err(AwsError::new(
            "InvalidResourceType",
            format!("The local cloud does not have the resource type {kind}"),
        ));
    }
    let id = call.document.required("ResourceId")?;
    let parameter = call.region.ssm.parameters.get_mut(id);
    parameter
        .map(|parameter| &mut parameter.tags)
        .ok_or_else(|| AwsError::new("InvalidResourceId", format!("The resource ID \"{id}\" is not valid.")))
}

fn add_tags_to_resource(call: &mut Call<'_>) -> Answer {
    let added = call.document.tags("Tags")?;
    tagged(call)?.extend(added);
    Ok(json!({}))
}

fn remove_tags_from_resource(call: &mut Call<'_>) -> Answer {
    let keys = call.document.list("TagKeys")?;
    tagged(call)?.retain(|key, _| !keys.contains(key));
    Ok(json!({}))
}

fn list_tags_for_resource(call: &mut Call<'_>) -> Answer {
    let tags: Vec<Value> =
        tagged(call)?.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    Ok(json!({ "TagList": tags }))
}
