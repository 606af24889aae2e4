//! The engine's errors in plain words.

use super::{draw, nearest};

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
