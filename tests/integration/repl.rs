//! Statements typed one by one: from a pipe, and on a terminal with its keys.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::harness::{Project, Ran, signal, wait};
use crate::terminal::Terminal;

/// Gives `text` to `ops repl` on stdin.
fn piped(project: &Project, arguments: &[&str], text: &str) -> Ran {
    let mut command = project.command(&[&["repl"], arguments].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ops starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("ops reads");
    wait(child)
}

#[test]
fn a_pipe_gives_values_and_nothing_else_on_stdout() {
    let project = Project::empty();
    project.write(
        "playbooks/lib/numbers.rhai",
        "say(\"read\");\nexport const FOUR = 4;\nfn twice(n) { n * 2 }\n",
    );
    let text = r#"
let x = 1
x + 1
"text"
:doc sleep
fn area(w, h) {
    w * h
}
area(2, 3)
let f = |n| n * x;
x = 5;
f.call(8)
import "lib/numbers" as numbers;
numbers::twice(numbers::FOUR)
numbers::twice(21)
let sum =
  5 +
  6;
sum
fn area(w, h) { 0 }
area(2, 3)
option("email", "nobody", "Where to")
#{ b: [1, "two"], a: () }
#{ first: "a text that is longer than most", second: "a text that is longer than most", third: [1, 2] }
output(#{ done: true });
"last""#;
    let ran = piped(&project, &["--local"], text).ended_with(0);
    insta::assert_snapshot!(ran.stdout, @r##"
    2
    "text"
    ## `sleep(seconds: int)`

    Waits, in seconds. Ctrl-C ends it.

    ```rhai
    sleep(1);
    ```
    6
    40
    8
    42
    11
    0
    "nobody"
    #{"a": (), "b": [1, "two"]}
    #{
      first: "a text that is longer than most",
      second: "a text that is longer than most",
      third: [1, 2]
    }
    done  true
    "last"
    "##);
    // The module ran once, and a session that asked no service has nothing to sum up.
    assert_eq!(ran.stderr, "read\n");
}

#[test]
fn an_error_is_drawn_where_it_was_typed_and_the_session_goes_on() {
    let project = Project::empty();
    let text = r#"let kept = 7
fn broken(n) {
    n.foo()
}
broken(1)
let lost = nope(1);
lost
kept
queue(
)
sqs::ensure_queue("log", #{ retension_s: 3 })
required("team", "Whose")
:dok
"abc
if kept {"#;
    let ran = piped(&project, &["--local"], text).ended_with(1);
    assert_eq!(ran.stdout, "7\n");
    insta::assert_snapshot!(ran.stderr, @r##"
    error: int has no method `foo`
     --> session:3:7
      |
    3 |     n.foo()
      |       ^^^
      |
    note: in `broken`, called from here
     --> session:5:1
      |
    5 | broken(1)
      | ^^^^^^
    error: there is no function `nope`
     --> session:6:12
      |
    6 | let lost = nope(1);
      |            ^^^^
    error: there is no variable `lost`
     --> session:7:1
      |
    7 | lost
      | ^^^^
    error: there is no function `queue`
     --> session:9:1
      |
    9 | queue(
      | ^^^^^
    error: unknown key `retension_s` for sqs::ensure_queue
      --> session:11:29
       |
    11 | sqs::ensure_queue("log", #{ retension_s: 3 })
       |                             ^^^^^^^^^^^
       |
       = help: did you mean `retention_s`?
    error: nothing gives `team`
      --> session:12:1
       |
    12 | required("team", "Whose")
       | ^^^^^^^^
       |
       = help: here is no command line: set a variable instead, `let name = "value";`
    error: there is no `:dok`
      help: did you mean `:doc`?
    error: this text is not closed
      --> session:14:1
       |
    14 | "abc
       | ^^^^
       |
       = help: it ends with the same quote that it begins with
    error: `}` is missing to terminate this block
      --> session:15:11
       |
    15 | if kept {
       |          ^
    "##);
}

#[test]
fn nothing_is_changed_through_a_pipe_without_yes() {
    let project = Project::empty();
    let text = r#"stack("blue");
let topic = sns::ensure_topic("alerts");
process::run(["touch", "made"]);
sns::find_topic("alerts")"#;
    let ran = piped(&project, &["--local"], text).ended_with(1);
    insta::assert_snapshot!(ran.stderr.rsplit_once(" · ").unwrap_or_default().0, @r##"
    local cloud · us-east-1
    error: `blue` is not changed without consent
     --> session:2:18
      |
    2 | let topic = sns::ensure_topic("alerts");
      |                  ^^^^^^^^^^^^
      |
      = help: nobody can be asked here: add `--yes` to agree to the changes
    error: not done without consent: run touch made
     --> session:3:10
      |
    3 | process::run(["touch", "made"]);
      |          ^^^
      |
      = help: nobody can be asked here: add `--yes` to agree to the changes
    ==> 0 changes
    "##);
    assert!(!project.path("made").exists());

    let text = "stack(\"blue\");\nlet t = sns::ensure_topic(\"alerts\");\ndefer(|| say(\"the end\"));\nt.arn\nexit(3);\nprint(1)";
    let ran = piped(&project, &["--local", "--yes"], text).ended_with(3).says("the end\n");
    assert_eq!(ran.stdout, "\"arn:aws:sns:us-east-1:000000000000:blue-alerts\"\n");
    assert!(ran.stderr.contains("  + sns alerts  topic\n"), "{}", ran.stderr);
    // The lock was given back: another run may have it.
    piped(&project, &["--local", "--yes"], "stack(\"blue\"); owned().delete();").ended_with(0);
}

#[test]
fn on_a_terminal_each_change_is_asked_about() {
    let project = Project::empty();
    let mut terminal = Terminal::start(&project, &["repl", "--local"]);
    let at = terminal.shows("local> ", 0);
    terminal.keys("stack(\"blue\");\r");
    let at = terminal.shows("local blue> ", at);
    terminal.keys("let topic = sns::ensure_topic(\"alerts\");\r");
    let at = terminal.shows("About to create sns alerts  topic  in the stack `blue` (local cloud)", at);
    let at = terminal.shows("Go on? [y/N] ", at);
    terminal.keys("n\r");
    let at = terminal.shows("not agreed to: it was not done", at);
    let at = terminal.shows("local blue> ", at);
    terminal.keys("sns::find_topic(\"alerts\") == ()\r");
    let at = terminal.shows("true\r\n", at);

    // Ctrl-C is an answer as well, and takes nothing of what is typed next.
    let at = terminal.shows("local blue> ", at);
    terminal.keys("let topic = sns::ensure_topic(\"alerts\");\r");
    let at = terminal.shows("Go on? [y/N] ", at);
    terminal.keys("\x03");
    let at = terminal.shows("interrupted", at);
    let at = terminal.shows("local blue> ", at);
    terminal.keys("40 + 2\r");
    let at = terminal.shows("42\r\n", at);

    let at = terminal.shows("local blue> ", at);
    terminal.keys("let topic = sns::ensure_topic(\"alerts\");\r");
    let at = terminal.shows("Go on? [y/N] ", at);
    terminal.keys("y\r");
    let at = terminal.shows("+ sns alerts  topic", at);
    let at = terminal.shows("local blue> ", at);
    terminal.keys("process::run([\"echo\", \"hi\"]).stdout\r");
    let at = terminal.shows("About to run echo hi", at);
    let at = terminal.shows("Go on? [y/N] ", at);
    terminal.keys("y\r");
    let at = terminal.shows("hi", at);
    let at = terminal.shows("local blue> ", at);

    // A deletion has its own list, and one answer is enough.
    terminal.keys("owned().delete();\r");
    let at = terminal.shows("Delete all this? [y/N] ", at);
    terminal.keys("y\r");
    let at = terminal.shows("- sns alerts  topic", at);
    let at = terminal.shows("local blue> ", at);
    terminal.keys("\x04");
    terminal.shows("2 changes: 1 created, 0 updated, 1 deleted", at);
    terminal.ends(0);
}

#[test]
fn a_terminal_that_is_closed_ends_the_session() {
    let project = Project::empty();
    let mut terminal = Terminal::start(&project, &["repl", "--local"]);
    let at = terminal.shows("local> ", 0);
    terminal.keys("stack(\"blue\");\r");
    terminal.shows("local blue> ", at);
    signal("-HUP", terminal.process());
    terminal.ends(130);
}

#[test]
fn the_keys_of_a_terminal_complete_remember_and_interrupt() {
    let project = Project::empty();
    let mut terminal = Terminal::start(&project, &["repl", "--local"]);
    let at = terminal.shows("local> ", 0);
    // Each is the only one that fits, and is completed at once.
    terminal.keys("let place = #{ address: \"here\", port: 8080 };\r");
    let at = terminal.shows("local> ", at);
    terminal.keys("pla\t.por\t\r");
    let at = terminal.shows("8080\r\n", at);
    let at = terminal.shows("local> ", at);
    terminal.keys("templ\tren\t");
    let at = terminal.shows("template::render(", at);
    // Ctrl-C gives up the line.
    terminal.keys("\x03");
    let at = terminal.shows("local> ", at);
    terminal.keys("sqs::ensure_queue(\"log\", #{ ret\t");
    let at = terminal.shows("retention_s: ", at);
    terminal.keys("\x03");
    let at = terminal.shows("local> ", at);

    // It ends the statement that runs, too, and what was there before stays.
    terminal.keys("say(\"be\" + \"gun\"); sleep(1000);\r");
    let at = terminal.shows("begun\r\n", at);
    terminal.keys("\x03");
    let at = terminal.shows("interrupted", at);
    let at = terminal.shows("local> ", at);
    terminal.keys("place.address +\r");
    let at = terminal.shows("... ", at);
    terminal.keys("\" and there\"\r");
    let at = terminal.shows("\"here and there\"\r\n", at);
    let at = terminal.shows("local> ", at);
    // The statement before the last one.
    terminal.keys("\x1b[A\x1b[A");
    let at = terminal.shows("sleep", at);
    terminal.keys("\x03");
    let at = terminal.shows("local> ", at);
    terminal.keys(":doc time\t\r");
    let at = terminal.shows("# `time::`", at);
    terminal.shows("local> ", at);
    terminal.keys(":quit\r");
    terminal.ends(0);

    let history = project.path(".local/state/ops/history");
    let mode = history.metadata().expect("a history").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(project.read(".local/state/ops/history").contains("let place = "));
}
