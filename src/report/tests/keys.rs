//! The map key that a host function refused.

use super::draw;

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
