//! Whether a database lets clients in without TLS. From PostgreSQL 15 on RDS does not, unless a parameter group says so (RDS User
//! Guide, "Requiring an SSL connection to a PostgreSQL DB instance").

use aws_sdk_rds::types::DbInstance;

use crate::clients::aws::failure;
use crate::error::Error;
use crate::primitives::namespace::Call;
use crate::progress::Line;

const FORCE_SSL: &str = "rds.force_ssl";

/// The first major version whose default is TLS alone.
const FORCED_FROM: u32 = 15;

/// Warns of a PostgreSQL instance that also serves clients without TLS (RDS `DescribeDBParameters`, where it has a group of its own).
pub(super) fn warn_without_tls(call: &Call, found: &DbInstance) -> Result<(), Error> {
    if found.engine() != Some("postgres") {
        return Ok(());
    }
    let major = found.engine_version().and_then(|version| version.split('.').next()?.parse().ok());
    let mut forced = major.is_none_or(|major: u32| major >= FORCED_FROM);
    let groups = found.db_parameter_groups().iter().filter_map(|group| group.db_parameter_group_name());
    for group in groups.filter(|group| !group.starts_with("default.")) {
        forced = is_forced(call, group)?.unwrap_or(forced);
    }
    if !forced {
        let identifier = found.db_instance_identifier().unwrap_or_default();
        let text = format!(
            "the database {identifier} also serves clients without TLS: set {FORCE_SSL} = 1 in its parameter group"
        );
        call.progress.line(Line::Warning, &text);
    }
    Ok(())
}

/// What a parameter group says of it; `None` where it says nothing.
fn is_forced(call: &Call, group: &str) -> Result<Option<bool>, Error> {
    call.block(async {
        let request = call.aws()?.rds.describe_db_parameters().db_parameter_group_name(group);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("rds", "DescribeDBParameters", error))?;
            let parameter = page.parameters().iter().find(|one| one.parameter_name() == Some(FORCE_SSL));
            if let Some(value) = parameter.and_then(|parameter| parameter.parameter_value()) {
                return Ok(Some(value == "1"));
            }
        }
        Ok(None)
    })
}
