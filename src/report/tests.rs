//! What every test of a report needs: an engine with a host's error, and scripts drawn as a run draws them.

mod callers;
mod keys;
mod words;

use proptest::prelude::*;
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Map, Module, NativeCallContext, Position};

use super::{Problem, Reporter, nearest};
use crate::sources::{self, Sources};

/// A host's error about a key, as the real host would raise it.
#[derive(Clone)]
struct UnknownKey {
    key: String,
    raised: (String, Position),
}

fn engine() -> Engine {
    let mut engine = Engine::new();
    engine.set_strict_variables(true);
    engine.set_max_expr_depths(sources::MAX_EXPRESSION_DEPTH, sources::MAX_EXPRESSION_DEPTH);
    engine.set_max_call_levels(16);
    engine.set_max_operations(20_000);
    engine.set_max_string_size(1000);
    let mut ec2 = Module::new();
    ec2.set_native_fn("make", |context: NativeCallContext, _: ImmutableString, options: Map| {
        match options.keys().find(|key| *key != "size") {
            None => Ok(1_i64),
            Some(key) => {
                let position = context.call_position();
                let raised = (context.call_source().unwrap_or_default().to_owned(), position);
                let error = Dynamic::from(UnknownKey { key: key.to_string(), raised });
                Err(Box::new(EvalAltResult::ErrorRuntime(error, position)))
            }
        }
    });
    engine.register_static_module("ec2", ec2.into());
    engine.register_fn("step", |context: NativeCallContext, _: &str, body: rhai::FnPtr| {
        body.call_within_context::<Dynamic>(&context, ())
    });
    engine
}

fn describe(value: &Dynamic) -> Option<Problem> {
    let UnknownKey { key, raised } = value.clone().try_cast()?;
    let title = format!("unknown key `{key}` for ec2::make");
    let help = vec!["there is `size`".to_owned()];
    Some(Problem { title, key: Some(key), raised: Some(raised), help, ..Problem::default() })
}

fn draw_with(engine: &Engine, sources: &Sources, text: &str) -> String {
    let functions = [("ec2::make".to_owned(), "ec2::make(name: string, options: map) -> int".to_owned())];
    let reporter =
        Reporter { sources, functions: &functions, types: &[], describe: &describe, colour: false };
    sources.insert("main.rhai", text.into());
    let drawn = match engine.compile(text) {
        Err(error) => Some(reporter.syntax("main.rhai", &error)),
        Ok(mut ast) => {
            ast.set_source("main.rhai");
            engine.run_ast(&ast).err().map(|error| reporter.runtime("main.rhai", &error))
        }
    };
    drawn.unwrap_or_default()
}

fn draw(text: &str) -> String {
    draw_with(&engine(), &Sources::default(), text)
}

fn fragment() -> impl Strategy<Value = String> {
    let pieces = [
        "let a = ",
        "const b = ",
        "a",
        "b",
        "c.d",
        "#{ ",
        "size: 1",
        "sze: 1",
        "\"é\": 2, ",
        " }",
        "fn f(a) {",
        "}",
        "f(",
        ")",
        "ec2::make(\"ü\", ",
        "ec2::mak(",
        "step(\"x\", || ",
        "|a| ",
        "throw ",
        "\"text\"",
        "`t${",
        "`",
        "1",
        "2.5",
        " + ",
        " - ",
        ";",
        "\n",
        "\r\n",
        "\t",
        "if ",
        "for x in ",
        "a[9]",
        "[1, ",
        "]",
        "try {",
        "catch (e) {",
        "import \"x\" as y;",
        "// note\n",
        "/* ",
        "日本",
        "'",
        "\"",
        "switch a {",
        "=> ",
        "while true {",
        "this",
        ".",
        "::",
        "(",
        ",",
        "\\",
        "\u{1}",
        "🎵",
    ];
    let piece =
        prop_oneof![8 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => ".{0,4}"];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn drawing_the_error_of_any_script_never_panics(text in fragment()) {
        draw(&text);
    }

    #[test]
    fn drawing_at_any_position_of_any_text_never_panics(
        text in "(.|\n|\r\n|\t){0,40}",
        line in 0_u16..12,
        column in 0_u16..50,
        key in proptest::option::of("[a-c]"),
    ) {
        let sources = Sources::default();
        sources.insert("main.rhai", text.as_str().into());
        let position = if line == 0 { Position::NONE } else { Position::new(line, column) };
        let reporter =
            Reporter { sources: &sources, functions: &[], types: &[], describe: &describe, colour: true };
        let problem = Problem { title: text, key, ..Problem::default() };
        for name in ["main.rhai", "gone.rhai", ""] {
            reporter.problem(name, position, &problem);
        }
    }
}

/// Runs a playbook that may import `lib/<name>`.
fn draw_with_module(text: &str, name: &str, module: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("lib")).expect("a folder");
    std::fs::write(folder.path().join(format!("lib/{name}.rhai")), module).expect("a file");
    let sources = Sources::default();
    let mut engine = engine();
    let root = folder.path().to_owned();
    engine.set_module_resolver(sources::Modules::new(root, "playbooks".into(), sources.clone()));
    draw_with(&engine, &sources, text)
}

#[test]
fn a_thrown_value_is_the_title() {
    insta::assert_snapshot!(draw("throw \"the queue is full\";"), @r#"
    error: the queue is full
     --> main.rhai:1:1
      |
    1 | throw "the queue is full";
      | ^^^^^
    "#);
    insta::assert_snapshot!(draw("throw #{ message: \"the queue is full\", code: 5, help: \"empty it\" };"), @r#"
    error: the queue is full
     --> main.rhai:1:1
      |
    1 | throw #{ message: "the queue is full", code: 5, help: "empty it" };
      | ^^^^^
      |
      = note: code: 5
      = help: empty it
    "#);
    insta::assert_snapshot!(draw("throw #{ code: 5 };"), @r#"
    error: the playbook threw #{"code": 5}
     --> main.rhai:1:1
      |
    1 | throw #{ code: 5 };
      | ^^^^^
    "#);
    insta::assert_snapshot!(draw("throw;"), @r"
    error: the playbook stopped with `throw`
     --> main.rhai:1:1
      |
    1 | throw;
      | ^^^^^
    ");
    insta::assert_snapshot!(draw("throw \"red \\x1b[31m\\nsecond line\";"), @r#"
    error: red [31m
           second line
     --> main.rhai:1:1
      |
    1 | throw "red \x1b[31m\nsecond line";
      | ^^^^^
    "#);
}

#[test]
fn a_text_that_is_gone_is_named_with_the_line() {
    let reporter = Reporter {
        sources: &Sources::default(),
        functions: &[],
        types: &[],
        describe: &describe,
        colour: false,
    };
    let error = EvalAltResult::ErrorRuntime("no".into(), Position::new(3, 4));
    insta::assert_snapshot!(reporter.runtime("gone.rhai", &error), @r"
    error: no
    --> gone.rhai:3:4
    ");
}

#[test]
fn a_rust_type_is_shown_by_the_word_of_the_author() {
    let sources = Sources::default();
    let types = [("ops::ec2::Handle".to_owned(), "ec2::Instance".to_owned())];
    let reporter =
        Reporter { sources: &sources, functions: &[], types: &types, describe: &describe, colour: false };
    let error =
        EvalAltResult::ErrorMismatchDataType("string".into(), "ops::ec2::Handle".into(), Position::NONE);
    insta::assert_snapshot!(reporter.runtime("", &error), @"error: expected string, got ec2::Instance");
}
