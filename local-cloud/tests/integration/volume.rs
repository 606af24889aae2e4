//! Volumes and snapshots, instance types, what of an instance can be changed, its console.

use crate::harness::Cloud;

#[test]
fn a_volume_grows_once_in_six_hours_and_never_shrinks() {
    Cloud::start().python(
        r#"
tags = [dict(ResourceType="volume", Tags=[dict(Key="ops:stack", Value="a")])]
i = launch(TagSpecifications=tags, BlockDeviceMappings=[dict(DeviceName="/dev/xvda", Ebs=dict(VolumeSize=10, VolumeType="gp3", Encrypted=True))])
def volumes():
    return ec2.describe_volumes(Filters=[dict(Name="attachment.instance-id", Values=[i])])["Volumes"]
volume = volumes()[0]
id = volume["VolumeId"]
assert (volume["Size"], volume["VolumeType"], volume["Iops"], volume["Encrypted"], volume["State"]) == (10, "gp3", 3000, True, "in-use"), volume
assert volume["Tags"] == tags[0]["Tags"] and instance(i)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"] == id
refused("InvalidVolumeModification.NotFound", ec2.describe_volumes_modifications, VolumeIds=[id])
refused("InvalidParameterValue", ec2.modify_volume, VolumeId=id, Size=9)
changed = ec2.modify_volume(VolumeId=id, Size=20, Iops=4000)["VolumeModification"]
assert (changed["ModificationState"], changed["OriginalSize"], changed["TargetSize"], changed["TargetIops"]) == ("modifying", 10, 20, 4000), changed
refused("VolumeModificationRateExceeded", ec2.modify_volume, VolumeId=id, Size=30)
def state():
    return ec2.describe_volumes_modifications(VolumeIds=[id])["VolumesModifications"][0]["ModificationState"]
wait("the modification", lambda: state() == "completed")
assert volumes()[0]["Size"] == 20
refused("VolumeInUse", ec2.delete_volume, VolumeId=id)
refused("InvalidVolume.NotFound", ec2.modify_volume, VolumeId="vol-00000000000000000", Size=30)
refused("InvalidBlockDeviceMapping", launch, BlockDeviceMappings=[dict(DeviceName="/dev/xvda", Ebs=dict(VolumeSize=4))])
refused("InvalidParameterCombination", launch, BlockDeviceMappings=[dict(DeviceName="/dev/xvda", Ebs=dict(VolumeType="gp2", Throughput=125))])
"#,
    );
}

#[test]
fn a_volume_goes_with_its_instance_unless_it_was_to_stay() {
    Cloud::start().python(
        r#"
i = launch(BlockDeviceMappings=[dict(DeviceName="/dev/sdf", Ebs=dict(VolumeSize=5))])
reach(i, "running")
assert len(ec2.describe_volumes()["Volumes"]) == 2
ec2.terminate_instances(InstanceIds=[i])
reach(i, "terminated")
left = ec2.describe_volumes()["Volumes"]
assert [(one["Size"], one["State"]) for one in left] == [(5, "available")], left
ec2.create_tags(Resources=[left[0]["VolumeId"]], Tags=[dict(Key="a", Value="1")])
assert ec2.describe_volumes(Filters=[dict(Name="tag:a", Values=["1"])])["Volumes"]
ec2.delete_volume(VolumeId=left[0]["VolumeId"])
assert ec2.describe_volumes()["Volumes"] == []
"#,
    );
}

#[test]
fn a_snapshot_is_pending_then_completed() {
    Cloud::start().python(
        r#"
i = launch()
volume = instance(i)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
made = ec2.create_snapshot(VolumeId=volume, Description="d", TagSpecifications=[dict(ResourceType="snapshot", Tags=[dict(Key="a", Value="1")])])
id = made["SnapshotId"]
assert made["State"] == "pending" and made["Tags"] == [dict(Key="a", Value="1")], made
ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[id], WaiterConfig=dict(Delay=1))
assert [one["SnapshotId"] for one in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]] == [id]
assert [one["VolumeId"] for one in ec2.describe_snapshots(Filters=[dict(Name="tag:a", Values=["1"])])["Snapshots"]] == [volume]
refused("InvalidVolume.NotFound", ec2.create_snapshot, VolumeId="vol-00000000000000000")
ec2.delete_snapshot(SnapshotId=id)
refused("InvalidSnapshot.NotFound", ec2.describe_snapshots, SnapshotIds=[id])
refused("InvalidSnapshot.NotFound", ec2.delete_snapshot, SnapshotId=id)
"#,
    );
}

#[test]
fn the_type_of_an_instance_changes_while_it_is_stopped() {
    Cloud::start().python(
        r#"
i = launch()
reach(i, "running")
def resize(name):
    ec2.modify_instance_attribute(InstanceId=i, InstanceType=dict(Value=name))
refused("IncorrectInstanceState", resize, name="t3.small")
ec2.stop_instances(InstanceIds=[i])
reach(i, "stopped")
refused("InvalidParameterValue", resize, name="t3.huge")
refused("InvalidParameterValue", resize, name="t4g.small")
resize("t3.small")
assert instance(i)["InstanceType"] == "t3.small"
refused("InvalidParameterCombination", ec2.modify_instance_attribute, InstanceId=i)
types = ec2.describe_instance_types(InstanceTypes=["t3.small", "m7g.large"])["InstanceTypes"]
found = {one["InstanceType"]: (one["VCpuInfo"]["DefaultVCpus"], one["MemoryInfo"]["SizeInMiB"], one["ProcessorInfo"]["SupportedArchitectures"]) for one in types}
assert found == {"t3.small": (2, 2048, ["x86_64"]), "m7g.large": (2, 8192, ["arm64"])}, found
refused("InvalidInstanceType", ec2.describe_instance_types, InstanceTypes=["t3.huge"])
"#,
    );
}

#[test]
fn the_console_shows_the_host_key() {
    Cloud::start().python(
        r#"
i = launch()
reach(i, "running")
def key():
    lines = ec2.get_console_output(InstanceId=i)["Output"].splitlines()
    return lines[lines.index("-----BEGIN SSH HOST KEY KEYS-----") + 1]
first = key()
kind, blob, _ = first.split(" ")
assert kind == "ssh-ed25519" and len(base64.b64decode(blob)) == 51, first
ec2.stop_instances(InstanceIds=[i])
reach(i, "stopped")
ec2.start_instances(InstanceIds=[i])
reach(i, "running")
assert key() == first
"#,
    );
}

#[test]
fn an_instance_has_the_ssh_server_that_its_user_names() {
    let cloud = Cloud::start();
    let write =
        |entry: &str| std::fs::write(cloud.path().join("sshd.json"), format!(r#"{{"web": {entry}}}"#));
    let public = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    write(&format!(r#"{{"login": "me@127.0.0.1:2222", "host_key": "ssh-ed25519 {public} me@here"}}"#))
        .expect("a file");
    cloud.python(&format!(
        r#"
named = lambda name: dict(TagSpecifications=[dict(ResourceType="instance", Tags=[dict(Key="Name", Value=name)])])
for name, has in [("web", True), ("other", False)]:
    i = launch(**named(name))
    reach(i, "running")
    tags = {{tag["Key"]: tag["Value"] for tag in instance(i)["Tags"]}}
    assert tags.get("ops-local:ssh") == ("me@127.0.0.1:2222" if has else None), tags
    assert ("ssh-ed25519 {public} " in ec2.get_console_output(InstanceId=i)["Output"]) == has
"#
    ));
    for wrong in [
        r#"{"login": "me@127.0.0.1:2222", "host_key": "ssh-rsa AAAA"}"#.to_owned(),
        format!(r#"{{"login": "127.0.0.1", "host_key": "ssh-ed25519 {public}"}}"#),
        r#"{"port": 22}"#.to_owned(),
    ] {
        write(&wrong).expect("a file");
        cloud.python(
            r#"refused("InternalError", launch, TagSpecifications=[dict(ResourceType="instance", Tags=[dict(Key="Name", Value="web")])])"#,
        );
    }
}

#[test]
fn a_volume_is_made_empty_or_of_a_snapshot_once_for_each_token() {
    Cloud::start().python(
        r#"
def make(**arguments):
    return ec2.create_volume(**dict(AvailabilityZone="us-east-1a", ClientToken="one", Size=5, VolumeType="gp3") | arguments)
made = make(TagSpecifications=[dict(ResourceType="volume", Tags=[dict(Key="a", Value="1")])])
id = made["VolumeId"]
assert made["State"] == "creating" and made["Size"] == 5 and made["Tags"] == [dict(Key="a", Value="1")], made
ec2.get_waiter("volume_available").wait(VolumeIds=[id], WaiterConfig=dict(Delay=1))
assert make()["VolumeId"] == id
refused("IdempotentParameterMismatch", make, Size=6)
refused("InvalidZone.NotFound", make, AvailabilityZone="eu-west-1a")
refused("InvalidParameterCombination", make, VolumeType="gp2", Iops=3000)
refused("MissingParameter", ec2.create_volume, AvailabilityZone="us-east-1a")
refused("InvalidSnapshot.NotFound", make, SnapshotId="snap-00000000000000000")
snapshot = ec2.create_snapshot(VolumeId=id)["SnapshotId"]
copy = ec2.create_volume(AvailabilityZone="us-east-1b", SnapshotId=snapshot)
assert (copy["Size"], copy["VolumeType"]) == (5, "gp2"), copy
refused("InvalidParameterValue", ec2.create_volume, AvailabilityZone="us-east-1b", SnapshotId=snapshot, Size=4)
for one in (id, copy["VolumeId"]):
    ec2.delete_volume(VolumeId=one)
refused("InvalidVolume.NotFound", ec2.describe_volumes, VolumeIds=[id])
"#,
    );
}
