//! `ops check`, and the corpus of broken playbooks: each folder of `tests/cases/broken` is a playbook, what is typed, and what comes out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::harness::Project;
use crate::tree::root;

#[test]
fn the_shipped_playbooks_have_no_problem() {
    let ran = Project::new().ops(&["check"]).ended_with(0);
    assert!(ran.stderr.ends_with("files, 0 problems\n"), "{}", ran.stderr);
}

#[test]
fn every_problem_is_a_line_of_json() {
    let project = Project::empty();
    project.write(
        "playbooks/it.rhai",
        "//! It.\nprint(nmae);\nlet rule = tcp(22, \"0.0.0.0/0\");\nprint(rule);\n",
    );
    let ran = project.ops(&["check", "--json"]).ended_with(2);
    let findings: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let seen: Vec<_> = findings.iter().map(|it| (it["rule"].as_str(), it["line"].as_u64())).collect();
    assert_eq!(seen, [(Some("unknown-variable"), Some(2)), (Some("open-world"), Some(3))]);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_comment_allows_a_rule_on_its_line_and_no_other() {
    let project = Project::empty();
    project.write(
        "playbooks/it.rhai",
        "//! It.\nprint(tcp(80, \"0.0.0.0/0\"));  // ops:allow open-world\n// ops:allow open-world\nprint(tcp(81, \"::/0\"));\nprint(tcp(82, \"::/0\"));\n",
    );
    let ran = project.ops(&["check"]).ended_with(2);
    assert!(ran.stderr.contains("it.rhai:5:15") && ran.stderr.contains("1 problem\n"), "{}", ran.stderr);
}

/// `UPDATE_EXPECTED=1` writes what comes out, to be read before it is committed.
#[test]
fn every_broken_playbook_is_met_with_what_its_folder_expects() {
    let folder = root().join("tests/cases/broken");
    let mut cases: Vec<PathBuf> =
        folder.read_dir().expect("the corpus").map(|entry| entry.expect("a case").path()).collect();
    cases.sort();
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    let mut titles = BTreeSet::new();
    for case in &cases {
        let seen = outcome(case);
        let expected = case.join("expected");
        if update {
            std::fs::write(&expected, &seen).expect("written");
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        if wanted != seen {
            wrong.push(format!("{}\n--- expected\n{wanted}\n--- seen\n{seen}", case.display()));
        }
        for forbidden in ["Runtime error", "alloc::", "core::", "rhai::", "i64", "f64", "panicked"] {
            if seen.contains(forbidden) {
                wrong.push(format!("{} says `{forbidden}`:\n{seen}", case.display()));
            }
        }
        titles.extend(seen.lines().filter(|line| line.starts_with("error")).map(variant));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(cases.len() >= 120, "{} cases", cases.len());
    assert!(
        titles.len() >= 60,
        "{} distinct messages:\n{}",
        titles.len(),
        titles.into_iter().collect::<Vec<_>>().join("\n")
    );
}

/// What a case prints, and its exit code.
fn outcome(case: &Path) -> String {
    let project = Project::empty();
    for entry in case.read_dir().expect("a case") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.ends_with(".rhai") {
            let text = std::fs::read_to_string(&path).expect("a text");
            let place = if name == "playbook.rhai" {
                "playbooks/it.rhai".to_owned()
            } else {
                format!("playbooks/lib/{name}")
            };
            project.write(&place, &text);
        }
    }
    let typed = std::fs::read_to_string(case.join("arguments")).expect("what is typed");
    let ran = project.ops(&typed.split_whitespace().collect::<Vec<_>>());
    let place = project.path("").display().to_string();
    let said: String = format!("{}exit {}\n", ran.stderr, ran.code);
    said.replace(&place, "/project/").replace(place.trim_end_matches('/'), "/project")
}

/// A message without the names in it: variants count once.
fn variant(line: &str) -> String {
    let words = line.split('`').enumerate().map(|(index, part)| if index % 2 == 1 { "`..`" } else { part });
    words.collect::<String>().chars().filter(|c| !c.is_ascii_digit()).collect()
}
