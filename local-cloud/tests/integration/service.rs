//! The service of an instance: it runs, is restarted, gets its secrets, and nothing else of user data does.

use crate::harness::Cloud;

#[test]
fn a_service_comes_up_and_answers() {
    Cloud::start().python(
        r##"
ssm.put_parameter(Name="/a/secret", Value="hush", Type="SecureString")
started = time.time()
i = launch(UserData=user_data(image="registry.example/web:1.2", env=dict(PLAIN="p", SECRET="ssm:/a/secret"), ready_path="/readyz"))
found = reach(i, "running")
assert time.time() - started < 5
address = {tag["Key"]: tag["Value"] for tag in found["Tags"]}["ops-local:address"]
assert address.startswith(found["PublicIpAddress"]) and found["PrivateIpAddress"] == found["PublicIpAddress"]
wait("the service", lambda: get(f"http://{address}/"))
assert get(f"http://{address}/env/PLAIN") == "p"
assert get(f"http://{address}/env/SECRET") == "hush"
assert get(f"http://{address}/env/LISTEN") == address
assert get(f"http://{address}/env/ENDPOINT") == "-"
status = json.loads(get(ENDPOINT + "/_local/status"))["instances"][0]
assert status["service"]["ready"] and status["address"] == address
def console():
    output = ec2.get_console_output(InstanceId=i)["Output"]
    assert "hush" not in output
    return "listening on" in output and "not run on a local instance" in output
wait("the console", console)
get(f"http://{address}/crash")
wait("the restart", lambda: get(f"http://{address}/"))
ec2.stop_instances(InstanceIds=[i])
reach(i, "stopped")
assert get(f"http://{address}/") is None
ec2.start_instances(InstanceIds=[i])
reach(i, "running")
wait("the service", lambda: get(f"http://{address}/"))
ec2.terminate_instances(InstanceIds=[i])
reach(i, "terminated")
assert get(f"http://{address}/") is None
"##,
    );
}

#[test]
fn a_service_waits_for_a_parameter_that_does_not_exist_yet() {
    Cloud::start().python(
        r##"
i = launch(UserData=user_data(env=dict(SECRET="ssm:/a/late")))
found = reach(i, "running")
address = {tag["Key"]: tag["Value"] for tag in found["Tags"]}["ops-local:address"]
wait("the console", lambda: "waiting for parameter /a/late" in ec2.get_console_output(InstanceId=i)["Output"])
ssm.put_parameter(Name="/a/late", Value="now", Type="SecureString")
wait("the service", lambda: get(f"http://{address}/env/SECRET") == "now")
"##,
    );
}

#[test]
fn an_instance_that_cannot_boot_says_why() {
    Cloud::start().python(
        r##"
i = launch(UserData=user_data(image="unknown:1"))
reason = reach(i, "terminated")["StateReason"]
assert reason["Code"] == "Server.InternalError" and "unknown" in reason["Message"] and "web" in reason["Message"], reason
i = launch(UserData="# ops-service: bm9uc2Vuc2U=\n")
assert "ops-service" in reach(i, "terminated")["StateReason"]["Message"]
"##,
    );
}

// Elsewhere an instance gets a port of its own, so a fixed one cannot be in the way.
#[cfg(target_os = "linux")]
#[test]
fn an_address_in_use_is_named() {
    Cloud::start().python(
        r##"
import socket
other = socket.socket()
other.bind(("0.0.0.0", 0))
other.listen()
port = other.getsockname()[1]
i = launch(UserData=user_data(port=port))
reason = reach(i, "terminated")["StateReason"]
assert reason["Code"] == "Server.InternalError" and f"port {port} of 127." in reason["Message"] and "in use" in reason["Message"], reason
"##,
    );
}

#[test]
fn a_machine_runs_even_if_its_service_does_not() {
    Cloud::start().python(
        r##"
i = launch(UserData=user_data(image="broken"))
reach(i, "running")
wait("the console", lambda: "next try in" in ec2.get_console_output(InstanceId=i)["Output"])
i = launch(UserData=user_data(image="silent"))
reach(i, "running")
assert not any(one["service"]["ready"] for one in json.loads(get(ENDPOINT + "/_local/status"))["instances"])
ec2.terminate_instances(InstanceIds=[i])
reach(i, "terminated")
"##,
    );
}
