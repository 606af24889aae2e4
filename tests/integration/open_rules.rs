//! Rules that let everybody in to SSH or PostgreSQL: refused when they are made, wherever their range comes from, unless `--allow-open`
//! was given.

use crate::harness::Project;

/// Its range is put together, so that `ops check` cannot see it.
const GROUP: &str = r#"//! Opens two ports.
let port = option("port", 22, "Which one");
stack("s");
let everybody = ["0.0.0.0", "0"];
ec2::ensure_security_group("app", #{ ingress: [
    tcp(8080, everybody[0] + "/" + everybody[1]),
    tcp(port, everybody[0] + "/" + everybody[1]),
] });
"#;

const WHILE: &str = r#"//! Opens a port for a while.
stack("s");
let group = ec2::ensure_security_group("app", #{ ingress: [] });
let everybody = "::" + "/0";
let rule = tcp(22, everybody);
open_while(group, rule, || say("come in"));
"#;

fn project() -> Project {
    let project = Project::empty();
    project.write("playbooks/group.rhai", GROUP);
    project.write("playbooks/while.rhai", WHILE);
    project.ops(&["check"]).ended_with(0);
    project.ops(&["local", "up"]).ended_with(0);
    project
}

#[test]
fn a_rule_that_lets_everybody_in_to_a_login_is_refused_before_anything_is_made() {
    let project = project();
    for (port, what) in [("22", "SSH"), ("5432", "PostgreSQL")] {
        for command in ["run", "plan"] {
            let arguments = [command, "group", "--local", "--port", port];
            let arguments =
                if command == "run" { [&arguments[..], &["--yes"]].concat() } else { arguments.to_vec() };
            project
                .ops(&arguments)
                .ended_with(4)
                .says(&format!(
                    "`tcp {port} from 0.0.0.0/0` would let everybody on the internet try to log in to {what}"
                ))
                .says("group.rhai:7:5")
                .says("name who needs it, such as `my_ip()`")
                .says("--allow-open");
        }
    }
    assert_eq!(project.changes_on_the_wire(), 0);
}

#[test]
fn with_the_flag_it_is_planned_and_made() {
    let project = project();
    project
        .ops(&["plan", "group", "--local", "--allow-open"])
        .ended_with(0)
        .says("+ ec2 app  tcp 22 from 0.0.0.0/0");
    assert_eq!(project.changes_on_the_wire(), 0);
    project
        .run_local("group", &["--yes", "--allow-open"])
        .ended_with(0)
        .says("+ ec2 app  tcp 22 from 0.0.0.0/0");
    project.run_local("group", &["--yes", "--allow-open"]).ended_with(0).says("0 changes");
    // What is there is no reason to let it pass.
    project.run_local("group", &["--yes"]).ended_with(4).says("it was not opened");
}

#[test]
fn a_port_that_is_for_everybody_may_be_open_to_everybody() {
    let project = project();
    project
        .run_local("group", &["--yes", "--port", "443"])
        .ended_with(0)
        .says("+ ec2 app  tcp 443 from 0.0.0.0/0");
}

#[test]
fn a_rule_for_a_while_is_refused_as_well() {
    let project = project();
    let refused =
        project.run_local("while", &["--yes"]).ended_with(4).says("`tcp 22 from ::/0` would let everybody");
    assert!(!refused.stderr.contains("come in\n"), "{}", refused.stderr);
    project.run_local("while", &["--yes", "--allow-open"]).ended_with(0).says("come in\n");
}
