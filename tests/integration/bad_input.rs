//! Bad input gets an error that a beginner can act on, before anything is changed.

use std::net::TcpListener;

use crate::harness::{Project, finish};

/// Runs a playbook of these lines against nothing.
fn run(text: &str, arguments: &[&str]) -> crate::harness::Ran {
    let project = Project::empty();
    project.write("playbooks/it.rhai", text);
    project.ops(&[&["run", "it"], arguments].concat())
}

#[test]
fn an_unknown_playbook_is_met_with_the_nearest_name() {
    Project::new().ops(&["run", "depoy"]).ended_with(2).says("no playbook `depoy`; did you mean `deploy`?");
}

#[test]
fn a_syntax_error_has_a_caret() {
    let ran = run("let x = ;\n", &[]).ended_with(2);
    assert!(ran.stderr.contains("playbooks/it.rhai:1:9") && ran.stderr.contains("^"), "{}", ran.stderr);
}

#[test]
fn an_undefined_variable_is_found_before_the_run() {
    let ran = run("print(\"started\");\nlet name = 1;\nprint(nmae);\n", &[]).ended_with(2);
    assert_eq!(ran.stdout, "", "nothing ran");
    assert!(ran.stderr.contains("nmae") && ran.stderr.contains("did you mean `name`"), "{}", ran.stderr);
}

#[test]
fn an_unknown_function_is_met_with_the_nearest_one() {
    run("ec2::ensure_instanse(\"server\");", &[]).ended_with(1).says("ec2::ensure_instance");
}

#[test]
fn an_unknown_key_has_the_caret_under_the_key() {
    let text = "stack(\"s\");\nec2::ensure_instance(\"server\", #{\n    instnce_type: \"t3.micro\",\n});\n";
    let project = Project::empty();
    project.write("playbooks/it.rhai", text);
    let ran = project.run_local("it", &["--yes"]).ended_with(1);
    assert!(ran.stderr.contains("unknown key `instnce_type` for ec2::ensure_instance"), "{}", ran.stderr);
    assert!(ran.stderr.contains("playbooks/it.rhai:3:5"), "{}", ran.stderr);
    assert!(ran.stderr.contains("did you mean `instance_type`?"), "{}", ran.stderr);
}

#[test]
fn a_wrong_type_names_the_key_and_both_types() {
    let text = "stack(\"s\");\nrds::ensure_instance(\"db\", #{ allocated_storage_gib: \"20\" });\n";
    let project = Project::empty();
    project.write("playbooks/it.rhai", text);
    project
        .run_local("it", &["--yes"])
        .ended_with(1)
        .says("`allocated_storage_gib` of rds::ensure_instance is a whole number, and not the string \"20\"");
}

#[test]
fn a_missing_required_parameter_says_how_to_give_it() {
    run("let host = required(\"host\", \"Where\");", &[]).ended_with(2).says("--host");
}

#[test]
fn a_parameter_of_the_wrong_type_is_refused_before_the_run() {
    let ran = run("let n = option(\"n\", 1, \"How many\");\nprint(n);", &["--n", "many"]).ended_with(2);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("many"), "{}", ran.stderr);
}

#[test]
fn an_unknown_flag_is_met_with_the_nearest_one() {
    Project::new().ops(&["run", "cleanup", "--keepdb"]).ended_with(2).says("--keep-db");
}

#[test]
fn a_playbook_cannot_take_a_flag_of_ops() {
    run("let l = flag(\"local\", \"Mine\");", &[]).ended_with(2).says("local");
}

#[test]
fn without_credentials_it_says_what_was_looked_at_and_offers_the_local_cloud() {
    let project = Project::new();
    let ran = project
        .ops(&[
            "run",
            "deploy",
            "--region",
            "us-east-1",
            "--image",
            "registry.example.com/app-server@sha256:0",
        ])
        .ended_with(1);
    for expected in ["no usable AWS credentials", "AWS_ACCESS_KEY_ID", "--local"] {
        assert!(ran.stderr.contains(expected), "{expected}:\n{}", ran.stderr);
    }
}

#[test]
fn without_an_image_a_deployment_to_an_account_is_refused_before_the_first_change() {
    let project = Project::new();
    project.ops(&["local", "up"]).ended_with(0);
    // The local cloud, reached as an account is.
    let mut command = project.command(&["run", "deploy", "--yes", "--region", "us-east-1"]);
    command.env("AWS_ENDPOINT_URL", project.endpoint());
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    finish(command).ended_with(1).says("--image").says("playbooks/deploy.rhai");
    assert_eq!(project.changes_on_the_wire(), 0);
}

#[test]
fn a_corrupt_state_file_is_refused_and_stays_as_it_is() {
    let project = Project::new();
    project.write("deploy_config.local.json", "{\"stack\": \"music-app\"");
    project
        .run_local("deploy", &["--yes"])
        .ended_with(1)
        .says("deploy_config.local.json is not a JSON object");
    assert_eq!(project.read("deploy_config.local.json"), "{\"stack\": \"music-app\"");
    assert_eq!(project.changes_on_the_wire(), 0);
}

#[test]
fn a_state_file_of_another_account_is_refused_and_stays_as_it_is() {
    let project = Project::new();
    let foreign = "{\"schema_version\": 1, \"stack\": \"music-app\", \"account\": \"111111111111\"}";
    project.write("deploy_config.local.json", foreign);
    project.run_local("deploy", &["--yes"]).ended_with(1).says("belongs to account");
    assert_eq!(project.read("deploy_config.local.json"), foreign);
    assert_eq!(project.changes_on_the_wire(), 0);
}

#[test]
fn a_port_that_is_in_use_is_named() {
    // A program that listens on all addresses has the port of every instance.
    let taken = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let project = Project::empty();
    project.write(
        "playbooks/it.rhai",
        &format!(
            "stack(\"s\");\nlet server = ec2::ensure_instance(\"server\", #{{ service: #{{ name: \"app-server\", image: \"app-server\", port: {port} }} }});\nprint(server.address);\n"
        ),
    );
    let ran = project.run_local("it", &["--yes"]).ended_with(1);
    assert!(ran.stderr.contains(&format!("port {port}")) && ran.stderr.contains("in use"), "{}", ran.stderr);
    assert!(ran.stderr.contains("playbooks/it.rhai:3"), "{}", ran.stderr);
}

/// PostgreSQL is hidden by mounts of our own, in a namespace that ends with the command.
#[test]
#[cfg(target_os = "linux")]
fn a_missing_postgresql_is_one_line_with_the_command_that_installs_it() {
    let project = Project::new();
    let script = format!(
        "for folder in /usr/lib/postgresql /usr/pgsql-*; do [ ! -d $folder ] || mount -t tmpfs none $folder; done; PATH=/nowhere exec {} local up",
        env!("CARGO_BIN_EXE_ops")
    );
    let mut command = project.command(&[]);
    let mut hidden = std::process::Command::new("unshare");
    hidden.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    hidden.current_dir(command.get_current_dir().expect("a folder")).stdin(std::process::Stdio::null());
    command = hidden;
    let ran = finish(command).ended_with(1);
    assert!(ran.stderr.contains("PostgreSQL") && ran.stderr.contains("install"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--install-missing"), "{}", ran.stderr);
}

#[test]
fn a_name_that_aws_would_not_take_is_refused_with_the_rule() {
    let project = Project::empty();
    project.write("playbooks/it.rhai", "stack(\"My App\");");
    project.run_local("it", &["--yes"]).ended_with(1).says("use up to 32 lower-case letters");
}

#[test]
fn nothing_is_made_without_consent() {
    let project = Project::new();
    project.run_local("deploy", &[]).ended_with(4).says("add `--yes`");
    assert_eq!(project.changes_on_the_wire(), 0);
}

#[test]
fn a_misspelt_property_of_a_map_does_not_mean_not_given() {
    let project = Project::empty();
    project.write(
        "playbooks/it.rhai",
        "stack(\"s\");\nlet groups = #{};\nec2::ensure_instance(\"server\", #{ security_groups: groups.ap });\n",
    );
    project
        .run_local("it", &["--yes"])
        .ended_with(1)
        .says("`security_groups` of ec2::ensure_instance is a list");
    assert_eq!(project.changes_on_the_wire(), 0);
}

#[test]
fn a_text_that_looks_like_a_reference_cannot_smuggle_a_command() {
    let text = "service(#{ name: \"a\", image: \"app-server\", port: 1, env: #{ BANNER: \"ssm:/x' ; reboot ; '\" } });";
    let project = Project::empty();
    project.write("playbooks/it.rhai", text);
    project.run_local("it", &[]).ended_with(1).says("begins like a reference");
}

#[test]
fn the_local_cloud_is_reached_without_a_proxy() {
    let project = Project::empty();
    project.write("playbooks/it.rhai", "stack(\"s\");\nsecrets::ensure(\"password\");\n");
    let mut command = project.command(&["run", "it", "--local", "--yes"]);
    // Nobody listens there: whatever is sent to it fails.
    command.env("http_proxy", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
    command.env("AWS_USE_FIPS_ENDPOINT", "true");
    finish(command).ended_with(0).says("ssm password");
}

#[test]
fn a_mistyped_thing_to_keep_is_refused_before_anything_is_deleted() {
    let project = Project::empty();
    project.write(
        "playbooks/it.rhai",
        "stack(\"s\");\nsns::ensure_topic(\"alerts\");\nowned().keep(\"sns:alert\").delete();\n",
    );
    project
        .run_local("it", &["--yes"])
        .ended_with(1)
        .says("there is no `sns:alert` in the stack")
        .says("sns:alerts");
}

#[test]
fn a_queue_of_another_stack_is_left_alone() {
    let project = Project::empty();
    project.write("playbooks/it.rhai", "stack(\"music\");\nsqs::ensure_queue(\"app-log\");\n");
    project.write(
        "playbooks/other.rhai",
        "stack(\"music-app\");\nsqs::ensure_queue(\"log\", #{ retention_s: 60 });\n",
    );
    project.run_local("it", &["--yes"]).ended_with(0);
    let before = project.changes_on_the_wire();
    project.run_local("other", &["--yes"]).ended_with(1).says("belongs to the stack `music`");
    assert_eq!(project.changes_on_the_wire(), before);
}
