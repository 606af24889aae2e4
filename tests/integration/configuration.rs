//! Configuration files, templates and variables through playbooks; and the playbook that writes where a deployment is.

use std::os::unix::fs::PermissionsExt;

use crate::harness::Project;

const STATE: &str = r#"{ "schema_version": 1, "stack": "music-app", "account": "000000000000", "region": "us-east-1",
  "server_public_ip": "203.0.113.7", "server_port": 8080, "server_name": "music-app.ops.internal", "server_ca": "-----BEGIN CERTIFICATE-----\nabc\n",
  "rds_endpoint": "db.example.com", "rds_port": 5433, "db_name": "music", "nlb_enabled": false, "key_pair_name": "music-app-key" }"#;

#[test]
fn only_the_named_values_of_the_clients_and_the_servers_configuration_change() {
    let project = Project::new();
    project.write("deploy_config.local.json", STATE);
    let client = "# my client\r\nhost = 'old'   # where\r\nport=1\r\ncolour = \"on\"\r\n[prompt]\r\nstyle = \"short\"\r\n";
    project.write("app-client.toml", client);
    let ran = project.run_local("update_config", &["--json"]).ended_with(0);
    assert_eq!(ran.stdout, "{\"host\":\"203.0.113.7\",\"port\":8080}\n");
    // What differs is shown before it is written.
    for line in ["- host = 'old'   # where", "+ host = \"203.0.113.7\"   # where", "+ DATABASE_URL="] {
        assert!(ran.stderr.contains(line), "{line}:\n{}", ran.stderr);
    }
    let after = project.read("app-client.toml");
    let kept = "# my client\r\nhost = \"203.0.113.7\"   # where\r\nport=8080\r\ncolour = \"on\"\r\n";
    assert!(after.starts_with(kept) && after.contains("[prompt]\r\nstyle = \"short\"\r\n"), "{after:?}");
    assert_eq!(
        project.read("app-server.env"),
        "DATABASE_URL='postgres://db.example.com:5433/music?sslmode=require'\n"
    );
    // The second run changes nothing.
    let before = after;
    project.run_local("update_config", &[]).ended_with(0).says("Unchanged.").says("0 changes");
    assert_eq!(project.read("app-client.toml"), before);
    // With a balancer, clients go there.
    let balanced = STATE.replace(
        "\"nlb_enabled\": false",
        "\"nlb_enabled\": true, \"nlb_dns\": \"nlb.example.com\", \"nlb_port\": 80",
    );
    project.write("deploy_config.local.json", &balanced);
    let ran = project.run_local("update_config", &["--json"]).ended_with(0);
    assert_eq!(ran.stdout, "{\"host\":\"nlb.example.com\",\"port\":80}\n");
    assert_eq!(
        project.read("app-client.toml"),
        before.replace("203.0.113.7", "nlb.example.com").replace("8080", "80")
    );
}

#[test]
fn a_plan_of_a_change_shows_it_and_writes_nothing() {
    let project = Project::empty();
    project.write("a.toml", "port = 1\n");
    project.write("set.rhai", r#"config::set("a.toml", #{ values: #{ port: 2 } });"#);
    let ran = project.ops(&["plan", "set.rhai"]).ended_with(0).says("- port = 1").says("+ port = 2");
    assert!(ran.stderr.contains("write a.toml"), "{}", ran.stderr);
    assert_eq!(project.read("a.toml"), "port = 1\n");
}

#[test]
fn what_is_missing_or_no_configuration_is_told() {
    let project = Project::empty();
    project.write("a.toml", "port = 1\n");
    let refused = [
        (r#"config::set("b.toml", #{ values: #{ port: 2 } });"#, "give `create: true` to make it"),
        (r#"config::set("a.toml", #{ values: #{ host: "x" } });"#, "a.toml: there is no key `host`"),
        (r#"config::get("a.toml", "host");"#, "a.toml: there is no key `host`"),
        (r#"config::get("a.json", "host");"#, "cannot read"),
        (
            r#"config::set("a.yaml", #{ values: #{}, create: true });"#,
            "is no configuration file that can be edited",
        ),
        (r#"config::set("a.toml", #{ values: #{ port: [1] } });"#, "`port` is a list"),
        (r#"config::set("a.toml", #{ values: #{ "po rt": 1 }, create: true });"#, "is no key of a TOML file"),
        (r#"print(template::render("t.txt", #{ a: 1 }));"#, "t.txt:2"),
        (r#"print(template::render("t.txt", #{ a: 1 }));"#, "was not given: b"),
        (r#"print(template::render("t.txt", #{ a: 1, b: secrets::env("HOME") }));"#, "`b` holds a secret"),
        (r#"env::get("NO_SUCH_VARIABLE");"#, "NO_SUCH_VARIABLE is not set in the environment"),
        (r#"env::load(".env").get("OTHER");"#, "is not set in the environment or .env"),
        (r#"file::read("none");"#, "cannot read"),
        (r#"file::write("a", #{ text: "x", mode: "9" });"#, "`9` is no mode of a file"),
    ];
    project.write("t.txt", "{{ a }}\n{{ b }}\n");
    for (script, expected) in refused {
        project.write("it.rhai", script);
        project.ops(&["run", "it.rhai"]).ended_with(1).says(expected);
    }
    assert_eq!(project.read("a.toml"), "port = 1\n");
}

#[test]
fn a_secret_reaches_a_private_file_and_nothing_that_is_printed() {
    let project = Project::empty();
    let canary = format!("canary-{}", std::process::id());
    let key = format!("-----BEGIN KEY-----\n{canary}-first-line\n{canary}-second-line\n-----END KEY-----\n");
    project.write(".env", &format!("export API_TOKEN='{canary}'\nPLAIN=shown\n"));
    project.write("key.pem", &key);
    project.write(
        "it.rhai",
        r#"
        let variables = env::load(".env");
        print(`${variables.get("API_TOKEN")} ${variables.get("PLAIN")} ${variables.secret("API_TOKEN")}`);
        config::set("app.env", #{ create: true, values: #{ API_TOKEN: variables.secret("API_TOKEN") } });
        let key = secrets::file("key.pem");
        secrets::write_file("copy.pem", key);
        print(file::mode("app.env") + " " + file::mode("copy.pem"));
        print(file::read("copy.pem"));
        try { output(#{ key: key }); } catch (e) { print(e); }
        print(process_says());
        fn process_says() { try { throw file::read("key.pem"); } catch (e) { return e; } }
        "#,
    );
    let ran = project.ops(&["run", "it.rhai"]).ended_with(0).says("others on this machine may read key.pem");
    assert!(ran.stdout.starts_with("[redacted] shown [redacted]\n0600 0600\n"), "{}", ran.stdout);
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains(&canary), "{text}");
    }
    assert_eq!(project.read("copy.pem"), key);
    let written = project.read("app.env");
    assert_eq!(written, format!("API_TOKEN={canary}\n"));
    let mode = std::fs::metadata(project.path("app.env")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_secret_is_taken_from_the_standard_input_where_nobody_can_be_asked() {
    use std::io::Write;
    use std::process::Stdio;
    let project = Project::empty();
    project.write("ask.rhai", r#"secrets::write_file("got", secrets::prompt("Password"));"#);
    let mut command = project.command(&["run", "ask.rhai"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ops starts");
    child.stdin.take().expect("a pipe").write_all(b"open sesame\n").expect("it is typed");
    crate::harness::wait(child).ended_with(0);
    assert_eq!(project.read("got"), "open sesame");
    project.ops(&["run", "ask.rhai"]).ended_with(4).says("nobody can be asked: Password");
}
