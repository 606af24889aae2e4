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
fn a_refused_key_is_marked_in_a_literal() {
    insta::assert_snapshot!(draw("let s = step(`é`, || {\n\tec2::make(\"ü\", #{\n\t\tsize: 1, \"süze\": 2,\n\t});\n});"), @r#"
    error: unknown key `süze` for ec2::make
     --> main.rhai:3:12
      |
    3 |         size: 1, "süze": 2,
      |                  ^^^^^^
      |
      = help: there is `size`
    note: in a closure that this call runs
     --> main.rhai:1:9
      |
    1 | let s = step(`é`, || {
      |         ^^^^
    "#);
}

#[test]
fn a_refused_key_is_marked_wherever_the_map_was_written() {
    for text in [
        "ec2::make(\"a\", #{ BAD: 1 });",
        "let x = ec2::make(\"a\", #{ BAD: 1 });",
        "fn f() { ec2::make(\"a\", #{ BAD: 1 }) } f();",
        "print(`${ec2::make(\"a\", #{ BAD: 1 })}`);",
        "[1].map(|n| ec2::make(\"a\", #{ BAD: n }));",
        "ec2::make(\"a\", #{ size: 1 }); ec2::make(\"b\", #{ BAD: 1 });",
        "ec2::make(\"a\", #{ \"BAD\": 1 });",
        "let x = \"日本\"; ec2::make(x, #{ BAD: 1 });",
        "let a = #{}; ec2::make(\"a\", a + #{ BAD: 1 });",
        "fn same(m) { m } ec2::make(\"a\", same(#{ BAD: 1 }));",
        "let o = #{ BAD: 1 };\nec2::make(\"a\", o);",
        "let o = #{ BAD: 1 };\nstep(\"s\", || ec2::make(\"a\", o));",
        "let o = #{};\no.BAD = 1;\nec2::make(\"a\", o);",
        "let o = #{};\no[\"BAD\"] = 1;\nec2::make(\"a\", o);",
        "let o = #{ BAD: 1 };\nlet p = o;\nec2::make(\"a\", p);",
        "fn pass(o) { ec2::make(\"a\", o) }\npass(#{ BAD: 1 });",
        "fn pass(o) { ec2::make(\"a\", o) }\nfn on(o) { pass(o) }\nlet m = #{ BAD: 1 };\non(m);",
        "if ec2::make(\"a\", #{ BAD: 1 }) == 1 {}",
        "try { ec2::make(\"a\", #{ BAD: 1 }) } catch (e) { throw }",
        "let s = switch 1 { 1 => ec2::make(\"a\", #{ BAD: 1 }), _ => 2 };",
    ] {
        let drawn = draw(text);
        let key = text.find("BAD").expect("the key");
        let (line, column) = (text[..key].matches('\n').count() + 1, text[..key].rsplit('\n').next());
        let column = column.unwrap_or_default().chars().count() + 1;
        // Of a quoted key the quotes are marked too; of an index the quoted text is.
        let column = column - usize::from(text[..key].ends_with('"'));
        assert!(drawn.contains(&format!("--> main.rhai:{line}:{column}\n")), "{text}\n{drawn}");
    }
}

#[test]
fn a_refused_key_that_is_computed_is_said_but_not_guessed() {
    insta::assert_snapshot!(draw("let k = \"sze\";\nlet o = #{};\no[k] = 1;\nec2::make(\"a\", o);"), @r#"
    error: unknown key `sze` for ec2::make
     --> main.rhai:4:6
      |
    4 | ec2::make("a", o);
      |      ^^^^
      |
      = note: the map passed here has the key `sze`
      = help: there is `size`
    "#);
    insta::assert_snapshot!(draw("let o = #{ sze: 1 };\nif true { o = #{ sze: 2 }; }\nec2::make(\"a\", o);"), @r#"
    error: unknown key `sze` for ec2::make
     --> main.rhai:3:6
      |
    1 | let o = #{ sze: 1 };
      |            --- may come from here
    2 | if true { o = #{ sze: 2 }; }
      |                  --- may come from here
    3 | ec2::make("a", o);
      |      ^^^^
      |
      = note: the map passed here has the key `sze`
      = help: there is `size`
    "#);
    // The same key in an outer call has nothing to do with a map that was made inside.
    insta::assert_snapshot!(draw("fn f(m) { let o = parse_json(`{\"sze\":1}`); ec2::make(\"a\", o) }\nf(#{ sze: 1 });"), @r#"
    error: unknown key `sze` for ec2::make
     --> main.rhai:1:49
      |
    1 | fn f(m) { let o = parse_json(`{"sze":1}`); ec2::make("a", o) }
      |                                                 ^^^^
      |
      = note: the map passed here has the key `sze`
      = help: there is `size`
    note: in `f`, called from here
     --> main.rhai:2:1
      |
    2 | f(#{ sze: 1 });
      | ^
    "#);
}

#[test]
fn a_key_that_was_passed_on_is_marked_at_the_caller() {
    insta::assert_snapshot!(draw("fn pass(o) {\n    ec2::make(\"a\", o)\n}\n\nfn all() {\n    pass(#{ sze: 1 })\n}\n\nall();"), @r#"
    error: unknown key `sze` for ec2::make
     --> main.rhai:6:13
      |
    6 |     pass(#{ sze: 1 })
      |             ^^^
      |
      = help: there is `size`
    note: the map is used by this call
     --> main.rhai:2:10
      |
    2 |     ec2::make("a", o)
      |          ^^^^
    note: in `all`, called from here
     --> main.rhai:9:1
      |
    9 | all();
      | ^^^
    "#);
}

#[test]
fn an_error_that_was_caught_and_thrown_on_shows_both_places() {
    insta::assert_snapshot!(draw("try {\n    ec2::make(\"a\", #{ sze: 1 });\n} catch (e) {\n    throw;\n}"), @r#"
    error: unknown key `sze` for ec2::make
     --> main.rhai:2:23
      |
    2 |     ec2::make("a", #{ sze: 1 });
      |                       ^^^
      |
      = help: there is `size`
    note: caught, and thrown on from here
     --> main.rhai:4:5
      |
    4 |     throw;
      |     ^^^^^
    "#);
}

#[test]
fn an_error_in_a_module_shows_the_module_and_the_import_or_call() {
    let call = "import \"lib/a\" as a;\na::make();";
    insta::assert_snapshot!(draw_with_module(call, "a", "fn make() {\n    ec2::make(\"a\", #{ sze: 1 })\n}"), @r#"
    error: unknown key `sze` for ec2::make
     --> playbooks/lib/a.rhai:2:23
      |
    2 |     ec2::make("a", #{ sze: 1 })
      |                       ^^^
      |
      = help: there is `size`
    note: in `make`, called from here
     --> main.rhai:2:4
      |
    2 | a::make();
      |    ^^^^
    "#);
    insta::assert_snapshot!(draw_with_module(call, "a", "let x = ;"), @r#"
    error: `;` cannot stand here
     --> playbooks/lib/a.rhai:1:9
      |
    1 | let x = ;
      |         ^
      |
    note: in a module imported here
     --> main.rhai:1:8
      |
    1 | import "lib/a" as a;
      |        ^^^^^^^
    "#);
    insta::assert_snapshot!(draw_with_module(call, "a", "throw \"not today\";"), @r#"
    error: not today
     --> playbooks/lib/a.rhai:1:1
      |
    1 | throw "not today";
      | ^^^^^
      |
    note: in a module imported here
     --> main.rhai:1:8
      |
    1 | import "lib/a" as a;
      |        ^^^^^^^
    "#);
    insta::assert_snapshot!(draw_with_module(call, "b", ""), @r#"
    error: there is no module `lib/a`
     --> main.rhai:1:8
      |
    1 | import "lib/a" as a;
      |        ^^^^^^^
      |
      = help: an import names a file below the playbook's folder, without `.rhai`, like `lib/defaults`
    "#);
    insta::assert_snapshot!(draw_with_module("import \"../a\" as a;", "b", ""), @r#"
    error: cannot import `../a`: an import is a path below the playbook folder, like `lib/defaults`, without `.` or `..`
     --> main.rhai:1:8
      |
    1 | import "../a" as a;
      |        ^^^^^^
    "#);
    let passed = "import \"lib/a\" as a;\nlet options = #{ sze: 1 };\na::make(options);";
    insta::assert_snapshot!(draw_with_module(passed, "a", "fn make(o) {\n    ec2::make(\"a\", o)\n}"), @r#"
    error: unknown key `sze` for ec2::make
     --> main.rhai:2:18
      |
    2 | let options = #{ sze: 1 };
      |                  ^^^
    3 | a::make(options);
      |         ------- used here
      |
      = help: there is `size`
    note: the map is used by this call
     --> playbooks/lib/a.rhai:2:10
      |
    2 |     ec2::make("a", o)
      |          ^^^^
    note: in `make`, called from here
     --> main.rhai:3:4
      |
    3 | a::make(options);
      |    ^^^^
    "#);
}

#[test]
fn a_deep_chain_of_callers_leaves_out_the_middle() {
    let text = "fn down(n) {\n    if n == 0 { throw \"bottom\"; }\n    down(n - 1);\n}\nfn start() {\n    down(9);\n}\nstart();";
    insta::assert_snapshot!(draw(text), @r#"
    error: bottom
     --> main.rhai:2:17
      |
    2 |     if n == 0 { throw "bottom"; }
      |                 ^^^^^
      |
    note: in `down`, called from here
     --> main.rhai:3:5
      |
    3 |     down(n - 1);
      |     ^^^^
    note: in `down`, called from here
     --> main.rhai:6:5
      |
    6 |     down(9);
      |     ^^^^
    note: in `start`, called from here
     --> main.rhai:8:1
      |
    8 | start();
      | ^^^^^
    "#);
}

#[test]
fn callers_on_many_lines_are_counted() {
    let functions: String = (1..9).map(|n| format!("fn f{n}() {{\n    f{}();\n}}\n", n - 1)).collect();
    let text = format!("fn f0() {{\n    throw \"bottom\";\n}}\n{functions}f8();");
    let drawn = draw(&text);
    let notes: Vec<&str> = drawn.lines().filter(|line| line.starts_with("note:")).collect();
    insta::assert_snapshot!(notes.join("\n"), @r"
    note: in `f0`, called from here
    note: in `f1`, called from here
    note: in `f2`, called from here
    note: in `f3`, called from here
    note: in `f8`, called from here, 4 calls further out
    ");
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
fn an_unknown_function_gets_a_suggestion_and_a_wrong_call_the_signature() {
    insta::assert_snapshot!(draw("ec2::mke(\"a\");"), @r#"
    error: there is no function `ec2::mke`
     --> main.rhai:1:6
      |
    1 | ec2::mke("a");
      |      ^^^
      |
      = help: did you mean `ec2::make`?
    "#);
    insta::assert_snapshot!(draw("ec2::make(1, 2);"), @r"
    error: `ec2::make` cannot be called with (int, int)
     --> main.rhai:1:6
      |
    1 | ec2::make(1, 2);
      |      ^^^^
      |
      = help: it is `ec2::make(name: string, options: map) -> int`
    ");
    insta::assert_snapshot!(draw("fn greet(name) {}\ngret(\"a\");"), @r#"
    error: there is no function `gret`
     --> main.rhai:2:1
      |
    2 | gret("a");
      | ^^^^
      |
      = help: did you mean `greet`?
    "#);
    insta::assert_snapshot!(draw("fn greet(name) {}\ngreet();"), @r"
    error: `greet` cannot be called with no arguments
     --> main.rhai:2:1
      |
    2 | greet();
      | ^^^^^
      |
      = help: it is `greet(name)`
    ");
    insta::assert_snapshot!(draw("let a = #{};\na.frobnicate(1);"), @r"
    error: map has no method `frobnicate`
     --> main.rhai:2:3
      |
    2 | a.frobnicate(1);
      |   ^^^^^^^^^^
    ");
    insta::assert_snapshot!(draw("let f = |a| a;\nf.call(1, 2);"), @r"
    error: the closure does not take 2 arguments
     --> main.rhai:2:3
      |
    2 | f.call(1, 2);
      |   ^^^^
    ");
    insta::assert_snapshot!(draw("let a = #{} - [];"), @r"
    error: `-` cannot be applied to map and list
     --> main.rhai:1:13
      |
    1 | let a = #{} - [];
      |             ^
    ");
    insta::assert_snapshot!(draw("ec::make();"), @r#"
    error: there is no `ec::`
     --> main.rhai:1:1
      |
    1 | ec::make();
      | ^^
      |
      = help: did you mean `ec2::`?
      = help: a module of your own is imported first: `import "lib/ec" as ec;`
    "#);
}

#[test]
fn a_suggestion_is_near_or_not_made() {
    let near =
        |word: &str| nearest(word, ["ec2::ensure_instance", "chars", "b", "keep_db", "keep_it"].into_iter());
    assert_eq!(near("ec2::ensure_instanse"), Some("ec2::ensure_instance"));
    assert_eq!(near("keep_bd"), Some("keep_db"));
    for word in ["each_paralel", "a", "", "rds::find_snapshots", "日本"] {
        assert_eq!(near(word), None, "{word}");
    }
}

#[test]
fn an_unknown_variable_is_explained() {
    insta::assert_snapshot!(draw("let stack_name = \"a\";\nfn f() { stack_name }\nf();"), @r"
    error: there is no variable `stack_name`
     --> main.rhai:2:10
      |
    2 | fn f() { stack_name }
      |          ^^^^^^^^^^
      |
      = note: `stack_name` is a variable of the file (line 1); functions do not see these
      = help: pass it to the function as a parameter: `fn name(stack_name)`
    ");
    insta::assert_snapshot!(draw("let stack_name = \"a\";\nprint(stackname);"), @r"
    error: there is no variable `stackname`
     --> main.rhai:2:7
      |
    2 | print(stackname);
      |       ^^^^^^^^^
      |
      = help: did you mean `stack_name`?
    ");
    insta::assert_snapshot!(draw("print(later);\nlet later = 1;"), @r"
    error: there is no variable `later`
     --> main.rhai:1:7
      |
    1 | print(later);
      |       ^^^^^
      |
      = note: `later` is declared only later, on line 2
    ");
    insta::assert_snapshot!(draw("if true { let inner = 1; }\nprint(inner);"), @r"
    error: there is no variable `inner`
     --> main.rhai:2:7
      |
    2 | print(inner);
      |       ^^^^^
      |
      = note: the `inner` of line 1 ends with its block or function
    ");
}

#[test]
fn errors_of_the_engine_are_in_plain_words() {
    insta::assert_snapshot!(draw("let m = #{};\nm.server.address"), @r"
    error: there is nothing here to read `address` from: the value is `()`
     --> main.rhai:2:10
      |
    2 | m.server.address
      |          ^^^^^^^
      |
      = help: a key that a map does not have reads as `()`: is the name before the dot right?
    ");
    insta::assert_snapshot!(draw("let a = 1;\na.size"), @r"
    error: int has no property `size`
     --> main.rhai:2:3
      |
    2 | a.size
      |   ^^^^
    ");
    insta::assert_snapshot!(draw("let a = [1];\na[5]"), @r"
    error: index 5 is out of range: the list has 1 element
     --> main.rhai:2:3
      |
    2 | a[5]
      |   ^
      |
      = help: the first index is 0, the last is -1
    ");
    insta::assert_snapshot!(draw("let a = true;\na[0]"), @r"
    error: bool cannot be indexed with int
     --> main.rhai:2:2
      |
    2 | a[0]
      |  ^
    ");
    insta::assert_snapshot!(draw("1 / 0"), @r"
    error: division by zero: 1 / 0
     --> main.rhai:1:3
      |
    1 | 1 / 0
      |   ^
    ");
    insta::assert_snapshot!(draw("fn f() { f() }\nf()"), @r"
    error: functions call each other too deeply
     --> main.rhai:2:1
      |
    2 | f()
      | ^
      |
      = help: does a function call itself without an end?
    ");
    insta::assert_snapshot!(draw("loop {}"), @r"
    error: the playbook takes too many steps
     --> main.rhai:1:6
      |
    1 | loop {}
      |      ^
    ");
    insta::assert_snapshot!(draw("let a = [1];\na.map(|x| a.push(x));"), @r"
    error: `map` works on a value that its closure uses too
     --> main.rhai:2:3
      |
    2 | a.map(|x| a.push(x));
      |   ^^^
      |
      = help: copy what the closure needs into a variable before the call
    ");
    insta::assert_snapshot!(draw("let a = [];\nfor x in a { }\nfor x in true { }"), @r"
    error: expected an iterable value, got a boolean
     --> main.rhai:3:10
      |
    3 | for x in true { }
      |          ^^^^
    ");
    insta::assert_snapshot!(draw("let x = 1;\nif x { print(x); }"), @r#"
    error: a condition is true or false, and this is int
     --> main.rhai:2:4
      |
    2 | if x { print(x); }
      |    ^
      |
      = help: compare it, such as `value == 1` or `value != ""`
    "#);
}

#[test]
fn syntax_errors_are_in_plain_words() {
    insta::assert_snapshot!(draw("let a = 1 // one\nlet b = 2;"), @r"
    error: `;` is missing to terminate this statement
     --> main.rhai:1:10
      |
    1 | let a = 1 // one
      |          ^
    ");
    insta::assert_snapshot!(draw("let default = 1;"), @r"
    error: `default` is a word of the language and cannot be a name
     --> main.rhai:1:5
      |
    1 | let default = 1;
      |     ^^^^^^^
      |
      = help: choose another name; as the key of a map write it in quotes
    ");
    insta::assert_snapshot!(draw("let a = \"open;\nlet b = 1;"), @r#"
    error: this text is not closed
     --> main.rhai:1:9
      |
    1 | let a = "open;
      |         ^^^^^^
      |
      = help: it ends with the same quote that it begins with
    "#);
    insta::assert_snapshot!(draw("print((1);\n"), @r"
    error: `,` is missing to separate the arguments to function call 'print'
     --> main.rhai:1:10
      |
    1 | print((1);
      |          ^
    ");
    insta::assert_snapshot!(draw("fn f() {\r\n  let x = @;\r\n}"), @r"
    error: `@` has no meaning here
     --> main.rhai:2:11
      |
    2 |   let x = @;
      |           ^
    ");
    insta::assert_snapshot!(draw("let a = #{ b: 1, b: 2 };"), @r"
    error: the map has the key `b` twice
     --> main.rhai:1:18
      |
    1 | let a = #{ b: 1, b: 2 };
      |                  ^
    ");
    insta::assert_snapshot!(draw("const A = 1;\nA = 2;"), @r"
    error: `A` is a constant and cannot be changed
     --> main.rhai:2:1
      |
    2 | A = 2;
      | ^
      |
      = help: declare it by `let` instead of `const`
    ");
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
