//! The master password: one of the stack's secrets, or one that RDS makes and keeps itself.

use super::{Instance, describe};
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::Options;
use crate::primitives::local::secrets::{secret_value, spent};
use crate::secret::Secret;

impl Instance {
    /// The master user's name and password. One that RDS keeps may have changed since it was last read.
    pub fn master(&self, host: &Host) -> Result<(&str, Secret), Error> {
        let username = self.0.master_username.as_str();
        if let Some(password) = &self.0.master_password {
            return Ok((username, password.clone()));
        }
        let identifier = &self.0.identifier;
        let password = host.within(self.0.scope.clone(), || {
            host.block(async {
                let found = describe(host, identifier).await?;
                let secret =
                    found.and_then(|found| found.master_user_secret?.secret_arn).ok_or_else(|| {
                        Error::new(
                            Kind::NotFound,
                            format!("RDS keeps no password of the database {identifier}"),
                        )
                        .help("give its `master_password`")
                    })?;
                secret_value(host, &secret, Some("password")).await
            })
        })?;
        Ok((username, password))
    }
}

/// The password that is asked for; `None` where RDS keeps it, or is to.
pub(super) fn asked(options: &Options, kept_by_rds: bool) -> Result<Option<Secret>, Error> {
    let managed = options.bool("manage_master_user_password");
    let given = options.get("master_password").and_then(spent);
    match (given, managed) {
        (Some(_), Some(true)) => Err(Error::invalid("RDS makes the password that it keeps itself")
            .key("master_password")
            .help("leave out `master_password` or `manage_master_user_password`")),
        (_, Some(false)) if kept_by_rds => Err(Error::new(
            Kind::Conflict,
            "RDS keeps the master password of this database, and ops does not take it from there",
        )
        .key("manage_master_user_password")
        .help("set a password yourself with `aws rds modify-db-instance --no-manage-master-user-password --master-user-password ..`")),
        (None, None | Some(false)) if !kept_by_rds => {
            Err(Error::invalid("a database needs `master_password`, or `manage_master_user_password: true`")
                .help("`master_password: secrets::ensure(\"database/master\")` keeps one in the stack's secrets"))
        }
        (given, _) => Ok(given.filter(|_| !kept_by_rds)),
    }
}
