//! Where a database instance answers, and how that is waited for.

use std::sync::PoisonError;

use aws_sdk_rds::types::DbInstance;

use super::{AVAILABLE_LIMIT, Instance, describe};
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::namespace::Call;

/// Where an available instance answers.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl Endpoint {
    /// Of an available database. Before, its endpoint is there and cannot be used.
    pub(super) fn of(found: &DbInstance) -> Option<Self> {
        let endpoint = found.endpoint().filter(|_| found.db_instance_status() == Some("available"))?;
        Some(Endpoint {
            host: endpoint.address().unwrap_or_default().to_owned(),
            port: endpoint.port().and_then(|port| u16::try_from(port).ok()).unwrap_or(5432),
        })
    }
}

impl Instance {
    /// Where it answers; waits until it is available. `reading` is what the script asks for.
    pub fn endpoint_for(&self, call: &Call, reading: &str) -> Result<Endpoint, Error> {
        self.wait(call, &format!(" ({} reads `{reading}`)", call.place()))
    }

    pub(super) fn wait(&self, host: &Host, why: &str) -> Result<Endpoint, Error> {
        if let Some(endpoint) = self.0.endpoint.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(endpoint);
        }
        let identifier = &self.0.identifier;
        let what = format!("database {}{why}", self.0.name);
        let endpoint = host.within(self.0.scope.clone(), || {
            host.wait(&what, AVAILABLE_LIMIT, || async {
                let found = describe(host, identifier).await?;
                let Some(found) = found else {
                    if host.dry_run {
                        return Err(Error::planned(format!("the endpoint of database {identifier}")));
                    }
                    return Err(Error::new(Kind::NotFound, format!("the database {identifier} is gone"))
                        .of("rds", "DescribeDBInstances"));
                };
                if let Some(endpoint) = Endpoint::of(&found) {
                    return Ok(Ok(endpoint));
                }
                let status = found.db_instance_status().unwrap_or("unknown").to_owned();
                match status.as_str() {
                    // `failed`, `storage-full`, `incompatible-parameters` ..: it will not come up by waiting.
                    "failed" | "storage-full" | "restore-error" => Err(stuck(identifier, &status)),
                    // One that was told to start may be shown as stopped for a moment more.
                    "stopped" if self.0.is_only_found => Err(stuck(identifier, &status)),
                    status if status.starts_with("incompatible-") => Err(stuck(identifier, status)),
                    _ => Ok(Err(status)),
                }
            })
        })?;
        *self.0.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = Some(endpoint.clone());
        Ok(endpoint)
    }
}

/// A database in a state that waiting does not end, with what does.
fn stuck(identifier: &str, status: &str) -> Error {
    let error = Error::new(Kind::Unavailable, format!("the database {identifier} is {status}"))
        .of("rds", "DescribeDBInstances");
    match status {
        "storage-full" => error.help(
            "give it more storage: a larger `allocated_storage_gib` of `rds::ensure_instance`; then run this again",
        ),
        "stopped" => error.help("start it: `rds::ensure_instance` does"),
        _ => error.help("RDS says why in the database's events: `aws rds describe-events --source-type db-instance`"),
    }
}
