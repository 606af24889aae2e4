//! The shipped playbooks against moto, an AWS emulator that nobody here wrote: what ours lets pass by mistake, it may not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::faults::open;
use crate::harness::{Project, Ran};

/// The emulator, until the test ends.
pub(crate) struct Moto {
    server: Child,
    port: u16,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let mut server = Command::new(moto().join("bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts");
        let mut lines = BufReader::new(server.stderr.take().expect("a pipe")).lines();
        // It takes a free port, and says which.
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.split_once("Running on http://127.0.0.1:").and_then(|(_, port)| port.trim().parse().ok())
        });
        // It logs every call; a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { server, port: port.expect("moto says where it answers") }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Empties the emulator.
    pub(crate) fn reset(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("moto answers");
        let request =
            "POST /moto-api/reset HTTP/1.1\r\nhost: moto\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// What is there, a line each, as boto3 sees it.
    pub(crate) fn left(&self) -> String {
        self.boto3(LEFT)
    }

    /// What a script prints that has boto3's clients for the emulator.
    pub(crate) fn boto3(&self, script: &str) -> String {
        let mut python = Command::new(moto().join("bin/python"));
        let script = format!("{CLIENTS}{script}");
        let output = python.args(["-c", &script, &self.endpoint()]).output().expect("Python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs `ops` with the emulator for an account.
    pub(crate) fn ops(&self, project: &Project, arguments: &[&str]) -> Ran {
        project.through(&open(self), project.command(arguments))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.server.kill().and_then(|()| self.server.wait()).expect("moto can be stopped");
    }
}

/// A virtual environment with moto, made once for a target folder.
fn moto() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto-5.2.5");
    // Tests run side by side, and one of them installs it for all.
    let installing = std::fs::File::create(folder.with_extension("lock")).expect("the lock's file");
    installing.lock().expect("the lock of the installation");
    if !folder.join("ready").exists() {
        let run = |program: &Path, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            assert!(
                output.as_ref().is_ok_and(|output| output.status.success()),
                "the test needs moto: install Python (`apt-get install -y python3-venv`) and allow access to PyPI; {output:?}"
            );
        };
        run(Path::new("python3"), &["-m", "venv", &folder.to_string_lossy()]);
        run(&folder.join("bin/python"), &["-m", "pip", "install", "--quiet", "moto[server]==5.2.5"]);
        std::fs::write(folder.join("ready"), "").expect("the mark");
    }
    folder
}

#[test]
fn deploy_and_cleanup_converge_on_an_emulator_of_others() {
    let moto = Moto::start();
    let project = Project::new();
    let deploy = |expected: &str| {
        let image = "registry.example.com/app-server@sha256:0000000000000000000000000000000000000000000000000000000000000000";
        let arguments = [
            "run",
            "deploy",
            "--yes",
            "--skip-schema",
            "--nlb",
            "--client-cidr",
            "10.0.0.0/8",
            "--image",
            image,
        ];
        moto.ops(&project, &arguments).ended_with(0).says(expected)
    };
    deploy("account 123456789012 · us-east-1");
    deploy("==> 0 changes");
    moto.ops(&project, &["run", "cleanup", "--yes"]).ended_with(4).says("--delete-protected music-app");
    moto.ops(&project, &["run", "cleanup", "--yes", "--keep-db"]).ended_with(0);
    deploy("ec2 server");
    deploy("==> 0 changes");
    let arguments = ["run", "cleanup", "--yes", "--delete-protected", "music-app"];
    moto.ops(&project, &arguments).ended_with(0).says("final-");
    project.write("left.rhai", "stack(\"music-app\");\nprint(owned().keys);\n");
    assert_eq!(moto.ops(&project, &["run", "left.rhai"]).ended_with(0).stdout, "[]\n");
    assert!(!project.path("deploy_config.json").exists());
    assert_eq!(moto.left(), "database snapshot music-app-db-final\n");
}

const CLIENTS: &str = r#"
import re, sys, boto3
client = lambda service: boto3.client(service, region_name="us-east-1", endpoint_url=sys.argv[1],
                                      aws_access_key_id="test", aws_secret_access_key="test")
ec2, rds, elb, iam, ssm = map(client, ["ec2", "rds", "elbv2", "iam", "ssm"])
"#;

/// What an account has after a clean-up, asked by another program than the one under test. The default VPC and what is called `default` or
/// `/aws/` are not the stack's, and moto keeps showing what was terminated.
const LEFT: &str = r#"
def left(kind, names):
    for name in names:
        print(kind, re.sub(r"-final-.*", "-final", name))
alive = [dict(Name="instance-state-name", Values=["pending", "running", "stopping", "stopped"])]
left("instance", [i["InstanceId"] for r in ec2.describe_instances(Filters=alive)["Reservations"] for i in r["Instances"]])
left("volume", [v["VolumeId"] for v in ec2.describe_volumes()["Volumes"]])
left("security group", [g["GroupName"] for g in ec2.describe_security_groups()["SecurityGroups"] if g["GroupName"] != "default"])
left("address", [a["PublicIp"] for a in ec2.describe_addresses()["Addresses"]])
left("key pair", [k["KeyName"] for k in ec2.describe_key_pairs()["KeyPairs"]])
left("database", [d["DBInstanceIdentifier"] for d in rds.describe_db_instances()["DBInstances"]])
left("database snapshot", [d["DBSnapshotIdentifier"] for d in rds.describe_db_snapshots()["DBSnapshots"]])
left("subnet group", [d["DBSubnetGroupName"] for d in rds.describe_db_subnet_groups()["DBSubnetGroups"]])
left("parameter group", [d["DBParameterGroupName"] for d in rds.describe_db_parameter_groups()["DBParameterGroups"]
                         if not d["DBParameterGroupName"].startswith("default.")])
left("topic", [t["TopicArn"] for t in client("sns").list_topics()["Topics"]])
left("subscription", [s["SubscriptionArn"] for s in client("sns").list_subscriptions()["Subscriptions"]])
left("queue", client("sqs").list_queues().get("QueueUrls", []))
left("balancer", [b["LoadBalancerName"] for b in elb.describe_load_balancers()["LoadBalancers"]])
left("target group", [g["TargetGroupName"] for g in elb.describe_target_groups()["TargetGroups"]])
left("role", [r["RoleName"] for r in iam.list_roles()["Roles"]])
left("instance profile", [p["InstanceProfileName"] for p in iam.list_instance_profiles()["InstanceProfiles"]])
left("parameter", [p["Name"] for p in ssm.describe_parameters()["Parameters"] if not p["Name"].startswith("/aws/")])
"#;
