//! EC2's rules: duplicates, dangling references, tokens, filters, dependencies, life cycle.

use crate::harness::Cloud;

#[test]
fn a_second_key_of_the_same_name_is_refused() {
    Cloud::start().python(
        r##"
ec2.import_key_pair(KeyName="k", PublicKeyMaterial=KEY)
refused("InvalidKeyPair.Duplicate", ec2.import_key_pair, KeyName="k", PublicKeyMaterial=KEY)
refused("InvalidKey.Format", ec2.import_key_pair, KeyName="j", PublicKeyMaterial=b"nonsense")
refused("InvalidKeyPair.NotFound", ec2.describe_key_pairs, KeyNames=["other"])
found = ec2.describe_key_pairs(KeyNames=["k"], IncludePublicKey=True)["KeyPairs"][0]
assert found["PublicKey"].encode() == KEY and found["KeyType"] == "ed25519"
ec2.delete_key_pair(KeyName="k")
ec2.delete_key_pair(KeyName="k")
"##,
    );
}

#[test]
fn a_second_group_or_rule_that_is_the_same_is_refused() {
    Cloud::start().python(
        r##"
group = ec2.create_security_group(GroupName="app", Description="d")["GroupId"]
refused("InvalidGroup.Duplicate", ec2.create_security_group, GroupName="app", Description="d")
rule = [dict(IpProtocol="tcp", FromPort=80, ToPort=80, IpRanges=[dict(CidrIp="10.0.0.0/8")])]
made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule)["SecurityGroupRules"]
assert made[0]["SecurityGroupRuleId"].startswith("sgr-")
refused("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=rule)
ec2.update_security_group_rule_descriptions_ingress(GroupId=group, IpPermissions=[dict(rule[0], IpRanges=[dict(CidrIp="10.0.0.0/8", Description="new")])])
rules = ec2.describe_security_group_rules(Filters=[dict(Name="group-id", Values=[group])])["SecurityGroupRules"]
assert [r.get("Description") for r in rules if not r["IsEgress"]] == ["new"], rules
ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rule)
refused("InvalidPermission.NotFound", ec2.revoke_security_group_ingress, GroupId=group, IpPermissions=rule)
refused("InvalidGroup.NotFound", ec2.describe_security_groups, GroupIds=["sg-00000000000000000"])
refused("InvalidParameterValue", ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[dict(rule[0], IpRanges=[dict(CidrIp="10.0.0/8")])])
"##,
    );
}

#[test]
fn a_group_that_is_used_cannot_be_deleted() {
    Cloud::start().python(
        r##"
app = ec2.create_security_group(GroupName="app", Description="d")["GroupId"]
db = ec2.create_security_group(GroupName="db", Description="d")["GroupId"]
rule = [dict(IpProtocol="tcp", FromPort=5432, ToPort=5432, UserIdGroupPairs=[dict(GroupId=app)])]
ec2.authorize_security_group_ingress(GroupId=db, IpPermissions=rule)
refused("DependencyViolation", ec2.delete_security_group, GroupId=app)
ec2.revoke_security_group_ingress(GroupId=db, IpPermissions=rule)
i = launch(SecurityGroupIds=[app])
refused("DependencyViolation", ec2.delete_security_group, GroupId=app)
reach(i, "running")
ec2.terminate_instances(InstanceIds=[i])
reach(i, "terminated")
ec2.delete_security_group(GroupId=app)
ec2.delete_security_group(GroupId=db)
refused("InvalidGroup.NotFound", ec2.delete_security_group, GroupId=db)
"##,
    );
}

#[test]
fn a_client_token_launches_once() {
    Cloud::start().python(
        r##"
first = launch(ClientToken="t")
assert launch(ClientToken="t") == first
refused("IdempotentParameterMismatch", launch, ClientToken="t", InstanceType="t3.small")
reach(first, "running")
ec2.terminate_instances(InstanceIds=[first])
refused("IdempotentInstanceTerminated", launch, ClientToken="t")
assert launch(ClientToken="u") != first
"##,
    );
}

#[test]
fn a_public_address_is_given_and_taken_as_the_network_interface_says() {
    Cloud::start().python(
        r##"
subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
interface = dict(DeviceIndex=0, SubnetId=subnet, AssociatePublicIpAddress=False)
i = launch(NetworkInterfaces=[interface])
refused("InvalidParameterCombination", launch, NetworkInterfaces=[interface], SubnetId=subnet)
found = reach(i, "running")
assert "PublicIpAddress" not in found and found["PrivateIpAddress"] and found["SubnetId"] == subnet, found
eni = found["NetworkInterfaces"][0]["NetworkInterfaceId"]
assert "Association" not in found["NetworkInterfaces"][0]
ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, AssociatePublicIpAddress=True)
found = instance(i)
assert found["NetworkInterfaces"][0]["Association"] == dict(PublicIp=found["PublicIpAddress"], IpOwnerId="amazon"), found
refused("InvalidParameterCombination", ec2.modify_network_interface_attribute, NetworkInterfaceId=eni)
refused("InvalidNetworkInterfaceID.NotFound", ec2.modify_network_interface_attribute, NetworkInterfaceId="eni-00000000000000000", AssociatePublicIpAddress=True)
assert "PublicIpAddress" in reach(launch(), "running")
"##,
    );
}

#[test]
fn what_an_instance_refers_to_must_exist() {
    Cloud::start().python(
        r##"
refused("InvalidAMIID.NotFound", launch, ImageId="ami-00000000000000000")
refused("InvalidAMIID.Malformed", launch, ImageId="ami-x")
refused("InvalidKeyPair.NotFound", launch, KeyName="none")
refused("InvalidGroup.NotFound", launch, SecurityGroupIds=["sg-00000000000000000"])
refused("InvalidSubnetID.NotFound", launch, SubnetId="subnet-00000000000000000")
refused("InvalidParameterValue", launch, InstanceType="t3.huge")
refused("InvalidParameterValue", launch, ImageId=AMI["arm64"])
refused("InvalidParameterValue", launch, UserData="x" * 16385)
refused("DryRunOperation", launch, DryRun=True)
assert ec2.describe_instances()["Reservations"] == []
refused("InvalidInstanceID.NotFound", ec2.describe_instances, InstanceIds=["i-00000000000000000"])
refused("InvalidInstanceID.Malformed", ec2.describe_instances, InstanceIds=["i-x"])
"##,
    );
}

#[test]
fn an_unknown_filter_does_not_match_everything() {
    Cloud::start().python(
        r##"
i = launch(TagSpecifications=[dict(ResourceType="instance", Tags=[dict(Key="ops:stack", Value="a")])])
def found(name, value):
    reservations = ec2.describe_instances(Filters=[dict(Name=name, Values=[value])])["Reservations"]
    return [one["InstanceId"] for r in reservations for one in r["Instances"]]
assert found("tag:ops:stack", "a") == [i] and found("tag:ops:stack", "b") == []
assert found("tag-key", "ops:*") == [i] and found("instance-state-name", "stopped") == []
vpc = ec2.describe_vpcs(Filters=[dict(Name="is-default", Values=["true"])])["Vpcs"][0]["VpcId"]
assert found("vpc-id", vpc) == [i] and found("vpc-id", "vpc-1") == []
refused("InvalidParameterValue", found, name="no-such-filter", value="a")
refused("InvalidParameterValue", ec2.describe_security_groups, Filters=[dict(Name="nope", Values=["a"])])
"##,
    );
}

#[test]
fn an_instance_goes_through_its_states() {
    Cloud::start().python(
        r##"
answer = ec2.run_instances(ImageId=AMI["x86_64"], InstanceType="t3.micro", MinCount=1, MaxCount=1)
i = answer["Instances"][0]["InstanceId"]
assert answer["Instances"][0]["State"]["Name"] == "pending"
ec2.get_waiter("instance_running").wait(InstanceIds=[i])
assert instance(i)["MetadataOptions"]["HttpTokens"] == "required"
assert ec2.describe_instance_status(InstanceIds=[i])["InstanceStatuses"][0]["InstanceStatus"]["Status"] == "ok"
refused("IncorrectInstanceState", lambda: [ec2.stop_instances(InstanceIds=[i]), ec2.start_instances(InstanceIds=[i])])
reach(i, "stopped")
assert "PublicIpAddress" not in instance(i)
ec2.start_instances(InstanceIds=[i])
reach(i, "running")
ec2.modify_instance_attribute(InstanceId=i, DisableApiTermination=dict(Value=True))
refused("OperationNotPermitted", ec2.terminate_instances, InstanceIds=[i])
ec2.modify_instance_attribute(InstanceId=i, DisableApiTermination=dict(Value=False))
state = ec2.terminate_instances(InstanceIds=[i])["TerminatingInstances"][0]["CurrentState"]["Name"]
assert state == "shutting-down", state
assert reach(i, "terminated")["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
ec2.terminate_instances(InstanceIds=[i])
"##,
    );
}

#[test]
fn tags_are_written_removed_and_described() {
    Cloud::start().python(
        r##"
i = launch(UserData="#!/bin/sh\necho hi")
ec2.create_tags(Resources=[i], Tags=[dict(Key="a", Value="1"), dict(Key="b", Value="2")])
ec2.delete_tags(Resources=[i], Tags=[dict(Key="a"), dict(Key="b", Value="other")])
assert instance(i)["Tags"] == [dict(Key="b", Value="2")]
tags = ec2.describe_tags(Filters=[dict(Name="resource-id", Values=[i])])["Tags"]
assert tags == [dict(Key="b", Value="2", ResourceId=i, ResourceType="instance")], tags
refused("InvalidInstanceID.NotFound", ec2.create_tags, Resources=["i-00000000000000000"], Tags=[dict(Key="a", Value="1")])
data = ec2.describe_instance_attribute(InstanceId=i, Attribute="userData")["UserData"]["Value"]
assert base64.b64decode(data) == b"#!/bin/sh\necho hi"
"##,
    );
}

#[test]
fn results_come_in_pages() {
    Cloud::start().python(
        r##"
for number in range(12):
    ec2.create_security_group(GroupName=f"g{number}", Description="d")
pages = list(ec2.get_paginator("describe_security_groups").paginate(PaginationConfig=dict(PageSize=5)))
assert [len(page["SecurityGroups"]) for page in pages] == [5, 5, 3]
"##,
    );
}

#[test]
fn attributes_of_a_running_instance_can_be_changed() {
    Cloud::start().python(
        r##"
group = ec2.create_security_group(GroupName="app", Description="d")["GroupId"]
i = launch(IamInstanceProfile=dict(Name=profile("role")), NetworkInterfaces=[dict(DeviceIndex=0, Groups=[group], AssociatePublicIpAddress=True)])
found = reach(i, "running")
assert found["IamInstanceProfile"]["Arn"].endswith("instance-profile/role") and found["SecurityGroups"][0]["GroupId"] == group
other = ec2.create_security_group(GroupName="other", Description="d")["GroupId"]
ec2.modify_instance_attribute(InstanceId=i, Groups=[other])
assert instance(i)["SecurityGroups"] == [dict(GroupId=other, GroupName="other")]
refused("InvalidGroup.NotFound", ec2.modify_instance_attribute, InstanceId=i, Groups=["sg-00000000000000000"])
ec2.modify_instance_metadata_options(InstanceId=i, HttpTokens="optional", HttpPutResponseHopLimit=1)
assert instance(i)["MetadataOptions"]["HttpTokens"] == "optional"
refused("InvalidAction", ec2.create_key_pair, KeyName="k")
"##,
    );
}

#[test]
fn a_terminated_instance_is_visible_for_an_hour() {
    let mut cloud = Cloud::start();
    cloud.python(
        r##"
i = launch()
reach(i, "running")
ec2.terminate_instances(InstanceIds=[i])
reach(i, "terminated")
"##,
    );
    cloud.stop();
    let path = cloud.path().join("state.json");
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("the state")).expect("valid JSON");
    let instances = state["regions"]["us-east-1"]["ec2"]["instances"].as_object_mut().expect("the instances");
    let instance = instances.values_mut().next().expect("one instance");
    instance["changed_at"] = (instance["changed_at"].as_i64().expect("a time") - 3_601_000).into();
    std::fs::write(&path, state.to_string()).expect("the state is written");
    cloud.restart();
    cloud.python("assert ec2.describe_instances()['Reservations'] == []");
}

#[test]
fn a_launch_with_an_unknown_key_pair_is_refused() {
    Cloud::start().python(r#"refused("InvalidKeyPair.NotFound", launch, KeyName="none")"#);
}

#[test]
fn a_launch_into_an_unknown_security_group_is_refused() {
    Cloud::start()
        .python(r#"refused("InvalidGroup.NotFound", launch, SecurityGroupIds=["sg-00000000000000000"])"#);
}

#[test]
fn a_new_group_may_not_be_visible_yet() {
    Cloud::start().python(
        r##"
fault = dict(service="ec2", operation="AuthorizeSecurityGroupIngress", code="InvalidGroup.NotFound")
urllib.request.urlopen(ENDPOINT + "/_local/faults", data=json.dumps(fault).encode()).read()
group = ec2.create_security_group(GroupName="app", Description="d")["GroupId"]
rule = [dict(IpProtocol="tcp", FromPort=80, ToPort=80, IpRanges=[dict(CidrIp="10.0.0.0/8")])]
refused("InvalidGroup.NotFound", ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=rule)
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule)
"##,
    );
}
