//! `ops run --report`, and the picture of a stack: one page without anything from outside, whole also when the run fails or is stopped.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use xmlparser::{ElementEnd, Token, Tokenizer};

use crate::harness::{Project, signal};

/// Steps inside of each other and side by side, a secret, and names that would break out of a page.
const PLAYBOOK: &str = r#"//! Makes a few things.

let fail = flag("fail", "Fail");

stack("music-app");
let token = secrets::ensure("token");
step("Firewall <script>alert(1)</script>", || {
    let app = step("Inside", || ec2::ensure_security_group("app", #{ ingress: [tcp(8080, my_ip())] }));
    ec2::ensure_security_group("db", #{ ingress: [tcp(5432, app)] });
});
step("Messages", || {
    let topic = sns::ensure_topic("alerts");
    topic.ensure_subscription("email", "you@example.com");
    parallel(["log", "jobs"], |name| sqs::ensure_queue(name, #{ subscribe_to: topic }));
    say(`the token is ${token}`);
    topic.publish("Made", "A few things & more.");
});
output(#{ note: "<b>bold</b>", token: `${token}` });
if fail { sqs::get_queue("nowhere"); }
"#;

fn project() -> Project {
    let project = Project::empty();
    project.write("playbooks/make.rhai", PLAYBOOK);
    project
}

/// The texts of a page or a picture. Fails unless it is XML whose elements are closed in order, without scripts or anything from outside.
#[track_caller]
fn texts(page: &str) -> Vec<String> {
    let (mut open, mut texts) = (Vec::new(), Vec::new());
    for token in Tokenizer::from(page) {
        match token.unwrap_or_else(|error| panic!("{error}:\n{page}")) {
            Token::ElementStart { local, .. } => {
                let outside = ["script", "link", "img", "image", "iframe", "object", "use", "a"];
                assert!(!outside.contains(&local.as_str()), "<{local}>");
                open.push(local.as_str().to_owned());
            }
            Token::Attribute { local, value, .. } => {
                let outside = local.starts_with("on") || ["src", "href", "action"].contains(&local.as_str());
                assert!(!outside && !value.contains("url("), "{local}={value}");
            }
            Token::ElementEnd { end: ElementEnd::Empty, .. } => drop(open.pop()),
            Token::ElementEnd { end: ElementEnd::Close(_, name), .. } => {
                assert_eq!(open.pop().as_deref(), Some(name.as_str()), "{page}");
            }
            Token::Text { text } if open.last().is_some_and(|element| element == "style") => {
                assert!(!text.contains("url(") && !text.contains("@import"), "{text}");
            }
            Token::Text { text } => {
                texts.extend(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    texts
}

#[track_caller]
fn shows(texts: &[String], all: &[&str]) {
    for expected in all {
        assert!(texts.iter().any(|text| text == expected), "{expected:?} is not in {texts:#?}");
    }
}

#[test]
fn a_run_has_a_page_of_its_steps_its_changes_and_what_exists_then() {
    let project = project();
    let arguments = ["--yes", "--report", "run.html"];
    project.run_local("make", &arguments).ended_with(0).says("the report is in ");
    let page = project.read("run.html");
    let first = texts(&page);
    shows(
        &first,
        &[
            "make.rhai",
            "done",
            "Firewall &lt;script&gt;alert(1)&lt;&#x2f;script&gt;",
            "Inside",
            "Messages",
            "jobs",
            "security group music-app-app",
            "queue music-app-log",
            "security group app",
            "tcp 5432",
            "you@example.com",
            "not confirmed yet",
            "&lt;b&gt;bold&lt;&#x2f;b&gt;",
            "publish &quot;Made&quot; to topic alerts",
            "[redacted]",
        ],
    );
    assert!(page.contains("Content-Security-Policy"), "{page}");
    let mode = std::fs::metadata(project.path("run.html")).expect("the page").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // The next run changes nothing, and its page takes the place of the first.
    project.run_local("make", &arguments).ended_with(0).says("0 changes");
    let second = texts(&project.read("run.html"));
    assert!(second.contains(&"unchanged".to_owned()), "{second:#?}");
    assert!(!second.contains(&"created".to_owned()), "{second:#?}");
}

#[test]
fn a_run_that_fails_has_a_page_with_the_message_and_the_line() {
    let project = project();
    project.run_local("make", &["--yes", "--fail", "--report", "run.html"]).ended_with(1);
    let texts = texts(&project.read("run.html"));
    shows(&texts, &["failed", "What failed"]);
    let error = texts.iter().find(|text| text.starts_with("error")).expect("the error");
    assert!(
        error.contains("there is no queue music-app-nowhere") && error.contains("make.rhai:19:16"),
        "{error}"
    );
}

#[test]
fn a_change_that_a_service_refuses_is_on_the_page() {
    let project = project();
    project.ops(&["local", "up"]).ended_with(0);
    project.fault("sqs", "CreateQueue", "OverLimit");
    project.run_local("make", &["--yes", "--report", "run.html"]).ended_with(1);
    let texts = texts(&project.read("run.html"));
    assert!(texts.iter().any(|text| text.contains("OverLimit")), "{texts:#?}");
    // The item of `parallel`, its step, and the resource.
    assert!(texts.iter().filter(|text| *text == "failed").count() >= 3, "{texts:#?}");
}

#[test]
fn a_run_that_is_stopped_has_a_page_too() {
    let project = Project::empty();
    project.write(
        "playbooks/slow.rhai",
        "stack(\"music-app\");\nsns::ensure_topic(\"alerts\");\nstep(\"Forever\", || {\n    print(\"asleep\");\n    sleep(1000);\n});\n",
    );
    let mut command = project.command(&["run", "slow", "--local", "--yes", "--report", "run.html"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("the first line");
    signal("-INT", i32::try_from(child.id()).expect("a process id"));
    let ended = child.wait_with_output().expect("ops ends");
    assert_eq!((line.as_str(), ended.status.code()), ("asleep\n", Some(130)));
    let texts = texts(&project.read("run.html"));
    shows(&texts, &["interrupted", "Forever", "not finished", "alerts", "topic music-app-alerts"]);
    assert!(!texts.contains(&"failed".to_owned()), "{texts:#?}");
}

#[test]
fn a_plan_has_a_page_that_says_so() {
    let project = project();
    project.ops(&["plan", "make", "--local", "--report", "plan.html"]).ended_with(0);
    let texts = texts(&project.read("plan.html"));
    shows(&texts, &["planned", "security group app", "created", "There is nothing of it."]);
    assert_eq!(project.changes_on_the_wire(), 0);
}

#[test]
fn the_step_in_which_a_plan_ends_has_not_failed() {
    let project = Project::empty();
    for decision in ["if server.port > 1 { say(\"high\"); }", "aws::in_region(server.id, || 1);"] {
        let text = format!(
            "stack(\"s\");\nlet server = ec2::ensure_instance(\"server\");\nstep(\"Last\", || {{ {decision} }});\n"
        );
        project.write("playbooks/p.rhai", &text);
        let ran = project.ops(&["plan", "p", "--local", "--report", "plan.html"]).ended_with(0);
        assert!(ran.stderr.contains("the plan ends at p.rhai:3"), "{}", ran.stderr);
        let texts = texts(&project.read("plan.html"));
        shows(&texts, &["planned", "Last"]);
        assert!(!texts.contains(&"failed".to_owned()), "{decision}: {texts:#?}");
    }
}

#[test]
fn a_page_that_cannot_be_written_is_refused_before_anything_runs() {
    let project = Project::empty();
    project.write("playbooks/hello.rhai", "print(\"hello\");\n");
    std::fs::create_dir(project.path("folder.html")).expect("a folder");
    for (file, reason) in [
        ("nowhere/run.html", "No such file or directory"),
        ("folder.html", "is a directory"),
        ("playbooks/hello.rhai", "ends in .html"),
        ("hello.rhai/run.html", ""),
    ] {
        let ran = project.ops(&["run", "hello", "--report", file]).ended_with(2);
        assert!(
            ran.stderr.contains("the report cannot be written to") && ran.stderr.contains(reason),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "", "{file}");
    }
    assert_eq!(project.read("playbooks/hello.rhai"), "print(\"hello\");\n");
    // A playbook without a stack, without steps and without an account has one, too.
    project.ops(&["run", "hello", "--report", "run.html"]).ended_with(0);
    shows(&texts(&project.read("run.html")), &["hello.rhai", "done", "The playbook works with no stack."]);
}

#[test]
fn the_picture_of_a_deployment_shows_all_of_it_and_is_the_same_twice() {
    let project = Project::new();
    let deploy = ["--yes", "--nlb", "--servers", "2", "--report", "deploy.html"];
    project.run_local("deploy", &deploy).ended_with(0);
    let page = texts(&project.read("deploy.html"));
    shows(&page, &["Database", "Balancer", "waited for", "database music-app-db"]);

    project.run_local("status", &["--graph", "stack.svg"]).ended_with(0).says("0 changes");
    let svg = project.read("stack.svg");
    let expected = [
        "security group app",
        "security group db",
        "security group nlb",
        "server",
        "server-2",
        "target of app: healthy",
        "nlb",
        "alerts",
        "log",
        "log-dead",
        "after 5 receives",
        "tcp 5432",
        "tcp 8080",
        "127.0.0.0/8",
    ];
    shows(&texts(&svg), &expected);
    shows(&page, &expected);
    for sentence in [
        "security group nlb may connect to security group app (tcp 8080).",
        "security group app may connect to security group db (tcp 5432).",
        "target group app sends on to instance server-2 (tcp 8080).",
        "topic alerts sends on to queue log.",
    ] {
        assert!(svg.contains(sentence), "{sentence}:\n{svg}");
    }
    project.run_local("status", &["--graph", "again.svg"]).ended_with(0);
    assert_eq!(svg, project.read("again.svg"));

    project.run_local("status", &["--graph", "stack.mmd"]).ended_with(0);
    let mermaid = project.read("stack.mmd");
    assert!(mermaid.contains("flowchart TD") && mermaid.contains("-->|\"tcp 5432\"|"), "{mermaid}");
    project.run_local("status", &["--graph", "again.mmd"]).ended_with(0);
    assert_eq!(mermaid, project.read("again.mmd"));

    let refused = project.run_local("status", &["--graph", "stack.png"]).ended_with(1);
    assert!(refused.stderr.contains(".svg") && refused.stderr.contains(".mmd"), "{}", refused.stderr);
    assert!(!project.path("stack.png").exists());
}
