//! A run that is killed at any changing call, before the service has it or after, is finished by running it again: nothing is missing
//! and nothing is there twice. Every call of the playbook is swept, through a proxy that kills the program.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::harness::{Project, Ran, signal, wait};

/// A bit of everything, but a database: each stack of the sweep would start one.
const PLAYBOOK: &str = r#"//! Makes one of each.
let name = required("stack", "Name");
stack(name);
let key = ec2::ensure_key_pair("key");
let app = ec2::ensure_security_group("app", #{ ingress: [tcp(8080, "10.0.0.0/8"), tcp(8081, "10.0.0.0/8")] });
let db = ec2::ensure_security_group("db", #{ ingress: [tcp(5432, app)] });
let topic = sns::ensure_topic("alerts");
sqs::ensure_queue("log", #{ retention_s: 3600, subscribe_to: topic });
secrets::ensure("password");
secrets::ensure_certificate("server", #{ hostname: "a.example.com" });
let server = ec2::ensure_instance("server", #{ key_pair: key, security_groups: [app] });
server.wait();
print(owned().keys);
"#;

const WHOLE: &str = r#"["ec2:server", "sns:alerts", "sqs:log", "ec2:security_group/app", "ec2:security_group/db", "ec2:key_pair/key", "secrets:all"]"#;

/// When the program is killed: before the service gets the call, or when it has carried it out and before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

#[test]
fn a_run_killed_at_any_changing_call_is_finished_by_the_next() {
    let project = Project::empty();
    project.write("playbooks/each.rhai", PLAYBOOK);
    project.ops(&["local", "up"]).ended_with(0);
    for moment in [Moment::Before, Moment::After] {
        let mut calls = 0;
        // Until a run ends by itself: then every call has been met.
        loop {
            let stack = format!("s{}-{calls}", if moment == Moment::Before { 'b' } else { 'a' });
            let killed = run_and_kill(&project, &stack, calls, moment);
            let ran = project.run_local("each", &["--yes", "--stack", &stack]).ended_with(0);
            assert_eq!(ran.stdout.trim(), WHOLE, "killed {moment:?} call {calls}");
            let before = project.changes_on_the_wire();
            project.run_local("each", &["--yes", "--stack", &stack]).ended_with(0).says("0 changes");
            assert_eq!(project.changes_on_the_wire(), before, "killed {moment:?} call {calls}");
            if !killed {
                break;
            }
            calls += 1;
        }
        assert!(calls >= 13, "only {calls} changing calls were met: does the proxy still know them?");
    }
}

/// Runs the playbook through a proxy, and kills it at the changing call of that number. Says whether it came so far.
fn run_and_kill(project: &Project, stack: &str, at: usize, moment: Moment) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let proxy = listener.local_addr().expect("an address");
    let cloud = project.endpoint().trim_start_matches("http://").to_owned();
    let process = Arc::new(AtomicI32::new(0));
    let seen = Arc::new(AtomicUsize::new(0));
    {
        let (process, seen) = (process.clone(), seen.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (cloud, process, seen) = (cloud.clone(), process.clone(), seen.clone());
                let client = client.expect("a connection");
                std::thread::spawn(move || relay(client, &cloud, &process, &seen, at, moment));
            }
        });
    }
    let mut command: Command =
        project.command(&["run", "each", "--yes", "--region", "us-east-1", "--stack", stack]);
    command.env("AWS_ENDPOINT_URL", format!("http://{proxy}"));
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    process.store(i32::try_from(child.id()).expect("a process id"), Ordering::SeqCst);
    let Ran { code, stderr, .. } = wait(child);
    let killed = seen.load(Ordering::SeqCst) > at;
    assert_eq!(code, if killed { -1 } else { 0 }, "call {at}, {moment:?}: {stderr}");
    killed
}

fn relay(
    mut client: TcpStream,
    cloud: &str,
    process: &AtomicI32,
    seen: &AtomicUsize,
    at: usize,
    moment: Moment,
) {
    while let Some(request) = message(&mut client) {
        let kills = changes(&request) && seen.fetch_add(1, Ordering::SeqCst) == at;
        if kills && moment == Moment::Before {
            return signal("-KILL", process.load(Ordering::SeqCst));
        }
        let mut upstream = TcpStream::connect(cloud).expect("the local cloud answers");
        upstream.write_all(&request).expect("the request is passed on");
        let answer = message(&mut upstream).expect("an answer");
        if kills {
            return signal("-KILL", process.load(Ordering::SeqCst));
        }
        if client.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Reads one HTTP message: its head, and as much as its Content-Length says. `None` at the end of the connection.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut part = [0; 8192];
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            if bytes.len() >= head + 4 + length.unwrap_or(0) {
                return Some(bytes);
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
    }
}

/// Whether a request changes something: by its operation, which stands in the body or in X-Amz-Target.
fn changes(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let operation = text.split("Action=").nth(1).or_else(|| {
        let (_, target) = text.split_once("x-amz-target: ")?;
        target.split_once('.').map(|(_, operation)| operation)
    });
    let operation: String =
        operation.unwrap_or_default().chars().take_while(char::is_ascii_alphabetic).collect();
    assert!(!operation.is_empty(), "no operation in {text}");
    !["Describe", "List", "Get"].iter().any(|read| operation.starts_with(read))
}
