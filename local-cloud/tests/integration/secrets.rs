//! Secrets Manager: versions and their labels, the recovery window, and the passwords that RDS keeps there.

use crate::harness::{Cloud, wait_for};
use crate::rds::query;

#[test]
fn a_new_value_becomes_the_current_one_and_the_old_one_the_previous() {
    Cloud::start().python(
        r#"
made = secretsmanager.create_secret(Name="music/mail", SecretString="first", Description="of the mail account",
                                    Tags=[dict(Key="a", Value="1")])
name, arn = "music/mail", made["ARN"]
assert arn.startswith("arn:aws:secretsmanager:us-east-1:000000000000:secret:music/mail-") and len(arn.split("-")[-1]) == 6, arn
refused("ResourceExistsException", secretsmanager.create_secret, Name=name, SecretString="x")
value = lambda **more: secretsmanager.get_secret_value(**dict(SecretId=name) | more)
assert value()["SecretString"] == "first" and value()["VersionStages"] == ["AWSCURRENT"]
second = secretsmanager.put_secret_value(SecretId=arn, SecretString="second")
assert second["VersionStages"] == ["AWSCURRENT"]
# By its name, its ARN, and its ARN without the random end.
for id in (name, arn, arn[:-7]):
    assert value(SecretId=id)["SecretString"] == "second"
assert value(VersionStage="AWSPREVIOUS")["SecretString"] == value(VersionId=made["VersionId"])["SecretString"] == "first"
refused("ResourceNotFoundException", value, VersionStage="NONE")
refused("ResourceNotFoundException", value, SecretId="none")
# A label of one's own does not move the current one.
secretsmanager.put_secret_value(SecretId=name, SecretString="third", VersionStages=["TRIAL"])
assert value()["SecretString"] == "second" and value(VersionStage="TRIAL")["SecretString"] == "third"
# The same token and value again is the same version; another value is refused.
token = "t" * 32
for _ in range(2):
    assert secretsmanager.put_secret_value(SecretId=name, SecretString="fourth", ClientRequestToken=token)["VersionId"] == token
refused("ResourceExistsException", secretsmanager.put_secret_value, SecretId=name, SecretString="x", ClientRequestToken=token)
described = secretsmanager.describe_secret(SecretId=name)
assert described["VersionIdsToStages"][token] == ["AWSCURRENT"] and described["Tags"] == [dict(Key="a", Value="1")]
assert described["Description"] == "of the mail account" and "RotationEnabled" not in described
secretsmanager.put_secret_value(SecretId=name, SecretBinary=b"\0\1")
assert value()["SecretBinary"] == b"\0\1" and "SecretString" not in value()
secretsmanager.update_secret(SecretId=name, Description="changed", SecretString="fifth")
assert value()["SecretString"] == "fifth" and value(VersionStage="AWSPREVIOUS")["SecretBinary"] == b"\0\1"
refused("InvalidParameterException", secretsmanager.put_secret_value, SecretId=name, SecretString="x" * 65537)
refused("ValidationException", secretsmanager.create_secret, Name="a b", SecretString="x")
secretsmanager.create_secret(Name="empty")
refused("ResourceNotFoundException", value, SecretId="empty")
assert os.stat(FOLDER + "/state.json").st_mode & 0o777 == 0o600
"#,
    );
}

#[test]
fn secrets_are_listed_by_name_and_tag_in_pages() {
    Cloud::start().python(
        r#"
for number in range(5):
    secretsmanager.create_secret(Name=f"a/{number}", SecretString="v", Tags=[dict(Key="stack", Value="a")])
secretsmanager.create_secret(Name="b/0", SecretString="v")
def names(page=2, **arguments):
    pages = secretsmanager.get_paginator("list_secrets").paginate(PaginationConfig=dict(PageSize=page), **arguments)
    return sorted(one["Name"] for page in pages for one in page["SecretList"])
assert len(names()) == 6
assert names(Filters=[dict(Key="name", Values=["a/"])]) == [f"a/{number}" for number in range(5)]
assert names(Filters=[dict(Key="name", Values=["!a/"])]) == ["b/0"]
assert len(names(Filters=[dict(Key="tag-key", Values=["stack"]), dict(Key="tag-value", Values=["a"])])) == 5
secretsmanager.untag_resource(SecretId="a/0", TagKeys=["stack"])
secretsmanager.tag_resource(SecretId="b/0", Tags=[dict(Key="stack", Value="b")])
assert names(Filters=[dict(Key="tag-key", Values=["stack"])]) == ["a/1", "a/2", "a/3", "a/4", "b/0"]
refused("InvalidParameterException", secretsmanager.list_secrets, Filters=[dict(Key="all", Values=["x"])])
refused("InvalidNextTokenException", secretsmanager.list_secrets, NextToken="?")
"#,
    );
}

#[test]
fn a_deleted_secret_can_be_restored_within_its_recovery_window() {
    let mut cloud = Cloud::start();
    cloud.python(
        r#"
for name in ("kept", "lost", "now"):
    secretsmanager.create_secret(Name=name, SecretString="v")
delete = secretsmanager.delete_secret
refused("InvalidParameterException", delete, SecretId="kept", RecoveryWindowInDays=6)
refused("InvalidParameterException", delete, SecretId="kept", RecoveryWindowInDays=7, ForceDeleteWithoutRecovery=True)
for name in ("kept", "lost"):
    days = (delete(SecretId=name, RecoveryWindowInDays=7)["DeletionDate"].timestamp() - time.time()) / 86400
    assert 6.9 < days < 7.1, days
refused("InvalidRequestException", delete, SecretId="kept")
refused("InvalidRequestException", secretsmanager.get_secret_value, SecretId="kept")
refused("InvalidRequestException", secretsmanager.put_secret_value, SecretId="kept", SecretString="x")
assert "scheduled for deletion" in refused("InvalidRequestException", secretsmanager.create_secret, Name="kept", SecretString="x")
assert "DeletedDate" in secretsmanager.describe_secret(SecretId="kept")
names = lambda **more: [one["Name"] for one in secretsmanager.list_secrets(**more)["SecretList"]]
assert names() == ["now"] and sorted(names(IncludePlannedDeletion=True)) == ["kept", "lost", "now"]
secretsmanager.restore_secret(SecretId="kept")
assert secretsmanager.get_secret_value(SecretId="kept")["SecretString"] == "v"
for _ in range(2):
    delete(SecretId="now", ForceDeleteWithoutRecovery=True)
refused("ResourceNotFoundException", secretsmanager.describe_secret, SecretId="now")
secretsmanager.create_secret(Name="now", SecretString="again")
"#,
    );
    // Eight days later.
    cloud.kill();
    age(&cloud, &["secretsmanager", "secrets", "lost", "deletion", "due"]);
    cloud.restart();
    cloud.python(
        r#"
refused("ResourceNotFoundException", secretsmanager.describe_secret, SecretId="lost")
secretsmanager.create_secret(Name="lost", SecretString="another")
assert secretsmanager.get_secret_value(SecretId="kept")["SecretString"] == "v"
"#,
    );
}

/// Moves a time in the state of a local cloud that does not run eight days back. `*` is the only member of that level.
fn age(cloud: &Cloud, path: &[&str]) {
    let file = cloud.path().join("state.json");
    let mut state: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).expect("the state")).expect("JSON");
    let mut place = &mut state["regions"]["us-east-1"];
    for part in path {
        place = match *part {
            "*" => place.as_object_mut().and_then(|map| map.values_mut().next()).expect("a member"),
            name => &mut place[name],
        };
    }
    *place = (place.as_i64().expect("a time") - 8 * 24 * 3600 * 1000).into();
    std::fs::write(&file, state.to_string()).expect("the state is written");
}

/// Logs in as the master user with the password that the secret holds now.
const LOGIN: &str = r#"
secret = database()["MasterUserSecret"]["SecretArn"]
held = json.loads(secretsmanager.get_secret_value(SecretId=secret)["SecretString"])
assert held["username"] == "owner", held["username"]
print(held["password"])
"#;

#[test]
fn rds_keeps_the_master_password_and_rotates_it_every_week() {
    let mut cloud = Cloud::start();
    let port = cloud.python(
        r#"
managed = {key: value for key, value in DB.items() if key != "MasterUserPassword"}
refused("InvalidParameterCombination", rds.create_db_instance, **DB, ManageMasterUserPassword=True)
refused("MissingParameter", rds.create_db_instance, **managed)
made = rds.create_db_instance(**managed, ManageMasterUserPassword=True)["DBInstance"]
assert made["MasterUserSecret"]["SecretStatus"] == "creating", made
print(available()["Endpoint"]["Port"])
secret = database()["MasterUserSecret"]
assert secret["SecretStatus"] == "active" and ":secret:rds!db-" in secret["SecretArn"], secret
described = secretsmanager.describe_secret(SecretId=secret["SecretArn"])
assert described["OwningService"] == "rds" and described["RotationRules"] == dict(AutomaticallyAfterDays=7), described
# What RDS keeps, nobody else changes.
for call in (secretsmanager.put_secret_value, secretsmanager.update_secret):
    refused("InvalidRequestException", call, SecretId=secret["SecretArn"], SecretString="x")
refused("InvalidRequestException", secretsmanager.delete_secret, SecretId=secret["SecretArn"])
refused("InvalidParameterCombination", rds.modify_db_instance, DBInstanceIdentifier="db", MasterUserPassword="another-horse")
"#,
    );
    let first = cloud.python(LOGIN);
    assert_eq!(query(&port, "owner", &first, "select 1").as_deref(), Ok("1"));

    // Somebody asks for another one.
    cloud.python(
        r#"
rotate = dict(DBInstanceIdentifier="db", RotateMasterUserPassword=True)
refused("InvalidParameterCombination", rds.modify_db_instance, **rotate)
assert rds.modify_db_instance(**rotate, ApplyImmediately=True)["DBInstance"]["MasterUserSecret"]
available()
secret = database()["MasterUserSecret"]["SecretArn"]
secretsmanager.rotate_secret(SecretId=secret)
available()
assert secretsmanager.get_secret_value(SecretId=secret, VersionStage="AWSPREVIOUS")["SecretString"]
secretsmanager.create_secret(Name="mine", SecretString="x")
refused("InvalidRequestException", secretsmanager.rotate_secret, SecretId="mine")
"#,
    );
    let second = cloud.python(LOGIN);
    assert_ne!(first, second);
    assert!(query(&port, "owner", &first, "select 1").is_err());
    assert_eq!(query(&port, "owner", &second, "select 1").as_deref(), Ok("1"));

    // A week passes.
    cloud.python("secretsmanager.delete_secret(SecretId='mine', ForceDeleteWithoutRecovery=True)");
    cloud.kill();
    age(&cloud, &["secretsmanager", "secrets", "*", "rotated"]);
    cloud.restart();
    let mut third = String::new();
    wait_for("the password of the next week", || {
        third = cloud.python(&format!("available()\n{LOGIN}"));
        third != second && query(&port, "owner", &third, "select 1").as_deref() == Ok("1")
    });
    assert!(query(&port, "owner", &second, "select 1").is_err());

    // Handed over to somebody who keeps it, and taken back; it goes with the instance.
    cloud.python(
        r#"
secret = database()["MasterUserSecret"]["SecretArn"]
refused("InvalidParameterCombination", rds.modify_db_instance, DBInstanceIdentifier="db", ManageMasterUserPassword=False)
rds.modify_db_instance(DBInstanceIdentifier="db", ManageMasterUserPassword=False, MasterUserPassword="correct-horse")
assert "MasterUserSecret" not in available()
refused("ResourceNotFoundException", secretsmanager.describe_secret, SecretId=secret)
"#,
    );
    assert_eq!(query(&port, "owner", "correct-horse", "select 1").as_deref(), Ok("1"));
    cloud.python(
        r#"
rds.modify_db_instance(DBInstanceIdentifier="db", ManageMasterUserPassword=True)
secret = available()["MasterUserSecret"]["SecretArn"]
rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
refused("ResourceNotFoundException", secretsmanager.describe_secret, SecretId=secret)
rds.get_waiter("db_instance_deleted").wait(DBInstanceIdentifier="db", WaiterConfig=dict(Delay=1))
"#,
    );
}

#[test]
fn a_restored_database_gets_a_secret_of_its_own() {
    let cloud = Cloud::start();
    let port = cloud.python(
        r#"
managed = {key: value for key, value in DB.items() if key != "MasterUserPassword"}
rds.create_db_instance(**managed, ManageMasterUserPassword=True)
available()
rds.create_db_snapshot(DBSnapshotIdentifier="s", DBInstanceIdentifier="db")
rds.get_waiter("db_snapshot_available").wait(DBSnapshotIdentifier="s", WaiterConfig=dict(Delay=1))
restore = lambda id, **more: rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier=id, DBSnapshotIdentifier="s", **more)
restore("copy", ManageMasterUserPassword=True)
restore("plain")
source, copy = database()["MasterUserSecret"]["SecretArn"], database("copy")["MasterUserSecret"]["SecretArn"]
assert source != copy and "MasterUserSecret" not in database("plain")
available("plain")
print(available("copy")["Endpoint"]["Port"])
"#,
    );
    let password = cloud.python(&LOGIN.replace("database()", "database('copy')"));
    assert_eq!(query(&port, "owner", &password, "select 1").as_deref(), Ok("1"));
}
