//! The version that a new database gets: the newest one that RDS offers of the major version that was asked for. A minor version is
//! retired some years after its release, so a playbook names none.

use crate::clients::aws::failure;
use crate::error::Error;
use crate::primitives::namespace::Call;

/// Looks it up, and whether there are instances of that class with it (RDS `DescribeDBEngineVersions`,
/// `DescribeOrderableDBInstanceOptions`).
pub(super) fn resolve(call: &Call, engine: &str, asked: &str, class: &str) -> Result<String, Error> {
    let offered = call.block(async {
        let mut offered = Vec::new();
        let mut pages = call.aws()?.rds.describe_db_engine_versions().engine(engine).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("rds", "DescribeDBEngineVersions", error))?;
            let versions = page.db_engine_versions.unwrap_or_default().into_iter();
            offered.extend(
                versions
                    .filter(|version| version.status() != Some("deprecated"))
                    .filter_map(|version| version.engine_version),
            );
        }
        Ok(offered)
    })?;
    let Some(version) = newest(asked, &offered) else {
        return Err(Error::invalid(format!("RDS offers no version {asked} of {engine}"))
            .of("rds", "DescribeDBEngineVersions")
            .key("engine_version")
            .help(format!("it offers {}", offered.join(", "))));
    };
    let orderable = call.block(async {
        let request = call.aws()?.rds.describe_orderable_db_instance_options().engine(engine);
        let request = request.engine_version(version).db_instance_class(class).max_records(20);
        let answer = request.send().await;
        answer.map_err(|error| failure("rds", "DescribeOrderableDBInstanceOptions", error))
    })?;
    if orderable.orderable_db_instance_options().is_empty() {
        return Err(Error::invalid(format!("RDS has no {class} with {engine} {version} in this region"))
            .of("rds", "DescribeOrderableDBInstanceOptions")
            .key("instance_class")
            .help("name another class, such as `db.t4g.micro`, or another version"));
    }
    Ok(version.to_owned())
}

/// The newest of the versions that are `asked`, or a minor version of it.
fn newest<'a>(asked: &str, offered: &'a [String]) -> Option<&'a str> {
    let is_asked = |version: &&String| {
        version.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    // 17.10 is newer than 17.9.
    let numbers = |version: &String| -> Vec<u32> {
        version.split(['.', '-']).map(|part| part.parse().unwrap_or(0)).collect()
    };
    offered.iter().filter(is_asked).max_by_key(|version| numbers(version)).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn a_major_version_becomes_its_newest_minor_one() {
        let offered = ["16.13", "17.2", "17.10", "17.9", "1.7"].map(str::to_owned);
        assert_eq!(newest("17", &offered), Some("17.10"));
        assert_eq!(newest("16", &offered), Some("16.13"));
        assert_eq!(newest("17.9", &offered), Some("17.9"));
        for other in ["1", "7", "18", "17.1"] {
            let found = newest(other, &offered);
            assert_eq!(found, (other == "1").then_some("1.7"), "{other}");
        }
    }
}
