//! A playbook that asks no service: its parameters, its help, its errors.

use crate::harness::Project;

const GREET: &str = r#"//! Greets somebody.
//!
//! It is polite.

let who   = option("who", "world", "Whom to greet");
let times = option("times", 1, "How often");
let style = choice("style", ["warm", "cold"], "In which way");
let loud  = flag("loud", "Louder");
for n in 0..times { print(`${style} hello ${who}${if loud { "!" } else { "" }}`); }
"#;

fn greeter() -> Project {
    let project = Project::empty();
    project.write("playbooks/greet.rhai", GREET);
    project
}

#[test]
fn it_runs_without_an_account_and_prints_its_result() {
    let ran = greeter().ops(&["run", "greet"]).ended_with(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("warm hello world\n", ""));
}

#[test]
fn it_is_found_by_name_by_file_name_and_by_path() {
    let project = greeter();
    for name in ["greet", "greet.rhai", "playbooks/greet.rhai"] {
        assert_eq!(project.ops(&["run", name]).ended_with(0).stdout, "warm hello world\n", "{name}");
    }
}

#[test]
fn parameters_and_the_flags_of_ops_mix_on_either_side_of_its_name() {
    let ran = greeter()
        .ops(&["run", "--yes", "greet", "--who", "Ada", "--json", "--times", "2", "--loud"])
        .ended_with(0);
    assert_eq!(ran.stdout, "warm hello Ada!\nwarm hello Ada!\n");
}

#[test]
fn a_parameter_comes_from_the_flag_else_the_environment_else_ops_toml() {
    let project = greeter();
    project.write("ops.toml", "[params]\nwho = \"toml\"\n");
    assert_eq!(project.ops(&["run", "greet"]).ended_with(0).stdout, "warm hello toml\n");
    let mut command = project.command(&["run", "greet"]);
    command.env("OPS_PARAM_WHO", "environment");
    assert_eq!(crate::harness::finish(command).ended_with(0).stdout, "warm hello environment\n");
    let mut command = project.command(&["run", "greet", "--who", "flag"]);
    command.env("OPS_PARAM_WHO", "environment");
    assert_eq!(crate::harness::finish(command).ended_with(0).stdout, "warm hello flag\n");
}

#[test]
fn its_help_is_its_header_and_its_declarations() {
    let ran = greeter().ops(&["run", "greet", "--help"]).ended_with(0);
    for expected in [
        "It is polite.",
        "--who <WHO>",
        "[default: world]",
        "[possible values: warm, cold]",
        "Louder",
        "--local",
    ] {
        assert!(ran.stdout.contains(expected), "{expected}:\n{}", ran.stdout);
    }
    assert!(ran.stdout.starts_with("Greets somebody."), "{}", ran.stdout);
}

#[test]
fn the_list_shows_every_playbook_with_its_first_line() {
    let ran = Project::new().ops(&["list"]).ended_with(0);
    for (name, first) in
        [("cleanup", "Delete what a deployment made"), ("deploy", "Deploy the music application")]
    {
        let line = ran
            .stdout
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{}", ran.stdout));
        assert!(line[name.len()..].trim_start().starts_with(first), "{line}");
    }
}

#[test]
fn a_script_can_choose_its_exit_code() {
    let project = Project::empty();
    project.write("leave.rhai", "exit(7);");
    project.ops(&["run", "leave.rhai"]).ended_with(7);
}

#[test]
fn a_handle_is_compared_with_its_like_or_not_at_all() {
    let project = Project::empty();
    project.write(
        "compare.rhai",
        r#"
        let one = tcp(80, "10.0.0.0/8");
        print(`${one == tcp(80, "10.1.2.3/8")} ${one != tcp(81, "10.0.0.0/8")} ${one == ()}`);
        print(one == "tcp 80 from 10.0.0.0/8");
        "#,
    );
    let ran = project.ops(&["run", "compare.rhai"]).ended_with(1);
    assert_eq!(ran.stdout, "true true false\n");
    assert!(ran.stderr.contains("a handle cannot be compared with the string"), "{}", ran.stderr);
}

#[test]
fn a_misspelt_property_is_an_error() {
    let project = Project::empty();
    project.write("it.rhai", "try { tcp(0, \"10.0.0.0/8\"); } catch (e) { print(e.mesage); }");
    project.ops(&["run", "it.rhai"]).ended_with(1).says("mesage");
}

#[test]
fn a_failure_inside_attempt_is_a_value_with_the_words_of_the_service() {
    let project = Project::empty();
    project.write(
        "try.rhai",
        r#"
        let outcome = attempt(|| tcp(99999, "10.0.0.0/8"));
        print(`${outcome.ok} ${outcome.error.kind}: ${outcome.error.message}`);
        try { tcp(80, "nowhere"); } catch (e) { print(e.kind); }
        "#,
    );
    let ran = project.ops(&["run", "try.rhai"]).ended_with(0);
    assert_eq!(ran.stdout, "false invalid: 99999 is no TCP port: they go from 1 to 65535\ninvalid\n");
}

#[test]
fn a_reader_that_leaves_early_is_no_crash() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let project = Project::empty();
    project.write("many.rhai", "for n in 0..100000 { print(n); }");
    let mut command = project.command(&["run", "many.rhai"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ops starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("the first line");
    let output = child.wait_with_output().expect("ops ends");
    assert_eq!(
        (line.as_str(), output.status.code()),
        ("0\n", Some(0)),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_playbook_of_the_readme_runs_twice() {
    let readme = include_str!("../../README.md");
    let text =
        readme.split("```rhai --email you@example.com\n").nth(1).and_then(|rest| rest.split("```").next());
    let text = text.expect("an example");
    let project = Project::empty();
    project.write("playbooks/alerts.rhai", text);
    let arguments = ["--email", "you@example.com", "--yes"];
    let first = project.run_local("alerts", &arguments).ended_with(0).says("2 created");
    assert!(first.stdout.starts_with("topic  arn:aws:sns:"), "{}", first.stdout);
    let before = project.changes_on_the_wire();
    project.run_local("alerts", &arguments).ended_with(0).says("0 changes");
    assert_eq!(project.changes_on_the_wire(), before);
}

#[test]
fn a_stack_that_nobody_knows_is_asked_about_where_another_is_called_much_like_it() {
    let project = Project::new();
    project.write("make.rhai", "stack(\"music-app\"); sns::ensure_topic(\"alerts\");");
    project.run_local("make.rhai", &["--yes"]).ended_with(0);
    let hint = "warning: nothing is known here of the stack `musci-app`; did you mean `music-app`?\n";
    for (playbook, more, code) in [
        ("status", &[][..], 0),
        ("cleanup", &["--yes"], 0),
        ("notify", &["--message", "hello"], 1),
        ("monitor", &[], 1),
    ] {
        project.run_local(playbook, &[&["--stack", "musci-app"], more].concat()).ended_with(code).says(hint);
    }
    // One that is like no other, or is there, or has just been made, is none of this.
    for stack in ["jazz", "music-app"] {
        let ran = project.run_local("monitor", &["--stack", stack]).ended_with(1);
        assert!(!ran.stderr.contains("did you mean"), "{}", ran.stderr);
    }
    project.write("other.rhai", "stack(\"music-apq\"); owned(); sns::ensure_topic(\"alerts\");");
    let ran = project.run_local("other.rhai", &["--yes"]).ended_with(0);
    assert!(!ran.stderr.contains("did you mean"), "{}", ran.stderr);
}
