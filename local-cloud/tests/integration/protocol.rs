//! The endpoint: what is not signed, not known or not from this machine.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::harness::Cloud;

fn raw(cloud: &Cloud, request: &str) -> String {
    let address = cloud.endpoint().replace("http://", "");
    let mut stream = TcpStream::connect(&address).expect("a connection");
    stream.write_all(request.replace("{address}", &address).as_bytes()).expect("the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer");
    answer
}

#[test]
fn an_unknown_operation_is_refused_by_name() {
    Cloud::start().python(
        r#"
assert "DescribeVpnGateways" in refused("InvalidAction", ec2.describe_vpn_gateways)
assert "DescribeDBClusters" in refused("InvalidAction", rds.describe_db_clusters)
assert "ListPhoneNumbersOptedOut" in refused("InvalidAction", sns.list_phone_numbers_opted_out)
assert "ListMessageMoveTasks" in refused("InvalidAction", sqs.list_message_move_tasks, SourceArn="a")
assert "ListDocuments" in refused("InvalidAction", ssm.list_documents)
refused("InvalidAction", client("autoscaling").describe_auto_scaling_groups)
refused("UnknownOperationException", client("dynamodb").list_tables)
"#,
    );
}

#[test]
fn a_parameter_that_is_not_modelled_is_refused_rather_than_ignored() {
    Cloud::start().python(
        r#"
assert "HibernationOptions" in refused("UnknownParameter", launch, HibernationOptions=dict(Configured=True))
assert ec2.describe_instances()["Reservations"] == []
refused("InvalidParameterValue", rds.create_db_instance, **DB, Timezone="CET")
"#,
    );
}

#[test]
fn a_request_without_a_signature_is_refused() {
    let answer = raw(
        &Cloud::start(),
        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("MissingAuthenticationToken"), "{answer}");
}

#[test]
fn a_web_page_cannot_stop_the_local_cloud() {
    let cloud = Cloud::start();
    for header in ["host: {address}\r\norigin: http://evil.example", "host: evil.example"] {
        let answer = raw(
            &cloud,
            &format!(
                "POST /_local/shutdown HTTP/1.1\r\n{header}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            ),
        );
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}

#[test]
fn calls_are_counted_on_the_wire() {
    Cloud::start().python(
        r#"
before = calls()
ec2.create_security_group(GroupName="a", Description="a")
ec2.describe_vpcs()
after = calls()
assert (after["mutating"], after["reads"]) == (before["mutating"] + 1, before["reads"] + 1), after
assert after["calls"][-2]["operation"] == "CreateSecurityGroup" and after["calls"][-2]["mutating"]
"#,
    );
}

#[test]
fn regions_are_apart() {
    Cloud::start().python(
        r#"
other = client("ec2", "eu-west-1")
ec2.create_security_group(GroupName="a", Description="a")
assert [g["GroupName"] for g in other.describe_security_groups()["SecurityGroups"]] == ["default"]
assert other.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"] == "eu-west-1a"
assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:user/local"
"#,
    );
}

#[test]
fn a_fault_that_was_set_happens_as_often_as_asked() {
    Cloud::start().python(
        r#"
def fault(method="POST", **fields):
    request = urllib.request.Request(ENDPOINT + "/_local/faults", data=json.dumps(fields).encode(), method=method)
    return json.loads(urllib.request.urlopen(request).read())
fault(service="ec2", operation="RunInstances", code="InsufficientInstanceCapacity", status=500, times=2)
before = calls()["mutating"]
for attempt in range(2):
    refused("InsufficientInstanceCapacity", launch)
assert ec2.describe_instances()["Reservations"] == [] and calls()["mutating"] == before + 2
launch()
fault(service="sqs", operation="CreateQueue", code="ThrottlingException", message="slow down")
assert refused("ThrottlingException", sqs.create_queue, QueueName="q") == "slow down"
fault(service="sqs", operation="CreateQueue", code="ThrottlingException")
assert fault(method="DELETE")["faults"] == []
sqs.create_queue(QueueName="q")
try:
    fault(service="sqs", operation="CreateQueue", kode="ThrottlingException")
    raise AssertionError("a fault with an unknown field is taken")
except urllib.error.HTTPError as error:
    assert error.code == 400 and b"kode" in error.read()
"#,
    );
}
