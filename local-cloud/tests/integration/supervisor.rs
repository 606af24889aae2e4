//! The supervisor: one per folder, restarts where it left off, survives being killed, and can be removed.

use local_cloud::{Settings, reset, running};

use crate::harness::Cloud;
use crate::rds::query;

const DEPLOYED: &str = r#"
rds.create_db_instance(**DB)
i = launch(UserData=user_data())
address = {tag["Key"]: tag["Value"] for tag in reach(i, "running")["Tags"]}["ops-local:address"]
wait("the service", lambda: get(f"http://{address}/"))
print(available()["Endpoint"]["Port"], i, address)
"#;

fn words(text: &str) -> [String; 3] {
    let parts: Vec<String> = text.split(' ').map(str::to_string).collect();
    parts.try_into().expect("port, instance and address")
}

fn still_there(instance: &str, address: &str, port: &str) -> String {
    format!(
        r#"
reach("{instance}", "running")
wait("the service", lambda: get("http://{address}/"))
assert available()["Endpoint"]["Port"] == {port}
"#
    )
}

#[test]
fn state_survives_a_restart() {
    let mut cloud = Cloud::start();
    let endpoint = cloud.endpoint();
    let [port, instance, address] = words(&cloud.python(DEPLOYED));
    query(&port, "owner", "correct-horse", "create table t (a int); insert into t values (5)")
        .expect("the row");
    cloud.stop();
    assert_eq!(running(&cloud.path()).expect("readable"), None);
    assert!(
        query(&port, "owner", "correct-horse", "select 1").is_err(),
        "PostgreSQL must stop with the supervisor"
    );
    cloud.restart();
    assert_eq!(cloud.endpoint(), endpoint);
    cloud.python(&still_there(&instance, &address, &port));
    assert_eq!(query(&port, "owner", "correct-horse", "select a from t").as_deref(), Ok("5"));
}

#[test]
fn a_killed_supervisor_comes_back_with_everything() {
    let mut cloud = Cloud::start();
    let [port, instance, address] = words(&cloud.python(DEPLOYED));
    query(&port, "owner", "correct-horse", "create table t (a int); insert into t values (5)")
        .expect("the row");
    cloud.kill();
    assert_eq!(running(&cloud.path()).expect("readable"), None);
    cloud.restart();
    cloud.python(&still_there(&instance, &address, &port));
    assert_eq!(query(&port, "owner", "correct-horse", "select a from t").as_deref(), Ok("5"));
}

#[test]
fn a_database_whose_creation_was_cut_off_is_created_all_the_same() {
    let mut cloud = Cloud::start();
    cloud.python("rds.create_db_instance(**DB)");
    cloud.kill();
    cloud.restart();
    let port = cloud.python("print(available()['Endpoint']['Port'])");
    assert_eq!(query(&port, "owner", "correct-horse", "select 1").as_deref(), Ok("1"));
}

#[test]
fn a_database_that_is_killed_is_started_again() {
    let cloud = Cloud::start();
    let port = cloud.python(
        r#"
import signal
rds.create_db_instance(**DB)
port = available()["Endpoint"]["Port"]
log = json.loads(get(ENDPOINT + "/_local/status"))["databases"][0]["log"]
os.kill(int(open(log.replace("postgres.log", "data/postmaster.pid")).readline()), signal.SIGKILL)
print(port)
"#,
    );
    crate::harness::wait_for("the database", || query(&port, "owner", "correct-horse", "select 1").is_ok());
}

#[test]
fn a_second_supervisor_names_the_first() {
    let cloud = Cloud::start();
    let settings = Settings { folder: cloud.path(), images: Default::default() };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let error = runtime.block_on(local_cloud::serve(settings)).expect_err("the folder is held").to_string();
    assert!(error.contains(&cloud.pid().to_string()), "{error}");
    let error = reset(&cloud.path()).expect_err("it runs").to_string();
    assert!(error.contains("already running"), "{error}");
}

#[test]
fn a_port_that_was_taken_meanwhile_is_replaced() {
    let mut cloud = Cloud::start();
    let endpoint = cloud.endpoint();
    cloud.stop();
    let _other =
        std::net::TcpListener::bind(endpoint.trim_start_matches("http://")).expect("the port is free");
    cloud.restart();
    assert_ne!(cloud.endpoint(), endpoint);
    cloud.python("ec2.describe_vpcs()");
}

#[test]
fn shutdown_stops_and_reset_removes_everything() {
    let mut cloud = Cloud::start();
    let [port, _, address] = words(&cloud.python(DEPLOYED));
    cloud.kill();
    // PostgreSQL and the service still run after a kill; a reset must not leave them behind.
    let address = address.as_str();
    assert!(std::net::TcpStream::connect(address).is_ok());
    reset(&cloud.path()).expect("it does not run");
    assert!(!cloud.path().exists());
    assert!(query(&port, "owner", "correct-horse", "select 1").is_err());
    assert!(std::net::TcpStream::connect(address).is_err());
    cloud.restart();
    cloud.python(
        r#"
assert rds.describe_db_instances()["DBInstances"] == []
urllib.request.urlopen(urllib.request.Request(ENDPOINT + "/_local/shutdown", method="POST")).read()
wait("the end", lambda: get(ENDPOINT + "/_local/status") is None)
"#,
    );
    crate::harness::wait_for("the end", || running(&cloud.path()).expect("readable").is_none());
}
