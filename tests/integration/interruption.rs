//! A run that is stopped or killed, and a cloud that is: running the same command again goes on, and nothing is there twice.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use pty_process::blocking::{Command as TerminalCommand, open};

use crate::harness::{Project, Ran, signal, until, wait};

/// Everything of the stack, once each.
const WHOLE: &str = r#"["ec2:server", "rds:db", "rds:subnet_group/db", "sns:alerts", "sqs:log", "sqs:log-dead", "ec2:security_group/app", "ec2:security_group/db", "iam:server", "ec2:key_pair/key", "secrets:all"]"#;

fn owned(project: &Project) -> String {
    project.write("left.rhai", "stack(\"music-app\");\nprint(owned().keys);\n");
    project.run_local("left.rhai", &[]).ended_with(0).stdout.trim().to_owned()
}

/// Starts a deployment, and sends it `name` as soon as it has printed `line`.
fn deploy_and_signal(project: &Project, line: &str, name: &str) -> crate::harness::Ran {
    let log = project.path("run.log");
    let file = std::fs::File::create(&log).expect("a file");
    let mut command = project.command(&["run", "deploy", "--local", "--yes"]);
    let child = command.stdout(Stdio::piped()).stderr(file).spawn().expect("ops starts");
    let process = i32::try_from(child.id()).expect("a process id");
    until(line, || std::fs::read_to_string(&log).expect("the log").contains(line));
    signal(name, process);
    let mut child = child;
    child.stderr = None;
    let code = until_ended(child);
    crate::harness::Ran {
        code,
        stdout: String::new(),
        stderr: std::fs::read_to_string(&log).expect("the log"),
    }
}

fn until_ended(mut child: std::process::Child) -> i32 {
    let mut code = None;
    until("the run ends", || {
        code = child.try_wait().expect("the run can be waited for");
        code.is_some()
    });
    code.and_then(|status| status.code()).unwrap_or(-1)
}

#[test]
fn ctrl_c_ends_with_130_and_the_same_command_goes_on() {
    let project = Project::new();
    let ran = deploy_and_signal(&project, "rds db  db.t3.micro", "-INT");
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(ran.stderr.contains("run the same command again to go on"), "{}", ran.stderr);
    project.run_local("deploy", &["--yes"]).ended_with(0);
    assert_eq!(owned(&project), WHOLE);
}

#[test]
fn a_run_killed_while_the_database_comes_up_is_taken_up_again() {
    let project = Project::new();
    for line in ["rds db  db.t3.micro", "ec2 server", "migrations applied", "==> Ready"] {
        let ran = deploy_and_signal(&project, line, "-KILL");
        assert_eq!(ran.code, -1, "{line}: {}", ran.stderr);
    }
    project.run_local("deploy", &["--yes"]).ended_with(0);
    assert_eq!(owned(&project), WHOLE);
    project.run_local("deploy", &["--yes"]).ended_with(0).says("0 changes");
    let rows = project.query("free@example.com", "select count(*) from content").ended_with(0).stdout;
    assert_eq!(rows, "10\n");
}

#[test]
fn a_local_cloud_that_is_killed_comes_back_with_its_rows() {
    let project = Project::new();
    project.run_local("deploy", &["--yes"]).ended_with(0);
    let insert = "insert into content (title, duration_s, content_type) values ('Night Train', 180, 'song')";
    project.query("premium@example.com", insert).ended_with(0);
    signal("-KILL", project.supervisor());

    project.run_local("deploy", &["--yes"]).ended_with(0).says("0 changes");
    let found = "select count(*) from content where title = 'Night Train'";
    assert_eq!(project.query("free@example.com", found).ended_with(0).stdout, "1\n");
    assert_eq!(owned(&project), WHOLE);
}

#[test]
fn a_second_run_of_the_same_stack_is_told_who_has_the_lock() {
    let project = Project::new();
    project.write(
        "hold.rhai",
        "stack(\"music-app\");\nsns::ensure_topic(\"alerts\");\nprint(\"held\");\nloop {}\n",
    );
    let mut holder = project.command(&["run", "hold.rhai", "--local", "--yes"]);
    let holder = holder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    until("the first run has the lock", || {
        project.path(".ops/local/cloud.json").exists() && project.changes_on_the_wire() > 0
    });

    let second = project.run_local("deploy", &["--yes"]).ended_with(5);
    assert!(second.stderr.contains(&format!("is locked by process {}", holder.id())), "{}", second.stderr);
    signal("-INT", i32::try_from(holder.id()).expect("a process id"));
    wait(holder).ended_with(130);
    project.run_local("deploy", &["--yes"]).ended_with(0);
}

#[test]
fn the_notice_of_a_deployment_is_received_from_the_queue() {
    let project = Project::new();
    project.run_local("deploy", &["--yes"]).ended_with(0);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let body = runtime.block_on(async {
        let target = ops::clients::aws::Target::Local { endpoint: project.endpoint() };
        let aws = ops::clients::aws::Clients::connect(&target, None).await.expect("the local cloud answers");
        let url =
            aws.sqs.get_queue_url().queue_name("music-app-log").send().await.expect("the queue").queue_url;
        let request = aws.sqs.receive_message().set_queue_url(url).wait_time_seconds(5);
        let received = request.send().await.expect("an answer");
        received.messages().first().and_then(|message| message.body()).unwrap_or_default().to_owned()
    });
    let envelope: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    assert_eq!(envelope["Subject"], "Music app deployed");
    let address = format!("{}:8080", project.state()["server_public_ip"].as_str().expect("an address"));
    assert!(envelope["Message"].as_str().expect("text").contains(&address), "{envelope}");
}

#[test]
fn a_playbook_that_sleeps_is_interrupted_too() {
    let project = Project::empty();
    project.write("sleep.rhai", "print(\"asleep\");\nsleep(1000);\n");
    let mut command = project.command(&["run", "sleep.rhai"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut stdout, &mut line).expect("the first line");
    signal("-INT", i32::try_from(child.id()).expect("a process id"));
    let ended = child.wait_with_output().expect("ops ends");
    assert_eq!((line.as_str(), ended.status.code()), ("asleep\n", Some(130)));
}

/// Holds a rule open and the lock, until it is stopped; then it tidies up until the test has seen enough.
const HOLD: &str = r#"stack("s");
let group = ec2::ensure_security_group("app");
defer(|| {
    say("tidying");
    while !file::exists("enough") { sleep(1); }
    state::set(#{ tidied: true });
});
open_while(group, tcp(22, "203.0.113.7/32"), || {
    say("ready");
    loop { sleep(1); }
});
"#;

const HELD: [&str; 4] = ["run", "hold", "--local", "--yes"];

fn holding() -> Project {
    let project = Project::empty();
    project.write("playbooks/hold.rhai", HOLD);
    project.write("playbooks/other.rhai", "stack(\"s\");\nsns::ensure_topic(\"alerts\");\n");
    project
}

/// Starts a command whose lines go to a file, and waits until it has said `ready`.
fn ready(project: &Project, mut command: Command) -> (Child, i32) {
    let file = std::fs::File::create(project.path("log")).expect("a file");
    let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("ops starts");
    until("it is ready", || project.read("log").contains("ready"));
    let process = i32::try_from(child.id()).expect("a process id");
    (child, process)
}

/// Fails unless the run has done what it had deferred, closed its rule and given its lock back.
#[track_caller]
fn was_tidied(project: &Project) {
    assert_eq!(project.state()["tidied"], true);
    let Ran { stderr, .. } = project.run_local("other", &["--yes"]).ended_with(0);
    assert!(!stderr.contains("has left"), "{stderr}");
}

#[test]
fn a_run_whose_terminal_is_closed_tidies_up() {
    let project = holding();
    let (pty, pts) = open().expect("a pseudo terminal");
    let plain = project.command(&HELD);
    let mut command = TerminalCommand::new(plain.get_program()).args(plain.get_args());
    command = command.current_dir(project.path("")).env("HOME", project.path(""));
    let mut child = command.spawn(pts).expect("ops starts");
    let (mut said, mut part) = (String::new(), [0; 4096]);
    while !said.contains("ready") {
        let count = (&pty).read(&mut part).expect("the terminal is open");
        said += &String::from_utf8_lossy(&part[..count]);
    }
    drop(pty);
    project.write("enough", "");
    let mut ended = None;
    until("the run ends", || {
        ended = child.try_wait().expect("the run can be waited for");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(130));
    was_tidied(&project);
}

#[test]
fn a_shell_that_says_so_as_well_does_not_hurry_the_run() {
    let project = holding();
    let (child, process) = ready(&project, project.command(&HELD));
    signal("-HUP", process);
    until("it tidies up", || project.read("log").contains("tidying"));
    signal("-HUP", process);
    project.write("enough", "");
    assert_eq!(until_ended(child), 130);
    was_tidied(&project);
}

#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let project = holding();
    let mut nohup = project.program(Path::new("nohup"), &[env!("CARGO_BIN_EXE_ops")]);
    nohup.args(HELD);
    let (child, process) = ready(&project, nohup);
    signal("-HUP", process);
    // Had it been heard, this would be the second one.
    signal("-INT", process);
    until("it tidies up", || project.read("log").contains("tidying"));
    project.write("enough", "");
    assert_eq!(until_ended(child), 130);
    was_tidied(&project);
}

#[test]
fn the_second_ctrl_c_ends_a_run_at_once() {
    let project = Project::empty();
    project.write(
        "playbooks/hold.rhai",
        "defer(|| { say(\"tidying\"); loop { sleep(1); } });\nsay(\"ready\");\nsleep(1000);\n",
    );
    let (child, process) = ready(&project, project.command(&["run", "hold"]));
    signal("-INT", process);
    until("it tidies up", || project.read("log").contains("tidying"));
    signal("-INT", process);
    assert_eq!(until_ended(child), 130);
    assert!(!project.read("log").contains("run the same command again"), "{}", project.read("log"));
}
