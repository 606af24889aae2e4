//! A master password that RDS keeps in Secrets Manager: nobody gives one, and a new one makes an end of the old one.

use ops::clients::aws::request as ask;
use ops::error::Kind;
use serde_json::{Value, json};

use super::database::{available, database, request};
use super::{Cloud, Failure, Outcome, eventually, refused};

/// The password that the secret `arn` holds now.
async fn password(cloud: &Cloud, arn: &str) -> Result<String, Failure> {
    let answer = ask(&cloud.clients, "secretsmanager", "GetSecretValue", &json!({ "SecretId": arn })).await?;
    let kept: Value = serde_json::from_str(answer["SecretString"].as_str().expect("a text"))?;
    Ok(kept["password"].as_str().expect("a password").to_owned())
}

#[tokio::test]
async fn rds_keeps_the_master_password_and_rotates_it_every_week() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    let both = request(rds).manage_master_user_password(true).send().await;
    refused(both, "InvalidParameterCombination", Kind::Invalid);
    let neither = request(rds).set_master_user_password(None).send().await;
    refused(neither, "MissingParameter", Kind::Invalid);

    let made = request(rds).set_master_user_password(None).manage_master_user_password(true).send().await?;
    let made = made.db_instance().and_then(|made| made.master_user_secret()).expect("a secret");
    assert_eq!(made.secret_status(), Some("creating"));
    let instance = available(rds, "db").await?;
    let secret = instance.master_user_secret().expect("a secret");
    assert_eq!(secret.secret_status(), Some("active"));
    let arn = secret.secret_arn().expect("an ARN").to_owned();
    let described =
        ask(&cloud.clients, "secretsmanager", "DescribeSecret", &json!({ "SecretId": arn })).await?;
    assert_eq!(described["RotationRules"], json!({ "AutomaticallyAfterDays": 7 }), "{described}");

    // What RDS keeps, nobody else changes.
    let own = rds.modify_db_instance().db_instance_identifier("db").master_user_password("another-horse");
    refused(own.send().await, "InvalidParameterCombination", Kind::Invalid);

    let first = password(&cloud, &arn).await?;
    assert_eq!(cloud.sql(&instance, &first, "select 1").await?, "1");
    let rotate = rds.modify_db_instance().db_instance_identifier("db").rotate_master_user_password(true);
    rotate.apply_immediately(true).send().await?;
    let second = eventually("another password", async || {
        let now = password(&cloud, &arn).await?;
        let is_in = now != first && cloud.sql(&database(rds, "db").await?, &now, "select 1").await.is_ok();
        Ok(is_in.then_some(now))
    })
    .await?;
    let error = cloud.sql(&instance, &first, "select 1").await.expect_err("the old password is of no use");
    assert_eq!((error.kind, error.code.as_str()), (Kind::Denied, "28P01"));
    assert_eq!(cloud.sql(&instance, &second, "select 1").await?, "1");
    Ok(())
}
