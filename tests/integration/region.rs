//! A deployment in another region, of another size: what is asked for is what every request says.

use crate::faults::{DEPLOY, open, through};
use crate::harness::Project;
use crate::interop::Moto;

#[test]
fn a_region_and_an_instance_type_are_those_of_every_request() {
    let moto = Moto::start();
    let project = Project::new();
    let proxy = open(&moto);
    let asked = ["--region", "eu-south-1", "--instance-type", "t3.small", "--servers", "2"];
    let deploy = [&DEPLOY[..], &asked].concat();
    through(&proxy, &project, &deploy).ended_with(0).says("account 123456789012 · eu-south-1");
    let calls = proxy.calls();
    let types: Vec<_> = calls
        .iter()
        .filter(|(call, _)| call.operation == "RunInstances")
        .filter_map(|(call, _)| call.field("InstanceType"))
        .collect();
    assert_eq!(types, ["t3.small", "t3.small"]);
    let elsewhere: Vec<_> = calls
        .iter()
        .filter(|(call, _)| call.body.contains("us-east-1"))
        .map(|(call, _)| &call.operation)
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    through(&proxy, &project, &deploy).ended_with(0).says("==> 0 changes");
    // Another size of a server that is there is no small change, and is refused.
    let larger = [&DEPLOY[..], &["--region", "eu-south-1", "--instance-type", "t3.medium"]].concat();
    through(&proxy, &project, &larger)
        .ended_with(1)
        .says("has instance_type `t3.small`, and `t3.medium` is asked for");
    // Nothing of it is where the environment points to.
    project.write("left.rhai", "stack(\"music-app\");\nprint(owned().keys);\n");
    let left =
        |region| through(&proxy, &project, &["run", "left.rhai", "--region", region, "--state", "left.json"]);
    assert_eq!(left("us-east-1").ended_with(0).stdout, "[]\n");
    assert!(left("eu-south-1").ended_with(0).stdout.contains("\"ec2:server-2\""));
}
