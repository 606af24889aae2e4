//! The master user's password where RDS keeps it itself (`ManageMasterUserPassword`): in a secret of Secrets Manager that lives and goes
//! with the instance, and is rotated every week.

use serde_json::json;

use super::create::check_password;
use super::instance::{Database, Status};
use super::{arn, not_found};
use crate::cloud::{Region, uuid};
use crate::query::{AwsError, Call};
use crate::secretsmanager::{Content, Order};
use crate::time::Time;
use crate::xml::Xml;

/// What a request says about the master user's password.
pub(super) enum Wanted {
    /// The verifier of a password that somebody else keeps.
    Given(String),
    Managed {
        key: Option<String>,
    },
    /// Nothing: it stays as it is.
    Unnamed,
}

pub(super) fn of_request(call: &Call<'_>, managed_so_far: bool) -> Result<Wanted, AwsError> {
    let form = call.form;
    let managed = form.flag("ManageMasterUserPassword")?;
    let password = form.get("MasterUserPassword");
    let key = form.get("MasterUserSecretKmsKeyId").map(str::to_owned);
    let refuse = |message: &str| Err(AwsError::new("InvalidParameterCombination", message.to_owned()));
    match (managed, password) {
        (Some(true), Some(_)) => {
            refuse("You can't specify MasterUserPassword when ManageMasterUserPassword is true.")
        }
        (None, Some(_)) if managed_so_far => refuse(
            "You can't specify MasterUserPassword for an instance that manages its master user password: turn ManageMasterUserPassword off.",
        ),
        (Some(false), None) if managed_so_far => {
            refuse("MasterUserPassword is required when ManageMasterUserPassword is turned off.")
        }
        (Some(true), None) if !managed_so_far => Ok(Wanted::Managed { key }),
        (_, None) if key.is_some() => {
            refuse("MasterUserSecretKmsKeyId can be given only when ManageMasterUserPassword is turned on.")
        }
        (_, Some(password)) => Ok(Wanted::Given(check_password(password)?)),
        (_, None) => Ok(Wanted::Unnamed),
    }
}

impl Region {
    /// Puts what was asked for into a database, and its secret where there is to be one.
    pub(super) fn set_master_password(
        &mut self,
        region: &str,
        database: &mut Database,
        wanted: Wanted,
    ) -> Result<(), AwsError> {
        match wanted {
            Wanted::Unnamed => {}
            Wanted::Given(verifier) => {
                database.pending_verifier = Some(verifier);
                if let Some(secret) = database.master_secret.take() {
                    self.secretsmanager.remove(&secret);
                }
            }
            Wanted::Managed { key } => {
                let owner = arn(region, "db", &database.id);
                let secret = self.secretsmanager.add(
                    region,
                    Order {
                        name: format!("rds!db-{}", uuid()),
                        description: Some(format!("Secret associated with primary RDS DB instance: {owner}")),
                        key: Some(key.unwrap_or_else(|| "alias/aws/secretsmanager".to_owned())),
                        owner: Some("rds".to_owned()),
                        tags: [
                            ("aws:rds:primaryDBInstanceArn".to_owned(), owner),
                            ("aws:secretsmanager:owningService".to_owned(), "rds".to_owned()),
                        ]
                        .into(),
                    },
                );
                let password = password();
                database.pending_verifier = Some(check_password(&password)?);
                database.master_secret = Some(secret.arn().to_owned());
                secret.put(None, content(&database.master_username, &password), &[])?;
            }
        }
        Ok(())
    }

    /// A new password, in the secret of that ARN and in its database.
    pub(crate) fn rotate_master_password(
        &mut self,
        secret_arn: &str,
        token: Option<&str>,
    ) -> Result<(), AwsError> {
        let mut databases = self.rds.instances.values_mut();
        let database = databases
            .find(|database| database.master_secret.as_deref() == Some(secret_arn))
            .ok_or_else(|| not_found(secret_arn))?;
        if !matches!(database.status, Status::Available | Status::Modifying) {
            return Err(AwsError::new(
                "InvalidRequestException",
                format!("The database {} is {}: try again later", database.id, database.status.name()),
            ));
        }
        let password = password();
        database.pending_verifier = Some(check_password(&password)?);
        database.status = Status::Modifying;
        if let Some(secret) = self.secretsmanager.by_arn_mut(secret_arn) {
            secret.put(token, content(&database.master_username, &password), &[])?;
            secret.rotated = Some(Time::now());
        }
        Ok(())
    }

    /// The secrets of databases whose week is over.
    pub(crate) fn master_secret_due(&self, database: &str) -> Option<String> {
        let secret = self.rds.instances.get(database)?.master_secret.as_ref()?;
        self.secretsmanager
            .by_arn(secret)
            .filter(|secret| secret.is_due())
            .map(|secret| secret.arn().to_owned())
    }
}

/// 32 characters that every client takes.
fn password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// What RDS writes into the secret.
fn content(username: &str, password: &str) -> Content {
    Content::Text(json!({ "username": username, "password": password }).to_string())
}

pub(super) fn xml(xml: &mut Xml, region: &Region, database: &Database) {
    let Some(secret) = database.master_secret.as_ref().and_then(|arn| region.secretsmanager.by_arn(arn))
    else {
        return;
    };
    let status = match database.status {
        Status::Creating => "creating",
        Status::Modifying if database.pending_verifier.is_some() => "rotating",
        _ => "active",
    };
    xml.nest("MasterUserSecret", |xml| {
        xml.text("SecretArn", secret.arn())
            .text("SecretStatus", status)
            .optional("KmsKeyId", secret.key.as_ref());
    });
}
