//! What a deployment asks of an account, as the services get it: the values that keep strangers out and data safe.

use serde_json::{Value, json};

use crate::faults::{DEPLOY, open, through};
use crate::harness::Project;
use crate::interop::Moto;
use crate::proxy::Call;

#[test]
fn a_deployment_asks_for_what_is_safe() {
    let moto = Moto::start();
    let proxy = open(&moto);
    through(&proxy, &Project::new(), &DEPLOY).ended_with(0);
    let calls: Vec<Call> = proxy.calls().into_iter().map(|(call, _)| call).collect();
    let of = |operation: &str| -> Vec<&Call> {
        let found: Vec<&Call> = calls.iter().filter(|call| call.operation == operation).collect();
        assert!(!found.is_empty(), "{operation} was not sent");
        found
    };
    let has = |operation: &str, fields: &[(&str, &str)]| {
        for call in of(operation) {
            for (name, value) in fields {
                assert_eq!(call.field(name).as_deref(), Some(*value), "{operation}: {name}");
            }
        }
    };

    has(
        "RunInstances",
        &[
            ("MetadataOptions.HttpTokens", "required"),
            ("MetadataOptions.HttpPutResponseHopLimit", "1"),
            ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
            ("BlockDeviceMapping.1.Ebs.Encrypted", "true"),
            ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ],
    );
    assert!(of("RunInstances")[0].field("ClientToken").is_some_and(|token| token.len() == 32));
    has(
        "CreateDBInstance",
        &[
            ("StorageType", "gp3"),
            ("StorageEncrypted", "true"),
            ("PubliclyAccessible", "false"),
            ("DeletionProtection", "true"),
            ("CopyTagsToSnapshot", "true"),
            ("BackupRetentionPeriod", "7"),
        ],
    );
    has(
        "CreateTargetGroup",
        &[
            ("HealthCheckProtocol", "HTTP"),
            ("HealthCheckPath", "/readyz"),
            ("HealthCheckIntervalSeconds", "30"),
            ("Port", "8080"),
        ],
    );

    let queues: Vec<Value> = of("CreateQueue").iter().map(|call| json(call)).collect();
    let log = queues.iter().find(|queue| queue["QueueName"] == "music-app-log").expect("the queue");
    let attributes = &log["Attributes"];
    assert_eq!(attributes["VisibilityTimeout"], "300");
    assert_eq!(attributes["MessageRetentionPeriod"], "1209600");
    assert_eq!(attributes["ReceiveMessageWaitTimeSeconds"], "20");
    // From its first moment on, a message of the topic finds the door open, and others find it closed.
    let policy: Value = serde_json::from_str(attributes["Policy"].as_str().expect("a policy")).expect("JSON");
    let statement = &policy["Statement"][0];
    assert_eq!(statement["Principal"], json!({ "Service": "sns.amazonaws.com" }));
    assert_eq!(statement["Action"], "sqs:SendMessage");
    assert!(statement["Condition"]["ArnEquals"]["aws:SourceArn"].is_string(), "{policy}");
    let redrive = attributes["RedrivePolicy"].as_str().expect("a dead-letter queue");
    assert!(redrive.contains("music-app-log-dead"), "{redrive}");

    let parameters: Vec<Value> = of("PutParameter").iter().map(|call| json(call)).collect();
    for parameter in parameters {
        let name = parameter["Name"].as_str().expect("a name");
        let public = name.contains("/lock/") || name.ends_with("certificate");
        assert!(public || parameter["Type"] == "SecureString", "{name} is not kept as a secret");
    }
}

fn json(call: &Call) -> Value {
    serde_json::from_str(&call.body).unwrap_or_else(|error| panic!("{}: {error}", call.operation))
}
