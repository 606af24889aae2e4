//! DB parameter groups: settings of the engine that are applied to the real server at once. Only such as need no restart are known. Unlike
//! on AWS, the default group of this machine's PostgreSQL lets clients connect without TLS.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::instance::Status;
use super::{Tags, arn, identifier, tags_of_request};
use crate::cloud::Region;
use crate::postgres;
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{Filters, RDS_PAGES};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("CreateDBParameterGroup", Access::Change, create_db_parameter_group),
    ("DescribeDBParameterGroups", Access::Read, describe_db_parameter_groups),
    ("DescribeDBParameters", Access::Read, describe_db_parameters),
    ("ModifyDBParameterGroup", Access::Change, modify_db_parameter_group),
    ("DeleteDBParameterGroup", Access::Change, delete_db_parameter_group),
];

/// A parameter: its name, default, type and allowed values as RDS writes them.
struct Known {
    name: &'static str,
    default: &'static str,
    data_type: &'static str,
    allowed: &'static str,
}

const PARAMETERS: &[Known] = &[
    Known { name: FORCE_SSL, default: "0", data_type: "boolean", allowed: "0,1" },
    Known {
        name: "idle_in_transaction_session_timeout",
        default: "0",
        data_type: "integer",
        allowed: "0-2147483647",
    },
    Known { name: "log_connections", default: "0", data_type: "boolean", allowed: "0,1" },
    Known { name: "log_disconnections", default: "0", data_type: "boolean", allowed: "0,1" },
    Known {
        name: "log_min_duration_statement",
        default: "-1",
        data_type: "integer",
        allowed: "-1-2147483647",
    },
    Known { name: "log_statement", default: "none", data_type: "string", allowed: "none,ddl,mod,all" },
    Known { name: "statement_timeout", default: "0", data_type: "integer", allowed: "0-2147483647" },
];

/// Not PostgreSQL's own: RDS refuses connections without TLS.
pub(crate) const FORCE_SSL: &str = "rds.force_ssl";

impl Known {
    fn takes(&self, value: &str) -> bool {
        if self.data_type == "integer" {
            let smallest = if self.allowed.starts_with('-') { -1 } else { 0 };
            return value.parse().is_ok_and(|number: i32| number >= smallest);
        }
        self.allowed.split(',').any(|allowed| allowed == value)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ParameterGroup {
    name: String,
    family: String,
    description: String,
    /// What was set, by name.
    parameters: BTreeMap<String, String>,
    pub(super) tags: Tags,
}

pub(super) fn not_found(name: &str) -> AwsError {
    AwsError::with_status(404, "DBParameterGroupNotFound", format!("DBParameterGroup {name} not found."))
}

/// The default group of the PostgreSQL that is installed.
fn default_group() -> Option<ParameterGroup> {
    let family = format!("postgres{}", postgres::find().ok()?.major());
    Some(ParameterGroup {
        name: format!("default.{family}"),
        description: format!("Default parameter group for {family}"),
        family,
        parameters: BTreeMap::new(),
        tags: Tags::new(),
    })
}

fn find(region: &Region, name: &str) -> Result<ParameterGroup, AwsError> {
    let default = || default_group().filter(|group| group.name == name);
    region.rds.parameter_groups.get(name).cloned().or_else(default).ok_or_else(|| not_found(name))
}

/// The group that a database is to have: it exists, and is for the database's version.
pub(super) fn check(region: &Region, name: &str, engine_version: &str) -> Result<(), AwsError> {
    let group = find(region, name)?;
    let family = format!("postgres{}", engine_version.split('.').next().unwrap_or_default());
    if group.family == family {
        return Ok(());
    }
    Err(AwsError::new(
        "InvalidParameterCombination",
        format!(
            "The Parameter Group {name} with DBParameterGroupFamily {} can't be used for this instance. Please use a Parameter \
             Group with DBParameterGroupFamily {family}",
            group.family
        ),
    ))
}

impl Region {
    /// What a database's server is to be told, every known parameter.
    pub(crate) fn engine_parameters(&self, group: Option<&str>) -> BTreeMap<String, String> {
        let set = group.and_then(|name| self.rds.parameter_groups.get(name));
        let value = |known: &Known| {
            let value = set.and_then(|group| group.parameters.get(known.name));
            value.cloned().unwrap_or_else(|| known.default.to_string())
        };
        PARAMETERS.iter().map(|known| (known.name.to_string(), value(known))).collect()
    }
}

fn create_db_parameter_group(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let name = identifier("DBParameterGroupName", form.required("DBParameterGroupName")?, 255)?;
    let family = form.required("DBParameterGroupFamily")?.to_string();
    let description = form.required("Description")?.to_string();
    let tags = tags_of_request(call)?;
    let installed = default_group().map(|group| group.family);
    if installed.as_ref().is_some_and(|installed| *installed != family) {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!(
                "ParameterGroupFamily {family} is not a valid parameter group family: this machine has {}",
                installed.unwrap_or_default()
            ),
        ));
    }
    if call.region.rds.parameter_groups.contains_key(&name) {
        return Err(AwsError::new(
            "DBParameterGroupAlreadyExists",
            format!("Parameter group {name} already exists"),
        ));
    }
    let group = ParameterGroup { name: name.clone(), family, description, parameters: BTreeMap::new(), tags };
    let mut xml = Xml::new();
    xml.nest("DBParameterGroup", |xml| group_xml(xml, call.region_name, &group));
    call.region.rds.parameter_groups.insert(name, group);
    Ok(xml)
}

fn group_xml(xml: &mut Xml, region: &str, group: &ParameterGroup) {
    xml.text("DBParameterGroupName", &group.name)
        .text("DBParameterGroupFamily", &group.family)
        .text("Description", &group.description)
        .text("DBParameterGroupArn", arn(region, "pg", &group.name));
}

fn describe_db_parameter_groups(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    Filters::parse(form, "Filters", "Values", &[])?;
    let groups = match form.get("DBParameterGroupName").map(str::to_ascii_lowercase) {
        Some(name) => vec![find(call.region, &name)?],
        None => {
            default_group().into_iter().chain(call.region.rds.parameter_groups.values().cloned()).collect()
        }
    };
    let (page, next) = RDS_PAGES.page(form, groups)?;
    let mut xml = Xml::new();
    xml.optional("Marker", next);
    xml.list("DBParameterGroups", "DBParameterGroup", page, |xml, group: ParameterGroup| {
        group_xml(xml, call.region_name, &group);
    });
    Ok(xml)
}

fn describe_db_parameters(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    Filters::parse(form, "Filters", "Values", &[])?;
    let group = find(call.region, &form.required("DBParameterGroupName")?.to_ascii_lowercase())?;
    let source = form.get("Source");
    let shown: Vec<(&Known, &str, &str)> = PARAMETERS
        .iter()
        .map(|known| match group.parameters.get(known.name) {
            Some(value) => (known, value.as_str(), "user"),
            None => (known, known.default, "engine-default"),
        })
        .filter(|(.., of)| source.is_none_or(|source| source == *of))
        .collect();
    let (page, next) = RDS_PAGES.page(form, shown)?;
    let mut xml = Xml::new();
    xml.optional("Marker", next);
    xml.list("Parameters", "Parameter", page, |xml, (known, value, source)| {
        xml.text("ParameterName", known.name)
            .text("ParameterValue", value)
            .text("Source", source)
            .text("ApplyType", "dynamic")
            .text("DataType", known.data_type)
            .text("AllowedValues", known.allowed)
            .text("IsModifiable", true)
            .text("ApplyMethod", "immediate");
    });
    Ok(xml)
}

/// The group that the request names, unless it is AWS's own.
fn own<'a>(call: &'a mut Call<'_>) -> Result<&'a mut ParameterGroup, AwsError> {
    let name = call.form.required("DBParameterGroupName")?.to_ascii_lowercase();
    if name.starts_with("default.") {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!(
                "The parameter DBParameterGroupName `{name}` is not valid: default groups cannot be changed or deleted"
            ),
        ));
    }
    call.region.rds.parameter_groups.get_mut(&name).ok_or_else(|| not_found(&name))
}

/// The servers of the group's databases are told at once; the databases are `modifying` for that moment.
fn modify_db_parameter_group(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let mut wanted = BTreeMap::new();
    for member in form.members("Parameters") {
        let name = form.required(&format!("{member}.ParameterName"))?;
        let value = form.required(&format!("{member}.ParameterValue"))?;
        form.ignore(&[&format!("{member}.ApplyMethod")]);
        let Some(known) = PARAMETERS.iter().find(|known| known.name == name) else {
            return Err(AwsError::new(
                "InvalidParameterValue",
                format!(
                    "Could not find parameter with name: {name} (the local cloud has those that need no restart)"
                ),
            ));
        };
        if !known.takes(value) {
            return Err(AwsError::new(
                "InvalidParameterValue",
                format!("Invalid parameter value: {value} for: {name} allowed values: {}", known.allowed),
            ));
        }
        wanted.insert(name.to_string(), value.to_string());
    }
    if !(1..=20).contains(&wanted.len()) {
        return Err(AwsError::new("InvalidParameterValue", "Parameters must have 1 to 20 members"));
    }
    let group = own(call)?;
    group.parameters.extend(wanted);
    let name = group.name.clone();
    for database in call.region.rds.instances.values_mut() {
        if database.settings.parameter_group.as_ref() == Some(&name) && database.status == Status::Available {
            database.status = Status::Modifying;
        }
    }
    let mut xml = Xml::new();
    xml.text("DBParameterGroupName", name);
    Ok(xml)
}

fn delete_db_parameter_group(call: &mut Call<'_>) -> Answer {
    let name = own(call)?.name.clone();
    let mut databases = call.region.rds.instances.values();
    if let Some(user) = databases.find(|database| database.settings.parameter_group.as_ref() == Some(&name)) {
        return Err(AwsError::new(
            "InvalidDBParameterGroupState",
            format!(
                "One or more database instances are still members of this parameter group {name}: {}",
                user.id
            ),
        ));
    }
    call.region.rds.parameter_groups.remove(&name);
    Ok(Xml::new())
}
