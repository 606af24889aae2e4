//! Machine images and instance types: what is published, what is made of an instance, which zone offers what.

use crate::harness::Cloud;

#[test]
fn published_images_are_found_by_owner_name_and_architecture() {
    Cloud::start().python(
        r#"
def ubuntu(release, architecture, **more):
    filters = [dict(Name="name", Values=[f"ubuntu/images/hvm-ssd*/ubuntu-*-{release}-{architecture}-server-*"])]
    return ec2.describe_images(Owners=["099720109477"], Filters=filters)["Images"]
for release in ("22.04", "24.04"):
    for word, architecture in (("amd64", "x86_64"), ("arm64", "arm64")):
        found = ubuntu(release, word)
        assert len({one["CreationDate"] for one in found}) == 2 and {one["Architecture"] for one in found} == {architecture}, found
        assert {one["RootDeviceName"] for one in found} == {"/dev/sda1"} and {one["State"] for one in found} == {"available"}
assert ec2.describe_images(Owners=["self"])["Images"] == []
assert ubuntu("18.04", "amd64") == []
i = launch(ImageId=ubuntu("24.04", "amd64")[0]["ImageId"])
assert instance(i)["RootDeviceName"] == "/dev/sda1" == instance(i)["BlockDeviceMappings"][0]["DeviceName"]
"#,
    );
}

#[test]
fn an_image_of_an_instance_is_pending_then_available_and_has_its_snapshots() {
    Cloud::start().python(
        r#"
disks = [dict(DeviceName="/dev/xvda", Ebs=dict(VolumeSize=12, Encrypted=True)), dict(DeviceName="/dev/sdf", Ebs=dict(VolumeSize=5))]
i = launch(BlockDeviceMappings=disks)
reach(i, "running")
tags = [dict(ResourceType=kind, Tags=[dict(Key="ops:stack", Value="a")]) for kind in ("image", "snapshot")]
refused("DryRunOperation", ec2.create_image, InstanceId=i, Name="golden", DryRun=True)
image = ec2.create_image(InstanceId=i, Name="golden", NoReboot=True, TagSpecifications=tags)["ImageId"]
def mine(**filters):
    filters = [dict(Name=name.replace("_", ":"), Values=[value]) for name, value in filters.items()]
    return ec2.describe_images(Owners=["self"], Filters=filters)["Images"]
assert [one["State"] for one in mine(tag_ops_stack="a")] == ["pending"]
assert mine()[0]["Tags"] == [dict(Key="ops:stack", Value="a")] and mine()[0]["SourceInstanceId"] == i
refused("InvalidAMIID.Unavailable", launch, ImageId=image)
refused("InvalidAMIName.Duplicate", ec2.create_image, InstanceId=i, Name="golden")
refused("InvalidAMIName.Malformed", ec2.create_image, InstanceId=i, Name="gold*n")
refused("InvalidInstanceID.NotFound", ec2.create_image, InstanceId="i-00000000000000000", Name="other")
ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=dict(Delay=1))
found = {one["DeviceName"]: one["Ebs"] for one in mine()[0]["BlockDeviceMappings"]}
assert (found["/dev/xvda"]["VolumeSize"], found["/dev/xvda"]["Encrypted"], found["/dev/sdf"]["VolumeSize"]) == (12, True, 5), found
snapshots = ec2.describe_snapshots(OwnerIds=["self"], Filters=[dict(Name="tag:ops:stack", Values=["a"])])["Snapshots"]
assert {one["SnapshotId"] for one in snapshots} == {one["SnapshotId"] for one in found.values()}
assert all(one["Description"] == f"Created by CreateImage({i}) for {image}" for one in snapshots), snapshots
ec2.terminate_instances(InstanceIds=[i])
refused("IncorrectInstanceState", ec2.create_image, InstanceId=i, Name="other")
second = launch(ImageId=image)
volumes = ec2.describe_volumes(Filters=[dict(Name="attachment.instance-id", Values=[second])])["Volumes"]
assert sorted((one["Size"], one["Encrypted"]) for one in volumes) == [(5, False), (12, True)], volumes
refused("InvalidBlockDeviceMapping", launch, ImageId=image, BlockDeviceMappings=[dict(DeviceName="/dev/xvda", Ebs=dict(VolumeSize=8))])
"#,
    );
}

#[test]
fn an_image_is_given_up_before_its_snapshots() {
    Cloud::start().python(
        r#"
i = launch()
reach(i, "running")
image = ec2.create_image(InstanceId=i, Name="golden")["ImageId"]
snapshot = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"][0]["SnapshotId"]
ec2.create_tags(Resources=[image], Tags=[dict(Key="a", Value="1")])
assert [one["ResourceId"] for one in ec2.describe_tags(Filters=[dict(Name="resource-type", Values=["image"])])["Tags"]] == [image]
refused("InvalidSnapshot.InUse", ec2.delete_snapshot, SnapshotId=snapshot)
refused("AuthFailure", ec2.deregister_image, ImageId=AMI["x86_64"])
refused("DryRunOperation", ec2.deregister_image, ImageId=image, DryRun=True)
ec2.deregister_image(ImageId=image)
refused("InvalidAMIID.NotFound", ec2.deregister_image, ImageId=image)
refused("InvalidAMIID.NotFound", launch, ImageId=image)
refused("InvalidAMIID.Malformed", ec2.deregister_image, ImageId="ami-x")
ec2.delete_snapshot(SnapshotId=snapshot)
assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
assert ec2.create_image(InstanceId=i, Name="golden")["ImageId"] != image
"#,
    );
}

#[test]
fn zones_say_which_types_they_offer() {
    Cloud::start().python(
        r#"
def offered(kind, *types):
    filters = [dict(Name="instance-type", Values=list(types))]
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(LocationType=kind, Filters=filters)
    return sorted((one["InstanceType"], one["Location"]) for page in pages for one in page["InstanceTypeOfferings"])
zones = [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]]
assert offered("availability-zone", "t3.micro") == [("t3.micro", zone) for zone in zones]
assert offered("availability-zone", "m8g.large") == [("m8g.large", zone) for zone in zones[:2]]
assert offered("region", "m8g.large", "t3.micro") == [("m8g.large", "us-east-1"), ("t3.micro", "us-east-1")]
assert len(offered("availability-zone-id", "m5.*")) == 3 * len(offered("region", "m5.*")) > 0
refused("InvalidParameterValue", ec2.describe_instance_type_offerings, LocationType="planet")
burstable = ec2.describe_instance_types(Filters=[dict(Name="burstable-performance-supported", Values=["true"])])["InstanceTypes"]
assert {one["InstanceType"].split(".")[0] for one in burstable} == {"t2", "t3", "t3a", "t4g"}
assert all(one["BurstablePerformanceSupported"] for one in burstable)
"#,
    );
}
