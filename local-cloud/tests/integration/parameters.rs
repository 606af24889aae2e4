//! SSM's parameter store.

use crate::harness::Cloud;

#[test]
fn a_parameter_is_written_once_unless_overwritten() {
    Cloud::start().python(
        r#"
assert ssm.put_parameter(Name="/ops/a/lock/1", Value="v", Type="String")["Version"] == 1
try:
    ssm.put_parameter(Name="/ops/a/lock/1", Value="w", Type="String")
    raise AssertionError("overwritten")
except ssm.exceptions.ParameterAlreadyExists:
    pass
assert ssm.put_parameter(Name="/ops/a/lock/1", Value="w", Type="String", Overwrite=True)["Version"] == 2
assert ssm.get_parameter(Name="/ops/a/lock/1")["Parameter"]["Value"] == "w"
refused("ParameterNotFound", ssm.get_parameter, Name="/none")
refused("ValidationException", ssm.put_parameter, Name="/aws/x", Value="v", Type="String")
refused("ValidationException", ssm.put_parameter, Name="/x", Value="v" * 4097, Type="String")
ssm.delete_parameter(Name="/ops/a/lock/1")
refused("ParameterNotFound", ssm.delete_parameter, Name="/ops/a/lock/1")
"#,
    );
}

#[test]
fn a_secure_string_needs_decryption() {
    Cloud::start().python(
        r#"
ssm.put_parameter(Name="/a/secret", Value="hush", Type="SecureString", Tags=[dict(Key="ops:stack", Value="a")])
assert ssm.get_parameter(Name="/a/secret")["Parameter"]["Value"] != "hush"
assert ssm.get_parameter(Name="/a/secret", WithDecryption=True)["Parameter"]["Value"] == "hush"
assert ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/a/secret")["TagList"] == [dict(Key="ops:stack", Value="a")]
assert os.stat(FOLDER + "/state.json").st_mode & 0o777 == 0o600
"#,
    );
}

#[test]
fn parameters_are_found_by_path_in_pages_and_the_image_is_public() {
    Cloud::start().python(
        r#"
for number in range(12):
    ssm.put_parameter(Name=f"/a/p{number:02}", Value="v", Type="String")
ssm.put_parameter(Name="/a/deep/er", Value="v", Type="String")
def names(**arguments):
    pages = ssm.get_paginator("get_parameters_by_path").paginate(**arguments)
    return [one["Name"] for page in pages for one in page["Parameters"]]
assert len(names(Path="/a")) == 12 and len(names(Path="/a", Recursive=True)) == 13
answer = ssm.get_parameters(Names=["/a/p00", "/none"])
assert answer["InvalidParameters"] == ["/none"] and answer["Parameters"][0]["Name"] == "/a/p00"
image = ssm.get_parameter(Name="/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64")
assert image["Parameter"]["Value"] == AMI["arm64"]
assert len(ssm.describe_parameters(ParameterFilters=[dict(Key="Name", Option="BeginsWith", Values=["/a/p"])])["Parameters"]) == 12
assert ssm.delete_parameters(Names=["/a/p00", "/none"])["InvalidParameters"] == ["/none"]
"#,
    );
}
