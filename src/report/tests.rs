use proptest::prelude::*;
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Map, Module, NativeCallContext, Position};

use super::{Problem, Reporter};
use crate::sources::{self, Sources};

/// A host's error about a key, as the real host would raise it.
#[derive(Clone)]
struct UnknownKey(String);

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
                let error = Dynamic::from(UnknownKey(key.to_string()));
                Err(Box::new(EvalAltResult::ErrorRuntime(error, context.call_position())))
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
    let UnknownKey(key) = value.clone().try_cast()?;
    let title = format!("unknown key `{key}` for ec2::make");
    Some(Problem { title, key: Some(key), help: vec!["there is `size`".to_owned()], ..Problem::default() })
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
    #![proptest_config(ProptestConfig::with_cases(2000))]

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
