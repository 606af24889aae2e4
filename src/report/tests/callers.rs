//! How an error was reached.

use super::{draw, draw_with_module};

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
