//! RDS with a real PostgreSQL behind it: life cycle, what a database is made from, the guards around deletion, snapshots.

use aws_sdk_rds::Client;
use aws_sdk_rds::client::Waiters;
use aws_sdk_rds::operation::create_db_instance::builders::CreateDBInstanceFluentBuilder;
use aws_sdk_rds::types::DbInstance;
use ops::clients::postgres::{Login, connect};
use ops::error::{Error, Kind};
use ops::secret::Secret;

use super::security_group::group;
use super::{Cloud, Failure, Outcome, PATIENCE, eventually, refused};

const PASSWORD: &str = "correct-horse";

/// The smallest request for a database.
pub(super) fn request(rds: &Client) -> CreateDBInstanceFluentBuilder {
    rds.create_db_instance()
        .db_instance_identifier("db")
        .engine("postgres")
        .db_instance_class("db.t3.micro")
        .allocated_storage(20)
        .master_username("owner")
        .master_user_password(PASSWORD)
        .db_name("music")
}

pub(super) async fn database(rds: &Client, id: &str) -> Result<DbInstance, Failure> {
    Ok(rds.describe_db_instances().db_instance_identifier(id).send().await?.db_instances()[0].clone())
}

pub(super) async fn available(rds: &Client, id: &str) -> Result<DbInstance, Failure> {
    eventually(&format!("{id} to be available"), async || {
        Ok(Some(database(rds, id).await?)
            .filter(|database| database.db_instance_status() == Some("available")))
    })
    .await
}

/// Waits until a database that is being deleted is not found.
async fn gone(rds: &Client, id: &str) -> Result<(), Failure> {
    eventually(&format!("{id} to be gone"), async || {
        match rds.describe_db_instances().db_instance_identifier(id).send().await {
            Ok(_) => Ok(None),
            found => Ok(Some(refused(found, "DBInstanceNotFound", Kind::NotFound))),
        }
    })
    .await?;
    Ok(())
}

impl Cloud {
    /// The first column of the first row, over TLS with the local cloud's authority.
    pub(super) async fn sql(
        &self,
        database: &DbInstance,
        password: &str,
        statement: &'static str,
    ) -> Result<String, Error> {
        let endpoint = database.endpoint().expect("an available database has an endpoint");
        let login = Login {
            host: endpoint.address().expect("an address").to_owned(),
            port: endpoint.port().and_then(|port| u16::try_from(port).ok()).expect("a port"),
            database: "music".into(),
            user: "owner".into(),
            password: Secret::new(password),
            through: None,
        };
        let authority = self.project.path(".ops/local/rds-ca.pem");
        // The driver runs a runtime of its own and panics inside another one.
        tokio::task::spawn_blocking(move || {
            let mut session = connect(&login, &authority)?;
            let rows = session.client().simple_query(statement).expect("the statement runs");
            let first = rows.iter().find_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            Ok(first.unwrap_or_default())
        })
        .await
        .expect("the query ends")
    }
}

#[tokio::test]
async fn a_database_has_no_endpoint_until_it_is_available_and_then_answers_sql() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    let made = request(rds).send().await?;
    let made = made.db_instance().expect("the database");
    assert_eq!((made.db_instance_status(), made.endpoint()), (Some("creating"), None));
    assert_eq!(database(rds, "db").await?.endpoint(), None);
    let deleted =
        rds.delete_db_instance().db_instance_identifier("db").skip_final_snapshot(true).send().await;
    refused(deleted, "InvalidDBInstanceState", Kind::Conflict);
    let database = available(rds, "db").await?;
    // The SDK's own waiter understands the answer as well.
    rds.wait_until_db_instance_available().db_instance_identifier("db").wait(PATIENCE).await?;
    let made =
        cloud.sql(&database, PASSWORD, "create table t (a int); insert into t values (7); select a from t");
    assert_eq!(made.await?, "7");
    let is_super = "select rolsuper from pg_roles where rolname = current_user";
    assert_eq!(cloud.sql(&database, PASSWORD, is_super).await?, "f");
    let encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(cloud.sql(&database, PASSWORD, encrypted).await?, "t");
    let error = cloud.sql(&database, "wrong", "select 1").await.expect_err("the password is wrong");
    assert_eq!((error.kind, error.code.as_str()), (Kind::Denied, "28P01"));
    Ok(())
}

#[tokio::test]
async fn a_second_database_of_the_same_name_is_refused() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    request(rds).send().await?;
    refused(request(rds).send().await, "DBInstanceAlreadyExists", Kind::Exists);
    available(rds, "db").await?;
    refused(request(rds).send().await, "DBInstanceAlreadyExists", Kind::Exists);
    Ok(())
}

#[tokio::test]
async fn a_database_or_a_snapshot_that_is_not_there_is_not_found() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    let described = rds.describe_db_instances().db_instance_identifier("none").send().await;
    refused(described, "DBInstanceNotFound", Kind::NotFound);
    let deleted =
        rds.delete_db_instance().db_instance_identifier("none").skip_final_snapshot(true).send().await;
    refused(deleted, "DBInstanceNotFound", Kind::NotFound);
    let modified =
        rds.modify_db_instance().db_instance_identifier("none").deletion_protection(true).send().await;
    refused(modified, "DBInstanceNotFound", Kind::NotFound);
    let described = rds.describe_db_snapshots().db_snapshot_identifier("none").send().await;
    refused(described, "DBSnapshotNotFound", Kind::NotFound);
    let restored = rds.restore_db_instance_from_db_snapshot().db_instance_identifier("db");
    refused(restored.db_snapshot_identifier("none").send().await, "DBSnapshotNotFound", Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn what_a_database_is_made_from_is_checked() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    let invalid = |wrong: CreateDBInstanceFluentBuilder| async move {
        refused(wrong.send().await, "InvalidParameterValue", Kind::Invalid)
    };
    let error = invalid(request(rds).master_user_password("short")).await;
    assert!(error.message.contains("8 to 128") && !error.message.contains("short"), "{error}");
    invalid(request(rds).db_instance_class("db.x")).await;
    invalid(request(rds).engine("mysql")).await;
    invalid(request(rds).allocated_storage(5)).await;
    invalid(request(rds).db_instance_identifier("-db")).await;
    invalid(request(rds).master_username("rdsadmin")).await;
    invalid(request(rds).vpc_security_group_ids("sg-00000000000000000")).await;
    let version = request(rds).engine_version("9.4").send().await;
    refused(version, "InvalidParameterCombination", Kind::Invalid);
    let group = request(rds).db_subnet_group_name("none").send().await;
    refused(group, "DBSubnetGroupNotFoundFault", Kind::NotFound);
    assert!(rds.describe_db_instances().send().await?.db_instances().is_empty(), "something was made");
    Ok(())
}

#[tokio::test]
async fn the_groups_of_a_database_cannot_be_deleted() -> Outcome {
    let cloud = Cloud::start().await;
    let (ec2, rds) = (&cloud.clients.ec2, &cloud.clients.rds);
    let found = ec2.describe_subnets().send().await?;
    let subnets: Vec<_> = found.subnets().iter().filter_map(|subnet| subnet.subnet_id.clone()).collect();
    let create = |subnets: &[String]| {
        let request = rds.create_db_subnet_group().db_subnet_group_name("g").db_subnet_group_description("d");
        request.set_subnet_ids(Some(subnets.to_vec())).send()
    };
    refused(create(&subnets[..1]).await, "DBSubnetGroupDoesNotCoverEnoughAZs", Kind::Invalid);
    create(&subnets).await?;
    refused(create(&subnets).await, "DBSubnetGroupAlreadyExists", Kind::Exists);

    let security_group = group(ec2, "db").await?;
    request(rds).db_subnet_group_name("g").vpc_security_group_ids(&security_group).send().await?;
    let delete = || rds.delete_db_subnet_group().db_subnet_group_name("g").send();
    refused(delete().await, "InvalidDBSubnetGroupStateFault", Kind::Conflict);
    let used = ec2.delete_security_group().group_id(&security_group).send().await;
    refused(used, "DependencyViolation", Kind::Conflict);

    available(rds, "db").await?;
    rds.delete_db_instance().db_instance_identifier("db").skip_final_snapshot(true).send().await?;
    gone(rds, "db").await?;
    delete().await?;
    refused(delete().await, "DBSubnetGroupNotFoundFault", Kind::NotFound);
    ec2.delete_security_group().group_id(&security_group).send().await?;
    Ok(())
}

#[tokio::test]
async fn a_protected_database_is_not_deleted() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    request(rds).deletion_protection(true).send().await?;
    available(rds, "db").await?;
    let delete = || rds.delete_db_instance().db_instance_identifier("db").skip_final_snapshot(true).send();
    let error = refused(delete().await, "InvalidParameterCombination", Kind::Invalid);
    assert!(error.message.contains("deletion protection"), "{error}");
    let off = rds.modify_db_instance().db_instance_identifier("db").deletion_protection(false);
    off.apply_immediately(true).send().await?;
    available(rds, "db").await?;
    delete().await?;
    gone(rds, "db").await
}

#[tokio::test]
async fn a_database_goes_with_a_final_snapshot_or_a_word_that_there_is_none() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    request(rds).send().await?;
    available(rds, "db").await?;
    let delete = || rds.delete_db_instance().db_instance_identifier("db");
    let error = refused(delete().send().await, "InvalidParameterCombination", Kind::Invalid);
    assert!(error.message.contains("FinalDBSnapshotIdentifier"), "{error}");
    let both = delete().skip_final_snapshot(true).final_db_snapshot_identifier("s").send().await;
    refused(both, "InvalidParameterCombination", Kind::Invalid);
    rds.create_db_snapshot().db_snapshot_identifier("s").db_instance_identifier("db").send().await?;
    available(rds, "db").await?;
    let taken = delete().final_db_snapshot_identifier("s").send().await;
    refused(taken, "DBSnapshotAlreadyExists", Kind::Exists);
    Ok(())
}

#[tokio::test]
async fn a_database_is_deleting_for_a_while() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    request(rds).send().await?;
    available(rds, "db").await?;
    let delete = || rds.delete_db_instance().db_instance_identifier("db").skip_final_snapshot(true).send();
    delete().await?;
    assert_eq!(database(rds, "db").await?.db_instance_status(), Some("deleting"));
    refused(delete().await, "InvalidDBInstanceState", Kind::Conflict);
    gone(rds, "db").await
}

#[tokio::test]
async fn a_final_snapshot_brings_the_rows_back() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    request(rds).send().await?;
    let first = available(rds, "db").await?;
    cloud.sql(&first, PASSWORD, "create table t (a int); insert into t values (42)").await?;
    let delete = rds.delete_db_instance().db_instance_identifier("db");
    delete.final_db_snapshot_identifier("last").send().await?;
    gone(rds, "db").await?;
    let found = rds.describe_db_snapshots().db_snapshot_identifier("last").send().await?;
    assert_eq!(found.db_snapshots()[0].status(), Some("available"));

    let restore = || {
        let request = rds.restore_db_instance_from_db_snapshot().db_snapshot_identifier("last");
        request.db_instance_identifier("again").db_instance_class("db.t3.micro").send()
    };
    restore().await?;
    refused(restore().await, "DBInstanceAlreadyExists", Kind::Exists);
    let deleted = rds.delete_db_snapshot().db_snapshot_identifier("last").send().await;
    refused(deleted, "InvalidDBSnapshotState", Kind::Conflict);
    let restored = available(rds, "again").await?;
    assert_eq!(cloud.sql(&restored, PASSWORD, "select a from t").await?, "42");
    Ok(())
}

#[tokio::test]
async fn changes_that_wait_are_pending_and_a_new_password_is_the_only_one() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    request(rds).send().await?;
    available(rds, "db").await?;
    let modify = || rds.modify_db_instance().db_instance_identifier("db");
    modify().allocated_storage(30).send().await?;
    let waiting = available(rds, "db").await?;
    let pending = waiting.pending_modified_values().and_then(|values| values.allocated_storage());
    assert_eq!((waiting.allocated_storage(), pending), (Some(20), Some(30)));

    modify().master_user_password("another-horse").apply_immediately(true).send().await?;
    let changed = available(rds, "db").await?;
    assert_eq!(changed.allocated_storage(), Some(30));
    assert_eq!(cloud.sql(&changed, "another-horse", "select 1").await?, "1");
    let error = cloud.sql(&changed, PASSWORD, "select 1").await.expect_err("it was replaced");
    assert_eq!(error.code, "28P01");
    refused(modify().allocated_storage(20).send().await, "InvalidParameterCombination", Kind::Invalid);
    Ok(())
}

#[tokio::test]
async fn a_database_stops_and_starts_again() -> Outcome {
    let cloud = Cloud::start().await;
    let rds = &cloud.clients.rds;
    request(rds).send().await?;
    available(rds, "db").await?;
    let running = rds.start_db_instance().db_instance_identifier("db").send().await;
    refused(running, "InvalidDBInstanceState", Kind::Conflict);
    let stopping = rds.stop_db_instance().db_instance_identifier("db").send().await?;
    assert_eq!(stopping.db_instance().and_then(DbInstance::db_instance_status), Some("stopping"));
    eventually("db to be stopped", async || {
        Ok(Some(database(rds, "db").await?)
            .filter(|database| database.db_instance_status() == Some("stopped")))
    })
    .await?;
    let request = rds.modify_db_instance().db_instance_identifier("db").allocated_storage(30);
    refused(request.send().await, "InvalidDBInstanceState", Kind::Conflict);
    let absent = rds.stop_db_instance().db_instance_identifier("other").send().await;
    refused(absent, "DBInstanceNotFound", Kind::NotFound);
    rds.start_db_instance().db_instance_identifier("db").send().await?;
    let again = available(rds, "db").await?;
    assert_eq!(cloud.sql(&again, PASSWORD, "select 1::text").await?, "1");
    Ok(())
}
