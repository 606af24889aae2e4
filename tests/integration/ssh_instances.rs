//! Sessions on instances of the local cloud with real OpenSSH servers behind them: the console says whom to believe.

use crate::harness::finish;
use crate::sshd::{Login, Server};

const LAUNCH: &str = r#"
    stack("s");
    let key = ec2::ensure_key_pair("key");
    let instance = |name, key| ec2::ensure_instance(name, #{ key_pair: key });
"#;

#[test]
fn the_host_key_on_the_console_is_believed_and_no_other() {
    let login = Login::new();
    let (server, impostor) = (Server::start(&login), Server::start(&login));
    login.put_behind("s", &[("web", &server, &server), ("forged", &impostor, &server)]);
    let run = |text: &str| finish(login.command(&format!("{LAUNCH}{text}"), &["--local", "--yes"]));

    // Nothing else knows the server: there is no `known_hosts`.
    let hello = r#"print(ssh::connect(instance.call("web", key)).run(["echo", "hello"]).stdout);"#;
    for _ in 0..2 {
        assert_eq!(run(hello).ended_with(0).stdout, "hello\n");
    }
    assert!(!login.project.path(".ssh").exists(), "an instance's key is not the user's to know");

    // Somebody in between has another key: the instance's is asked for, and nothing is offered to him.
    run(r#"ssh::connect(instance.call("forged", key));"#)
        .ended_with(1)
        .says("HostKeyChanged")
        .says("the console output of i-");
    impostor.was_offered_nothing();
    let knows = format!(
        r#"print(ssh::connect(instance.call("forged", key), #{{ host_key: "{}" }}).run(["id", "-u"]).ok);"#,
        impostor.host_key()
    );
    assert_eq!(run(&knows).ended_with(0).stdout, "true\n");

    run(r#"ssh::connect(instance.call("bare", key));"#).ended_with(1).says("has no shell").says("sshd.json");
    let names = run(
        "for host in ssh::hosts(#{ tag: #{ Name: \"s-web\" } }) { print(host.name); } print(ssh::hosts().len());",
    );
    assert_eq!(names.ended_with(0).stdout, "s-web\n3\n");
}
