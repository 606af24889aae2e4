//! `ops test`: the tests of the shipped playbooks hold; a failure names its line, and is there for a build server; nothing is left behind.

use crate::harness::Project;
use crate::tree::{files, root};

/// Runs the tests of every file in a folder of the project, each by a command of its own.
fn run_tests_below(folder: &str) {
    let project = Project::new();
    let mut count = 0;
    for file in files().into_iter().filter(|file| file.path.starts_with(folder)) {
        let ran = project.ops(&["test", &file.path]).ended_with(0);
        assert!(ran.stderr.contains(" 0 failed"), "{}", ran.stderr);
        count += ran.stdout.lines().filter(|line| line.starts_with("ok ")).count();
    }
    assert!(count > 0, "there are no tests below {folder}");
}

#[test]
fn the_tests_of_the_shipped_playbooks_hold() {
    run_tests_below("playbooks/tests/");
}

#[test]
fn every_recipe_of_the_cookbook_has_a_test_and_a_line_in_its_guide() {
    let all = files();
    let text = |path: &str| all.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let tests = text("playbooks/tests/cookbook.rhai").expect("the tests of the cookbook");
    let guide = text("docs/cookbook.md").expect("the guide");
    let recipes: Vec<_> = all
        .iter()
        .filter_map(|file| file.path.strip_prefix("playbooks/cookbook/")?.strip_suffix(".rhai"))
        .collect();
    assert!(recipes.len() >= 12, "{recipes:?}");
    let missing: Vec<_> = recipes
        .iter()
        .filter(|name| {
            !tests.contains(&format!("recipe(\"{name}\")")) || !guide.contains(&format!("[`{name}`]"))
        })
        .collect();
    assert!(missing.is_empty(), "not in the tests or the guide: {missing:?}");
}

#[test]
fn every_shipped_playbook_has_a_test() {
    let tests: String = files()
        .into_iter()
        .filter(|file| file.path.starts_with("playbooks/tests/"))
        .map(|file| file.text)
        .collect();
    let playbooks = ops::playbook::Playbook::names(root()).expect("the playbooks");
    let missing: Vec<_> =
        playbooks.iter().filter(|name| !tests.contains(&format!("cloud::run(\"{name}\""))).collect();
    assert!(missing.is_empty(), "no test in playbooks/tests runs {missing:?}");
}

const PLAYBOOK: &str = r#"//! Makes a topic.
let name = option("name", "alerts", "Its name");
stack("s");
output(#{ arn: sns::ensure_topic(name).arn });
"#;

const TESTS: &str = r#"//! Tests of it.
const NAME = "alerts";

fn test_passes() {
    stack("s");
    cloud::run("it", #{ name: global::NAME });
    assert_eq(sns::get_topic(global::NAME).arn, cloud::run("it").output.arn);
}

fn test_compares() {
    assert_eq(#{ a: [1, 2] }, #{ a: [1, 3] });
}

fn test_runs_what_fails() {
    cloud::fail_next("sns", "CreateTopic", "AuthorizationError");
    cloud::run("it");
}

fn test_misses_a_failure() {
    assert_throws("denied", || cloud::run("it"));
}

fn not_a_test() { throw "called"; }
"#;

fn tried() -> Project {
    let project = Project::empty();
    project.write("playbooks/it.rhai", PLAYBOOK);
    project.write("playbooks/tests/it.rhai", TESTS);
    project
}

#[test]
fn a_failure_names_its_line_both_values_and_the_line_of_the_playbook() {
    let project = tried();
    let rooms = project.path("rooms");
    std::fs::create_dir(&rooms).expect("a folder");
    let mut command = project.command(&["test", "--junit", "report.xml"]);
    command.env("TMPDIR", &rooms);
    let ran = crate::harness::finish(command).ended_with(1).says("1 passed, 3 failed");
    for line in [
        "ok    playbooks/tests/it.rhai  test_passes",
        "FAIL  playbooks/tests/it.rhai:11:5  test_compares",
        "FAIL  playbooks/tests/it.rhai:16:12  test_runs_what_fails",
        "FAIL  playbooks/tests/it.rhai:20:5  test_misses_a_failure",
    ] {
        assert!(ran.stdout.contains(line), "{line}:\n{}\n{}", ran.stdout, ran.stderr);
    }
    for part in [
        "expected {\"a\":[1,3]}",
        "actual {\"a\":[1,2]}",
        "`it` ended with exit code 1",
        "failed with AuthorizationError",
        "--> playbooks/it.rhai:4:21",
        "expected a failure with `denied`, and it gave run of it",
    ] {
        assert!(ran.stderr.contains(part), "{part}:\n{}", ran.stderr);
    }
    let report = project.read("report.xml");
    assert!(
        report.contains("<testsuite name=\"playbooks/tests/it.rhai\" tests=\"4\" failures=\"3\""),
        "{report}"
    );
    assert!(report.contains("<failure message=\"expected {&quot;a&quot;:[1,3]}"), "{report}");
    let left: Vec<_> = rooms.read_dir().expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!project.path(".ops").exists(), "a test ran in the project's own cloud");
}

#[test]
fn tests_are_chosen_by_name_and_what_cannot_be_run_is_said() {
    let project = tried();
    let ran = project.ops(&["test", "--filter", "passes"]).ended_with(0).says("1 passed, 0 failed");
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    project.ops(&["test", "--filter", "test_pases"]).ended_with(2).says("did you mean `test_passes`?");
    project.ops(&["test", "nowhere"]).ended_with(2).says("no playbook `nowhere`");
    project.ops(&["test", "playbooks/it.rhai"]).ended_with(2).says("there are no tests");
    project.write("playbooks/tests/other.rhai", "//! Other.\nfn test_it(x) { print(x); }\n");
    project.ops(&["test"]).ended_with(2).says("`test_it` is a test, and takes arguments");
    project.write("playbooks/tests/other.rhai", "//! Other.\nfn test_it( {\n");
    project.ops(&["test"]).ended_with(2).says("--> playbooks/tests/other.rhai:2");
    Project::empty().ops(&["test"]).ended_with(2).says("ops new NAME");
}

#[test]
fn waits_take_no_time_and_the_clock_goes_on() {
    let project = Project::empty();
    project.write(
        "playbooks/patient.rhai",
        "//! Waits a day.\nlet before = time::now();\nsleep(24 * 3600);\nlet tries = [];\nretry(#{ times: 3, pause_s: 3600 }, || {\n    tries.push(1);\n    if tries.len() < 3 { throw \"not yet\"; }\n});\noutput(#{ before: before, after: time::now() });\n",
    );
    project.write(
        "playbooks/tests/patient.rhai",
        r#"//! Tests of patient.rhai, and of a queue whose name is blocked for a minute.
fn test_a_day_goes_by_at_once() {
    let output = cloud::run("patient").output;
    let day = |moment| time::zone("UTC").format(moment, "%Y-%m-%d");
    assert(day.call(output.before) != day.call(output.after), `${output}`);
}

fn test_a_blocked_name_is_free_again() {
    stack("s");
    sqs::ensure_queue("log");
    owned().delete();
    sqs::ensure_queue("log");
    cloud::skip(60);
    assert_eq(owned().keys, ["sqs:log"]);
}
"#,
    );
    project.ops(&["test"]).ended_with(0).says("2 passed, 0 failed");
}

#[test]
fn outside_of_a_test_there_is_no_cloud_to_try_things_with() {
    let project = Project::empty();
    project.write("playbooks/it.rhai", "//! It.\ncloud::skip(60);\n");
    project.ops(&["check"]).ended_with(2).says("error[outside-tests]");
    project.run_local("it", &[]).ended_with(4).says("this is for tests");
}

#[test]
fn a_test_that_does_not_end_is_stopped_and_named() {
    let project = Project::empty();
    project.write(
        "playbooks/tests/endless.rhai",
        "fn test_ends() { assert(true, \"it is\"); }\nfn test_never_ends() { say(\"round\"); loop { let n = 1; } }\n",
    );
    let ran = project.ops(&["test", "--time-limit", "2s"]).ended_with(1);
    assert!(ran.stdout.contains("FAIL  playbooks/tests/endless.rhai  test_never_ends"), "{}", ran.stdout);
    assert!(ran.stdout.contains("ok    playbooks/tests/endless.rhai  test_ends"), "{}", ran.stdout);
    ran.says("error: `test_never_ends` had not ended after 2.0 s, and was stopped\nround\n")
        .says("1 passed, 1 failed");
}
