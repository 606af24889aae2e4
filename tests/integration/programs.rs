//! What a playbook does with other programs and other services: processes and HTTP requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::harness::{Project, Ran};

fn run(script: &str) -> Ran {
    let project = Project::empty();
    project.write("it.rhai", script);
    project.ops(&["run", "it.rhai"])
}

#[test]
fn arguments_reach_a_program_as_they_are() {
    let ran = run(r#"
        let nasty = ["$(touch owned)", "a b", "'\"; rm -rf x", "*", "", "-n"];
        print(process::run(["printf", "<%s>"] + nasty).stdout);
        print(file::exists("owned"));
        let ran = process::run(["sh", "-c", "cat; echo $V >&2; exit 3"], #{ input: "in", env: #{ V: "out" }, any_code: true });
        print(`${ran.code} ${ran.stdout} ${ran.stderr}`);"#)
    .ended_with(0);
    assert_eq!(ran.stdout, "<$(touch owned)><a b><'\"; rm -rf x><*><><-n>\nfalse\n3 in out\n\n");
}

#[test]
fn a_program_that_fails_is_missing_or_hangs_is_an_error_of_its_kind() {
    let cases = [
        (r#"process::run(["sh", "-c", "echo why >&2; exit 4"])"#, "conflict 4 sh ended with code 4: why"),
        (
            r#"process::run(["no-such-program-here"])"#,
            "not_found  there is no program `no-such-program-here`",
        ),
        (r#"process::run(["sleep", "60"], #{ timeout_s: 1 })"#, "timeout  sleep did not end in 1 s"),
        (r#"process::run(["echo", secrets::env("HOME")])"#, "refused  a secret cannot be an argument"),
        (r#"process::run([])"#, "invalid  a command begins with the name of a program"),
        (r#"process::run(["echo", [1]])"#, "invalid  a command is a list of texts, and holds a list"),
    ];
    for (call, expected) in cases {
        let ran = run(&format!(
            "try {{ {call}; }} catch (e) {{ print(`${{e.kind}} ${{e.code}} ${{e.message}}`); }}"
        ));
        let ran = ran.ended_with(0);
        assert!(ran.stdout.starts_with(expected), "{expected}: {}", ran.stdout);
    }
}

/// Answers each request with the next of `answers`, the last one again and again; keeps what it was sent.
fn server(answers: &'static [&'static str]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
            });
            let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
            reader.read_exact(&mut body).expect("a body");
            kept.lock().expect("what was seen").push(format!("{head}{}", String::from_utf8_lossy(&body)));
            let answer = answers.get(number).or(answers.last()).expect("an answer");
            let (status, body) = answer.split_once('|').expect("a status and a body");
            let text = format!(
                "HTTP/1.1 {status} x\r\nx-test: yes\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(text.as_bytes()).expect("an answer");
        }
    });
    (url, seen)
}

#[test]
fn json_goes_out_and_comes_back_and_headers_that_are_secrets_are_masked() {
    let (url, seen) = server(&[r#"200|{"id": 7, "tags": ["a"]}"#]);
    let ran = run(&format!(
        r#"
        let answer = http::request("{url}/songs?x=1", #{{ json: #{{ title: "Perché" }}, headers: #{{ Authorization: "Bearer canary-5309" }} }});
        print(`${{answer.status}} ${{answer.json().id}} ${{answer.json().tags[0]}} ${{answer.header("X-Test")}} ${{answer.header("none") == ()}}`);
        print("canary-5309");"#
    ))
    .ended_with(0);
    assert_eq!(ran.stdout, "200 7 a yes true\n[redacted]\n");
    let seen = seen.lock().expect("what was seen");
    assert!(seen[0].starts_with("POST /songs?x=1 HTTP/1.1\r\n"), "{}", seen[0]);
    assert!(seen[0].to_ascii_lowercase().contains("authorization: bearer canary-5309\r\n"), "{}", seen[0]);
    assert!(seen[0].ends_with("\r\n\r\n{\"title\":\"Perché\"}"), "{}", seen[0]);
}

#[test]
fn what_may_be_repeated_is_tried_again_and_nothing_else() {
    let (url, seen) = server(&["503|busy", "200|fine"]);
    let ran =
        run(&format!(r#"print(http::request("{url}").text);"#)).ended_with(0).says("status 503; try 1 of 3");
    assert_eq!(ran.stdout, "fine\n");
    assert_eq!(seen.lock().expect("what was seen").len(), 2);
    let (url, seen) = server(&["503|busy"]);
    run(&format!(r#"http::request("{url}", #{{ text: "x" }});"#))
        .ended_with(1)
        .says("was answered with 503: busy");
    assert_eq!(seen.lock().expect("what was seen").len(), 1);
}

#[test]
fn a_status_is_an_error_of_its_kind_unless_any_is_taken() {
    let (url, _) = server(&["404|no such song"]);
    let script = format!(
        r#"
        try {{ http::request("{url}"); }} catch (e) {{ print(`${{e.kind}} ${{e.code}}`); }}
        print(http::request("{url}", #{{ any_status: true }}).status);
        try {{ http::request("http://127.0.0.1:9/", #{{ attempts: 1 }}); }} catch (e) {{ print(e.kind); }}
        try {{ http::request("{url}", #{{ headers: #{{ "a b": "x" }} }}); }} catch (e) {{ print(e.kind); }}"#
    );
    assert_eq!(run(&script).ended_with(0).stdout, "not_found 404\n404\nunavailable\ninvalid\n");
}

#[test]
fn a_plan_says_what_it_would_start_and_send_and_does_neither() {
    let project = Project::empty();
    let (url, seen) = server(&["200|fine"]);
    project.write(
        "it.rhai",
        &format!(
            r#"
            process::run(["touch", "made"]);
            http::request("{url}/x", #{{ method: "DELETE" }});
            print(http::request("{url}/y").text);"#
        ),
    );
    let ran = project
        .ops(&["plan", "it.rhai"])
        .ended_with(0)
        .says("run touch made")
        .says(&format!("DELETE {url}/x"));
    assert_eq!(ran.stdout, "fine\n");
    assert!(!project.path("made").exists());
    assert_eq!(seen.lock().expect("what was seen").len(), 1);
}
