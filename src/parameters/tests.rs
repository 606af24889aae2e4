use std::collections::BTreeMap;
use std::ffi::OsString;

use toml_edit::Value;

use super::{Declarations, Error, Parameters};
use crate::playbook::Playbook;
use crate::report::Reporter;
use crate::sources::Sources;

const CLEANUP: &str = r#"#!/usr/bin/env -S ops run
//! Remove the application.
//!
//! What is protected stays, unless it is named.

let keep_db = flag("keep-db", "Keep the database");
let servers = option("servers", 2, "How many servers");
let ratio = option("ratio", 0.5, "How much");
let email = option("email", "", "Send alerts to this address");
let notify = option("notify", true, "Say so");
let size = choice("size", ["t3.micro", "t3.small"], "Server size");
let image = required("image", "What to run");
"#;

fn playbook(text: &str) -> Playbook {
    let project = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(project.path().join("cleanup.rhai"), text).expect("a file");
    Playbook::find(project.path(), project.path(), "cleanup.rhai").expect("a playbook")
}

fn declarations(text: &str) -> Declarations {
    Declarations::read(&playbook(text), &["yes", "local"]).expect("declarations")
}

fn parse_with(
    args: &[&str],
    environment: &[(&str, &str)],
    project: &[(&str, Value)],
) -> Result<Parameters, Error> {
    let args: Vec<OsString> = args.iter().map(Into::into).collect();
    let project: BTreeMap<String, Value> =
        project.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let environment =
        |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    declarations(CLEANUP).parse(&args, environment, &project)
}

fn shown(parameters: &Parameters) -> String {
    parameters.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(" ")
}

fn refusal(args: &[&str], environment: &[(&str, &str)], project: &[(&str, Value)]) -> String {
    parse_with(args, environment, project).expect_err("a refusal").to_string()
}

fn drawn(text: &str) -> String {
    let playbook = playbook(text);
    let sources = Sources::default();
    sources.insert(playbook.source(), playbook.text().clone());
    let reporter =
        Reporter { sources: &sources, functions: &[], types: &[], describe: &|_| None, colour: false };
    match Declarations::read(&playbook, &["yes", "local"]).expect_err("a refusal") {
        Error::Declaration(wrong) => reporter.problem(&wrong.name, wrong.position, &wrong.problem),
        Error::Syntax { name, error } => reporter.syntax(&name, &error),
        other => other.to_string(),
    }
}

#[test]
fn help_shows_the_header_and_every_parameter() {
    let command = declarations(CLEANUP).command().term_width(100);
    let help = command.try_get_matches_from(["--help"]).expect_err("the help");
    insta::assert_snapshot!(help, @r"
    Remove the application.

    What is protected stays, unless it is named.

    Usage: ops run cleanup [OPTIONS]

    Options:
          --keep-db            Keep the database
          --servers <SERVERS>  How many servers [default: 2]
          --ratio <RATIO>      How much [default: 0.5]
          --email <EMAIL>      Send alerts to this address
          --notify <NOTIFY>    Say so [default: true] [possible values: true, false]
          --size <SIZE>        Server size [default: t3.micro] [possible values: t3.micro, t3.small]
          --image <IMAGE>      What to run [required]
      -h, --help               Print help

    A parameter can also be set in the environment (--keep-db as OPS_PARAM_KEEP_DB) or under [params] in
    ops.toml.
    ");
}

#[test]
fn the_command_line_wins_over_the_environment_over_the_project_over_the_default() {
    let project =
        [("servers", Value::from(4)), ("size", "t3.small".into()), ("email", "p@example.org".into())];
    let environment = [("OPS_PARAM_SERVERS", "5"), ("OPS_PARAM_EMAIL", "e@example.org")];
    let parameters = parse_with(&["--image", "app:1", "--servers", "6", "--keep-db"], &environment, &project);
    insta::assert_snapshot!(shown(&parameters.expect("parameters")), @r#"email="e@example.org" image="app:1" keep-db=true notify=true ratio=0.5 servers=6 size="t3.small""#);
}

#[test]
fn values_have_the_type_of_their_default() {
    let args = ["--image=a", "--servers=-1", "--ratio=2", "--notify=false", "--email=-x"];
    insta::assert_snapshot!(shown(&parse_with(&args, &[], &[]).expect("parameters")), @r#"email="-x" image="a" keep-db=false notify=false ratio=2.0 servers=-1 size="t3.micro""#);
}

#[test]
fn a_flag_is_set_from_the_environment_and_the_project() {
    let environment = [("OPS_PARAM_KEEP_DB", "yes"), ("OPS_PARAM_IMAGE", "a")];
    let parameters = parse_with(&[], &environment, &[]).expect("parameters");
    assert!(parameters.get("keep-db").is_some_and(|value| value.as_bool() == Ok(true)));
    let environment = [("OPS_PARAM_KEEP_DB", "false"), ("OPS_PARAM_IMAGE", "a")];
    let parameters = parse_with(&[], &environment, &[("keep_db", true.into())]).expect("parameters");
    assert!(parameters.get("keep-db").is_some_and(|value| value.as_bool() == Ok(false)));
    let parameters = parse_with(&["--image=a"], &[], &[("keep_db", true.into())]).expect("parameters");
    assert!(parameters.get("keep-db").is_some_and(|value| value.as_bool() == Ok(true)));
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_the_place_it_came_from() {
    insta::assert_snapshot!(refusal(&["--servers", "many"], &[], &[]), @r"
    error: invalid value 'many' for '--servers <SERVERS>': expected a whole number

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refusal(&["--size", "t3.smal"], &[], &[]), @r"
    error: invalid value 't3.smal' for '--size <SIZE>'
      [possible values: t3.micro, t3.small]

      tip: a similar value exists: 't3.small'

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refusal(&[], &[("OPS_PARAM_SERVERS", "many")], &[]), @"parameter `servers` must be a whole number, but OPS_PARAM_SERVERS is `many`");
    insta::assert_snapshot!(refusal(&[], &[("OPS_PARAM_SIZE", "t3.huge")], &[]), @"parameter `size` must be one of `t3.micro`, `t3.small`, but OPS_PARAM_SIZE is `t3.huge`");
    insta::assert_snapshot!(refusal(&[], &[("OPS_PARAM_KEEP_DB", "maybe")], &[]), @"parameter `keep-db` must be true or false, but OPS_PARAM_KEEP_DB is `maybe`");
    insta::assert_snapshot!(refusal(&[], &[], &[("servers", "3".into())]), @r#"parameter `servers` must be a whole number, but `servers` under [params] in ops.toml is `"3"`"#);
    insta::assert_snapshot!(refusal(&[], &[], &[("email", Value::from(3))]), @"parameter `email` must be text, but `email` under [params] in ops.toml is `3`");
}

#[test]
fn a_missing_required_parameter_is_named_with_the_ways_to_give_it() {
    insta::assert_snapshot!(refusal(&[], &[], &[]), @"parameter `image` is required: give --image <IMAGE>, set OPS_PARAM_IMAGE, or set `image` under [params] in ops.toml");
}

#[test]
fn a_misspelled_flag_gets_a_suggestion() {
    insta::assert_snapshot!(refusal(&["--keep-bd"], &[], &[]), @r"
    error: unexpected argument '--keep-bd' found

      tip: a similar argument exists: '--keep-db'

    Usage: ops run cleanup --keep-db

    For more information, try '--help'.
    ");
}

#[test]
fn a_playbook_without_parameters_takes_none() {
    let none = |_: &str| None;
    let declarations = declarations("//! Nothing to say.\nprint(1);");
    assert!(declarations.parse(&[], none, &BTreeMap::new()).is_ok());
    let refused = declarations.parse(&["--x".into()], none, &BTreeMap::new()).expect_err("a refusal");
    assert!(matches!(refused, Error::Usage(_)));
}

#[test]
fn a_wrong_declaration_is_shown_with_a_caret() {
    insta::assert_snapshot!(drawn("let n = 2;\nlet s = option(\"servers\", n, \"How many\");"), @r#"
    error: the arguments of `option` must be literals: they are read before the playbook runs
     --> cleanup.rhai:2:27
      |
    2 | let s = option("servers", n, "How many");
      |                           ^
      |
      = help: for example `option("servers", 2, "How many servers")`
    "#);
    insta::assert_snapshot!(drawn("let a = flag(\"a\", \"A\");\nlet b = flag(\"a\", \"B\");"), @r#"
    error: parameter `a` is declared twice
     --> cleanup.rhai:2:14
      |
    2 | let b = flag("a", "B");
      |              ^^^
      |
      = note: the first declaration is on line 1
    "#);
    insta::assert_snapshot!(drawn("let a = flag(\"yes\", \"A\");"), @r#"
    error: `--yes` belongs to ops itself
     --> cleanup.rhai:1:14
      |
    1 | let a = flag("yes", "A");
      |              ^^^^^
      |
      = help: choose another name for this parameter
    "#);
    insta::assert_snapshot!(drawn("let a = flag(\"Keep_DB\", \"A\");"), @r#"
    error: `Keep_DB` cannot be the name of a parameter
     --> cleanup.rhai:1:14
      |
    1 | let a = flag("Keep_DB", "A");
      |              ^^^^^^^^^
      |
      = help: use lower-case letters, digits and single dashes, like `keep-db`
    "#);
    insta::assert_snapshot!(drawn("let a = flag(\"keep-db\");"), @r#"
    error: `flag` takes 2 arguments, not 1
     --> cleanup.rhai:1:9
      |
    1 | let a = flag("keep-db");
      |         ^^^^
      |
      = help: for example `flag("keep-db", "Keep the database")`
    "#);
    insta::assert_snapshot!(drawn("let a = choice(\"size\", [], \"Size\");"), @r#"
    error: the values of parameter `size` must not be an empty list
     --> cleanup.rhai:1:24
      |
    1 | let a = choice("size", [], "Size");
      |                        ^
      |
      = help: for example `choice("size", ["t3.micro", "t3.small"], "Server size")`
    "#);
    insta::assert_snapshot!(drawn("let a = option(\"size\", [1], \"Size\");"), @r#"
    error: the default of parameter `size` must be text, a number, true or false
     --> cleanup.rhai:1:24
      |
    1 | let a = option("size", [1], "Size");
      |                        ^
      |
      = help: for example `option("servers", 2, "How many servers")`
    "#);
    insta::assert_snapshot!(drawn("let a = option(`si${1}`, 1, \"Size\");"), @r#"
    error: the arguments of `option` must be literals: they are read before the playbook runs
     --> cleanup.rhai:1:16
      |
    1 | let a = option(`si${1}`, 1, "Size");
      |                ^^^^^^^^
      |
      = help: for example `option("servers", 2, "How many servers")`
    "#);
}

#[test]
fn a_declaration_anywhere_but_at_the_top_is_refused() {
    for text in [
        "if true { let a = flag(\"a\", \"A\"); }",
        "flag(\"a\", \"A\");",
        "let a = !flag(\"a\", \"A\");",
        "fn f() { let a = flag(\"a\", \"A\"); }",
        "let f = || flag(\"a\", \"A\");",
        "print(`${flag(\"a\", \"A\")}`);",
        "let m = #{ a: flag(\"a\", \"A\") };",
    ] {
        let drawn = drawn(text);
        assert!(drawn.contains("`flag` declares a parameter, so it must stand alone"), "{text}: {drawn}");
        assert!(drawn.contains("^^^^"), "{text}: {drawn}");
    }
}

#[test]
fn a_syntax_error_is_shown_with_a_caret() {
    insta::assert_snapshot!(drawn("let a = flag(\"a\", \"A\")\nlet b = 1;"), @r#"
    error: `;` is missing to terminate this statement
     --> cleanup.rhai:1:23
      |
    1 | let a = flag("a", "A")
      |                       ^
    "#);
}

#[test]
fn names_are_refused_unless_they_make_a_flag_and_a_variable() {
    for name in ["", "-a", "a-", "a--b", "a b", "1a", "é", "a=b", "A", "help", "local"] {
        let text = format!("let a = flag({name:?}, \"A\");");
        assert!(Declarations::read(&playbook(&text), &["local"]).is_err(), "{name}");
    }
}
