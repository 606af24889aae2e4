//! What the shell offers at the Tab key, asked of a real bash, and of `ops` the way that the scripts for zsh and fish ask it.

use std::process::Command;

use crate::harness::{Project, finish};

/// What bash offers at the end of `line`.
fn bash(project: &Project, line: &str) -> Vec<String> {
    let program = project.command(&[]).get_program().to_owned();
    let folder = std::path::Path::new(&program).parent().expect("a folder").to_owned();
    let script = format!(
        "PATH={folder}:$PATH\nsource <(ops completions bash)\nread -ra COMP_WORDS <<<'{line}x'\n\
         COMP_WORDS[-1]=${{COMP_WORDS[-1]%x}}\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\nCOMP_TYPE=9\n\
         _clap_complete_ops ops \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        folder = folder.display()
    );
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", &script]).current_dir(project.path(""));
    let ran = finish(command).ended_with(0);
    assert_eq!(ran.stderr, "", "{line}");
    ran.stdout.lines().map(|candidate| candidate.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

/// What `ops` answers to the script of a shell for `words`.
fn asked(project: &Project, shell: &str, words: &[&str]) -> String {
    let mut command = project.command(&[&["--"], words].concat());
    command.env("OPS_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
    finish(command).ended_with(0).stdout
}

#[test]
fn bash_offers_playbooks_their_parameters_values_and_stacks() {
    let project = Project::new();
    project.write("deploy_config.json", r#"{"schema_version": 1, "stack": "radio"}"#);
    project.write("deploy_config.staging.json", r#"{"schema_version": 1, "stack": "staging"}"#);

    assert_eq!(bash(&project, "ops comp"), ["completions"]);
    assert_eq!(bash(&project, "ops run dep"), ["deploy"]);
    assert_eq!(bash(&project, "ops plan setup"), ["setup_nlb"]);
    assert_eq!(bash(&project, "ops run deploy --skip"), ["--skip-schema"]);
    assert_eq!(bash(&project, "ops run deploy --delete-p"), ["--delete-protected"]);
    assert_eq!(bash(&project, "ops run cleanup --only "), ["everything", "nlb"]);
    assert_eq!(bash(&project, "ops run --local deploy --stack "), ["radio", "staging"]);
    assert_eq!(bash(&project, "ops run cleanup --delete-protected st"), ["staging"]);
    let playbooks = bash(&project, "ops run ");
    assert!(playbooks.contains(&"cleanup".to_owned()), "{playbooks:?}");
    assert!(!playbooks.iter().any(|name| name.starts_with("lib")), "{playbooks:?}");
}

#[test]
fn a_playbook_can_be_named_by_its_path() {
    let project = Project::empty();
    project.write("elsewhere/greet.rhai", "//! Says hello.\nlet who = option(\"who\", \"you\", \"Whom\");\n");
    project.write("elsewhere/notes.txt", "");
    project.write("single.rhai", "let size = choice(\"size\", [1, 2], \"How many\");\n");
    assert_eq!(bash(&project, "ops run elsew"), ["elsewhere/"]);
    assert_eq!(bash(&project, "ops run elsewhere/"), ["elsewhere/greet.rhai"]);
    assert_eq!(bash(&project, "ops plan ./elsewhere/gr"), ["./elsewhere/greet.rhai"]);
    assert_eq!(bash(&project, "ops run elsewhere/greet.rhai --wh"), ["--who"]);
    assert_eq!(bash(&project, "ops run --local sing"), ["single.rhai"]);
    assert_eq!(bash(&project, "ops run single.rhai --size "), ["1", "2"]);
}

#[test]
fn a_playbook_that_was_just_written_is_known_and_one_that_is_broken_does_no_harm() {
    let project = Project::empty();
    project.write("playbooks/greet.rhai", "//! Says hello.\nlet who = option(\"who\", \"you\", \"Whom\");\n");
    project.write("playbooks/broken.rhai", "let = ;\n");
    assert_eq!(bash(&project, "ops run greet --wh"), ["--who"]);
    assert_eq!(bash(&project, "ops run bro"), ["broken"]);
    assert_eq!(bash(&project, "ops run broken --loca"), ["--local"]);
}

#[test]
fn zsh_and_fish_are_answered_with_descriptions() {
    let project = Project::new();
    for shell in ["zsh", "fish"] {
        let answer = asked(&project, shell, &["ops", "run", "clean"]);
        assert!(answer.starts_with("cleanup"), "{shell}: {answer:?}");
        assert!(answer.trim().len() > "cleanup".len(), "{shell} shows what it does: {answer:?}");
        let script = project.ops(&["completions", shell]).ended_with(0).stdout;
        assert!(script.contains("OPS_COMPLETE"), "{shell}: {script}");
    }
}
