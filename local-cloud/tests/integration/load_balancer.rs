//! Load balancers: their life cycle and guards, real connections to real targets, health by real probes.

use crate::harness::Cloud;

#[test]
fn a_load_balancer_is_provisioning_then_active() {
    Cloud::start().python(
        r#"
arn = load_balancer(Tags=[dict(Key="ops:stack", Value="a")])
found = described(arn)
assert found["State"]["Code"] == "provisioning" and ":loadbalancer/net/balancer/" in arn, found
assert found["Type"] == "network" and len(found["AvailabilityZones"]) == 3 and found["VpcId"] == vpc()
elbv2.get_waiter("load_balancer_available").wait(LoadBalancerArns=[arn], WaiterConfig=dict(Delay=1))
assert load_balancer(Tags=[dict(Key="ops:stack", Value="a")]) == arn
refused("DuplicateLoadBalancerName", load_balancer, Scheme="internal")
refused("DuplicateLoadBalancerName", load_balancer, Subnets=subnets()[:1], Tags=[dict(Key="ops:stack", Value="a")])
elbv2.delete_load_balancer(LoadBalancerArn=arn)
refused("LoadBalancerNotFound", described, balancer=arn)
refused("LoadBalancerNotFound", elbv2.describe_load_balancers, Names=["balancer"])
elbv2.delete_load_balancer(LoadBalancerArn=arn)
"#,
    );
}

#[test]
fn what_a_load_balancer_is_made_from_is_checked() {
    Cloud::start().python(
        r#"
refused("ValidationError", load_balancer, name="-a")
refused("ValidationError", load_balancer, name="internal-a")
refused("SubnetNotFound", load_balancer, Subnets=["subnet-00000000000000000"])
refused("InvalidConfigurationRequest", load_balancer, Subnets=[subnets()[0], subnets()[0]])
refused("InvalidConfigurationRequest", load_balancer, Type="application")
refused("InvalidSecurityGroup", load_balancer, SecurityGroups=["sg-00000000000000000"])
refused("ValidationError", target_group, VpcId="vpc-1")
refused("UnsupportedProtocol", target_group, Protocol="UDP")
refused("ValidationError", target_group, HealthCheckPath="/readyz")
refused("ValidationError", target_group, HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=10)
assert elbv2.describe_load_balancers()["LoadBalancers"] == [] and elbv2.describe_target_groups()["TargetGroups"] == []
group = ec2.create_security_group(GroupName="app", Description="d")["GroupId"]
arn = load_balancer(SecurityGroups=[group])
refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
elbv2.delete_load_balancer(LoadBalancerArn=arn)
ec2.delete_security_group(GroupId=group)
"#,
    );
}

#[test]
fn a_protected_load_balancer_is_not_deleted() {
    Cloud::start().python(
        r#"
arn = load_balancer()
def protect(value):
    elbv2.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=[dict(Key="deletion_protection.enabled", Value=value)])
protect("true")
refused("OperationNotPermitted", elbv2.delete_load_balancer, LoadBalancerArn=arn)
protect("false")
refused("InvalidConfigurationRequest", protect, value="maybe")
attributes = {one["Key"]: one["Value"] for one in elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]}
assert attributes["deletion_protection.enabled"] == "false" and attributes["load_balancing.cross_zone.enabled"] == "false"
elbv2.delete_load_balancer(LoadBalancerArn=arn)
"#,
    );
}

#[test]
fn a_target_group_that_a_listener_uses_is_not_deleted() {
    Cloud::start().python(
        r#"
balancer, group = load_balancer(), target_group()
arn = listener(balancer, group)
assert listener(balancer, group) == arn
refused("DuplicateListener", listener, balancer=balancer, group=target_group("other"))
refused("TargetGroupNotFound", listener, balancer=balancer, group=group + "0", port=81)
refused("TargetGroupAssociationLimit", listener, balancer=load_balancer("second"), group=group)
assert elbv2.describe_target_groups(LoadBalancerArn=balancer)["TargetGroups"][0]["TargetGroupArn"] == group
refused("ResourceInUse", elbv2.delete_target_group, TargetGroupArn=group)
elbv2.delete_listener(ListenerArn=arn)
refused("ListenerNotFound", elbv2.delete_listener, ListenerArn=arn)
elbv2.delete_target_group(TargetGroupArn=group)
elbv2.delete_target_group(TargetGroupArn=group)
refused("TargetGroupNotFound", elbv2.describe_target_groups, Names=["group"])
"#,
    );
}

#[test]
fn connections_reach_a_target_that_a_probe_found_healthy() {
    Cloud::start().python(
        r#"
i = web(port=8080)
group = target_group(HealthCheckProtocol="HTTP", HealthCheckPath="/readyz", HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2)
elbv2.register_targets(TargetGroupArn=group, Targets=[dict(Id=i)])
assert health(group) == [("unused", "Target.NotInUse")], health(group)
balancer = load_balancer()
arn = listener(balancer, group, port=18080)
assert health(group) == [("initial", "Elb.InitialHealthChecking")], health(group)
wait("the target", lambda: health(group) == [("healthy", None)])
elbv2.get_waiter("target_in_service").wait(TargetGroupArn=group, WaiterConfig=dict(Delay=1))
address = reached_at(balancer)
assert address == reached_at(arn)
if sys.platform == "linux":
    assert address == described(balancer)["DNSName"] + ":18080" and address.startswith("127.")
wait("the balancer", lambda: get(f"http://{address}/") == "ok")
assert get(f"http://{address}/client") == "127.0.0.1"
get(f"http://{address}/break")
wait("a failing probe", lambda: health(group) == [("unhealthy", "Target.ResponseCodeMismatch")])
get(f"http://{address}/mend")
wait("the target to recover", lambda: health(group) == [("healthy", None)])
ec2.stop_instances(InstanceIds=[i])
assert health(group) == [("unused", "Target.InvalidState")]
reach(i, "stopped")
assert get(f"http://{address}/") is None
ec2.start_instances(InstanceIds=[i])
wait("the target", lambda: health(group) == [("healthy", None)])
ec2.terminate_instances(InstanceIds=[i])
wait("the target to be deregistered", lambda: health(group) == [])
elbv2.delete_load_balancer(LoadBalancerArn=balancer)
wait("the balancer to be gone", lambda: get(f"http://{address}/") is None)
"#,
    );
}

#[test]
fn targets_take_turns_and_a_sick_one_is_left_out() {
    Cloud::start().python(
        r#"
one, other = web(env=dict(WHO="one")), web(env=dict(WHO="other"))
group = target_group(HealthCheckProtocol="HTTP", HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2)
balancer = load_balancer()
listener(balancer, group)
elbv2.register_targets(TargetGroupArn=group, Targets=[dict(Id=one), dict(Id=other)])
wait("both", lambda: [state for state, _ in health(group)] == ["healthy", "healthy"])
address = reached_at(balancer)
who = lambda: {get(f"http://{address}/env/WHO") for _ in range(10)}
assert who() == {"one", "other"}
sick = {tag["Key"]: tag["Value"] for tag in instance(one)["Tags"]}["ops-local:address"]
get(f"http://{sick}/break")
wait("the sick one", lambda: health(group, Id=one)[0][0] == "unhealthy")
assert who() == {"other"}
elbv2.modify_target_group_attributes(TargetGroupArn=group, Attributes=[dict(Key="stickiness.enabled", Value="true")])
get(f"http://{sick}/mend")
elbv2.modify_target_group(TargetGroupArn=group, HealthyThresholdCount=2)
wait("both", lambda: [state for state, _ in health(group)] == ["healthy", "healthy"])
assert len(who()) == 1
"#,
    );
}

#[test]
fn a_target_is_registered_only_while_it_runs_and_drains_before_it_goes() {
    Cloud::start().python(
        r#"
import socket
group = target_group()
refused("InvalidTarget", elbv2.register_targets, TargetGroupArn=group, Targets=[dict(Id="i-00000000000000000")])
pending = launch(UserData=user_data(image="silent"))
refused("InvalidTarget", elbv2.register_targets, TargetGroupArn=group, Targets=[dict(Id=pending)])
i = web()
assert health(group, Id=i) == [("unused", "Target.NotRegistered")]
balancer = load_balancer()
listener(balancer, group)
elbv2.register_targets(TargetGroupArn=group, Targets=[dict(Id=i)])
elbv2.register_targets(TargetGroupArn=group, Targets=[dict(Id=i)])
wait("the target", lambda: health(group) == [("healthy", None)])
host, port = reached_at(balancer).split(":")
connection = socket.create_connection((host, int(port)))
connection.sendall(b"GET / HTTP/1.1\r\n")
wait("the connection to be carried", lambda: connection.fileno() >= 0)
elbv2.deregister_targets(TargetGroupArn=group, Targets=[dict(Id=i)])
assert health(group) == [("draining", "Target.DeregistrationInProgress")]
held_until = time.time() + 1
while time.time() < held_until:
    assert health(group) == [("draining", "Target.DeregistrationInProgress")]
connection.sendall(b"host: a\r\nconnection: close\r\n\r\n")
assert b"200" in connection.recv(1000)
connection.close()
wait("the target to have drained", lambda: health(group) == [])
elbv2.deregister_targets(TargetGroupArn=group, Targets=[dict(Id=i)])
"#,
    );
}

#[test]
fn the_proxy_protocol_tells_a_target_who_the_client_is() {
    Cloud::start().python(
        r#"
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
group = target_group(TargetType="ip", Port=server.getsockname()[1])
elbv2.modify_target_group_attributes(TargetGroupArn=group, Attributes=[dict(Key="proxy_protocol_v2.enabled", Value="true")])
balancer = load_balancer()
listener(balancer, group, port=9000)
elbv2.register_targets(TargetGroupArn=group, Targets=[dict(Id="127.0.0.1")])
seen = []
def serve():
    while True:
        connection, _ = server.accept()
        text = connection.recv(1000)
        if text:
            seen.append(text)
        connection.close()
threading.Thread(target=serve, daemon=True).start()
wait("the target", lambda: health(group) == [("healthy", None)])
host, port = reached_at(balancer).split(":")
connection = socket.create_connection((host, int(port)))
own = connection.getsockname()
connection.sendall(b"hello")
header = wait("the connection", lambda: seen and seen[0])
expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + socket.inet_aton(own[0]) + socket.inet_aton(host) + own[1].to_bytes(2, "big") + int(port).to_bytes(2, "big")
assert header.startswith(expected), header
"#,
    );
}

#[test]
fn a_load_balancer_survives_a_killed_supervisor() {
    let mut cloud = Cloud::start();
    let address = cloud.python(
        r#"
group, balancer = target_group(), load_balancer()
listener(balancer, group)
elbv2.register_targets(TargetGroupArn=group, Targets=[dict(Id=web())])
wait("the target", lambda: health(group) == [("healthy", None)])
print(reached_at(balancer))
"#,
    );
    cloud.kill();
    cloud.restart();
    cloud.python(&format!(
        r#"
balancer = elbv2.describe_load_balancers(Names=["balancer"])["LoadBalancers"][0]["LoadBalancerArn"]
assert reached_at(balancer) == "{address}"
wait("the balancer", lambda: get("http://{address}/") == "ok")
"#
    ));
}

#[test]
fn listeners_and_target_groups_can_be_changed_and_tagged() {
    Cloud::start().python(
        r#"
balancer, group, other = load_balancer(), target_group(), target_group("other")
arn = listener(balancer, group)
elbv2.modify_listener(ListenerArn=arn, DefaultActions=[dict(Type="forward", ForwardConfig=dict(TargetGroups=[dict(TargetGroupArn=other)]))])
found = elbv2.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
assert [one["DefaultActions"][0]["TargetGroupArn"] for one in found] == [other], found
elbv2.delete_target_group(TargetGroupArn=group)
elbv2.modify_listener(ListenerArn=arn, Port=8081)
assert reached_at(arn).endswith(":8081") or sys.platform != "linux"
changed = elbv2.modify_target_group(TargetGroupArn=other, HealthCheckProtocol="HTTP", HealthCheckPath="/readyz", HealthCheckPort="8080", Matcher=dict(HttpCode="200"))["TargetGroups"][0]
assert (changed["HealthCheckPath"], changed["HealthCheckPort"], changed["Matcher"]) == ("/readyz", "8080", dict(HttpCode="200")), changed
for resource in (balancer, arn, other):
    elbv2.add_tags(ResourceArns=[resource], Tags=[dict(Key="a", Value="1"), dict(Key="b", Value="2")])
    elbv2.remove_tags(ResourceArns=[resource], TagKeys=["a"])
    tags = elbv2.describe_tags(ResourceArns=[resource])["TagDescriptions"][0]["Tags"]
    assert dict(Key="b", Value="2") in tags and not any(tag["Key"] == "a" for tag in tags), tags
refused("TargetGroupNotFound", elbv2.add_tags, ResourceArns=[other + "0"], Tags=[dict(Key="a", Value="1")])
attributes = {one["Key"]: one["Value"] for one in elbv2.describe_target_group_attributes(TargetGroupArn=other)["Attributes"]}
assert attributes["deregistration_delay.timeout_seconds"] == "300" and attributes["preserve_client_ip.enabled"] == "true"
"#,
    );
}
