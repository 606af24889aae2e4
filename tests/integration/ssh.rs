//! Commands on real OpenSSH servers: who is believed, who is let in, what runs there and how it is ended.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{finish, until, wait};
use crate::sshd::{Login, Server, make_key, may_be_root, user};

#[test]
fn every_argument_arrives_as_it_was_written() {
    let (login, words) = (
        Login::new(),
        r#"["printf", "<%s>", "a b", "it's", "$(id)", "`id`", "new\nline", "\\", "*", "", "~", "\"q\"", "-n", "ü"]"#,
    );
    let server = Server::start(&login);
    let ran =
        login.run(&login.script(&[&server], &format!("print(server.run({words}).stdout);"))).ended_with(0);
    assert_eq!(ran.stdout, "<a b><it's><$(id)><`id`><new\nline><\\><*><><~><\"q\"><-n><ü>\n");
}

#[test]
fn output_is_shown_after_the_name_of_the_server_and_its_end_is_a_value() {
    let login = Login::new();
    let server = Server::start(&login);
    let text = r#"
        let outcome = server.run(["sh", "-c", "echo one; echo two >&2; exit 3"], #{ check: false });
        print(`${outcome.status} ${outcome.ok} ${outcome.stdout} ${outcome.stderr}`);
        let outcome = server.run(["sh", "-c", "kill -TERM $$"], #{ check: false });
        print(`${outcome.status} ${outcome.signal}`);
        server.run(["sh", "-c", "echo why >&2; exit 4"], #{ quiet: true });
    "#;
    let ran = login.run(&login.script(&[&server], text)).ended_with(1);
    assert_eq!(ran.stdout, "3 false one two\n-1 TERM\n");
    let ran = ran.says("127.0.0.1 | one").says("127.0.0.1 | two").says("ended with status 4");
    assert!(!ran.stderr.contains("| why"), "{}", ran.stderr);
    ran.says("help: why");
}

#[test]
fn a_script_has_the_shell_of_its_first_line_and_is_in_no_argument() {
    let login = Login::new();
    let server = Server::start(&login);
    let text = r##"
        print(server.run_script("#!/bin/bash\nset -euo pipefail\nlist=(a 'b c')\necho \"${#list[@]}\"; tr '\\0' ' ' < /proc/$$/cmdline").stdout);
        print(server.run_script("echo $0 one\nfalse\necho two").stdout);
        print(server.run_script("cat", #{ stdin: "what it\nreads" }).stdout);
    "##;
    let ran = login.run(&login.script(&[&server], text)).ended_with(0);
    assert!(ran.stdout.starts_with("2\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("pipefail"), "the script is in the arguments: {}", ran.stdout);
    assert!(ran.stdout.ends_with("one\ntwo\nwhat it\nreads\n"), "{}", ran.stdout);
}

#[test]
fn the_environment_and_the_input_are_no_arguments_and_sudo_keeps_them() {
    let login = Login::new();
    let server = Server::start(&login);
    assert!(Path::new("/usr/bin/sudo").exists(), "sudo is missing: install the Debian package sudo");
    let text = r#"
        let options = #{ env: #{ TOKEN: "it's a $(secret)" }, stdin: "input", quiet: true };
        let show = ["sh", "-c", "echo \"$TOKEN\"; cat; echo; id -un; tr '\\0' ' ' < /proc/$$/cmdline"];
        print(server.run(show, options).stdout);
        options.sudo = true;
        if user == "root" {
            print(server.run(show, options).stdout);
            options.sudo_user = "nobody";
            print("as another: " + server.run(show, options).stdout);
        }
    "#;
    let text = format!("let user = \"{}\"; {text}", user());
    let ran = login.run(&login.script(&[&server], &text)).ended_with(0);
    assert!(ran.stdout.starts_with(&format!("it's a $(secret)\ninput\n{}\n", user())), "{}", ran.stdout);
    if may_be_root("sudo to another user") {
        assert!(ran.stdout.contains("as another: it's a $(secret)\ninput\nnobody\n"), "{}", ran.stdout);
    }
    assert_eq!(
        ran.stdout.matches("(secret)").count(),
        ran.stdout.matches("input\n").count(),
        "{}",
        ran.stdout
    );
}

#[test]
fn many_servers_are_told_apart_by_their_keys() {
    let login = Login::new();
    let servers: Vec<Server> = (0..4).map(|_| Server::start(&login)).collect();
    login.knows(&servers.iter().collect::<Vec<_>>());
    let list: Vec<String> = servers.iter().map(|server| format!("\"{}\"", server.address())).collect();
    let text = format!(
        "for host in [{}] {{ print(ssh::connect(host, #{{ key: \"id\" }}).run([\"echo\", host]).stdout); }}",
        list.join(", ")
    );
    let ran = login.run(&text).ended_with(0);
    let wanted: String = servers.iter().map(|server| format!("{}\n", server.address())).collect();
    assert_eq!(ran.stdout, wanted);
}

fn connect(login: &Login, server: &Server, options: &str) -> crate::harness::Ran {
    login.run(&format!(
        "ssh::connect(\"{}\", #{{ key: \"id\", {options} }}); print(\"in\");",
        server.address()
    ))
}

/// No byte of authentication has reached the server.
#[track_caller]
#[test]
fn an_unknown_server_is_refused_unless_it_is_asked_for_and_is_known_from_then_on() {
    let login = Login::new();
    let server = Server::start(&login);
    let ran = connect(&login, &server, "")
        .ended_with(1)
        .says("HostKeyUnknown")
        .says("SHA256:")
        .says("ssh-keyscan -p");
    assert_eq!(ran.stdout, "");
    server.was_offered_nothing();
    assert!(!login.project.path(".ssh/known_hosts").exists());
    connect(&login, &server, "trust_new_host_key: true").ended_with(0);
    assert_eq!(login.project.read(".ssh/known_hosts"), server.known().replace(" test", ""));
    connect(&login, &server, "").ended_with(0);
}

#[test]
fn a_changed_or_revoked_host_key_is_refused_before_anything_is_offered() {
    let login = Login::new();
    let (server, impostor) = (Server::start(&login), Server::start(&login));
    let names = format!("[127.0.0.1]:{}", impostor.port);
    for trust in ["", "trust_new_host_key: true"] {
        login.project.write(".ssh/known_hosts", &format!("# mine\n{names} {}\n", server.host_key()));
        connect(&login, &impostor, trust).ended_with(1).says("HostKeyChanged").says("known_hosts:2");
    }
    connect(&login, &impostor, &format!("host_key: \"{}\"", server.host_key()))
        .ended_with(1)
        .says("HostKeyChanged");
    login
        .project
        .write(".ssh/known_hosts", &format!("@revoked * {}\n{}", impostor.host_key(), impostor.known()));
    connect(&login, &impostor, "").ended_with(1).says("HostKeyRevoked");
    impostor.was_offered_nothing();
}

#[test]
fn a_server_is_known_by_a_pattern_a_hashed_name_a_pinned_key_or_its_fingerprint() {
    let login = Login::new();
    let server = Server::start(&login);
    login
        .project
        .write(".ssh/known_hosts", &format!("10.0.0.1,[127.0.0.*]:{} {}\n", server.port, server.host_key()));
    connect(&login, &server, "").ended_with(0);
    login.knows(&[&server]);
    let hashed = Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(login.project.path(".ssh/known_hosts"))
        .status();
    assert!(hashed.expect("ssh-keygen is installed").success());
    assert!(login.project.read(".ssh/known_hosts").starts_with("|1|"));
    connect(&login, &server, "").ended_with(0);
    std::fs::remove_file(login.project.path(".ssh/known_hosts")).expect("it is there");
    connect(&login, &server, &format!("host_key: \"{}\"", server.host_key())).ended_with(0);
    let refused = connect(&login, &server, "").ended_with(1).stderr;
    let print = refused
        .split("SHA256:")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '+' && c != '/').next());
    let print = print.expect("a fingerprint");
    connect(&login, &server, &format!("host_key: \"SHA256:{print}\"")).ended_with(0);
    // A fingerprint does not say of which of a server's keys it is.
    let other = print.chars().rev().collect::<String>();
    connect(&login, &server, &format!("host_key: \"SHA256:{other}\""))
        .ended_with(1)
        .says("HostKeyChanged")
        .says("it was asked for its ssh-ed25519 key");
}

#[test]
fn a_key_that_is_not_let_in_is_an_error_that_names_what_was_tried() {
    let (login, stranger) = (Login::new(), Login::new());
    let server = Server::start(&login);
    stranger.knows(&[&server]);
    let text = format!("ssh::connect(\"{}\", #{{ key: \"id\" }});", server.address());
    stranger
        .run(&text)
        .ended_with(1)
        .says("AuthenticationFailed")
        .says("id (")
        .says("the server accepts publickey");
    stranger.run(&text.replace("\"id\"", "\"nowhere\"")).ended_with(1).says("there is no private key");
}

#[test]
fn a_server_that_lets_this_user_in_with_no_key_says_so() {
    let login = Login::new();
    let server = Server::with(&login, "AllowUsers somebody-else", &[]);
    connect(&login, &server, &format!("host_key: \"{}\"", server.host_key()))
        .ended_with(1)
        .says("AuthenticationFailed")
        .says(&format!("did not let `{}` in", user()));
}

#[test]
fn a_key_with_a_passphrase_needs_it_and_one_in_the_agent_does_not() {
    let login = Login::new();
    std::fs::remove_file(login.key()).expect("it is there");
    make_key(&login.key(), "correct horse battery");
    let server = Server::start(&login);
    login.knows(&[&server]);
    let text = format!("ssh::connect(\"{}\", #{{ key: \"id\" }}); print(\"in\");", server.address());
    login.run(&text).ended_with(1).says("needs its passphrase");

    let with_passphrase = |passphrase: &str| {
        let text = format!(
            "stack(\"keys\"); ssh::connect(\"{}\", #{{ key: \"id\", passphrase: secrets::set(\"passphrase\", \"{passphrase}\") }}); print(\"in\");",
            server.address()
        );
        finish(login.command(&text, &["--local", "--yes"]))
    };
    assert_eq!(with_passphrase("correct horse battery").ended_with(0).stdout, "in\n");
    with_passphrase("wrong horse battery").ended_with(1).says("its passphrase is another one");

    let socket = login.project.path("agent");
    let mut agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("ssh-agent starts");
    until("the agent listens", || socket.exists());
    login.project.write("askpass", "#!/bin/sh\necho correct horse battery\n");
    let askpass = login.project.path("askpass");
    Command::new("chmod").arg("700").arg(&askpass).status().expect("chmod is installed");
    let added = Command::new("ssh-add")
        .arg(login.key())
        .env("SSH_AUTH_SOCK", &socket)
        .env("SSH_ASKPASS", &askpass)
        .env("SSH_ASKPASS_REQUIRE", "force")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let added = added.expect("ssh-add is installed").success();
    let mut command = login.command(&text, &[]);
    let ran = finish({
        command.env("SSH_AUTH_SOCK", &socket);
        command
    });
    agent.kill().expect("the agent can be killed");
    agent.wait().expect("the agent ends");
    assert!(added, "ssh-add failed");
    assert_eq!(ran.ended_with(0).stdout, "in\n");
}

#[test]
fn an_alias_leads_through_its_jump_host() {
    let login = Login::new();
    let (bastion, inner) = (Server::start(&login), Server::start(&login));
    login.knows(&[&bastion, &inner]);
    login.project.write(
        ".ssh/config",
        &format!(
            "Host inner\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump bastion\nHost bastion\n  HostName 127.0.0.1\n  Port {}\nHost *\n  User {}\n  IdentityFile ~/id\n",
            inner.port,
            bastion.port,
            user()
        ),
    );
    let text = r#"let inner = ssh::connect("inner"); print(inner.run(["sh", "-c", "echo $SSH_CONNECTION; head -c 3000000 /dev/zero | wc -c"]).stdout);"#;
    let ran = login.run(text).ended_with(0);
    assert!(ran.stdout.contains(&format!(" {}\n3000000\n", inner.port)), "{}", ran.stdout);
    assert!(bastion.log().contains("direct-tcpip"), "{}", bastion.log());
    let text = format!(
        "ssh::connect(\"{}\", #{{ jump: \"bastion\", key: \"id\" }}).run([\"true\"]);",
        inner.address()
    );
    login.run(&text).ended_with(0);
}

#[test]
fn what_runs_too_long_is_ended_on_the_server() {
    let login = Login::new();
    let server = Server::start(&login);
    let text = r#"
        try { server.run(["sh", "-c", "echo $$ > FILE; sleep 1000 & wait"], #{ timeout_s: 10 }); } catch (e) { print(e.kind); }
        print(server.run(["echo", "still here"]).stdout);
    "#;
    let file = login.project.path("pid");
    let ran = login
        .run(&login.script(&[&server], &text.replace("FILE", &file.display().to_string())))
        .ended_with(0);
    assert_eq!(ran.stdout, "timeout\nstill here\n");
    let process = login.project.read("pid");
    until(&format!("the end of {process}"), || !Path::new("/proc").join(process.trim()).exists());
}

#[test]
fn an_interruption_ends_what_runs_on_the_server() {
    let login = Login::new();
    let server = Server::start(&login);
    let file = login.project.path("pid");
    let text = format!(r#"server.run(["sh", "-c", "echo $$ > {}; exec sleep 1000"]);"#, file.display());
    let mut command = login.command(&login.script(&[&server], &text), &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    until("the command runs", || file.exists() && login.project.read("pid").ends_with('\n'));
    crate::harness::signal("-INT", i32::try_from(child.id()).expect("a process id"));
    wait(child).ended_with(130);
    let process = login.project.read("pid");
    // The server ends it when it hears that the session is over.
    until(&format!("the end of {process}"), || !Path::new("/proc").join(process.trim()).exists());
}

#[test]
fn a_server_that_says_nothing_or_is_not_there_does_not_hang_the_run() {
    let login = Login::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let text = |port: u16| {
        format!(
            "ssh::connect(\"a@127.0.0.1:{port}\", #{{ key: \"id\", host_key: \"SHA256:x\", connect_timeout_s: 1 }});"
        )
    };
    login.run(&text(port)).ended_with(124).says("did not answer in 1 s");
    drop(silent);
    login.run(&text(port)).ended_with(1).says("cannot reach 127.0.0.1 port").says("refused");
    let quiet = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = quiet.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = quiet.accept().expect("a connection");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("an answer");
    });
    login.run(&text(port)).ended_with(1).says("has to be an SSH server");
}

#[test]
fn a_server_that_freezes_in_the_middle_of_a_command_is_given_up() {
    let login = Login::new();
    let server = Server::start(&login);
    login.knows(&[&server]);
    let file = login.project.path("runs");
    let text = format!(
        "let server = ssh::connect(\"{}\", #{{ key: \"id\", keep_alive_s: 3 }}); server.run([\"sh\", \"-c\", \"touch {}; exec sleep 1000\"]);",
        server.address(),
        file.display()
    );
    let mut command = login.command(&text, &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    until("the command runs", || file.exists());
    server.freeze();
    wait(child).ended_with(1).says("has not been heard for");
}

#[test]
fn a_connection_that_is_cut_ends_the_command_with_an_error() {
    let login = Login::new();
    let server = Server::start(&login);
    let file = login.project.path("runs");
    let text = format!(
        r#"
        try {{ server.run(["sh", "-c", "touch {}; exec sleep 1000"]); }} catch (e) {{ print(`${{e.kind}} ${{e.retryable}}`); }}
        server.run(["true"]);
    "#,
        file.display()
    );
    let mut command = login.command(&login.script(&[&server], &text), &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    until("the command runs", || file.exists());
    server.cut();
    let ran = wait(child).ended_with(1).says("the session on 127.0.0.1 has ended");
    assert_eq!(ran.stdout, "unavailable true\n");
}

#[test]
fn output_of_any_size_and_of_any_bytes_is_taken() {
    let login = Login::new();
    let server = Server::start(&login);
    let text = r#"
        let much = server.run(["head", "-c", "100000000", "/dev/zero"], #{ quiet: true });
        print(much.stdout_size);
        try { print(much.stdout); } catch (e) { print(e.message); }
        let bytes = server.run(["printf", "\\000\\377\\n"], #{ quiet: true });
        print(bytes.stdout_bytes == blob_of(bytes));
        try { print(bytes.stdout); } catch (e) { print(e.message); }
        fn blob_of(bytes) { let b = blob(3, 0); b[1] = 255; b[2] = 10; b }
    "#;
    let ran = login.run(&login.script(&[&server], text)).ended_with(0);
    assert_eq!(
        ran.stdout,
        "100000000\nstdout has 100000000 bytes, and only the first 16777216 were kept\ntrue\nstdout is no text: byte 1 is not UTF-8\n"
    );
}

#[test]
fn a_name_that_no_host_has_goes_nowhere() {
    let login = Login::new();
    for name in [
        "$(touch x)",
        "a;b",
        "-oProxyCommand=touch x",
        "a b",
        "",
        "user@",
        "a`b`",
        "a/b",
        "web:0",
        "web:99999",
    ] {
        let ran = login.run(&format!("ssh::connect({name:?});")).ended_with(1);
        assert!(ran.stderr.contains("is no host"), "{name}: {}", ran.stderr);
    }
    assert!(!login.project.path("x").exists());
}

#[test]
fn a_plan_connects_and_reads_and_runs_nothing_else() {
    let login = Login::new();
    let server = Server::start(&login);
    let file = login.project.path("made");
    let text = format!(
        "print(server.run([\"echo\", \"read\"], #{{ read_only: true }}).stdout); server.run([\"touch\", \"{0}\"]); server.write_file(\"{0}\", \"x\"); server.upload(\"id.pub\", \"{0}\");",
        file.display()
    );
    let ran = finish(login.command(&login.script(&[&server], &text), &["--dry-run"]));
    let ran = ran.ended_with(0).says("run touch").says("write 127.0.0.1:").says("upload ");
    assert_eq!(ran.stdout, "read\n");
    assert!(!file.exists());
}

#[test]
fn a_dead_server_among_many_is_named_and_holds_up_no_other() {
    let login = Login::new();
    let servers: Vec<Server> = (0..3).map(|_| Server::start(&login)).collect();
    login.knows(&servers.iter().collect::<Vec<_>>());
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dead = format!("a@127.0.0.1:{}", silent.local_addr().expect("an address").port());
    let mut list: Vec<String> = servers.iter().map(|server| format!("\"{}\"", server.address())).collect();
    list.insert(1, format!("\"{dead}\""));
    let text = format!(
        "parallel([{}], #{{ width: 2 }}, |host| {{
            let patience_s = if host == \"{dead}\" {{ 2 }} else {{ 60 }};
            print(ssh::connect(host, #{{ key: \"id\", connect_timeout_s: patience_s }}).run([\"echo\", host]).stdout)
        }});",
        list.join(", ")
    );
    let ran = login.run(&text).ended_with(124).says(&dead).says("did not answer in 2 s");
    let mut printed: Vec<&str> = ran.stdout.lines().collect();
    let mut wanted: Vec<String> = servers.iter().map(Server::address).collect();
    printed.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(printed, wanted);
}

#[test]
fn an_agent_that_says_nothing_is_left_alone() {
    let login = Login::new();
    let server = Server::start(&login);
    login.knows(&[&server]);
    let socket = login.project.path("silent");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let text = format!("ssh::connect(\"{}\"); print(\"in\");", server.address());
    let mut command = login.command(&text, &[]);
    let ran = finish({
        command.env("SSH_AUTH_SOCK", &socket);
        command
    });
    ran.ended_with(1).says("AuthenticationFailed").says("the agent (it did not answer within 2 s)");
}

#[test]
fn a_session_that_the_server_ended_while_it_was_idle_is_opened_again() {
    let login = Login::new();
    let server = Server::with(&login, "ClientAliveInterval 3\nClientAliveCountMax 1\n", &[]);
    login.knows(&[&server]);
    let text = format!(
        r#"
        let server = ssh::connect("{}", #{{ key: "id", keep_alive_s: 2 }});
        print(server.run(["echo", "before"], #{{ quiet: true }}).stdout);
        while !file::exists("ended") {{ sleep(1); }}
        print(server.run(["echo", "after"], #{{ quiet: true }}).stdout);
        "#,
        server.address()
    );
    let mut command = login.command(&text, &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    until("the server has ended the session", || server.log().contains("Timeout, client not responding"));
    login.project.write("ended", "");
    let ran = wait(child).ended_with(0).says("ended the idle session");
    assert_eq!(ran.stdout, "before\nafter\n");
}
