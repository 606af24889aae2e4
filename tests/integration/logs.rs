//! What the containers of two servers write, seen from here: once, and as long as they write it.

use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::harness::{finish, signal, until};
use crate::rollout_stack::Stack;

/// The servers of the stack.
const NAMES: [&str; 2] = ["music-app-server", "music-app-server-2"];

/// Each line comes after its server's name.
pub(crate) fn are_shown(stack: &Stack) {
    let ran = finish(stack.login.ops(&["run", "logs", "--local", "--yes", "--tail", "5"])).ended_with(0);
    for name in NAMES.map(|name| format!("{name} | ")) {
        let lines = ran.stderr.lines().filter(|line| line.contains(&name) && line.contains("response:200"));
        assert!(lines.count() > 0, "{name}:\n{}", ran.stderr);
    }
}

/// Lines are seen while they are written, until Ctrl-C; and nothing of that is left, here or there.
pub(crate) fn are_followed(stack: &Stack) {
    let log = stack.login.project.path("followed");
    let file = std::fs::File::create(&log).expect("a file");
    let mut command = stack.login.ops(&["run", "logs", "--local", "--yes", "--follow", "--tail", "1"]);
    let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("ops starts");
    let seen = |name: &str, what: &str| {
        let text = std::fs::read_to_string(&log).expect("what was followed");
        text.lines().filter(|line| line.contains(&format!("{name} | ")) && line.contains(what)).count()
    };
    until("both are followed", || NAMES.iter().all(|name| seen(name, "") > 0));
    for round in 1..=3 {
        for (name, machine) in NAMES.iter().zip(&stack.machines) {
            // Nobody else asks for this.
            let mut stream = TcpStream::connect(&machine.address).expect("the service answers");
            stream.write_all(b"GET /nothing HTTP/1.0\r\n\r\n").expect("a request");
            until(&format!("line {round} of {name}"), || seen(name, "response:404") == round);
        }
    }
    signal("-INT", i32::try_from(child.id()).expect("a process id"));
    let ended = child.wait_with_output().expect("the run ends");
    assert_eq!(ended.status.code(), Some(130), "{}", stack.login.project.read("followed"));
    until("the servers follow nothing any more", || {
        let ps = Command::new("ps").args(["-eo", "args"]).output().expect("ps is installed");
        !String::from_utf8_lossy(&ps.stdout).lines().any(|line| line.starts_with("docker logs --tail 1"))
    });
    let open = "stack(\"music-app\"); print(ec2::list_ingress().filter(|rule| rule.temporary).len());";
    assert_eq!(finish(stack.login.command(open, &["--local"])).ended_with(0).stdout, "0\n");
}
