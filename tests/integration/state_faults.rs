//! State and journal on a disk that is full and in a process that dies at any system call: the next run finds what there is, and
//! nothing is there twice. The faults are strace's, at the system calls themselves.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::harness::{Project, Ran, finish};

/// Two things to make, and a state file to write.
const SMALL: &str = r#"
let name = option("stack", "", "Name of this deployment");
stack(name);
let topic = sns::ensure_topic("alerts");
sqs::ensure_queue("log");
state::set(#{ alerts_topic: topic.arn });
"#;

/// What writes a file, and what makes it last.
const CALLS: [&str; 7] = ["write", "fsync", "fdatasync", "fchmod", "ftruncate", "rename", "renameat"];

/// A run of the playbook for `stack` that strace treats with `fault`.
fn run_with(project: &Project, stack: &str, fault: &[&str]) -> Ran {
    let ops = project.command(&["run", "small.rhai", "--local", "--yes", "--stack", stack]);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null"]).args(fault).arg("--").arg(ops.get_program());
    command.args(ops.get_args()).current_dir(ops.get_current_dir().expect("a folder"));
    for (name, value) in ops.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ran = finish(command);
    assert!(
        !ran.stderr.contains("strace: "),
        "strace is needed, and has to be allowed to trace: {}",
        ran.stderr
    );
    ran
}

/// After whatever happened, the same command completes, and each thing is there once; nothing else is left in the folder.
fn completes(project: &Project, stack: &str, what: &str) {
    // What was left unfinished is taken for abandoned after a while.
    for name in names(project).into_iter().filter(|name| name.ends_with(".new")) {
        let file = std::fs::File::open(project.path(&name)).expect("the unfinished file");
        file.set_modified(SystemTime::now() - Duration::from_secs(120)).expect("its time can be set");
    }
    let ran = project.run_local("small.rhai", &["--yes", "--stack", stack]);
    assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
    let state: Value =
        serde_json::from_str(&project.read(&file_of(project, stack))).expect("the state is JSON");
    assert_eq!(state["stack"], stack, "{what}");
    assert!(state["alerts_topic"].as_str().is_some_and(|arn| arn.contains("alerts")), "{what}: {state}");
    let left = names(project).into_iter().filter(|name| name.contains(".new") || name.contains("tmp"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new(), "{what}");
    let again = project.run_local("small.rhai", &["--yes", "--stack", stack]).ended_with(0);
    assert!(again.stderr.contains("==> 0 changes"), "{what}: {}", again.stderr);
}

/// The first stack of a folder has the file of the plain name.
fn file_of(project: &Project, stack: &str) -> String {
    let own = format!("deploy_config.local.{stack}.json");
    if project.path(&own).exists() { own } else { "deploy_config.local.json".to_owned() }
}

fn names(project: &Project) -> Vec<String> {
    let entries = std::fs::read_dir(project.path("")).expect("the folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// How many topics and queues of all stacks the local cloud has: `runs` of each, if nothing was made twice or lost.
fn count(project: &Project) -> (usize, usize) {
    project.write(
        "count.rhai",
        r#"print(aws::request("sns", "ListTopics", #{}).Topics.len());
           print(aws::request("sqs", "ListQueues", #{}).QueueUrls.len());"#,
    );
    let counted = project.run_local("count.rhai", &[]).ended_with(0).stdout;
    let numbers: Vec<usize> = counted.lines().map(|line| line.parse().expect("a number")).collect();
    (numbers[0], numbers[1])
}

#[test]
fn a_run_killed_at_any_system_call_that_writes_is_taken_up_again() {
    let project = Project::empty();
    project.write("small.rhai", SMALL);
    completes(&project, "whole", "no fault");
    let (mut stacks, mut killed) = (1, 0);
    for call in CALLS {
        for nth in 1.. {
            let stack = format!("{call}{nth}");
            let fault = format!("inject={call}:signal=KILL:when={nth}");
            let ran = run_with(&project, &stack, &["-e", &format!("trace={call}"), "-e", &fault]);
            stacks += 1;
            completes(&project, &stack, &fault);
            if ran.code == 0 {
                break;
            }
            killed += 1;
        }
    }
    assert_eq!(count(&project), (stacks, stacks));
    // The journal has two lines for each thing, the lock one, the state one: so many at least.
    assert!(killed > 10, "only {killed} runs were killed");
    println!("killed {killed} times");
}

#[test]
fn a_full_disk_ends_a_run_with_what_to_do_and_the_next_one_completes() {
    let project = Project::empty();
    project.write("small.rhai", SMALL);
    completes(&project, "whole", "no fault");
    let (mut stacks, mut refused) = (1, 0);
    for call in ["write", "fdatasync", "fsync"] {
        for nth in 1.. {
            let stack = format!("{call}{nth}");
            // Only the journal's writes: those to sockets and to the terminal never meet a full disk.
            let journal = project.path(&format!(".ops/journal/000000000000-us-east-1-{stack}.ndjson"));
            let journal = journal.to_str().expect("a path in UTF-8").to_owned();
            let fault = format!("inject={call}:error=ENOSPC:when={nth}");
            let mut options = vec!["-e", "trace=write,fsync,fdatasync", "-e", &fault];
            if call != "fsync" {
                options.extend(["-P", &journal]);
            }
            let ran = run_with(&project, &stack, &options);
            stacks += 1;
            if ran.code != 0 {
                refused += 1;
                assert_eq!(ran.code, 1, "{fault}: {}", ran.stderr);
                assert!(ran.stderr.contains("No space left on device"), "{fault}: {}", ran.stderr);
                assert!(ran.stderr.contains("run the same command again"), "{fault}: {}", ran.stderr);
            }
            completes(&project, &stack, &fault);
            if ran.code == 0 {
                break;
            }
        }
    }
    assert_eq!(count(&project), (stacks, stacks));
    assert!(refused >= 10, "only {refused} runs met the full disk");
}

#[test]
fn a_state_file_that_cannot_be_written_stays_as_it_was() {
    let project = Project::empty();
    project.write("small.rhai", SMALL);
    completes(&project, "whole", "no fault");
    let before = project.read("deploy_config.local.json");
    project.write("note.rhai", "stack(\"whole\");\nstate::set(#{ note: \"a\" });\n");
    // No file may grow beyond 0 bytes, as on a full disk; with the signal ignored the write itself fails.
    let ops = project.command(&["run", "note.rhai", "--local", "--yes"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"])
        .arg(ops.get_program())
        .args(ops.get_args());
    command
        .current_dir(project.path(""))
        .env("HOME", project.path(""))
        .env("AWS_EC2_METADATA_DISABLED", "true");
    finish(command).ended_with(1);
    assert_eq!(project.read("deploy_config.local.json"), before);
    completes(&project, "whole", "after the full disk");
}

#[test]
fn the_journal_names_what_was_made() {
    let project = Project::empty();
    project.write(
        "made.rhai",
        r#"stack("s");
        let app = ec2::ensure_security_group("app", #{ ingress: [tcp(8080, "10.0.0.0/8")] });
        let made = #{
            CreateSecurityGroup: app.id,
            CreateTopic: sns::ensure_topic("alerts").arn,
            CreateQueue: sqs::ensure_queue("log").url,
            CreateTargetGroup: elbv2::ensure_target_group("app", #{ port: 8080 }).arn,
            RunInstances: ec2::ensure_instance("server").id,
            PutParameter: secrets::path("password"),
        };
        secrets::ensure("password");
        iam::ensure_instance_profile("server", #{ allow: [#{ actions: ["sns:Publish"], resources: ["*"] }] });
        output(made);"#,
    );
    let ran = project.run_local("made.rhai", &["--yes", "--json"]).ended_with(0);
    let made: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let journal = project.read(".ops/journal/000000000000-us-east-1-s.ndjson");
    let lines: Vec<Value> =
        journal.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let id_of = |operation: &str| {
        let done = lines.iter().find(|line| line["operation"] == operation && line["phase"] == "done");
        done.unwrap_or_else(|| panic!("no {operation}:\n{journal}"))["id"].clone()
    };
    for (operation, id) in made.as_object().expect("a map") {
        assert_eq!(id_of(operation), *id, "{operation}");
    }
    assert!(id_of("AuthorizeSecurityGroupIngress").as_str().is_some_and(|id| id.starts_with("sgr-")));
    assert!(id_of("CreateRole").as_str().is_some_and(|id| id.contains(":role/s-server")));
    assert!(lines.iter().all(|line| line["phase"] == "done" || line["id"].is_null()), "{journal}");
}
