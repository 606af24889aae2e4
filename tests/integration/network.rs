//! Where a stack stands: the default VPC or the one that is named, and whether an instance has a public address.

use crate::faults::{DEPLOY, open, through};
use crate::harness::Project;
use crate::interop::Moto;
use crate::proxy::{Call, Fate, Proxy};

const SERVER: &str = r#"//! A server.
let reached = option("reached", true, "Whether it has a public address");
stack("s");
let app = ec2::ensure_security_group("app", #{ ingress: [tcp(8080, "10.0.0.0/8")] });
let server = ec2::ensure_instance("server", #{ security_groups: [app], public_ip: reached });
output(#{ outside: server.public_ip, inside: server.private_ip });
"#;

#[test]
fn an_instance_gets_a_public_address_or_none_as_it_is_asked_for() {
    let project = Project::empty();
    project.write("playbooks/server.rhai", SERVER);
    let run = |public: &str, expected: &str| {
        let ran = project
            .run_local("server", &["--yes", "--json", "--reached", public])
            .ended_with(0)
            .says(expected);
        let result: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_ne!(result["inside"], "", "{}", ran.stdout);
        result["outside"].as_str().expect("a text").to_owned()
    };
    assert_eq!(run("false", "+ ec2 server"), "");
    assert_eq!(run("false", "0 changes"), "");
    let before = project.changes_on_the_wire();
    let plan = ["plan", "server", "--local", "--reached", "true"];
    project.ops(&plan).ended_with(0).says("~ ec2 server  with a public address");
    assert_eq!(project.changes_on_the_wire(), before);
    assert_ne!(run("true", "~ ec2 server  with a public address"), "");
    assert_ne!(run("true", "0 changes"), "");
    assert_eq!(run("false", "~ ec2 server  without a public address"), "");
}

#[test]
fn the_public_address_is_said_of_the_network_interface() {
    let moto = Moto::start();
    let project = Project::empty();
    project.write("playbooks/server.rhai", SERVER);
    for (public, stack) in [("false", "a"), ("true", "b")] {
        project
            .write("playbooks/server.rhai", &SERVER.replace("stack(\"s\")", &format!("stack(\"{stack}\")")));
        let proxy = open(&moto);
        let run = ["run", "server", "--yes", "--json", "--reached", public];
        let ran = through(&proxy, &project, &run).ended_with(0);
        let calls: Vec<Call> = proxy.calls().into_iter().map(|(call, _)| call).collect();
        let launch = calls.iter().find(|call| call.operation == "RunInstances").expect("a launch");
        let field = |name: &str| launch.field(name).unwrap_or_default();
        assert_eq!(field("NetworkInterface.1.AssociatePublicIpAddress"), public);
        assert_eq!(field("NetworkInterface.1.DeviceIndex"), "0");
        assert!(field("NetworkInterface.1.SubnetId").starts_with("subnet-"), "{}", launch.body);
        assert!(field("NetworkInterface.1.SecurityGroupId.1").starts_with("sg-"), "{}", launch.body);
        assert_eq!([field("SubnetId"), field("SecurityGroupId.1")], ["", ""], "{}", launch.body);
        let result: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(result["outside"].as_str() != Some(""), public == "true", "{}", ran.stdout);
        through(&proxy, &project, &run).ended_with(0).says("0 changes");
    }
}

/// An account without a default VPC, and with one of its own: two subnets in the zone a, of which one is for the internet, and one in b.
const VPC: &str = r#"
for kind in [("subnet", ec2.describe_subnets, "Subnets", "SubnetId"), ("vpc", ec2.describe_vpcs, "Vpcs", "VpcId")]:
    name, describe, list, id = kind
    for one in describe()[list]:
        getattr(ec2, "delete_" + name)(**{id: one[id]})
def vpc(block):
    return ec2.create_vpc(CidrBlock=block)["Vpc"]["VpcId"]
home, other = vpc("10.9.0.0/16"), vpc("10.8.0.0/16")
def subnet(zone, block, public):
    made = ec2.create_subnet(VpcId=home, CidrBlock=block, AvailabilityZone="us-east-1" + zone)["Subnet"]["SubnetId"]
    # moto takes the first subnet of a zone for its default one, in every VPC.
    ec2.modify_subnet_attribute(SubnetId=made, MapPublicIpOnLaunch=dict(Value=public))
    return made
subnets = [subnet("a", "10.9.1.0/24", False), subnet("a", "10.9.2.0/24", True), subnet("b", "10.9.3.0/24", True)]
print(home, other, *subnets)
"#;

/// Where all the parts of a deployment stand.
const PARTS: &str = r#"
server = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]][0]
print("instance", server["VpcId"], server["SubnetId"])
print("balancer", *[(b["VpcId"], *[z["SubnetId"] for z in b["AvailabilityZones"]]) for b in elb.describe_load_balancers()["LoadBalancers"]][0])
print("target group", *[g["VpcId"] for g in elb.describe_target_groups()["TargetGroups"]])
for group in rds.describe_db_subnet_groups()["DBSubnetGroups"]:
    print("database", group["VpcId"], *sorted(s["SubnetIdentifier"] for s in group["Subnets"]))
print("groups", *{g["VpcId"] for g in ec2.describe_security_groups()["SecurityGroups"] if g["GroupName"] != "default"})
"#;

#[test]
fn everything_of_a_stack_stands_in_the_vpc_that_is_named() {
    let moto = Moto::start();
    let made = moto.boto3(VPC);
    let [home, other, private, public, second] =
        made.split_whitespace().collect::<Vec<_>>().try_into().expect("two VPCs and three subnets");
    let project = Project::new();
    let deploy = |more: &[&str]| moto.ops(&project, &[&DEPLOY, more].concat());

    deploy(&[]).ended_with(1).says("us-east-1 has no default VPC").says("--vpc-id vpc-..");
    deploy(&["--vpc-id", "vpc-00000000000000000"])
        .ended_with(1)
        .says("there is no VPC `vpc-00000000000000000` in us-east-1")
        .says("aws ec2 describe-vpcs");

    let proxy = Proxy::start(&moto.endpoint(), |_| Fate::Passes);
    let plan = [&["plan"], &DEPLOY[1..], &["--vpc-id", home]].concat();
    let planned = through(&proxy, &project, &plan).ended_with(0).says("+ ec2 server");
    assert!(!planned.stderr.contains("the plan ends"), "{}", planned.stderr);
    assert_eq!(proxy.changes(), 0);

    deploy(&["--vpc-id", home]).ended_with(0);
    let parts = moto.boto3(PARTS);
    // One subnet of each zone: what the internet reaches in its own, the database in the other.
    let of_balancer = format!("{home} {public} {second}");
    let mut of_database = [private, second];
    of_database.sort_unstable();
    let expected = format!(
        "instance {home} {public}\nbalancer {of_balancer}\ntarget group {home}\ndatabase {home} {}\ngroups {home}\n",
        of_database.join(" ")
    );
    assert_eq!(parts, expected);

    // Where the stack is, is known by then.
    deploy(&[]).ended_with(0).says("==> 0 changes");
    deploy(&["--vpc-id", home]).ended_with(0).says("==> 0 changes");
    moto.ops(&project, &["run", "setup_nlb", "--yes", "--clean"]).ended_with(0);
    let setup = ["run", "setup_nlb", "--yes", "--no-wait", "--client-cidr", "10.0.0.0/8"];
    moto.ops(&project, &setup).ended_with(0).says("+ elbv2 nlb");
    assert_eq!(moto.boto3(PARTS), expected);

    deploy(&["--vpc-id", other])
        .ended_with(1)
        .says(&format!("is in the VPC `{home}`, and `{other}` is asked for"))
        .says("EC2 cannot move it");
    moto.ops(&project, &["run", "cleanup", "--yes", "--delete-protected", "music-app"]).ended_with(0);
    assert_eq!(moto.left(), "database snapshot music-app-db-final\n");
}

#[test]
fn in_the_local_cloud_there_is_one_vpc_and_its_id_can_be_named() {
    let project = Project::empty();
    project.write(
        "playbooks/group.rhai",
        "//! A group.\nlet vpc = required(\"vpc\", \"Where\");\nstack(\"s\");\nec2::ensure_security_group(\"app\", #{ vpc: vpc });\n",
    );
    let wrong = project.run_local("group", &["--yes", "--vpc", "vpc-0123456789abcdef0"]).ended_with(1);
    wrong.says("there is no VPC `vpc-0123456789abcdef0` in us-east-1").says("group.rhai:4:38");
    project.write(
        "playbooks/which.rhai",
        "//! The VPC.\nprint(aws::request(\"ec2\", \"DescribeVpcs\", #{}).vpcSet[0].vpcId);\n",
    );
    let vpc = project.run_local("which", &[]).ended_with(0).stdout;
    project
        .run_local("group", &["--yes", "--vpc", vpc.trim()])
        .ended_with(0)
        .says("+ ec2 app  security group");
    project.run_local("group", &["--yes", "--vpc", vpc.trim()]).ended_with(0).says("0 changes");
    project
        .run_local("group", &["--yes", "--vpc", "vpc-0123456789abcdef0"])
        .ended_with(1)
        .says("the security group s-app is in the VPC");
}
