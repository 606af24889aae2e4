//! The engine versions that can be ordered: the PostgreSQL that is installed, and no other.

use crate::postgres::{self, Binaries};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{Filters, RDS_PAGES};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("DescribeDBEngineVersions", Access::Read, describe_db_engine_versions),
    ("DescribeOrderableDBInstanceOptions", Access::Read, describe_orderable_db_instance_options),
];

/// The version that a request gets: the installed one, if it asks for that, for its major version, or for none.
pub(super) fn resolve(binaries: &Binaries, wanted: Option<&str>) -> Result<String, AwsError> {
    let installed = &binaries.version;
    match wanted {
        None => Ok(installed.clone()),
        Some(wanted) if wanted == installed || wanted == binaries.major().to_string() => {
            Ok(installed.clone())
        }
        Some(wanted) => Err(AwsError::new(
            "InvalidParameterCombination",
            format!(
                "Cannot find version {wanted} for postgres: PostgreSQL {installed} is installed on this machine"
            ),
        )),
    }
}

fn offered(call: &Call<'_>) -> Option<Binaries> {
    let form = call.form;
    let engine = form.get("Engine").unwrap_or("postgres");
    let version = form.get("EngineVersion");
    let installed = postgres::find().ok().filter(|_| engine == "postgres");
    installed.filter(|binaries| version.is_none() || resolve(binaries, version).is_ok())
}

fn describe_db_engine_versions(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    Filters::parse(form, "Filters", "Values", &["engine", "engine-version", "status"])?;
    form.ignore(&["DefaultOnly", "IncludeAll", "ListSupportedCharacterSets", "ListSupportedTimezones"]);
    let family = form.get("DBParameterGroupFamily");
    let offered: Vec<Binaries> = offered(call)
        .into_iter()
        .filter(|binaries| family.is_none_or(|family| family == format!("postgres{}", binaries.major())))
        .collect();
    let (page, next) = RDS_PAGES.page(form, offered)?;
    let mut xml = Xml::new();
    xml.optional("Marker", next);
    xml.list("DBEngineVersions", "DBEngineVersion", page, |xml, binaries: Binaries| {
        xml.text("Engine", "postgres")
            .text("EngineVersion", &binaries.version)
            .text("MajorEngineVersion", binaries.major())
            .text("DBParameterGroupFamily", format!("postgres{}", binaries.major()))
            .text("DBEngineDescription", "PostgreSQL")
            .text("DBEngineVersionDescription", format!("PostgreSQL {}", binaries.version))
            .text("Status", "available");
    });
    Ok(xml)
}

fn describe_orderable_db_instance_options(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    form.required("Engine")?;
    Filters::parse(form, "Filters", "Values", &[])?;
    form.ignore(&["Vpc", "LicenseModel", "AvailabilityZoneGroup"]);
    let wanted = form.get("DBInstanceClass");
    let classes = [
        "db.t3.micro",
        "db.t3.small",
        "db.t3.medium",
        "db.t4g.micro",
        "db.t4g.small",
        "db.m6g.large",
        "db.r6g.large",
    ];
    let mut options = Vec::new();
    if let Some(binaries) = offered(call) {
        let selected = classes.iter().filter(|class| wanted.is_none_or(|wanted| wanted == **class));
        options.extend(selected.map(|class| (*class, binaries.version.clone())));
    }
    let (page, next) = RDS_PAGES.page(form, options)?;
    let mut xml = Xml::new();
    xml.optional("Marker", next);
    xml.list("OrderableDBInstanceOptions", "OrderableDBInstanceOption", page, |xml, (class, version)| {
        xml.text("Engine", "postgres")
            .text("EngineVersion", version)
            .text("DBInstanceClass", class)
            .text("LicenseModel", "postgresql-license")
            .text("StorageType", "gp3")
            .text("SupportsStorageEncryption", true)
            .text("MultiAZCapable", true)
            .text("Vpc", true);
    });
    Ok(xml)
}
