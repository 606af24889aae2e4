//! IAM and STS: roles, their policies and profiles, and playing a role for a while.

use crate::harness::Cloud;

#[test]
fn a_role_is_made_once_and_found_again() {
    Cloud::start().python(
        r#"
made = iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust(), Path="/a/", Description="d", Tags=[dict(Key="ops:stack", Value="a")])["Role"]
assert made["Arn"] == "arn:aws:iam::000000000000:role/a/r" and made["RoleId"].startswith("AROA")
assert made["AssumeRolePolicyDocument"] == json.loads(trust()), made
refused("EntityAlreadyExists", role, name="R")
found = iam.get_role(RoleName="r")["Role"]
assert found["Tags"] == [dict(Key="ops:stack", Value="a")] and found["MaxSessionDuration"] == 3600
assert [one["RoleName"] for one in iam.list_roles(PathPrefix="/a/")["Roles"]] == ["r"] and iam.list_roles(PathPrefix="/b/")["Roles"] == []
iam.tag_role(RoleName="r", Tags=[dict(Key="b", Value="2")])
iam.untag_role(RoleName="r", TagKeys=["ops:stack"])
assert iam.list_role_tags(RoleName="r")["Tags"] == [dict(Key="b", Value="2")]
refused("MalformedPolicyDocument", role, name="bad", AssumeRolePolicyDocument="{}")
refused("MalformedPolicyDocument", role, name="bad", AssumeRolePolicyDocument=policy(dict(Effect="Allow", Action="sts:AssumeRole")))
refused("ValidationError", role, name="a b")
refused("NoSuchEntity", iam.get_role, RoleName="none")
other = client("iam", "eu-west-1")
assert other.get_role(RoleName="r")["Role"]["Arn"] == made["Arn"]
for number in range(3):
    role(f"page{number}")
pages = list(iam.get_paginator("list_roles").paginate(PaginationConfig=dict(PageSize=2)))
assert [len(page["Roles"]) for page in pages] == [2, 2]
"#,
    );
}

#[test]
fn a_role_with_policies_or_a_profile_is_not_deleted() {
    Cloud::start().python(
        r#"
allow = dict(Effect="Allow", Action="sns:Publish", Resource="arn:aws:sns:us-east-1:000000000000:topic")
profile("p", of="r")
refused("MalformedPolicyDocument", iam.put_role_policy, RoleName="r", PolicyName="publish", PolicyDocument=policy(dict(allow, Principal="*")))
iam.put_role_policy(RoleName="r", PolicyName="publish", PolicyDocument=policy(allow))
assert iam.get_role_policy(RoleName="r", PolicyName="publish")["PolicyDocument"] == json.loads(policy(allow))
assert iam.list_role_policies(RoleName="r")["PolicyNames"] == ["publish"]
assert "instance profile" in refused("DeleteConflict", iam.delete_role, RoleName="r")
refused("DeleteConflict", iam.delete_instance_profile, InstanceProfileName="p")
assert [one["InstanceProfileName"] for one in iam.list_instance_profiles_for_role(RoleName="r")["InstanceProfiles"]] == ["p"]
refused("LimitExceeded", iam.add_role_to_instance_profile, InstanceProfileName="p", RoleName="r")
refused("EntityAlreadyExists", iam.create_instance_profile, InstanceProfileName="p")
iam.remove_role_from_instance_profile(InstanceProfileName="p", RoleName="r")
refused("NoSuchEntity", iam.remove_role_from_instance_profile, InstanceProfileName="p", RoleName="r")
assert "delete policies" in refused("DeleteConflict", iam.delete_role, RoleName="r")
iam.delete_role_policy(RoleName="r", PolicyName="publish")
refused("NoSuchEntity", iam.delete_role_policy, RoleName="r", PolicyName="publish")
managed = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
iam.attach_role_policy(RoleName="r", PolicyArn=managed)
assert iam.list_attached_role_policies(RoleName="r")["AttachedPolicies"] == [dict(PolicyName="AmazonSSMManagedInstanceCore", PolicyArn=managed)]
assert "detach" in refused("DeleteConflict", iam.delete_role, RoleName="r")
iam.detach_role_policy(RoleName="r", PolicyArn=managed)
iam.delete_role(RoleName="r")
iam.tag_instance_profile(InstanceProfileName="p", Tags=[dict(Key="a", Value="1")])
assert iam.list_instance_profile_tags(InstanceProfileName="p")["Tags"] == [dict(Key="a", Value="1")]
iam.delete_instance_profile(InstanceProfileName="p")
refused("NoSuchEntity", iam.get_instance_profile, InstanceProfileName="p")
refused("NoSuchEntity", iam.delete_role, RoleName="r")
"#,
    );
}

#[test]
fn an_instance_is_launched_with_a_profile_that_has_a_role() {
    Cloud::start().python(
        r#"
refused("InvalidParameterValue", launch, IamInstanceProfile=dict(Name="none"))
iam.create_instance_profile(InstanceProfileName="empty")
assert "no associated IAM Roles" in refused("InvalidParameterValue", launch, IamInstanceProfile=dict(Name="empty"))
i = launch(IamInstanceProfile=dict(Name=profile("one")))
arn = iam.get_instance_profile(InstanceProfileName="one")["InstanceProfile"]["Arn"]
assert instance(i)["IamInstanceProfile"]["Arn"] == arn
def associations():
    return ec2.describe_iam_instance_profile_associations(Filters=[dict(Name="instance-id", Values=[i])])["IamInstanceProfileAssociations"]
found = associations()[0]
assert found["State"] == "associated" and found["IamInstanceProfile"]["Arn"] == arn
refused("IncorrectState", ec2.associate_iam_instance_profile, InstanceId=i, IamInstanceProfile=dict(Name="one"))
ec2.replace_iam_instance_profile_association(AssociationId=found["AssociationId"], IamInstanceProfile=dict(Name=profile("two")))
assert instance(i)["IamInstanceProfile"]["Arn"].endswith("/two")
ec2.disassociate_iam_instance_profile(AssociationId=associations()[0]["AssociationId"])
assert associations() == [] and "IamInstanceProfile" not in instance(i)
refused("InvalidAssociationID.NotFound", ec2.disassociate_iam_instance_profile, AssociationId=found["AssociationId"])
assert ec2.associate_iam_instance_profile(InstanceId=i, IamInstanceProfile=dict(Arn=arn))["IamInstanceProfileAssociation"]["State"] == "associating"
"#,
    );
}

#[test]
fn who_a_role_trusts_can_play_it() {
    let mut cloud = Cloud::start();
    let session = cloud.python(
        r#"
account = sts.get_caller_identity()["Account"]
arn = role("deployer", AssumeRolePolicyDocument=trust(AWS=f"arn:aws:iam::{account}:root"))
machine = role("machine")
refused("AccessDenied", sts.assume_role, RoleArn=machine, RoleSessionName="me")
refused("AccessDenied", sts.assume_role, RoleArn=arn + "x", RoleSessionName="me")
refused("ValidationError", sts.assume_role, RoleArn=arn, RoleSessionName="me", DurationSeconds=7200)
given = sts.assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
assert given["AccessKeyId"].startswith("ASIA") and given["SessionToken"], given
def played(service):
    return boto3.client(service, endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id=given["AccessKeyId"],
                        aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"])
identity = played("sts").get_caller_identity()
assert identity["Arn"] == f"arn:aws:sts::{account}:assumed-role/deployer/me" and identity["Account"] == account
played("ec2").create_security_group(GroupName="a", Description="a")
secret = role("secret", AssumeRolePolicyDocument=policy(dict(Effect="Allow", Action="sts:AssumeRole", Principal=dict(AWS=account), Condition=dict(StringEquals={"sts:ExternalId": "42"}))))
refused("AccessDenied", sts.assume_role, RoleArn=secret, RoleSessionName="me")
sts.assume_role(RoleArn=secret, RoleSessionName="me", ExternalId="42")
print(given["AccessKeyId"])
"#,
    );
    cloud.stop();
    let path = cloud.path().join("state.json");
    let text = std::fs::read_to_string(&path).expect("the state");
    let mut state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    state["iam"]["sessions"][&session]["expires"] = 0.into();
    std::fs::write(&path, state.to_string()).expect("the state is written");
    cloud.restart();
    cloud.python(&format!(
        r#"
def late(service):
    return boto3.client(service, endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id="{session}", aws_secret_access_key="a",
                        aws_session_token="a", config=Config(retries={{"total_max_attempts": 1}}))
refused("ExpiredToken", late("iam").list_roles)
refused("RequestExpired", late("ec2").describe_vpcs)
refused("ExpiredTokenException", late("ssm").describe_parameters)
"#
    ));
}
