//! RDS with a real PostgreSQL behind it: life cycle, roles, the guards around deletion, snapshots that hold the rows.

use crate::harness::Cloud;

fn sql(port: &str, statement: &str) -> Result<String, String> {
    query(port, "owner", "correct-horse", statement)
}

pub(crate) fn query(port: &str, user: &str, password: &str, statement: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let config = format!("host=127.0.0.1 port={port} user={user} password={password} dbname=music");
        let words = |error: tokio_postgres::Error| format!("{error}: {:?}", error.as_db_error());
        let (client, connection) =
            tokio_postgres::connect(&config, tokio_postgres::NoTls).await.map_err(words)?;
        tokio::spawn(connection);
        let rows = client.simple_query(statement).await.map_err(words)?;
        let first = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_string),
            _ => None,
        });
        Ok(first.unwrap_or_default())
    })
}

const CREATE: &str = r#"
rds.create_db_instance(**DB)
print(available()["Endpoint"]["Port"])
"#;

#[test]
fn a_database_that_is_being_created_has_no_endpoint() {
    let cloud = Cloud::start();
    let port = cloud.python(
        r#"
made = rds.create_db_instance(**DB, StorageEncrypted=True, Tags=[dict(Key="ops:stack", Value="a")])["DBInstance"]
assert made["DBInstanceStatus"] == "creating" and "Endpoint" not in made, made
assert "Endpoint" not in database()
refused("InvalidDBInstanceState", rds.delete_db_instance, DBInstanceIdentifier="db", SkipFinalSnapshot=True)
refused("DBInstanceAlreadyExists", rds.create_db_instance, **DB)
found = available()
assert found["StorageEncrypted"] and found["TagList"] == [dict(Key="ops:stack", Value="a")]
print(found["Endpoint"]["Port"])
"#,
    );
    assert_eq!(
        sql(&port, "create table t (a int); insert into t values (7); select a from t").as_deref(),
        Ok("7")
    );
    assert_eq!(sql(&port, "select rolsuper from pg_roles where rolname = current_user").as_deref(), Ok("f"));
    assert_eq!(sql(&port, "select pg_has_role('rds_superuser', 'member')").as_deref(), Ok("t"));
    assert_eq!(sql(&port, "show fsync").as_deref(), Ok("on"));
    assert_eq!(sql(&port, "create role reader login; select 'made'").as_deref(), Ok("made"));
    assert!(query(&port, "owner", "wrong", "select 1").is_err());
}

#[test]
fn what_a_database_is_made_from_is_checked() {
    Cloud::start().python(
        r#"
def create(code, **changes):
    return refused(code, rds.create_db_instance, **DB | changes)
create("InvalidParameterValue", DBInstanceIdentifier="-db")
create("InvalidParameterValue", Engine="mysql")
create("InvalidParameterCombination", EngineVersion="9.4")
create("InvalidParameterValue", DBInstanceClass="db.x")
create("InvalidParameterValue", AllocatedStorage=5)
create("InvalidParameterValue", MasterUserPassword="short")
create("InvalidParameterValue", MasterUsername="rdsadmin")
create("InvalidParameterValue", VpcSecurityGroupIds=["sg-00000000000000000"])
create("DBSubnetGroupNotFoundFault", DBSubnetGroupName="none")
refused("DBInstanceNotFound", database)
subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
refused("DBSubnetGroupDoesNotCoverEnoughAZs", rds.create_db_subnet_group, DBSubnetGroupName="g", DBSubnetGroupDescription="d", SubnetIds=subnets[:1])
rds.create_db_subnet_group(DBSubnetGroupName="g", DBSubnetGroupDescription="d", SubnetIds=subnets)
refused("DBSubnetGroupAlreadyExists", rds.create_db_subnet_group, DBSubnetGroupName="g", DBSubnetGroupDescription="d", SubnetIds=subnets)
group = ec2.create_security_group(GroupName="db", Description="d")["GroupId"]
rds.create_db_instance(**DB, DBSubnetGroupName="g", VpcSecurityGroupIds=[group])
refused("InvalidDBSubnetGroupStateFault", rds.delete_db_subnet_group, DBSubnetGroupName="g")
refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
assert len(available()["DBSubnetGroup"]["Subnets"]) == 3
version = rds.describe_db_engine_versions(Engine="postgres")["DBEngineVersions"][0]["EngineVersion"]
assert database()["EngineVersion"] == version
"#,
    );
}

#[test]
fn deleting_has_guards_and_takes_a_while() {
    let cloud = Cloud::start();
    cloud.python(CREATE);
    cloud.python(
        r#"
rds.modify_db_instance(DBInstanceIdentifier="db", DeletionProtection=True, ApplyImmediately=True)
available()
refused("InvalidParameterCombination", rds.delete_db_instance, DBInstanceIdentifier="db", SkipFinalSnapshot=True)
rds.modify_db_instance(DBInstanceIdentifier="db", DeletionProtection=False, ApplyImmediately=True)
available()
refused("InvalidParameterCombination", rds.delete_db_instance, DBInstanceIdentifier="db")
refused("InvalidParameterCombination", rds.delete_db_instance, DBInstanceIdentifier="db", SkipFinalSnapshot=True, FinalDBSnapshotIdentifier="s")
rds.create_db_snapshot(DBSnapshotIdentifier="s", DBInstanceIdentifier="db")
rds.get_waiter("db_snapshot_available").wait(DBSnapshotIdentifier="s", WaiterConfig=dict(Delay=1))
available()
refused("DBSnapshotAlreadyExists", rds.delete_db_instance, DBInstanceIdentifier="db", FinalDBSnapshotIdentifier="s")
rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
assert database()["DBInstanceStatus"] == "deleting"
refused("InvalidDBInstanceState", rds.delete_db_instance, DBInstanceIdentifier="db", SkipFinalSnapshot=True)
rds.get_waiter("db_instance_deleted").wait(DBInstanceIdentifier="db", WaiterConfig=dict(Delay=1))
rds.delete_db_snapshot(DBSnapshotIdentifier="s")
refused("DBSnapshotNotFound", rds.describe_db_snapshots, DBSnapshotIdentifier="s")
"#,
    );
}

#[test]
fn a_final_snapshot_brings_the_rows_back() {
    let cloud = Cloud::start();
    let port = cloud.python(CREATE);
    sql(&port, "create table t (a int); insert into t values (42)").expect("the row is written");
    let port = cloud.python(
        r#"
rds.delete_db_instance(DBInstanceIdentifier="db", FinalDBSnapshotIdentifier="last")
rds.get_waiter("db_instance_deleted").wait(DBInstanceIdentifier="db", WaiterConfig=dict(Delay=1))
assert rds.describe_db_snapshots(DBSnapshotIdentifier="last")["DBSnapshots"][0]["Status"] == "available"
rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="again", DBSnapshotIdentifier="last", DBInstanceClass="db.t3.micro")
print(available("again")["Endpoint"]["Port"])
"#,
    );
    assert_eq!(sql(&port, "select a from t").as_deref(), Ok("42"));
}

#[test]
fn a_snapshot_of_a_running_database_holds_its_rows() {
    let cloud = Cloud::start();
    let port = cloud.python(CREATE);
    sql(&port, "create table t (a int); insert into t values (1)").expect("the row is written");
    cloud.python(
        r#"
rds.create_db_snapshot(DBSnapshotIdentifier="s", DBInstanceIdentifier="db")
rds.get_waiter("db_snapshot_available").wait(DBSnapshotIdentifier="s", WaiterConfig=dict(Delay=1))
"#,
    );
    sql(&port, "update t set a = 2").expect("the row is changed");
    let restored = cloud.python(
        r#"
rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="copy", DBSnapshotIdentifier="s")
print(available("copy")["Endpoint"]["Port"])
"#,
    );
    assert_eq!(sql(&restored, "select a from t").as_deref(), Ok("1"));
    assert_eq!(sql(&port, "select a from t").as_deref(), Ok("2"));
}

#[test]
fn a_stopped_database_keeps_its_rows_and_answers_nobody() {
    let cloud = Cloud::start();
    let port = cloud.python(CREATE);
    sql(&port, "create table t (a int); insert into t values (3)").expect("the row is written");
    cloud.python(
        r#"
refused("InvalidDBInstanceState", rds.start_db_instance, DBInstanceIdentifier="db")
refused("InvalidParameterCombination", rds.stop_db_instance, DBInstanceIdentifier="db", DBSnapshotIdentifier="s")
assert rds.stop_db_instance(DBInstanceIdentifier="db")["DBInstance"]["DBInstanceStatus"] == "stopping"
refused("InvalidDBInstanceState", rds.stop_db_instance, DBInstanceIdentifier="db")
wait("stopped", lambda: database()["DBInstanceStatus"] == "stopped")
refused("InvalidDBInstanceState", rds.modify_db_instance, DBInstanceIdentifier="db", AllocatedStorage=30)
refused("InvalidDBInstanceState", rds.reboot_db_instance, DBInstanceIdentifier="db")
refused("InvalidDBInstanceState", rds.create_db_snapshot, DBInstanceIdentifier="db", DBSnapshotIdentifier="s")
refused("DBInstanceNotFound", rds.stop_db_instance, DBInstanceIdentifier="other")
assert database()["Endpoint"]["Port"]
"#,
    );
    assert!(sql(&port, "select 1").is_err(), "nobody answers");
    cloud.python(
        r#"
assert rds.start_db_instance(DBInstanceIdentifier="db")["DBInstance"]["DBInstanceStatus"] == "starting"
available()
"#,
    );
    assert_eq!(sql(&port, "select a from t").as_deref(), Ok("3"));
    cloud.python(
        r#"
rds.stop_db_instance(DBInstanceIdentifier="db")
wait("stopped", lambda: database()["DBInstanceStatus"] == "stopped")
rds.delete_db_instance(DBInstanceIdentifier="db", FinalDBSnapshotIdentifier="last")
rds.get_waiter("db_instance_deleted").wait(DBInstanceIdentifier="db", WaiterConfig=dict(Delay=1))
assert rds.describe_db_snapshots(DBSnapshotIdentifier="last")["DBSnapshots"][0]["Status"] == "available"
"#,
    );
}

#[test]
fn a_new_master_password_is_the_only_one() {
    let cloud = Cloud::start();
    let port = cloud.python(CREATE);
    cloud.python(
        r#"
rds.modify_db_instance(DBInstanceIdentifier="db", MasterUserPassword="another-horse", ApplyImmediately=True)
available()
state = open(FOLDER + "/state.json").read()
assert "another-horse" not in state and "correct-horse" not in state
"#,
    );
    assert!(sql(&port, "select 1").is_err());
    assert_eq!(query(&port, "owner", "another-horse", "select 1").as_deref(), Ok("1"));
}

#[test]
fn settings_that_wait_are_shown_as_pending_and_tags_are_kept() {
    let cloud = Cloud::start();
    cloud.python(CREATE);
    cloud.python(
        r#"
arn = database()["DBInstanceArn"]
rds.add_tags_to_resource(ResourceName=arn, Tags=[dict(Key="a", Value="1"), dict(Key="b", Value="2")])
rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["a"])
assert rds.list_tags_for_resource(ResourceName=arn)["TagList"] == [dict(Key="b", Value="2")]
refused("DBInstanceNotFound", rds.list_tags_for_resource, ResourceName=arn + "x")
rds.modify_db_instance(DBInstanceIdentifier="db", AllocatedStorage=30, BackupRetentionPeriod=7)
found = available()
assert (found["AllocatedStorage"], found["BackupRetentionPeriod"], found["PendingModifiedValues"]["AllocatedStorage"]) == (20, 7, 30)
rds.modify_db_instance(DBInstanceIdentifier="db", ApplyImmediately=True)
assert available()["AllocatedStorage"] == 30
refused("InvalidParameterCombination", rds.modify_db_instance, DBInstanceIdentifier="db", AllocatedStorage=20)
assert rds.describe_orderable_db_instance_options(Engine="postgres", DBInstanceClass="db.t3.micro")["OrderableDBInstanceOptions"]
refused("InvalidParameterValue", rds.describe_db_instances, Filters=[dict(Name="nope", Values=["a"])])
"#,
    );
}

#[test]
fn a_client_can_verify_the_servers_certificate() {
    let cloud = Cloud::start();
    let port = cloud.python(CREATE);
    let authority = cloud.path().join("rds-ca.pem");
    let connect = |host: &str, authority: &std::path::Path| {
        let bin = local_cloud::postgres::find().expect("PostgreSQL is installed").folder;
        std::process::Command::new(bin.join("psql"))
            .arg(format!(
                "host={host} port={port} user=owner dbname=music sslmode=verify-full sslrootcert={}",
                authority.display()
            ))
            .args(["-Atc", "select ssl from pg_stat_ssl where pid = pg_backend_pid()"])
            .env("PGPASSWORD", "correct-horse")
            .output()
            .expect("psql runs")
    };
    for host in ["127.0.0.1", "localhost"] {
        let output = connect(host, &authority);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            "t",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let other = Cloud::start();
    assert!(!connect("127.0.0.1", &other.path().join("rds-ca.pem")).status.success());
}

#[test]
fn a_parameter_group_can_demand_tls() {
    let cloud = Cloud::start();
    let port = cloud.python(
        r#"
family = rds.describe_db_engine_versions(Engine="postgres")["DBEngineVersions"][0]["DBParameterGroupFamily"]
def group(name="tls", **more):
    return rds.create_db_parameter_group(**dict(DBParameterGroupName=name, DBParameterGroupFamily=family, Description="d") | more)
refused("InvalidParameterValue", group, DBParameterGroupFamily="postgres1")
group()
refused("DBParameterGroupAlreadyExists", group)
def demand(value, name="tls"):
    parameter = dict(ParameterName="rds.force_ssl", ParameterValue=value, ApplyMethod="immediate")
    rds.modify_db_parameter_group(DBParameterGroupName=name, Parameters=[parameter])
refused("InvalidParameterValue", demand, value="2")
refused("InvalidParameterValue", demand, value="1", name="default." + family)
refused("DBParameterGroupNotFound", demand, value="1", name="none")
demand("1")
shown = rds.describe_db_parameters(DBParameterGroupName="tls", Source="user")["Parameters"]
assert [(one["ParameterName"], one["ParameterValue"]) for one in shown] == [("rds.force_ssl", "1")], shown
refused("DBParameterGroupNotFound", rds.create_db_instance, **DB, DBParameterGroupName="none")
rds.create_db_instance(**DB)
assert available()["DBParameterGroups"][0]["DBParameterGroupName"] == "default." + family
print(available()["Endpoint"]["Port"])
"#,
    );
    assert_eq!(sql(&port, "select 1").as_deref(), Ok("1"));
    cloud.python(
        r#"
rds.modify_db_instance(DBInstanceIdentifier="db", DBParameterGroupName="tls", ApplyImmediately=True)
assert available()["DBParameterGroups"][0]["DBParameterGroupName"] == "tls"
refused("InvalidDBParameterGroupState", rds.delete_db_parameter_group, DBParameterGroupName="tls")
"#,
    );
    let refused = sql(&port, "select 1").expect_err("the connection is without TLS");
    assert!(refused.contains("no encryption"), "{refused}");
    cloud.python(
        r#"
parameters = [dict(ParameterName="rds.force_ssl", ParameterValue="0", ApplyMethod="immediate"),
              dict(ParameterName="statement_timeout", ParameterValue="12345", ApplyMethod="immediate")]
rds.modify_db_parameter_group(DBParameterGroupName="tls", Parameters=parameters)
available()
"#,
    );
    assert_eq!(sql(&port, "show statement_timeout").as_deref(), Ok("12345ms"));
}

#[test]
fn a_protected_database_is_not_deleted() {
    Cloud::start().python(
        r#"
rds.create_db_instance(**DB, DeletionProtection=True)
available()
refused("InvalidParameterCombination", rds.delete_db_instance, DBInstanceIdentifier="db", SkipFinalSnapshot=True)
assert database()["DBInstanceStatus"] == "available"
"#,
    );
}

#[test]
fn a_database_goes_with_a_final_snapshot_or_a_word_that_there_is_none() {
    Cloud::start().python(
        r#"
rds.create_db_instance(**DB)
available()
refused("InvalidParameterCombination", rds.delete_db_instance, DBInstanceIdentifier="db")
assert database()["DBInstanceStatus"] == "available"
"#,
    );
}

#[test]
fn a_reboot_ends_sessions_and_keeps_rows() {
    let cloud = Cloud::start();
    let port = cloud.python(CREATE);
    sql(&port, "create table t (a int); insert into t values (7)").expect("the row is written");
    let started = sql(&port, "select pg_postmaster_start_time()").expect("a time");
    cloud.python(
        r#"
refused("DBInstanceNotFound", rds.reboot_db_instance, DBInstanceIdentifier="none")
refused("InvalidParameterCombination", rds.reboot_db_instance, DBInstanceIdentifier="db", ForceFailover=True)
assert rds.reboot_db_instance(DBInstanceIdentifier="db")["DBInstance"]["DBInstanceStatus"] == "rebooting"
refused("InvalidDBInstanceState", rds.reboot_db_instance, DBInstanceIdentifier="db")
available()
"#,
    );
    assert_ne!(sql(&port, "select pg_postmaster_start_time()"), Ok(started));
    assert_eq!(sql(&port, "select a from t").as_deref(), Ok("7"));
}
