//! Elastic IPs: what is refused, where they lead, and that connections go that way.

use crate::harness::Cloud;

#[test]
fn an_address_leads_to_one_instance_and_stays_allocated() {
    Cloud::start().python(
        r##"
tags = [dict(ResourceType="elastic-ip", Tags=[dict(Key="ops:stack", Value="a")])]
refused("InvalidParameterValue", ec2.allocate_address, Domain="vpc", TagSpecifications=[dict(tags[0], ResourceType="instance")])
refused("InvalidParameterValue", ec2.allocate_address, Domain="standard")
made = ec2.allocate_address(Domain="vpc", TagSpecifications=tags)
id, ip = made["AllocationId"], made["PublicIp"]
def address():
    return ec2.describe_addresses(AllocationIds=[id])["Addresses"][0]
assert id.startswith("eipalloc-") and address()["PublicIp"] == ip and address()["Tags"] == tags[0]["Tags"], address()
assert "InstanceId" not in address()
refused("InvalidAllocationID.NotFound", ec2.describe_addresses, AllocationIds=["eipalloc-00000000000000000"])
refused("InvalidAddress.NotFound", ec2.describe_addresses, PublicIps=["203.0.113.1"])
refused("InvalidParameterValue", ec2.describe_addresses, Filters=[dict(Name="colour", Values=["red"])])

one = launch()
own = reach(one, "running")["PublicIpAddress"]
refused("MissingParameter", ec2.associate_address, InstanceId=one)
refused("InvalidParameterCombination", ec2.associate_address, AllocationId=id)
refused("InvalidAllocationID.NotFound", ec2.associate_address, AllocationId="eipalloc-00000000000000000", InstanceId=one)
refused("InvalidInstanceID.NotFound", ec2.associate_address, AllocationId=id, InstanceId="i-00000000000000000")
association = ec2.associate_address(AllocationId=id, InstanceId=one)["AssociationId"]
assert ec2.associate_address(AllocationId=id, InstanceId=one)["AssociationId"] == association
found = instance(one)
interface = found["NetworkInterfaces"][0]
assert found["PublicIpAddress"] == ip != own and interface["Association"]["IpOwnerId"] != "amazon", found
assert (address()["InstanceId"], address()["NetworkInterfaceId"]) == (one, interface["NetworkInterfaceId"]), address()
assert ec2.describe_addresses(Filters=[dict(Name="instance-id", Values=[one]), dict(Name="tag:ops:stack", Values=["a"])])["Addresses"]

two = launch()
reach(two, "running")
refused("Resource.AlreadyAssociated", ec2.associate_address, AllocationId=id, InstanceId=two, AllowReassociation=False)
ec2.associate_address(AllocationId=id, InstanceId=two)
assert instance(two)["PublicIpAddress"] == ip and instance(one)["PublicIpAddress"] == own
refused("InvalidAssociationID.NotFound", ec2.disassociate_address, AssociationId=association)
ec2.stop_instances(InstanceIds=[two])
assert reach(two, "stopped")["PublicIpAddress"] == ip
ec2.disassociate_address(AssociationId=address()["AssociationId"])
assert "PublicIpAddress" not in instance(two) and "InstanceId" not in address()
ec2.associate_address(AllocationId=id, InstanceId=one)
ec2.terminate_instances(InstanceIds=[one])
reach(one, "terminated")
assert "InstanceId" not in address()
refused("InvalidInstanceID", ec2.associate_address, AllocationId=id, InstanceId=one)
ec2.release_address(AllocationId=id)
refused("InvalidAllocationID.NotFound", ec2.release_address, AllocationId=id)
assert ec2.describe_addresses()["Addresses"] == []
for _ in range(5):
    ec2.allocate_address()
refused("AddressLimitExceeded", ec2.allocate_address)
"##,
    );
}

#[test]
fn connections_to_an_address_reach_the_instance_that_it_leads_to() {
    Cloud::start().python(
        r##"
def reached_at(i):
    return {tag["Key"]: tag["Value"] for tag in instance(i)["Tags"]}["ops-local:address"]
def web(who):
    i = launch(UserData=user_data(env=dict(WHO=who)))
    reach(i, "running")
    return i, reached_at(i)
(one, own), (two, _) = web("one"), web("two")
made = ec2.allocate_address()
ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=one)
www = reached_at(one)
assert www != own and www.startswith(made["PublicIp"] + ":"), www
wait("the first", lambda: get(f"http://{www}/env/WHO") == "one")
if sys.platform == "linux":
    assert get(f"http://{www}/client") == "127.0.0.1"
ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=two)
assert reached_at(one) == own
if sys.platform == "linux":
    assert reached_at(two) == www
wait("the second", lambda: get(f"http://{reached_at(two)}/env/WHO") == "two")
assert get(f"http://{own}/env/WHO") == "one"
ec2.release_address(AllocationId=made["AllocationId"])
wait("nobody", lambda: get(f"http://{www}/env/WHO") is None)
assert reached_at(two) != www and get(f"http://{reached_at(two)}/env/WHO") == "two"
"##,
    );
}
