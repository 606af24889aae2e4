//! What a playbook makes is there for any AWS client: boto3 looks at it, in the environment that `ops local env` prints.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Project, finish};

const PLAYBOOK: &str = r#"//! Makes one of each.
stack("seen");
let key = ec2::ensure_key_pair("key");
let app = ec2::ensure_security_group("app", #{ ingress: [tcp(8080, "10.0.0.0/8")] });
let topic = sns::ensure_topic("alerts");
let queue = sqs::ensure_queue("log", #{ subscribe_to: topic });
topic.publish("hello", "from a playbook");
output(#{ group: app.id, topic: topic.arn });
"#;

const LOOK: &str = r#"
import json, sys
import boto3
made = json.loads(sys.argv[1])
ec2, sns, sqs = (boto3.client(name) for name in ("ec2", "sns", "sqs"))
owned = [dict(Name="tag:ops:stack", Values=["seen"])]
keys = ec2.describe_key_pairs(Filters=owned)["KeyPairs"]
assert [key["KeyName"] for key in keys] == ["seen-key"], keys
groups = ec2.describe_security_groups(Filters=owned)["SecurityGroups"]
assert [(group["GroupName"], group["GroupId"]) for group in groups] == [("seen-app", made["group"])], groups
rule = groups[0]["IpPermissions"][0]
assert (rule["FromPort"], rule["IpRanges"][0]["CidrIp"]) == (8080, "10.0.0.0/8"), rule
topics = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
assert topics == [made["topic"]], topics
urls = sqs.list_queues()["QueueUrls"]
assert [url.split("/")[-1] for url in urls] == ["seen-log"], urls
message = json.loads(sqs.receive_message(QueueUrl=urls[0])["Messages"][0]["Body"])
assert (message["Subject"], message["Message"]) == ("hello", "from a playbook"), message
print(boto3.client("sts").get_caller_identity()["Account"])
"#;

#[test]
fn a_second_aws_client_sees_what_a_playbook_made() {
    let project = Project::new();
    project.write("playbooks-of-test/make.rhai", PLAYBOOK);
    let made = project.run_local("playbooks-of-test/make.rhai", &["--yes", "--json"]).ended_with(0).stdout;

    let mut look = Command::new("sh");
    look.args(["-c", "eval \"$(\"$1\" local env)\" && exec \"$2\" -c \"$3\" \"$4\"", "sh"]);
    look.arg(env!("CARGO_BIN_EXE_ops")).arg(python()).args([LOOK, made.trim()]);
    look.current_dir(project.path(""));
    let seen = finish(look).ended_with(0);
    assert_eq!(seen.stdout.trim(), "000000000000");
}

/// Python with boto3, in the virtual environment that the local cloud's own tests use, too: whoever comes first makes it.
fn python() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let target = test.parent().and_then(Path::parent).expect("target/debug/deps");
    let folder = target.join("local-cloud-python");
    let python = folder.join("bin/python");
    let ready = folder.join("ready");
    // Tests may run in several processes: one makes it, the others wait for the mark.
    let lock = std::fs::File::create(target.join("local-cloud-python.lock")).expect("a lock file");
    lock.lock().expect("the lock");
    if !ready.exists() {
        let run = |program: &Path, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            let succeeded = output.as_ref().is_ok_and(|output| output.status.success());
            assert!(
                succeeded,
                "the test needs Python with boto3: install it with `apt-get install -y python3-venv` (or your system's \
                 Python 3) and allow access to PyPI; {output:?}"
            );
        };
        run(Path::new("python3"), &["-m", "venv", &folder.to_string_lossy()]);
        run(&python, &["-m", "pip", "install", "--quiet", "boto3>=1.40,<2"]);
        std::fs::write(&ready, "").expect("the mark");
    }
    python
}
